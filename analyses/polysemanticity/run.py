"""The polysemanticity study as work units: audits of the model and of its twin, the power of the audit, masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.polysemanticity.concepts import AuditConfig
from analyses.polysemanticity.domain_masks import (
    domain_means,
    knowledge_exclusivity,
    leading_units,
    mask_specificity,
    masking_matrix,
)
from analyses.polysemanticity.label_scores import scores_of_labels
from analyses.polysemanticity.power import audit_sensitivity
from analyses.polysemanticity.sampling import strongest_tokens
from analyses.polysemanticity.study import RANDOM, TRAINED, StudyConfig, condition_of, verdict_shares
from analyses.polysemanticity.unit_audits import (
    DECISIVE,
    UPSTREAM,
    audit_heads,
    audit_latents,
    audit_neurons,
    drawn_units,
)
from analyses.polysemanticity.unit_readings import TextTokens, read_latents, read_neurons, read_text_tokens
from analyses.polysemanticity.upstream_view import UpstreamView
from analyses.polysemanticity.view import example_latents, figures, headline, section
from interp.activations import texts_sha256
from interp.errors import InterpError
from interp.result import Result
from interp.store import Key, Store, make_key, sha256_array
from interp.unit_readers import LatentReaders, NeuronReaders
from interp.work import load_units, run_units

if TYPE_CHECKING:
    from analyses.job import Job
    from interp.models import Model
    from interp.sae import SAE

__all__ = ["example_latents", "figures", "headline", "polysemanticity_study", "run", "section"]

CODE_VERSION = "6"
TEXT_SEED = 3_000_017  # other draws than the model or any SAE is trained or judged on
_AUDITS = {f"{kind}-{which}": (kind, which) for kind in ("neurons", "heads", "latents") for which in (TRAINED, RANDOM)}
_MASKS = ("masks-neurons", "masks-latents")
_LABELS = {f"labels-{unit}": what for unit, what in _AUDITS.items() if what[0] != "heads"}
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
    study = _Study(None, sae, *found, _sources_of(job, config), None, None, config)
    return study.read, [_files(unit) for unit in study.unit_ids()]


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
        (clusters of each unit in each view), upstream (the parts that gave most to each unit), power, with labels masks
        and specificity, and with sources labels.

    Raises:
        SaeMismatch: model and SAE do not fit.
    """
    study = _Study(model, sae, texts, labels, sources, twin, twin_sae, config or StudyConfig())
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
    if labels is not None:
        for i, name in enumerate(("masks", "specificity")):
            both = [found[unit][i].assign(units=unit.partition("-")[2]) for unit in study.masks]
            tables[name] = pd.concat(both, ignore_index=True)
    return Result("polysemanticity", verdicts, tables, study.about(), _VIEW)


