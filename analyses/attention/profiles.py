"""Relation profiles: why a head, or a latent, reads where it reads, and how many different reasons it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.attention.attributions import attention_layer, on_device
from analyses.attention.masses import HeadMass, LatentEvents, by_row, head_masses, latent_events
from analyses.attention.relations import BOS, RELATIONS, effective_number, shares
from analyses.attention.sae_fit import require_fit
from analyses.attention.token_rows import TokenRows, token_rows

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

HEAD, LATENT = "head", "latent"
NO_MASS, RESTS = "nothing moved", "rests on BOS"
_REST = 0.99  # share of BOS above which what is left is no profile
_BOOT_CELLS = 1 << 24


def relation_profile(
    model: Model,
    rows: Sequence[Any] | TokenRows,
    *,
    seed: int,
    layers: Sequence[int] | None = None,
    sae: SAE | None = None,
    twin: Model | None = None,
    n_boot: int = 200,
    bos: str | None = None,
    allow_unfit: bool = False,
    allow_mismatch: bool = False,
) -> pd.DataFrame:
    """Return the relation profile of every head, or of every latent that is on if an SAE on z is given.

    R(r) = sum of mass over sources in relation r, over the sum of all mass; mass is A ||v|| of a head, positive
    attribution of a latent. BOS is no query; its share as a source stands apart (`bos_share`), because resting there
    is what a head does that finds nothing, and the other shares sum to 1 without it. n_eff = exp H(R).

    Args:
        rows: texts, or arrays of token ids.
        layers: of heads; default all. An SAE has its own.
        twin: the model with random weights, of which the same share of the same head stands beside.
        n_boot: bootstrap resamples of rows, for 95 % intervals.

    Returns:
        One row a unit and relation but BOS: unit, layer, index (of the head or latent), relation, share, ci_low,
        ci_high, uniform (the share under even attention), lift (share / uniform), random_weights, n_eff, n_eff_low,
        n_eff_high, bos_share, n (queries of a head, activations of a latent), n_rows, seed, status.

    Raises:
        ModelMismatch: a layer without a pattern. SaeMismatch: an SAE that is not on z or does not fit.
    """
    given = token_rows(model, rows, bos=bos)
    if sae is not None:
        layer = attention_layer(model, sae, allow_mismatch=allow_mismatch)
        if not allow_unfit:
            require_fit(model, sae, given, allow_mismatch=allow_mismatch)
        sae = on_device(sae, model)
        return latent_profile(latent_events(model, {layer: sae}, given)[layer], layer, sae.config.d_sae, len(given),
                              seed=seed, n_boot=n_boot)  # fmt: skip
    chosen = list(range(model.n_layers)) if layers is None else list(layers)
    masses = head_masses(model, given, chosen)
    control = head_masses(twin, given, chosen) if twin is not None else {}
    parts = [head_profile(masses[i], i, seed=seed, n_boot=n_boot, twin=control.get(i)) for i in chosen]
    return pd.concat(parts, ignore_index=True)


def head_profile(found: HeadMass, layer: int, *, seed: int, n_boot: int, twin: HeadMass | None = None) -> pd.DataFrame:
    """Return the profile of the heads of a layer; columns as `relation_profile`."""
    n = np.full(found.mass.shape[1], found.n_queries.sum())
    table = _table(found.mass, found.available, n, HEAD, layer, seed, n_boot)
    control = np.full(found.mass.shape[1:], np.nan) if twin is None else shares(twin.mass.sum(axis=0), with_bos=False)
    table["random_weights"] = control[:, _SHOWN].ravel()
    return table


def latent_profile(
    events: LatentEvents, layer: int, n_latents: int, n_rows: int, *, seed: int, n_boot: int
) -> pd.DataFrame:
    """Return the profile of the latents that are ever on; columns as `relation_profile`."""
    n = np.bincount(events.latent, minlength=n_latents)
    alive = np.flatnonzero(n)
    mass = by_row(events, events.mass, n_rows, n_latents)[:, alive]
    total = events.mass.sum(axis=1, keepdims=True)
    even = by_row(events, events.available * total, n_rows, n_latents)[:, alive]
    table = _table(mass, even, n[alive], LATENT, layer, seed, n_boot, index=alive)
    return table.assign(random_weights=np.nan)


_SHOWN = [i for i in range(len(RELATIONS)) if i != BOS]


def _table(
    mass: np.ndarray, even: np.ndarray, n: np.ndarray, unit: str, layer: int, seed: int, n_boot: int,
    index: np.ndarray | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Return the rows of units from mass [row, unit, 8]."""
    whole = mass.sum(axis=0)
    bos = shares(whole)[:, BOS]
    mass = np.where((bos > _REST)[:, None], 0.0, mass)
    share, uniform = shares(mass.sum(axis=0), with_bos=False), shares(even.sum(axis=0), with_bos=False)
    low, high, n_low, n_high = bootstrap_shares(mass, seed=seed, n_boot=n_boot)
    n_units, k = len(share), len(_SHOWN)
    index = np.arange(n_units) if index is None else index
    with np.errstate(invalid="ignore", divide="ignore"):
        lift = np.where(uniform > 0, share / uniform, np.nan)
    per_unit = {
        "n_eff": effective_number(share), "n_eff_low": n_low, "n_eff_high": n_high,
        "bos_share": bos, "n": n, "n_rows": (mass.sum(axis=2) > 0).sum(axis=0),
    }  # fmt: skip
    status = np.where(bos > _REST, RESTS, np.where(np.isfinite(share[:, 1]), "ok", NO_MASS))
    return pd.DataFrame(
        {
            "unit": unit, "layer": layer, "index": np.repeat(index, k),
            "relation": np.tile(np.array(RELATIONS, dtype=object)[_SHOWN], n_units),
            "share": share[:, _SHOWN].ravel(), "ci_low": low[:, _SHOWN].ravel(), "ci_high": high[:, _SHOWN].ravel(),
            "uniform": uniform[:, _SHOWN].ravel(), "lift": lift[:, _SHOWN].ravel(),
            **{name: np.repeat(x, k) for name, x in per_unit.items()}, "seed": seed, "status": np.repeat(status, k),
        }
    )  # fmt: skip


def bootstrap_shares(
    mass: np.ndarray, *, seed: int, n_boot: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the 2.5 and 97.5 % of shares without BOS [unit, 8] and of n_eff [unit] when rows are drawn anew."""
    n_rows, n_units, k = mass.shape
    if n_boot == 0:
        none, one = np.full((n_units, k), np.nan), np.full(n_units, np.nan)
        return none, none, one, one
    weights = np.random.default_rng(seed).multinomial(n_rows, np.full(n_rows, 1 / n_rows), size=n_boot)
    parts = []
    step = max(1, _BOOT_CELLS // (n_boot * k))
    with np.errstate(invalid="ignore"):
        for start in range(0, n_units, step):
            part = mass[:, start : start + step]
            drawn = shares((weights @ part.reshape(n_rows, -1)).reshape(n_boot, -1, k), with_bos=False)
            number = effective_number(drawn)
            parts.append([*middle(drawn), *middle(number)])
    out = [np.concatenate(x) for x in zip(*parts, strict=True)]
    return out[0], out[1], out[2], out[3]


def middle(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 2.5 and 97.5 percentiles over the first axis; NaN where no resample has a value."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a unit that no resample holds
        low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    return low, high
