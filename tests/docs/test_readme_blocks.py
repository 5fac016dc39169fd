"""From an empty folder and the README alone: every block of it, in order, works as it is printed.

One test walks the whole README in one folder: Python blocks share a namespace, lines of `interp` are given to the
program word for word, and each begins where the blocks before it ended. Connections are refused (conftest).
"""

import shlex
from pathlib import Path

import matplotlib
import pytest
from blocks import Block, blocks_of

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCKS = blocks_of(README)

NOT_RUN = {
    "make report": "minutes; sets up an environment. `interp run` of it: tests/integration/test_run.py",
    "make test": "it is what runs this",
    "interp atlas verify": "run by tests/unit/test_cli.py",
    "interp atlas build --folder runs/small --small": "two minutes; run by tests/unit/atlas/test_build.py",
}
"""Lines that are only looked at (the program has such a command and such options), and why."""

LEAVES = {
    "interp run attention": "runs/heads/report.html",
    "interp run geospatial --model": "runs/map/report.html",
    "interp eval-sae": "runs/judged",
    "interp dashboard": "latents.html",
    "interp train-sae": "trained/cfg.json",
    "interp probe": "runs/probe",
    "interp select": "runs/picked/selected.jsonl",
}
"""Beginning of a line -> what it must leave behind."""


def command_of(line: str) -> str:
    """Return a line without its comment."""
    return line.split("  #")[0].split(" # ")[0].strip()


def run_line(line: str) -> None:
    from analyses.cli import app, main

    words = shlex.split(line, comments=True)
    if command_of(line) in NOT_RUN:
        if words[0] == "interp":
            assert not app.parse_args(words[1:], exit_on_error=False, print_error=False)[2]
        return
    assert words[0] == "interp", f"nobody knows how to run {line!r}"
    assert main(words[1:]) == 0, line
    for beginning, path in LEAVES.items():
        assert not line.startswith(beginning) or Path(path).exists(), f"{line} left no {path}"


def run_block(block: Block, names: dict) -> None:
    if block.language == "python":
        exec(compile(block.text, "README.md", "exec"), names)
    else:
        for line in block.lines:
            run_line(line)


@pytest.mark.slow
def test_every_block_works_as_printed_from_an_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    names: dict = {"__name__": "readme"}
    ran = []
    for block in BLOCKS:
        try:
            run_block(block, names)
        except Exception as error:
            raise AssertionError(f"after {len(ran)} blocks this one failed:\n{block.text}") from error
        ran.append(block)
    assert names["latents"].shape == (1, 2048)
    assert int((names["latents"] > 0).sum()) == 16
    assert (names["result"].table["status"] == "ok").any()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.lines[0][:40])
def test_a_block_is_five_lines_at_most(block):
    assert block.language in ("", "python")
    assert len(block.lines) <= 5


def test_what_is_not_run_is_there_to_be_run():
    lines = {command_of(line) for block in BLOCKS for line in block.lines}
    assert set(NOT_RUN) <= lines
    assert all(any(line.startswith(beginning) for line in lines) for beginning in LEAVES)


def test_each_thing_of_ones_own_has_a_block():
    text = "\n".join(block.text for block in BLOCKS)
    for own in (
        "./my-model",
        "./my-llama",
        "./my-neox",
        "./saelens-sae",
        "./my-sae",
        "my.csv",
        "corpus.txt",
        "labels.csv",
        "pool.jsonl",
    ):
        assert own in text
