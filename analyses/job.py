"""`interp run`: load, do every analysis, write tables, figures and one report; run again to resume."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from analyses.latent_pages import latent_links, write_latent_pages
from analyses.registry import ANALYSES, Analysis, find_analyses
from analyses.side_by_side import run_side_by_side
from interp.errors import InvalidInput, SaeMismatch

if TYPE_CHECKING:
    import pandas as pd

    from interp.models import Model
    from interp.plot import Headline
    from interp.result import Result
    from interp.sae import SAE
    from interp.store import Key, Store

VIEW_VERSION = "3"  # of what is drawn from tables: figures and report
_ABOUT = "run.json"  # what was asked for, written when every analysis is done
DEFAULT_SAE = {"atlas": "atlas/resid_post.2"}
CONTROL_SAE = {"atlas/resid_post.2": "atlas-random/resid_post.2"}


@dataclass(frozen=True)
class RunConfig:
    """Everything that `interp run` takes; the command line and Python give the same object."""

    analyses: tuple[str, ...] = ()
    model: str = "atlas"
    sae: str | None = None
    bos: Literal["always", "never", "tokenizer"] | None = None
    places: str = "atlas"
    texts: str | None = None
    template: str = "{name}"
    k: int = 8
    permutations: int = 999
    survey: bool = True
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a plain dict."""
        return asdict(self)


@dataclass
class Job:
    """What an analysis gets: the configuration, the store of the run, and models that load when asked for."""

    config: RunConfig
    store: Store
    loaded: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def model(self) -> Model:
        """The model."""
        from interp.models import load_model

        return load_model(self.config.model, bos=self.config.bos)

    @cached_property
    def twin(self) -> Model:
        """The same architecture with random weights: the control of what a model shows untrained."""
        from interp.models import load_model

        return load_model(self.config.model, weights="random", seed=self.config.seed, bos=self.config.bos)

    @cached_property
    def places(self) -> pd.DataFrame:
        """The places of --places."""
        from analyses.geospatial import load_places

        return load_places(self.config.places)

    @cached_property
    def texts(self) -> list[str] | None:
        """The lines of --texts; None where it was not given."""
        from interp.text_files import read_texts

        return None if self.config.texts is None else read_texts(self.config.texts)

    @property
    def has_sae(self) -> bool:
        """Whether an SAE was named, or one is bundled for the model."""
        return (self.config.sae or DEFAULT_SAE.get(self.config.model)) is not None

    @cached_property
    def sae_name(self) -> str:
        """Name or folder of the SAE."""
        name = self.config.sae or DEFAULT_SAE.get(self.config.model)
        if name is None:
            raise InvalidInput(
                f"there is no bundled SAE for {self.config.model!r}; give --sae FOLDER (SAELens or sparsify layout), "
                "or train one: interp train-sae --help."
            )
        return name

    @cached_property
    def sae(self) -> SAE:
        """The SAE, checked against the model."""
        from interp.sae import check_fit, load_sae

        sae = load_sae(self.sae_name)
        check_fit(self.model, sae)
        if sae.config.site is None:
            raise SaeMismatch(f"the SAE {self.sae_name} does not say where it reads; its cfg.json needs a site.")
        return sae

    @cached_property
    def layer_saes(self) -> dict[str, SAE]:
        """The bundled SAEs of the other layers that stand beside the SAE of the job, by site."""
        from interp.sae import list_saes, load_sae

        family, _, site = self.sae_name.rpartition("/")
        component = site.partition(".")[0]
        names = [name for name in list_saes() if name.rpartition("/")[0] == family]
        sites = [name.rpartition("/")[2] for name in names if self.sae_name in names]
        return {
            s: load_sae(f"{family}/{s}") for s in sites if s.split(".")[0] == component and s.split(".")[1].isdigit()
        }

    @cached_property
    def twin_sae(self) -> SAE:
        """The SAE that reads the twin: trained on it where one is bundled, else the same SAE."""
        from interp.sae import load_sae

        control = CONTROL_SAE.get(self.sae_name)
        if control is None:
            return self.sae
        own = load_sae(control)
        # random weights come from the initialisation of the installed transformers; another release may draw others
        return own if own.config.model_fingerprint == self.twin.fingerprint else self.sae


