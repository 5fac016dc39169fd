"""The bundled model and its SAEs as they are shipped: what the card and the facts say is so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from interp.atlas import card, facts
from interp.atlas.data import corpus_ids, pack
from interp.atlas.facts import folder
from interp.atlas.measure import answered, questions
from interp.atlas.prepare import HELD_OUT_SEED
from interp.capturing import capture
from interp.errors import SaeMismatch
from interp.models import load_model
from interp.sae import evaluate_sae, load_sae
from interp.sae.fit import check_fit
from interp.sae.io import list_saes, training_record
from interp.tokens import tokenize

ASSETS = folder().parent
SAES = ("atlas/resid_post.0", "atlas/resid_post.1", "atlas/resid_post.2", "atlas/resid_post.3")
TWIN_SAES = ("atlas-random/resid_post.1",)
FRESH_SEED = 9_000_001  # documents that neither the model nor an SAE was trained on


@pytest.fixture(scope="module")
def atlas():
    return load_model("atlas")


@pytest.fixture(scope="module")
def twin():
    return load_model("atlas", weights="random", seed=0)


@pytest.fixture(scope="module")
def plain():
    """The model as anybody else would load it."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder(), dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(folder() / "tokenizer.json"))


@pytest.fixture(scope="module")
def fresh() -> list[str]:
    documents = facts().corpus().documents(FRESH_SEED)
    return [next(documents).text for _ in range(150)]


def megabytes(path: Path) -> float:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) / 1e6


# --- the card


def test_every_measurement_of_the_card_has_its_n_and_its_control():
    rows = card()["measured"]
    assert len({row["measure"] for row in rows}) == len(rows) > 40
    for row in rows:
        assert row["n"] > 0, row["measure"]
        assert np.isfinite([row["value"], row["random_weights"]]).all(), row["measure"]


def test_the_card_is_about_all_that_the_measurements_cover():
    measured = {row["measure"]: row["n"] for row in card()["measured"]}
    for kind in {q.kind for q in questions(facts())}:
        assert measured[kind] == sum(q.kind == kind for q in questions(facts()))


def test_held_out_loss_of_the_card_is_that_of_transformers(plain, tokenizer):
    rows = pack(corpus_ids(tokenizer, HELD_OUT_SEED), 256 * 128, 128).astype(np.int64)
    with torch.no_grad():  # rows are of one length, so the mean over batches is the mean over rows
        found = [float(plain(input_ids=ids, labels=ids).loss) for ids in torch.from_numpy(rows).split(32)]
    (stated,) = [row for row in card()["measured"] if row["measure"].startswith("loss on fresh draws")]
    assert len(rows) == stated["n"]
    assert np.mean(found) == pytest.approx(stated["value"], abs=1e-3)


# --- the facts


def test_no_held_out_city_is_mentioned_and_every_seen_one_is():
    cities = facts().cities
    assert 50 < (~cities["seen"]).sum() < 150
    assert (cities.loc[~cities["seen"], "n_mentions"] == 0).all()
    assert (cities.loc[cities["seen"], "n_mentions"] > 0).all()


def test_relations_are_told_between_seen_cities_alone():
    told, seen = facts().told, facts().cities["seen"].to_numpy()
    assert len(told) > 10_000
    assert seen[told["city"]].all()
    other = told["other"].to_numpy()
    assert seen[other[other != -1]].all()
    assert other.min() == -1
    assert (told["count"] > 0).all()
    assert not told.duplicated(["relation", "city", "other"]).any()


def test_cities_told_to_be_near_are_among_the_nearest():
    told, world = facts().told, facts().corpus().world
    near = told[told["relation"] == "near"]
    assert len(near) > 1000
    assert all(other in world.neighbours[city] for city, other in zip(near["city"], near["other"], strict=True))


def test_counts_of_tokens_are_those_of_the_tokenizer(tokenizer):
    cities = facts().cities
    lengths = [len(e.ids) - 1 for e in tokenizer.encode_batch(cities["name"].tolist())]  # BOS is not of the name
    np.testing.assert_array_equal(cities["n_tokens"], lengths)
    assert cities["n_tokens"].nunique() > 1


