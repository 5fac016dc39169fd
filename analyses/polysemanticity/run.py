"""The polysemanticity study as work units: audits of the model and of its twin, the power of the audit, masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.polysemanticity.concepts import AuditConfig
from analyses.polysemanticity.study import StudyConfig, condition_of, verdict_shares
from analyses.polysemanticity.study_units import GROUP_TABLES, Study, unit_files
from analyses.polysemanticity.view import example_latents, figures, headline, section
from interp.result import Result
from interp.stats.corrections import benjamini_hochberg
from interp.store import Store

if TYPE_CHECKING:
    from analyses.job import Job
    from interp.models import Model
    from interp.sae import SAE

__all__ = ["example_latents", "figures", "headline", "polysemanticity_study", "run", "section"]

TEXT_SEED = 3_000_017  # other draws than the model or any SAE is trained or judged on
_VIEW = "analyses.polysemanticity.view:plot"
Texts = Sequence[str]


def run(job: Job) -> Result:
    """Run the study of a job, keeping finished units in its store; without texts it says that it was left out."""
    config = StudyConfig(seed=job.config.seed, audit=AuditConfig(n_boot=10, seed=job.config.seed))
    found = _texts_of(job, config)
    if found is None:
        reason = "no texts to read: a model of your own needs --texts, a file with one a line"
        table = pd.DataFrame({"unit": ["all"], "verdict": ["not tested"], "n": [0], "status": [reason]})
        return Result("polysemanticity", table, {}, {"skipped": reason, "seed": config.seed}, _VIEW, (reason,))
    sae, twin_sae = (job.sae, job.twin_sae) if job.has_sae else (None, None)
    return polysemanticity_study(
        job.model, sae, found[0], labels=found[1], sources=_sources_of(job, config), twin=job.twin, twin_sae=twin_sae,
        config=config, store=job.store,
    )  # fmt: skip


def planned_units(job: Job, sae: Any) -> tuple[Texts, list[tuple[str, ...]]]:
    """Return the texts that the study of a job audits on and the files of each unit, without a model.

    Args:
        sae: anything but None stands for an SAE.
    """
    config = StudyConfig(seed=job.config.seed, audit=AuditConfig(n_boot=10, seed=job.config.seed))
    found = _texts_of(job, config)
    if found is None:
        return [], []
    study = Study(None, sae, *found, _sources_of(job, config), None, None, config)
    return study.read, [unit_files(unit) for unit in study.unit_ids()]


def polysemanticity_study(
    model: Model,
    sae: SAE | None,
    texts: Texts,
    *,
    labels: Sequence[str] | None = None,
    sources: Mapping[str, Sequence[str]] | None = None,
    twin: Model | None = None,
    twin_sae: SAE | None = None,
    config: StudyConfig | None = None,
    store: Store | None = None,
) -> Result:
    """Audit neurons, heads and latents of a model, beside a random-weights twin and random directions.

    Args:
        sae: None: neurons and heads alone, and the power of the audit from neurons.
        texts: the first `config.n_texts` are audited on; later ones are left for the masks.
        labels: domain of each text; without them no masks are tried.
        sources: two or more names -> label of each text ("" for none), for `scores_of_labels`.
        twin: the random-weights model; loaded from the model's name if None.
        twin_sae: the SAE that reads the twin; `sae` if None.
        store: keeps finished units, so that a killed study goes on.

    Returns:
        Result "polysemanticity": .table one row a condition and unit (verdict, K, evidence); .tables shares, views
        (clusters of each unit in each view), upstream (the parts that gave most to each unit), power, with labels those
        of groups of units: masks (what masking the units of a domain costs on each), specificity, exclusivity and
        experts, and with sources labels.

    Raises:
        SaeMismatch: model and SAE do not fit.
    """
    study = Study(model, sae, texts, labels, sources, twin, twin_sae, config or StudyConfig())
    found = study.units(store)
    audits = [
        tuple(
            condition_of(table, which) if "verdict" in table else table.assign(condition=which) for table in found[unit]
        )
        for unit, (_, which) in study.audits.items()
    ]
    verdicts = pd.concat([some[0] for some in audits], ignore_index=True)
    tables = {
        "shares": verdict_shares(verdicts),
        "views": pd.concat([some[1] for some in audits], ignore_index=True),
        "upstream": pd.concat([some[2] for some in audits if len(some) > 2], ignore_index=True),
        "power": found["power"][0],
    }
    if sources is not None:
        parts = [
            found[unit][0].assign(kind=kind.removesuffix("s"), condition=which)
            for unit, (kind, which) in study.label_units.items()
        ]
        tables["labels"] = pd.concat(parts, ignore_index=True)
    for i, name in enumerate(GROUP_TABLES if study.groups else ()):
        parts = [found[unit][i].assign(units=kind, condition=which) for unit, (kind, which) in study.groups.items()]
        tables[name] = _corrected(pd.concat(parts, ignore_index=True))
    return Result("polysemanticity", verdicts, tables, study.about(), _VIEW)


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with q (Benjamini-Hochberg over all its p) beside p."""
    table.insert(list(table.columns).index("p") + 1, "q", benjamini_hochberg(table["p"].to_numpy(dtype=np.float64)))
    return table


def _texts_of(job: Job, config: StudyConfig) -> tuple[list[str], list[str] | None] | None:
    """Return texts and their domains: of the bundled model's corpus, or from the file that the job names."""
    if job.texts is not None:
        return job.texts[: config.n_texts], None
    if job.config.model.partition("@")[0] != "atlas":
        return None
    from interp.atlas import facts

    more = 40 * config.n_domain_texts  # the rarest domain is 3 % of the texts
    made = list(islice(facts().texts(TEXT_SEED), config.n_texts + more))
    return [text.text for text in made], [text.kind.partition("/")[0] for text in made]


def _sources_of(job: Job, config: StudyConfig) -> dict[str, list[str]] | None:
    """Return the kind of each text that names a city, and the continent of the first; of the bundled model alone."""
    if job.texts is not None:
        return None
    from interp.atlas import facts

    made = islice(facts().texts(TEXT_SEED), config.n_texts)
    country, countries = facts().cities["country"].to_numpy(), facts().countries
    found = [
        (text.kind, countries[country[text.spans[0][2]]]["continent"]) if text.spans else ("", "") for text in made
    ]
    return {"kind of text": [kind for kind, _ in found], "continent": [continent for _, continent in found]}
