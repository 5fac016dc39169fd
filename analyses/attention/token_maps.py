"""Does a head turn token a into f(a)? One engine for successors, plurals, opposites, capitals and any other pairs.

The head attends to a alone; a is seen after the MLP of layer 0, before anything was moved. Among the words of a class,
which one does the head raise most? Reference: Gould et al. (2023), "Successor heads".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from analyses.attention.copying import head_logits
from analyses.attention.heads import with_baselines, with_control
from interp.errors import InvalidInput
from interp.stats.corrections import benjamini_hochberg
from interp.tokens import find_tokenizer

if TYPE_CHECKING:
    from interp.models import Model

Pairs = Mapping[str, Sequence[tuple[str, str]]]
ALL = "all classes"
MIN_PAIRS = 3
COLUMNS = (
    "kind", "layer", "head", "value", "ci_low", "ci_high", "null_mean", "p", "q", "top1", "layer_mean",
    "random_weights", "largest_random", "rank", "n", "n_left_out", "n_words", "n_perm", "seed", "status",
)  # fmt: skip


@dataclass(frozen=True)
class _Class:
    source: np.ndarray
    target: np.ndarray
    words: np.ndarray
    """ids that compete: sources and targets of the class."""
    left_out: int


def token_map_scores(
    model: Model,
    pairs: Pairs | None = None,
    *,
    seed: int,
    layers: Sequence[int] | None = None,
    twin: Model | None = None,
    n_perm: int = 999,
    n_boot: int = 500,
) -> pd.DataFrame:
    """Return how often each head maps a to f(a): the share of pairs of a class in which f(a) is the word raised most.

    Args:
        pairs: class -> (a, f(a)); default the ordinals of the bundled model, for that model alone. Words of several
            tokens are left out and counted.
        layers: default all. twin: the model with random weights.

    Returns:
        One row a class and head, and one for all classes (the mean over them): kind, layer, head, value, ci_low,
        ci_high (95 %, over pairs), null_mean (targets drawn anew within the class), p (permuted targets, one-sided), q
        (Benjamini-Hochberg over heads and classes), top1 (f(a) is first of the whole vocabulary), layer_mean,
        random_weights, largest_random, rank, n (pairs), n_left_out, n_words (that compete), n_perm, seed, status.

    Raises:
        InvalidInput: no pairs, or none of single tokens.
    """
    given = default_pairs(model) if pairs is None else pairs
    classes = {name: _encoded(model, list(listed)) for name, listed in given.items()}
    usable = {name: c for name, c in classes.items() if len(c.source) >= MIN_PAIRS}
    if not usable:
        raise InvalidInput(
            f"no class of {', '.join(classes) or 'the pairs'} has {MIN_PAIRS} pairs of single tokens; give words that "
            "the tokenizer of this model does not split."
        )
    chosen = range(model.n_layers) if layers is None else layers
    rows = [row for layer in chosen for row in _layer_rows(model, layer, usable, seed, n_perm, n_boot)]
    table = with_baselines(pd.DataFrame(rows), by=("kind",))
    table["q"] = np.nan
    tested = table["p"].notna()
    table.loc[tested, "q"] = benjamini_hochberg(table.loc[tested, "p"].to_numpy())
    control = None
    if twin is not None:
        control = token_map_scores(twin, given, seed=seed, layers=layers, n_perm=1, n_boot=0)
    table = with_control(table, control, by=("kind",))
    return table.assign(n_perm=n_perm, seed=seed).loc[:, list(COLUMNS)]


def default_pairs(model: Model) -> dict[str, list[tuple[str, str]]]:
    """Return the successors of each class of ordinals that the bundled model was told."""
    if model.name.partition("@")[0] != "atlas":
        raise InvalidInput(f"nothing is known about the words of {model.name}; give pairs={{class: [(a, f(a)), ...]}}.")
    from interp.atlas import facts

    out = {}
    for name, (members, cyclic) in facts().ordinals.items():
        out[name] = [*pairwise(members), *([(members[-1], members[0])] if cyclic else [])]
    return out


def word_pairs() -> dict[str, list[tuple[str, str]]]:
    """Return what the bundled model was told of words: plural, opposite, past tense, and the capital of a country."""
    from interp.atlas import facts

    known = facts()
    capitals = [(str(c["name"]), str(c["capital"])) for c in known.countries.values() if c.get("capital")]
    return {**{name: list(pairs.items()) for name, pairs in known.pairs.items()}, "capital": capitals}


def _encoded(model: Model, pairs: list[tuple[str, str]]) -> _Class:
    tokenizer = find_tokenizer(model)
    words = list(dict.fromkeys(word for pair in pairs for word in pair))
    found = {word: single_token(tokenizer, word) for word in words}
    kept = [(found[a], found[b]) for a, b in pairs if found[a] >= 0 and found[b] >= 0]
    table = np.array(kept, dtype=np.int64).reshape(-1, 2)
    return _Class(table[:, 0], table[:, 1], np.unique(table), len(pairs) - len(kept))


def single_token(tokenizer: object, word: str) -> int:
    """Return the id of a word, with the space before it where that makes it one token; -1: it is several."""
    for text in (f" {word}", word):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]  # type: ignore[operator]
        if len(ids) == 1 and ids[0] != getattr(tokenizer, "unk_token_id", None):
            return int(ids[0])
    return -1


def _layer_rows(
    model: Model, layer: int, classes: dict[str, _Class], seed: int, n_perm: int, n_boot: int
) -> list[dict]:
    """Return the rows of the heads of a layer."""
    sources = np.unique(np.concatenate([c.source for c in classes.values()]))
    out = []
    for head, logits in enumerate(head_logits(model, layer, torch.from_numpy(sources))):
        rows = []
        for name, words in classes.items():
            own = logits[torch.from_numpy(np.searchsorted(sources, words.source))].numpy()
            rows.append({"kind": name, "layer": layer, "head": head, **_judged(own, words, seed, n_perm, n_boot)})
        out += rows
        if len(rows) > 1:
            out.append({"kind": ALL, "layer": layer, "head": head, **_mean_row(rows)})
    return out


def _judged(logits: np.ndarray, words: _Class, seed: int, n_perm: int, n_boot: int) -> dict:
    among = logits[:, words.words]
    says = among.max(axis=1) > among.min(axis=1)  # a head that writes nothing names no word
    guess = np.where(says, words.words[among.argmax(axis=1)], -1)
    right = guess == words.target
    first = (logits.argmax(axis=1) == words.target) & says
    rng = np.random.default_rng(seed)
    n = len(right)
    orders = rng.permuted(np.tile(words.target, (n_perm, 1)), axis=1)
    chance = (orders == guess).mean(axis=1)
    low = high = np.nan
    if n_boot:
        drawn = right[rng.integers(n, size=(n_boot, n))].mean(axis=1)
        low, high = np.percentile(drawn, [2.5, 97.5])
    return {
        "value": right.mean(), "ci_low": low, "ci_high": high, "null_mean": np.isin(guess, words.target).mean() / n,
        "p": (1 + (chance >= right.mean() - 1e-12).sum()) / (n_perm + 1), "top1": first.mean(), "n": n,
        "n_left_out": words.left_out, "n_words": len(words.words), "status": "ok",
    }  # fmt: skip


def _mean_row(rows: list[dict]) -> dict:
    """Return the mean over classes; classes count alike, and their intervals as independent."""
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("value", "null_mean", "top1")}
    half = {
        side: np.sqrt(np.sum([(row[side] - row["value"]) ** 2 for row in rows])) / len(rows)
        for side in ("ci_low", "ci_high")
    }
    sums = {name: int(np.sum([row[name] for row in rows])) for name in ("n", "n_left_out", "n_words")}
    ends = {"ci_low": means["value"] - half["ci_low"], "ci_high": means["value"] + half["ci_high"]}
    return {**means, **ends, **sums, "p": np.nan, "status": "a mean over classes; each class has its own test"}
