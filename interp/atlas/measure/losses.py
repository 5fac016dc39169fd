"""Loss in nats a token by kind of text, beside n-gram tables, random weights and the entropy of the generator.

Every text is scored alone behind BOS; the figure of a kind is sum(nats) / sum(tokens) over independent
fresh draws, and BOS is never counted as a token. Draws are fresh, yet short texts recur: a draw may
well be word for word in the training text.

Where a generator knows the surprise of its own text (`Text.nats`), the loss with the end of the text
(the BOS that follows it) is set beside it. That surprise is -log P(text | kind): no model can have a
smaller mean on texts of this kind, not even one that is told the kind. A model that has to find the
kind out may pay up to -log P(kind) a text more, and one that cannot infer the rule pays more than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.atlas.measure.forward import token_nats
from interp.atlas.measure.ngrams import BOS_ID, ORDERS, NGrams, ngram_nats
from interp.atlas.measure.rows import mean_row, name_words
from interp.tokens import tokenize

if TYPE_CHECKING:
    from interp.atlas.corpus.text import Text
    from interp.models import Model

TOLERANCE = 1e-3  # nats a token: rounding of a model that is exact
Part = dict[str, np.ndarray]
IMPOSSIBLE = "below the surprise of the generator: surprise or tokens are wrong"


def fresh_texts(corpus: Any, kind: str, n: int, *, seed: int) -> list[Text]:
    """Return `n` texts of a kind of `corpus`; text i is a function of (seed, kind, i) alone."""
    words = name_words(kind)
    return [
        corpus.sample(kind, np.random.default_rng(np.random.SeedSequence([seed, *words, i]))) for i in range(n)
    ]  # fmt: skip


def text_losses(model: Model, twin: Model, texts: Mapping[str, Sequence[Text]], ngrams: NGrams) -> pd.DataFrame:
    """Return one row a text (kind -> texts), every loss a sum over its tokens in nats.

    Columns: kind; n_tokens (BOS and end left out); loss, random_weights, unigram, bigram, trigram; end and
    random_end (the BOS after the text; NaN where the text was cut to the context); floor (`Text.nats`; NaN
    where unknown or cut).
    """
    parts = []
    for kind, given in texts.items():
        tokens = tokenize(model, [text.text for text in given], max_length=model.n_ctx - 1)
        whole = tokens.truncated == 0
        ids, mask = _with_end(tokens.ids, tokens.lengths, whole)
        last, inside = np.maximum(tokens.lengths - 1, 0)[:, None], tokens.mask[:, 1:]
        nats = {name: token_nats(m, ids, mask) for name, m in (("loss", model), ("random_weights", twin))}
        ends = [np.take_along_axis(x, last, axis=1)[:, 0] for x in nats.values()]
        floor = np.array([np.nan if text.nats is None else text.nats for text in given])
        part = {"kind": kind, "n_tokens": inside.sum(axis=1)}
        part |= {name: _total(x[:, : inside.shape[1]], inside) for name, x in nats.items()}
        part |= _ngram_totals(ngrams, tokens.ids, inside)
        part |= {"end": ends[0], "random_end": ends[1], "floor": np.where(whole, floor, np.nan)}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def packed_losses(model: Model, twin: Model, rows: np.ndarray, ngrams: NGrams, *, kind: str) -> pd.DataFrame:
    """Return one row a packed row of ids [rows, pos], in the columns of `text_losses`; BOS is never a target."""
    inside = np.asarray(rows)[:, 1:] != BOS_ID
    part = {"kind": kind, "n_tokens": inside.sum(axis=1)}
    part |= {name: _total(token_nats(m, rows), inside) for name, m in (("loss", model), ("random_weights", twin))}
    part |= _ngram_totals(ngrams, rows, inside)
    return pd.DataFrame({**part, "end": np.nan, "random_end": np.nan, "floor": np.nan})


def loss_rows(losses: pd.DataFrame, *, seed: int, shares: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the rows of the card from `text_losses`: loss a kind beside the trigram table, and the entropy rows.

    Args:
        shares: probability of each kind among the texts; -log of it is what not knowing the kind may cost.
    """
    out = []
    for kind, part in _by_kind(losses):
        out.append(
            mean_row(
                "loss", part["loss"], sizes=part["n_tokens"], seed=seed, group=kind, unit=_unit(part["n_tokens"]),
                random=part["random_weights"], baseline=part["trigram"], baseline_name="trigrams",
            )
        )  # fmt: skip
        if len(_known(part)["floor"]):
            out += _entropy_rows(_known(part), kind, share=shares.get(kind, np.nan), seed=seed)
    return out


