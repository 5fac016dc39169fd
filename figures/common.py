"""What the scripts of figures share: a result out of the folder of a run, and one command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from interp.errors import InterpError, InvalidInput
from interp.plot import save_figure
from interp.result import Result
from interp.store import Store

HERE = Path(__file__).parent
RUN = "runs/atlas"
BENCHMARKS = HERE.parent / "benchmarks" / "results"


def result_of(run: Path, analysis: str) -> Result:
    """Return what `interp run` wrote of one analysis: its tables, and the provenance that they were made with.

    Raises:
        InvalidInput: the run has not finished this analysis.
    """
    if not run.is_dir():
        raise InvalidInput(f"there is no run in {run}; make one: interp run --out {run}")
    with Store(run, readonly=True) as store:
        folder = f"{analysis}/"
        names = [n for n in store.names("table") if n.startswith(folder) and n.count("/") == 1]
        main = f"{folder}{analysis}.parquet"
        if main not in names:
            raise InvalidInput(f"{run} holds no finished {analysis}; make it: interp run {analysis} --out {run}")
        tables = {name.removeprefix(folder).removesuffix(".parquet"): store.get(name) for name in names}
        key = store.entry(main).key
    table = tables.pop(analysis)
    return Result(analysis, table, tables, {} if key is None else key.config["provenance"])


def main(name: str, draw: Callable[[Path], Figure], *, source: str | Path = RUN) -> None:
    """Read the command line of a script, draw, and write `name`.pdf and `name`.png."""
    parser = argparse.ArgumentParser(description=draw.__doc__)
    parser.add_argument("source", nargs="?", type=Path, default=source, help=f"folder to read (default {source})")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: beside the script)")
    given = parser.parse_args()
    try:
        figure = draw(given.source)
    except InterpError as error:
        parser.error(str(error))
    given.out.mkdir(parents=True, exist_ok=True)
    for path in save_figure(figure, given.out / name):
        print(path)
