"""Do two SAEs find the same latents? One-to-one matches of their decoders, beside what random directions would match.

Two trainings that differ in their seed alone share a part of their latents; the rest is of that seed. The largest
cosine with any latent of the other SAE flatters, for many latents may name the same one: it is given for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from interp.errors import InvalidInput, SaeMismatch
from interp.sae.coder import SAE
from interp.stats.pvalues import permutation_p

SHARED = 0.7
"""A matched pair above this cosine counts as one feature (Paulo and Belrose 2025)."""
METRICS = ("matched_cosine", "shared", "shared_both", "mutual", "best_cosine_a", "best_cosine_b")
_BANDS = ("rare third", "middle third", "frequent third")


def match_latents(a: SAE, b: SAE) -> pd.DataFrame:
    """Return the one-to-one matching of latents of a and b whose decoder cosines sum to the most.

    Returns:
        A row for each latent of the smaller SAE: latent_a, latent_b, cosine (of decoder rows, signed; 0 for a row of
        length 0), mutual (each is the other's nearest), encoder_cosine, and encoder_agrees (the matching of the
        encoders pairs the same two). The last two are NaN and False where an SAE has no encoder weights of its own.

    Raises:
        SaeMismatch: the SAEs write to spaces of other widths.

    Reference: Paulo and Belrose 2025 (Hungarian matching of decoders, agreement with that of encoders).
    """
    _check_widths(a, b)
    return _matched(_rows(a), _rows(b))


def compare_saes(
    a: SAE,
    b: SAE,
    *,
    seed: int,
    density: np.ndarray | None = None,
    n_null: int = 19,
    n_boot: int = 1000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return how far two SAEs agree, each number beside that of a against random dictionaries.

    The random ones have as many directions as b, drawn with the second moments of b's own unit rows: what agrees only
    because both write into the same few dimensions agrees with them too. Their encoder is their decoder.

    Args:
        seed: of the bootstrap over latents and of the random dictionaries.
        density: float [d_sae of a], share of rows on which each latent of a is on (`latent_density`): adds a row for
            its dead latents and for each third of the others, by frequency.
        n_null: random dictionaries; each is one matching, cubic in the number of latents.

    Returns:
        A row for each metric and band of latents of a: metric, band, value, ci_low, ci_high (over latents), null_mean,
        null_sd, p (one-sided, at least 1 / (n_null + 1)), n (latents behind the value), n_perm, n_boot, seed, status.
        Metrics: matched_cosine (mean over matched pairs), shared (pairs with a cosine above 0.7), shared_both (and
        whose encoders match too, above 0.7), mutual (pairs above 0.7 that are each other's nearest), best_cosine_a and
        best_cosine_b (mean of each latent's largest cosine: one-sided, many to one).

    Raises:
        SaeMismatch: the SAEs write to spaces of other widths. InvalidInput: a density of another length.
    """
    _check_widths(a, b)
    if density is not None and np.shape(density) != (a.config.d_sae,):
        raise InvalidInput(f"density is [{a.config.d_sae}], one value a latent of a; given {np.shape(density)}.")
    null_rng, boot_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    ours, theirs = _rows(a), _rows(b)
    found = _values(ours, theirs)
    root = _second_moment_root(theirs["decoder"])
    nulls = [_values(ours, _random_rows(root, b.config.d_sae, null_rng)) for _ in range(n_null)]
    out = []
    for band, members in _bands(density).items():
        for metric in METRICS:
            if metric == "best_cosine_b" and band != "all":
                continue  # the bands are of latents of a
            values = _of_band(found[metric], members)
            chance = np.array([_mean(_of_band(null[metric], members)) for null in nulls])
            out.append({"metric": metric, "band": band} | _tested(values, chance, n_boot, confidence, boot_rng))
    return pd.DataFrame(out).assign(n_perm=n_null, n_boot=n_boot, seed=seed)


def stability(
    saes: Sequence[SAE],
    *,
    seed: int,
    densities: Sequence[np.ndarray] | None = None,
    n_null: int = 19,
    n_boot: int = 1000,
) -> pd.DataFrame:
    """Return `compare_saes` of every pair, with the numbers a < b of the pair in front.

    Args:
        saes: two or more that were trained alike with other seeds.
        densities: of the latents of each, as in `compare_saes`.

    Raises:
        InvalidInput: fewer than two SAEs, or another number of densities.
    """
    if len(saes) < 2 or (densities is not None and len(densities) != len(saes)):
        given = "none" if densities is None else len(densities)
        raise InvalidInput(f"stability needs two SAEs or more, and a density of each; given {len(saes)} and {given}.")
    tables = []
    for i, j in combinations(range(len(saes)), 2):
        density = None if densities is None else densities[i]
        table = compare_saes(saes[i], saes[j], seed=seed, density=density, n_null=n_null, n_boot=n_boot)
        table.insert(0, "a", i)
        table.insert(1, "b", j)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _rows(sae: SAE) -> dict[str, np.ndarray]:
    """Return unit rows of decoder and, where there is one of the same number of latents, encoder."""
    weights = sae.weights()
    out = {"decoder": _unit(sae.W_dec.double().cpu().numpy())}
    if "W_enc" in weights:
        out["encoder"] = _unit(weights["W_enc"].T.double().cpu().numpy())
    return out


