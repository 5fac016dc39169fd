"""What `interp run probing` does: what a model knows of places, read out layer by layer, and whether it uses it.

Units: each layer of each model and task, the chosen layers, the other kinds of probe, the erasures, the SAE's latents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.probing.causal import causal_check
from analyses.probing.compute import ProbeConfig, read_data
from analyses.probing.kinds import KINDS, kind_rows
from analyses.probing.labels import group_codes
from analyses.probing.layers import CHOSEN, RANDOM, TRAINED, held_out_groups
from analyses.probing.made_up import random_label_rows
from analyses.probing.places import CARRIERS, COUNTRY, Atlas, Task, carried, country_atlas, place_tasks
from analyses.probing.source import CODE_VERSION, Source, kept_units, model_source, probe_source
from analyses.probing.sparse import probe_features
from analyses.probing.study_report import headline, section
from analyses.probing.study_view import figures
from interp.provenance import provenance
from interp.result import Result
from interp.store import Key, Store, make_key, sha256_array, sha256_table

if TYPE_CHECKING:
    from analyses.job import Job
    from interp.models import Model
    from interp.sae import SAE

__all__ = ["figures", "headline", "readout_study", "run", "section"]

VIEW = "analyses.probing.study_view:plot"
TAIL = " is a city in"
N_PERM, N_BOOT, TEST_SHARE = 99, 200, 0.3
ERASED_PLACES = 60
"""Most places of a country in the causal check: an eraser has to be fitted on more rows than columns."""


def run(job: Job) -> Result:
    """Run the study of a job, keeping finished units in its store; without places of known country it says so."""
    from analyses.job import DEFAULT_SAE

    places = job.places  # refuse a file before anything heavy is loaded
    sae = job.sae if job.config.sae is not None or job.config.model in DEFAULT_SAE else None
    return readout_study(job.model, places, twin=job.twin, sae=sae, seed=job.config.seed, store=job.store)


def readout_study(
    model: Model,
    places: pd.DataFrame,
    *,
    twin: Model | None = None,
    sae: SAE | None = None,
    seed: int = 0,
    store: Store | None = None,
) -> Result:
    """Read country and continent of places out of every layer, put made-up labels through the same, erase the country.

    Args:
        places: from `load_places`: name and country. twin: the random-weights model; loaded if None.
        sae: its latents are probed beside the activations that they were made of; None: they are not.
        store: keeps finished units, so that a killed study goes on.

    Returns:
        Result "probing": `.table` a row a task, condition and site; tables `tasks` (what was asked, or why not),
        `chosen` (the layer with the best score, judged on places that chose nothing), `kinds` (other kinds of probe
        there, control task and description length), `random_labels`, `causal` (see `causal_check`) and `features`.
    """
    places = places.reset_index(drop=True)
    atlas = country_atlas(model.name)
    tasks, skipped = place_tasks(places, atlas, seed=seed)
    about = pd.DataFrame([*map(_told, tasks), *({"task": t, "n": 0, "status": s} for t, s in skipped.items())])
    if not tasks:
        key = make_key({"seed": seed}, {"places": sha256_table(places)}, code_version=CODE_VERSION)
        return Result("probing", about, {}, provenance(key, seed=seed, model=model.name), VIEW)
    rows = np.unique(np.concatenate([task.rows for task in tasks]))
    texts, spans = carried(places["name"].astype(str).iloc[rows].tolist())
    source = model_source(model, twin, texts, None, seed=seed, spans=spans)
    config = ProbeConfig(task="classes", n_perm=N_PERM, n_boot=N_BOOT, description_length=False, seed=seed)
    study = _Study(model, sae, source, rows, config, store)
    layers: dict[str, Any] = {task.name: study.layers(task) for task in tasks}
    table, chosen = (
        pd.concat([part[i].assign(task=name) for name, part in layers.items()], ignore_index=True) for i in (0, 1)
    )
    tables = {"tasks": about, "chosen": _first(chosen, "task"), "kinds": study.kinds(tasks, chosen)}
    country = next((task for task in tasks if task.name == COUNTRY), None)
    site = None if country is None else chosen_site(chosen, COUNTRY)
    if country is not None and site is not None:
        tables["random_labels"] = study.random_labels(country)
        tables["causal"] = study.causal(places, country, atlas, site)
        tables["features"] = study.features(country)
    inputs = {name: part[2].digest for name, part in layers.items()}
    key = make_key({**config.to_dict(), "sae": study.sae_site}, inputs, code_version=CODE_VERSION)
    made = provenance(
        key, seed=seed, model=model.name, carriers=list(CARRIERS), tail=TAIL, erased_site=site, sae_site=study.sae_site
    )
    return Result("probing", _first(table, "task"), {n: t for n, t in tables.items() if len(t)}, made, VIEW)


def chosen_site(chosen: pd.DataFrame, task: str) -> str | None:
    """Return the site that the groups of the choice liked best for a task."""
    found: Any = chosen[(chosen["task"] == task) & (chosen["role"] == CHOSEN)]
    return str(found["unit"].iloc[0]) if len(found) else None


@dataclass(frozen=True)
class _Study:
    """The units of one study: computed once, kept in the store where there is one."""

    model: Model
    sae: SAE | None
    source: Source
    places: np.ndarray
    config: ProbeConfig
    store: Store | None

    @property
    def sae_site(self) -> str | None:
        return None if self.sae is None else str(self.sae.config.site)

    def rows(self, task: Task, carriers: int = len(CARRIERS)) -> np.ndarray:
        """Return the rows of the source that hold a task's places, carrier by carrier."""
        own = np.searchsorted(self.places, task.rows)
        return np.concatenate([own + i * len(self.places) for i in range(carriers)])

    def layers(self, task: Task) -> tuple[pd.DataFrame, pd.DataFrame, Key]:
        labels, groups = (np.tile(a, len(CARRIERS)) for a in (task.labels, task.groups))
        return probe_source(
            self.source.at(self.rows(task)), labels, groups, None, self.config, test_share=TEST_SHARE,
            store=self.store, folder=f"probing/{task.name.replace(' ', '-')}",
        )  # fmt: skip

    def kinds(self, tasks: list[Task], chosen: pd.DataFrame) -> pd.DataFrame:
        """Return other kinds of probe at the chosen site of each task, and its control task and description length."""
        sites = {task.name: chosen_site(chosen, task.name) for task in tasks}
        parts = [self._kinds(task, site) for task in tasks if (site := sites[task.name]) is not None]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def _kinds(self, task: Task, site: str) -> pd.DataFrame:
        labels, groups = (np.tile(a, len(CARRIERS)) for a in (task.labels, task.groups))

        def compute() -> pd.DataFrame:
            parts = []
            for condition in (TRAINED, RANDOM):
                x = self.source.read(condition)[site][self.rows(task)]
                data = read_data(x, labels, groups, None, self.config)
                keep = held_out_groups(data.groups, TEST_SHARE, seed=self.config.seed)
                kinds = KINDS if (task.name, condition) == (COUNTRY, TRAINED) else ("ridge",)
                rows = kind_rows(data, keep, self.config, kinds)
                parts.append(rows.assign(task=task.name, unit=site, condition=condition))
            return _first(pd.concat(parts, ignore_index=True), "task", "condition", "unit")

        return self._kept(f"kinds-{task.name.replace(' ', '-')}", compute, {**_content(task), "site": site})

    def random_labels(self, task: Task) -> pd.DataFrame:
        """Return what all of this says of labels that were drawn by lot for the places of a task."""
        groups = np.tile(task.groups, len(CARRIERS))

        def compute() -> pd.DataFrame:
            acts = {s: x[self.rows(task)] for s, x in self.source.read(TRAINED).items()}
            keep = held_out_groups(group_codes(groups, len(groups)), TEST_SHARE, seed=self.config.seed)
            return random_label_rows(acts, groups, keep, self.config)

        return self._kept("random-labels", compute, _content(task))

    def causal(self, places: pd.DataFrame, task: Task, atlas: Atlas, site: str) -> pd.DataFrame:
        """Return what the model loses in "<place> is a city in <country>" when the country is erased at a site."""
        names, answers = erased_places(places, task, atlas)
        prompts = [name + TAIL for name in names]

        def compute() -> pd.DataFrame:
            return causal_check(
                self.model, prompts, [" " + answer for answer in answers], np.array(answers, dtype=object), site,
                last=tail_tokens(self.model, prompts), seed=self.config.seed, test_share=TEST_SHARE, n_boot=N_BOOT,
            )  # fmt: skip

        choices = {"site": site, "names": names, "answers": answers}
        return self._kept("causal", compute, choices).assign(site=site)

    def features(self, task: Task) -> pd.DataFrame:
        """Return how well one latent, five and all tell a country, beside as many activations; none without an SAE."""
        sae, site = self.sae, self.sae_site
        if sae is None or site not in self.source.sites[TRAINED]:
            return pd.DataFrame()

        def compute() -> pd.DataFrame:
            import torch

            x = self.source.read(TRAINED)[site][self.rows(task, 1)]
            with torch.no_grad():
                latents = sae.encode(torch.from_numpy(x)).cpu().numpy()
            given = {"activations": x, "SAE latents": latents}
            return probe_features(given, task.labels, groups=task.groups, seed=self.config.seed, n_boot=N_BOOT // 2)

        return self._kept("features", compute, {**_content(task), "site": site, "sae": sae_digest(sae)}).assign(
            site=site
        )

    def _kept(self, unit: str, compute: Callable[[], pd.DataFrame], choices: dict[str, Any]) -> pd.DataFrame:
        if self.store is None:
            return compute()
        key = make_key({**self.config.to_dict(), **choices}, self.source.inputs, code_version=CODE_VERSION)
        return kept_units(self.store, key, "probing/units")([unit], lambda _: compute())[unit]


def erased_places(places: pd.DataFrame, task: Task, atlas: Atlas) -> tuple[list[str], list[str]]:
    """Return names and country names of the causal check: places of the countries of a task, the first in the table."""
    given: Any = places["country"].astype(str)
    country = given.map({c: atlas.name(atlas.code(c)) for c in set(given)})
    part: Any = country[country.isin(sorted(set(task.labels))) & ~places["name"].duplicated(keep=False)]
    part = part.groupby(part).head(ERASED_PLACES).sort_index()
    return places.loc[part.index, "name"].astype(str).tolist(), part.tolist()


def tail_tokens(model: Model, prompts: list[str]) -> int:
    """Return how many of the last tokens of each prompt hold no character of the name before its last token."""
    from interp.tokens import encode

    encoded = encode(model, prompts, spans=[(len(p) - len(TAIL), len(p)) for p in prompts])
    assert encoded.span_mask is not None
    return int(np.add.reduceat(encoded.span_mask.astype(np.int64), encoded.starts[:-1]).min()) + 1


def sae_digest(sae: SAE) -> str:
    """Return the digest of the config and the weights of an SAE."""
    weights = {name: sha256_array(tensor.detach().cpu().numpy()) for name, tensor in sae.weights().items()}
    return make_key(sae.config.to_dict(), weights, code_version=CODE_VERSION).digest


def _content(task: Task) -> dict[str, str]:
    """Return what a unit of a task is made from, beside the activations."""
    arrays = {"rows": task.rows, "labels": task.labels.astype(str), "groups": task.groups.astype(str)}
    return {"task": task.name, **{name: sha256_array(array) for name, array in arrays.items()}}


def _told(task: Task) -> dict[str, Any]:
    return {"task": task.name, "n": len(task.rows), "n_classes": len(set(task.labels)),
            "n_groups": len(set(task.groups)), "grouped_by": task.grouped_by, "status": "ok"}  # fmt: skip


def _first(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    return table.reindex(columns=[*names, *(c for c in table.columns if c not in names)])
