"""Where the coordinates of a city can be read out linearly: by layer, prompt and way of holding cities out.

Ridge probes of latitude and longitude over the cities of the texts. R² is of the guesses of all folds together,
against the mean of all cities; its interval resamples cells of 10 x 10 degrees. Beside every figure stand the same
probe on the random-weights twin, and the same on the spelling of the name. Under random folds a probe that knows
countries alone does well: the folds that hold out whole countries or cells of the map tell that apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.atlas.measure.fit import Resampled, great_circle_km, r2
from interp.atlas.measure.places import EVERY, FOLDS, NEVER, Guesses, Places, guess, places_of
from interp.atlas.measure.readings import READINGS, Reading, hubs, read, sites_of
from interp.atlas.measure.ridge import out_of_fold
from interp.atlas.measure.rows import COLUMNS

if TYPE_CHECKING:
    from interp.atlas.corpus import Corpus
    from interp.models import Model

SPELLING, COUNTRY = "spelling of the name", "country given (one-hot)"
CONSTANT = "mean place of the cities fitted on"
TARGETS = ("latitude", "longitude")
FITTED = "fitted on all seen cities"
KEYS: tuple[str, ...] = ("reading", "site", "folds", "cities")


def probe_table(
    model: Model, twin: Model, corpus: Corpus, *, seed: int, readings: Iterable[Reading] = READINGS
) -> pd.DataFrame:
    """Return every probe figure, one row a reading, site, kind of folds, group of cities and figure.

    Columns: reading, site, folds, cities, and those of the card.
    """
    places = places_of(model, corpus, seed=seed)
    spelled = guess(places, places.spelling, each=False)
    out = figures(places, spelled, None, None, (SPELLING, ""))
    out += figures(places, country_guesses(places), None, None, (COUNTRY, ""))
    hub_names = hubs(corpus.geography)
    for reading in readings:
        sites = sites_of(model, reading)
        acts = [read(m, reading, places.names, hub_names, sites) for m in (model, twin)]
        for site in sites:
            real, random = (guess(places, a[site]) for a in acts)
            out += figures(places, real, random, spelled, (reading.label, site))
    return pd.DataFrame(out)


def probe_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of the card from `probe_table`: of each reading those of its best site, and the controls.

    The best site has the largest mean R² of the two coordinates under random folds; the same site is then shown
    under every kind of folds.
    """
    records: list[Any] = table.to_dict("records")
    found: dict[tuple[str, str], list[float]] = {}
    for row in records:
        if (row["folds"], row["cities"]) == (FOLDS[0], EVERY) and row["measure"].startswith("R²"):
            found.setdefault((row["reading"], row["site"]), []).append(row["value"])
    means = {pair: float(np.mean(values)) for pair, values in found.items()}
    best: dict[str, str] = {}
    for (reading, site), mean in means.items():
        if reading not in best or mean > means[reading, best[reading]]:
            best[reading] = site
    return [{name: row[name] for name in COLUMNS} for row in records if best.get(row["reading"]) == row["site"]]


def country_guesses(places: Places) -> Guesses:
    """Return the guesses of a probe that is told the country and nothing else, under random folds alone.

    A country that is held out whole has a column that no training fold uses: there this probe is not defined.
    """
    x = np.asarray(places.country[:, None] == np.unique(places.country), dtype=np.float64)[places.seen]
    known, constant = out_of_fold(x, places.degrees[places.seen], places.folds[FOLDS[0]])
    return Guesses({FOLDS[0]: known}, {FOLDS[0]: constant}, np.empty((0, 2)))


def figures(
    places: Places, real: Guesses, random: Guesses | None, spelled: Guesses | None, about: tuple[str, str]
) -> list[dict[str, Any]]:
    """Return the rows of one probe: seen cities by each kind of folds, names by length, never-mentioned cities.

    Args:
        random: the guesses from the random-weights twin. spelled: those from the spelling. None: not shown.
        about: reading and site.
    """
    y, out = places.degrees[places.seen], []
    for folds in real.seen:
        for cities, keep in places.groups.items() if folds == FOLDS[0] else [(EVERY, places.groups[EVERY])]:
            found = [None if g is None else g.seen[folds][keep] for g in (real, random, spelled)]
            shared = dict(zip(KEYS, (*about, folds, cities), strict=True))
            out += _rows(y[keep], found, real.constant[folds][keep], shared, places.draws.get(cities))
    if len(places.never) and len(real.never):
        found = [None if g is None else g.never for g in (real, random, spelled)]
        constant = np.tile(y.mean(axis=0), (len(places.never), 1))
        shared = dict(zip(KEYS, (*about, FITTED, NEVER), strict=True))
        out += _rows(places.degrees[places.never], found, constant, shared, places.draws.get(NEVER))
    return out


def _rows(
    y: np.ndarray,
    found: Sequence[np.ndarray | None],
    constant: np.ndarray,
    shared: dict[str, str],
    draws: Resampled | None,
) -> list[dict[str, Any]]:
    """Return latitude, longitude and distance of one group; `found` is of the model, its twin and the spelling.

    An empty group has no `draws`.
    """
    real, random, spelled = found
    assert real is not None
    out = []
    for i, target in enumerate(TARGETS):
        value, *controls = (np.nan if g is None else r2(y[:, i], g[:, i]) for g in (real, random, spelled))
        interval = draws.r2_interval(y[:, i], real[:, i]) if draws else (np.nan, np.nan)
        status = "ok" if np.isfinite(value) else "no spread in the coordinate" if len(y) else "no sample"
        name = "" if spelled is None else SPELLING
        out.append(_row(f"R² of {target}", shared, (value, interval, len(y), "R²", controls, name, status)))
    km, off = (great_circle_km(y, g) for g in (real, constant))
    twin = np.nan if random is None or not len(y) else float(np.median(great_circle_km(y, random)))
    value, blind = (float(np.median(x)) if len(y) else np.nan for x in (km, off))
    interval = draws.median_interval(km) if draws else (np.nan, np.nan)
    status = "ok" if len(y) else "no sample"
    out.append(_row("median error", shared, (value, interval, len(y), "km", [twin, blind], CONSTANT, status)))
    return out


def _row(measure: str, shared: dict[str, str], figure: tuple[Any, ...]) -> dict[str, Any]:
    value, interval, n, unit, (random, baseline), baseline_name, status = figure
    group = ", ".join(text for text in shared.values() if text)
    cells = (measure, group, value, *interval, n, unit, random, baseline, baseline_name, status)
    return {**shared, **dict(zip(COLUMNS, cells, strict=True))}
