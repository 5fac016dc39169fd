"""`interp doctor`: each check says ok where nothing is wrong, and names what is where something is."""

import shutil

import pytest

from analyses import doctor as d
from analyses.cli import main
from analyses.sizes import human_bytes, sizes_of
from interp.sources import ASSETS, find_source


def states(checks):
    return {check.name: check.state for check in checks}


def test_versions_inside_and_outside_their_range_and_absent_ones():
    has = {"transformer-lens": "2.15.4", "torch": "2.13.0+cpu", "scipy": "1.11.0rc1", "pandas": "1.5"}
    asked = ["transformer-lens>=3.9,<5", "torch>=2.6", "scipy>=1.10", "pandas>=2.2", "numba>=0.60", "esda>=2.7"]
    checks = d.package_checks([*asked, "pytest>=8; extra == 'dev'"], has.get)
    assert states(checks) == {
        "transformer-lens": "problem", "torch": "ok", "scipy": "ok", "pandas": "problem", "numba": "warning",
        "esda": "problem",
    }  # fmt: skip
    assert "2.15.4" in checks[0].found
    assert "pip install 'transformer-lens<5,>=3.9'" in checks[0].do
    assert d.python_check((3, 10, 14)).state == "problem"
    assert d.python_check((3, 11, 0)).state == "ok"


def test_this_installation_passes():
    assert {check.state for check in d.installed_checks()} <= {"ok", "warning"}


def test_what_the_hub_would_have_to_give():
    assert d.hub_check([], out_of_reach=True).state == "ok"
    assert d.hub_check(["gpt2"], out_of_reach=False).state == "ok"
    away = d.hub_check(["gpt2"], out_of_reach=True)
    assert away.state == "warning"
    assert "gpt2" in away.found


@pytest.mark.parametrize(("free", "state"), [(0.99e9, "problem"), (1e9, "warning"), (1.99e9, "warning"), (2e9, "ok")])
def test_space_beside_what_a_run_needs(free, state):
    check = d.space_check("machine", free, 1e9, what="memory", do="more")
    assert (check.state, check.do) == (state, "" if state == "ok" else "more")


def test_memory_is_the_least_of_machine_and_control_group():
    info = "MemTotal: 10 kB\nMemAvailable:       8000 kB\n"
    assert d.free_memory(info) == 8000 * 1024
    assert d.free_memory(info, [("max\n", "5\n", ""), ("", "", "")]) == 8000 * 1024
    assert d.free_memory(info, [("5000\n", "3000\n", "")]) == 2000
    assert d.free_memory(info, [("5000\n", "4900\n", "anon 1\ninactive_file 700\n")]) == 800
    assert d.free_memory(info, [("5000", "6000", "")]) == 0
    assert d.free_memory("") is None
    assert d.memory_here() is None or d.memory_here() > 0


def test_the_disk_is_that_of_the_nearest_folder_that_exists(tmp_path):
    assert d.disk_here(tmp_path / "a" / "b") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)


@pytest.mark.parametrize(
    ("environment", "state"),
    [({}, "ok"), ({"OMP_NUM_THREADS": "2"}, "ok"), ({"OMP_NUM_THREADS": "3"}, "warning"),
     ({"MKL_NUM_THREADS": "0"}, "problem"), ({"NUMBA_NUM_THREADS": "all"}, "problem")],
)  # fmt: skip
def test_threads(environment, state):
    assert d.thread_check(2, environment).state == state


@pytest.fixture
def assets(tmp_path):
    """A copy of the bundled model and of one SAE."""
    shutil.copytree(ASSETS / "atlas", tmp_path / "atlas")
    shutil.copytree(ASSETS / "saes/atlas/z.0", tmp_path / "saes/atlas/z.0")
    for name in d._LOOSE:
        (tmp_path / name).touch()
    return tmp_path


def damage(path, how):
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if how == "cut" else data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("file", "how", "row"),
    [("config.json", "flip", "atlas"), ("model.safetensors", "cut", "atlas"), ("manifest.json", "flip", "atlas"),
     ("../saes/atlas/z.0/cfg.json", "missing", "atlas/z.0"), ("../coastline.npz", "missing", "files")],
)  # fmt: skip
def test_a_damaged_file_of_the_package_is_named(assets, file, how, row):
    assert set(states(d.asset_checks(assets)).values()) == {"ok"}
    damage(assets / "atlas" / file, how)
    wrong = [check for check in d.asset_checks(assets) if check.state != "ok"]
    assert row in {check.name for check in wrong}
    assert all(check.state == "problem" and check.do for check in wrong)


def test_model_and_sae_that_fit_and_that_do_not():
    assert [c.state for c in d.fit_checks("atlas", "atlas/resid_post.2", None)] == ["ok", "ok"]
    model, sae = d.fit_checks("atlas", "atlas-random/resid_post.2", "never")
    assert (model.state, sae.state) == ("ok", "problem")
    assert "fingerprint" in sae.found
    assert "BOS policy" in sae.found
    assert states(d.fit_checks("atlas", "atlas/resid_post.9", None))["sae"] == "problem"
    assert states(d.fit_checks("atlsa", None, None)) == {"model": "problem"}


def test_sizes_are_those_of_the_loaded_model():
    import interp

    sizes, model = sizes_of(find_source("atlas")), interp.load_model("atlas")
    assert (sizes.n_layers, sizes.n_heads, sizes.d_model, sizes.d_mlp) == (
        model.n_layers, model.n_heads, model.d_model, model.d_mlp,
    )  # fmt: skip
    assert sizes.n_parameters == model.n_parameters
    assert sizes.bos == model.bos


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1.5e6, "1.5 MB"), (2.04e9, "2.04 GB"), (3e12, "3 TB")]
)
def test_bytes_for_people(n, text):
    assert human_bytes(n) == text


def test_the_command_prints_a_table_and_its_exit_code_follows_it(capsys, tmp_path):
    assert main(["doctor", "--out", str(tmp_path / "run")]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["area", "name", "state", "found", "do"]
    assert {"versions", "machine", "assets", "offline", "fit"} <= {row[0] for row in rows}
    assert not (tmp_path / "run").exists()
    assert main(["doctor", "--sae", "atlas/z.1", "--bos", "never"]) == 2
    out = capsys.readouterr().out
    assert "BOS policy: trained with 'always', used with 'never'" in out


def test_a_package_that_is_absent_ends_the_examination_there(capsys, monkeypatch):
    absent = d.Check("versions", "torch", "problem", "absent", "pip install torch")
    monkeypatch.setattr(d, "installed_checks", lambda: [absent])
    monkeypatch.setattr(d, "fit_checks", lambda *a: pytest.fail("torch would be imported"))
    assert main(["doctor"]) == 2
    assert "pip install torch" in capsys.readouterr().out
