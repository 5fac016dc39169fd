"""The decoding of coordinates as a part of a run: which cities are kept apart, and what its section says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from geo_small import make_places

from analyses.geospatial import decode_job
from analyses.geospatial.decode_run import unmentioned_cities
from analyses.geospatial.places import load_places
from interp.plot import render_report
from interp.testing import tiny_model


@pytest.fixture(scope="module")
def asked():
    """What `decoding_study` is asked for by a job of these choices."""

    def ask(monkeypatch, model: str, places: str):
        seen = {}
        monkeypatch.setattr(decode_job, "decoding_study", lambda _, frame, **options: seen.update(options, seen=frame))
        config = SimpleNamespace(model=model, places=places, template="{name}", seed=0)
        frame = load_places("atlas") if places == "atlas" else make_places(30)
        decode_job.run(SimpleNamespace(config=config, places=frame, model=None, twin=None, store=None))
        return seen

    return ask


def test_cities_that_no_text_mentions_are_kept_apart_from_those_that_are_fitted_on(asked, monkeypatch):
    seen = asked(monkeypatch, "atlas", "atlas")
    apart = set(unmentioned_cities()["name"])
    assert set(seen["held_out"]["name"]) == apart
    assert not apart & set(seen["seen"]["name"])
    assert len(seen["seen"]) > 1500


@pytest.mark.parametrize(("model", "places"), [("atlas", "my.csv"), ("gpt2", "atlas")])
def test_other_models_and_places_keep_nothing_apart(asked, monkeypatch, model, places):
    assert asked(monkeypatch, model, places)["held_out"] is None


def test_the_section_shows_every_figure_and_its_limits():
    result = decode_job.decoding_study(
        tiny_model(0), make_places(80), twin=tiny_model(1), permutations=9, n_boot=20, cv=("block", "random"), deg=40,
        n_folds=4,
    )  # fmt: skip
    drawn = decode_job.figures(result)
    page = render_report("run", [decode_job.section(result, drawn)], result.provenance)
    assert page.count("<figure") == len(drawn) >= 2
    assert "need not be used by the model" in page
    assert "random weights" in decode_job.headline(result).null
