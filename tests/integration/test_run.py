"""The main job end to end on the bundled model: what it leaves, that it resumes, that it refuses damage."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import analyses.geospatial.run as geospatial
import analyses.geospatial.study_units as study_units
from analyses.cli import main
from analyses.geospatial import load_places
from analyses.geospatial.study import LATENT, NEURON, RANDOM, SHUFFLED, TRAINED, WITHIN, StudyConfig
from analyses.job import CONTROL_SAE, DEFAULT_SAE, RunConfig, run_job
from interp.errors import CorruptArtifact, SaeMismatch
from interp.store import Store


@pytest.fixture(scope="module", autouse=True)
def fixed_commit():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interp.provenance.git_commit", lambda _: "0" * 40)
        patch.setattr("analyses.latent_pages.N_TEXTS", 20)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_places, fixed_commit):
    folder = tmp_path_factory.mktemp("run") / "small"
    return run_job(RunConfig(("geospatial",), places=str(small_places), permutations=99), folder)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.suffix in (".parquet", ".safetensors", ".png", ".pdf", ".html")
    }


def test_a_run_leaves_tables_figures_and_a_report(finished):
    names = set(bytes_of(finished.folder))
    assert {"report.html", "geospatial/geospatial.parquet", "geospatial/moran_null.png", "geospatial/maps.pdf"} <= names
    assert "http" not in (finished.folder / "report.html").read_text().replace("http-equiv", "")


def test_every_row_has_its_null_and_its_status(finished):
    table = pd.read_parquet(finished.folder / "geospatial" / "geospatial.parquet")
    assert set(zip(table["condition"], table["unit"], strict=True)) >= {
        (c, u) for c in (TRAINED, RANDOM, SHUFFLED, WITHIN) for u in (LATENT, NEURON)
    }
    tested = table["status"] == "ok"
    assert table.loc[tested, ["I", "expected", "null_sd", "p", "q", "n"]].notna().all(axis=None)
    assert table.loc[~tested, ["p", "q"]].isna().all(axis=None)
    assert tested.any()
    assert (~tested).any()


def test_the_trained_model_is_geographic_and_its_nulls_are_not():
    """The headline, on all cities: the claim that everything else in the package leads up to."""
    import interp

    model, sae = interp.load_model("atlas"), interp.load_sae(DEFAULT_SAE["atlas"])
    twin_sae = interp.load_sae(CONTROL_SAE[DEFAULT_SAE["atlas"]])
    result = geospatial.autocorrelation_study(
        model, sae, load_places("atlas"), twin_sae=twin_sae, survey=False, config=StudyConfig(permutations=199)
    )
    summary = result.tables["summary"].set_index(["condition", "unit"])
    for unit in (LATENT, NEURON):
        assert summary.loc[(TRAINED, unit), "share_significant"] > 0.5
        assert summary.loc[(RANDOM, unit), "share_significant"] < 0.05
        assert summary.loc[(SHUFFLED, unit), "share_significant"] < 0.01
        assert summary.loc[(TRAINED, unit), "n_geographic"] > 100
        for condition in (RANDOM, SHUFFLED, WITHIN):
            assert summary.loc[(condition, unit), "n_geographic"] == 0
        # not the largest I: a latent of the twin that knows one spelling (San, -pur) is rightly high
        assert summary.loc[(TRAINED, unit), "median_I"] > 5 * abs(summary.loc[(RANDOM, unit), "median_I"])


def test_running_again_computes_nothing(finished, small_places, monkeypatch):
    before = bytes_of(finished.folder)
    monkeypatch.setattr(study_units, "placename_activations", lambda *a, **k: pytest.fail("computed again"))
    for name in ("condition_tests", "survey_tests"):
        monkeypatch.setattr(geospatial, name, lambda *a, **k: pytest.fail("computed again"))
    run_job(RunConfig(("geospatial",), places=str(small_places), permutations=99), finished.folder)
    assert bytes_of(finished.folder) == before


def test_another_folder_gives_the_same_bytes(finished, small_config, tmp_path):
    run_job(small_config, tmp_path / "again")
    assert bytes_of(tmp_path / "again") == bytes_of(finished.folder)


def test_only_what_depends_on_a_choice_is_done_again(finished, small_places, tmp_path, monkeypatch):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(finished.folder, copy)
    monkeypatch.setattr(study_units, "placename_activations", lambda *a, **k: pytest.fail("activations again"))
    run_job(RunConfig(("geospatial",), places=str(small_places), permutations=49, survey=False), copy)
    table = pd.read_parquet(copy / "geospatial" / "geospatial.parquet")
    assert table["n_perm"].max() == 49


@pytest.mark.parametrize("victim", ["geospatial/trained/latents-00000.safetensors", "geospatial/tests/trained.parquet"])
def test_a_flipped_bit_is_named_and_only_its_unit_is_redone(finished, small_config, tmp_path, victim, caplog):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(finished.folder, copy)
    data = bytearray((copy / victim).read_bytes())
    data[len(data) // 2] ^= 4
    (copy / victim).write_bytes(data)
    assert main(["status", str(copy)]) == 3
    with Store(copy, readonly=True) as store, pytest.raises(CorruptArtifact, match=Path(victim).name):
        store.get(victim)
    run_job(small_config, copy)
    assert "corrupt" in caplog.text
    assert bytes_of(copy) == bytes_of(finished.folder)
    assert main(["status", str(copy)]) == 0


def test_a_region_in_the_prompt_is_flagged(small_places, tmp_path):
    config = RunConfig(
        ("geospatial",), places=str(small_places), permutations=49, template="{name}, {country}", survey=False
    )
    result = run_job(config, tmp_path / "run").results["geospatial"]
    assert result.provenance["gives_region"] is True
    assert "copies it" in (tmp_path / "run" / "report.html").read_text()


def test_a_model_without_a_bundled_sae_has_its_neurons_tested_alone(small_places, tmp_path):
    folder = str(Path("interp/assets/atlas").resolve())
    config = RunConfig(("geospatial",), folder, places=str(small_places), permutations=49, survey=False)
    finished = run_job(config, tmp_path / "run")
    result = finished.results["geospatial"]
    assert LATENT not in set(result.table["unit"])
    assert "tested neurons" in finished.headlines["geospatial"].text


def test_an_sae_of_another_model_is_refused(small_places):
    import interp
    from analyses.job import Job

    job = Job(RunConfig(sae=CONTROL_SAE[DEFAULT_SAE["atlas"]]), store=None)  # type: ignore[arg-type]
    with pytest.raises(SaeMismatch, match="fingerprint"):
        assert isinstance(job.sae, interp.sae.SAE)


def test_the_result_draws_itself_after_loading(finished, tmp_path):
    import interp

    finished.results["geospatial"].save(tmp_path / "result")
    loaded = interp.load_result(tmp_path / "result")
    pd.testing.assert_frame_equal(loaded.table, finished.results["geospatial"].table)


def test_a_model_without_a_card_needs_a_bos_policy(small_places, tmp_path):
    import shutil

    from interp.atlas.facts import folder

    mine = tmp_path / "mine"
    shutil.copytree(folder(), mine, ignore=shutil.ignore_patterns("card.json", "manifest.json"))
    config = RunConfig(
        ("geospatial",), str(mine), sae=DEFAULT_SAE["atlas"], places=str(small_places), permutations=49, survey=False
    )
    with pytest.raises(SaeMismatch, match="--bos"):
        run_job(config, tmp_path / "run")
    finished = run_job(replace(config, bos="always"), tmp_path / "run")
    assert finished.results["geospatial"].provenance["twin_sae_is_own"] is True
