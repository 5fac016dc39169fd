"""Standard SAE: a ReLU over every pre-activation (Bricken et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from interp.sae.coder import SAE


class StandardSAE(SAE):
    """z = ReLU((x - b_dec) W_enc + b_enc); x_hat = z W_dec + b_dec."""

    architecture = "standard"

    def _encode(self, x: Tensor) -> Tensor:
        return torch.addmm(self.b_enc, self._centred(x), self.W_enc).relu()
