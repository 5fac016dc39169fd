"""The work units of the study: what is kept, what a choice redoes, and that cutting places into chunks is invisible."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from geo_small import make_places, make_sae

import analyses.geospatial.run as geospatial
import analyses.geospatial.study_units as study_units
from analyses.geospatial import view
from analyses.geospatial.run import autocorrelation_study
from analyses.geospatial.study import LATENT, RANDOM, TRAINED, WITHIN, StudyConfig
from interp.errors import InvalidInput, SaeMismatch
from interp.store import Store
from interp.testing import tiny, tiny_model, tiny_tokenizer


@pytest.fixture
def calls(monkeypatch):
    """Names of what was computed, in order."""
    seen = []
    for module, name in (
        (study_units, "placename_activations"),
        (geospatial, "condition_tests"),
        (geospatial, "survey_tests"),
    ):
        real = getattr(module, name)

        def spy(*args, _real=real, _name=name, **options):
            seen.append(_name)
            return _real(*args, **options)

        monkeypatch.setattr(module, name, spy)
    return seen


@pytest.fixture
def study(small, tmp_path, calls):
    """Run the study into one store; return the result, and leave in `calls` what this run computed."""

    def run(config=small.config, *, model=small.model, sae=small.sae, twin=small.twin, places=small.places, **options):
        calls.clear()
        with Store(tmp_path / "store") as store:
            options = {"survey": False, **options}  # five seconds of the tests; those of the survey ask for it
            return autocorrelation_study(model, sae, places, twin=twin, config=config, store=store, **options)

    return run


ACTIVATIONS = ["placename_activations"] * 2
TESTS = ["condition_tests"] * 5  # trained, random weights, two shuffles, names alone


def test_chunks_do_not_show(small, studied, monkeypatch):
    monkeypatch.setattr(study_units, "CHUNK", 7)
    result = autocorrelation_study(
        small.model, small.sae, small.places, twin=small.twin, config=small.config, survey=False
    )
    pd.testing.assert_frame_equal(result.table, studied.table, rtol=1e-4, atol=1e-6)
    assert list(result.tables["top_values"]) == list(studied.tables["top_values"])
    pd.testing.assert_frame_equal(result.tables["top_values"], studied.tables["top_values"], rtol=1e-4)
    pd.testing.assert_frame_equal(result.tables["places"], studied.tables["places"])


def test_a_store_changes_no_number(study, studied):
    result = study(survey=True)
    pd.testing.assert_frame_equal(result.table, studied.table)
    for name, table in studied.tables.items():
        pd.testing.assert_frame_equal(result.tables[name], table)


def test_a_finished_study_computes_nothing_again(study, calls):
    first = study()
    assert calls == ACTIVATIONS + TESTS
    again = study()
    assert calls == []
    pd.testing.assert_frame_equal(again.table, first.table)


@pytest.mark.parametrize(
    "change",
    [{"k": 4}, {"permutations": 99}, {"min_active": 6}, {"seed": 1}, {"q_cut": 0.1}],
    ids=lambda c: next(iter(c)),
)
def test_a_choice_of_the_tests_redoes_them_alone(study, small, calls, change):
    study()
    study(replace(small.config, **change))
    assert calls == TESTS


@pytest.mark.parametrize("change", [{"template": "in {name}"}, {"pool": "max"}], ids=["template", "pool"])
def test_a_choice_of_the_reading_redoes_everything(study, small, calls, change):
    study()
    study(replace(small.config, **change))
    assert calls == ACTIVATIONS + TESTS


@pytest.mark.parametrize("column", ["lat", "country"])
def test_changed_places_redo_everything(study, small, calls, column):
    study()
    study(places=small.places.assign(**{column: small.places[column].to_numpy()[::-1]}))
    assert calls == ACTIVATIONS + TESTS


def test_another_twin_or_sae_redoes_what_they_read(study, small, calls):
    study()
    study(twin=tiny_model(2))
    assert calls == ACTIVATIONS[:1] + TESTS
    study(twin=tiny_model(2), sae=make_sae(small.model, seed=4))
    assert calls == ACTIVATIONS + TESTS


def test_equal_weights_that_are_given_another_bos_are_read_again(study, calls):
    first = study()
    model = tiny_model(0, bos="never")
    second = study(model=model)
    assert calls == ACTIVATIONS[:1] + TESTS
    assert not np.allclose(first.table["I"], second.table["I"], equal_nan=True)


def test_equal_weights_behind_another_tokenizer_are_read_again(study, small, calls):
    config = replace(small.config, template="in {name}")
    study(config)
    # as many tokens as before, numbered in another order: the weights, and so the fingerprint, stay
    model = tiny_model(0, tokenizer=tiny_tokenizer(words=reversed(tiny._WORDS)))
    assert model.fingerprint == small.model.fingerprint
    study(config, model=model)
    assert calls == ACTIVATIONS[:1] + TESTS


def test_the_survey_is_kept_by_cell_and_another_sae_redoes_it(study, small, calls):
    first = study(survey=True)
    assert calls == ACTIVATIONS + TESTS + ["survey_tests"] * 8  # four readings of two models
    again = study(survey=True)
    assert calls == []
    pd.testing.assert_frame_equal(again.tables["survey"], first.tables["survey"])
    other = study(survey=True, layer_saes={"resid_post.1": make_sae(small.model, site="resid_post.1")})
    assert calls == ["survey_tests"] * 8
    deeper = other.tables["survey"].query("site == 'resid_post.1' and unit == 'latent' and condition == 'trained'")
    assert len(deeper) == 4
    assert not len(first.tables["survey"].query("site == 'resid_post.1' and unit == 'latent'"))


def test_the_survey_counts_what_the_study_counts(small, studied):
    row = studied.tables["survey"].query("reading == 'name' and condition == 'trained' and unit == 'latent'").iloc[0]
    own = studied.table.query("condition == 'trained' and unit == 'latent'")
    assert (row["site"], row["n_features"], row["n_tested"]) == ("resid_post.0", len(own), own["p"].notna().sum())
    assert row["max_I"] == pytest.approx(own["I"].max())
    assert row["n_judged"] == row["n_tested"] <= 128
    assert row["ci_low"] <= row["share_geographic"] <= row["ci_high"]


def test_the_label_of_a_row_is_no_place(study, small, studied):
    """A table that was filtered or sorted keeps its labels; they must not decide which place has which value."""
    order = np.random.default_rng(0).permutation(len(small.places))
    mixed = small.places.copy()
    mixed.index = pd.Index(order)
    result = study(places=mixed)
    for name in ("top_places", "places"):
        pd.testing.assert_frame_equal(result.tables[name], studied.tables[name])


def test_the_top_places_have_the_values_of_their_own_prompts(small, studied):
    from analyses.geospatial.activations import placename_activations
    from analyses.geospatial.prompts import make_prompts

    top = studied.tables["top_places"]
    assert studied.provenance["top_unit"] == LATENT
    assert len(top) > 8
    acts = placename_activations(small.model, make_prompts(top), "resid_post.0", sae=small.sae)
    values = acts.latents.toarray()[np.arange(len(top)), top["feature"].to_numpy()]
    np.testing.assert_allclose(values, top["value"], rtol=1e-4)


def test_a_twin_with_an_sae_of_its_own_is_said_so(small, studied):
    assert studied.provenance["twin_sae_is_own"] is False
    own = make_sae(small.twin, seed=9, d_sae=40)
    result = autocorrelation_study(
        small.model, small.sae, small.places, twin=small.twin, twin_sae=own, config=small.config, survey=False
    )
    assert result.provenance["twin_sae_is_own"] is True
    n = result.table.groupby(["condition", "unit"]).size()
    assert (n[(TRAINED, LATENT)], n[(RANDOM, LATENT)]) == (48, 40)


def test_a_twin_read_elsewhere_is_no_control(small):
    with pytest.raises(SaeMismatch, match="same site"):
        autocorrelation_study(
            small.model, small.sae, small.places, twin=small.twin, twin_sae=make_sae(small.twin, site="resid_post.1")
        )


def test_an_sae_of_another_model_is_said_so(small, studied):
    assert studied.provenance["sae_mismatch"] == []
    result = autocorrelation_study(
        small.twin, small.sae, small.places, twin=small.model, config=small.config, survey=False
    )
    assert any("fingerprint" in text for text in result.provenance["sae_mismatch"])


def test_places_without_countries_get_no_columns_for_them(small):
    places = small.places.drop(columns="country")
    result = autocorrelation_study(small.model, small.sae, places, twin=small.twin, config=small.config)
    assert result.table["p_within_country"].isna().all()
    assert not result.tables["summary"]["n_geographic"].any()
    assert WITHIN not in set(result.table["condition"])
    assert "name and country" not in set(result.tables["survey"]["reading"])
    assert result.provenance["within_country"] == "the places have no country"


def test_places_that_share_coordinates_are_counted(small):
    places = small.places.copy()
    places.loc[1, ["lat", "lon"]] = places.loc[0, ["lat", "lon"]].to_numpy()
    result = autocorrelation_study(small.model, small.sae, places, twin=small.twin, config=small.config, survey=False)
    assert result.provenance["n_coincident"] == 2


def test_too_few_places_are_refused_before_the_model_runs(small, calls):
    with pytest.raises(InvalidInput, match="at least 20"):
        autocorrelation_study(small.model, small.sae, make_places(19), twin=small.twin, config=StudyConfig())
    assert calls == []


def test_without_an_sae_the_neurons_of_a_middle_layer_are_tested_alone(study, small):
    result = study(sae=None)
    assert set(result.table["unit"]) == {"neuron", "n-gram", "token"}
    assert result.provenance["neuron_site"] == "mlp_post.1"
    assert "latents" not in view.headline(result).text
    assert "latents are read" not in " ".join(view.methods(result.provenance))
    assert set(view.figures(result)) >= {"moran_null", "verdicts"}
