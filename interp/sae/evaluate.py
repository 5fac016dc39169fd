"""How good is an SAE? Every number with its interval and with what two empty-handed rivals score.

The rivals: a predictor that always answers the mean of the activations, and an SAE with random directions that is on
as often (`random_sae`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from interp.errors import InvalidInput
from interp.sae.activation_rows import Activations, PoissonWeights, chunks, percentile_interval
from interp.sae.coder import SAE
from interp.sae.density import density_shares
from interp.sae.fidelity import FidelitySums
from interp.sae.rival import calibrated
from interp.sae.shape import encoder_decoder_cosine, nearest_cosine
from interp.stats.intervals import wilson_interval

COLUMNS = (
    "metric", "value", "ci_low", "ci_high", "null_mean_predictor", "null_random_sae", "n", "n_latents",
    "interval_over", "seed", "n_boot", "status",
)  # fmt: skip


def evaluate_sae(
    sae: SAE,
    activations: Activations,
    *,
    seed: int,
    n_boot: int = 200,
    confidence: float = 0.95,
    text_index: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return a row for each metric: value, its interval, and the same for a mean predictor and a random SAE.

    FVU = sum |x - x_hat|^2 / sum |x - mean|^2, the mean that of these activations, so the mean predictor scores
    exactly 1 (explained variance, 1 - FVU, exactly 0). One pass; the whole set is never held.

    Args:
        activations: [n, d_in], or an iterable of such arrays. BOS and padding have to be left out already.
        seed: of the bootstrap and of the random dictionary.
        n_boot: resamples (Poisson weights, so that they can be drawn on the way).
        confidence: of the percentile interval.
        text_index: int [n], the text of each row: texts are then resampled. Without it rows are, and the intervals of
            tokens that come from texts are too narrow.

    Returns:
        Columns metric, value, ci_low, ci_high, null_mean_predictor, null_random_sae (see `random_sae`), n (rows),
        n_latents, interval_over (what was resampled: rows, texts or latents), seed, n_boot, status. Metrics, over
        rows: l0 (mean latents on), fvu, explained_variance, cosine, norm_ratio and slope (shrinkage, see
        `FidelitySums.metrics`). Over latents: dead_share (never on in these n rows), dense_share (on in more than
        10 % of them), density_median (of the latents that are ever on), encoder_decoder_cosine (mean; its null pairs
        each encoder with the decoder of another latent) and nearest_cosine (mean of each latent's largest decoder
        cosine with another). The shares have Wilson intervals, always of 95 %.

    Raises:
        InvalidInput: fewer than 2 rows, a text_index of another length, or a transcoder. SaeMismatch: another width.
        NonFinite: NaN or infinity.
    """
    if sae.config.is_transcoder:  # its output is not to be compared with its input
        raise InvalidInput("evaluate_sae compares with what was read; a transcoder predicts another place.")
    if not 0 < confidence < 1:
        raise InvalidInput(f"confidence is a share between 0 and 1, such as 0.95; not {confidence!r}.")
    stream = chunks(activations)
    first = next(stream, None)
    if first is None:
        raise InvalidInput("no activations to evaluate on.")
    sae_rng, boot_rng, latent_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    rival = calibrated(sae, first, sae_rng).to(sae.W_dec.device)
    weights = PoissonWeights(n_boot, boot_rng, text_index)
    both = (sae, FidelitySums(sae.config.d_in, 1 + n_boot), _Counts(sae)), (
        rival, FidelitySums(sae.config.d_in, 1), _Counts(rival),
    )  # fmt: skip
    chunk: Any = first
    while chunk is not None:
        drawn = weights.take(len(chunk))
        for coder, sums, counts in both:
            rows = chunk.to(coder.W_dec.device)
            latents = coder.encode(rows)
            counts.on += (latents > 0).sum(dim=0).cpu().numpy()
            sums.add(rows, latents, coder.reconstruct(rows, latents), drawn[:, : len(sums.weight)])
        chunk = next(stream, None)
    weights.require_spent()
    (_, ours, counts), (_, theirs, rival_counts) = both
    if ours.n < 2:
        raise InvalidInput(f"{ours.n} row is too few: a variance needs at least 2.")
    table = pd.DataFrame(
        _row_metrics(ours, theirs, confidence, "rows" if text_index is None else "texts")
        + _share_metrics(counts.on, rival_counts.on, ours.n, confidence, n_boot, latent_rng)
        + _shape_metrics(sae, rival, confidence, n_boot, latent_rng)
    )
    return table.assign(n=ours.n, n_latents=sae.config.d_sae, seed=seed, n_boot=n_boot).loc[:, list(COLUMNS)]


