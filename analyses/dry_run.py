"""What a run would do, counted without reading a weight: work units, texts, bytes, memory, and what is finished."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyses.job import Job, RunConfig
from analyses.registry import find_analyses
from analyses.sizes import Sizes, human_bytes, sizes_of
from interp.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

    from interp.store import Store

Unit = tuple[str, ...]
"""Names of the artefacts of one work unit."""
_ROW_BYTES = 80  # of a table of tests in parquet
_PAGE_BYTES = 4e6  # figures of an analysis and its part of the report
_ACTIVE = 32  # latents a token that are not 0, where an SAE does not fix their number


@dataclass(frozen=True)
class Part:
    """Work units of one kind: the texts that one pass over them reads, bytes written, arrays held in memory.

    `choices` must stand in the recorded key of a unit that is to count as finished.
    """

    what: str
    units: Sequence[Unit]
    texts: Sequence[str] = ()
    bytes: float = 0.0
    memory: float = 0.0
    choices: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DryRun:
    """The plan of a run, one row an analysis and kind of unit, and what the machine has for it."""

    table: pd.DataFrame
    folder: Path
    disk: float
    memory: float | None

    def shown(self) -> pd.DataFrame:
        """Return the table with bytes and memory written for people."""
        return self.table.assign(**{name: self.table[name].map(human_bytes) for name in ("bytes", "memory")})

    def text(self) -> str:
        """Return the sums, and what is short, in a few lines."""
        t: Any = self.table
        todo = int((t["units"] - t["finished"]).sum())
        writes, peak = float(t["bytes"].sum()), float(t["memory"].max())
        has = "unknown" if self.memory is None else human_bytes(self.memory)
        lines = [
            f"{todo:,} of {int(t['units'].sum()):,} work units to do; nothing was run.",
            f"writes about {human_bytes(writes)} ({human_bytes(self.disk)} free), peak memory about "
            f"{human_bytes(peak)} ({has} free); both are estimates.",
            "finished: whole and of the same choices. Whether the weights are the same is seen when the run begins.",
        ]
        if writes > self.disk:
            lines.append("warning: the disk is too small; give another --out.")
        if self.memory is not None and peak > self.memory:
            lines.append("warning: memory is short; give fewer places, --no-survey, or a smaller model.")
        return "\n".join(lines)


def dry_run(config: RunConfig, folder: Path) -> DryRun:
    """Return the plan of a run into a folder, which is neither made nor changed.

    The configuration and the tokenizer of the model are read, and the configuration of the SAE; its weights too where
    it is of a foreign format.

    Raises:
        InterpError: what the run itself would refuse before it begins.
    """
    import pandas as pd

    from analyses.doctor import disk_here, memory_here
    from interp.store import Store

    chosen = find_analyses(config.analyses)
    outline = Outline(config)
    store = Store(folder, readonly=True) if any(folder.glob("manifest*.jsonl")) else None
    rows = []
    for analysis in chosen:
        for part in _PARTS[analysis.name](outline):
            done = [unit for unit in part.units if store is not None and _finished(store, unit, part.choices)]
            left = 1 - len(done) / len(part.units) if part.units else 1.0
            rows.append(
                {
                    "analysis": analysis.name,
                    "part": part.what,
                    "units": len(part.units),
                    "finished": len(done),
                    "prompts": len(part.texts),
                    "tokens": outline.count(part.texts),
                    "bytes": int(left * part.bytes),
                    "memory": int(outline.sizes.loaded_bytes + part.memory),
                }
            )
    return DryRun(pd.DataFrame(rows), folder, disk_here(folder), memory_here())


class Outline:
    """What is known of a run before any weight is read."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.job = Job(config, store=None)  # type: ignore[arg-type]  # its models are never asked for

    @cached_property
    def source(self) -> Any:
        from interp.sources import find_source

        return find_source(self.config.model)

    @cached_property
    def sizes(self) -> Sizes:
        return sizes_of(self.source)

    @cached_property
    def sae(self) -> Any:
        """The configuration of the SAE, None where the run has none."""
        return sae_config(self.job.sae_name) if self.job.has_sae else None

    @cached_property
    def is_atlas(self) -> bool:
        return self.config.model.partition("@")[0] == "atlas"

    @property
    def places(self) -> pd.DataFrame:
        return self.job.places

    @cached_property
    def _tokenizer(self) -> Any:
        from interp.sources import load_tokenizer

        return load_tokenizer(self.source)

    def count(self, texts: Sequence[str]) -> int:
        """Return the tokens of texts, BOS included.

        Raises:
            InvalidInput: no BOS policy is known.
        """
        from interp.tokens import encode

        bos = self.config.bos or self.sizes.bos
        if bos is None:
            raise InvalidInput(f"the BOS policy of {self.config.model} is not known; give --bos, that of the SAE.")
        return len(encode(self._tokenizer, list(texts), bos=bos).ids) if len(texts) else 0


