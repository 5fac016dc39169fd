"""Matryoshka BatchTopK in training (Bussmann et al. 2025): the first latents alone must already reconstruct.

Every prefix of the latents is asked for the whole input, so general features settle in the short prefixes and cannot
be absorbed by their special cases further back. Selection, threshold and dead latents are those of BatchTopK.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.config import SaeConfig
from interp.sae.learners.batchtopk import BatchTopKLearner, BatchTopKOptions
from interp.sae.settings import TrainSettings
from interp.sae.sparse_grad import Weights

SHARES = (1 / 32, 3 / 32, 7 / 32, 15 / 32, 1.0)
"""Prefixes of the paper as shares of d_sae: each group of latents has twice the size of the one before it."""


@dataclass(frozen=True, kw_only=True)
class MatryoshkaOptions(BatchTopKOptions):
    """What has to be chosen for a Matryoshka SAE."""

    prefixes: tuple[int, ...] | None = None
    """Numbers of leading latents that reconstruct alone, rising, the last d_sae; None: the shares of the paper."""

    def filled(self, config: SaeConfig, settings: TrainSettings) -> Self:
        """Return the options with k_aux and the prefixes filled in."""
        options = super().filled(config, settings)
        if options.prefixes is not None:
            return replace(options, prefixes=tuple(options.prefixes))
        return replace(options, prefixes=tuple(sorted({max(1, round(s * config.d_sae)) for s in SHARES})))


class MatryoshkaLearner(BatchTopKLearner):
    """The error of BatchTopK, averaged over the reconstructions from each prefix of the latents.

    (The paper sums over prefixes; the mean leaves the AuxK term its weight.) Reference: Bussmann et al. 2025, eq. 4.
    """

    @classmethod
    def check(cls, config: SaeConfig, options: Any) -> None:
        """Refuse another config, or prefixes that do not rise to d_sae."""
        super().check(config, options)
        prefixes = options.prefixes
        if prefixes is None:
            return
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in prefixes)
        rising = whole and all(a < b for a, b in pairwise((0, *prefixes)))
        if not rising or not prefixes or prefixes[-1] != config.d_sae:
            raise InvalidInput(f"prefixes are integers rising from 1 to d_sae = {config.d_sae}; not {prefixes!r}.")

    def error(self, weights: Weights, latents: Tensor, y_hat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean over prefixes of the error of the reconstruction from that prefix."""
        base = weights["b_dec"] - y
        if "W_skip" in weights:
            base = base + (x @ weights["W_skip"].T).float()
        total = y.new_zeros(())
        for first, last in pairwise((0, *self.options.prefixes)):
            base = base + (latents[:, first:last] @ weights["W_dec"][first:last]).float()
            total = total + base.square().mean()
        return total / len(self.options.prefixes)
