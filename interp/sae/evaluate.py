"""How good is an SAE? Every number with its interval and with what two empty-handed rivals score.

The rivals: a predictor that always answers the mean of the activations, and an SAE with a random dictionary and as
many active latents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.coder import SAE
from interp.sae.config import topk_config
from interp.sae.topk import TopKSAE

DENSE = 0.1
"""A latent that is on for more than this share of the rows is dense."""
_CHUNK = 4096


def evaluate_sae(
    sae: SAE,
    activations: np.ndarray | Tensor | Iterable[Any],
    *,
    seed: int,
    n_boot: int = 200,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return a row for each metric: value, its interval, and the same for a mean predictor and a random SAE.

    FVU = sum |x - x_hat|^2 / sum |x - mean|^2, the mean that of these activations, so the mean predictor scores
    exactly 1 (explained variance, 1 - FVU, exactly 0). One pass; the whole set is never held.

    Args:
        activations: [n, d_in], or an iterable of such arrays. BOS and padding have to be left out already.
        seed: of the bootstrap and of the random dictionary.
        n_boot: resamples of the rows (Poisson weights, so that they can be drawn on the way).
        confidence: of the percentile interval.

    Returns:
        Columns metric, value, ci_low, ci_high, null_mean_predictor, null_random_sae, n (rows), seed, n_boot, status.
        Metrics: l0 (mean latents on), fvu, explained_variance, cosine, dead_share (never on in these n rows),
        dense_share (on in more than 10 % of them), density_median (of the latents that are ever on). The last three
        are shares of latents, not means over rows, and have no interval.

    Raises:
        InvalidInput: fewer than 2 rows, or a transcoder. SaeMismatch: another width. NonFinite: NaN or infinity.
    """
    if sae.config.is_transcoder:  # its output is not to be compared with its input
        raise InvalidInput("evaluate_sae compares with what was read; a transcoder predicts another place.")
    chunks = _chunks(activations)
    first = next(chunks, None)
    if first is None:
        raise InvalidInput("no activations to evaluate on.")
    sae_rng, boot_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    rival = _RandomSae(sae, first, sae_rng)
    ours = _Sums(sae.config.d_in, sae.config.d_sae, n_boot)
    theirs = _Sums(sae.config.d_in, rival.d_sae, 0)
    while first is not None:
        weights = boot_rng.poisson(1.0, size=(len(first), n_boot)).astype(np.float64)
        latents = sae.encode(first)
        ours.add(first, latents, sae.reconstruct(first, latents), weights)
        theirs.add(first, *rival(first), weights[:, :0])
        first = next(chunks, None)
    if ours.n < 2:
        raise InvalidInput(f"{ours.n} row is too few: a variance needs at least 2.")
    return _table(ours, theirs, seed, n_boot, confidence)


def latent_density(sae: SAE, activations: np.ndarray | Tensor | Iterable[Any]) -> np.ndarray:
    """Return the share of rows on which each latent is on, float64 [d_sae]."""
    on, n = torch.zeros(sae.config.d_sae, dtype=torch.int64), 0
    for rows in _chunks(activations):
        on += (sae.encode(rows) > 0).sum(dim=0).cpu()
        n += len(rows)
    if n == 0:
        raise InvalidInput("no activations to count on.")
    return on.numpy() / n


class _Sums:
    """Running float64 sums: over the rows, and over `n_boot` reweightings of them (column 0: every weight 1)."""

    def __init__(self, d_in: int, d_sae: int, n_boot: int) -> None:
        self.n = 0
        self.weight = np.zeros(1 + n_boot)
        self.x = np.zeros((1 + n_boot, d_in))
        self.unit = np.zeros((1 + n_boot, d_in))  # sum of x / |x|, from which any constant's mean cosine follows
        self.scalars = np.zeros((1 + n_boot, 4))  # |x - shift|^2, |x - x_hat|^2, cosine, latents on
        self.on = np.zeros(d_sae, dtype=np.int64)
        self._shift: np.ndarray | None = None

    def add(self, x: Tensor, latents: Tensor, x_hat: Tensor, weights: np.ndarray) -> None:
        rows, out = x.cpu().double().numpy(), x_hat.cpu().double().numpy()
        if self._shift is None:
            self._shift = rows[0].copy()  # near the mean: the variance is then not a difference of large numbers
        on = (latents > 0).cpu().numpy()
        norm = np.linalg.norm(rows, axis=1)
        safe = np.where(norm > 0, norm, 1.0)
        product = safe * np.linalg.norm(out, axis=1)
        cosine = np.divide((rows * out).sum(axis=1), product, out=np.zeros(len(rows)), where=product > 0)
        centred = rows - self._shift
        per_row = np.stack(
            [(centred**2).sum(axis=1), ((rows - out) ** 2).sum(axis=1), cosine, on.sum(axis=1).astype(np.float64)],
            axis=1,
        )
        w = np.concatenate([np.ones((len(rows), 1)), weights], axis=1).T
        self.n += len(rows)
        self.weight += w.sum(axis=1)
        self.x += w @ centred
        self.unit += w @ (rows / safe[:, None])
        self.scalars += w @ per_row
        self.on += on.sum(axis=0)

    def means(self) -> dict[str, np.ndarray]:
        """Return l0, fvu, explained_variance and cosine, each [1 + n_boot], the first of them of all rows."""
        with np.errstate(divide="ignore", invalid="ignore"):  # a constant stream has no variance: NaN, with a status
            centred = self.x / self.weight[:, None]
            variance = self.scalars[:, 0] - self.weight * (centred**2).sum(axis=1)
            fvu = np.where(variance > 0, self.scalars[:, 1] / variance, np.nan)
            return {
                "l0": self.scalars[:, 3] / self.weight,
                "fvu": fvu,
                "explained_variance": 1.0 - fvu,
                "cosine": self.scalars[:, 2] / self.weight,
            }

    def mean_predictor(self) -> dict[str, float]:
        """Return what predicting the mean scores on the same rows; FVU is 1 by its definition."""
        mean = self.x[0] / self.n + (self._shift if self._shift is not None else 0.0)
        size = np.linalg.norm(mean)
        cosine = float(self.unit[0] @ mean / (self.n * size)) if size > 0 else 0.0
        return {"l0": 0.0, "fvu": 1.0, "explained_variance": 0.0, "cosine": cosine}

    def shares(self) -> dict[str, float]:
        """Return dead_share, dense_share and density_median over the latents."""
        density = self.on / self.n
        alive = density[density > 0]
        return {
            "dead_share": float((density == 0).mean()),
            "dense_share": float((density > DENSE).mean()),
            "density_median": float(np.median(alive)) if len(alive) else float("nan"),
        }


