"""Group Bias Adaptation in training (Chen et al. 2025): biases are set by how often a latent fires, not by a gradient.

    y_m = w_m . (x - b_pre) + b_m,   f(x) = b_pre + sum_m a_m w_m (w_m . (x - b_pre)) 1[y_m > 0],   |w_m| = 1

Latents are in groups, each with its own ceiling on the firing frequency. Every `period` steps the bias of a latent
above its ceiling is lowered and that of one that never fired is raised; between, and for all others, it stays. There
is no sparsity penalty and no number of latents to choose for a vector.

What is ours, and not the paper's: `quantile_start` (each bias starts where its random latent fires as often as its
ceiling allows), the streaming statistics (a count and a maximum a latent instead of the buffered pre-activations, the
same numbers), and `l0_budget`. Bias and jump are one thing in this form: the latent jumps to w . (x - b_pre) > -b.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.config import SaeConfig
from interp.sae.jumprelu import JumpReluSAE
from interp.sae.learner import Learner, Options
from interp.sae.learners.bias_adaptation import adapted_bias, quantile_bias, target_frequencies
from interp.sae.learners.rows import normalise_rows, project_rows
from interp.sae.settings import TrainSettings
from interp.sae.sparse_grad import Step, Weights

_START_ROWS = 8192
_COUNTERS = ("n_seen", "n_steps")


@dataclass(frozen=True, kw_only=True)
class GbaOptions(Options):
    """What has to be chosen for GBA: the ceilings on the firing frequency, geometric from highest to lowest.

    A feature is found by latents whose ceiling is from a quarter of its frequency to three times it, and hardly by
    those above: recall .4 at six times, .1 at twelve, nothing with a highest of .5 where features fire once in 85 rows
    (`benchmarks/results/sae_recovery.json`, "resonance"). A sum of the ceilings (`l0_budget`)
    of 1.5 to 4 times the true number of active features, and below a quarter of d_in, was found to do.
    """

    lowest: float
    """Ceiling of the last group."""
    highest: float | None = None
    """Ceiling of the first group; or give l0_budget."""
    l0_budget: float | None = None
    """Sum of the ceilings over the latents, from which the highest is solved."""
    n_groups: int = 4
    gamma: float = 0.01
    """Step of a bias, as a share of the latent's (raising: of the group's) largest y."""
    period: int = 50
    """Steps between adaptations."""
    never: float = 1e-6
    """Below this share of the vectors since the last adaptation a latent counts as dead."""
    quantile_start: bool = True
    """Start each bias at the quantile of its ceiling; False: start at 0, dense."""

    def __post_init__(self) -> None:
        for name, low in (("n_groups", 1), ("period", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise InvalidInput(f"{name} is an integer from {low}, not {value!r}.")
        if not 0 < self.gamma < 1 or not 0 <= self.never < 1:
            raise InvalidInput(f"gamma is in (0, 1) and never in [0, 1); given {self.gamma!r} and {self.never!r}.")


class GbaLearner(Learner):
    """L = |f(x) - x|^2 / 2, the mean over the batch, x scaled to E |x - mean|^2 = 1; the gradient is by hand.

    weights: W [d_sae, d_in] (rows of length 1), a [d_sae], b_pre [d_in]. state: bias [d_sae] and what was seen since
    the last adaptation: count, largest [d_sae], and n_seen, n_steps, which stay on the CPU: the loop there reads them.
    """

    inference = "jumprelu"
    decoder_norm = "free"  # a row of the decoder is a w

    def __init__(
        self, config: SaeConfig, settings: TrainSettings, options: Any, weights: Weights, state: dict[str, Tensor]
    ) -> None:
        """Take weights and state; the ceilings follow from the options."""
        super().__init__(config, settings, options, weights, state)
        self._scale = config.d_in**-0.5  # from the loop's units (mean square d_in) to those of the bias (mean square 1)
        self._ceiling = torch.from_numpy(_ceilings(config, options)).to(self.device)
        self._group = torch.arange(config.d_sae, device=self.device) * options.n_groups // config.d_sae
        for name in _COUNTERS:
            self.state[name] = self.state[name].cpu()

    @classmethod
    def start(
        cls, config: SaeConfig, settings: TrainSettings, options: Any, x: Tensor, y: Tensor, rng: np.random.Generator
    ) -> Self:
        """Start from random directions, the mean of the inputs, a = 1, and biases at the quantiles of the ceilings."""
        W = torch.from_numpy(rng.standard_normal((config.d_sae, config.d_in))).float()
        W = (W / W.norm(dim=1, keepdim=True)).to(x.device)
        rows = x[:_START_ROWS] * config.d_in**-0.5  # the buffer is shuffled: its head is a sample
        mean = (x.mean(dim=0) * config.d_in**-0.5).float()
        bias = W.new_zeros(config.d_sae)
        if options.quantile_start:
            bias = quantile_bias(rows.float() - mean, W, torch.from_numpy(_ceilings(config, options)).to(x.device))
        weights = {"W": W, "a": W.new_ones(config.d_sae), "b_pre": mean}
        return cls(config, settings, options, weights, {"bias": bias, **_nothing_seen(config.d_sae, x.device)})

    @torch.no_grad()
    def step(self, x: Tensor, y: Tensor, *, step: int) -> Step:
        """Return loss and gradient of a batch, and count who fired."""
        W, a, b_pre = self.weights["W"], self.weights["a"], self.weights["b_pre"]
        x = x * self._scale
        rows = x - b_pre
        h = rows @ W.T
        jump = h + self.state["bias"]
        on = jump > 0
        z = h * on
        error = torch.addmm(b_pre, z * a, W) - x
        residual, n = error.square().sum().double(), len(x)
        error /= n
        back = (error @ W.T) * on  # gradient in a z
        d_h = back * a
        grads = {
            "W": (z * a).T @ error + d_h.T @ rows,
            "a": (back * z).sum(dim=0),
            "b_pre": error.sum(dim=0) - d_h.sum(dim=0) @ W,
        }
        project_rows(grads["W"], W)
        self._note(on, jump)
        return Step(residual / (2 * n), grads, residual / self._scale**2, on.any(dim=0), on.sum())

    @torch.no_grad()
    def constrain(self) -> None:
        """Renormalise the directions and, once a period, adapt the biases."""
        normalise_rows(self.weights["W"])
        if int(self.state["n_steps"]) < self.options.period:
            return
        options, state = self.options, self.state
        state["bias"] = adapted_bias(
            state["bias"],
            state["count"],
            state["largest"],
            int(state["n_seen"]),
            ceiling=self._ceiling,
            group=self._group,
            gamma=options.gamma,
            never=options.never,
        )
        state |= _nothing_seen(self.config.d_sae, self.device)

    @torch.no_grad()
    def finished(self, input_scale: float, output_scale: float) -> JumpReluSAE:
        """Return the same function of raw activations as a JumpReLU SAE: thresholds -b, decoder rows a w."""
        W, unit = self.weights["W"].detach(), input_scale * self._scale
        weights = {
            "W_enc": W.T,
            "b_enc": W.new_zeros(self.config.d_sae),
            "W_dec": self.weights["a"].detach()[:, None] * W,
            "b_dec": self.weights["b_pre"].detach() / unit,
            "threshold": (0.0 - self.state["bias"]) / unit,
        }
        return JumpReluSAE(self.config.with_(input_scale=input_scale), weights)

    @classmethod
    def check(cls, config: SaeConfig, options: Any) -> None:
        """Refuse another config, a transcoder (encoder and decoder are tied), or ceilings that cannot be."""
        super().check(config, options)
        if config.is_transcoder or not config.apply_b_dec_to_input:
            raise InvalidInput(
                "GBA ties encoder and decoder about one bias: d_out null and apply_b_dec_to_input true; the config "
                f"says {config.d_out!r} and {config.apply_b_dec_to_input!r}."
            )
        _ceilings(config, options)

    def _note(self, on: Tensor, jump: Tensor) -> None:
        state = self.state
        state["count"] = state["count"] + self.ranks.sum(on.sum(dim=0))
        state["largest"] = torch.maximum(state["largest"], self.ranks.max(jump.amax(dim=0)))
        state["n_seen"] = state["n_seen"] + len(on) * self.ranks.world
        state["n_steps"] = state["n_steps"] + 1


def _ceilings(config: SaeConfig, options: GbaOptions) -> np.ndarray:
    return target_frequencies(
        config.d_sae,
        options.n_groups,
        lowest=options.lowest,
        highest=options.highest,
        l0_budget=options.l0_budget,
    )


def _nothing_seen(d_sae: int, device: torch.device) -> dict[str, Tensor]:
    return {
        "count": torch.zeros(d_sae, dtype=torch.int64, device=device),
        "largest": torch.full((d_sae,), float("-inf"), device=device),
        **{name: torch.zeros((), dtype=torch.int64) for name in _COUNTERS},
    }
