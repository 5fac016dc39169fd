"""What holds for the package as a whole: the direction of imports, what importing costs, what is never used."""

import ast
import re
import subprocess
import sys
from pathlib import Path

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


def test_public_names_exist_and_are_declared_once():
    import interp

    declared = set(interp._HOME) | set(interp._MODULES) | {"__version__"}
    assert set(interp.__all__) == declared
    assert all(getattr(interp, name) is not None for name in interp.__all__)


def test_a_function_of_the_surface_is_never_hidden_by_a_module():
    import importlib

    import interp

    for name, home in interp._HOME.items():
        importlib.import_module(home)
        assert callable(getattr(interp, name)), f"interp.{name} is a module"


@pytest.mark.parametrize(
    "package",
    [
        "interp",
        "interp.sae",
        "interp.stats",
        "analyses.attention",
        "analyses.geospatial",
        "analyses.polysemanticity",
        "analyses.probing",
    ],
)
def test_no_module_has_the_name_of_a_function_that_is_imported_late(package):
    """Importing the module would put it in the function's place, and what a name means would depend on the order."""
    import importlib
    import pkgutil

    surface = importlib.import_module(package)
    modules = {module.name for module in pkgutil.iter_modules(surface.__path__)}
    assert len(surface._HOME) > 5
    assert not modules & set(surface._HOME)


def test_an_unknown_name_says_what_there_is():
    import interp

    with pytest.raises(AttributeError, match="load_model"):
        interp.load_modle  # noqa: B018