class _RandomSae:
    """A TopK SAE with random directions, as many latents on as the real one has, and one fitted gain.

    Without the gain its overlapping directions overshoot, and it would lose for a trivial reason.
    """

    def __init__(self, sae: SAE, rows: Tensor, rng: np.random.Generator) -> None:
        self.d_sae = sae.config.d_sae
        k = max(1, min(self.d_sae, round(float((sae.encode(rows) > 0).sum(dim=1).double().mean()))))
        directions = rng.standard_normal((self.d_sae, sae.config.d_in)).astype(np.float32)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        W_dec = torch.from_numpy(directions)
        weights = {"W_enc": W_dec.T, "W_dec": W_dec, "b_enc": torch.zeros(self.d_sae), "b_dec": rows.cpu().mean(dim=0)}
        self._sae = TopKSAE(topk_config(sae.config.d_in, self.d_sae, k=k), weights)
        centred, part = rows.cpu() - self._sae.b_dec, self._sae(rows.cpu()) - self._sae.b_dec
        size = float(part.square().sum())
        self._gain = float((centred * part).sum()) / size if size > 0 else 0.0

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        latents = self._sae.encode(x.cpu())
        return latents, self._sae.decode(latents * self._gain)


def _table(ours: _Sums, theirs: _Sums, seed: int, n_boot: int, confidence: float) -> pd.DataFrame:
    tail = 100 * (1 - confidence) / 2
    means, rival, constant = ours.means(), theirs.means(), ours.mean_predictor()
    rows = []
    for name, values in means.items():
        boot = values[1:]
        whole = len(boot) > 0 and bool(np.isfinite(boot).all())
        low, high = np.percentile(boot, [tail, 100 - tail]) if whole else (np.nan, np.nan)
        status = "ok" if np.isfinite(values[0]) else "constant activations: no variance to explain"
        null = {"null_mean_predictor": constant[name], "null_random_sae": float(rival[name][0])}
        rows.append(
            {"metric": name, "value": float(values[0]), "ci_low": low, "ci_high": high, **null, "status": status}
        )
    ours_shares, rival_shares = ours.shares(), theirs.shares()
    for name, value in ours_shares.items():
        null = {"null_mean_predictor": np.nan, "null_random_sae": rival_shares[name]}
        status = "ok" if np.isfinite(value) else "no latent is on"
        rows.append({"metric": name, "value": value, "ci_low": np.nan, "ci_high": np.nan, **null, "status": status})
    table = pd.DataFrame(rows).assign(n=ours.n, seed=seed, n_boot=n_boot)
    names = ("metric", "value", "ci_low", "ci_high", "null_mean_predictor", "null_random_sae", "n", "seed", "n_boot")
    return table.loc[:, [*names, "status"]]


def _chunks(activations: Any) -> Iterator[Tensor]:
    """Yield float32 chunks of at most 4096 rows, from one array or from an iterable of arrays."""
    arrays = [activations] if isinstance(activations, np.ndarray | Tensor) else activations
    for array in arrays:
        rows = torch.as_tensor(array)
        if rows.ndim != 2:
            raise InvalidInput(f"activations are [n, d_in]; given {list(rows.shape)}.")
        for start in range(0, len(rows), _CHUNK):
            yield rows[start : start + _CHUNK].to(torch.float32)
