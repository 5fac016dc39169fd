"""Pages that are made from what there is, so that they cannot fall behind it.

The reference, the commands and the messages from the code, error rates from a benchmark's file, notebooks as they are.

Written into folders that git ignores, before Sphinx reads anything; a page that has not changed is not touched.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent
_LEVELS = ("0.05", "0.01", "0.001")


def public_packages() -> list[ModuleType]:
    """Return every package of `interp` and `analyses` that declares public names, `interp` itself first."""
    found = []
    for top in ("interp", "analyses"):
        root = importlib.import_module(top)
        names = [top, *(m.name for m in pkgutil.walk_packages(root.__path__, f"{top}.") if m.ispkg)]
        found += [importlib.import_module(name) for name in names]
    return [package for package in found if getattr(package, "__all__", None)]


def reference_pages() -> dict[str, str]:
    """Return a page for each public package, by name; a name that two packages have is described once."""
    homes: dict[int, str] = {}
    return {package.__name__: _package_page(package, homes) for package in public_packages()}


def _package_page(package: ModuleType, homes: dict[int, str]) -> str:
    names = {name: getattr(package, name) for name in sorted(package.__all__, key=str.lower)}
    names = {name: value for name, value in names.items() if not inspect.ismodule(value) and name != "__version__"}
    own = [name for name, value in names.items() if id(value) not in homes]
    homes |= {id(names[name]): f"{package.__name__}.{name}" for name in own}
    lines = [f"# `{package.__name__}`", "", (package.__doc__ or "").split("\n\n")[0], ""]
    also = [f"{{py:obj}}`{homes[id(names[name])]}`" for name in names if name not in own]
    lines += [f"Also here: {', '.join(also)}.", ""] if also else []
    for title, kind, test in (("Functions", "function", inspect.isroutine), ("Classes", "class", inspect.isclass)):
        chosen = [name for name in own if test(names[name])]
        if chosen:
            lines += [f"## {title}", "", *_summary(package, chosen), *_entries(package, chosen, kind)]
    values = [name for name in own if not inspect.isroutine(names[name]) and not inspect.isclass(names[name])]
    if values:
        lines += ["## Data", "", *(f"- `{name}`: {_shown(names[name])}" for name in values)]
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    """Return what a constant or a type is, in a line: the names of a table, else its repr."""
    shown = ", ".join(f"`{key}`" for key in value) if isinstance(value, dict | tuple | list) else f"`{value!r}`"
    return shown if len(shown) < 400 else f"{type(value).__name__} of {len(value)}"


def _summary(package: ModuleType, names: list[str]) -> list[str]:
    rows = [f"   {name}" for name in names]
    head = [f".. currentmodule:: {package.__name__}", "", ".. autosummary::", "   :nosignatures:", ""]
    return ["```{eval-rst}", *head, *rows, "```", ""]


def _entries(package: ModuleType, names: list[str], kind: str) -> list[str]:
    lines = ["```{eval-rst}"]
    for name in names:
        lines += [f".. auto{kind}:: {package.__name__}.{name}", *(["   :members:"] if kind == "class" else []), ""]
    return [*lines, "```", ""]


def commands_page() -> str:
    """Return the reference of the command line from its own help; the examples stand in blocks."""
    from analyses.cli import app

    with patch("sys.argv", ["interp"]):  # usage lines say how the program was called, here by Sphinx
        page = app.generate_docs(output_format="markdown")
    page = re.sub(r"## Table of Contents\n\n(?:\s*- .*\n)+\n", "", page)
    page = page.replace("# interp\n", "# Command line\n", 1).replace("```console", "```text")
    return re.sub(r"^Examples?:(?:\n((?:  .+\n)+)| (interp .+)\n)", _example, page, flags=re.MULTILINE)


def _example(match: re.Match[str]) -> str:
    lines = [line[2:] for line in match[1].splitlines()] if match[1] else [match[2]]
    return "\n```sh\n" + "\n".join(lines) + "\n```\n"


def error_classes() -> dict[str, str]:
    """Return the module of every named error, by its name: `InterpError` and whatever is derived from it."""
    bases: dict[str, tuple[str, list[str]]] = {}
    for path, tree in _sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = (_module(path), [getattr(base, "id", "") for base in node.bases])
    found = {"InterpError": "interp.errors"}
    while new := {c: m for c, (m, above) in bases.items() if c not in found and found.keys() & set(above)}:
        found |= new
    return found


def messages() -> dict[str, dict[str, list[str]]]:
    """Return the message of each named error that is made: {error: {module: [message]}}; what it fills in is ‹name›."""
    known = error_classes()
    found: dict[str, dict[str, list[str]]] = {error: defaultdict(list) for error in known}
    for path, tree in _sources():
        for error, text in _calls(tree):
            if error in known and text and text not in found[error][_module(path)]:
                found[error][_module(path)].append(text)
    return found


def _sources() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted([*(ROOT / "interp").rglob("*.py"), *(ROOT / "analyses").rglob("*.py")]):
        yield path, ast.parse(path.read_text())


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _calls(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            yield node.func.id, _template(node.args[0])


def _template(node: ast.expr) -> str:
    """Return the text of a message with its holes named; empty where the code makes it elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part) or "…" for part in node.values)
    if isinstance(node, ast.FormattedValue):
        last = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        return f"‹{last}›" if last else "…"
    return ""