@dataclass(frozen=True)
class Finished:
    """What a run left behind: the results and their headlines, by analysis."""

    folder: Path
    results: dict[str, Result]
    headlines: dict[str, Headline]
    seconds: float

    def text(self) -> str:
        """Return the summary that the command line prints: each answer with its null beside it."""
        lines = []
        for name, head in self.headlines.items():
            lines += [f"{name}: {ANALYSES[name].question}", f"  {head.text}", f"  null: {head.null}"]
            lines += [f"  {head.evidence()}; tables and figures: {self.folder / name}", ""]
        return "\n".join([*lines, f"report: {self.folder / 'report.html'} ({self.seconds:.0f} s)"])


def run_job(config: RunConfig, folder: Path, *, jobs: int = 1) -> Finished:
    """Run the analyses of `config` into `folder`, doing only what is not finished there.

    Args:
        jobs: analyses at a time, each in a process of its own with a model of its own; nothing of it shows in what is
            written. Above 1 a script that calls this needs the usual `if __name__ == "__main__":`.

    Raises:
        InterpError: whatever the user can mend, by name.
    """
    import time

    from interp.store import Store

    began = time.perf_counter()
    chosen = find_analyses(config.analyses)
    apart = min(jobs, len(chosen)) > 1
    if apart:
        run_side_by_side(chosen, config, folder, jobs)
    with Store(folder) as store:
        job = Job(config, store)
        results = {a.name: _read_result(a, store) if apart else run_analysis(a, job) for a in chosen}
        store.put_json(_ABOUT, {"config": config.to_dict(), "analyses": list(results)})
        write_latent_pages(chosen, results, job, results_key(config.to_dict(), chosen, results))
        write_report(chosen, results, config.to_dict(), store)
    headlines = {a.name: a.load().headline(results[a.name]) for a in chosen}
    return Finished(folder, results, headlines, time.perf_counter() - began)


def run_analysis(analysis: Analysis, job: Job) -> Result:
    """Run one analysis, write its tables and figures, and return its result."""
    with few_threads(job.config.model):
        result = analysis.load().run(job)
    key = tables_key(analysis.name, result)
    for name, table in {analysis.name: result.table, **result.tables}.items():
        _put(job.store, f"{analysis.name}/{name}.parquet", key, lambda table=table: table)
    about = {"name": result.name, "view": result.view, "notes": result.notes, "tables": list(result.tables)}
    _put(job.store, _about(analysis), key, lambda: {**about, "provenance": result.provenance})
    _draw(analysis, result, job.store, key)
    return result


def rebuild_report(folder: Path) -> Finished:
    """Draw the figures and the report of a finished run again from its tables: no model is loaded.

    Raises:
        InvalidInput: no such folder, no finished run in it, or tables that are not of one run.
        CorruptArtifact: a table is not what was written.
    """
    import time

    from interp.store import Store

    began = time.perf_counter()
    if not folder.is_dir():
        raise InvalidInput(f"there is no folder {folder}; give the folder of a run, such as runs/atlas.")
    with Store(folder) as store:
        if _ABOUT not in store.names():
            raise InvalidInput(
                f"{folder} holds no finished run; `interp run --out {folder}` goes on from what is there."
            )
        about = store.get(_ABOUT)
        chosen = find_analyses(about["analyses"])
        results = {analysis.name: _read_result(analysis, store) for analysis in chosen}
        for analysis in chosen:
            result = results[analysis.name]
            _draw(analysis, result, store, tables_key(analysis.name, result), again=True)
        write_report(chosen, results, about["config"], store, again=True)
    headlines = {a.name: a.load().headline(results[a.name]) for a in chosen}
    return Finished(folder, results, headlines, time.perf_counter() - began)


def _read_result(analysis: Analysis, store: Store) -> Result:
    """Return the result of an analysis as the run left it; its tables must all be of the same run."""
    from interp.result import Result

    about = store.get(_about(analysis))
    files = {name: f"{analysis.name}/{name}.parquet" for name in (analysis.name, *about.pop("tables"))}
    tables = {name: store.get(file) for name, file in files.items()}
    result = Result(table=tables.pop(analysis.name), tables=tables, **{**about, "notes": tuple(about["notes"])})
    key = tables_key(analysis.name, result)
    mixed = [file for file in (*files.values(), _about(analysis)) if not _is_done(store, file, key)]
    if mixed:
        raise InvalidInput(
            f"{store.root} holds tables of more than one run ({mixed[0]}: {store.state(mixed[0], key).reason}), as a "
            f"killed run leaves them; `interp run --out {store.root}` with the options of that run finishes it."
        )
    return result


