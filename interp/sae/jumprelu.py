"""JumpReLU SAE: a latent is on above its own threshold (Rajamanoharan et al. 2024, eq. 5).

BatchTopK and Matryoshka SAEs are saved in this form too, with one threshold for all latents.
"""

from __future__ import annotations

import torch
from torch import Tensor

from interp.sae.coder import SAE
from interp.sae.config import SaeConfig


class JumpReluSAE(SAE):
    """z = ReLU(pre) where pre > threshold, else 0; pre = (x - b_dec) W_enc + b_enc."""

    architecture = "jumprelu"
    threshold: Tensor

    @classmethod
    def shapes(cls, config: SaeConfig) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight: the common ones and threshold [d_sae]."""
        return super().shapes(config) | {"threshold": (config.d_sae,)}

    def _encode(self, x: Tensor) -> Tensor:
        pre = torch.addmm(self.b_enc, self._centred(x), self.W_enc)
        return pre.relu() * (pre > self.threshold)
