"""How much context a latent needs: its activation when tokens older than a window are replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from analyses.attention.attributions import attention_layer, on_device
from analyses.attention.profiles import middle
from analyses.attention.sae_fit import require_fit
from analyses.attention.token_rows import TokenRows, token_rows
from interp.errors import InvalidInput
from interp.reading import read_sites
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

WINDOWS = (0, 1, 2, 4, 8, 16, 32)
MIN_EVENTS = 3
_BATCH = 256


def context_retention(
    model: Model,
    sae: SAE,
    rows: Sequence[Any] | TokenRows,
    *,
    seed: int,
    windows: Sequence[int] = WINDOWS,
    n_positions: int = 256,
    n_boot: int = 200,
    bos: str | None = None,
    allow_unfit: bool = False,
    allow_mismatch: bool = False,
) -> pd.DataFrame:
    """Return how much of a latent's activation is left when it sees only the last tokens.

    ret(w) = E[f with tokens more than w back resampled] / E[f], over activations at `n_positions` tokens. Positions
    stay (tokens are replaced, not cut), and so does BOS; the filler shares no token with what is kept, for a chance
    repeat would look like context. What is left at w = 0 is bias and chance: `corrected` is
    (ret(w) - ret(0)) / (1 - ret(0)).

    Returns:
        One row a latent and window: latent, window, retention, ci_low, ci_high (95 %, over activations), corrected,
        w50 (window at which `corrected` reaches one half; inf: none does), n (activations), seed, status.

    Raises:
        InvalidInput: windows that do not begin with 0 and rise. SaeMismatch: not on z, or it does not fit.
    """
    if list(windows) != sorted(set(windows)) or windows[0] != 0 or len(windows) < 2:
        raise InvalidInput(f"windows begin with 0 and rise, as in {WINDOWS}; got {tuple(windows)}.")
    layer = attention_layer(model, sae, allow_mismatch=allow_mismatch)
    given = token_rows(model, rows, bos=bos)
    if not allow_unfit:
        require_fit(model, sae, given, allow_mismatch=allow_mismatch)
    sae = on_device(sae, model)
    places = choose_positions(given, n_positions, seed=seed)
    found = resampled_activations(model, {layer: sae}, given, places, windows, seed=seed)[layer]
    return retention_table(found, windows, seed=seed, n_boot=n_boot)


def choose_positions(rows: TokenRows, n: int, *, seed: int) -> np.ndarray:
    """Return (row, position), int64 [n, 2], of random text tokens in the later half of their row.

    Early tokens have no context that could be taken from them.
    """
    length = rows.mask.sum(axis=1, keepdims=True)
    late = rows.content & (np.arange(rows.ids.shape[1]) >= length // 2)
    places = np.argwhere(late)
    if len(places) == 0:
        raise InvalidInput("no row has a text token in its later half, so no context can be taken away.")
    rng = np.random.default_rng(seed)
    return places[np.sort(rng.choice(len(places), size=min(n, len(places)), replace=False))]


def resampled_activations(
    model: Model, saes: Mapping[int, SAE], rows: TokenRows, places: np.ndarray, windows: Sequence[int], *, seed: int
) -> dict[int, np.ndarray]:
    """Return activations of each SAE at the places, float32 [1 + window, place, latent]; first of the whole text."""
    rng = np.random.default_rng(seed)
    pool = rows.ids[rows.content]
    variants = [rows.ids[places[:, 0]], *(_resampled(rows, places, w, pool, rng) for w in windows)]
    mask = rows.mask[places[:, 0]]
    out: dict[int, list[np.ndarray]] = {layer: [] for layer in saes}
    for ids in variants:
        for layer, acts in _at_places(model, saes, ids, mask, places[:, 1]).items():
            out[layer].append(acts)
    return {layer: np.stack(acts) for layer, acts in out.items()}


def _resampled(
    rows: TokenRows, places: np.ndarray, window: int, pool: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    ids = rows.ids[places[:, 0]].copy()
    position = np.arange(ids.shape[1])
    old = rows.content[places[:, 0]] & (position < (places[:, 1] - window)[:, None])
    kept = rows.content[places[:, 0]] & ~old & (position <= places[:, 1][:, None])
    for row, replaced, stays in zip(ids, old, kept, strict=True):
        allowed = pool[~np.isin(pool, row[stays])]
        if len(allowed):
            row[replaced] = rng.choice(allowed, size=int(replaced.sum()))
    return ids


def _at_places(
    model: Model, saes: Mapping[int, SAE], ids: np.ndarray, mask: np.ndarray, pos: np.ndarray
) -> dict[int, np.ndarray]:
    out: dict[int, list[np.ndarray]] = {layer: [] for layer in saes}
    for start in range(0, len(ids), _BATCH):
        at = slice(start, start + _BATCH)
        where = torch.from_numpy(pos[at]).to(model.device)
        held: dict[int, torch.Tensor] = {}

        def keep(layer: int, where: torch.Tensor = where, held: dict[int, torch.Tensor] = held) -> Any:
            return lambda z: held.__setitem__(layer, z[torch.arange(len(z), device=z.device), where].clone())

        given, shown = (torch.from_numpy(x[at]).to(model.device) for x in (ids, mask))
        read_sites(model, given, shown.long(), {Site("z", layer): keep(layer) for layer in saes})
        for layer, sae in saes.items():
            out[layer].append(sae.encode(held[layer]).detach().cpu().numpy())
    return {layer: np.concatenate(acts) for layer, acts in out.items()}


def retention_table(acts: np.ndarray, windows: Sequence[int], *, seed: int, n_boot: int) -> pd.DataFrame:
    """Return the table of `context_retention` from activations [1 + window, place, latent]."""
    whole, cut = acts[0], acts[1:]
    on = whole > 0
    n = on.sum(axis=0)
    alive = np.flatnonzero(n)
    sums = np.stack([(x * on)[:, alive] for x in (whole, *cut)]).astype(np.float64)
    ratio = _ratio(sums.sum(axis=1))
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(whole), np.full(len(whole), 1 / max(1, len(whole))), size=n_boot).astype(np.float64)
    drawn = np.stack([weights @ x for x in sums])
    low, high = middle(_ratio(drawn).swapaxes(0, 1)) if n_boot else (np.full_like(ratio, np.nan),) * 2
    corrected, w50 = corrected_retention(ratio, windows)
    enough = n[alive] >= MIN_EVENTS
    k = len(windows)
    table = pd.DataFrame(
        {
            "latent": np.repeat(alive, k), "window": np.tile(np.asarray(windows), len(alive)),
            "retention": ratio.T.ravel(), "ci_low": low.T.ravel(), "ci_high": high.T.ravel(),
            "corrected": corrected.T.ravel(), "w50": np.repeat(w50, k), "n": np.repeat(n[alive], k), "seed": seed,
            "status": np.repeat(np.where(enough, "ok", f"on at fewer than {MIN_EVENTS} of the tokens"), k),
        }
    )  # fmt: skip
    table.loc[table["status"] != "ok", ["retention", "ci_low", "ci_high", "corrected", "w50"]] = np.nan
    return table


def corrected_retention(ratio: np.ndarray, windows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return retention [window, latent] above its floor ret(0), and the window [latent] at which it is one half.

    Between windows w50 is read off a straight line; NaN where nothing is lost at w = 0 (no context is needed).
    """
    floor = np.minimum(ratio[0], 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        corrected = np.where(floor < 0.95, (ratio - floor) / (1 - floor), np.nan)
    w50 = np.full(ratio.shape[1], np.inf)
    for j in range(ratio.shape[1]):
        above = np.flatnonzero(corrected[:, j] >= 0.5)
        if np.isnan(corrected[:, j]).any():
            w50[j] = np.nan
        elif len(above):
            i = above[0]
            a, b = corrected[i - 1, j], corrected[i, j]
            w50[j] = windows[i - 1] + (0.5 - a) / (b - a) * (windows[i] - windows[i - 1])
    return corrected, w50


def _ratio(sums: np.ndarray) -> np.ndarray:
    """Return sums of the cut texts over that of the whole ones: [window, ...] of [1 + window, ...]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[0] > 0, sums[1:] / sums[0], np.nan)
