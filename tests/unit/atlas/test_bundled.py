"""The bundled model and its SAEs as they are shipped: what the card and the facts say is so."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer

from interp.atlas import card, checkpoints, facts
from interp.atlas.card_page import card_page
from interp.atlas.facts import folder
from interp.atlas.figures import N_ROWS
from interp.atlas.measure.answers import answered, name_tokens
from interp.atlas.measure.forward import token_nats
from interp.atlas.measure.questions import city_questions
from interp.atlas.rows import HELD_OUT_SEED, corpus_sha256, text_rows
from interp.atlas.verify import verify_figures
from interp.capturing import capture
from interp.errors import SaeMismatch
from interp.models import load_model
from interp.sae import evaluate_sae, load_sae
from interp.sae.fit import check_fit
from interp.sae.io import list_saes, training_record
from interp.tokens import tokenize

ASSETS = folder().parent
SAES = tuple(name for name in list_saes() if name.startswith("atlas/"))
TWIN_SAES = tuple(name for name in list_saes() if name.startswith("atlas-random/"))
FRESH_SEED = 9_000_001


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
def rows(tokenizer) -> np.ndarray:
    """Packed rows of text that is not of the training."""
    return text_rows(facts().corpus(), tokenizer, HELD_OUT_SEED, 0, N_ROWS).astype(np.int64)


@pytest.fixture(scope="module")
def fresh() -> list[str]:
    return [text.text for text in islice(facts().texts(FRESH_SEED), 150)]


def site_of(name: str) -> str:
    """What is different about an SAE stands behind its site: atlas/resid_post.2-gba."""
    return name.split("/")[1].partition("-")[0]


def megabytes(path: Path) -> float:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) / 1e6


# --- the card


def test_every_measurement_of_the_card_has_its_n_and_its_control():
    measured = card()["measured"]
    assert len({(row["measure"], row["group"]) for row in measured}) == len(measured) > 100
    for row in measured:
        assert row["status"], row
        if row["status"] == "ok":
            assert row["n"] > 0, row
            assert np.isfinite(row["value"]), row
            is_control = row["group"].startswith(("spelling of the name", "country given"))
            no_twin = row["measure"].startswith("latents")  # one SAE of the twin was trained, at one site
            assert is_control or no_twin or row["random_weights"] is not None or row["baseline"] is not None, row
    assert any(row["measure"].startswith("latents") and row["random_weights"] is not None for row in measured)


def test_the_figures_of_the_card_are_measured_again():
    assert set(verify_figures(folder())["state"]) == {"ok"}


def test_the_generator_still_writes_the_corpus_that_was_trained_on(tokenizer):
    train = card()["settings"]["train"]
    assert corpus_sha256(tokenizer, train["seed"], n_cities=train["n_cities"]) == card()["corpus"]["sha256"]


def test_held_out_loss_of_the_card_is_that_of_transformers(plain, rows):
    with torch.no_grad():  # rows are of one length, so the mean over batches is the mean over rows
        found = [float(plain(input_ids=ids, labels=ids).loss) for ids in torch.from_numpy(rows).split(16)]
    (stated,) = [row for row in card()["figures"] if row["figure"].startswith("loss on packed rows")]
    assert np.mean(found) == pytest.approx(stated["value"], abs=1e-3)


def test_the_shipped_readme_is_the_text_of_the_shipped_card(atlas):
    hidden = int((~facts().cities["seen"]).sum())
    text = card_page(card(), n_parameters=atlas.n_parameters, n_cities=len(facts().cities), n_hidden=hidden)
    assert text == (folder() / "README.md").read_text(encoding="utf-8")


# --- the facts


def test_no_held_out_city_is_mentioned_and_every_seen_one_is():
    cities = facts().cities
    assert 100 < (~cities["seen"]).sum() < 300
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


def test_nothing_that_was_held_out_was_told():
    told = facts().told
    held_out = {relation for relation in facts().held_out["relation"]} | {"direction", "clock"}
    part = told[told["relation"].isin(held_out)]
    part = pd.concat([part[part["relation"] == r].iloc[:3000] for r in sorted(held_out)])
    assert len(part) > 5000
    facts_of = part[["relation", "city", "other"]].itertuples(index=False)
    assert not any(facts().held_out_fact(*fact) for fact in facts_of)


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


def test_country_is_known_of_told_cities_and_not_of_those_never_mentioned(atlas):
    corpus = facts().corpus()
    asked = [q for q in city_questions(corpus, name_tokens(atlas, corpus)) if q.kind == "country of a city"]
    hidden = [q for q in asked if q.group == "never mentioned"]
    told = [q for q in asked if q.group.startswith("told")][::8]
    assert min(len(hidden), len(told)) > 80
    assert answered(atlas, told).mean() >= 0.9
    assert answered(atlas, hidden).mean() < 0.3


# --- the training


def test_the_loss_on_fresh_text_falls_along_the_checkpoints(rows):
    table = checkpoints()
    assert len(table) == 4
    assert table["tokens"].is_monotonic_increasing
    losses = [token_nats(load_model(name), rows).mean() for name in table["name"]]
    assert (np.diff(losses) < 0).all()


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
    assert (folder() / "model.safetensors").stat().st_size <= 16e6
    assert (folder() / "told.parquet").stat().st_size < 3e6
    assert all(path.stat().st_size <= 4e6 for path in (folder() / "checkpoints").iterdir())
    assert megabytes(ASSETS / "saes") <= 32
    assert megabytes(ASSETS) < 58


# --- the SAEs


def test_there_are_saes_of_every_layer_and_of_the_twin(atlas):
    components = ("resid_post", "z", "mlp_out")
    assert {f"atlas/{component}.{layer}" for component in components for layer in range(atlas.n_layers)} <= set(SAES)
    assert {load_sae(name).config.architecture for name in SAES} == {"topk", "jumprelu", "matching_pursuit"}
    assert {site_of(name).partition(".")[0] for name in TWIN_SAES} == set(components)
    assert load_sae("atlas/z.1").config.n_heads == atlas.shapes["z.1"][1]
    assert {*SAES, *TWIN_SAES} == set(list_saes())


@pytest.mark.parametrize("name", [*SAES, *TWIN_SAES])
def test_sae_fits_the_model_it_was_trained_on_and_no_other(atlas, twin, name):
    own, other = (twin, atlas) if name in TWIN_SAES else (atlas, twin)
    sae = load_sae(name)
    assert sae.golden_checked
    fit = check_fit(own, sae)
    assert (fit.site, fit.mismatches) == (site_of(name), ())
    with pytest.raises(SaeMismatch, match="model fingerprint"):
        check_fit(other, sae)


@pytest.mark.parametrize("name", [*SAES, *TWIN_SAES])
def test_sae_rebuilds_fresh_text_as_well_as_its_record_says(atlas, twin, fresh, name):
    sae = load_sae(name)
    x = capture(twin if name in TWIN_SAES else atlas, fresh, site_of(name), pool="none")[site_of(name)]
    values = x.astype(np.float64)
    variance = ((values - values.mean(axis=0)) ** 2).sum()
    with torch.no_grad():
        fvu = ((values - sae(torch.from_numpy(x)).double().numpy()) ** 2).sum() / variance
    table = evaluate_sae(sae, x, seed=0, n_boot=0).set_index("metric")
    assert table.loc["fvu", "value"] == pytest.approx(fvu, rel=1e-5)
    assert fvu < table.loc["fvu", "null_random_sae"]
    assert fvu < (0.15 if name in SAES else 1.0)
    (stated,) = [row for row in training_record(name)["evaluation"] if row["metric"] == "fvu"]
    assert fvu == pytest.approx(stated["value"], rel=0.2)


def test_answering_the_mean_leaves_all_variance_unexplained(atlas, fresh):
    sae = load_sae(SAES[0])
    site = SAES[0].split("/")[1]
    x = capture(atlas, fresh, site, pool="none")[site]
    with torch.no_grad():
        sae.W_dec.zero_()
        sae.b_dec.copy_(torch.from_numpy(x.astype(np.float64).mean(axis=0)))
    table = evaluate_sae(sae, x, seed=0, n_boot=0).set_index("metric")
    assert table.loc["fvu", "value"] == pytest.approx(1.0, abs=1e-6)
    assert table.loc["fvu", "null_mean_predictor"] == 1.0
    assert table.loc["explained_variance", "null_mean_predictor"] == 0.0
