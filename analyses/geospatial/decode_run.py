"""Decoding geography: any features to a table, and a model's layers to a table, beside what they have to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.geospatial.decode_baselines import baselines_of
from analyses.geospatial.decode_tables import (
    BASELINE,
    CHOSEN,
    EMBED,
    FEATURES,
    MEAN,
    RANDOM,
    TRAINED,
    Found,
    choose_sites,
    predictions_table,
    probe_table,
)
from analyses.geospatial.decoding import ALPHAS, Decoded, Task, decode_all, make_task, read_features, read_places
from analyses.geospatial.decoding_folds import place_schemes
from analyses.geospatial.prompts import NAME_ALONE, Prompts, make_prompts
from interp.capturing import capture
from interp.errors import InvalidInput
from interp.provenance import provenance
from interp.result import Result
from interp.stats.ridge import check_alphas
from interp.stats.seeds import check_seed
from interp.store import Key, Store, make_key, sha256_array, sha256_table
from interp.tokens import encode
from interp.work import load_units, run_units

if TYPE_CHECKING:
    from interp.models import Model

CODE_VERSION = "1"
SCHEMES = ("block", "buffered", "country", "continent", "random")
VIEW = "analyses.geospatial.decode_view:plot"
NOTES = (
    "With random folds a probe may copy the nearest place it was fitted on. Blocks still touch such places; where "
    "buffered is much worse than block, that is what was read. Countries and continents ask for a map.",
    "The penalty of a fold is chosen on the other folds alone, by regressions that see no place of either.",
    "r2, median_km, mean_km and proximity_error are of held-out places; ci_low and ci_high are of median_km.",
    "p compares the skill with that of places shuffled by whole groups of the scheme, folds as they were. Features "
    "that vary smoothly within groups or over their borders pass under random folds and blocks whatever they mean. q "
    "is Benjamini-Hochberg over the rows of one condition.",
)
_CHUNK = 1000  # places in a work unit


def geo_probe(
    X: Any,
    places: pd.DataFrame,
    *,
    cv: Sequence[str] = SCHEMES,
    test: Any = None,
    deg: float = 10.0,
    buffer_km: float = 500.0,
    n_folds: int = 10,
    alphas: Any = ALPHAS,
    baselines: Mapping[str, Any] | None = None,
    n_boot: int = 500,
    permutations: int = 99,
    seed: int = 0,
) -> Result:
    """Read the position of places out of features, with several ways of holding places out beside each other.

    Args:
        X: [place, d], dense or scipy sparse.
        places: lat, lon (degrees), in the order of X; `country` and `continent` (or ISO codes as country) where known.
        cv: "block" (cells of `deg` degrees), "buffered" (these, and nothing within `buffer_km` of them is fitted on),
            "country", "continent", "random", "given" (needs `test`).
        test: bool [place], for "given": fitted on the others, judged on these, which take no part in other schemes.
        n_folds: groups are joined to so many folds.
        alphas: ridge penalties in units of the mean eigenvalue of x'x; chosen in each fold on the other folds alone.
        baselines: name -> [place, d], run through the same code. The mean of the places is always one.
        n_boot: resamples of groups behind an interval. permutations: shuffles of places behind p; 0 for none.

    Returns:
        Result "geospatial.geo_probe". `.table`, a row a condition and scheme, blocks first and random folds last: r2,
        leakage_gap (r2 of random folds less r2), median_km, mean_km, proximity_error (chance .5), their intervals over
        held-out groups, skill (1 - squared error / that of the mean of the places fitted on, largest over penalties),
        null_mean and null_sd of the skill for shuffled places, p, q, n_perm, alpha (geometric mean over folds), n,
        n_train, n_groups, n_folds, seed, status. `.tables["predictions"]`: the guess for each place under each scheme.

    Raises:
        InvalidInput: shapes that do not fit, NaN, coordinates that are none, an unknown scheme.

    Reference: Gurnee & Tegmark 2023 (ridge on places, proximity error); Roberts et al. 2017 (blocks and buffers).
    """
    frame, alphas = read_places(places), check_alphas(alphas)
    matrices = {FEATURES: X, **(baselines or {})}
    if len(matrices) != 1 + len(baselines or {}):
        raise InvalidInput(f"a baseline may not be called {FEATURES!r}; that is X.")
    x = {name: read_features(matrix, len(frame), name) for name, matrix in matrices.items()}
    choices = {"cv": list(cv), "deg": deg, "buffer_km": buffer_km, "n_folds": n_folds, "n_boot": n_boot,
               "permutations": permutations, "seed": check_seed(seed), "alphas": alphas.tolist()}  # fmt: skip
    mask = None if test is None else np.asarray(test)
    schemes = place_schemes(frame, cv, test=mask, deg=deg, buffer_km=buffer_km, n_folds=n_folds, seed=seed)
    tasks = [make_task(s, frame, permutations=permutations, n_boot=n_boot, seed=seed) for s in schemes]
    found: Found = {(name, ""): decode_all(matrix, tasks, alphas) for name, matrix in x.items()}
    table = probe_table(found, tasks, seed=seed)
    table.loc[table["site"] == MEAN, "condition"] = MEAN
    table = table.drop(columns=["site", "layer"])
    predictions = predictions_table(found[FEATURES, ""], tasks, frame)
    hashes = {f"x {name}": sha256_array(matrix) for name, matrix in x.items()} | {"places": sha256_table(frame)}
    key = make_key(choices, hashes, code_version=CODE_VERSION)
    return Result("geospatial.geo_probe", table, {"predictions": predictions}, provenance(key, seed=seed), None, NOTES)


def decoding_study(
    model: Model,
    places: pd.DataFrame,
    *,
    held_out: pd.DataFrame | None = None,
    sites: Iterable[str] | None = None,
    template: str = NAME_ALONE,
    pool: str = "last",
    twin: Model | None = None,
    cv: Sequence[str] = SCHEMES,
    deg: float = 10.0,
    buffer_km: float = 500.0,
    n_folds: int = 10,
    n_boot: int = 500,
    permutations: int = 99,
    seed: int = 0,
    store: Store | None = None,
) -> Result:
    """Read the position of places out of every layer of a model and of its random-weights twin.

    Args:
        places: from `load_places`: name, lat, lon, country.
        held_out: further places, judged by probes that were fitted on `places` (scheme "given"), such as
            `unmentioned_cities()` of the bundled model. The baseline of the country then knows theirs.
        sites: default resid_post of every layer; the embedding is added.
        template, pool: the prompt of a place, and "last" or "mean" over the tokens of its name.
        twin: the model with random weights; loaded from the model's name if None.
        cv, deg, buffer_km, n_folds, n_boot, permutations, seed: as `geo_probe`.
        store: keeps finished units, so that a killed study goes on.

    Returns:
        Result "geospatial.decoding". `.table`: a row a scheme, condition ("trained", "random weights", "baseline") and
        site, columns as `geo_probe`. The site "chosen" takes in each fold the site (the embedding aside) whose error
        over the other folds is least, and its p is that of the largest skill over sites. `.tables["predictions"]`: its
        guess for each place; `.tables["sites"]`: the sites it took.

    Raises:
        UnknownSite: a site that the model has not. InvalidInput: as `geo_probe` and `make_prompts`.
    """
    if pool not in ("last", "mean"):
        raise InvalidInput(f"pool is 'last' or 'mean', not {pool!r}.")
    named, test = _joined(places, held_out)
    prompts = make_prompts(named, template)
    frame = read_places(named)
    wanted = [f"resid_post.{i}" for i in range(model.n_layers)] if sites is None else [str(s) for s in sites]
    wanted = [EMBED, *(s for s in wanted if s != EMBED)]
    schemes = place_schemes(
        frame, [*cv, *(["given"] if test is not None else [])],
        test=test, deg=deg, buffer_km=buffer_km, n_folds=n_folds, seed=seed,
    )  # fmt: skip
    tasks = [make_task(s, frame, permutations=permutations, n_boot=n_boot, seed=check_seed(seed)) for s in schemes]
    if twin is None:
        from interp.models import load_model

        twin = load_model(model.name, weights="random", seed=seed, bos=model.bos)
    choices = {"cv": [s.name for s in schemes], "deg": deg, "buffer_km": buffer_km, "n_folds": n_folds,
               "permutations": permutations, "seed": seed, "pool": pool, "template": template}  # fmt: skip
    keeper = _Keeper(store, frame, test, choices)
    found: Found = {}
    for name, each in ((TRAINED, model), (RANDOM, twin)):
        found |= keeper.decoded(name, keeper.activations(name, each, prompts, wanted, pool), tasks)
    found |= keeper.decoded(BASELINE, baselines_of(model, frame, prompts, seed=seed), tasks)
    chosen, taken = choose_sites(found, tasks)
    table = probe_table(chosen | found, tasks, seed=seed)
    tables = {"predictions": predictions_table(chosen.get((TRAINED, CHOSEN), {}), tasks, frame), "sites": taken}
    key = make_key({**choices, "n_boot": n_boot}, keeper.inputs, code_version=CODE_VERSION)
    about = provenance(key, seed=seed, analysis="geospatial.decoding", model=model.name, sites=wanted, config=choices,
                       gives_region=prompts.gives_region, n_places=len(places))  # fmt: skip
    return Result("geospatial.decoding", table, tables, about, VIEW, _notes(prompts))


def unmentioned_cities() -> pd.DataFrame:
    """Return the cities that no training text of the bundled model mentions: name, lat, lon, country."""
    from interp.atlas import facts

    cities: Any = facts().cities
    return cities.loc[~cities["seen"], ["name", "lat", "lon", "country"]].reset_index(drop=True)


def _joined(places: pd.DataFrame, held_out: pd.DataFrame | None) -> tuple[pd.DataFrame, np.ndarray | None]:
    if held_out is None:
        return places.reset_index(drop=True), None
    both = pd.concat([places, held_out], ignore_index=True)
    return both, np.arange(len(both)) >= len(places)


def _notes(prompts: Prompts) -> tuple[str, ...]:
    if not prompts.gives_region:
        return NOTES
    told = f"The template {prompts.template!r} tells more than the name: what is decoded may stand in the prompt."
    return (told, *NOTES)


class _Keeper:
    """The units of one study: activations of chunks of places, guesses of each site; kept where there is a store."""

    def __init__(
        self, store: Store | None, places: pd.DataFrame, test: np.ndarray | None, choices: dict[str, Any]
    ) -> None:
        self.store, self.choices = store, choices
        self.places = {"places": sha256_table(places)} | ({} if test is None else {"test": sha256_array(test)})
        self.inputs: dict[str, str] = dict(self.places)

    def activations(
        self, name: str, model: Model, prompts: Prompts, sites: list[str], pool: str
    ) -> dict[str, np.ndarray]:
        """Return site -> [place, d] of a model at the tokens of the names."""
        encoded = encode(model, prompts.texts, spans=prompts.spans)  # tokenizer and BOS policy are no weights
        arrays = {"ids": encoded.ids, "starts": encoded.starts, "span_mask": encoded.span_mask}
        inputs = {"model": model.fingerprint, "dtype": str(model.dtype)}
        inputs |= {part: sha256_array(np.asarray(array)) for part, array in arrays.items()}
        key = make_key({"sites": sites, "pool": pool, "chunk": _CHUNK}, inputs, code_version=CODE_VERSION)

        def compute(unit: str) -> dict[str, np.ndarray]:
            part = slice(int(unit) * _CHUNK, (int(unit) + 1) * _CHUNK)
            acts = capture(model, prompts.texts[part], sites, pool=pool, spans=prompts.spans[part], bos=model.bos)
            return {site: np.asarray(acts[site]) for site in sites}

        units = [f"{i:05d}" for i in range(-(-len(prompts.texts) // _CHUNK))]
        found = self._units(units, compute, f"activations of the {name} model", f"{name}/names", lambda _: key)
        return {site: np.concatenate([found[unit][site] for unit in units]) for site in sites}

    def decoded(self, condition: str, matrices: dict[str, np.ndarray], tasks: list[Task]) -> Found:
        """Return (condition, site) -> scheme -> what was decoded."""
        x = {site: read_features(values, len(values), f"{condition} {site}") for site, values in matrices.items()}
        hashes = {site: sha256_array(values) for site, values in x.items()}
        self.inputs |= {f"{condition} {site}": value for site, value in hashes.items()}

        def key_of(site: str) -> Key:
            return make_key(self.choices, {**self.places, "x": hashes[site]}, code_version=CODE_VERSION)

        def compute(site: str) -> dict[str, np.ndarray]:
            arrays = {
                f"{scheme}/{name}": getattr(one, name)
                for scheme, one in decode_all(x[site], tasks).items()
                for name in Decoded.names()
            }
            return {"rows": np.array([len(x[site])]), **arrays}

        found = self._units(list(x), compute, f"probes, {condition}", condition, key_of)
        return {(condition, site): _unpacked(found[site]) for site in x}

    def _units(
        self, units: list[str], compute: Callable[[str], Any], desc: str, place: str, key_of: Callable[[str], Key]
    ) -> dict[str, Any]:
        if self.store is None:
            return {unit: compute(unit) for unit in units}
        options: dict[str, Any] = {
            "store": self.store, "key_of": key_of,
            "name_of": lambda unit: f"geospatial/decoding/{place}/{unit}.safetensors".replace(" ", "-"),
        }  # fmt: skip
        run_units(units, compute, desc=desc, **options)
        return load_units(units, **options)


def _unpacked(arrays: dict[str, np.ndarray]) -> dict[str, Decoded]:
    schemes = dict.fromkeys(name.split("/")[0] for name in arrays if "/" in name)
    return {s: Decoded(**{name: arrays[f"{s}/{name}"] for name in Decoded.names()}) for s in schemes}
