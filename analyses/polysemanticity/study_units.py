"""The work units of the study: audits, the power of the audit, known labels, and groups of units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.polysemanticity.domain_masks import mask_specificity, masking_matrix
from analyses.polysemanticity.domain_units import (
    domain_means,
    exclusive_share,
    experts_of,
    knowledge_exclusivity,
    leading_units,
    text_sums,
)
from analyses.polysemanticity.label_scores import scores_of_labels
from analyses.polysemanticity.power import audit_sensitivity
from analyses.polysemanticity.sampling import strongest_tokens
from analyses.polysemanticity.study import RANDOM, TRAINED, StudyConfig
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
from interp.activations import texts_sha256
from interp.errors import InterpError
from interp.result import Result
from interp.store import Key, Store, make_key, sha256_array
from interp.unit_readers import LatentReaders, NeuronReaders
from interp.work import load_units, run_units

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE


CODE_VERSION = "7"
AUDITS = {f"{kind}-{which}": (kind, which) for kind in ("neurons", "heads", "latents") for which in (TRAINED, RANDOM)}
GROUPS = {f"groups-{unit}": what for unit, what in AUDITS.items() if what[0] != "heads"}
GROUP_TABLES = ("masks", "specificity", "exclusivity", "experts")
LABELS = {f"labels-{unit}": what for unit, what in AUDITS.items() if what[0] != "heads"}
Texts = Sequence[str]


class Study:
    """The units of one study; models and texts are read when the first unit that is not finished asks."""

    def __init__(self, model, sae, texts: Texts, labels, sources, twin, twin_sae, config: StudyConfig) -> None:
        self.model, self.sae, self.texts, self.labels, self.config = model, sae, list(texts), labels, config
        self.sources = sources
        self.values: dict[tuple[str, str], tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self.given_twin, self.twin_sae = twin, twin_sae if twin_sae is not None else sae

    @cached_property
    def audits(self) -> dict[str, tuple[str, str]]:
        return {unit: what for unit, what in AUDITS.items() if what[0] != "latents" or self.sae is not None}

    @cached_property
    def label_units(self) -> dict[str, tuple[str, str]]:
        if self.sources is None:
            return {}
        return {unit: what for unit, what in LABELS.items() if what[0] != "latents" or self.sae is not None}

    @cached_property
    def groups(self) -> dict[str, tuple[str, str]]:
        if self.labels is None:
            return {}
        return {unit: what for unit, what in GROUPS.items() if what[0] != "latents" or self.sae is not None}

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
        return [*self.audits, "power", *self.label_units, *self.groups]

    def units(self, store: Store | None) -> dict[str, tuple[pd.DataFrame, ...]]:
        """Return the tables of every unit, computed or loaded."""
        names = self.unit_ids()
        if store is None:
            return {unit: self.compute(unit) for unit in names}
        options: dict[str, Any] = {"store": store, "name_of": unit_files, "key_of": lambda _: self.key}
        run_units(names, self.compute, desc="polysemanticity", **options)
        return load_units(names, **options)

    def compute(self, unit: str) -> tuple[pd.DataFrame, ...]:
        """Return the tables of one unit."""
        if unit in AUDITS:
            return self._audit(*AUDITS[unit])
        if unit in LABELS:
            return self._labels(*LABELS[unit])
        return self._power() if unit == "power" else self._groups(*GROUPS[unit])

    def _condition(self, which: str) -> tuple[Model, Any]:
        return (self.model, self.sae) if which == TRAINED else (self.twin, self.twin_sae)

    def _audit(self, kind: str, which: str) -> tuple[pd.DataFrame, ...]:
        c = self.config
        model, sae = self._condition(which)
        options: dict[str, Any] = {"seen": self.seen, "config": c.audit}
        options["n_directions"] = c.n_controls if which == TRAINED else 0
        if kind != "heads":
            options |= {"n": c.n_units if which == TRAINED else c.n_controls, "upstream": not self.no_upstream[kind]}
        audits: dict[str, Callable[[], Result]] = {
            "neurons": lambda: audit_neurons(model, self.read, read=partial(self._neurons_of, which), **options),
            "heads": lambda: audit_heads(model, self.read, **options),
            # the twin may be read by the SAE of the model itself
            "latents": lambda: audit_latents(
                model, sae, self.read, allow_mismatch=which == RANDOM, read=partial(self._latents_of, which), **options
            ),
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

    def _activations(self, kind: str, which: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the units that are drawn, as (layer, number), their activations, and random directions; read once."""
        if (kind, which) not in self.values:
            c, (model, sae) = self.config, self._condition(which)
            if kind == "latents":
                pairs = drawn_units(None, 1, sae.config.d_sae, c.n_units, c.audit.seed)
                own = read_latents(model, sae, self.read, pairs[:, 1])
                self.values[kind, which] = pairs, own, own[:, :0]
            else:
                pairs = drawn_units(None, model.n_layers, model.d_mlp, c.n_units, c.audit.seed)
                chosen = {int(layer): pairs[pairs[:, 0] == layer, 1] for layer in np.unique(pairs[:, 0])}
                self.values[kind, which] = pairs, *read_neurons(model, self.read, chosen, seed=c.audit.seed)
        return self.values[kind, which]

    def _neurons_of(
        self, which: str, model: Model, texts: Texts, chosen: Mapping[int, np.ndarray], *, seed: int
    ) -> Any:
        """Return as `read_neurons`; the directions only where all neurons that are drawn are asked for."""
        pairs, own, random = self._activations("neurons", which)
        asked = {(layer, int(i)) for layer, numbers in chosen.items() for i in numbers}
        columns = [i for i, pair in enumerate(map(tuple, pairs.tolist())) if pair in asked]
        return own[:, columns], random[:, columns]

    def _latents_of(self, which: str, model: Model, sae: SAE, texts: Texts, latents: np.ndarray) -> np.ndarray:
        pairs, own, _ = self._activations("latents", which)
        return own[:, np.isin(pairs[:, 1], latents)]

    def _labels(self, kind: str, which: str) -> tuple[pd.DataFrame, ...]:
        """Return what labels say of the largest activation in each text of units drawn as for the audit."""
        best, _ = strongest_tokens(self._activations(kind, which)[1], self.seen.text_index)
        sources = {name: list(labels)[: len(self.read)] for name, labels in self.sources.items()}
        return (scores_of_labels(best, sources, seed=self.config.seed),)

    def _groups(self, kind: str, which: str) -> tuple[pd.DataFrame, ...]:
        """Return masks, specificity, exclusivity and experts of the neurons, or latents, of a model."""
        c, labels = self.config, [str(label) for label in self.labels]
        model, sae = self._condition(which)
        sae = sae if kind == "latents" else None
        read = self.read[: c.n_choosing]
        found = text_sums(model, read, sae=sae)
        means = domain_means(*found[:2], labels[: len(read)])
        owners = knowledge_exclusivity(*means, found[2])
        judged = _first_of_each(labels, len(self.read), c.n_domain_texts)
        own = {labels[i] for i in judged}
        matrix = masking_matrix(
            model, [self.texts[i] for i in judged], [labels[i] for i in judged],
            {domain: mask for domain, mask in leading_units(owners, n=c.n_masked).items() if domain in own}, sae=sae,
            n_random=c.n_random_masks, seed=c.seed,
        )  # fmt: skip
        square: Any = matrix[matrix["evaluated"].isin(matrix["masked"])]
        exclusive = exclusive_share(*found[:2], labels[: len(read)], seed=c.seed)
        experts = experts_of(
            model, read[: c.n_expert_texts], labels[: c.n_expert_texts], sae=sae, n_experts=c.n_experts,
            n_random=c.n_random_groups, seed=c.seed,
        )  # fmt: skip
        return matrix, mask_specificity(square, seed=c.seed), pd.DataFrame([exclusive]), experts

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
            "has_domains": self.labels is not None,
            "n_texts": len(self.read),
            "n_tokens": int(_n_tokens(self.model, self.read)),
            "twin_sae_is_own": self.twin_sae is not self.sae,
            "no_upstream": {kind: why for kind, why in self.no_upstream.items() if why},
            "versions": versions(),
        }


def unit_files(unit: str) -> tuple[str, ...]:
    """Return the names in the store of what a unit leaves."""
    parts = ("verdicts", "views") if unit.startswith("heads") else ("verdicts", "views", "upstream")
    if unit == "power" or unit in LABELS:
        parts = ("power",) if unit == "power" else ("scores",)
    elif unit in GROUPS:
        parts = GROUP_TABLES
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


def _n_tokens(model: Model, texts: Texts) -> int:
    from interp.tokens import encode

    return int((~encode(model, texts, max_length=model.n_ctx).special).sum())


def _fingerprint(sae: SAE | None) -> str:
    if sae is None:
        return "none"
    weights: Mapping[str, str] = {name: sha256_array(w.detach().cpu().numpy()) for name, w in sae.weights().items()}
    return str(make_key(sae.config.to_dict(), weights, code_version="1"))
