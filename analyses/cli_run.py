"""`interp run`: analyses into one folder."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from analyses.terminal import print_table, say

if TYPE_CHECKING:
    from analyses.job import RunConfig


def run(
    *analyses: str,
    model: str | None = None,
    sae: str | None = None,
    bos: Literal["always", "never", "tokenizer"] | None = None,
    places: str | None = None,
    template: str | None = None,
    texts: Path | None = None,
    k: int | None = None,
    permutations: int | None = None,
    survey: bool | None = None,
    seed: int | None = None,
    out: Path | None = None,
    jobs: int | None = None,
    config: Path | None = None,
    write_config: Path | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Run analyses and leave tables, figures and one offline report in a folder; run again to resume.

    Examples:
      interp run
      interp run geospatial --places my.csv --template "{name} is a city in"
      interp run --model gpt2 --sae ./sae --texts corpus.txt --out runs/gpt2 --dry-run
      interp run --k 16 --write-config run.toml
      interp run --config run.toml --seed 1 --out runs/seed1

    Parameters
    ----------
    analyses
        Names of analyses; none means all: geospatial, decoding, probing, attention, polysemanticity.
    model
        "atlas" (bundled, the default), a folder in Hugging Face format, or a Hugging Face name.
    sae
        "atlas/resid_post.2" (bundled) or a folder with an SAE (SAELens or sparsify layout). Another model without one
        has its neurons tested alone.
    bos
        BOS policy; default that of the model card. A model without a card needs one: that of the SAE.
    places
        "atlas" (the cities of the bundled model, the default), "cities" (33,880 of GeoNames), or a file: CSV, TSV,
        parquet, GeoJSON.
    template
        Prompt of a place, default {name}. A field beside {name} puts its answer into the prompt and is flagged.
    texts
        File of texts, one a line, for attention and polysemanticity. Default for atlas: fresh text of its own corpus.
    k
        Nearest neighbours of a place on the globe that count as near; default 8.
    permutations
        Random relabellings of the places behind a permutation p; default 999.
    survey
        Also count the geographic features of every layer under several prompts (the default): most of the time of
        geospatial.
    seed
        Of every random choice; default 0.
    out
        Folder of the run; default runs/MODEL.
    jobs
        Analyses at a time, each in a process with a model of its own. Default for atlas: as many as cores and memory
        allow; for another model 1. What is written is the same.
    config
        TOML file with any of these options by name; an option on the command line wins over it.
    write_config
        Write the options to this TOML file, and run nothing.
    dry_run
        Say what would be done (work units, prompts, tokens, bytes, memory, what is finished), and run nothing.
    """
    from analyses.config_file import config_text, join_options, read_config
    from analyses.job import run_job

    flags = {
        "analyses": analyses, "model": model, "sae": sae, "bos": bos, "places": places, "template": template,
        "texts": None if texts is None else str(texts), "k": k, "permutations": permutations, "survey": survey,
        "seed": seed, "out": out,
    }  # fmt: skip
    chosen, folder = join_options({} if config is None else read_config(config), flags)
    if write_config is not None:
        from interp.store import atomic_write_bytes

        atomic_write_bytes(write_config, config_text(chosen, folder).encode())
        say(f"written: {write_config}; run it: interp run --config {write_config}")
    if dry_run:
        from analyses.dry_run import dry_run as planned

        plan = planned(chosen, folder)
        print_table(plan.shown(), f"dry run into {folder}")
        say(plan.text())
    if write_config is None and not dry_run:
        print(run_job(chosen, folder, jobs=_jobs(jobs, chosen)).text())


def _jobs(asked: int | None, config: RunConfig) -> int:
    """Return how many analyses go side by side."""
    from analyses.doctor import memory_here
    from analyses.job import DEFAULT_SAE
    from analyses.registry import find_analyses
    from analyses.side_by_side import available_cpus, default_jobs
    from interp.errors import InvalidInput
    from interp.work import rank_and_world

    if asked is not None and asked < 1:
        raise InvalidInput(f"--jobs {asked}: expected 1 or more analyses at a time.")
    if asked is not None or config.model.partition("@")[0] not in DEFAULT_SAE or rank_and_world()[1] > 1:
        return asked or 1
    return default_jobs(len(find_analyses(config.analyses)), cpus=available_cpus(), memory=memory_here())


def alone(analysis: str) -> Callable[..., None]:
    """Return the command that runs one analysis: `interp run ANALYSIS` with the same options and help."""
    signature = inspect.signature(run, eval_str=True)
    options = [p for p in signature.parameters.values() if p.name != "analyses"]
    listed = inspect.cleandoc(run.__doc__ or "").split("----------\n")[1]
    listed = listed[listed.index("model\n") :]

    def command(**chosen: Any) -> None:
        run(analysis, **chosen)

    command.__name__ = analysis
    command.__doc__ = f"""Run one analysis: short for `interp run {analysis}`.

Parameters
----------
{listed}"""
    command.__signature__ = signature.replace(parameters=options)  # type: ignore[attr-defined]
    command.__annotations__ = {option.name: option.annotation for option in options}
    return command
