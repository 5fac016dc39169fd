"""The committed table of rejection rates of null features: nothing that claims to be calibrated is liberal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TABLE = Path(__file__).parents[3] / "benchmarks" / "results" / "spatial_calibration.json"
KNOWN = "bivariate, smooth covariate, permutation"  # measured to show why there is another null


@pytest.fixture(scope="module")
def table():
    return json.loads(TABLE.read_text())


def test_every_kind_of_null_feature_and_every_rate_is_there(table):
    kinds = {r["kind"] for r in table["nulls"]}
    assert {"white noise", "smooth, places shuffled", "1 % active"} <= kinds
    assert {f"{m} active" for m in (10, 50, 100, 1000)} <= kinds
    assert table["n_features"] >= 2000
    assert all({"0.05", "0.01", "0.001"} <= r.keys() for r in table["nulls"])


def test_rates_above_the_band_are_no_more_than_chance_allows(table):
    cells = [r[a]["verdict"] for r in table["nulls"] if r["statistic"] != KNOWN for a in ("0.05", "0.01", "0.001")]
    assert len(cells) > 300
    assert cells.count("above") <= 0.005 * len(cells) + 4  # half of a 99 % band, and two standard errors


def test_no_rate_is_far_above_its_level(table):
    for r in table["nulls"]:
        if r["statistic"] != KNOWN:
            assert r["0.05"]["count"] <= 1.25 * r["0.05"]["band"][1], r


def test_the_permutation_null_fails_against_a_smooth_covariate(table):
    rates = [r["0.05"]["rate"] for r in table["nulls"] if r["statistic"] == KNOWN]
    assert min(rates) > 0.2


def test_the_cells_outside_the_band_are_listed(table):
    rows, alphas = table["nulls"], ("0.05", "0.01", "0.001")
    found = {(r["kind"], r["statistic"], a) for r in rows for a in alphas if r[a]["verdict"] != "within"}
    assert {(c["kind"], c["statistic"], c["alpha"]) for c in table["outside_the_band"]} == found
    assert table["cells"] == 3 * len(rows)


def test_planted_fields_are_found_as_often_as_by_esda(table):
    for r in table["power"]:
        ours, theirs = r["rates"]["moran, two-sided"], r["rates"]["esda 2 p_sim"]
        assert abs(ours["0.05"] - theirs["0.05"]) <= 0.06, r  # other draws, the same features
        if r["rho"] == 0:
            assert r["rates"]["moran, greater"]["0.05"] <= 0.05 + 3 * (0.05 * 0.95 / r["n_features"]) ** 0.5, r
    dense = [r["rates"]["moran, greater"]["0.05"] for r in table["power"] if r["kind"] == "dense"]
    assert dense == sorted(dense)
    assert dense[-1] == 1.0
