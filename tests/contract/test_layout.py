"""What holds for the package as a whole: the direction of imports, what importing costs, what is never used."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(ROOT / "interp").rglob("*.py"), *(ROOT / "analyses").rglob("*.py")])


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
    return found


def test_there_are_sources():
    assert len(SOURCES) > 50


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_data_flows_one_way(path):
    parts, names = path.relative_to(ROOT).parts, imports_of(path)
    if parts[0] == "interp":
        assert not {n for n in names if n.split(".")[0] == "analyses"}
    elif len(parts) > 2:  # a file of one analysis
        others = {n for n in names if n.startswith("analyses.") and n.split(".")[1] != parts[1]}
        assert others <= {"analyses.job"}, "an analysis imports another"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent.name == "stats"], ids=lambda p: p.name)
def test_statistics_know_neither_models_nor_files(path):
    forbidden = {"torch", "transformers", "transformer_lens", "interp.models", "interp.store"}
    assert not {n for n in imports_of(path) if n in forbidden or n.split(".")[0] in forbidden}


def test_one_file_imports_transformer_lens():
    users = [p for p in SOURCES if any(n.split(".")[0] == "transformer_lens" for n in imports_of(p))]
    assert [p.relative_to(ROOT).as_posix() for p in users] == ["interp/models.py"]


def test_no_pickle_is_ever_read():
    pattern = re.compile(
        r"\b(import pickle|pickle\.|torch\.load|read_pickle|joblib|allow_pickle\s*=\s*True|(?<!\.)eval \()"
    )
    found = [str(p.relative_to(ROOT)) for p in SOURCES if pattern.search(_code_of(p))]
    assert found == []


def _code_of(path: Path) -> str:
    """Return the source without strings and comments, where the word may well stand."""
    import io
    import tokenize

    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return " ".join(t.string for t in tokens if t.type not in (tokenize.STRING, tokenize.COMMENT)).replace(" . ", ".")


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(out.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import interp", "import analyses.cli", "import interp.store", "import interp.plot"]
)
def test_importing_loads_no_torch(statement):
    heavy = {"torch", "transformers", "transformer_lens", "scipy.stats", "matplotlib.pyplot"}
    assert not modules_after(statement) & heavy


@pytest.mark.parametrize("statement", ["import interp", "import analyses.cli"])
def test_importing_the_surface_loads_no_tables(statement):
    assert not modules_after(statement) & {"numpy", "pandas"}


LAZY = sorted(
    ".".join(stub.parent.relative_to(ROOT).parts)
    for stub in [*ROOT.glob("interp/**/__init__.pyi"), *ROOT.glob("analyses/**/__init__.pyi")]
)


WHOLE_MODULES = {"interp.atlas", "interp.plot", "interp.sae", "interp.stats", "interp.testing", "interp.sae.synthetic"}


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_loads_and_is_itself_whatever_was_imported_before(package):
    """A module of a function's name is set in the function's place when it is imported; the package must see to it."""
    surface = importlib.import_module(package)
    for module in pkgutil.iter_modules(surface.__path__):
        importlib.import_module(f"{package}.{module.name}")
    for name in surface.__all__:
        value = getattr(surface, name)
        assert value is not None
        assert not isinstance(value, ModuleType) or f"{package}.{name}" in WHOLE_MODULES
    assert set(surface.__all__) <= {*dir(surface), "__version__"}


def test_packages_with_a_public_surface_are_all_found():
    assert {"interp", "interp.sae", "analyses.geospatial", "analyses.data_selection"} <= set(LAZY)
    assert "load_model" in importlib.import_module("interp").__all__


def test_an_unknown_name_says_what_there_is():
    import interp

    with pytest.raises(AttributeError, match="load_model"):
        interp.load_modle  # noqa: B018