@contextmanager
def few_threads(model: str) -> Iterator[None]:
    """Work on one thread if the model is the bundled one.

    Products of its few hundred columns are too small to share out: on two busy cores its geospatial study took five
    times the CPU time with two threads that wait for each other. And a sum in two halves has other last digits.
    """
    if model.partition("@")[0] not in DEFAULT_SAE:
        yield
        return
    import scipy.linalg  # noqa: F401 - what is loaded later is not limited, and scipy has a BLAS of its own
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


def tables_key(name: str, result: Result) -> Key:
    """Return the key of what is made from the tables of a result alone."""
    from interp.store import make_key, sha256_table

    tables = {"table": result.table, **result.tables}
    hashes = {table: sha256_table(frame) for table, frame in tables.items()}
    return make_key({"analysis": name, "provenance": result.provenance}, hashes, code_version=VIEW_VERSION)


def results_key(config: dict[str, Any], chosen: list[Analysis], results: dict[str, Result]) -> Key:
    """Return the key of what is made from all results of a run: the report and the pages beside it."""
    from interp.store import make_key

    inputs = {a.name: tables_key(a.name, results[a.name]) for a in chosen}
    return make_key(config, inputs, code_version=VIEW_VERSION)


def _draw(analysis: Analysis, result: Result, store: Store, key: Key, *, again: bool = False) -> None:
    """Write the figures that are not there, or all again; figures.json, written last, says which there are."""
    from interp.plot import figure_bytes

    listing = f"{analysis.name}/figures.json"
    if not again and _is_done(store, listing, key) and all(_is_done(store, name, key) for name in store.get(listing)):
        return
    names = []
    for kind in ("png", "pdf"):
        # fresh figures for each format: a layout that was computed once starts from elsewhere the second time
        for stem, figure in analysis.load().figures(result).items():
            names.append(f"{analysis.name}/{stem}.{kind}")
            _put(store, names[-1], key, lambda figure=figure, kind=kind: figure_bytes(figure, kind), again=again)
    store.put(listing, names, key=key)


def write_report(
    chosen: list[Analysis], results: dict[str, Result], config: dict[str, Any], store: Store, *, again: bool = False
) -> None:
    """Write report.html, one offline page with a section an analysis, unless it is there or to be written again."""
    from analyses.citations import cite
    from interp.plot import render_report
    from interp.store import canonical_json

    key = results_key(config, chosen, results)
    links = latent_links(store, key)

    def page() -> bytes:
        modules = {a.name: a.load() for a in chosen}
        sections = [
            replace(m.section(results[name], m.figures(results[name])), links=links.get(name, ()))
            for name, m in modules.items()
        ]
        provenance = {"config": config, **{name: r.provenance for name, r in results.items()}}
        ordered = json.loads(canonical_json(provenance))  # sorted, as it is read back when the report is rebuilt
        references = cite(r.name for r in results.values())
        return render_report(f"interp: {config['model']}", sections, ordered, references=references).encode()

    _put(store, "report.html", key, page, again=again)


def _is_done(store: Store, name: str, key: Key) -> bool:
    return store.state(name, key).status == "done"


def _about(analysis: Analysis) -> str:
    return f"{analysis.name}/result.json"


def _put(store: Store, name: str, key: Key, make: Callable[[], Any], *, again: bool = False) -> None:
    if again or not _is_done(store, name, key):
        store.put(name, make(), key=key)


def status_of(folder: Path) -> pd.DataFrame:
    """Return one row a file of a run: name, kind, bytes, state and the reason.

    Raises:
        InvalidInput: no such folder, or no run in it.
    """
    from interp.store import Store

    if not folder.is_dir():
        raise InvalidInput(f"there is no folder {folder}; give the folder of a run, such as runs/atlas.")
    with Store(folder, readonly=True) as store:
        return store.status()
