"""Matching Pursuit SAE: latents are picked one after the other, each for what the earlier left (Costa et al. 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.coder import SAE
from interp.sae.config import SaeConfig, topk_config
from interp.sae.pursuit import Path, pursue


class MatchingPursuitSAE(SAE):
    """z from matching pursuit of x - b_dec over the rows of W_dec; x_hat = z W_dec + b_dec.

    Encoder and decoder are one dictionary and there is no encoder bias. Where the config says that b_dec is not
    subtracted from the input, it is not added to the output either. More picks never make a reconstruction worse
    where the rows of W_dec have length 1, so the number of them can be chosen when it is used.
    """

    architecture = "matching_pursuit"

    @classmethod
    def shapes(cls, config: SaeConfig) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight: W_dec [d_sae, d_in] and b_dec [d_in]."""
        common = super().shapes(config)
        return {name: common[name] for name in ("W_dec", "b_dec")}

    def encode(
        self,
        x: Tensor | np.ndarray,
        *,
        k: int | None = None,
        residual_threshold: float | None = None,
        method: str = "direct",
    ) -> Tensor:
        """Return the latents, float32 [batch, d_sae], of activations [batch, d_in]; arguments as `encode_path`."""
        path = self.encode_path(x, k=k, residual_threshold=residual_threshold, method=method)
        return path.latents(self.config.d_sae)

    def encode_path(
        self,
        x: Tensor | np.ndarray,
        *,
        k: int | None = None,
        residual_threshold: float | None = None,
        method: str = "direct",
    ) -> Path:
        """Return what is picked for each vector, in order, and how much is left after each pick.

        Args:
            k: picks at most; None: the config's max_iterations.
            residual_threshold: length below which a residual is done, in units of x; None: the config's; 0: none.
            method: "direct" or "gram", see `pursue`.

        Raises:
            InvalidInput: k below 1, a negative threshold, or no such method.
            SaeMismatch: the activations have another width. NonFinite: a row holds NaN or infinity.
        """
        return self._path(self._normalised(self._checked(x))[0], k, residual_threshold, method)

    def _encode(self, x: Tensor) -> Tensor:
        return self._path(x, None, None, "direct").latents(self.config.d_sae)

    def _path(self, rows: Tensor, k: int | None, residual_threshold: float | None, method: str) -> Path:
        config = self.config
        steps = config.max_iterations if k is None else k
        bound = config.residual_threshold if residual_threshold is None else residual_threshold
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise InvalidInput(f"k is an integer from 1, not {steps!r}.")
        if bound is None or not bound >= 0:
            raise InvalidInput(f"residual_threshold is a number from 0, not {bound!r}.")
        return pursue(
            self._centred(rows),
            self.W_dec,
            max_iterations=steps,
            residual_threshold=float(bound),
            stop_on_duplicate_support=bool(config.stop_on_duplicate_support),
            method=method,
        )

    def _decode(self, latents: Tensor) -> Tensor:
        return super()._decode(latents) if self.config.apply_b_dec_to_input else latents @ self.W_dec

    def _take(self, weights: Mapping[str, Tensor]) -> None:
        super()._take(weights)
        # what an SAE of this kind has in place of an encoder, for those who compare encoder and decoder
        self.register_buffer("W_enc", self.W_dec.T, persistent=False)
        self.register_buffer("b_enc", torch.zeros_like(self.W_dec[:, 0]), persistent=False)


def matching_pursuit_config(
    d_in: int,
    d_sae: int,
    *,
    max_iterations: int,
    residual_threshold: float = 0.0,
    stop_on_duplicate_support: bool = False,
    **stated: Any,
) -> SaeConfig:
    """Return the config of a Matching Pursuit SAE in this package's own convention; `stated` as in `topk_config`."""
    own = topk_config(d_in, d_sae, k=1).to_dict() | stated
    own |= {"architecture": "matching_pursuit", "activation": "matching_pursuit", "k": None}
    return SaeConfig.from_dict(
        own
        | {
            "max_iterations": max_iterations,
            "residual_threshold": residual_threshold,
            "stop_on_duplicate_support": stop_on_duplicate_support,
        }
    )
