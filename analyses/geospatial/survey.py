"""How many features are geographic in every layer, and how far that depends on where and how the model is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from analyses.geospatial.activations import PlaceActivations, Pool, layer_activations
from analyses.geospatial.moran import moran
from analyses.geospatial.prompts import Over, Prompts, make_prompts
from analyses.geospatial.study import COUNTED, LATENT, NEURON, StudyConfig, feature_tests
from analyses.geospatial.verdicts import GEOGRAPHIC, Context
from analyses.geospatial.weights import SpatialWeights
from interp.sites import Site
from interp.stats.intervals import wilson_interval

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

_PERMUTATIONS = 199  # of the survey, whose rows are counts; the study itself has as many as asked for
_JUDGED = 128  # features of a site and unit that get a verdict
_CHUNK = 500  # places of one pass
_BYTES = 2e9  # of activations held at a time


@dataclass(frozen=True)
class Reading:
    """A way to read a model at a place: prompt, tokens and pooling."""

    name: str
    template: str
    pool: Pool
    over: Over


READINGS = (
    Reading("name", "{name}", "mean", "name"),
    Reading("name, last token", "{name}", "last", "name"),
    Reading("question, last token", "{name} is a city in", "last", "prompt"),
    Reading("name and country", "{name}, {country_name}", "mean", "prompt"),
)


def readings_for(places: pd.DataFrame) -> tuple[Reading, ...]:
    """Return the readings that these places allow: without countries none that writes one."""
    return tuple(r for r in READINGS if "country_name" not in r.template or "country_name" in places.columns)


def layer_sites(model: Model, site: str) -> list[str]:
    """Return the site of every layer that is to `site` what its layer is."""
    component = Site.parse(site).component
    component = component if Site.parse(site).layer is not None else "resid_post"
    return [f"{component}.{layer}" for layer in range(model.n_layers)]


def survey_tests(
    condition: str,
    model: Model,
    places: pd.DataFrame,
    reading: Reading,
    readers: Mapping[str, SAE | None],
    W: SpatialWeights,
    config: StudyConfig,
    context: Context,
) -> pd.DataFrame:
    """Return one row a site and unit: how many features are autocorrelated, and the share that is geographic.

    Every feature is tested for autocorrelation (analytic p); of those that can be tested a random 128 are judged, which
    is what takes time.

    Args:
        readers: site -> the SAE that reads there, or None for the neurons of that layer alone.
        config: of the study; at most 199 permutations here.

    Returns:
        reading, condition, site, layer, unit, n_features, n_tested, n_significant, share_significant, median_I, max_I,
        n_judged, the verdicts of these (n_geographic, ...), share_geographic with its Wilson 95 % interval as a sample
        of the tested features (ci_low, ci_high), template, gives_region, q_cut, n_places, n_perm, seed.
    """
    small = replace(config, neighbours=(), permutations=min(config.permutations, _PERMUTATIONS))
    prompts = make_prompts(places, reading.template, over=reading.over)
    rows = []
    for site, acts in _by_site(model, prompts, readers, reading.pool):
        units: dict[str, Any] = {} if acts.latents is None else {LATENT: acts.latents}
        for unit, X in {**units, NEURON: acts.neurons}.items():
            where = {"reading": reading.name, "condition": condition, "site": site, "layer": Site.parse(site).layer}
            about = {"template": reading.template, "gives_region": prompts.gives_region, "n_perm": small.permutations}
            rows.append({**where, "unit": unit, **_counted(X, W, small, context), **about})
    return pd.DataFrame(rows)


def _counted(X: Any, W: SpatialWeights, config: StudyConfig, context: Context) -> dict[str, Any]:
    """Return the counts of one site and unit."""
    options: dict[str, Any] = {"min_active": config.min_active, "seed": config.seed}
    every: Any = moran(X, W, null="randomisation", **options)
    tested = np.flatnonzero((every["status"] == "ok").to_numpy())
    sample = np.sort(np.random.default_rng(config.seed).permutation(tested)[:_JUDGED])
    verdicts: Any = (
        feature_tests(X[:, sample], W, config, context)["verdict"] if sample.size else pd.Series(dtype=object)
    )
    significant = int((every["q"] < config.q_cut).sum())
    geographic = int((verdicts == GEOGRAPHIC).sum())
    low, high = wilson_interval(geographic, sample.size)
    return {
        "n_features": len(every),
        "n_tested": tested.size,
        "n_significant": significant,
        "share_significant": significant / tested.size if tested.size else np.nan,
        "median_I": float(every["I"].median()) if tested.size else np.nan,
        "max_I": float(every["I"].max()) if tested.size else np.nan,
        "n_judged": sample.size,
        **{column: int((verdicts == verdict).sum()) for column, verdict in COUNTED.items()},
        "share_geographic": geographic / sample.size if sample.size else np.nan,
        "ci_low": low,
        "ci_high": high,
        "q_cut": config.q_cut,
        "n_places": X.shape[0],
        "seed": config.seed,
    }


def _by_site(
    model: Model, prompts: Prompts, readers: Mapping[str, SAE | None], pool: Pool
) -> Iterator[tuple[str, PlaceActivations]]:
    """Yield the activations of each site; as many sites from one pass as memory holds, however deep the model is."""
    width = model.d_mlp + model.d_model
    at_once = max(1, int(_BYTES / (4.0 * width * len(prompts.texts))))
    sites = list(readers)
    for start in range(0, len(sites), at_once):
        some = {site: readers[site] for site in sites[start : start + at_once]}
        parts = [
            layer_activations(model, prompts.part(first, _CHUNK), some, pool=pool)
            for first in range(0, len(prompts.texts), _CHUNK)
        ]
        for site in some:
            yield site, joined([part[site] for part in parts])


def joined(parts: list[PlaceActivations]) -> PlaceActivations:
    """Return the activations of chunks of places as one."""
    latents = None
    if all(part.latents is not None for part in parts):
        latents = sparse.csr_matrix(sparse.vstack([part.latents for part in parts]))
    return PlaceActivations(
        latents,
        np.concatenate([part.neurons for part in parts]),
        np.concatenate([part.n_tokens for part in parts]),
    )
