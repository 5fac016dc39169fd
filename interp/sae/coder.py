"""What every sparse autoencoder here shares: the weights, the two directions and the checks at the edge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from interp.errors import InvalidInput, NonFinite, SaeMismatch
from interp.sae.config import SaeConfig

LAYER_NORM_EPS = 1e-5
UNIT_NORM_TOLERANCE = 4e-3
"""A row of length 1 keeps its length to this after rounding to bfloat16 (2^-8)."""


class SparseLatents(NamedTuple):
    """Latents of a batch without the zeros.

    values: float32 [batch, width], never negative; 0 fills a row with fewer active latents than the widest.
    indices: int64 [batch, width], ascending within a row; those of a filler are valid and mean nothing.
    """

    values: Tensor
    indices: Tensor


class SAE(torch.nn.Module, ABC):
    """A sparse autoencoder: `encode` activations to latents, `decode` latents to activations.

    The arithmetic is float32 whatever type the weights were stored in. Subclasses say which latents are active
    (`_encode`) and which weights they have beside the common ones (`shapes`).
    """

    architecture: ClassVar[str] = ""
    golden_checked: bool
    """Whether the latents of stored inputs were compared with stored results when this SAE was loaded."""
    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    W_skip: Tensor

    def __init__(self, config: SaeConfig, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of an SAE: W_enc [d_in, d_sae], b_enc [d_sae], W_dec [d_sae, d_in], b_dec [d_in].

        Of a transcoder W_dec is [d_sae, d_out], b_dec [d_out] and, with a skip connection, W_skip [d_out, d_in].

        Raises:
            InvalidInput: another architecture's config.
            SaeMismatch: a weight is missing, unknown, of another shape, or contradicts the config.
            NonFinite: a weight is NaN or infinite.
        """
        super().__init__()
        if config.architecture != self.architecture:
            raise InvalidInput(f"{type(self).__name__} is {self.architecture}; the config says {config.architecture}.")
        self.config = config
        self.golden_checked = False
        self._take(weights)

    @classmethod
    def shapes(cls, config: SaeConfig) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight under its file name."""
        d_in, d_sae, d_out = config.d_in, config.d_sae, config.width_out
        skip = {"W_skip": (d_out, d_in)} if config.skip_connection else {}
        return {"W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_out), "b_dec": (d_out,)} | skip

    def encode(self, x: Tensor | np.ndarray) -> Tensor:
        """Return the latents, float32 [batch, d_sae], of activations [batch, d_in] (any float type).

        Raises:
            SaeMismatch: the activations have another width.
            NonFinite: a row holds NaN or infinity (the row is named).
        """
        return self._encode(self._normalised(self._checked(x))[0])

    def encode_sparse(self, x: Tensor | np.ndarray) -> SparseLatents:
        """Return the active latents of activations [batch, d_in] as values and indices, ascending in a row."""
        latents = self.encode(x)
        width = max(1, int((latents > 0).sum(dim=1).max())) if len(latents) else 1
        values, indices = torch.topk(latents, width, dim=1)
        indices, order = torch.sort(indices, dim=1)
        return SparseLatents(torch.gather(values, 1, order), indices)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the reconstruction, float32 [batch, d_out], of latents [batch, d_sae] (d_out is d_in of an SAE).

        Raises:
            InvalidInput: the SAE normalises each token or has a skip connection, for which latents are not enough.
        """
        if self.config.normalize_activations != "none":
            raise InvalidInput(
                f"an SAE with normalize_activations {self.config.normalize_activations!r} cannot decode latents alone "
                "(the scale of each token is lost); call sae(x), or sae.reconstruct(x, latents)."
            )
        if self.config.skip_connection:
            raise InvalidInput(
                "a transcoder with a skip connection cannot decode latents alone (the skipped part comes from the "
                "input); call transcoder(x), or transcoder.reconstruct(x, latents)."
            )
        return self._decode(latents.to(torch.float32))

    def reconstruct(self, x: Tensor | np.ndarray, latents: Tensor) -> Tensor:
        """Return what the SAE makes, float32 [batch, d_out], of x [batch, d_in] with these latents [batch, d_sae].

        With `latents = sae.encode(x)` it is `sae(x)`; with edited latents it is the edited reconstruction, under the
        mean and scale of x where tokens are normalised, and with the skipped part of x in a skip transcoder.

        Raises:
            SaeMismatch: the activations have another width. NonFinite: a row holds NaN or infinity.
        """
        rows = self._checked(x)
        _, mean, scale = self._normalised(rows)
        out = self._decode(latents.to(rows))
        if scale is not None and mean is not None:
            out = out * scale + mean
        return out + rows @ self.W_skip.T if self.config.skip_connection else out

    def forward(self, x: Tensor | np.ndarray) -> Tensor:
        """Return the reconstruction, float32 [batch, d_out], of activations [batch, d_in]."""
        return self.reconstruct(x, self.encode(x))

    def weights(self) -> dict[str, Tensor]:
        """Return the float32 weights under their file names (the SAE's own tensors, not copies)."""
        return {name: getattr(self, name) for name in self.shapes(self.config)}

    @abstractmethod
    def _encode(self, x: Tensor) -> Tensor:
        """Return the latents [batch, d_sae] of checked, normalised rows [batch, d_in]."""

    def _centred(self, x: Tensor) -> Tensor:
        return x - self.b_dec if self.config.apply_b_dec_to_input else x

    def _decode(self, latents: Tensor) -> Tensor:
        return torch.addmm(self.b_dec, latents, self.W_dec)

    def _normalised(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the rows to encode and, under layer_norm, what undoes it: mean and sd [batch, 1]."""
        if self.config.normalize_activations == "none":
            return x, None, None
        mean = x.mean(dim=1, keepdim=True)
        sd = (x - mean).std(dim=1, keepdim=True)  # with n - 1, as those who publish such SAEs compute it
        return (x - mean) / (sd + LAYER_NORM_EPS), mean, sd

    def _checked(self, x: Tensor | np.ndarray) -> Tensor:
        rows = torch.as_tensor(x)
        if rows.ndim != 2 or rows.shape[1] != self.config.d_in:
            raise SaeMismatch(
                f"this SAE reads activations [batch, {self.config.d_in}]; given {list(rows.shape)}. "
                "Flatten batch and position (and heads, head-major) first, and check the site."
            )
        rows = rows.to(device=self.W_enc.device, dtype=torch.float32)
        if not bool(torch.isfinite(rows).all()):
            bad = int((~torch.isfinite(rows).all(dim=1)).nonzero()[0, 0])
            raise NonFinite(f"row {bad} of the activations holds NaN or infinity; an SAE cannot encode it.")
        return rows

    def _take(self, weights: Mapping[str, Tensor]) -> None:
        shapes = self.shapes(self.config)
        if set(weights) != set(shapes):
            missing, unknown = sorted(set(shapes) - set(weights)), sorted(set(weights) - set(shapes))
            raise SaeMismatch(f"weights of a {self.architecture} SAE: missing {missing}, unknown {unknown}.")
        for name, shape in shapes.items():
            value = weights[name].detach().to(torch.float32).clone().contiguous()
            if tuple(value.shape) != shape:
                raise SaeMismatch(f"{name} is {list(value.shape)}; the config says {list(shape)}.")
            if not bool(torch.isfinite(value).all()):
                raise NonFinite(f"{name} holds NaN or infinity; these weights cannot be used.")
            self.register_buffer(name, value)
        if self.config.decoder_norm == "unit":
            off = float((self.W_dec.norm(dim=1) - 1.0).abs().max())
            if off > UNIT_NORM_TOLERANCE:
                raise SaeMismatch(
                    f"decoder_norm is 'unit', yet a row of W_dec is {off:.3g} away from length 1; state 'free'."
                )
