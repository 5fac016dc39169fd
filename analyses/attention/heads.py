"""Scores of every attention head, each beside what chance, its layer and random weights give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.attention.copying import COPYING, copying_scores
from analyses.attention.object_heads import OBJECT, object_scores
from analyses.attention.prompt_pairs import PromptPair
from analyses.attention.reading import attention_batches
from analyses.attention.relations import DUPLICATE, INDUCTION, relation_codes
from analyses.attention.token_rows import TokenRows, random_repeats
from interp.errors import InvalidInput, nearest

if TYPE_CHECKING:
    from interp.models import Model

LOOKING = ("previous token", "current token", "first token", "duplicate token", "induction")
SCORES = (*LOOKING, *COPYING, *OBJECT)
EVEN, FRESH = "even attention", "the same places in rows without repeats"
COLUMNS = (
    "score", "layer", "head", "value", "ci_low", "ci_high", "null", "null_mean", "layer_mean", "random_weights",
    "largest_random", "rank", "n", "n_rows", "seed", "status",
)  # fmt: skip


def head_scores(
    model: Model,
    *,
    seed: int,
    scores: Sequence[str] | None = None,
    pairs: Sequence[PromptPair] | None = None,
    n_rows: int = 32,
    length: int = 64,
    n_tokens: int = 256,
    twin: Model | None = None,
    n_boot: int = 500,
) -> pd.DataFrame:
    """Return scores of every head on random tokens.

    What it looks at (mean attention of text tokens; a repeat is of random period and offset):
        previous token A[q, q-1], current token A[q, q], first token A[q, 0], on rows without repeats;
        duplicate token: sum of A[q, s] over all earlier s with t_s = t_q, for q that have one;
        induction: sum of A[q, s] over all s with t_{s-1} = t_q, for q that have one.
    What it writes for a token that it attends to fully, see `copying_scores`:
        copying (eigenvalues), copying (top 5), copy suppression (bottom 10).
    What it does on prompts with two names, where `pairs` are given, see `object_scores`:
        name mover, negative name mover, S-inhibition.

    Args:
        scores: default all that can be had: those of names need `pairs`.
        n_rows, length: of the random rows. n_tokens: random tokens behind the scores of what is written.
        twin: the model with random weights.
        n_boot: resamples of rows (of tokens, for what is written), for 95 % intervals.

    Returns:
        One row a score and head: score, layer, head, value, ci_low, ci_high, null (what `null_mean` is of: even
        attention, or the same places in rows whose tokens are all different), null_mean, layer_mean (the other heads
        of the layer), random_weights (this head of the twin), largest_random (any head of it), rank (1: largest), n
        (queries or tokens), n_rows, seed, status.

    Raises:
        InvalidInput: no such score, or rows too short. ModelMismatch: a layer without an attention pattern.
    """
    scores = (SCORES if pairs is not None else (*LOOKING, *COPYING)) if scores is None else tuple(scores)
    unknown = [s for s in scores if s not in SCORES]
    naming = [s for s in scores if s in OBJECT]
    if naming and pairs is None:
        raise InvalidInput(f"{naming[0]!r} is a score on prompts with two names; give pairs=[PromptPair(...), ...].")
    if unknown:
        raise InvalidInput(
            f"no score {unknown[0]!r}; nearest: {', '.join(nearest(unknown[0], SCORES))}. All: {', '.join(SCORES)}."
        )
    parts = []
    looking, writing = ([s for s in scores if s in kind] for kind in (LOOKING, COPYING))
    if looking:
        parts += looking_scores(model, looking, n_rows=n_rows, length=length, seed=seed, n_boot=n_boot)
    if writing:
        parts += copying_scores(model, writing, n_tokens=n_tokens, seed=seed, n_boot=n_boot)
    if naming:
        parts += object_scores(model, naming, pairs or (), seed=seed, n_boot=n_boot)
    table = with_baselines(pd.concat(parts, ignore_index=True))
    control = None
    if twin is not None:
        options = {"scores": scores, "pairs": pairs, "n_rows": n_rows, "length": length, "n_tokens": n_tokens}
        control = head_scores(twin, seed=seed, n_boot=0, **options)
    return with_control(table, control).assign(seed=seed).loc[:, list(COLUMNS)]


def looking_scores(
    model: Model, names: Sequence[str], *, n_rows: int, length: int, seed: int, n_boot: int
) -> list[pd.DataFrame]:
    """Return the tables of the scores of `LOOKING`, one each."""
    made = random_repeats(model, n_rows, length=length, seed=seed)
    places = place_masks(made.repeated)
    found = {FRESH: attention_at(model, made.fresh, places), "": attention_at(model, made.repeated, places)}
    out = []
    for name in names:
        again = name in ("duplicate token", "induction")
        values = found["" if again else FRESH][name]
        n = int((places[name].any(axis=2)).sum())
        control = found[FRESH][name].mean(axis=0) if again else np.broadcast_to(even_score(places[name]), (1, 1))
        table = score_table(name, values, seed=seed, n_boot=n_boot)
        null = np.broadcast_to(control, values.shape[1:]).ravel()
        out.append(table.assign(null=FRESH if again else EVEN, null_mean=null, n=n, n_rows=len(values)))
    return out


def place_masks(rows: TokenRows) -> dict[str, np.ndarray]:
    """Return for each score bool [row, query_pos, source_pos]: where a head of this kind looks."""
    pos = rows.ids.shape[1]
    codes = relation_codes(rows.ids, rows.mask, rows.special, rows.word)
    query = rows.content[:, :, None]
    eye = np.eye(pos, dtype=bool)
    return {
        "previous token": query & np.eye(pos, k=-1, dtype=bool) & (np.arange(pos) > 0),
        "current token": query & eye,
        "first token": query & (np.arange(pos) == 0),
        "duplicate token": codes == DUPLICATE,
        "induction": codes == INDUCTION,
    }


def even_score(places: np.ndarray) -> float:
    """Return the score of a head that attends to all its sources alike."""
    n_sources = np.arange(1, places.shape[1] + 1)[:, None]
    asked = places.any(axis=2)
    return float((places / n_sources).sum(axis=2)[asked].mean())


def attention_at(model: Model, rows: TokenRows, places: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return attention summed over the places of a query, mean over queries that have any: [row, layer, head]."""
    layers = list(range(model.n_layers))
    out = {name: np.zeros((len(rows), model.n_layers, model.n_heads)) for name in places}
    for at, _, found in attention_batches(model, rows, layers):
        for layer in layers:
            pattern = found[layer].pattern.double().cpu().numpy()
            for name, mask in places.items():
                asked = mask[at].any(axis=2)
                on = np.einsum("nhqs,nqs->nh", pattern, mask[at].astype(np.float64))
                out[name][at, layer] = on / np.maximum(asked.sum(axis=1), 1)[:, None]
    return out


