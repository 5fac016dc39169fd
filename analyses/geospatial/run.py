"""The geospatial study as work units: activations in chunks of places, tests by condition, then one result."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.geospatial.activations import PlaceActivations, name_tokens, neuron_site
from analyses.geospatial.confounds import place_covariates
from analyses.geospatial.name_features import ngram_indicators, token_indicators
from analyses.geospatial.places import load_places
from analyses.geospatial.prompts import make_prompts
from analyses.geospatial.study import (
    LATENT,
    NAMES,
    NEURON,
    NGRAM,
    RANDOM,
    SHUFFLED,
    TOKEN,
    TRAINED,
    WITHIN,
    StudyConfig,
    condition_tests,
    country_labels,
    feature_values,
    local_tests,
    neighbour_summary,
    reach,
    summarise,
    top_features,
    top_places,
)
from analyses.geospatial.study_units import CODE_VERSION, StudyUnits
from analyses.geospatial.survey import layer_sites, readings_for, survey_tests
from analyses.geospatial.verdicts import Context
from analyses.geospatial.view import example_latents, figures, headline, section
from analyses.geospatial.weights import SpatialWeights, spatial_weights
from interp.atlas.world import country_table
from interp.errors import InvalidInput, SaeMismatch
from interp.result import Result
from interp.sae import check_fit
from interp.store import Store

if TYPE_CHECKING:
    from analyses.job import Job
    from interp.models import Model
    from interp.sae import SAE

__all__ = ["autocorrelation_study", "example_latents", "figures", "headline", "run", "section"]


def run(job: Job) -> Result:
    """Run the study of a job, keeping finished units in its store."""
    c = job.config
    places = load_places(c.places)
    config = StudyConfig(template=c.template, k=c.k, permutations=c.permutations, seed=c.seed)
    make_prompts(places, config.template)  # refuse a template before anything heavy is loaded
    _require_enough(places, config)
    saes = {"twin_sae": job.twin_sae, "layer_saes": job.layer_saes if c.survey else None} if job.has_sae else {}
    return autocorrelation_study(
        job.model, job.sae if job.has_sae else None, places, twin=job.twin, survey=c.survey, config=config,
        store=job.store, **saes,
    )  # fmt: skip


def autocorrelation_study(
    model: Model,
    sae: SAE | None,
    places: pd.DataFrame,
    *,
    site: str | None = None,
    twin: Model | None = None,
    twin_sae: SAE | None = None,
    layer_saes: Mapping[str, SAE] | None = None,
    survey: bool = True,
    config: StudyConfig | None = None,
    store: Store | None = None,
) -> Result:
    """Test every latent and neuron for spatial autocorrelation over placenames, beside its nulls.

    Args:
        model: from `interp.load_model`.
        sae: from `interp.load_sae`; read where its config says. None: neurons alone.
        site: without an SAE, the site whose layer's neurons are tested; default resid_post of the middle layer.
        places: from `load_places`: name, lat, lon and, for the tests within countries, country.
        twin: the random-weights model; loaded from the model's name if None.
        twin_sae: the SAE that reads the twin, best one trained on it; `sae` if None.
        layer_saes: SAEs of other layers by site, for the survey; there, layers without one give their neurons alone.
        survey: also count the geographic features of every layer under several prompts and poolings.
        config: choices that change the numbers; default `StudyConfig()`.
        store: keeps finished units, so that a killed study goes on.

    Returns:
        `Result`: `.table` one row a condition, unit and feature, with the evidence and a verdict; `.tables` summary,
        neighbours (the counts at other k), survey, top_values (place x feature), top_places, clusters and places.

    Raises:
        InvalidInput: too few places for the neighbours. UnknownSite, SaeMismatch: model and SAE do not fit.
    """
    config = config or StudyConfig()
    places = _with_country_names(places.reset_index(drop=True))
    _require_enough(places, config)
    if twin is None:
        from interp.models import load_model

        twin = load_model(model.name, weights="random", seed=config.seed)
    twin_reader = _same_site(twin_sae, sae)
    mismatches = () if sae is None else check_fit(model, sae, allow_mismatch=True).mismatches
    where = (site or f"resid_post.{model.n_layers // 2}") if sae is None else str(sae.config.site)
    units = StudyUnits(store, places, config)
    prompts = make_prompts(places, config.template, over=config.over)
    acts = {
        TRAINED: units.activations("trained", model, where, sae, prompts),
        RANDOM: units.activations("random", twin, where, twin_reader, prompts),
    }
    tokens = name_tokens(model, make_prompts(places))
    context, within = _context(places, tokens)
    W = spatial_weights(places, k=config.k)
    tests = _tests(units, acts, places, tokens, W, context, config)
    tables = _derived(tests, acts[TRAINED], places, W, config)
    if survey:
        own = {} if sae is None else {where: sae}
        readers = {
            TRAINED: (model, {**dict(layer_saes or {}), **own}),
            RANDOM: (twin, {} if twin_sae is None else {where: twin_sae}),
        }
        tables["survey"] = _survey(units, readers, places, where, W, context, config)
    about = {
        **_provenance(model, where, config, units),
        "gives_region": prompts.gives_region,
        "sae_mismatch": list(mismatches),
        "has_sae": sae is not None,
        "twin_sae_is_own": twin_reader is not sae,
        "top_unit": top_unit(tests, config),
        "within_country": within,
        "covariates": dict(Counter(re.sub(r"[=_].*", "", column) for column in context.covariates.columns)),
        "n_coincident": len(W.coincident),
    }
    return Result(name="geospatial", table=tests, tables=tables, provenance=about, view="analyses.geospatial.view:plot")


def _same_site(twin_sae: SAE | None, sae: SAE | None) -> SAE | None:
    """Return the SAE of the twin, which has to read where that of the model reads."""
    if twin_sae is None or sae is None:
        return sae
    if twin_sae.config.site != sae.config.site:
        raise SaeMismatch(
            f"the SAE of the twin reads {twin_sae.config.site} and that of the model {sae.config.site}; a control has "
            "to read the same site. Give one that does, or none: then the model's own SAE reads the twin."
        )
    return twin_sae


def _with_country_names(places: pd.DataFrame) -> pd.DataFrame:
    """Return the places with `country_name`, for prompts: the name of an ISO code, else the country as written."""
    if "country_name" in places.columns or country_labels(places)[0] is None:
        return places
    known = country_table()
    names = [known[c]["name"] if c in known else c for c in places["country"].astype(str)]
    return places.assign(country_name=names)


def _context(places: pd.DataFrame, tokens: list[list[int]]) -> tuple[Context, str]:
    """Return what the places are beside where they are, and what the test within countries is, in words."""
    countries, within = country_labels(places)
    known = places if countries is not None else places.drop(columns="country", errors="ignore")
    covariates = place_covariates(known, n_tokens=[len(ids) for ids in tokens], token_ids=tokens)
    languages = None
    if countries is not None:
        table = country_table()
        spoken = np.array([table[c]["language"] if c in table else "" for c in countries], dtype=object)
        languages = spoken if all(spoken) and len(set(spoken)) > 1 else None
    return Context(countries, covariates, languages), within


def _tests(
    units: StudyUnits,
    acts: Mapping[str, PlaceActivations],
    places: pd.DataFrame,
    tokens: list[list[int]],
    W: SpatialWeights,
    context: Context,
    config: StudyConfig,
) -> pd.DataFrame:
    """Return the tests of every condition."""
    others = {k: spatial_weights(places, k=k) for k in config.neighbours if k != config.k and 2 * k < len(places)}

    def features(condition: str) -> dict[str, Any]:
        if condition == NAMES:
            names = places["name"].astype(str).tolist()
            found: dict[str, Any] = {NGRAM: ngram_indicators(names)[0], TOKEN: token_indicators(tokens)[0]}
            return {unit: X for unit, X in found.items() if X.shape[1]}
        part = acts[condition if condition == RANDOM else TRAINED]
        return {NEURON: part.neurons} if part.latents is None else {LATENT: part.latents, NEURON: part.neurons}

    conditions = [TRAINED, RANDOM, SHUFFLED]
    if context.countries is not None:
        conditions.append(WITHIN)
    if features(NAMES):
        conditions.append(NAMES)
    return units.tests(conditions, lambda c: condition_tests(c, features(c), W, config, context, others=others))


def _survey(
    units: StudyUnits,
    readers: Mapping[str, tuple[Model, Mapping[str, SAE]]],
    places: pd.DataFrame,
    site: str,
    W: SpatialWeights,
    context: Context,
    config: StudyConfig,
) -> pd.DataFrame:
    """Return the survey of both models under every reading."""
    cells = {f"{c}, {r.name}": (c, r) for r in readings_for(places) for c in readers}

    def cell(name: str) -> pd.DataFrame:
        condition, reading = cells[name]
        model, saes = readers[condition]
        by_site = {s: saes.get(s) for s in layer_sites(model, site)}
        return survey_tests(condition, model, places, reading, by_site, W, config, context)

    saes = {f"{condition} {site}": sae for condition, (_, own) in readers.items() for site, sae in own.items()}
    return units.survey(list(cells), cell, saes)


def _derived(
    tests: pd.DataFrame, acts: PlaceActivations, places: pd.DataFrame, W: Any, config: StudyConfig
) -> dict[str, pd.DataFrame]:
    """Return the tables that follow from the tests: summary, top features, their places and clusters."""
    unit = top_unit(tests, config)
    chosen = top_features(tests, config, unit=unit)
    values = feature_values(acts.latents if unit == LATENT else acts.neurons, chosen)
    return {
        "summary": summarise(tests, config),
        "neighbours": neighbour_summary(tests, config),
        "top_values": values,
        "top_places": top_places(values, places),
        "clusters": local_tests(values, W, config),
        "correlogram": reach(values, places, config),
        "places": places.assign(n_tokens=acts.n_tokens),
    }


def top_unit(tests: pd.DataFrame, config: StudyConfig) -> str:
    """Return the unit whose features are drawn: latents, unless none of them is significant and a neuron is."""
    if LATENT not in set(tests["unit"]):
        return NEURON
    if top_features(tests, config, unit=LATENT, n=1) or not top_features(tests, config, unit=NEURON, n=1):
        return LATENT
    return NEURON


def _provenance(model: Model, site: str, config: StudyConfig, units: StudyUnits) -> dict[str, Any]:
    from interp.provenance import versions

    return {
        "analysis": "geospatial",
        "code_version": CODE_VERSION,
        "model": model.name,
        "site": site,
        "neuron_site": str(neuron_site(site)),
        "config": config.to_dict(),
        "inputs": units.inputs,
        "seed": config.seed,
        "versions": versions(),
    }


def _require_enough(places: pd.DataFrame, config: StudyConfig) -> None:
    least = max(config.k + 2, 2 * config.min_active)
    if len(places) < least:
        raise InvalidInput(
            f"{len(places)} places are too few for k={config.k} neighbours and features active on at least "
            f"{config.min_active} places; give at least {least}, or a smaller k."
        )
