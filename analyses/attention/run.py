"""The attention study as work units: heads, token maps, relation profiles, families of latents, and the circuit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.attention.attributions import on_device
from analyses.attention.circuits import circuit_study
from analyses.attention.copy_suppression import suppression_scores
from analyses.attention.families import families_of_layers, family_counts
from analyses.attention.family_rules import ORDER, FamilyRule
from analyses.attention.heads import head_scores
from analyses.attention.masses import latent_events
from analyses.attention.prefixes import prefix_length_curve
from analyses.attention.profiles import relation_profile
from analyses.attention.prompt_pairs import indirect_object_pairs
from analyses.attention.relatedness import relatedness_of_layers, relatedness_shares
from analyses.attention.sae_fit import require_fit
from analyses.attention.token_maps import ALL, token_map_scores, word_pairs
from analyses.attention.token_rows import TokenRows, joined, random_repeats, token_rows
from analyses.attention.view import example_latents, figures, headline, section
from interp.errors import ModelMismatch
from interp.provenance import provenance
from interp.result import Result
from interp.sites import Site
from interp.store import make_key, sha256_array
from interp.work import load_units, run_units

if TYPE_CHECKING:
    from analyses.job import Job
    from interp.models import Model
    from interp.sae import SAE

__all__ = ["attention_study", "example_latents", "figures", "headline", "run", "section"]

CODE_VERSION = "3"
VIEW = "analyses.attention.view:plot"
TRAINED, RANDOM = "trained", "random weights"
N_TEXTS, N_REPEATS, LENGTH = 220, 24, 64
PREFIXES = (1, 2, 3, 5)
N_SUPPRESSION = 32  # texts on which every head is ablated
N_NULL = 199  # random sets of latents
CONTROL_SAE = "atlas-random/z.2"
NOTES = (
    "Attribution is of the pre-activation of a latent; what TopK does afterwards is a competition among latents.",
    "Families are decided by rule from attribution and context, never by reading examples.",
    "A family is a statement about this text: rows without repeats can show no induction.",
)


def run(job: Job) -> Result:
    """Run the study of a job, keeping finished units in its store."""
    texts = job.texts  # refuse a file before anything heavy is loaded
    saes, control = job_saes(job)
    rows = None if texts is None else default_rows(job.model, seed=job.config.seed, texts=texts)
    return attention_study(
        job.model, saes, twin=job.twin, control=control, rows=rows, seed=job.config.seed, store=job.store
    )


def job_saes(job: Job) -> tuple[dict[int, SAE], dict[int, SAE]]:
    """Return the SAEs on z that a job has, by layer, and those of its random-weights twin.

    The one that the user chose if it is on z; else those bundled with the model; else none.
    """
    from interp.sae import list_saes, load_sae

    if job.config.sae is not None:
        site = Site.parse(str(job.sae.config.site))
        return ({site.layer: job.sae}, {}) if site.component == "z" and site.layer is not None else ({}, {})
    if job.config.model != "atlas":
        return {}, {}
    saes = {layer: load_sae(f"atlas/z.{layer}") for layer in range(job.model.n_layers)}
    control = load_sae(CONTROL_SAE) if CONTROL_SAE in list_saes() else None
    # random weights come from the initialisation of the installed transformers; another release may draw others
    if control is None or control.config.model_fingerprint != job.twin.fingerprint:
        return saes, {}
    return saes, {int(Site.parse(str(control.config.site)).layer or 0): control}


def attention_study(
    model: Model,
    saes: dict[int, SAE],
    *,
    seed: int,
    twin: Model | None = None,
    control: dict[int, SAE] | None = None,
    rows: TokenRows | None = None,
    n_positions: int = 128,
    store: Any = None,
) -> Result:
    """Return what the attention layers move and why: heads, families of latents, and the circuit of a task.

    Args:
        saes: layer -> SAE on z; empty: heads alone.
        twin: the model with random weights; control: SAEs trained on it.
        rows: default texts of the bundled model and random repeats; of another model random repeats alone.
        n_positions: tokens at which context is resampled.
        store: keeps finished units, so that a killed study goes on.

    Returns:
        Result "attention": `.table` one row a latent (`classify_feature_families`), or without SAEs one row a score and
        head; `.tables` heads, profiles, prefixes (`prefix_length_curve`) and, where there is something to ask, maps,
        counts, random_latents, relatedness (`head_latent_relatedness`), related_heads (shares of heads), circuit,
        circuit_summary, circuit_latents and circuit_curve.

    Raises:
        SaeMismatch: an SAE does not fit the model.
    """
    given = default_rows(model, seed=seed) if rows is None else rows
    for sae in saes.values():
        require_fit(model, sae, given)
    rule = FamilyRule()
    options = {"seed": seed, "rule": rule, "n_positions": n_positions}
    units: dict[str, Callable[[], dict[str, pd.DataFrame]]] = {
        "heads": lambda: {"heads": _heads(model, twin, given, seed)},
        "profiles": lambda: {"profiles": relation_profile(model, given, seed=seed, twin=twin)},
        "prefixes": lambda: {"prefixes": prefix_length_curve(model, seed=seed, lengths=PREFIXES, n_rows=48)},
    }
    if is_atlas(model):
        units["maps"] = lambda: {"maps": _maps(model, twin, seed)}
        units["circuit"] = lambda: _circuit(model, saes, seed)
    if saes:
        units["latents"] = lambda: _latents(model, saes, given, "", options)
    if control and twin is not None:
        units["random_latents"] = lambda: _latents(twin, control, given, "random_", options)
    inputs = {"model": model.fingerprint, "twin": "none" if twin is None else twin.fingerprint}
    inputs |= {"rows": _rows_hash(given), **_sae_hashes(saes, "sae"), **_sae_hashes(control or {}, "control")}
    choices = {"seed": seed, "rule": rule.to_dict(), "n_positions": n_positions}
    key = make_key(choices, inputs, code_version=CODE_VERSION)
    tables = _tables(units, store, key)
    if "latents" in tables:
        tables["counts"] = _counts(tables)
        tables["relatedness"], tables["related_heads"] = _relatedness(tables)
    main = tables.pop("latents", tables["heads"])
    about = provenance(
        key, seed=seed, model=model.name, layers=sorted(saes), n_rows=len(given), n_tokens=int(given.content.sum()),
        rule=rule.to_dict(), order=list(ORDER), natural_text=is_atlas(model) or rows is not None,
        has_latents=bool(saes),
    )  # fmt: skip
    return Result("attention", main, tables, about, VIEW, NOTES)


def is_atlas(model: Model) -> bool:
    """Return whether this is the bundled model (at any step of its training), whose words and tasks are known."""
    return model.name.partition("@")[0] == "atlas" and model.weights == "trained"


def default_rows(model: Model, *, seed: int, texts: Sequence[str] | None = None) -> TokenRows:
    """Return texts (of the bundled model fresh ones) and random repeats; of another model random repeats alone."""
    repeats = random_repeats(model, N_REPEATS, length=LENGTH, seed=seed).repeated
    if texts is None and is_atlas(model):
        from interp.atlas import facts

        texts = [text.text for text in islice(facts().texts(seed + 1), N_TEXTS)]
    if texts is None:
        return repeats
    return joined(token_rows(model, list(texts[:N_TEXTS]), max_length=LENGTH), repeats)


_NAMES = {
    "circuit": ("circuit", "circuit_summary", "circuit_latents", "circuit_curve"),
    "latents": ("latents", "relatedness"),
    "random_latents": ("random_latents", "random_relatedness"),
}


def _tables(units: dict[str, Callable[[], dict[str, pd.DataFrame]]], store: Any, key: Any) -> dict[str, pd.DataFrame]:
    if store is None:
        return {name: table for compute in units.values() for name, table in compute().items() if len(table)}

    def names(unit: str) -> tuple[str, ...]:
        return tuple(f"attention/units/{name}.parquet" for name in _NAMES.get(unit, (unit,)))

    def compute(unit: str) -> Any:
        found = units[unit]()
        return tuple(found.get(name, pd.DataFrame()) for name in _NAMES.get(unit, (unit,)))

    options = {"store": store, "name_of": names, "key_of": lambda _: key}
    run_units(list(units), compute, desc="attention", **options)
    kept = load_units(list(units), **options)
    return {
        name: table for unit in units for name, table in zip(_NAMES.get(unit, (unit,)), kept[unit], strict=True)
        if len(table)
    }  # fmt: skip


def _heads(model: Model, twin: Model | None, rows: TokenRows, seed: int) -> pd.DataFrame:
    """Return the scores of heads on random tokens, and of copy suppression on the first texts where it can be had."""
    pairs = indirect_object_pairs(16, seed=seed) if is_atlas(model) else None
    scores = head_scores(model, seed=seed, twin=twin, pairs=pairs, length=LENGTH, n_tokens=128)
    try:
        suppression = suppression_scores(model, rows.part(slice(0, N_SUPPRESSION)), seed=seed, twin=twin)
    except ModelMismatch:  # a norm after attention
        return scores
    return pd.concat([scores, suppression], ignore_index=True)


def _maps(model: Model, twin: Model | None, seed: int) -> pd.DataFrame:
    """Return the token maps of successors with their mean, and of plurals, opposites, past tenses and capitals."""
    successors = token_map_scores(model, seed=seed, twin=twin)
    words: Any = token_map_scores(model, word_pairs(), seed=seed, twin=twin)
    return pd.concat([successors, words[words["kind"] != ALL]], ignore_index=True)


def _circuit(model: Model, saes: dict[int, SAE], seed: int) -> dict[str, pd.DataFrame]:
    found = circuit_study(model, saes or None, seed=seed, n_pairs=24, n_single=8)
    return {"circuit": found.table, **{f"circuit_{name}": table for name, table in found.tables.items()}}


def _latents(model: Model, saes: dict[int, SAE], rows: TokenRows, prefix: str, options: Any) -> dict[str, pd.DataFrame]:
    """Return the families of latents and how related those of each head are, from the same events."""
    saes = {layer: on_device(sae, model) for layer, sae in saes.items()}
    events = latent_events(model, saes, rows)
    families = families_of_layers(model, saes, rows, events=events, **options)
    related = relatedness_of_layers(model, saes, rows, events, seed=options["seed"], n_null=N_NULL)
    return {f"{prefix}latents": _stacked(families), f"{prefix}relatedness": related}


def _stacked(tables: dict[int, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(list(tables.values()), ignore_index=True)


def _counts(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    parts = [family_counts(tables["latents"]).assign(condition=TRAINED)]
    if "random_latents" in tables:
        parts.append(family_counts(tables["random_latents"]).assign(condition=RANDOM))
    return pd.concat(parts, ignore_index=True)


def _relatedness(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the likeness of the top latents of every head, and the shares of heads with related ones."""
    found = {TRAINED: tables["relatedness"]}
    if "random_relatedness" in tables:
        found[RANDOM] = tables.pop("random_relatedness")
    both = [
        pd.concat([made(table).assign(condition=name) for name, table in found.items()], ignore_index=True)
        for made in (lambda table: table, relatedness_shares)
    ]
    return both[0], both[1]


def _rows_hash(rows: TokenRows) -> str:
    return sha256_array(np.where(rows.mask, rows.ids, -1))


def _sae_hashes(saes: dict[int, SAE], name: str) -> dict[str, str]:
    return {
        f"{name}.{layer}.{key}": sha256_array(value.detach().cpu().numpy())
        for layer, sae in saes.items()
        for key, value in sae.weights().items()
    }
