"""`interp run`: load, do every analysis, write tables, figures and one report; run again to resume."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyses.registry import Analysis, find_analyses
from interp.errors import InvalidInput, SaeMismatch

if TYPE_CHECKING:
    import pandas as pd

    from interp.models import Model
    from interp.plot import Section
    from interp.result import Result
    from interp.sae import SAE
    from interp.store import Store

DEFAULT_SAE = {"atlas": "atlas/resid_post.1"}
CONTROL_SAE = {"atlas/resid_post.1": "atlas-random/resid_post.1"}


@dataclass(frozen=True)
class RunConfig:
    """Everything that `interp run` takes; the command line and Python give the same object."""

    analyses: tuple[str, ...] = ()
    model: str = "atlas"
    sae: str | None = None
    places: str = "atlas"
    template: str = "{name}"
    k: int = 8
    permutations: int = 999
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

        return load_model(self.config.model)

    @cached_property
    def twin(self) -> Model:
        """The same architecture with random weights: the control of what a model shows untrained."""
        from interp.models import load_model

        return load_model(self.config.model, weights="random", seed=self.config.seed)

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
    """What a run left behind."""

    folder: Path
    results: dict[str, Result]
    sections: dict[str, Section]
    seconds: float

    def text(self) -> str:
        """Return the summary that the command line prints: each answer with its null beside it."""
        lines = []
        for name, section in self.sections.items():
            head, folder = section.headline, self.folder / name
            lines += [f"{section.title}: {section.question}", f"  {head.text}", f"  null: {head.null}"]
            lines += [f"  {head.evidence()}; tables and figures: {folder}", ""]
        return "\n".join([*lines, f"report: {self.folder / 'report.html'} ({self.seconds:.0f} s)"])


def run_job(config: RunConfig, folder: Path) -> Finished:
    """Run the analyses of `config` into `folder`, doing only what is not finished there.

    Raises:
        InterpError: whatever the user can mend, by name.
    """
    import time

    from interp.store import Store

    began = time.perf_counter()
    chosen = find_analyses(config.analyses)
    with Store(folder) as store:
        job = Job(config, store)
        done = {analysis.name: run_analysis(analysis, job) for analysis in chosen}
        results = {name: result for name, (result, _) in done.items()}
        sections = {name: section for name, (_, section) in done.items()}
        write_report(results, sections, job)
    return Finished(folder, results, sections, time.perf_counter() - began)


def run_analysis(analysis: Analysis, job: Job) -> tuple[Result, Section]:
    """Run one analysis, write its tables and figures, and return its result and its part of the report."""
    from interp.plot import figure_bytes

    module = analysis.load()
    result = module.run(job)
    for name, table in {analysis.name: result.table, **result.tables}.items():
        job.store.put(f"{analysis.name}/{name}.parquet", table)
    figures = module.figures(result)
    for name, figure in figures.items():
        for kind in ("png", "pdf"):
            job.store.put(f"{analysis.name}/{name}.{kind}", figure_bytes(figure, kind))
    return result, module.section(result, figures)


def write_report(results: dict[str, Result], sections: dict[str, Section], job: Job) -> None:
    """Write report.html: one offline page with a section an analysis."""
    from interp.plot import render_report

    provenance = {"config": job.config.to_dict(), **{name: result.provenance for name, result in results.items()}}
    page = render_report(f"interp: {job.config.model}", list(sections.values()), provenance)
    job.store.put("report.html", page.encode())


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
