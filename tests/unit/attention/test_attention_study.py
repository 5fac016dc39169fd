"""The whole study on the planted layer: what it says, what it draws, and that it goes on where it was stopped."""

import pytest

from analyses.attention import run as study
from analyses.attention.panels import circuit_panels
from analyses.attention.token_rows import token_rows
from analyses.attention.view import figures, headline, plot, section
from analyses.job import Job, RunConfig
from analyses.registry import ANALYSES
from interp.errors import SaeMismatch
from interp.plot import figure_bytes
from interp.result import load_result
from interp.store import Store


@pytest.fixture(scope="module")
def result(planted, planted_rows, tmp_path_factory):
    with Store(tmp_path_factory.mktemp("store")) as store:
        rows = token_rows(planted.model, planted_rows[:32])
        yield study.attention_study(
            planted.model, {1: planted.sae}, twin=planted.model, control={1: planted.sae}, rows=rows, seed=0,
            n_positions=16, store=store,
        )  # fmt: skip


def test_the_answer_has_its_control_beside_it(result):
    said = headline(result)
    assert "undecided" in said.text
    assert "induction" in said.null
    assert said.n == (result.table["family"] != "dead").sum()


def test_every_figure_is_drawn_from_tables_alone(result, tmp_path):
    result.save(tmp_path / "result")
    again = load_result(tmp_path / "result")
    drawn = figures(again)
    assert set(drawn) == {"families", "profiles", "related", "heads"}
    assert all(figure_bytes(fig, "png", dpi=40) for fig in drawn.values())
    assert len(section(again, drawn).figures) == 4
    assert plot(again) is not None


def test_related_latents_stand_beside_random_weights(result):
    shares = result.tables["related_heads"]
    assert set(shares["condition"]) == {"trained", "random weights"}
    own = shares[(shares["view"] == "all") & (shares["k"] == 10) & (shares["status"] == "ok")]
    assert own["share"].between(0, 1).all()
    assert (own["ci_low"] <= own["share"]).all()
    assert "heads the top 10 latents are more alike than random ones" in headline(result).text
    assert "heads of random weights" in headline(result).null
    assert len(result.tables["relatedness"]) == 2 * 6 * 3 * 3 * 6  # conditions, heads, measures, ks, views


def test_the_section_says_how_and_what_not(result):
    found = section(result, {})
    text = " ".join(found.methods)
    assert "in this order" in text
    assert "min_share 0.5" in text
    assert any("random weights" in line for line in found.limits)


def test_a_second_run_computes_nothing(planted, planted_rows, tmp_path, monkeypatch):
    rows = token_rows(planted.model, planted_rows[:24])
    options = {"rows": rows, "seed": 0, "n_positions": 8}
    with Store(tmp_path) as store:
        first = study.attention_study(planted.model, {1: planted.sae}, store=store, **options)
        for name in ("head_scores", "relation_profile", "families_of_layers", "relatedness_of_layers", "latent_events"):
            monkeypatch.setattr(study, name, lambda *_, **__: pytest.fail("computed again"))
        second = study.attention_study(planted.model, {1: planted.sae}, store=store, **options)
    assert second.table.equals(first.table)
    assert second.provenance["key"] == first.provenance["key"]


def test_without_saes_there_are_heads_alone(tiny):
    found = study.attention_study(tiny, {}, seed=0)
    assert set(found.tables) == {"heads", "profiles", "prefixes"}
    assert found.table.equals(found.tables["heads"])
    assert "Highest heads" in headline(found).text
    assert set(figures(found)) == {"profiles", "heads"}
    assert any("No natural text" in line for line in section(found, {}).limits)


def test_an_sae_that_does_not_fit_stops_the_study(tiny, make_sae):
    with pytest.raises(SaeMismatch, match="explains"):
        study.attention_study(tiny, {1: make_sae(tiny)}, seed=0)


def test_a_job_takes_the_bundled_saes_and_the_control(tmp_path):
    with Store(tmp_path) as store:
        saes, control = study.job_saes(Job(RunConfig(), store))
        chosen, none = study.job_saes(Job(RunConfig(sae="atlas/z.1"), store))
        other, _ = study.job_saes(Job(RunConfig(sae="atlas/resid_post.2"), store))
    assert list(saes) == [0, 1, 2, 3, 4, 5]
    assert set(control) <= {2}
    assert list(chosen) == [1]
    assert not none
    assert not other


def test_the_study_is_registered():
    module = ANALYSES["attention"].load()
    assert all(callable(getattr(module, name)) for name in ("run", "figures", "headline", "section"))


def test_a_circuit_is_drawn_without_latents():
    import pandas as pd

    names = [f"{kind}{end}" for kind in ("noised", "denoised") for end in ("", "_low", "_high")]
    heads = pd.DataFrame({"layer": [0, 1], "head": [0, 1], **{name: [0.1, 0.9] for name in names}})
    assert figure_bytes(circuit_panels(heads, None), "png", dpi=40)
