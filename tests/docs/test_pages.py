"""What the pages show works as printed: each is run in a folder with the example files that How-to begins with."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from blocks import Block, blocks_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
MADE = {
    "_build",
    "messages",
    "python",
    "commands.md",
    "calibration.md",
}  # what a build leaves: not there in a fresh clone
PAGES = sorted(p for p in DOCS.rglob("*.md") if not MADE & set(p.parts))
BEGIN = DOCS / "howto" / "index.md"


def named(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The folder that `howto/index.md` makes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("begin"))
        run([block for block in blocks_of(BEGIN) if block.language == "python"])
    return folder


def run(blocks: list[Block]) -> None:
    names: dict = {"__name__": "page"}
    for block in blocks:
        if block.caption:
            Path(block.caption).write_text(block.text)
        else:
            exec(compile(block.text, block.page, "exec"), names)


@pytest.fixture
def here(files, tmp_path, monkeypatch):
    """A copy of that folder to run a page in; what a page registers or imports from there is gone afterwards."""
    from analyses.registry import ANALYSES
    from interp.models import HOOKS
    from interp.sae.learners import TRAINABLE
    from interp.sites import COMPONENTS

    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    tables = (ANALYSES, HOOKS, TRAINABLE, COMPONENTS)
    before, modules = [dict(table) for table in tables], set(sys.modules)
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("page", [p for p in PAGES if p != BEGIN and "```" in p.read_text()], ids=named)
def test_python_of_a_page_runs_as_printed(page, here):
    blocks = [block for block in blocks_of(page) if block.language == "python"]
    if page.parent.name == "errors" and (Path("files") / "my-model").exists():
        shutil.rmtree("files")
    run(blocks)


LINES = [
    pytest.param(line, id=f"{named(page)}: {line[:50]}")
    for page in PAGES
    for block in blocks_of(page)
    if block.language in ("sh", "")
    for line in block.lines
    if "interp " in line
]


@pytest.mark.parametrize("line", LINES)
def test_command_lines_of_a_page_are_those_of_the_program(line):
    from analyses.cli import app

    words = shlex.split(line, comments=True)
    start = words.index("analyses.cli") if "analyses.cli" in words else words.index("interp")
    _, _, ignored = app.parse_args(words[start + 1 :], exit_on_error=False, print_error=False)[:3]
    assert not ignored


def examples_of_the_help() -> list[str]:
    sys.path.insert(0, str(DOCS))
    try:
        from made_pages import commands_page
    finally:
        sys.path.remove(str(DOCS))
    blocks = re.findall(r"```sh\n(.*?)```", commands_page(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("line", examples_of_the_help())
def test_examples_of_the_help_are_those_of_the_program(line):
    test_command_lines_of_a_page_are_those_of_the_program(line)


def test_there_are_pages_and_command_lines():
    assert len(examples_of_the_help()) > 30
    assert len(PAGES) > 30
    assert len(LINES) > 20
