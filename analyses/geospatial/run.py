"""The geospatial study as work units: activations in chunks of places, tests by condition, then one result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from analyses.geospatial.activations import PlaceActivations, neuron_site, placename_activations
from analyses.geospatial.places import load_places
from analyses.geospatial.prompts import Prompts, make_prompts
from analyses.geospatial.study import (
    LATENT,
    NEURON,
    RANDOM,
    SHUFFLED,
    TRAINED,
    StudyConfig,
    condition_tests,
    country_labels,
    feature_values,
    local_tests,
    summarise,
    top_features,
    top_places,
)
from analyses.geospatial.view import figures, headline, section
from analyses.geospatial.weights import spatial_weights
from interp.errors import InvalidInput, SaeMismatch
from interp.result import Result
from interp.sae import check_fit
from interp.store import Store, make_key, sha256_array, sha256_table
from interp.tokens import encode
from interp.work import load_units, run_units

if TYPE_CHECKING:
    from analyses.job import Job
    from interp.models import Model
    from interp.sae import SAE

__all__ = ["autocorrelation_study", "figures", "headline", "run", "section"]

CODE_VERSION = "1"
CHUNK = 1000  # places in a work unit
_SOURCE = {TRAINED: "trained", RANDOM: "random", SHUFFLED: "trained"}


def run(job: Job) -> Result:
    """Run the study of a job, keeping finished units in its store."""
    c = job.config
    places = load_places(c.places)
    config = StudyConfig(template=c.template, k=c.k, permutations=c.permutations, seed=c.seed)
    make_prompts(places, config.template)  # refuse a template before anything heavy is loaded
    _require_enough(places, config)
    return autocorrelation_study(
        job.model, job.sae, places, twin=job.twin, twin_sae=job.twin_sae, config=config, store=job.store
    )


def autocorrelation_study(
    model: Model,
    sae: SAE,
    places: pd.DataFrame,
    *,
    twin: Model | None = None,
    twin_sae: SAE | None = None,
    config: StudyConfig | None = None,
    store: Store | None = None,
) -> Result:
    """Test every latent and neuron for spatial autocorrelation over placenames, beside its nulls.

    Args:
        model: from `interp.load_model`.
        sae: from `interp.load_sae`; read where its config says.
        places: from `load_places`: name, lat, lon and, for the test within countries, country.
        twin: the random-weights model; loaded from the model's name if None.
        twin_sae: the SAE that reads the twin, best one trained on it; `sae` if None.
        config: choices that change the numbers; default `StudyConfig()`.
        store: keeps finished units, so that a killed study goes on.

    Returns:
        `Result`: `.table` one row a condition, unit and feature; `.tables` summary, top_values (place x feature),
        top_places, clusters and places.

    Raises:
        InvalidInput: too few places for the neighbours. UnknownSite, SaeMismatch: model and SAE do not fit.
    """
    config = config or StudyConfig()
    places = places.reset_index(drop=True)
    _require_enough(places, config)
    if twin is None:
        from interp.models import load_model

        twin = load_model(model.name, weights="random", seed=config.seed)
    readers = {"trained": (model, sae), "random": (twin, _same_site(twin_sae, sae))}
    mismatches = check_fit(model, sae, allow_mismatch=True).mismatches
    keeper = _Keeper(store, places, config)
    prompts = make_prompts(places, config.template)
    acts = {name: keeper.activations(name, *reader, prompts) for name, reader in readers.items()}
    W = spatial_weights(places, k=config.k)
    countries, within = country_labels(places)
    tests = keeper.tests(lambda name: condition_tests(name, acts[_SOURCE[name]], W, config, countries=countries))
    tables = _derived(tests, acts["trained"], places, W, config)
    about = {
        **_provenance(model, sae, config, keeper),
        "gives_region": prompts.gives_region,
        "sae_mismatch": list(mismatches),
        "twin_sae_is_own": readers["random"][1] is not sae,
        "top_unit": top_unit(tests, config),
        "within_country": within,
        "n_coincident": len(W.coincident),
    }
    return Result(name="geospatial", table=tests, tables=tables, provenance=about, view="analyses.geospatial.view:plot")


def _same_site(twin_sae: SAE | None, sae: SAE) -> SAE:
    """Return the SAE of the twin, which has to read where that of the model reads."""
    if twin_sae is None:
        return sae
    if twin_sae.config.site != sae.config.site:
        raise SaeMismatch(
            f"the SAE of the twin reads {twin_sae.config.site} and that of the model {sae.config.site}; a control has "
            "to read the same site. Give one that does, or none: then the model's own SAE reads the twin."
        )
    return twin_sae


class _Keeper:
    """The units of one study: computed once, kept in the store where there is one."""

    def __init__(self, store: Store | None, places: pd.DataFrame, config: StudyConfig) -> None:
        self.store, self.places, self.config = store, places, config
        self.inputs: dict[str, str] = {"places": sha256_table(places)}

    def activations(self, name: str, model: Model, sae: SAE, prompts: Prompts) -> PlaceActivations:
        """Return the activations of a model at every place."""
        self.inputs |= {
            f"{name} model": model.fingerprint,
            f"{name} reading": reading_fingerprint(model, prompts),
            f"{name} sae": sae_fingerprint(sae),
        }
        choices = {"template": self.config.template, "pool": self.config.pool, "site": sae.config.site, "chunk": CHUNK}
        inputs = {k: v for k, v in self.inputs.items() if k == "places" or k.startswith(f"{name} ")}

        def compute(unit: str) -> tuple[Any, dict[str, np.ndarray]]:
            part = _slice(prompts, int(unit) * CHUNK, CHUNK)
            acts = placename_activations(model, part, str(sae.config.site), sae=sae, pool=self.config.pool)
            return acts.latents, {"neurons": acts.neurons, "n_tokens": acts.n_tokens}

        units = [f"{i:05d}" for i in range(-(-len(prompts.texts) // CHUNK))]
        found = self._units(
            units, compute, f"activations of the {name} model", choices, inputs,
            lambda unit: tuple(f"geospatial/{name}/{kind}-{unit}.safetensors" for kind in ("latents", "neurons")),
        )  # fmt: skip
        dense = [part for _, part in found]
        return PlaceActivations(
            sparse.csr_matrix(sparse.vstack([latents for latents, _ in found])),
            np.concatenate([part["neurons"] for part in dense]),
            np.concatenate([part["n_tokens"] for part in dense]),
        )

    def tests(self, compute: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
        """Return the tests of every condition, one below the other."""
        found = self._units(
            [TRAINED, RANDOM, SHUFFLED], compute, "tests", self.config.to_dict(), self.inputs,
            lambda unit: f"geospatial/tests/{unit.replace(' ', '-')}.parquet",
        )  # fmt: skip
        return pd.concat(found, ignore_index=True)

    def _units(self, units, compute, desc, choices, inputs, name_of) -> list[Any]:
        if self.store is None:
            return [compute(unit) for unit in units]
        key = make_key(choices, inputs, code_version=CODE_VERSION)
        options = {"store": self.store, "name_of": name_of, "key_of": lambda _: key}
        run_units(units, compute, desc=desc, **options)
        kept = load_units(units, **options)
        return [kept[unit] for unit in units]


def sae_fingerprint(sae: SAE) -> str:
    """Return the sha256 over the config and the weights of an SAE."""
    weights = {name: sha256_array(tensor.detach().cpu().numpy()) for name, tensor in sae.weights().items()}
    return str(make_key(sae.config.to_dict(), weights, code_version="1"))


def reading_fingerprint(model: Model, prompts: Prompts) -> str:
    """Return the sha256 over what a model is given: token ids with BOS, which of them are the name, and its dtype.

    Tokenizer and BOS policy are no weights, so the fingerprint of the model does not know them.
    """
    encoded = encode(model, prompts.texts, spans=prompts.spans)
    arrays = {"ids": encoded.ids, "starts": encoded.starts, "span_mask": encoded.span_mask}
    hashes = {name: sha256_array(np.asarray(array)) for name, array in arrays.items()}
    return str(make_key({"dtype": str(model.dtype)}, hashes, code_version="1"))


def _derived(
    tests: pd.DataFrame, acts: PlaceActivations, places: pd.DataFrame, W: Any, config: StudyConfig
) -> dict[str, pd.DataFrame]:
    """Return the tables that follow from the tests: summary, top features, their places and clusters."""
    unit = top_unit(tests, config)
    chosen = top_features(tests, config, unit=unit)
    values = feature_values(acts.latents if unit == LATENT else acts.neurons, chosen)
    return {
        "summary": summarise(tests, config),
        "top_values": values,
        "top_places": top_places(values, places),
        "clusters": local_tests(values.iloc[:, :1], W, config),
        "places": places.assign(n_tokens=acts.n_tokens),
    }


def top_unit(tests: pd.DataFrame, config: StudyConfig) -> str:
    """Return the unit whose features are drawn: latents, unless none of them is significant and a neuron is."""
    if top_features(tests, config, unit=LATENT, n=1) or not top_features(tests, config, unit=NEURON, n=1):
        return LATENT
    return NEURON


def _provenance(model: Model, sae: SAE, config: StudyConfig, keeper: _Keeper) -> dict[str, Any]:
    from interp.provenance import versions

    return {
        "analysis": "geospatial",
        "code_version": CODE_VERSION,
        "model": model.name,
        "site": str(sae.config.site),
        "neuron_site": str(neuron_site(str(sae.config.site))),
        "config": config.to_dict(),
        "inputs": keeper.inputs,
        "seed": config.seed,
        "versions": versions(),
    }


def _slice(prompts: Prompts, start: int, n: int) -> Prompts:
    part = slice(start, start + n)
    return Prompts(prompts.texts[part], prompts.spans[part], prompts.template, prompts.gives_region)


def _require_enough(places: pd.DataFrame, config: StudyConfig) -> None:
    least = max(config.k + 2, 2 * config.min_active)
    if len(places) < least:
        raise InvalidInput(
            f"{len(places)} places are too few for k={config.k} neighbours and features active on at least "
            f"{config.min_active} places; give at least {least}, or a smaller k."
        )
