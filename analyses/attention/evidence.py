"""Evidence on latents from their activations alone: tokens, positions, runs, what they move and what they write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from scipy.stats import rankdata

from analyses.attention.masses import LatentEvents
from analyses.attention.ov import read_out, write_out
from analyses.attention.token_rows import TokenRows

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE


def activations_of(events: LatentEvents, rows: TokenRows, n_latents: int) -> Any:
    """Return activations at the text tokens, csc_matrix [text token, latent]."""
    number = np.cumsum(rows.content.ravel()) - 1
    where = number[events.row * rows.ids.shape[1] + events.pos]
    shape = (int(rows.content.sum()), n_latents)
    return sparse.csc_matrix((events.act.astype(np.float64), (where, events.latent)), shape=shape)


def group_share(acts: Any, groups: np.ndarray) -> np.ndarray:
    """Return the share of variance between groups, [latent], adjusted for their number (epsilon squared).

    1 - (within / (n - g)) / (total / (n - 1)): near 0 in the mean where groups say nothing. Reference: Kelley (1935).
    """
    n = acts.shape[0]
    _, code = np.unique(groups, return_inverse=True)
    size = np.bincount(code)
    indicator = sparse.csr_matrix((np.ones(n), (code, np.arange(n))), shape=(len(size), n))
    sums: Any = indicator @ acts
    between = np.asarray(sums.multiply(sums).multiply(1 / size[:, None]).sum(axis=0)).ravel()
    squares = np.asarray(acts.multiply(acts).sum(axis=0)).ravel()
    total = squares - np.asarray(acts.sum(axis=0)).ravel() ** 2 / n
    if n <= len(size):
        return np.full(acts.shape[1], np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 1 - ((squares - between) / (n - len(size))) / (total / (n - 1)), np.nan)


def persistence(events: LatentEvents, rows: TokenRows, n_latents: int) -> tuple[np.ndarray, np.ndarray]:
    """Return P(on at t + 1 | on at t) / P(on), and the mean length of a run of tokens, both [latent]."""
    width = rows.ids.shape[1] + 1
    key = (events.latent * len(rows) + events.row) * width + events.pos
    follows = np.isin(key + 1, key)
    on = np.bincount(events.latent, minlength=n_latents).astype(np.float64)
    pairs = np.bincount(events.latent, follows, minlength=n_latents)
    can = rows.content[:, :-1] & rows.content[:, 1:]
    asked = np.pad(can, ((0, 0), (0, 1)))[events.row, events.pos]
    starts = np.bincount(events.latent, asked, minlength=n_latents)
    with np.errstate(invalid="ignore", divide="ignore"):
        lift = (pairs / starts) / (on / rows.content.sum())
        return np.where(starts > 0, lift, np.nan), np.where(on > 0, on / (on - pairs), np.nan)


def moved_tokens(events: LatentEvents, n_latents: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the token that a latent moves most (id by attribution; -1: none) and its share of the top sources."""
    ids, code = np.unique(events.top_source, return_inverse=True)
    total = sparse.csr_matrix((events.top_mass, (events.latent, code)), shape=(n_latents, len(ids)))
    whole = np.asarray(total.sum(axis=1)).ravel()
    best = np.asarray(total.argmax(axis=1)).ravel()
    largest = np.asarray(total.max(axis=1).todense()).ravel()
    share = np.divide(largest, whole, out=np.full(n_latents, np.nan), where=whole > 0)
    return np.where(whole > 0, ids[best], -1), share


def induction_auc(acts: Any, moved: np.ndarray, rows: TokenRows, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how well activation tells "the moved token followed this token before" from all else: AUC, n positive.

    Reference: Kissane et al. (2024), the induction proxy. 0.5 is chance; NaN where the proxy is never or always true.
    """
    follows = successors_so_far(rows)
    auc, count = np.full(len(moved), np.nan), np.zeros(len(moved), dtype=np.int64)
    n = acts.shape[0]
    for i in latents:
        if moved[i] < 0 or moved[i] >= follows.shape[1]:
            continue
        truth = np.zeros(n, dtype=bool)
        truth[follows.indices[follows.indptr[moved[i]] : follows.indptr[moved[i] + 1]]] = True
        count[i] = truth.sum()
        if 0 < count[i] < n:
            ranks = rankdata(acts[:, [i]].toarray().ravel())
            auc[i] = (ranks[truth].sum() - count[i] * (count[i] + 1) / 2) / (count[i] * (n - count[i]))
    return auc, count


def successors_so_far(rows: TokenRows) -> Any:
    """Return csc_matrix [text token, id], not 0 where the id stood after an earlier copy of this token."""
    number = np.cumsum(rows.content.ravel()).reshape(rows.ids.shape) - 1
    same = (rows.ids[:, :, None] == rows.ids[:, None, :]) & rows.content[:, :, None] & rows.content[:, None, :]
    same &= np.tri(rows.ids.shape[1], k=-1, dtype=bool)
    row, query, source = np.nonzero(same)
    after = source + 1
    n_ids = int(rows.ids.max()) + 1
    found = sparse.csc_matrix(
        (np.ones(len(row)), (number[row, query], rows.ids[row, after])), shape=(int(rows.content.sum()), n_ids)
    )
    found.sum_duplicates()
    return found


def logit_effects(model: Model, sae: SAE, layer: int, moved: np.ndarray, *, chunk: int = 256) -> pd.DataFrame:
    """Return skew, excess kurtosis and the z-score of the moved token of each latent's effect on the logits.

    Effects are of W_dec through W_O, final norm and W_U: what the latent adds directly. A long lower tail is the mark
    of suppression. Reference: Gurnee et al. (2024), "Universal neurons".
    """
    out = np.full((len(moved), 3), np.nan)
    for start in range(0, len(moved), chunk):
        at = np.arange(start, min(start + chunk, len(moved)))
        effect = read_out(model, write_out(model, layer, sae.W_dec[at], bias=False)).double()
        centred = effect - effect.mean(dim=1, keepdim=True)
        sd = centred.square().mean(dim=1, keepdim=True).sqrt()
        scaled = torch.where(sd > 0, centred / sd, torch.nan)
        own = scaled[torch.arange(len(at)), torch.from_numpy(np.maximum(moved[at], 0))]
        own = torch.where(torch.from_numpy(moved[at] >= 0), own.cpu(), torch.nan)
        skew, tails = (scaled**3).mean(dim=1), (scaled**4).mean(dim=1) - 3
        out[at] = torch.stack([skew.cpu(), tails.cpu(), own], dim=1).numpy()
    return pd.DataFrame(out, columns=["logit_skew", "logit_kurtosis", "moved_logit_z"])
