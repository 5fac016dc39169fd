"""Building the model from nothing: reproducible, resumable, each stage once, checked before it is installed."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save
from tokenizers import Tokenizer

from interp import load_model
from interp.atlas import build as module
from interp.atlas.build import Plan, build, full_plan, install, small_plan
from interp.atlas.facts import load_facts
from interp.atlas.figures import figures
from interp.atlas.measure.rows import card_table, share_row
from interp.atlas.network import NetworkConfig
from interp.atlas.saes import SaePlan
from interp.atlas.train import TrainConfig
from interp.atlas.verify import verify_figures, verify_files
from interp.atlas.write_card import Effort, records, write_card
from interp.errors import CorruptArtifact, InvalidInput
from interp.sae import load_sae
from interp.sae.fit import check_fit
from interp.store import verify_folder, write_folder

SAES = ("resid_post.0", "resid_post.1", "z.0", "z.1", "resid_post.0-seed1", "resid_post.0-matching_pursuit")
FOLDERS = {*(f"atlas/{name}" for name in SAES), "atlas-random/resid_post.0", "atlas-random/z.0"}


ROWS = [
    share_row("share | of a thing", np.array([True, False]), random=0.25, baseline=0.5, baseline_name="majority"),
    share_row("share of nothing", np.array([], dtype=bool)),
]
ROWS = records(card_table(ROWS))


def module_of(name):
    return sys.modules[f"interp.atlas.{name}"]


def plan(seed: int = 0) -> Plan:
    return Plan(
        TrainConfig(tokens=12 * 8 * 64, batch_rows=8, seed=seed, n_cities=260, eval_every=6, checkpoint_every=4),
        NetworkConfig(vocab_size=600, d_model=32, n_layers=2, n_heads=2, d_mlp=48, n_ctx=64),
        SaePlan(
            n_layers=2,
            compared_layer=0,
            options={"k": 3},
            widths={"resid_post": 48, "z": 32},
            compared={"topk": {"k": 3}, "matching_pursuit": {"max_iterations": 3}},
            seeds=(0, 1),
            tokens=2048,
            eval_rows=16,
            batch_size=128,
            buffer=1024,
        ),
        Effort(n=4, n_train_rows=40, n_fresh_rows=4, n_pairs=8, n_exercises=2, permutations=19),
        n_texts=1200,
    )


def few_rows(folder, _saes, _effort, *, say):
    """Stand in for all the measurements of a card, which take longer than the rest of a small build."""
    say("measuring")
    model, twin = load_model(folder), load_model(folder, weights="random", seed=0)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = figures(model, twin, load_facts(folder).corpus(), tokenizer)
    return {"measured": ROWS, "tables": {}, "figures": records(found)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module_of("write_card"), "measure_folder", few_rows)
        table = build(folder, plan(), say=said.append)
    return folder, table, said


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole[0], tmp_path / "copy")


def weights(folder):
    return (folder / "atlas" / "model.safetensors").read_bytes()


def card(folder):
    return json.loads((folder / "atlas" / "card.json").read_text())


def test_two_builds_with_one_seed_have_the_same_corpus_and_the_same_weights(whole, tmp_path):
    build(tmp_path / "again", plan(), until="model", workers=2)
    build(tmp_path / "other", plan(seed=1), until="model")
    assert weights(tmp_path / "again") == weights(whole[0]) != weights(tmp_path / "other")
    hashes = [card(f)["corpus"]["sha256"] for f in (whole[0], tmp_path / "again", tmp_path / "other")]
    assert hashes[0] == hashes[1] != hashes[2]
    for name in ("told.parquet", "cities.parquet", "tokenizer.json"):
        assert (tmp_path / "again" / "atlas" / name).read_bytes() == (whole[0] / "atlas" / name).read_bytes()


def test_a_build_runs_every_stage_and_says_so(whole):
    _, table, said = whole
    assert table["stage"].tolist() == ["tokenizer", "training", "model", "saes", "card"]
    assert set(table["state"]) == {"done"}
    assert any("step 12 of 12" in line for line in said)
    assert sum(line.startswith("SAE atlas") for line in said) == len(SAES) + 2


def test_finished_stages_are_kept(copy, monkeypatch):
    monkeypatch.setattr(module_of("build"), "_runs", lambda *_: {})
    before = {p: p.stat().st_mtime_ns for p in copy.rglob("*")}
    assert set(build(copy, plan())["state"]) == {"kept"}
    assert {p: p.stat().st_mtime_ns for p in copy.rglob("*")} == before


def test_an_interrupted_training_goes_on_to_the_same_weights(whole, tmp_path, monkeypatch):
    real = module_of("train").batch_at

    def power_cut(text, step, **kwargs):
        if step == 7:
            raise KeyboardInterrupt
        return real(text, step, **kwargs)

    monkeypatch.setattr(module_of("train"), "batch_at", power_cut)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, plan(), until="model")
    monkeypatch.setattr(module_of("train"), "batch_at", real)
    table = build(tmp_path, plan(), until="model").set_index("stage")["state"]
    assert table.to_dict() == {"tokenizer": "kept", "training": "done", "model": "done"}
    assert weights(tmp_path) == weights(whole[0])


def test_what_is_missing_is_made_again_and_nothing_before_it(whole, copy):
    before = (copy / "saes" / "atlas" / "resid_post.1" / "sae_weights.safetensors").read_bytes()
    shutil.rmtree(copy / "saes" / "atlas" / "resid_post.1")
    table = build(copy, plan(), until="saes").set_index("stage")["state"]
    assert table.to_dict() == {"tokenizer": "kept", "training": "kept", "model": "kept", "saes": "done"}
    assert (copy / "saes" / "atlas" / "resid_post.1" / "sae_weights.safetensors").read_bytes() == before
    (copy / "atlas" / "told.parquet").unlink()
    table = build(copy, plan(), until="model").set_index("stage")["state"]
    assert table.to_dict() == {"tokenizer": "kept", "training": "kept", "model": "done"}
    assert weights(copy) == weights(whole[0])


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "kept/step4.npz", "atlas/model.safetensors", "saes/atlas/resid_post.0/cfg.json"]
)
def test_a_file_that_was_altered_is_named(copy, name):
    if not (copy / name).exists():
        name = f"kept/{min(p.name for p in (copy / 'kept').iterdir())}"
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(CorruptArtifact, match=name.replace(".", r"\.")):
        build(copy, plan())


def test_a_folder_that_was_begun_with_other_settings_is_refused(copy):
    other = replace(plan(), train=replace(plan().train, seed=5), n_texts=1300)
    with pytest.raises(InvalidInput, match=r"train\.seed: 0 there, 5 now; n_texts: 1200 there, 1300 now"):
        build(copy, other)
    (copy / "build.json").write_text("{}")
    with pytest.raises(CorruptArtifact, match=r"build\.json is damaged"):
        build(copy, plan())


def test_a_training_with_another_tokenizer_is_left_as_it_is(copy):
    (copy / "build.json").unlink()
    (copy / "tokenizer.json").write_text('{"another": "tokenizer"}')
    with pytest.raises(InvalidInput, match="another tokenizer"):
        build(copy, plan())
    assert (copy / "tokenizer.json").read_text() == '{"another": "tokenizer"}'


def test_a_finished_training_without_a_record_is_taken_over(whole, copy):
    (copy / "build.json").unlink()
    before = (copy / "checkpoint.npz").read_bytes()
    assert set(build(copy, plan(), until="training")["state"]) == {"done"}
    assert (copy / "checkpoint.npz").read_bytes() == before


def test_a_card_added_to_an_sae_leaves_the_build_as_finished_as_it_was(copy):
    folder = copy / "saes" / "atlas" / SAES[0]
    files = {name: (folder / name).read_bytes() for name in verify_folder(folder)["files"]}
    write_folder(folder, files | {"card.json": b"{}", "README.md": b"# card"}, overwrite=True)
    assert set(build(copy, plan())["state"]) == {"kept"}


def test_an_unknown_stage_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(InvalidInput, match="Nearest: training"):
        build(tmp_path, plan(), until="train")


def test_the_built_saes_fit_the_built_model(whole):
    model = load_model(whole[0] / "atlas", device="cpu")
    assert {path.name for path in (whole[0] / "saes" / "atlas").iterdir()} == set(SAES)
    for site in SAES:
        assert check_fit(model, load_sae(whole[0] / "saes" / "atlas" / site)).mismatches == ()
    twin = load_model(whole[0] / "atlas", weights="random", device="cpu")
    for site in ("resid_post.0", "z.0"):
        assert check_fit(twin, load_sae(whole[0] / "saes" / "atlas-random" / site)).mismatches == ()


def test_the_readme_has_every_row_of_the_card_and_what_the_model_is(whole):
    text = (whole[0] / "atlas" / "README.md").read_text()
    assert card(whole[0])["measured"] == ROWS
    assert "### share | of a thing\n" in text
    assert "|  | 0.5 | 0.0945 to 0.905 | 2 | share right | 0.25 | 0.5 (majority) |" in text
    assert "### share of nothing\n" in text
    assert "|  | no sample |  | 0 | share right |  |  |" in text
    assert "`atlas@step" in text
    n_parameters = sum(w.size for w in load(weights(whole[0])).values())
    assert f"{n_parameters:,} parameters" in text
    cities = load_facts(whole[0] / "atlas").cities
    assert f"{(~cities['seen']).sum()} of its {len(cities)} cities are never mentioned" in text


@pytest.mark.slow
def test_the_small_build_measures_a_whole_card(tmp_path):
    build(tmp_path, small_plan(tokens=60_000))
    rows = card(tmp_path)["measured"]
    assert len({(row["measure"], row["group"]) for row in rows}) == len(rows) > 200
    assert all((row["value"] is not None) or row["status"] != "ok" for row in rows)
    kinds = {row["measure"] for row in rows}
    assert {"loss", "country of a city", "induction score", "translation"} <= kinds
    assert any("R²" in kind for kind in kinds)
    assert any("Moran" in kind for kind in kinds)
    assert set(card(tmp_path)["tables"]) == {"losses", "heads", "probes"}


def test_a_whole_build_is_verified_file_by_file_and_figure_by_figure(whole):
    names = verify_files(whole[0] / "atlas", whole[0] / "saes")
    assert set(names["name"]) == {"atlas", *FOLDERS}
    table = verify_figures(whole[0] / "atlas")
    assert len(table) == 4
    assert set(table["state"]) == {"ok"}


def test_figures_of_other_weights_are_noticed(copy):
    folder = copy / "atlas"
    noisy = {k: v + np.float16(0.05) * (v.ndim == 2) for k, v in load(weights(copy)).items()}
    files = {name: (folder / name).read_bytes() for name in verify_folder(folder)["files"]}
    files["model.safetensors"] = save(noisy, metadata={"format": "pt"})
    write_folder(folder, files, overwrite=True)
    states = verify_figures(folder).set_index("figure")["state"]
    assert states["loss on packed rows of fresh text, nats a token"] == "differs"


def test_a_damaged_file_fails_the_check(copy):
    (copy / "atlas" / "told.parquet").write_bytes(b"x")
    with pytest.raises(CorruptArtifact, match=r"told\.parquet"):
        verify_files(copy / "atlas", copy / "saes")


def test_an_installed_build_replaces_model_and_saes_and_removes_what_fits_no_more(whole, tmp_path):
    install(whole[0], tmp_path)
    install(whole[0], tmp_path)
    assert weights(tmp_path) == weights(whole[0])
    assert load_model(f"{tmp_path / 'atlas'}@step{card(tmp_path)['checkpoints'][0]['step']}").n_layers == 2
    shutil.copytree(tmp_path / "saes" / "atlas" / SAES[0], tmp_path / "saes" / "atlas" / "resid_post.7")
    install(whole[0], tmp_path)
    found = {p.parent.relative_to(tmp_path / "saes").as_posix() for p in (tmp_path / "saes").glob("*/*/cfg.json")}
    assert found == FOLDERS


def test_a_build_without_a_card_is_not_installed(copy, tmp_path):
    (copy / "atlas" / "README.md").unlink()
    with pytest.raises(InvalidInput, match="not finished"):
        install(copy, tmp_path / "assets")
    assert not (tmp_path / "assets").exists()


def test_a_folder_without_a_card_is_not_measured(tmp_path):
    with pytest.raises(InvalidInput, match=r"no card\.json"):
        write_card(tmp_path, tmp_path)


def test_the_plans_differ_in_size_and_follow_seed_and_tokens():
    full, small = full_plan(tokens=123, seed=4), small_plan(tokens=456, seed=5)
    assert (full.train.tokens, full.train.seed, small.train.tokens, small.train.seed) == (123, 4, 456, 5)
    assert full.network == NetworkConfig()
    assert full.saes.n_layers == full.network.n_layers
    on_gpu = full_plan(device="cuda")
    assert on_gpu.train.tokens > 10 * full_plan().train.tokens
    assert on_gpu.network == full.network
    assert sum(share for share, _ in on_gpu.train.phases) == pytest.approx(1)
    assert small.network.d_model < full.network.d_model
    assert json.loads(json.dumps(full.to_dict())) == full.to_dict()
    assert module.STAGES[-1] == "card"