def message_lists() -> dict[str, str]:
    """Return the list of messages that each error's page includes, by error."""
    pages = {}
    for error, modules in messages().items():
        lines = []
        for module, texts in modules.items():
            lines += [f"**{module}**", "", *(f"- {_code(text)}" for text in texts), ""]
        pages[error] = "\n".join(lines)
    return pages


def _code(text: str) -> str:
    flat = " ".join(text.split())
    fence = "``" if "`" in flat else "`"
    pad = " " if "`" in flat else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


def calibration() -> dict[str, Any]:
    """Return the measured error rates, as benchmarks/bench_spatial_calibration.py wrote them."""
    return json.loads((ROOT / "benchmarks" / "results" / "spatial_calibration.json").read_text())


def calibration_page() -> str:
    """Return the measured error rates under each null, and of pairs of smooth fields, as tables."""
    found = calibration()
    kinds = list(dict.fromkeys(row["kind"] for row in found["nulls"]))
    lines = [
        "# Measured error rates",
        "",
        f"{found['n_features']:,} features of nothing of each kind on {found['n_places']:,} places, "
        f"{found['permutations']} permutations: the share that is called significant at .05, .01 and .001. A rate "
        f"is in bold where it is outside the {found['band']}. `benchmarks/bench_spatial_calibration.py` measures them "
        "again.",
        "",
    ]
    for kind in kinds:
        rows = [row for row in found["nulls"] if row["kind"] == kind]
        lines += [f"## {kind.capitalize()}", "", "| statistic | n | .05 | .01 | .001 |", "|---|---|---|---|---|"]
        lines += [f"| {r['statistic']} | {r['n_tested']:,} | {' | '.join(_rates(r))} |" for r in rows] + [""]
    lines += [
        "## Pairs of smooth fields that are independent",
        "",
        "Bivariate Moran's I, by how far a field reaches.",
        "",
    ]
    lines += ["| reach, km | against | null | pairs | .05 | .01 | .001 |", "|---|---|---|---|---|---|---|"]
    for row in found["independent_smooth_fields"]:
        rates = " | ".join(f"{row['rates'][level]:.4f}" for level in _LEVELS)
        lines.append(f"| {row['km']:,} | {row['covariate']} | {row['null']} | {row['n_pairs']:,} | {rates} |")
    return "\n".join(lines) + "\n"


def _rates(row: dict[str, Any]) -> list[str]:
    rates = [(f"{row[level]['rate']:.4f}", row[level]["verdict"] == "within") for level in _LEVELS]
    return [rate if within else f"**{rate}**" for rate, within in rates]


def numbers() -> dict[str, str]:
    """Return the measured numbers that pages speak of, by the name they have there."""
    fields = calibration()["independent_smooth_fields"]
    middle = {row["null"]: row for row in fields if row["covariate"] == "field" and row["radians"] == 0.3}
    return {
        "smooth_km": f"{middle['permutation']['km']:,}",
        **{f"smooth_{null}": f"{row['rates']['0.05']:.0%}".replace("%", " %") for null, row in middle.items()},
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def make_pages() -> None:
    """Write all pages that are made."""
    for name, text in reference_pages().items():
        _write(HERE / "reference" / "python" / f"{name}.md", text)
    _write(HERE / "reference" / "commands.md", commands_page())
    _write(HERE / "statistics" / "calibration.md", calibration_page())
    for error, text in message_lists().items():
        _write(HERE / "errors" / "messages" / f"{error}.md", text)
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy2(notebook, HERE / "tutorials" / notebook.name)


def _plain_docstring(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Make a docstring for people into one for Sphinx.

    What is a formula or a name in plain words (|a|, W_, *, a@b) is taken as it stands, save in code and doctests; a
    paragraph of lines "name: what it is" is a list of attributes.
    """
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(``.+?``|`[^`]+`)", line)
            parts[::2] = [re.sub(r"(?<!\\)([*|])|(?<=\w)(_(?!\w)|@)", r"\\\g<0>", part) for part in parts[::2]]
            lines[i] = "".join(parts)
    if what == "class":
        lines[:] = "\n\n".join(_attributes(paragraph) for paragraph in "\n".join(lines).split("\n\n")).split("\n")


def _attributes(paragraph: str) -> str:
    if not re.match(r"[a-z_]+: \S", paragraph):
        return paragraph
    return "Attributes:\n" + "\n".join(f"    {line}" for line in paragraph.split("\n"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the pages when a build begins."""
    app.connect("builder-inited", lambda _: make_pages())
    app.connect("autodoc-process-docstring", _plain_docstring, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
