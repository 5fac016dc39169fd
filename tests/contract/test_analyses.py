"""What every analysis on tables keeps, whatever it measures: one set of checks, run over all of them.

Same seed, same bytes; the caller's arrays unchanged; neither the order of rows nor the other features show in a
statistic; empty, one-row, constant and NaN input give a status or a named error, never a crash and never a number;
results survive saving; float32 gives what float64 gives.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from interp.errors import InterpError
from interp.result import Result, load_result

N, M = 48, 6
Data = dict[str, np.ndarray]  # every array has a row a row of X


@dataclass(frozen=True)
class Case:
    """An analysis on tiny input. `call` takes arrays by name, "X" [row, feature] among them, and returns its table.

    per: column with the number of the feature, where the table has rows for each.
    row: column with the number of the row, where the table has one for each.
    statistics: columns that neither permutations nor other features decide.
    constant: what a constant feature gives: "status" (a reason and no p), or "no evidence" (nothing is found).
    """

    name: str
    call: Callable[[Data], pd.DataFrame]
    statistics: tuple[str, ...]
    per: str | None = None
    row: str | None = None
    ordered: bool = True
    negative: bool = True
    constant: str = "status"
    least_rows: int = 2


def weights(data: Data):
    from analyses.geospatial import spatial_weights

    return spatial_weights(pd.DataFrame({"lat": data["lat"], "lon": data["lon"]}), k=4)


def geospatial(name: str, **options):
    def call(data: Data) -> pd.DataFrame:
        import analyses.geospatial

        function = getattr(analyses.geospatial, name)
        return function(data["X"], weights(data), permutations=49, seed=3, min_active=4, **options)

    return call


def bivariate(null: str):
    def call(data: Data) -> pd.DataFrame:
        from analyses.geospatial import bivariate_moran

        return bivariate_moran(data["X"], data["lat"][:, None], weights(data), null=null, permutations=49, seed=3,
                               min_active=4)  # fmt: skip

    return call


def geo_probe(data: Data) -> pd.DataFrame:
    from analyses.geospatial import geo_probe

    places = pd.DataFrame({"lat": data["lat"], "lon": data["lon"]})
    return geo_probe(data["X"], places, cv=("block", "random"), n_folds=4, n_boot=20, permutations=19, seed=3).table


def probing(name: str, **options):
    def call(data: Data) -> pd.DataFrame:
        import analyses.probing as probing

        found = getattr(probing, name)(data["X"], data["y"], groups=data["group"], seed=3, **options)
        return found.table if isinstance(found, Result) else found

    return call


def monosemanticity(data: Data) -> pd.DataFrame:
    from analyses.polysemanticity import monosemanticity_score

    return monosemanticity_score(data["X"], data["embedding"])


def clusters(data: Data) -> pd.DataFrame:
    from analyses.polysemanticity import AuditConfig, concept_clusters, sample_activation_intervals

    names = [f"unit {i}" for i in data.get("names", range(data["X"].shape[1]))]
    examples = sample_activation_intervals(data["X"], units=names, seed=3)
    config = AuditConfig(min_examples=6, n_background=30, n_boot=3, n_null=19, n_splits=2, seed=3)
    rows = np.random.default_rng(3).permutation(len(data["X"]))
    return concept_clusters(examples, {"meaning": data["embedding"]}, background=rows, config=config, units=names)


def infomec(data: Data) -> pd.DataFrame:
    from analyses.polysemanticity import infomec

    sources = {"y": data["y"].tolist(), "group": (data["group"] % 3).tolist()}
    return infomec(data["X"], sources, seed=3).latents


def decoder_share(data: Data) -> pd.DataFrame:
    import torch

    from analyses.attention import decoder_head_share
    from interp.sae.config import topk_config
    from interp.sae.io import build_sae

    W = torch.tensor(data["X"])  # a decoder row a row
    config = topk_config(W.shape[1], len(W), k=1).with_(decoder_norm="free")
    zeros = {"b_enc": torch.zeros(len(W)), "b_dec": torch.zeros(W.shape[1])}
    return decoder_head_share(build_sae(config, {"W_enc": W.T.contiguous(), "W_dec": W, **zeros}), n_heads=3)


def selection(method: str):
    def call(data: Data) -> pd.DataFrame:
        from analyses.data_selection import score

        return score(sparse.csr_matrix(data["X"]), sparse.csr_matrix(TARGET), method=method, seed=3)

    return call


CASES = [
    Case("moran", geospatial("moran"), ("I", "expected", "null_sd", "n_active"), per="feature"),
    Case("geary", geospatial("geary"), ("C", "null_sd", "n_active"), per="feature"),
    Case("getis_ord", geospatial("getis_ord"), ("G", "null_sd", "n_active"), per="feature", negative=False),
    Case("join_counts", geospatial("join_counts"), ("BB", "null_mean", "null_sd", "n_active"), per="feature"),
    Case("local_moran", geospatial("local_moran"), ("Is", "lag"), per="feature", row="place"),
    Case("local_getis_ord", geospatial("getis_ord", local=True), ("z",), per="feature", row="place"),
    Case("bivariate", bivariate("permutation"), ("I_xy", "null_sd", "n_active"), per="feature"),
    Case("bivariate_spectral", bivariate("spectral"), ("I_xy", "n_active"), per="feature"),
    Case("geo_probe", geo_probe, ("r2",), ordered=False, constant="no evidence"),
    Case("probe", probing("probe", n_perm=19, n_boot=20), ("n",), ordered=False, constant="no evidence"),
    Case("sparse_probe", probing("sparse_probe", k=(1, 2), n_perm=3, n_boot=9), ("n",), ordered=False,
         constant="no evidence"),
    Case("mdl", probing("mdl", n_perm=2), ("n",), ordered=False, constant="no evidence"),
    Case("monosemanticity_score", monosemanticity, ("ms", "null_mean", "null_sd"), per="unit", negative=False),
    Case("concept_clusters", clusters, ("n",), per="unit", ordered=False, negative=False,
         constant="no evidence"),
    Case("infomec", infomec, ("firing_rate",), ordered=False, negative=False, constant="no evidence"),
    Case("decoder_head_share", decoder_share, ("share", "effective_heads"), row="latent", constant="no evidence",
         least_rows=1),
    *(Case(f"score {method}", selection(method), ("raw",) if method == "matched" else ("score", "raw"), row="id",
           negative=False, constant="no evidence", least_rows=1)
      for method in ("background", "matched", "mona", "contrast", "adjusted", "cosine")),
]  # fmt: skip
TARGET = 3 * np.abs(np.random.default_rng(8).normal(size=(5, M))) * (np.random.default_rng(9).random((5, M)) < 0.6)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_feature = pytest.mark.parametrize("case", [c for c in CASES if c.per], ids=lambda case: case.name)


def data_for(case: Case, seed: int = 0) -> Data:
    """Return features that are off at half the rows, two of them with a meaning, over places on the globe."""
    rng = np.random.default_rng(seed)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, N))), rng.uniform(-180, 180, N)
    X = rng.normal(size=(N, M)) * (rng.random((N, M)) < 0.7)
    X[:, 0] = np.maximum(lat / 30, 0)
    y = np.where(lat + rng.normal(size=N) * 20 > 0, "north", "south").astype(object)
    X[:, 1] += (y == "north") * 2
    if not case.negative:
        X = np.abs(X)
    embedding = rng.normal(size=(N, 5)) + 2 * (y == "north")[:, None]
    return {"X": X, "lat": lat, "lon": lon, "y": y, "group": np.arange(N) // 2, "embedding": embedding}


def taken(data: Data, rows) -> Data:
    return {name: array[rows] for name, array in data.items()}


def outcome(case: Case, data: Data) -> pd.DataFrame | None:
    """Return the table, or None where the input was refused by name; everything else is a crash."""
    with np.errstate(all="raise", under="ignore"):
        try:
            return case.call(data)
        except InterpError:
            return None


def row_numbers(table: pd.DataFrame, case: Case) -> np.ndarray:
    """Return the number of the row that each row of a table is about; an id may be "row:5"."""
    return table[case.row].astype(str).str.removeprefix("row:").astype(int).to_numpy()


def digest(data: Data) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).astype(str).tobytes() for a in data.values())).hexdigest()


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return {case.name: case.call(data_for(case)) for case in CASES}


@every_case
def test_the_same_seed_gives_the_same_table_and_leaves_its_input_alone(case, tables):
    data = data_for(case)
    before = digest(data)
    pd.testing.assert_frame_equal(case.call(data), tables[case.name], check_exact=True)
    assert digest(data) == before


@every_case
def test_read_only_input_is_enough(case, tables):
    data = data_for(case)
    for array in data.values():
        array.setflags(write=False)
    pd.testing.assert_frame_equal(case.call(data), tables[case.name], check_exact=True)


@every_case
def test_a_table_has_its_columns_and_survives_being_saved(case, tables, tmp_path):
    table = tables[case.name]
    assert len(table)
    assert set(case.statistics) <= set(table.columns)
    if "p" in table:
        assert {"status", "seed"} <= set(table.columns)
        tested = table["status"] == "ok"
        permuted = tested & (table.get("n_perm", 1) > 0)  # a baseline that is not tested says so with 0
        assert table.loc[permuted, "p"].between(0, 1, inclusive="right").all()
        assert table.loc[~tested, "p"].isna().all()
    saved = Result("contract", table)
    saved.save(tmp_path / "r")
    pd.testing.assert_frame_equal(load_result(tmp_path / "r").table, saved.table, check_exact=True)


@pytest.mark.parametrize("case", [c for c in CASES if c.ordered], ids=lambda case: case.name)
def test_the_order_of_rows_does_not_show_in_a_statistic(case, tables):
    data = data_for(case)
    order = np.random.default_rng(1).permutation(N)
    found, expected = case.call(taken(data, order)), tables[case.name]
    if case.row:
        by = [name for name in (case.row, case.per, "head") if name in found]
        found = found.assign(**{case.row: order[row_numbers(found, case)]}).sort_values(by)
        expected = expected.assign(**{case.row: row_numbers(expected, case)}).sort_values(by)
    for column in case.statistics:
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-6, atol=1e-7, err_msg=column)


@by_feature
def test_other_features_do_not_show_in_a_statistic(case, tables):
    data = data_for(case)
    for chosen in ([4, 1], [0, 2, 3, 5]):
        found = case.call(data | {"X": data["X"][:, chosen], "names": np.array(chosen)})
        for number, feature in enumerate(chosen):
            new = found[found[case.per] == number].reset_index(drop=True)
            old = tables[case.name]
            old = old[old[case.per] == feature].reset_index(drop=True)
            shared = [c for c in old.columns if c not in (case.per, "q", "n_tests", "cluster")]
            pd.testing.assert_frame_equal(new[shared], old[shared], rtol=1e-12)


@every_case
def test_float32_is_close_to_float64(case, tables):
    data = data_for(case)
    data["X"] = data["X"].astype(np.float32)
    found = case.call(data)
    for column in case.statistics:
        np.testing.assert_allclose(
            found[column].astype(float), tables[case.name][column].astype(float), rtol=2e-4, atol=2e-5, err_msg=column
        )


def assert_claims_nothing(table: pd.DataFrame, case: Case) -> None:
    """Assert that no row has a number where there can be none: a reason instead, and neither p nor z nor q."""
    if "status" in table:
        reasoned = table["status"] != "ok"
        for column in ("p", "q", "z", "p_analytic", "p_perm"):
            if column in table:
                assert table.loc[reasoned, column].isna().all(), column
    if "p" in table:
        assert not (table["p"] < 0.05).any()
    for column in case.statistics:
        if pd.api.types.is_float_dtype(table[column]):
            assert not np.isinf(table[column]).any()


@every_case
@pytest.mark.parametrize("n", [0, 1])
def test_no_rows_or_one_are_refused_or_claim_nothing(case, n):
    table = outcome(case, taken(data_for(case), slice(0, n)))
    if table is None:
        return
    assert_claims_nothing(table, case)
    if n < case.least_rows and "status" in table:
        assert (table["status"] != "ok").all()


@every_case
def test_no_features_are_refused_or_give_no_row(case):
    data = data_for(case)
    table = outcome(case, data | {"X": data["X"][:, :0]})
    if table is not None and "p" in table:
        assert not (table["p"] < 0.05).any()
        assert case.per is None or len(table) == 0


@every_case
@pytest.mark.parametrize("value", [0.0, 1.0, 7.25])
def test_constant_input_gives_a_reason_or_finds_nothing(case, value):
    data = data_for(case)
    table = outcome(case, data | {"X": np.full_like(data["X"], value)})
    if table is None:
        return
    assert_claims_nothing(table, case)
    if case.constant == "status":
        assert (table["status"] != "ok").all()


@by_feature
@pytest.mark.parametrize("what", ["constant", "zero", "nan", "infinite", "one nan"])
def test_one_bad_feature_is_named_and_harms_no_other(case, what, tables):
    data = data_for(case)
    X = data["X"].copy()
    X[:, 2] = {"constant": 3.0, "zero": 0.0, "nan": np.nan, "infinite": np.inf, "one nan": X[:, 2]}[what]
    if what == "one nan":
        X[5, 2] = np.nan
    found = outcome(case, data | {"X": X})
    if found is None:
        assert what in ("nan", "infinite", "one nan")
        return
    bad = found[found[case.per] == 2]
    assert (bad["status"] != "ok").all() or (what == "constant" and case.constant == "no evidence")
    assert_claims_nothing(bad, case)
    others = [c for c in found.columns if c not in ("q", "n_tests", "cluster")]
    good, expected = (t[t[case.per] != 2].reset_index(drop=True)[others] for t in (found, tables[case.name]))
    pd.testing.assert_frame_equal(good, expected, rtol=1e-12)


@pytest.mark.parametrize("case", [c for c in CASES if not c.per], ids=lambda case: case.name)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_refused_or_stays_in_its_row(case, value, tables):
    data = data_for(case)
    X = data["X"].copy()
    X[5, 2] = value
    found = outcome(case, data | {"X": X})
    if found is None:
        return
    assert case.row is not None, "the number went into a result of all rows"
    clean = row_numbers(found, case) != 5
    assert (found.loc[~clean, "status"] != "ok").all()
    for column in case.statistics:
        np.testing.assert_array_equal(found.loc[clean, column], tables[case.name].loc[clean, column])


@pytest.mark.parametrize("case", [c for c in CASES if c.name in ("probe", "sparse_probe", "mdl")], ids=lambda c: c.name)
def test_constant_labels_give_a_reason_and_missing_ones_are_refused(case):
    data = data_for(case)
    table = outcome(case, data | {"y": np.full(N, "north", dtype=object)})
    assert table is None or (table["status"] != "ok").all()
    labels = data["y"].copy()
    labels[3] = None
    assert outcome(case, data | {"y": labels}) is None


@pytest.mark.parametrize(
    "case", [c for c in CASES if not c.name.startswith(("score", "decoder"))], ids=lambda case: case.name
)
def test_rows_that_do_not_match_are_refused(case):
    data = data_for(case)
    with pytest.raises(InterpError):
        case.call({name: array if name == "X" else array[:-1] for name, array in data.items()})


def test_a_check_that_must_fail_does():
    """The suite itself: a function that mutates, ranks a constant and crashes on NaN is caught by these checks."""

    def bad(data: Data) -> pd.DataFrame:
        data["X"][0, 0] += 1
        p = np.where(np.nanstd(data["X"], axis=0) == 0, 0.001, 0.5)
        return pd.DataFrame({"feature": range(data["X"].shape[1]), "p": p, "seed": 0, "status": "ok"})

    case = replace(CASES[0], name="bad", call=bad, statistics=())
    data = data_for(case)
    before = digest(data)
    case.call(data)
    assert digest(data) != before
    with pytest.raises(AssertionError):
        test_constant_input_gives_a_reason_or_finds_nothing(case, 1.0)
