"""Activations that are read when first needed, and the hashes of what they follow from.

A killed run goes on from its finished rows. What is finished has to be known before a model is run, so that the key of
a row is made of weights, tokens and choices, and never of the activations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.probing.compute import Data, ProbeConfig, read_data
from analyses.probing.labels import group_codes
from analyses.probing.layers import EMBED, RANDOM, TRAINED, Units, at_once, held_out_groups, layer_tables
from interp.store import Key, Store, make_key, sha256_array

if TYPE_CHECKING:
    from interp.models import Model

CODE_VERSION = "2"


@dataclass(frozen=True)
class Source:
    """Rows at sites: condition -> names of its sites; what reads a condition, {site: [n, d]}; hashes of the inputs."""

    sites: dict[str, list[str]]
    read: Callable[[str], Mapping[str, np.ndarray]]
    inputs: dict[str, str]

    def at(self, rows: np.ndarray) -> Source:
        """Return the source of some rows, int or bool."""
        inputs = {**self.inputs, "rows": sha256_array(rows)}
        return Source(self.sites, lambda c: {s: x[rows] for s, x in self.read(c).items()}, inputs)


def model_source(
    model: Model,
    twin: Model | None,
    texts: Sequence[str],
    sites: Sequence[str] | None,
    *,
    seed: int,
    pool: str = "last",
    spans: Any = None,
    reshape: Callable[[Any, str], np.ndarray] | None = None,
    choice: str = "",
) -> Source:
    """Return what a model and its random-weights twin make of texts, at the embedding and at `sites`.

    Args:
        twin: loaded from the model's name if None. sites: default resid_post of every layer.
        reshape: (activations, site) -> rows, where a text is not one row; `choice` tells one reshape from another.

    Raises:
        UnknownSite: a site that the model has not.
    """
    from interp.activations import provenance
    from interp.capturing import capture
    from interp.models import find_site, load_model
    from interp.tokens import encode

    if twin is None:
        twin = load_model(model.name, weights="random", seed=seed, bos=model.bos)
    wanted = [f"resid_post.{i}" for i in range(model.n_layers)] if sites is None else [str(s) for s in sites]
    names = [EMBED, *(s for s in wanted if s != EMBED)]
    found = [find_site(model, name) for name in names]
    models = {TRAINED: model, RANDOM: twin}

    @cache
    def read(condition: str) -> dict[str, np.ndarray]:
        acts = capture(models[condition], texts, names, pool=pool, spans=spans, bos=models[condition].bos)
        return {s: np.asarray(acts[s]) if reshape is None else reshape(acts, s) for s in names}

    inputs = {"tokens": sha256_array(encode(model, texts).ids)}
    for condition, each in models.items():
        about = provenance(each, texts, found, spans=spans, pool=pool, bos=each.bos, choice=choice)
        inputs[condition] = make_key(about, {}, code_version=CODE_VERSION).digest
    return Source(dict.fromkeys(models, names), read, inputs)


def probe_source(
    source: Source,
    labels: Any,
    groups: Any,
    types: Any,
    config: ProbeConfig,
    *,
    test_share: float,
    store: Store | None = None,
    folder: str = "probing/layers",
) -> tuple[pd.DataFrame, pd.DataFrame, Key]:
    """Return the rows of every site, those of the chosen ones on the test groups, and the key of both.

    Args:
        store: keeps each finished row under `folder`.

    Raises:
        InvalidInput: as `probe`.
    """
    y = np.asarray(labels)
    groups = group_codes(groups, len(y))
    read_data(np.zeros((len(y), 1)), y, groups, types, config)  # refuse before anything heavy is run
    keep = held_out_groups(groups, test_share, seed=config.seed)
    hashes = {**source.inputs, "labels": sha256_array(y.astype(str)), "groups": sha256_array(groups)}
    if types is not None:
        hashes["types"] = sha256_array(np.asarray(types).astype(str))
    choices = {**config.to_dict(), "test_share": test_share, "sites": source.sites}
    key = make_key(choices, hashes, code_version=CODE_VERSION)

    def data_of(condition: str, site: str) -> Data:
        return read_data(source.read(condition)[site], y, groups, types, config)

    units = at_once if store is None else kept_units(store, key, folder)
    return *layer_tables(source.sites, data_of, keep, config, units), key


def kept_units(store: Store, key: Key, folder: str) -> Units:
    """Return what computes tables that the store does not hold for a key, and reads the others."""
    from interp.work import load_units, run_units

    options: dict[str, Any] = {
        "store": store,
        "name_of": lambda unit: f"{folder}/{unit.replace(' ', '-')}.parquet",
        "key_of": lambda _: key,
    }

    def units(ids: Sequence[str], compute: Callable[[str], pd.DataFrame]) -> dict[str, pd.DataFrame]:
        run_units(list(ids), compute, desc=folder, **options)
        return load_units(ids, **options)

    return units
