"""Reconstruction by class of token, so that a few huge activations or one common token cannot hide the rest.

The variance of a residual stream can lie almost whole in a few positions of huge norm: an SAE that copies those has an
FVU near 0 and may have lost everything else. Each class is therefore measured about its own mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from interp.errors import InvalidInput
from interp.sae.activation_rows import Activations, PoissonWeights, chunks, percentile_interval
from interp.sae.coder import SAE
from interp.sae.fidelity import FidelitySums
from interp.sae.rival import calibrated

HUGE = 10.0
"""An activation this many times as long as the median one is huge."""
ALL = "all tokens"
COLUMNS = (
    "family", "group", "fvu", "ci_low", "ci_high", "null_mean_predictor", "null_random_sae", "l0", "cosine",
    "error_share", "variance_share", "n", "interval_over", "seed", "n_boot", "status",
)  # fmt: skip


class Bands(NamedTuple):
    """A family of token classes: their names in order, and the number of the class of each row, int [n]."""

    names: tuple[str, ...]
    codes: np.ndarray


def position_bands(position: np.ndarray) -> Bands:
    """Return classes of tokens by place in the text, int [n] from 0 (which is BOS where there is one), in octaves."""
    found = np.asarray(position)
    if found.ndim != 1 or len(found) == 0 or found.min() < 0:
        raise InvalidInput(f"position is int [n] from 0, the place of each token in its text; given {found.shape}.")
    octave = np.where(found == 0, 0, np.floor(np.log2(np.maximum(found, 1))).astype(np.int64) + 1)
    names = ["position 0", "position 1"] + [f"positions {2**i}-{2 ** (i + 1) - 1}" for i in range(1, int(octave.max()))]
    return _present(names[: int(octave.max()) + 1], octave)


def frequency_bands(ids: np.ndarray) -> Bands:
    """Return classes of tokens by how often their id, int [n], is among these rows, in decades."""
    found = np.asarray(ids)
    if found.ndim != 1 or len(found) == 0:
        raise InvalidInput(f"ids is int [n], the id of each token; given {found.shape}.")
    _, which, counts = np.unique(found, return_inverse=True, return_counts=True)
    decade = np.floor(np.log10(counts)).astype(np.int64)[which]
    names = [f"ids seen {10**i}-{10 ** (i + 1) - 1} times" for i in range(int(decade.max()) + 1)]
    return _present(names, decade)


def norm_bands(norm: np.ndarray, *, huge: float = HUGE) -> Bands:
    """Return two classes of tokens: activations of at most, and of more than, `huge` times the median norm, [n]."""
    found = np.asarray(norm, dtype=np.float64)
    if found.ndim != 1 or len(found) == 0 or not np.isfinite(found).all():
        raise InvalidInput(f"norm is float [n], the length of each activation; given {found.shape}.")
    names = [f"norm up to {huge:g} medians", f"norm above {huge:g} medians"]
    return _present(names, (found > huge * np.median(found)).astype(np.int64))


def reconstruction_by_class(
    sae: SAE,
    activations: Activations,
    families: Mapping[str, Bands],
    *,
    seed: int,
    n_boot: int = 200,
    confidence: float = 0.95,
    text_index: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return FVU, L0 and cosine of each class of tokens, beside those of a mean predictor and a random SAE.

    Args:
        activations: [n, d_in], or an iterable of such arrays, without BOS and padding.
        families: name -> classes of the rows, such as {"position": position_bands(...), ...}.
        seed, n_boot, confidence, text_index: as in `evaluate_sae`.

    Returns:
        A row for all tokens and one for each class: family, group, fvu (about the mean of the class itself, so that
        the mean predictor of the class scores exactly 1), ci_low, ci_high, null_mean_predictor, null_random_sae (fvu
        of `random_sae` in the class), l0, cosine, error_share and variance_share (of the squared error and of the
        variance about the mean of all), n (rows), interval_over, seed, n_boot, status. A class in so few texts that a
        resample can lack it whole has no interval.

    Raises:
        InvalidInput: no rows, a transcoder, or classes of another number of rows.
    """
    if sae.config.is_transcoder:
        raise InvalidInput("reconstruction_by_class compares with what was read; a transcoder predicts another place.")
    groups = [(family, code, name) for family, b in families.items() for code, name in enumerate(b.names)]
    ours = [FidelitySums(sae.config.d_in, 1 + n_boot) for _ in range(1 + len(groups))]
    theirs = [FidelitySums(sae.config.d_in, 1) for _ in ours]
    n = _add_rows(sae, activations, families, groups, (ours, theirs), seed, n_boot, text_index)
    for family, bands in families.items():
        if len(bands.codes) != n:
            raise InvalidInput(f"classes of {family!r} are of {len(bands.codes)} rows; there are {n} activations.")
    over = "rows" if text_index is None else "texts"
    rows = [
        _row(about, mine, rival, ours[0], confidence, over)
        for about, mine, rival in zip([("all", 0, ALL), *groups], ours, theirs, strict=True)
    ]
    return pd.DataFrame(rows).assign(seed=seed, n_boot=n_boot).loc[:, list(COLUMNS)]


