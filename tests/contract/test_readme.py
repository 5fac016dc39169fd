"""The README: its numbers are those of the files, its example runs as printed, its commands exist."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_numbers_are_those_of_the_files():
    assert load(ROOT / "benchmarks" / "update_readme.py").updated(README) == README


def test_its_example_runs_as_printed():
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    assert len(code[1].strip().splitlines()) <= 10
    names: dict = {}
    exec(compile(code[1], "README.md", "exec"), names)
    assert names["latents"].shape == (1, 2048)
    assert int((names["latents"] > 0).sum()) == 16
    assert (names["result"].table["status"] == "ok").any()


def test_its_commands_exist():
    targets = set(re.findall(r"^make ([\w-]+)", README, re.MULTILINE))
    assert targets == {"report", "test"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


@pytest.mark.parametrize("line", re.findall(r"^interp .*$", README, re.MULTILINE))
def test_its_command_lines_parse(line):
    import shlex

    from analyses.cli import app

    words = shlex.split(line.split("  #")[0])[1:]
    _, _, ignored = app.parse_args(words, exit_on_error=False, print_error=False)
    assert not ignored


def test_its_picture_is_there():
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / path).read_bytes().startswith(b"\x89PNG")
