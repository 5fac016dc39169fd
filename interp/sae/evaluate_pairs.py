"""How good is a transcoder? Its prediction beside the mean of the targets and beside the best linear map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch

from interp.errors import InvalidInput
from interp.sae.activation_rows import CHUNK, PoissonWeights, percentile_interval
from interp.sae.coder import SAE
from interp.sae.density import density_shares
from interp.sae.fidelity import FidelitySums
from interp.stats.intervals import wilson_interval


def evaluate_transcoder(
    sae: SAE, pairs: Iterable[tuple[Any, Any]], *, seed: int, n_boot: int = 200, confidence: float = 0.95
) -> pd.DataFrame:
    """Return a row for each metric: value, its interval, and what two rivals without latents score.

    FVU = sum |y - y_hat|^2 / sum |y - mean y|^2. The rivals: the mean of these targets (FVU exactly 1), and the best
    linear map from inputs to targets, fitted to these very rows and so flattered. A transcoder that does not beat the
    linear map has learnt nothing that is not linear.

    Args:
        pairs: (x [n, d_in], y [n, d_out]) of the same tokens, BOS and padding left out.
        seed: of the bootstrap over rows (Poisson weights). Tokens of a text are not independent, so it is narrow.

    Returns:
        Columns metric, value, ci_low, ci_high, null_mean_predictor, null_linear, n (rows), seed, n_boot, status, with
        the metrics l0, fvu, explained_variance, cosine, norm_ratio, slope (see `FidelitySums.metrics`) and dead_share
        (latents never on in these rows; Wilson interval).

    Raises:
        InvalidInput: an SAE that is no transcoder, no pairs, pairs of other shapes or fewer rows than inputs.
        NonFinite: NaN or infinity.
    """
    x, y = _checked(sae, list(pairs))
    weights = PoissonWeights(n_boot, np.random.default_rng(seed))
    ours, linear = FidelitySums(y.shape[1], 1 + n_boot), FidelitySums(y.shape[1], 1)
    on = np.zeros(sae.config.d_sae, dtype=np.int64)
    predicted = _linear_prediction(x, y)
    for first in range(0, len(x), CHUNK):
        rows, targets = x[first : first + CHUNK].to(sae.W_dec.device), y[first : first + CHUNK]
        latents, drawn = sae.encode(rows), weights.take(len(rows))
        on += (latents > 0).sum(dim=0).cpu().numpy()
        ours.add(targets, latents, sae.reconstruct(rows, latents), drawn)
        linear.add(targets, latents, predicted[first : first + CHUNK], drawn[:, :1])
    rival, constant = linear.metrics(), ours.mean_predictor()
    table = [
        {
            **_estimate(name, float(values[0]), percentile_interval(values, confidence)),
            "null_mean_predictor": constant[name],
            "null_linear": float("nan") if name == "l0" else float(rival[name][0]),
        }
        for name, values in ours.metrics().items()
    ]
    dead = density_shares(on / len(x))["dead_share"]
    nothing = {"null_mean_predictor": float("nan"), "null_linear": float("nan")}
    table.append({**_estimate("dead_share", dead, wilson_interval(round(dead * len(on)), len(on))), **nothing})
    return pd.DataFrame(table).assign(n=len(x), seed=seed, n_boot=n_boot)


def _estimate(metric: str, value: float, interval: tuple[float, float]) -> dict[str, Any]:
    status = "ok" if np.isfinite(value) else "constant targets or predictions: it does not exist"
    return {"metric": metric, "value": value, "ci_low": interval[0], "ci_high": interval[1], "status": status}


def _checked(sae: SAE, pairs: list[tuple[Any, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    config = sae.config
    if not config.is_transcoder:
        raise InvalidInput("evaluate_transcoder judges transcoders; this SAE has no d_out: call evaluate_sae.")
    if not pairs:
        raise InvalidInput("no pairs to evaluate on.")
    x, y = (torch.cat([torch.as_tensor(p[i]).cpu().to(torch.float32) for p in pairs]) for i in (0, 1))
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or (x.shape[1], y.shape[1]) != (config.d_in, config.width_out):
        raise InvalidInput(
            f"pairs of {list(x.shape)} and {list(y.shape)}; this transcoder reads [n, {config.d_in}] and predicts "
            f"[n, {config.width_out}]."
        )
    if len(x) <= config.d_in + 1:
        raise InvalidInput(f"{len(x)} rows are too few: a linear map of {config.d_in} inputs would fit them exactly.")
    return x, y


def _linear_prediction(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return what the least-squares map from x (and a constant) to y gives for x, float64 [n, d_out]."""
    rows = torch.cat([x.double() - x.double().mean(dim=0), torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    return rows @ torch.linalg.lstsq(rows, y.double(), driver="gelsd").solution
