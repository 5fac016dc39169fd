"""TopK SAE: a token keeps its k largest latents (Gao et al. 2024, eq. 2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from interp.sae.coder import SAE, SparseLatents
from interp.sae.screen import Screen, screen_of


class TopKSAE(SAE):
    """z = ReLU(TopK_k((x - b_dec) W_enc + b_enc)); x_hat = z W_dec + b_dec.

    Of latents that tie for the last place the one with the lower index is kept, so the choice does not hang on
    how a machine sorts. A row has fewer than k active latents where fewer than k pre-activations are positive.
    """

    architecture = "topk"
    kept_screen: tuple[tuple[tuple[int, int], ...], Screen] | None = None  # of these very weights; see `screen_of`

    def encode_sparse(self, x: Tensor | np.ndarray) -> SparseLatents:
        """Return values and indices [batch, k] of the kept latents, indices ascending; no dense result is made."""
        rows = self._normalised(self._checked(x))[0]
        screen = screen_of(self, rows)
        if screen is not None:
            return SparseLatents(*screen.top_k(self._centred(rows), self.k))
        values, indices = top_k(self._pre(rows), self.k)
        return SparseLatents(values.relu(), indices)

    def encoder(self) -> tuple[Tensor, Tensor]:
        """Return the weights [d_in, d_sae] and the bias [d_sae] that a centred activation meets, with any rescaling."""
        if not self.config.rescale_acts_by_decoder_norm:
            return self.W_enc, self.b_enc
        scale = self.W_dec.norm(dim=1)
        return self.W_enc * scale, self.b_enc * scale

    @property
    def k(self) -> int:
        """Latents kept for a token."""
        return self.config.k or 0  # a topk config has k >= 1

    def _encode(self, x: Tensor) -> Tensor:
        pre = self._pre(x)
        values, indices = top_k(pre, self.k)
        return torch.zeros_like(pre).scatter(1, indices, values.relu())

    def _pre(self, x: Tensor) -> Tensor:
        pre = torch.addmm(self.b_enc, self._centred(x), self.W_enc)
        return pre * self.W_dec.norm(dim=1) if self.config.rescale_acts_by_decoder_norm else pre

    def _decode(self, latents: Tensor) -> Tensor:
        if self.config.rescale_acts_by_decoder_norm:
            latents = latents / self.W_dec.norm(dim=1)
        return super()._decode(latents)


def top_k(pre: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest values of each row [batch, k] and their columns, columns ascending.

    Exact ties at the k-th place go to the lower column.
    """
    d_sae = pre.shape[1]
    if k >= d_sae:
        return pre.clone(), torch.arange(d_sae, device=pre.device).expand(len(pre), d_sae).clone()
    values, indices = torch.topk(pre, k + 1, dim=1)
    tied = values[:, k - 1] == values[:, k]
    indices = indices[:, :k].clone()
    if bool(tied.any()):
        rows = pre[tied]
        indices[tied] = torch.sort(rows, dim=1, descending=True, stable=True).indices[:, :k]
    indices = torch.sort(indices, dim=1).values
    return torch.gather(pre, 1, indices), indices