class _Counts:
    def __init__(self, sae: SAE) -> None:
        self.on = np.zeros(sae.config.d_sae, dtype=np.int64)


def _row_metrics(ours: FidelitySums, theirs: FidelitySums, confidence: float, over: str) -> list[dict[str, Any]]:
    rival, constant = theirs.metrics(), ours.mean_predictor()
    why = {"norm_ratio": "every activation is 0", "slope": "the reconstruction never varies"}
    return [
        _row(
            name, values, percentile_interval(values, confidence), (constant[name], rival[name][0]), over,
            why.get(name, "constant activations: no variance to explain"),
        )
        for name, values in ours.metrics().items()
    ]  # fmt: skip


def _share_metrics(
    on: np.ndarray, rival_on: np.ndarray, n: int, confidence: float, n_boot: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    density = on / n
    ours, theirs = density_shares(density), density_shares(rival_on / n)
    alive = density[density > 0]
    intervals = {name: wilson_interval(round(ours[name] * len(on)), len(on)) for name in ("dead_share", "dense_share")}
    intervals["density_median"] = percentile_interval(_resampled(alive, np.median, n_boot, rng), confidence)
    return [
        _row(name, [value], intervals[name], (np.nan, theirs[name]), "latents", "no latent is on")
        for name, value in ours.items()
    ]


def _shape_metrics(
    sae: SAE, rival: SAE, confidence: float, n_boot: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    aligned, near = encoder_decoder_cosine(sae), nearest_cosine(sae)
    figures = {
        "encoder_decoder_cosine": (aligned, _mispaired(sae), "reading and writing share no space, or a row is 0"),
        "nearest_cosine": (near, _mean(nearest_cosine(rival)), "no two decoder rows to compare"),
    }
    return [
        _row(
            name, [_mean(values)],
            percentile_interval(_resampled(values[np.isfinite(values)], np.mean, n_boot, rng), confidence),
            (np.nan, null), "latents", why,
        )
        for name, (values, null, why) in figures.items()
    ]  # fmt: skip


def _mispaired(sae: SAE) -> float:
    """Return the mean cosine between the encoder of a latent and the decoder of any other one."""
    if not np.isfinite(encoder_decoder_cosine(sae)).any() or sae.config.d_sae < 2:
        return float("nan")
    W_enc, W_dec = sae.W_enc.T.double().cpu().numpy(), sae.W_dec.double().cpu().numpy()
    reads, writes = (
        np.divide(W, size, out=np.zeros_like(W), where=size > 0)
        for W, size in ((W, np.linalg.norm(W, axis=1, keepdims=True)) for W in (W_enc, W_dec))
    )
    pairs = len(reads) * (len(reads) - 1)
    return float(reads.sum(axis=0) @ writes.sum(axis=0) - (reads * writes).sum()) / pairs


def _mean(values: np.ndarray) -> float:
    found = values[np.isfinite(values)]
    return float(found.mean()) if len(found) else float("nan")


def _resampled(values: np.ndarray, statistic: Any, n_boot: int, rng: np.random.Generator) -> np.ndarray:
    """Return the statistic of the values and of `n_boot` resamples of them, NaN if there are none."""
    if len(values) == 0:
        return np.full(1 + n_boot, np.nan)
    draws = [statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(n_boot)]
    return np.array([statistic(values), *draws])


def _row(
    metric: str, values: Any, interval: tuple[float, float], nulls: tuple[float, float], over: str, why: str
) -> dict[str, Any]:
    value = float(values[0])
    found = {"metric": metric, "value": value, "ci_low": interval[0], "ci_high": interval[1]}
    null = {"null_mean_predictor": nulls[0], "null_random_sae": float(nulls[1])}
    return found | null | {"interval_over": over, "status": "ok" if np.isfinite(value) else why}