def _unit(rows: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, size, out=np.zeros_like(rows), where=size > 0)


def _matched(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> pd.DataFrame:
    from scipy.optimize import linear_sum_assignment

    cosine = a["decoder"] @ b["decoder"].T
    rows, columns = linear_sum_assignment(cosine, maximize=True)
    mutual = (cosine.argmax(axis=1)[rows] == columns) & (cosine.argmax(axis=0)[columns] == rows)
    table = pd.DataFrame({"latent_a": rows, "latent_b": columns, "cosine": cosine[rows, columns], "mutual": mutual})
    both = "encoder" in a and "encoder" in b and a["encoder"].shape[1] == b["encoder"].shape[1]
    if not both:
        return table.assign(encoder_cosine=np.nan, encoder_agrees=False)
    reading = a["encoder"] @ b["encoder"].T
    partner = np.full(len(reading), -1)
    read_rows, read_columns = linear_sum_assignment(reading, maximize=True)
    partner[read_rows] = read_columns
    return table.assign(encoder_cosine=reading[rows, columns], encoder_agrees=partner[rows] == columns)


def _values(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return each metric of each latent of a (of b for best_cosine_b), NaN for a latent without a partner."""
    pairs = _matched(a, b)
    cosine = a["decoder"] @ b["decoder"].T
    high, reading = (pairs["cosine"] > SHARED).to_numpy(), pairs["encoder_cosine"].to_numpy()
    reads = pairs["encoder_agrees"].to_numpy() & (reading > SHARED)
    columns = {
        "matched_cosine": pairs["cosine"].to_numpy(),
        "shared": high,
        "shared_both": np.where(np.isnan(reading), np.nan, high & reads),
        "mutual": high & pairs["mutual"].to_numpy(),
    }
    out = {"best_cosine_a": cosine.max(axis=1), "best_cosine_b": cosine.max(axis=0)}
    for name, values in columns.items():
        out[name] = np.full(len(cosine), np.nan)
        out[name][pairs["latent_a"]] = values
    return out


def _second_moment_root(rows: np.ndarray) -> np.ndarray:
    """Return R [d, d] with R^T R the second moments of unit rows."""
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def _random_rows(root: np.ndarray, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    rows = _unit(rng.standard_normal((n, len(root))) @ root)
    return {"decoder": rows, "encoder": rows}


def _bands(density: np.ndarray | None) -> dict[str, np.ndarray | None]:
    """Return the latents of a in each band; None stands for all of them."""
    bands: dict[str, np.ndarray | None] = {"all": None}
    if density is None:
        return bands
    alive = np.flatnonzero(np.asarray(density) > 0)
    order = alive[np.argsort(np.asarray(density)[alive], kind="stable")]
    bands["dead"] = np.flatnonzero(np.asarray(density) == 0)
    bands.update(zip(_BANDS, np.array_split(order, 3), strict=True))
    return bands


def _of_band(values: np.ndarray, members: np.ndarray | None) -> np.ndarray:
    found = values if members is None else values[members]
    return found[np.isfinite(found)]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _tested(
    values: np.ndarray, chance: np.ndarray, n_boot: int, confidence: float, rng: np.random.Generator
) -> dict[str, Any]:
    value, known = _mean(values), chance[np.isfinite(chance)]
    status = "ok" if len(values) else "no latent to compare, or no encoder of its own"
    low = high = np.nan
    if len(values) and n_boot:
        draws = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(n_boot)]
        low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    tested = status == "ok" and len(known) == len(chance) > 0
    at_least, at_most = np.array((chance >= value).sum()), np.array((chance <= value).sum())
    return {
        "value": value, "ci_low": float(low), "ci_high": float(high),
        "null_mean": _mean(known), "null_sd": float(known.std(ddof=1)) if len(known) > 1 else np.nan,
        "p": float(permutation_p(at_least, at_most, len(chance))) if tested else np.nan,
        "n": len(values), "status": status,
    }  # fmt: skip


def _check_widths(a: SAE, b: SAE) -> None:
    if a.W_dec.shape[1] != b.W_dec.shape[1]:
        raise SaeMismatch(
            f"one SAE writes to {a.W_dec.shape[1]} dimensions and the other to {b.W_dec.shape[1]}; latents can be "
            "compared only where both write to the same site."
        )
