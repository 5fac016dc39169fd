"""Figures, headline and section: from saved tables alone, and saying no more than the tables do."""

import html
import re

import pandas as pd
import pytest

from analyses.geospatial import view
from analyses.geospatial.feature_view import feature_card
from analyses.geospatial.run import autocorrelation_study
from analyses.geospatial.study import LATENT, NEURON, RANDOM, SHUFFLED, TRAINED
from analyses.geospatial.survey_view import verdict_bars
from interp.errors import UnknownName
from interp.plot import figure_bytes, render_report
from interp.result import Result, load_result


@pytest.fixture(scope="module")
def loaded(studied, tmp_path_factory) -> Result:
    return load_result(studied.save(tmp_path_factory.mktemp("results") / "geospatial"))


@pytest.fixture(scope="module")
def nothing(small) -> Result:
    """A study of shuffled names with a dead SAE: no latent to test, no neuron that is significant."""
    places = small.places.assign(lon=small.places["lon"].sample(frac=1, random_state=1).to_numpy())
    return autocorrelation_study(small.model, small.dead_sae, places, twin=small.twin, config=small.config)


def changed(result: Result, **about) -> Result:
    return Result(result.name, result.table, result.tables, {**result.provenance, **about}, result.view)


def texts(result: Result) -> str:
    return " ".join([*view.methods(result.provenance), *view.limits(result.provenance)])


def test_a_saved_result_draws_every_figure_as_the_fresh_one(studied, loaded):
    fresh, again = view.figures(studied), view.figures(loaded)
    assert set(fresh) == set(again) == {"moran_null", "verdicts", "layers", "maps", "feature"}
    for name in fresh:
        assert figure_bytes(fresh[name], "svg") == figure_bytes(again[name], "svg")


def test_the_result_plots_itself(loaded):
    assert len(loaded.plot().axes) == 2


def test_the_headline_counts_are_those_of_the_summary_and_the_table(loaded):
    head = view.headline(loaded)
    unit = loaded.provenance["top_unit"]
    assert unit == LATENT
    own = loaded.table[(loaded.table["condition"] == TRAINED) & (loaded.table["unit"] == unit)]
    row = view.counts(loaded.tables["summary"], TRAINED, unit)
    assert (int(row["n_significant"]), int(row["n_tested"])) == ((own["q"] < 0.05).sum(), own["q"].notna().sum())
    assert head.text.startswith(f"{(own['q'] < 0.05).sum()} of {own['q'].notna().sum()} tested latents")
    assert f"{(own['verdict'] == 'geographic').sum()} are geographic" in head.text
    for condition, words in ((RANDOM, "random weights"), (SHUFFLED, "[Ss]huffled places")):
        null = view.counts(loaded.tables["summary"], condition, unit)
        said = f"{words}: {null['n_geographic']} geographic and {null['n_significant']} autocorrelated of "
        assert re.search(f"{said}{null['n_tested']}, largest", head.null)
    assert head.n == 60


def test_a_headline_about_neurons_says_what_the_latents_do(small):
    result = autocorrelation_study(small.model, small.dead_sae, small.places, twin=small.twin, config=small.config)
    assert result.provenance["top_unit"] == NEURON
    text = view.headline(result).text
    assert "tested neurons" in text
    assert "Of 0 tested latents 0 are autocorrelated." in text


def test_the_section_passes_the_report(loaded):
    page = render_report("study", [view.section(loaded, view.figures(loaded))], loaded.provenance)
    assert "Is geography laid out in the features?" in page
    assert html.escape(view.headline(loaded).text, quote=False).split(",")[0] in page


def test_a_study_that_finds_nothing_is_still_saved_and_reported(nothing, tmp_path):
    loaded = load_result(nothing.save(tmp_path / "nothing"))
    drawn = view.figures(loaded)
    assert set(drawn) == {"moran_null", "verdicts", "layers"}
    assert view.headline(loaded).text.startswith("0 of 0 tested latents")
    assert "0 of 0" in render_report("study", [view.section(loaded, drawn)], loaded.provenance)


def test_every_test_is_in_the_report_trained_first_and_largest_first(loaded):
    (table,) = view.section(loaded, {}).tables.values()
    assert len(table) == len(loaded.table)
    trained = table["condition"].tolist()
    assert trained == sorted(trained, key=lambda c: c != TRAINED)
    own = table.loc[table["condition"] == TRAINED, "I"].dropna()
    assert own.is_monotonic_decreasing
    pd.testing.assert_series_equal(
        table["q"].sort_values(ignore_index=True), loaded.table["q"].sort_values(ignore_index=True)
    )


def test_a_template_that_gives_the_region_is_a_limit(studied):
    assert "copies it" not in texts(studied)
    assert "copies it" in view.limits(changed(studied, gives_region=True).provenance)[0]


def test_the_methods_name_the_choices_that_were_made(studied):
    said = texts(studied)
    for part in ("'{name}'", "resid_post.0", "mlp_post.0", "(mean)", "5 nearest", "199 relabellings", "fewer than 5"):
        assert part in said
    assert "the same SAE" in said
    assert "an SAE trained on it" in texts(changed(studied, twin_sae_is_own=True))


def test_without_a_test_within_countries_the_text_claims_none(studied):
    assert "exchanged within 3 countries" in texts(studied)
    without = texts(changed(studied, within_country="the places have no country"))
    assert "No test within countries (the places have no country), so nothing is called geographic" in without


def test_the_card_of_a_feature_asks_for_one_that_is_kept(loaded):
    kept = loaded.tables["top_values"].columns
    assert feature_card(loaded, int(kept[-1])).axes
    with pytest.raises(UnknownName, match=f"it keeps: {kept[0]}"):
        feature_card(loaded, 10_000)


def test_the_slope_of_the_scatter_is_the_I_of_the_table(loaded):
    """The card prints both where they differ: lags and values have to be in one unit."""
    titles = [ax.get_title() + ax.get_title(loc="left") for ax in feature_card(loaded).axes]
    assert any("I = " in title for title in titles)
    assert not any("slope" in title for title in titles)


def test_the_verdict_bars_add_up_to_all_tested_features(loaded):
    ax = verdict_bars(loaded.table).axes[0]
    ends = {}
    for bar in ax.patches:
        ends[round(bar.get_y(), 6)] = bar.get_x() + bar.get_width()
    tested = loaded.table[loaded.table["status"] == "ok"]
    assert len(ends) == tested.groupby(["condition", "unit"]).ngroups
    assert list(ends.values()) == pytest.approx([1.0] * len(ends))


def test_what_makes_the_numbers_doubtful_is_a_limit(studied):
    assert "may not belong" not in texts(studied)
    assert "may not belong" in texts(changed(studied, sae_mismatch=["model fingerprint: trained with 'a'"]))
    assert "share their coordinates" not in texts(studied)
    assert "12 places share their coordinates" in texts(changed(studied, n_coincident=12))


@pytest.mark.parametrize(
    ("pool", "words"), [("mean", "mean activation"), ("last", "last token"), ("max", "largest activation")]
)
def test_the_map_says_how_a_name_became_one_value(studied, pool, words):
    config = {**studied.provenance["config"], "pool": pool}
    caption = view.figures(changed(studied, config=config))["maps"].get_supxlabel()
    assert words in caption
