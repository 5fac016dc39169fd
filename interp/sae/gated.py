"""Gated SAE: one path says which latents are on, another how much (Rajamanoharan et al. 2024, eq. 6-7)."""

from __future__ import annotations

import torch
from torch import Tensor

from interp.sae.coder import SAE
from interp.sae.config import SaeConfig


class GatedSAE(SAE):
    """z = 1[x W_enc + b_gate > 0] * ReLU(x (W_enc exp(r_mag)) + b_mag), x without b_dec where the config says so."""

    architecture = "gated"
    b_gate: Tensor
    b_mag: Tensor
    r_mag: Tensor

    @classmethod
    def shapes(cls, config: SaeConfig) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight: b_gate, b_mag and r_mag [d_sae] instead of b_enc."""
        common = {name: shape for name, shape in super().shapes(config).items() if name != "b_enc"}
        return common | dict.fromkeys(("b_gate", "b_mag", "r_mag"), (config.d_sae,))

    def _encode(self, x: Tensor) -> Tensor:
        x = self._centred(x)
        gate = torch.addmm(self.b_gate, x, self.W_enc) > 0
        size = torch.addmm(self.b_mag, x, self.W_enc * self.r_mag.exp())
        return size.relu() * gate