def _add_rows(
    sae: SAE,
    activations: Activations,
    families: Mapping[str, Bands],
    groups: list[tuple[str, int, str]],
    sums: tuple[list[FidelitySums], list[FidelitySums]],
    seed: int,
    n_boot: int,
    text_index: np.ndarray | None,
) -> int:
    """Add every row to the sums of all and of its classes; return how many rows there were."""
    sae_rng, boot_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    weights, rival, at = PoissonWeights(n_boot, boot_rng, text_index), None, 0
    for chunk in chunks(activations):
        rival = calibrated(sae, chunk, sae_rng) if rival is None else rival
        drawn = weights.take(len(chunk))
        codes = {name: bands.codes[at : at + len(chunk)] for name, bands in families.items()}
        if any(len(part) < len(chunk) for part in codes.values()):
            raise InvalidInput("there are more activations than rows with a class.")
        members = [np.arange(len(chunk)), *(np.flatnonzero(codes[family] == code) for family, code, _ in groups)]
        for coder, kept in ((sae, sums[0]), (rival, sums[1])):
            rows = chunk.to(coder.W_dec.device)
            latents = coder.encode(rows)
            out = coder.reconstruct(rows, latents)
            for total, which in zip(kept, members, strict=True):
                if len(which):
                    total.add(rows[which], latents[which], out[which], drawn[which, : len(total.weight)])
        at += len(chunk)
    if at == 0:
        raise InvalidInput("no activations to evaluate on.")
    weights.require_spent()
    return at


def _row(
    about: tuple[str, int, str],
    mine: FidelitySums,
    rival: FidelitySums,
    everything: FidelitySums,
    confidence: float,
    over: str,
) -> dict[str, Any]:
    found, theirs = mine.metrics(), rival.metrics()
    fvu = found["fvu"]
    low, high = percentile_interval(fvu, confidence)
    spread, total = mine.variance_about(everything.mean()), float(everything.variance()[0])
    error = float(everything.error()[0])
    why = "1 row: no variance to explain" if mine.n == 1 else "constant activations: no variance to explain"
    ok = bool(np.isfinite(fvu[0]))
    return {
        "family": about[0], "group": about[2], "fvu": float(fvu[0]), "ci_low": low, "ci_high": high,
        "null_mean_predictor": 1.0 if ok else np.nan, "null_random_sae": float(theirs["fvu"][0]),
        "l0": float(found["l0"][0]), "cosine": float(found["cosine"][0]),
        "error_share": float(mine.error()[0]) / error if error > 0 else np.nan,
        "variance_share": spread / total if total > 0 else np.nan,
        "n": mine.n, "interval_over": over, "status": "ok" if ok else why,
    }  # fmt: skip


def _present(names: list[str], codes: np.ndarray) -> Bands:
    """Return the bands without the classes that hold no row."""
    used, new = np.unique(codes, return_inverse=True)
    return Bands(tuple(names[i] for i in used), new.astype(np.int64))