class _Study:
    """The units of one study; models and texts are read when the first unit that is not finished asks."""

    def __init__(self, model, sae, texts: Texts, labels, sources, twin, twin_sae, config: StudyConfig) -> None:
        self.model, self.sae, self.texts, self.labels, self.config = model, sae, list(texts), labels, config
        self.sources = sources
        self.given_twin, self.twin_sae = twin, twin_sae if twin_sae is not None else sae

    @cached_property
    def audits(self) -> dict[str, tuple[str, str]]:
        return {unit: what for unit, what in _AUDITS.items() if what[0] != "latents" or self.sae is not None}

    @cached_property
    def label_units(self) -> dict[str, tuple[str, str]]:
        if self.sources is None:
            return {}
        return {unit: what for unit, what in _LABELS.items() if what[0] != "latents" or self.sae is not None}

    @cached_property
    def masks(self) -> tuple[str, ...]:
        return () if self.labels is None else _MASKS if self.sae is not None else _MASKS[:1]

    @cached_property
    def twin(self) -> Model:
        from interp.models import load_model

        return self.given_twin or load_model(self.model.name, weights="random", seed=self.config.seed)

    @cached_property
    def read(self) -> Texts:
        return self.texts[: self.config.n_texts]

    @cached_property
    def seen(self) -> TextTokens:
        return read_text_tokens(self.model, self.read, seed=self.config.seed)

    @cached_property
    def no_upstream(self) -> dict[str, str]:
        """Why what wrote neurons, or latents, cannot be told of this model or SAE; "" where it can."""
        first, last = {0: np.arange(1)}, self.model.n_layers - 1
        readers: dict[str, Callable[[], Any]] = {"neurons": lambda: NeuronReaders(self.model, last, np.arange(1))}
        if self.sae is not None:
            readers["latents"] = lambda: LatentReaders(self.sae, [0], self.model.device)
        out = {}
        for kind, reader in readers.items():
            try:
                UpstreamView(self.model, self.read[:1], [(np.arange(1), reader())]).read(first, first)
                out[kind] = ""
            except InterpError as error:
                out[kind] = str(error)
        return out

    def unit_ids(self) -> list[str]:
        """Return the ids of all units; no model is needed to know them."""
        return [*self.audits, "power", *self.label_units, *self.masks]

    def units(self, store: Store | None) -> dict[str, tuple[pd.DataFrame, ...]]:
        """Return the tables of every unit, computed or loaded."""
        names = self.unit_ids()
        if store is None:
            return {unit: self.compute(unit) for unit in names}
        options: dict[str, Any] = {"store": store, "name_of": _files, "key_of": lambda _: self.key}
        run_units(names, self.compute, desc="polysemanticity", **options)
        return load_units(names, **options)

    def compute(self, unit: str) -> tuple[pd.DataFrame, ...]:
        """Return the tables of one unit."""
        if unit in _AUDITS:
            return self._audit(*_AUDITS[unit])
        if unit in _LABELS:
            return self._labels(*_LABELS[unit])
        return self._power() if unit == "power" else self._masks(None if unit == _MASKS[0] else self.sae)

    def _audit(self, kind: str, which: str) -> tuple[pd.DataFrame, ...]:
        c = self.config
        model, sae = (self.model, self.sae) if which == TRAINED else (self.twin, self.twin_sae)
        options: dict[str, Any] = {"seen": self.seen, "config": c.audit}
        options["n_directions"] = c.n_controls if which == TRAINED else 0
        if kind != "heads":
            options |= {"n": c.n_units if which == TRAINED else c.n_controls, "upstream": not self.no_upstream[kind]}
        audits: dict[str, Callable[[], Result]] = {
            "neurons": lambda: audit_neurons(model, self.read, **options),
            "heads": lambda: audit_heads(model, self.read, **options),
            # the twin may be read by the SAE of the model itself
            "latents": lambda: audit_latents(model, sae, self.read, allow_mismatch=which == RANDOM, **options),
        }
        result = audits[kind]()
        parts = result.tables.get("upstream", pd.DataFrame({"unit": np.array([], dtype=object)}))
        return result.table, result.tables["views"], *(() if kind == "heads" else (parts,))

    def _power(self) -> tuple[pd.DataFrame, ...]:
        c = self.config
        if self.sae is None:
            neurons = drawn_units(None, 1, self.model.d_mlp, c.n_candidates, c.audit.seed)[:, 1]
            layer = self.model.n_layers // 2
            values, _ = read_neurons(self.model, self.read, {layer: neurons}, seed=c.audit.seed)
            kind, readers = "neurons", lambda: NeuronReaders(self.model, layer, neurons)
        else:
            latents = drawn_units(None, 1, self.sae.config.d_sae, c.n_candidates, c.audit.seed)[:, 1]
            values = read_latents(self.model, self.sae, self.read, latents)
            kind, readers = "latents", lambda: LatentReaders(self.sae, latents, self.model.device)
        late = {}
        if not self.no_upstream[kind]:
            late = {UPSTREAM: UpstreamView(self.model, self.read, [(np.arange(values.shape[1]), readers())])}
        return (
            audit_sensitivity(
                values, self.seen.views, text_index=self.seen.text_index, n_mixtures=c.n_mixtures, decisive=DECISIVE,
                late=late, config=c.audit,
            ),
        )  # fmt: skip

    def _labels(self, kind: str, which: str) -> tuple[pd.DataFrame, ...]:
        """Return what labels say of the largest activation in each text of units drawn as for the audit."""
        c = self.config
        model, sae = (self.model, self.sae) if which == TRAINED else (self.twin, self.twin_sae)
        if kind == "latents":
            chosen = drawn_units(None, 1, sae.config.d_sae, c.n_units, c.audit.seed)[:, 1]
            values = read_latents(model, sae, self.read, chosen)
        else:
            pairs = drawn_units(None, model.n_layers, model.d_mlp, c.n_units, c.audit.seed)
            by_layer = {
                int(layer): part[:, 1] for layer in np.unique(pairs[:, 0]) for part in [pairs[pairs[:, 0] == layer]]
            }
            values, _ = read_neurons(model, self.read, by_layer, seed=c.audit.seed)
        best, _ = strongest_tokens(values, self.seen.text_index)
        sources = {name: list(labels)[: len(self.read)] for name, labels in self.sources.items()}
        return (scores_of_labels(best, sources, seed=c.seed),)

    def _masks(self, sae: SAE | None) -> tuple[pd.DataFrame, ...]:
        c, labels = self.config, [str(label) for label in self.labels]
        read = self.read[: c.n_choosing]
        means, domains, units = domain_means(self.model, read, labels[: len(read)], sae=sae)
        masks = leading_units(knowledge_exclusivity(means, domains, units), n=c.n_masked)
        judged = _first_of_each(labels, len(self.read), c.n_domain_texts)
        own = {labels[i] for i in judged}
        matrix = masking_matrix(
            self.model, [self.texts[i] for i in judged], [labels[i] for i in judged],
            {domain: mask for domain, mask in masks.items() if domain in own}, sae=sae, n_random=c.n_random_masks,
            seed=c.seed,
        )  # fmt: skip
        square: Any = matrix[matrix["evaluated"].isin(matrix["masked"])]
        return matrix, mask_specificity(square, seed=c.seed)

    @cached_property
    def inputs(self) -> dict[str, str]:
        labels = {} if self.labels is None else {"labels": texts_sha256([str(label) for label in self.labels])}
        given = self.sources or {}
        sources = {f"source {name}": texts_sha256([str(x) for x in values]) for name, values in given.items()}
        return {
            "texts": texts_sha256(self.texts), **labels, **sources, "model": self.model.fingerprint,
            "sae": _fingerprint(self.sae), "twin": self.twin.fingerprint, "twin sae": _fingerprint(self.twin_sae),
        }  # fmt: skip

    @cached_property
    def key(self) -> Key:
        return make_key({**self.config.to_dict(), "bos": self.model.bos}, self.inputs, code_version=CODE_VERSION)

    def about(self) -> dict[str, Any]:
        from interp.provenance import versions

        return {
            "analysis": "polysemanticity",
            "code_version": CODE_VERSION,
            "model": self.model.name,
            "site": None if self.sae is None else str(self.sae.config.site),
            "config": self.config.to_dict(),
            "inputs": self.inputs,
            "seed": self.config.seed,
            "n_texts": len(self.read),
            "n_tokens": int(_n_tokens(self.model, self.read)),
            "twin_sae_is_own": self.twin_sae is not self.sae,
            "no_upstream": {kind: why for kind, why in self.no_upstream.items() if why},
            "versions": versions(),
        }


