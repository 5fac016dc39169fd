"""The command line: one clear line and the right exit code for every mistake, never a traceback."""

import json

import pandas as pd
import pytest

from analyses.cli import main
from interp.errors import CorruptArtifact, InvalidInput, ResourceExhausted


@pytest.fixture
def error_of(capsys):
    def run(*argv: str) -> tuple[int, str]:
        code = main(list(argv))
        text = capsys.readouterr()
        assert "Traceback" not in text.err + text.out
        return code, text.err + text.out

    return run


def test_help_has_examples(error_of):
    code, text = error_of("--help")
    assert code == 0
    assert "interp run geospatial --places my.csv" in text


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "points",
        "show-tokens",
        "status",
        "train-sae",
        "eval-sae",
        "doctor",
        "report",
        "probe",
        "dashboard",
        "select",
    ],
)
def test_every_command_explains_itself(error_of, command):
    code, text = error_of(command, "--help")
    assert code == 0
    assert text.count("Example") == 1
    assert f"interp {command}" in text.split("Example")[1]
    assert "--empty" not in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_help_is_wrapped_to_the_terminal_alone(error_of, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    _, text = error_of("run", "--help")
    described = " ".join(line.strip("│ ").removeprefix("--sae STR").strip() for line in text.splitlines())
    assert "Another model without one has its neurons tested alone." in described
    lines = text.splitlines()
    joined = next(i for i, line in enumerate(lines) if "parquet, GeoJSON" in line)
    assert "CSV" in lines[joined] or "CSV, TSV," in lines[joined - 1]


@pytest.mark.parametrize(
    ("name", "analysis"), [("geo", "geospatial"), ("attention", "attention"), ("polysemanticity", "polysemanticity")]
)
def test_an_analysis_has_a_command_with_the_options_of_run(error_of, monkeypatch, name, analysis, tmp_path):
    import analyses.job

    calls = []
    monkeypatch.setattr(
        analyses.job, "run_job", lambda *args, **_: calls.append(args) or type("R", (), {"text": str})()
    )
    for argv in (["run", analysis], [name]):
        assert error_of(*argv, "--seed", "3", "--no-survey", "--out", str(tmp_path))[0] == 0
    assert calls[0] == calls[1]
    assert "--permutations" in error_of(name, "--help")[1]
    assert error_of(name, "probing")[0] == 2


@pytest.mark.parametrize("argv", [["bogus"], ["run", "--kk", "3"], ["run", "--k", "three"], ["status"]])
def test_a_wrong_command_line_exits_2(error_of, argv):
    assert error_of(*argv)[0] == 2


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["run", "geospacial"], "geospatial"),
        (["run", "--places", "nowhere.csv"], "nowhere.csv"),
        (["points", "atlsa"], "atlas"),
        (["status", "nowhere"], "nowhere"),
        (["train-sae", "--site", "resid_pots.1", "--out", "x"], "resid_post"),
        (["run", "--template", "a city"], "{name}"),
        (["run", "--sae", "atlas/resid_post.9"], "atlas/resid_post."),
    ],
)
def test_a_mistake_names_what_was_meant(error_of, argv, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = error_of(*argv)
    assert code == 2
    assert says in text
    assert text.count("error:") == 1


def places_file(tmp_path, text):
    path = tmp_path / "places.csv"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("name,lat,lon\n", "no rows"),
        ("name,population\nParis,2\n", "population"),
        ("name,lat,lon\nParis,95,2\n", "95"),
        ("name,lat,lon\nParis,north,2\n", "north"),
        ("name,lat,lon\nParis,48,2\nLyon,45,4\n", "2 places"),
    ],
)
def test_bad_places_exit_2_before_a_model_is_loaded(error_of, tmp_path, text, says, monkeypatch):
    monkeypatch.setattr("interp.models.load_model", lambda *a, **k: pytest.fail("the model was loaded first"))
    code, message = error_of("run", "--places", places_file(tmp_path, text), "--out", str(tmp_path / "run"))
    assert code == 2
    assert says in message.lower() or says in message


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (InvalidInput("a"), 2),
        (CorruptArtifact("b"), 3),
        (ResourceExhausted("c"), 4),
        (OSError(28, "No space left on device"), 4),
        (MemoryError("d"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error_of, raised, code, monkeypatch):
    def fail(*_, **__):
        raise raised

    monkeypatch.setattr("analyses.job.run_job", fail)
    assert error_of("run")[0] == code


@pytest.mark.parametrize(
    ("argv", "jobs"),
    [
        ([], 2),
        (["geospatial"], 1),
        (["--jobs", "4"], 4),
        (["--model", "other"], 1),
        (["--model", "other", "--jobs", "3"], 3),
    ],
)
def test_how_many_analyses_go_side_by_side(error_of, monkeypatch, tmp_path, argv, jobs):
    import analyses.job

    asked = []
    monkeypatch.setattr("analyses.side_by_side.available_cpus", lambda: 2)
    monkeypatch.setattr("analyses.doctor.memory_here", lambda: 64e9)
    monkeypatch.setattr(analyses.job, "run_job", lambda *_, jobs: asked.append(jobs) or type("R", (), {"text": str})())
    assert error_of("run", *argv, "--out", str(tmp_path))[0] == 0
    assert asked == [jobs]


def test_no_analysis_at_a_time_is_refused(error_of):
    assert error_of("run", "--jobs", "0") == (2, "error: --jobs 0: expected 1 or more analyses at a time.\n")


def test_no_permission_is_one_line(error_of, tmp_path):
    (tmp_path / "file").write_text("")
    code, text = error_of("run", "--out", str(tmp_path / "file" / "run"))
    assert code in (2, 4)
    assert str(tmp_path / "file") in text


def test_show_tokens_prints_the_ids(error_of):
    code, text = error_of("show-tokens", "atlas", "Paris is near Lyon")
    assert code == 0
    rows = [line.split("\t") for line in text.strip().splitlines()]
    assert rows[1][2] == "<|bos|>"
    assert "Paris" in rows[2][-1]


def test_points_lists_hooks(error_of):
    code, text = error_of("points", "atlas")
    assert code == 0
    assert "blocks.0.hook_resid_post" in text
    assert "blocks.1" not in text


def test_the_card_is_printed(error_of):
    code, text = error_of("atlas", "card")
    assert code == 0
    assert "loss" in text
    assert "random_weights" in text


def test_bundled_files_are_whole_and_the_figures_of_the_card_are_found_again(error_of):
    code, text = error_of("atlas", "verify")
    assert text.count("done") >= 5
    assert text.count("\tok") == 4
    assert code == 0


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A folder as a build leaves it, with a card that states nothing, and no need to compute anything."""
    import pandas as pd

    (tmp_path / "atlas").mkdir()
    (tmp_path / "atlas" / "card.json").write_text("{}")
    files = pd.DataFrame([("atlas", "done", "sha256")], columns=["name", "state", "checked"])
    monkeypatch.setattr("interp.atlas.verify.verify_files", lambda *_: files)
    return tmp_path


@pytest.mark.parametrize(
    ("states", "expected"), [(["ok", "ok"], 0), (["ok", "differs"], 3), (["differs", "not in the card"], 3),
                             (["ok", "not in the card"], 2)],
)  # fmt: skip
def test_a_figure_that_differs_decides_the_exit_code(error_of, made, monkeypatch, states, expected):
    import pandas as pd

    table = pd.DataFrame({"figure": states, "state": states})
    monkeypatch.setattr("interp.atlas.verify.verify_figures", lambda folder: table)
    assert error_of("atlas", "verify", "--folder", str(made))[0] == expected


def test_a_card_without_measurements_says_how_to_get_them(error_of, made):
    code, text = error_of("atlas", "card", "--folder", str(made))
    assert code == 2
    assert "--write" in text


@pytest.mark.parametrize("command", ["card", "verify"])
def test_a_folder_without_a_model_is_refused(error_of, tmp_path, command):
    code, text = error_of("atlas", command, "--folder", str(tmp_path))
    assert code == 2
    assert "interp atlas build" in text


def test_build_gives_the_plan_its_options_and_installs_only_when_asked(error_of, tmp_path, monkeypatch):
    import pandas as pd

    from interp.sources import ASSETS

    calls = []
    monkeypatch.setattr(
        "interp.atlas.build.build",
        lambda folder, plan, **options: calls.append((folder, plan, options)) or pd.DataFrame({"stage": ["card"]}),
    )
    monkeypatch.setattr("interp.atlas.build.install", lambda folder, assets, **_: calls.append((folder, assets)))
    given = ("--folder", str(tmp_path), "--small", "--tokens", "5000", "--seed", "3", "--workers", "2")
    assert error_of("atlas", "build", *given, "--until", "model")[0] == 0
    (folder, plan, options), *more = calls
    assert not more
    assert (folder, plan.train.tokens, plan.train.seed, plan.network.n_layers) == (tmp_path, 5000, 3, 2)
    assert (options["until"], options["workers"], options["device"]) == ("model", 2, "cpu")
    assert error_of("atlas", "build", "--folder", str(tmp_path), "--install")[0] == 0
    assert calls[2] == (tmp_path, ASSETS)
    assert calls[1][1].network.n_layers > 2


def test_json_is_not_needed_to_read_a_card():
    from interp.atlas import card

    assert json.dumps(card())


def test_eval_sae_prints_what_was_measured(error_of, monkeypatch):
    from types import SimpleNamespace

    asked = {}

    def measured(name, **options):
        asked.update(options, name=name)
        classes = pd.DataFrame({"group": ["all tokens"], "fvu": [0.5]})
        return SimpleNamespace(table=pd.DataFrame({"metric": ["fvu"], "value": [0.25]}), tables={"classes": classes})

    monkeypatch.setattr("analyses.evaluation.eval_sae_command", measured)
    code, text = error_of("eval-sae", "atlas/resid_post.2", "--n-texts", "7", "--weights", "random")
    assert code == 0
    assert "fvu\t0.25" in text
    assert "all tokens\t0.5" in text
    assert (asked["name"], asked["n_texts"], asked["weights"]) == ("atlas/resid_post.2", 7, "random")
