"""The options of a run as a file: the same configuration as flags, flags win, mistakes are named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyses.cli import main
from analyses.config_file import config_text, join_options, read_config
from analyses.job import RunConfig
from interp.errors import InvalidInput


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "run.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def runs(monkeypatch):
    """What `interp run` would have run: (configuration, folder)."""
    from types import SimpleNamespace

    asked = []
    monkeypatch.setattr(
        "analyses.job.run_job", lambda *given, **_: asked.append(given) or SimpleNamespace(text=lambda: "done")
    )
    return asked


def test_a_file_and_flags_give_the_same_configuration(file, runs):
    path = file('analyses = ["geospatial"]\nplaces = "my.csv"\nk = 16\nsurvey = false\nout = "runs/mine"\n')
    assert main(["run", "--config", str(path)]) == 0
    assert main(["run", "geospatial", "--places", "my.csv", "--k", "16", "--no-survey", "--out", "runs/mine"]) == 0
    assert runs[0] == runs[1]
    assert runs[0] == (RunConfig(("geospatial",), places="my.csv", k=16, survey=False), Path("runs/mine"))


def test_without_either_the_defaults_of_the_configuration_hold(runs):
    assert main(["run"]) == 0
    assert runs == [(RunConfig(), Path("runs/atlas"))]


def test_flags_win_over_the_file(file, runs):
    path = file('model = "other"\nseed = 4\nk = 16\nsurvey = false\nanalyses = ["probing"]\n')
    assert main(["run", "attention", "--config", str(path), "--seed", "0", "--survey"]) == 0
    assert runs == [(RunConfig(("attention",), model="other", k=16, survey=True, seed=0), Path("runs/other"))]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("permutation = 9\n", "Nearest: permutations"),
        ("templat = '{name}'\n", "Nearest: template"),
        ("k = '8'\n", "a whole number"),
        ("k = true\n", "a whole number"),
        ("survey = 1\n", "true or false"),
        ("model = 3\n", "text"),
        ("analyses = 'geospatial'\n", "a list of names"),
        ("analyses = [1]\n", "a list of names"),
        ("k = \n", "is no TOML"),
    ],
)
def test_a_mistake_in_the_file_exits_2_and_is_named(file, runs, capsys, text, says):
    assert main(["run", "--config", str(file(text))]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "run.toml" in err
    assert runs == []


def test_a_file_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["run", "--config", str(tmp_path / "no.toml")]) == 2
    assert "no.toml" in capsys.readouterr().err


def test_the_file_that_is_written_gives_the_run_it_was_written_for(tmp_path, runs):
    path = tmp_path / "run.toml"
    flags = ["probing", "--template", 'say "{name}"\\', "--seed", "7", "--texts", "a b.txt", "--out", "x"]
    assert main(["run", *flags, "--write-config", str(path)]) == 0
    assert runs == []
    assert main(["run", "--config", str(path)]) == 0
    assert main(["run", *flags]) == 0
    assert runs[0] == runs[1]


words = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=8)


@given(st.builds(RunConfig, analyses=st.lists(words).map(tuple), model=words, sae=st.none() | words, places=words,
                 template=words, texts=st.none() | words, k=st.integers(0, 99), survey=st.booleans()))  # fmt: skip
def test_any_configuration_survives_the_file(tmp_path_factory, config):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(config_text(config, Path("there")).encode())
    assert join_options(read_config(path), {}) == (config, Path("there"))


def test_what_is_not_given_does_not_count():
    with pytest.raises(InvalidInput):
        read_config("")
    assert join_options({"k": 4}, {"k": None, "analyses": ()})[0] == RunConfig(k=4)
