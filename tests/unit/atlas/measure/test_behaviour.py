"""The first half of the card in one call: every part is there, in one schema, and a function of its seed alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from interp.atlas.corpus import MIXTURE, brackets, expressions, ioi, ordinals, stories
from interp.atlas.lexicon import PEOPLE
from interp.atlas.measure.behaviour import measure_behaviour
from interp.atlas.measure.rows import COLUMNS
from interp.testing import tiny_model, tiny_tokenizer
from interp.tokens import tokenize

MAKERS = {"brackets": brackets, "expressions": expressions, "ioi": ioi, "ordinals": ordinals}


def corpus() -> SimpleNamespace:
    """Every kind of text, without a world: what needs one is replaced by stories."""
    return SimpleNamespace(sample=lambda kind, rng: MAKERS.get(kind, stories).document(rng))


def packed(model, seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kinds = rng.choice(list(MIXTURE), size=n, p=list(MIXTURE.values()))
    texts = [corpus().sample(kind, rng).text for kind in kinds]
    flat = np.concatenate([tokenize(model, [text]).ids[0] for text in texts])
    return flat[: len(flat) // 128 * 128].reshape(-1, 128).astype(np.uint16)


@pytest.fixture(scope="module")
def found():
    tokenizer = tiny_tokenizer(words=[*"()[]{}0123456789.,=", *PEOPLE])
    model, twin = (tiny_model(seed, n_ctx=256, d_model=8, d_mlp=8, tokenizer=tokenizer) for seed in (0, 1))
    rows = {"train_rows": packed(model, 0, 200), "fresh_rows": packed(model, 1, 20)}
    return [measure_behaviour(model, twin, corpus(), **rows, seed=seed, n=6) for seed in (0, 0, 1)]


def test_every_part_of_the_first_half_is_measured(found):
    rows = found[0].rows
    assert list(rows.columns) == list(COLUMNS)
    assert set(rows.loc[rows["measure"] == "loss", "group"]) == {*MIXTURE, "packed rows of the mixture"}
    known = set(rows.loc[rows["measure"] == "loss above the entropy of the generator", "group"])
    assert known == {"brackets", "expressions", "ordinals"}
    assert rows.loc[rows["measure"].str.startswith("indirect object"), "group"].nunique() == 8
    for part in ("loss on random repeats", "induction score", "closing bracket", "value of an expression"):
        assert rows["measure"].str.startswith(part).any(), part


def test_every_figure_is_finite_and_beside_its_controls(found):
    rows = found[0].rows
    assert rows["status"].str.startswith("ok").all()
    assert np.isfinite(rows[["value", "ci_low", "ci_high", "random_weights", "baseline"]].to_numpy(float)).all()
    assert (rows["baseline_name"] != "").all()
    assert (rows["n"] > 0).all()


def test_the_tables_hold_every_kind_and_every_head(found):
    assert set(found[0].losses["kind"]) == {*MIXTURE, "packed rows of the mixture"}
    assert len(found[0].heads) == 3 * 2 * 4


def test_the_same_seed_gives_the_same_tables_and_another_does_not(found):
    for name in ("rows", "losses", "heads"):
        one, again, other = (getattr(part, name) for part in found)
        assert one.equals(again)
        assert not one.equals(other)