def test_country_is_known_of_seen_cities_and_not_of_held_out_ones(atlas):
    asked = questions(facts())
    hidden = [q for q in asked if q.kind == "country of a city, never mentioned"]
    seen = [q for q in asked if q.kind.startswith("country") and q.kind != hidden[0].kind][::8]
    assert min(len(hidden), len(seen)) > 80
    assert answered(atlas, seen).mean() >= 0.9
    assert answered(atlas, hidden).mean() < 0.3


# --- the files


def test_transformers_alone_gives_the_same_tokens_and_logits(atlas, plain, fresh):
    from transformers import AutoTokenizer

    tokens = tokenize(atlas, fresh[:20])
    theirs = AutoTokenizer.from_pretrained(folder())(fresh[:20])["input_ids"]
    assert [row[mask].tolist() for row, mask in zip(tokens.ids, tokens.mask, strict=True)] == theirs
    with torch.no_grad():
        for row in theirs:
            ids = torch.tensor([row])
            torch.testing.assert_close(atlas.logits(ids), plain(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


def test_what_is_shipped_stays_small():
    assert megabytes(folder()) <= 16
    assert all(megabytes(ASSETS / "saes" / name) <= 1.5 for name in (*SAES, *TWIN_SAES))
    assert megabytes(ASSETS) < 20


# --- the SAEs


def test_the_saes_are_those_this_file_tests():
    assert set(list_saes()) == {*SAES, *TWIN_SAES}


@pytest.mark.parametrize("name", [*SAES, *TWIN_SAES])
def test_sae_fits_the_model_it_was_trained_on_and_no_other(atlas, twin, name):
    own, other = (twin, atlas) if name in TWIN_SAES else (atlas, twin)
    sae = load_sae(name)
    assert sae.golden_checked
    fit = check_fit(own, sae)
    assert (fit.site, fit.mismatches) == (name.split("/")[1], ())
    with pytest.raises(SaeMismatch, match="model fingerprint"):
        check_fit(other, sae)


@pytest.mark.parametrize("name", [*SAES, *TWIN_SAES])
def test_sae_rebuilds_fresh_text_as_well_as_its_record_says(atlas, twin, fresh, name):
    sae = load_sae(name)
    x = capture(twin if name in TWIN_SAES else atlas, fresh, name.split("/")[1], pool="none")[name.split("/")[1]]
    rows = x.astype(np.float64)
    variance = ((rows - rows.mean(axis=0)) ** 2).sum()
    with torch.no_grad():
        fvu = ((rows - sae(torch.from_numpy(x)).double().numpy()) ** 2).sum() / variance
    table = evaluate_sae(sae, x, seed=0, n_boot=0).set_index("metric")
    assert table.loc["fvu", "value"] == pytest.approx(fvu, rel=1e-5)
    assert fvu < table.loc["fvu", "null_random_sae"]
    assert fvu < (0.1 if name in SAES else 1.0)
    (stated,) = [row for row in training_record(name)["evaluation"] if row["metric"] == "fvu"]
    assert fvu == pytest.approx(stated["value"], rel=0.2)


def test_answering_the_mean_leaves_all_variance_unexplained(atlas, fresh):
    sae = load_sae(SAES[1])
    x = capture(atlas, fresh, "resid_post.1", pool="none")["resid_post.1"]
    with torch.no_grad():
        sae.W_dec.zero_()
        sae.b_dec.copy_(torch.from_numpy(x.astype(np.float64).mean(axis=0)))
    table = evaluate_sae(sae, x, seed=0, n_boot=0).set_index("metric")
    assert table.loc["fvu", "value"] == pytest.approx(1.0, abs=1e-6)
    assert table.loc["fvu", "null_mean_predictor"] == 1.0
    assert table.loc["explained_variance", "null_mean_predictor"] == 0.0
