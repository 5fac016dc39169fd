"""The k largest latents of a token without most of the 32-bit products.

A product in bfloat16 costs a sixth of one in float32 where the processor has units for it, and its error is bounded:
|x.w - x'.w'| <= |x - x'| |w| + |x'| |w - w'| for the rounded x', w' (Cauchy-Schwarz). So it says which latents can be
among the k largest, some twice as many, and only those are computed in float32. The result is that of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from interp.sae.topk import TopKSAE

_LEAST_WIDTH = 1024  # below, a product costs less than what comes after it
_ENTRIES = 2**20  # rough latents that are looked at together: 2 MB, near a core


@dataclass(frozen=True, eq=False)
class Screen:
    """The encoder of an SAE in both precisions; latents padded to whole lanes.

    rough: bfloat16 [d_in, latent]; weights: float32 [latent, d_in]; bias, norms: float32 [latent] (-inf and 0 of
    padding), norms the lengths of the columns; error: the largest length of what rounding took off a column, in
    lengths of the column.
    """

    rough: Tensor
    weights: np.ndarray
    bias: np.ndarray
    norms: np.ndarray
    error: float

    def top_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the k largest latents of float32 x [token, d_in], relu taken: values and columns [token, k]."""
        from interp.sae.screen_kernels import settle

        values = np.empty((len(x), k), dtype=np.float32)
        columns = np.empty((len(x), k), dtype=np.int64)
        least = 2.0**-21 * float(np.abs(self.bias[np.isfinite(self.bias)]).max())
        at_once = max(1, _ENTRIES // len(self.bias))
        for start in range(0, len(x), at_once):
            rows = x[start : start + at_once].contiguous()
            rounded = rows.bfloat16()
            bits = (rounded @ self.rough).view(torch.int16).numpy()
            here = slice(start, start + len(rows))
            settle(rows.numpy(), bits, self._room(rows, rounded), self.weights, self.bias, self.norms,
                   np.float32(least), values[here], columns[here])  # fmt: skip
        return torch.from_numpy(values), torch.from_numpy(columns)

    def _room(self, x: Tensor, rounded: Tensor) -> np.ndarray:
        """How far a latent may be off, in lengths of its column: rounding, and sums in float32 (here and there)."""
        length = torch.linalg.vector_norm(x, dim=1)
        lost = torch.linalg.vector_norm(x - rounded.float(), dim=1)
        return (1.001 * (lost + (1.01 * self.error + x.shape[1] * 2.0**-22) * length)).numpy()


def screen_of(sae: TopKSAE, x: Tensor) -> Screen | None:
    """Return the screen of an SAE for activations x, or None where it would not pay or could not be trusted."""
    if not _pays(sae) or x.requires_grad or x.dtype != torch.float32:
        return None
    stamp = tuple((tensor.data_ptr(), tensor._version) for tensor in sae.weights().values())
    if sae.kept_screen is None or sae.kept_screen[0] != stamp:
        sae.kept_screen = (stamp, make_screen(*sae.encoder()))
    screen = sae.kept_screen[1]
    # a product that overflows has no bound
    return screen if len(x) and float(x.abs().max()) * float(screen.norms.max()) * len(x[0]) < 1e36 else None


def make_screen(weights: Tensor, bias: Tensor) -> Screen:
    """Return the screen of an encoder, float32 [d_in, latent] and [latent]."""
    from interp.sae.screen_kernels import LANES

    extra = -weights.shape[1] % LANES
    padded = torch.nn.functional.pad(weights, (0, extra))
    rough = padded.bfloat16()
    norms = torch.linalg.vector_norm(padded, dim=0)
    lost = torch.linalg.vector_norm(padded - rough.float(), dim=0)
    error = float((lost / norms.clamp_min(torch.finfo(torch.float32).tiny)).max())
    full = torch.nn.functional.pad(bias, (0, extra), value=-torch.inf)
    return Screen(rough, padded.T.contiguous().numpy(), full.numpy(), norms.numpy(), error)


def _pays(sae: TopKSAE) -> bool:
    wide = sae.config.d_sae >= max(_LEAST_WIDTH, 16 * sae.k)
    return wide and sae.W_enc.device.type == "cpu" and _has_16_bit_units() and _has_numba()


def _has_16_bit_units() -> bool:
    found = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(found and found())


def _has_numba() -> bool:
    try:
        import interp.sae.screen_kernels  # noqa: F401
    except ImportError:
        return False
    return True