def loss_table(losses: pd.DataFrame, *, d_vocab: int, shares: Mapping[str, float]) -> pd.DataFrame:
    """Return one row a kind with every baseline, in nats a token: uniform, unigram, bigram, trigram, random weights.

    `loss_with_end`, `floor` and `kind_cost` (-log share) count the end of the text as a token and are over the
    `n_floor` texts whose surprise is known.
    """
    out = []
    for kind, part in _by_kind(losses):
        n, known = part["n_tokens"].sum(), _known(part)
        size = (known["n_tokens"] + 1).sum() if len(known["floor"]) else np.nan
        out.append(
            {
                "kind": kind, "n_texts": len(part["loss"]), "n_tokens": int(n), "loss": part["loss"].sum() / n,
                "uniform": np.log(d_vocab), **{name: part[name].sum() / n for name in (*ORDERS, "random_weights")},
                "n_floor": len(known["floor"]), "loss_with_end": (known["loss"] + known["end"]).sum() / size,
                "floor": known["floor"].sum() / size,
                "kind_cost": -np.log(shares.get(kind, np.nan)) * len(known["floor"]) / size,
            }
        )  # fmt: skip
    return pd.DataFrame(out)


def _by_kind(losses: pd.DataFrame) -> Iterator[tuple[str, Part]]:
    kinds = losses["kind"].to_numpy()
    for kind in dict.fromkeys(kinds):
        yield str(kind), {str(name): losses[name].to_numpy()[kinds == kind] for name in losses.columns}


def _known(part: Part) -> Part:
    """Return the texts whose surprise is known and that were read to their end."""
    keep = np.isfinite(part["floor"]) & np.isfinite(part["end"])
    return {name: values[keep] for name, values in part.items()}


def _entropy_rows(known: Part, kind: str, *, share: float, seed: int) -> list[dict[str, Any]]:
    size, floor = known["n_tokens"] + 1, known["floor"]
    whole, random = known["loss"] + known["end"], known["random_weights"] + known["random_end"]
    beside = mean_row(
        "loss with the end of the text", whole, sizes=size, seed=seed, group=kind, unit=_unit(size), random=random,
        baseline=floor, baseline_name="entropy of the generator, kind known",
    )  # fmt: skip
    excess = mean_row(
        "loss above the entropy of the generator", whole - floor, sizes=size, seed=seed, group=kind, unit=_unit(size),
        random=random - floor, baseline=np.full(len(size), -np.log(share)), baseline_name="not knowing the kind",
    )  # fmt: skip
    if excess["ci_high"] < -TOLERANCE:
        excess["status"] = IMPOSSIBLE
    return [beside, excess]


def _unit(sizes: np.ndarray) -> str:
    return f"nats a token; {int(sizes.sum()):,} tokens"


def _with_end(ids: np.ndarray, lengths: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask [n, pos + 1] with BOS after every text that was not cut."""
    out = np.concatenate([ids, np.full((len(ids), 1), BOS_ID)], axis=1)
    out[np.arange(len(ids)), lengths] = BOS_ID
    return out, np.arange(out.shape[1]) < (lengths + whole)[:, None]


def _total(nats: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return np.where(inside, nats, 0.0).sum(axis=1)


def _ngram_totals(ngrams: NGrams, ids: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray]:
    return {name: _total(nats, inside) for name, nats in zip(ORDERS, ngram_nats(ngrams, ids), strict=True)}
