"""The READMEs: their numbers are those of the files, the examples for SAEs run as printed, commands exist.

The blocks of README.md are run by tests/docs/test_readme_blocks.py.
"""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
SAE_README = (ROOT / "interp" / "sae" / "README.md").read_text()


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def benchmark(monkeypatch):
    """Load a script of benchmarks/, from where it finds its neighbours."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return lambda name: load(ROOT / "benchmarks" / f"{name}.py")


@pytest.mark.parametrize("page", ["README.md", "interp/sae/README.md"])
def test_its_numbers_are_those_of_the_files(benchmark, page):
    assert benchmark("update_readme").updated(page) == (ROOT / page).read_text()


def test_a_table_of_few_rows_says_which_are_missing(benchmark):
    figures = {key: 0.5 for _, key in (*benchmark("sae_tables").EVERYWHERE, *benchmark("sae_tables").IN_TREES)}
    row = {"data": "flat d=64", "null recall": 0.0, "null mcc": 0.3} | figures
    rows = {f"gba | flat | {seed}": row | {"recall": value} for seed, value in enumerate((0.9, 1.0))}
    lines = benchmark("sae_tables").recovery_tables({"rows": rows})
    (gba,) = (line for line in lines if line.startswith("| `gba`"))
    assert gba.startswith("| `gba` | 0.95 (0.90 to 1.00) | 0.50 |")
    assert gba.endswith("| 2 |")
    assert lines[-1].startswith("Missing, with the seeds there are of 3: on flat topk k=3 (0), ")
    assert ", gba (2), " in lines[-1]
    assert "ceiling" in benchmark("sae_tables").resonance_table({"resonance": {}})[0]


def test_the_examples_for_saes_run_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train, splice = re.findall(r"```python\n(.*?)```", SAE_README, re.DOTALL)
    names: dict = {}
    exec(compile(train, "interp/sae/README.md", "exec"), names)
    assert names["sae"].config.architecture == "jumprelu"
    assert (tmp_path / "runs" / "flat-gba" / "cfg.json").exists()
    exec(compile(splice, "interp/sae/README.md", "exec"), names)
    assert names["later"]["resid_post.4"].shape[0] == 1


def test_its_commands_exist():
    targets = set(re.findall(r"^make ([\w-]+)", README, re.MULTILINE))
    assert targets == {"report", "test"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


@pytest.mark.parametrize("line", re.findall(r"^interp .*$", SAE_README, re.MULTILINE))
def test_its_command_lines_parse(line):
    import shlex

    from analyses.cli import app

    words = shlex.split(line.split("  #")[0])[1:]
    _, _, ignored = app.parse_args(words, exit_on_error=False, print_error=False)
    assert not ignored


def test_every_architecture_is_described():
    from interp.sae.learners import TRAINABLE

    assert set(re.findall(r"^\| `(\w+)` \| [^|]+ \| `", SAE_README, re.MULTILINE)) == set(TRAINABLE)


def test_its_picture_is_there():
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / path).read_bytes().startswith(b"\x89PNG")
