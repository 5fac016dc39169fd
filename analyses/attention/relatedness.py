"""Do the latents of a head have anything to do with each other? The question of "14 of 144 heads", measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from analyses.attention.attributions import attention_layer, on_device
from analyses.attention.decoder_share import head_share
from analyses.attention.evidence import activations_of
from analyses.attention.latent_sets import in_one, matched_sets, profile_likeness, set_likeness
from analyses.attention.masses import LatentEvents, latent_events
from analyses.attention.reading import attention_batches
from analyses.attention.relations import BOS
from analyses.attention.sae_fit import require_fit
from analyses.attention.token_rows import TokenRows, token_rows
from interp.attribution import encoder_of
from interp.errors import InvalidInput
from interp.stats.corrections import benjamini_hochberg
from interp.stats.intervals import wilson_interval

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

MEASURES = ("share", "dfa", "mean ablation")
"""How latents are ranked for a head: decoder share, direct attribution, fall of the pre-activation when z of the head
is set to its mean over text tokens; the last two as shares of their absolute sum over heads."""
PROFILES = ("tokens", "contexts", "sources", "relations")
VIEWS = (*PROFILES, "all", "decoder")
KS = (10, 20, 50)
WINDOW = 12
ALPHA = 0.05


def head_latent_relatedness(
    model: Model,
    sae: SAE,
    rows: Sequence[Any] | TokenRows,
    *,
    seed: int,
    ks: Sequence[int] = KS,
    min_on: int = 10,
    n_boot: int = 200,
    n_null: int = 499,
    bos: str | None = None,
    allow_unfit: bool = False,
    allow_mismatch: bool = False,
) -> pd.DataFrame:
    """Return how alike the top latents of each head are, beside random latents of the layer matched in firing rate.

    Likeness of two latents is the Bhattacharyya coefficient of what they are on at (tokens), of the 12 words before
    (contexts), of the tokens that they read (sources: the largest of each activation) and of the relations in which
    these stand; "all" is the mean of the four, each in units of its sd over pairs; "decoder" is the cosine of decoder
    rows, which latents of one head share by where they lie, so it is no part of "all".

    Args:
        rows: texts, or arrays of token ids.
        ks: numbers of top latents.
        min_on: text tokens at which a latent has to be on to take part.

    Returns:
        One row a head, measure (`MEASURES`), k and view: layer, head, measure, k, view, likeness, ci_low, ci_high
        (95 %, latents resampled), null_mean, null_sd, p (one-sided), q (Benjamini-Hochberg over the heads), related
        (share of the k that are nearer to the others than 95 % of random latents are), value (mean of the measure over
        the k), n (latents to choose from), n_perm, seed, status.

    Raises:
        SaeMismatch: the SAE is not on z of this model, its encoder is not linear, or it does not fit.
        InvalidInput: a k under 3, or no latent that is on often enough.

    Reference: Kissane et al. (2024) judged by eye whether the ten latents with the largest share are related.
    """
    layer = attention_layer(model, sae, allow_mismatch=allow_mismatch)
    given = token_rows(model, rows, bos=bos)
    if not allow_unfit:
        require_fit(model, sae, given, allow_mismatch=allow_mismatch)
    saes = {layer: on_device(sae, model)}
    events = latent_events(model, saes, given)
    return relatedness_of_layers(
        model, saes, given, events, seed=seed, ks=ks, min_on=min_on, n_boot=n_boot, n_null=n_null
    )


def relatedness_of_layers(
    model: Model, saes: Mapping[int, SAE], rows: TokenRows, events: Mapping[int, LatentEvents], *, seed: int,
    ks: Sequence[int] = KS, min_on: int = 10, n_boot: int = 200, n_null: int = 499,
) -> pd.DataFrame:  # fmt: skip
    """Return `head_latent_relatedness` of SAEs on several layers, from events that are known; q is over all heads."""
    if min(ks) < 3:
        raise InvalidInput(f"a set of {min(ks)} latents says little of likeness; ks are 3 or more.")
    on = {layer: activations_of(events[layer], rows, sae.config.d_sae) for layer, sae in saes.items()}
    sums = _sums_where_on(model, saes, rows, on)
    parts = []
    for layer, sae in saes.items():
        often = np.flatnonzero(np.diff(on[layer].indptr) >= min_on)
        if len(often) == 0:
            raise InvalidInput(f"no latent of layer {layer} is on at {min_on} text tokens; give more text.")
        measures = head_measures(sae, *sums[layer], model.n_heads)
        likeness = likeness_views(sae, on[layer], events[layer], rows, often)
        rate = np.diff(on[layer].indptr)[often]
        rng = np.random.default_rng([seed, layer])
        found = _of_heads({m: v[often] for m, v in measures.items()}, likeness, rate, ks, rng, n_boot, n_null)
        parts.append(found.assign(layer=layer))
    table: Any = pd.concat(parts, ignore_index=True)
    ok = table["status"] == "ok"
    table["q"] = np.nan
    for _, part in table[ok].groupby(["measure", "k", "view"]):
        table.loc[part.index, "q"] = benjamini_hochberg(part["p"].to_numpy())
    columns = ["layer", "head", "measure", "k", "view", "likeness", "ci_low", "ci_high", "null_mean", "null_sd", "p",
               "q", "related", "value", "n", "n_perm", "seed", "status"]  # fmt: skip
    return table.assign(seed=seed)[columns]


def relatedness_shares(table: Any, *, alpha: float = ALPHA) -> pd.DataFrame:
    """Return the share of heads whose top latents are related, by measure, k and view.

    Returns:
        measure, k, view, n (heads), n_related (q <= alpha), share, ci_low, ci_high (95 %, Wilson), n_all (heads of
        which every latent is related), share_related (mean over heads of the share of latents), status.
    """
    rows = []
    for (measure, k, view), part in table.groupby(["measure", "k", "view"], sort=False):
        ok = part[part["status"] == "ok"]
        n, found = len(ok), int((ok["q"] <= alpha).sum())
        low, high = wilson_interval(found, n) if n else (np.nan, np.nan)
        rows.append(
            {
                "measure": measure, "k": k, "view": view, "n": n, "n_related": found,
                "share": found / n if n else np.nan, "ci_low": low, "ci_high": high,
                "n_all": int((ok["related"] == 1).sum()), "share_related": ok["related"].mean(),
                "status": "ok" if n else str(part["status"].iloc[0]),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def head_measures(
    sae: SAE, where_on: np.ndarray, n_on: np.ndarray, mean: np.ndarray, n_heads: int
) -> dict[str, np.ndarray]:
    """Return each measure of `MEASURES`, float64 [latent, head].

    Args:
        where_on: [latent, head, d_head], sum of z (times the scale of the token) where the latent is on.
        n_on: [latent]. mean: [head, d_head], mean of z over text tokens.
    """
    W = encoder_of(sae, n_heads).W.detach().double().cpu().numpy()
    at = where_on / np.maximum(n_on, 1)[:, None, None]
    dfa = np.einsum("ihd,hdi->ih", at, W)
    fall = np.einsum("ihd,hdi->ih", at - mean, W)
    share = np.nan_to_num(head_share(sae.W_dec.detach().double().cpu().numpy(), n_heads))
    return {"share": share, "dfa": _of_whole(dfa), "mean ablation": _of_whole(fall)}


def _of_whole(values: np.ndarray) -> np.ndarray:
    total = np.abs(values).sum(axis=1, keepdims=True)
    return np.divide(values, total, out=np.zeros_like(values), where=total > 0)


def _sums_where_on(
    model: Model, saes: Mapping[int, SAE], rows: TokenRows, on: Mapping[int, Any]
) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return for each layer the arguments of `head_measures`: sums of z where each latent is on, counts, mean z."""
    flat: dict[int, list[np.ndarray]] = {layer: [] for layer in saes}
    for _, part, found in attention_batches(model, rows, list(saes)):
        content = torch.from_numpy(part.content)
        for layer, sae in saes.items():
            z = found[layer].z
            scaled = z * encoder_of(sae, model.n_heads).scale(z)[..., None, None]
            flat[layer].append(scaled[content.to(z.device)].flatten(1).cpu().numpy())
    out = {}
    for layer, parts in flat.items():
        z, active = np.concatenate(parts), (on[layer] > 0).astype(np.float64)
        shape = (-1, model.n_heads, z.shape[1] // model.n_heads)
        sums = np.asarray(active.T @ z).reshape(shape)
        out[layer] = (sums, np.diff(active.indptr), z.mean(axis=0, dtype=np.float64).reshape(shape)[0])
    return out


def likeness_views(
    sae: SAE, acts: Any, events: LatentEvents, rows: TokenRows, latents: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the likeness of each two of some latents in each of `VIEWS`, float64 [n, n]."""
    n_ids, n_latents = int(rows.ids.max()) + 1, acts.shape[1]
    number = np.zeros(n_latents, dtype=np.int64)
    number[latents] = np.arange(len(latents))
    keep = np.isin(events.latent, latents)
    latent, shape = number[events.latent[keep]], (len(latents), n_ids)
    weights = acts[:, latents].T
    read = sparse.csr_array((events.top_mass[keep], (latent, events.top_source[keep])), shape=shape)
    relations = np.stack(
        [np.bincount(latent, events.mass[keep, r], minlength=len(latents)) for r in range(BOS + 1, 8)], axis=1
    )
    views = {
        "tokens": profile_likeness(weights @ _one_hot(rows.ids[rows.content][:, None], n_ids)),
        "contexts": profile_likeness(weights @ _one_hot(_words_before(rows), n_ids)),
        "sources": profile_likeness(read),
        "relations": profile_likeness(relations),
    }
    views["all"] = in_one([views[name] for name in PROFILES])
    directions = sae.W_dec[torch.from_numpy(latents)].detach().double().cpu().numpy()
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    return {**views, "decoder": directions @ directions.T}


def _words_before(rows: TokenRows) -> np.ndarray:
    """Return the ids of the 12 text tokens before each one in its row, int64 [text token, 12], -1 for none."""
    ids = np.where(rows.content, rows.ids, -1)
    padded = np.pad(ids, ((0, 0), (WINDOW, 0)), constant_values=-1)
    before = np.stack([padded[:, i : i + ids.shape[1]] for i in range(WINDOW)], axis=2)
    return before[rows.content]


def _one_hot(ids: np.ndarray, n_ids: int) -> Any:
    row, column = np.nonzero(ids >= 0)
    return sparse.csr_array((np.ones(len(row)), (row, ids[row, column])), shape=(len(ids), n_ids))


def _of_heads(
    measures: Mapping[str, np.ndarray], likeness: Mapping[str, np.ndarray], rate: np.ndarray, ks: Sequence[int],
    rng: np.random.Generator, n_boot: int, n_null: int,
) -> pd.DataFrame:  # fmt: skip
    rows, about = [], {}
    for measure, values in measures.items():
        for head in range(values.shape[1]):
            order = np.argsort(-values[:, head], kind="stable")
            for k in ks:
                chosen = order[:k]
                about = {"head": head, "measure": measure, "k": k, "n": len(rate), "n_perm": n_null}
                about["value"] = float(values[chosen, head].mean())
                if 2 * k > len(rate):
                    status = f"fewer than {2 * k} latents to choose from"
                    rows += [{**about, "view": view, "status": status} for view in VIEWS]
                    continue
                sets = matched_sets(chosen, rate, n_null, rng)
                for view in VIEWS:
                    found = set_likeness(likeness[view], chosen, sets, rng, n_boot=n_boot)
                    rows.append({**about, "view": view, **_named(found), "status": "ok"})
    columns = ["likeness", "ci_low", "ci_high", "null_mean", "null_sd", "p", "related"]
    return pd.DataFrame(rows, columns=[*about, "view", *columns, "status"])


def _named(found: Any) -> dict[str, float]:
    names = ("likeness", "ci_low", "ci_high", "null_mean", "null_sd", "p", "related")
    return dict(zip(names, found, strict=True))
