"""Make every notebook from its script: the cells of `name.py`, run from top to bottom, with their outputs.

python notebooks/build.py [NAME ...]      # all of them, or those named
python notebooks/build.py --check         # run nothing; say which notebooks hold other cells than their script
"""

from __future__ import annotations

import argparse
import base64
import io
import os
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from PIL import Image

FOLDER = Path(__file__).parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def scripts() -> list[Path]:
    """Return the scripts that are notebooks."""
    return sorted(path for path in FOLDER.glob("*.py") if path.stem != "build")


def cells_of(script: Path) -> NotebookNode:
    """Return the notebook of a script, without outputs; the ids of its cells are their numbers."""
    read = jupytext.read(script, fmt="py:percent")
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for i, cell in enumerate(read.cells):
        make = nbformat.v4.new_markdown_cell if cell.cell_type == "markdown" else nbformat.v4.new_code_cell
        notebook.cells.append(make(cell.source, id=f"cell-{i:02d}"))
    return notebook


def in_step(script: Path) -> bool:
    """Return whether the notebook of a script exists and has its cells."""
    path = script.with_suffix(".ipynb")
    if not path.exists():
        return False
    kept = nbformat.read(path, as_version=4)
    return [(c.cell_type, c.source) for c in kept.cells] == [(c.cell_type, c.source) for c in cells_of(script).cells]


def executed(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with its outputs, and nothing in it that differs from run to run.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; shows where.
    """
    from nbclient import NotebookClient

    NotebookClient(notebook, timeout=600, kernel_name=KERNEL["name"], record_timing=False).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            # progress and warnings are of the machine, not of the result
            cell.outputs = [smaller(out) for out in cell.outputs if out.get("name") != "stderr"]
    return notebook


def smaller(output: NotebookNode) -> NotebookNode:
    """Return an output whose picture, if it has one, is kept in 256 colours: a third of the bytes."""
    if "image/png" in output.get("data", {}):
        buffer = io.BytesIO()
        picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))).convert("RGB")
        picture.quantize(256, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
        output.data["image/png"] = base64.b64encode(buffer.getvalue()).decode()
    return output


def main(arguments: list[str] | None = None) -> int:
    """Build the notebooks; return 1 where --check finds one out of step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *(path.stem for path in scripts())])
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args(arguments)
    chosen = [path for path in scripts() if path.stem in given.names or not given.names]
    if given.check:
        stale = [path.stem for path in chosen if not in_step(path)]
        print(f"out of step: {', '.join(stale)}" if stale else "all notebooks are in step")
        return int(bool(stale))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for path in chosen:
        nbformat.write(executed(cells_of(path)), path.with_suffix(".ipynb"))
        print(path.with_suffix(".ipynb"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