def _files(unit: str) -> tuple[str, ...]:
    parts = ("verdicts", "views") if unit.startswith("heads") else ("verdicts", "views", "upstream")
    if unit == "power" or unit in _LABELS:
        parts = ("power",) if unit == "power" else ("scores",)
    elif unit in _MASKS:
        parts = ("matrix", "specificity")
    return tuple(f"polysemanticity/units/{unit.replace(' ', '-')}-{part}.parquet" for part in parts)


def _first_of_each(labels: Sequence[str], start: int, n: int) -> list[int]:
    """Return the first n texts from `start` on of each label."""
    count: dict[str, int] = {}
    chosen = []
    for i in range(start, len(labels)):
        count[labels[i]] = count.get(labels[i], 0) + 1
        if count[labels[i]] <= n:
            chosen.append(i)
    return chosen


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


def _n_tokens(model: Model, texts: Texts) -> int:
    from interp.tokens import encode

    return int((~encode(model, texts, max_length=model.n_ctx).special).sum())


def _fingerprint(sae: SAE | None) -> str:
    if sae is None:
        return "none"
    weights: Mapping[str, str] = {name: sha256_array(w.detach().cpu().numpy()) for name, w in sae.weights().items()}
    return str(make_key(sae.config.to_dict(), weights, code_version="1"))