def sae_config(name: str) -> Any:
    """Return the configuration of an SAE; only one of a foreign format is loaded for it."""
    from interp.errors import InterpError
    from interp.sae import load_sae
    from interp.sae.config import SaeConfig
    from interp.sae.formats import OWN_KEY
    from interp.sources import ASSETS

    for file in (ASSETS / "saes" / name / "cfg.json", Path(name) / "cfg.json"):
        try:
            cfg = json.loads(file.read_bytes())
            return SaeConfig(**{"d_in": cfg["d_in"], "d_sae": cfg["d_sae"], **cfg["metadata"][OWN_KEY]})
        except (OSError, ValueError, KeyError, TypeError, InterpError):
            continue
    return load_sae(name).config


def _finished(store: Store, unit: Unit, choices: Mapping[str, Any]) -> bool:
    """Return whether every artefact of a unit is whole and was made from these choices."""
    for name in unit:
        if store.state(name).status != "done":
            return False
        key = store.entry(name).key
        if key is None or any(key.config.get(choice) != value for choice, value in choices.items()):
            return False
    return True


def _geospatial(o: Outline) -> list[Part]:
    from analyses.geospatial.prompts import make_prompts
    from analyses.geospatial.run import _require_enough, _with_country_names
    from analyses.geospatial.study import NAMES, RANDOM, SHUFFLED, TRAINED, WITHIN, StudyConfig, country_labels
    from analyses.geospatial.study_units import CHUNK
    from analyses.geospatial.survey import readings_for

    c = o.config
    study = StudyConfig(template=c.template, k=c.k, permutations=c.permutations, seed=c.seed)
    places = _with_country_names(o.places)
    _require_enough(places, study)
    texts, n = make_prompts(places, c.template).texts, len(places)
    d_sae, k = (0, 0) if o.sae is None else (o.sae.d_sae, o.sae.k or _ACTIVE)
    latents = 8.0 * n * min(d_sae, 2 * k)  # an index and a value each; tokens of a name share some
    neurons = 4.0 * n * o.sizes.d_mlp
    kinds = ("neurons", "latents") if d_sae else ("neurons",)
    chunks = [f"{i:05d}" for i in range(-(-n // CHUNK))]
    parts = [
        Part(
            f"activations, {model} model",
            [tuple(f"geospatial/{model}/{kind}-{chunk}.safetensors" for kind in kinds) for chunk in chunks],
            texts, neurons + latents, neurons + latents, {"template": c.template},
        )
        for model in ("trained", "random")
    ]  # fmt: skip
    conditions = [TRAINED, RANDOM, SHUFFLED, *([WITHIN] if country_labels(places)[0] is not None else []), NAMES]
    choices = {name: getattr(c, name) for name in ("template", "k", "permutations", "seed")}
    features = d_sae + o.sizes.d_mlp
    held = 2 * (neurons + latents) + 8.0 * n * (c.permutations + 1) + 16.0 * n * min(features, 4096)
    tests = [(f"geospatial/tests/{'-'.join(name.split())}.parquet",) for name in conditions]
    parts.append(Part("tests", tests, (), _ROW_BYTES * features * len(tests), held, choices))
    if c.survey:
        readings = readings_for(places)
        cells = [f"{condition} {r.name.replace(',', '')}" for r in readings for condition in (TRAINED, RANDOM)]
        units = [(f"geospatial/survey/{'-'.join(cell.split())}.parquet",) for cell in cells]
        read = [text for r in readings for text in make_prompts(places, r.template, over=r.over).texts]
        acts = min(2e9, 4.0 * n * (o.sizes.d_mlp + o.sizes.d_model) * o.sizes.n_layers)
        parts.append(Part("survey of the layers, by model", units, read, 2e4 * len(units), held + acts, choices))
    return [*parts, _pages("geospatial", (_ROW_BYTES * features * len(tests)))]


def _decoding(o: Outline) -> list[Part]:
    import pandas as pd

    from analyses.geospatial.decode_baselines import COUNTRY, NGRAMS, TOKENS
    from analyses.geospatial.decode_run import _CHUNK, unmentioned_cities
    from analyses.geospatial.decode_tables import BASELINE, RANDOM, TRAINED
    from analyses.geospatial.prompts import make_prompts

    c, places = o.config, o.places
    if c.model == "atlas" and c.places == "atlas":
        held_out = unmentioned_cities()
        seen: Any = places[~places["name"].isin(held_out["name"])]
        places = pd.concat([seen, held_out], ignore_index=True)
    texts, n = make_prompts(places, c.template).texts, len(places)
    sites = ["embed", *(f"resid_post.{i}" for i in range(o.sizes.n_layers))]
    values = 4.0 * n * o.sizes.d_model * len(sites)
    chunks = [f"{i:05d}" for i in range(-(-n // _CHUNK))]

    def units(place: str, names: Sequence[str]) -> list[Unit]:
        return [(f"geospatial/decoding/{place}/{name}.safetensors".replace(" ", "-"),) for name in names]

    both = (TRAINED, RANDOM)
    parts = [
        Part(f"activations, {name}", units(f"{name}/names", chunks), texts, values, 2 * values, {"pool": "last"})
        for name in both
    ]
    with_country = "country" in places.columns and bool(places["country"].notna().any())
    baselines = [NGRAMS, TOKENS, *([COUNTRY] if with_country else [])]
    probes = [unit for name in both for unit in units(name, sites)] + units(BASELINE, baselines)
    choices = {"template": c.template, "seed": c.seed}
    each = 120.0 * n
    return [*parts, Part("probes", probes, (), each * len(probes), 4 * values + 5e8, choices), _pages("decoding", 8e5)]


def _probing(o: Outline) -> list[Part]:
    import numpy as np

    from analyses.probing.places import CARRIERS, COUNTRY, carried, country_atlas, place_tasks

    tasks, _ = place_tasks(o.places.reset_index(drop=True), country_atlas(o.config.model), seed=o.config.seed)
    if not tasks:
        return [_pages("probing", 1e4)]
    rows = np.unique(np.concatenate([task.rows for task in tasks]))
    texts, _ = carried(o.places["name"].astype(str).iloc[rows].tolist())
    sites = ["embed", *(f"resid_post.{i}" for i in range(o.sizes.n_layers))]
    choices = {"seed": o.config.seed}
    held = 2 * 4.0 * len(texts) * o.sizes.d_model * len(sites) + 8.0 * len(texts) * len(CARRIERS) * 300
    parts = []
    for task in tasks:
        folder = f"probing/{task.name.replace(' ', '-')}"
        pairs = [f"{condition}/{site}" for condition in ("trained", "random weights") for site in sites]
        units = [(f"{folder}/{unit.replace(' ', '-')}.parquet",) for unit in [*pairs, "chosen"]]
        parts.append(Part(f"layers, {task.name}", units, texts, 2e4 * len(units), held, choices))
    kinds = [f"kinds-{task.name.replace(' ', '-')}" for task in tasks]
    if any(task.name == COUNTRY for task in tasks):
        sae_read = o.sae is not None and str(o.sae.site) in sites and (o.config.sae is not None or o.is_atlas)
        kinds += ["random-labels", "causal", *(["features"] if sae_read else [])]
    units = [(f"probing/units/{unit}.parquet",) for unit in kinds]
    return [
        *parts,
        Part("other probes, erasure", units, (), 2e4 * len(units), 2 * held, choices),
        _pages("probing", 1e6),
    ]


def _attention(o: Outline) -> list[Part]:
    from analyses.attention.run import _NAMES, CONTROL_SAE, LENGTH, N_REPEATS, N_TEXTS
    from interp.sae import list_saes

    saes = list(range(o.sizes.n_layers)) if o.config.model == "atlas" else []
    control = bool(saes) and CONTROL_SAE in list_saes()
    if o.config.sae is not None:
        saes, control = ([0] if str(o.sae.site).startswith("z.") else []), False
    names = ["heads", "profiles", "prefixes", *(["maps", "circuit"] if o.is_atlas else [])]
    names += [*(["latents"] if saes else []), *(["random_latents"] if control else [])]
    texts = o.job.texts
    if texts is None and o.is_atlas:
        from interp.atlas import facts

        texts = [text.text for text in islice(facts().texts(o.config.seed + 1), N_TEXTS)]
    units = [tuple(f"attention/units/{part}.parquet" for part in _NAMES.get(name, (name,))) for name in names]
    rows = [*(texts or [])[:N_TEXTS]]
    tokens = (len(rows) + N_REPEATS) * LENGTH
    held = 4.0 * tokens * (o.sizes.d_model * (o.sizes.n_layers + 4) + o.sizes.n_heads * LENGTH * o.sizes.n_layers)
    return [Part("units", units, rows, 3e5 * len(units), held, {"seed": o.config.seed}), _pages("attention", 2e6)]


def _polysemanticity(o: Outline) -> list[Part]:
    from analyses.polysemanticity.run import planned_units
    from analyses.polysemanticity.study import StudyConfig

    texts, units = planned_units(o.job, o.sae)
    held = 4.0 * o.count(texts) * (o.sizes.d_model + o.sizes.n_heads * 64 + StudyConfig().n_units)
    parts = [Part("units", units, texts, 5e4 * len(units), held, {"seed": o.config.seed})] if units else []
    return [*parts, _pages("polysemanticity", 1e6)]


def _pages(name: str, tables: float) -> Part:
    """Return the tables, figures and page of an analysis: no work unit, but bytes."""
    return Part("tables, figures, report", [], (), tables + _PAGE_BYTES)


_PARTS = {
    "geospatial": _geospatial,
    "decoding": _decoding,
    "probing": _probing,
    "attention": _attention,
    "polysemanticity": _polysemanticity,
}
