"""Loss by kind of text against models whose loss is known: the bigram table itself, the uniform law, the generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interp.atlas.corpus.text import Text
from interp.atlas.measure.losses import IMPOSSIBLE, fresh_texts, loss_rows, loss_table, packed_losses, text_losses
from interp.atlas.measure.ngrams import fit_ngrams, next_token_law
from interp.atlas.measure.rows import card_table
from interp.testing import tiny_model
from interp.tokens import tokenize

from .planted import PlantedModel, uniform

SHARES = {"coins": 0.25, "words": 0.75}
HEADS, TAILS = " Paris", " London"
N_WORDS = 5


class Generator:
    """Texts of fair coins, five throws each, whose surprise is known; and texts of letters, whose is not."""

    def sample(self, kind: str, rng: np.random.Generator) -> Text:
        text = Text(kind)
        if kind == "coins":
            text.add("".join(HEADS if rng.random() < 0.5 else TAILS for _ in range(N_WORDS)))
            text.nats = N_WORDS * np.log(2)
            return text
        return text.add("".join(chr(97 + int(c)) for c in rng.integers(4, size=int(rng.integers(1, 9)))))


@pytest.fixture(scope="module")
def texts():
    return {kind: fresh_texts(Generator(), kind, 60, seed=1) for kind in SHARES}


@pytest.fixture(scope="module")
def ngrams(texts):
    model = PlantedModel(lambda ids: ids)
    ids = [tokenize(model, [t.text]).ids[0] for part in texts.values() for t in part]
    return fit_ngrams(np.concatenate(ids)[None], model.d_vocab)


def coin_thrower() -> PlantedModel:
    """The generator of the coins as a model: heads or tails, and after five of them the end."""
    ids = tokenize(PlantedModel(lambda ids: ids), [HEADS, TAILS]).ids[:, 1]

    def logits(given: np.ndarray) -> np.ndarray:
        out = np.full((*given.shape, model.d_vocab), -50.0)
        out[:, :N_WORDS, ids] = 0.0
        out[:, N_WORDS:, 0] = 0.0
        return out

    model = PlantedModel(logits)
    return model


def random_model() -> PlantedModel:
    model = PlantedModel(lambda ids: uniform(model.d_vocab)(ids))
    return model


def test_a_model_that_is_the_bigram_table_has_exactly_its_loss(texts, ngrams):
    v = ngrams.d_vocab
    law = np.log(np.stack([next_token_law(ngrams, 0, before)[1] for before in range(v)]))
    model = PlantedModel(lambda ids: law[ids], d_vocab=v)
    table = text_losses(model, random_model(), texts, ngrams)
    np.testing.assert_allclose(table["loss"], table["bigram"], rtol=1e-12)
    rows = np.random.default_rng(0).integers(2, v, size=(6, 20))
    rows[:, [0, 7]] = 0
    packed = packed_losses(model, random_model(), rows, ngrams, kind="packed")
    np.testing.assert_allclose(packed["loss"], packed["bigram"], rtol=1e-12)
    assert (packed["n_tokens"] == 18).all()


def test_a_uniform_model_loses_the_log_of_the_vocabulary_everywhere(texts, ngrams):
    model = random_model()
    table = text_losses(model, model, texts, ngrams)
    np.testing.assert_allclose(table["loss"] / table["n_tokens"], np.log(model.d_vocab), rtol=1e-12)
    wide = loss_table(table, d_vocab=model.d_vocab, shares=SHARES)
    np.testing.assert_allclose(wide["loss"], wide["uniform"], rtol=1e-12)
    np.testing.assert_allclose(wide["random_weights"], wide["uniform"], rtol=1e-12)


def test_losses_of_texts_are_those_of_transformers(texts, ngrams):
    model, twin = tiny_model(), tiny_model(seed=1)
    table = text_losses(model, twin, texts, ngrams)
    for i, text in enumerate(t for part in texts.values() for t in part):
        ids = model.tokenizer(text.text)["input_ids"]
        whole = torch.tensor([[*ids, 0]])
        for name, end, one in (("loss", "end", model), ("random_weights", "random_end", twin)):
            with torch.no_grad():
                theirs = one.bridge.original_model(input_ids=whole, labels=whole).loss
            assert (table[name] + table[end])[i] == pytest.approx(float(theirs) * len(ids), rel=1e-4)
        with torch.no_grad():
            cut = model.bridge.original_model(input_ids=whole[:, :-1], labels=whole[:, :-1]).loss
        assert table["loss"][i] == pytest.approx(float(cut) * (len(ids) - 1), rel=1e-4)
        assert table["n_tokens"][i] == len(ids) - 1


def test_the_generator_as_a_model_reaches_its_own_entropy(texts, ngrams):
    model = coin_thrower()
    table = text_losses(model, random_model(), {"coins": texts["coins"]}, ngrams)
    rows = card_table(loss_rows(table, seed=0, shares=SHARES)).set_index("measure")
    beside, excess = rows.loc["loss with the end of the text"], rows.loc["loss above the entropy of the generator"]
    assert beside["value"] == pytest.approx(beside["baseline"], abs=1e-9)
    assert beside["baseline"] == pytest.approx(N_WORDS * np.log(2) / (N_WORDS + 1))
    assert excess["value"] == pytest.approx(0, abs=1e-9)
    assert excess["status"] == "ok"
    assert excess["baseline"] == pytest.approx(-np.log(0.25) / (N_WORDS + 1))
    assert excess["random_weights"] == pytest.approx(np.log(model.d_vocab) - beside["baseline"])


def test_a_loss_below_the_entropy_is_called_impossible(texts, ngrams):
    table = text_losses(random_model(), random_model(), {"coins": texts["coins"]}, ngrams)
    table["floor"] = (table["loss"] + table["end"]) * 1.5
    (row,) = [r for r in loss_rows(table, seed=0, shares=SHARES) if r["measure"].startswith("loss above")]
    assert row["status"] == IMPOSSIBLE


def test_kinds_without_a_known_surprise_have_no_entropy_rows(texts, ngrams):
    table = text_losses(random_model(), random_model(), texts, ngrams)
    rows = card_table(loss_rows(table, seed=0, shares=SHARES))
    assert list(rows["group"]) == ["coins", "coins", "coins", "words"]
    assert (rows["n"] == 60).all()
    n_tokens = int(table.loc[table["kind"] == "words", "n_tokens"].sum())
    assert rows["unit"].iloc[-1] == f"nats a token; {n_tokens:,} tokens"
    wide = loss_table(table, d_vocab=9, shares=SHARES).set_index("kind")
    assert np.isnan(wide.loc["words", ["floor", "loss_with_end", "kind_cost"]].astype(float)).all()
    assert wide.loc["coins", "floor"] == pytest.approx(N_WORDS * np.log(2) / (N_WORDS + 1))


def test_loss_weights_tokens_and_not_texts(texts, ngrams):
    table = text_losses(tiny_model(), random_model(), {"words": texts["words"]}, ngrams)
    (row,) = loss_rows(table, seed=0, shares=SHARES)
    assert row["value"] == pytest.approx(table["loss"].sum() / table["n_tokens"].sum())
    assert row["baseline"] == pytest.approx(table["trigram"].sum() / table["n_tokens"].sum())
    assert row["value"] != pytest.approx((table["loss"] / table["n_tokens"]).mean(), rel=1e-6)


def test_a_text_that_does_not_fit_is_cut_and_has_no_floor(ngrams):
    long = Text("coins", nats=3.0).add(HEADS * 40)
    short = Text("coins", nats=1.0).add(HEADS * 3)
    model = PlantedModel(uniform(ngrams.d_vocab), n_ctx=10)
    table = text_losses(model, model, {"coins": [long, short]}, ngrams)
    assert table["n_tokens"].tolist() == [8, 3]
    assert table["floor"].isna().tolist() == [True, False]
    assert table["end"].isna().tolist() == [True, False]
    assert loss_table(table, d_vocab=9, shares=SHARES)["n_floor"].tolist() == [1]


def test_a_fresh_text_depends_on_seed_kind_and_place_alone():
    some, more = (fresh_texts(Generator(), "words", n, seed=3) for n in (5, 40))
    assert [t.text for t in some] == [t.text for t in more[:5]]
    assert len({t.text for t in more}) > 20
    assert [t.text for t in some] != [t.text for t in fresh_texts(Generator(), "words", 5, seed=4)]