def score_table(name: str, values: np.ndarray, *, seed: int, n_boot: int) -> pd.DataFrame:
    """Return one row a head from values [sample, layer, head], with a percentile interval over samples."""
    n, n_layers, n_heads = values.shape
    flat = values.reshape(n, -1)
    low = high = np.full(flat.shape[1], np.nan)
    if n_boot:
        weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_boot) / n
        low, high = np.percentile(weights @ flat, [2.5, 97.5], axis=0)
    layer, head = np.divmod(np.arange(n_layers * n_heads), n_heads)
    return pd.DataFrame(
        {"score": name, "layer": layer, "head": head, "value": flat.mean(axis=0), "ci_low": low, "ci_high": high,
         "status": "ok"}
    )  # fmt: skip


def with_baselines(table: pd.DataFrame, by: Sequence[str] = ("score",)) -> pd.DataFrame:
    """Return the table with rank (1: largest of a score) and layer_mean (the other heads of the layer)."""
    out: Any = table.copy()
    out["rank"] = out.groupby(list(by))["value"].rank(ascending=False, method="min")
    group = out.groupby([*by, "layer"])["value"]
    n = group.transform("size")
    out["layer_mean"] = np.where(n > 1, (group.transform("sum") - out["value"]) / np.maximum(n - 1, 1), np.nan)
    return out


def with_control(table: pd.DataFrame, control: pd.DataFrame | None, by: Sequence[str] = ("score",)) -> pd.DataFrame:
    """Return the table with the same head of the twin, and the largest of any head of it, beside."""
    if control is None:
        return table.assign(random_weights=np.nan, largest_random=np.nan)
    keys = [*by, "layer", "head"]
    twin: Any = control
    own = twin[[*keys, "value"]].rename(columns={"value": "random_weights"})
    largest = twin.groupby(list(by))["value"].max().rename("largest_random").reset_index()
    return table.merge(own, on=keys, how="left").merge(largest, on=list(by), how="left")
