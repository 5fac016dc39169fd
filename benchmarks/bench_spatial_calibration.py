"""How often each spatial test rejects features that have no spatial pattern, beside the binomial 99 % band.

Run with one thread a library: OMP_NUM_THREADS=1 python benchmarks/bench_spatial_calibration.py
Null features: white noise, a smooth field with its places shuffled, and features that are active on 1 % of the places
or on 10, 50, 100 and 1,000 of them, with lognormal values. Then pairs of smooth fields that are independent of each
other, for the two nulls of bivariate Moran's I. Then how often planted fields are found, by the same tests and by
esda. Writes benchmarks/results/spatial_calibration.json; --part does one of the three and keeps the rest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse, special
from scipy.sparse import linalg as sparse_linalg
from scipy.spatial import KDTree

from interp.stats.autocorrelation import moran_i
from interp.stats.bivariate import bivariate_moran_i, spectral_basis
from interp.stats.car_kernel import car_kernel, car_q
from interp.stats.correlogram import correlogram_i
from interp.stats.geary import geary_c
from interp.stats.getis_ord import getis_ord_g, getis_ord_local
from interp.stats.join_counts import count_joins
from interp.stats.local_autocorrelation import local_moran_i
from interp.stats.moran_graph import MoranGraph
from interp.stats.pvalues import resolve_p
from interp.stats.residuals import residual_moran_i

RESULTS = Path(__file__).parent / "results" / "spatial_calibration.json"
ALPHAS = (0.05, 0.01, 0.001)
N_PLACES, K, PERMUTATIONS = 1200, 8, 999
SHARED = 5  # features that are tested against one covariate
POWER = 200  # planted fields of a kind
RHOS = (0.0, 0.1, 0.2, 0.3, 0.5)  # of planted fields x = (I - rho W)^-1 e; 0 is none
RADIANS = (0.1, 0.3, 1.0)


def globe(n: int, seed: int) -> tuple[np.ndarray, Any]:
    """Return random points on the unit sphere (place, 3) and their row-standardised k nearest neighbours."""
    xyz = np.random.default_rng(seed).normal(size=(n, 3))
    xyz /= np.linalg.norm(xyz, axis=1, keepdims=True)
    near = KDTree(xyz).query(xyz, k=K + 1)[1][:, 1:]
    return xyz, sparse.csr_array((np.full(n * K, 1 / K), near.ravel(), np.arange(0, n * K + 1, K)), shape=(n, n))


def smooth_fields(xyz: np.ndarray, radians: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return independent Gaussian fields (place, field) with correlation exp(-angle / radians)."""
    cov = np.exp(-np.arccos(np.clip(xyz @ xyz.T, -1, 1)) / radians) + 1e-9 * np.eye(len(xyz))
    return np.linalg.cholesky(cov) @ rng.normal(size=(len(xyz), count))


def null_features(xyz: np.ndarray, n_features: int, seed: int) -> dict[str, Any]:
    """Return places x features without spatial pattern, by kind."""
    n, rng = len(xyz), np.random.default_rng(seed)
    smooth = smooth_fields(xyz, 0.3, n_features, rng)
    out: dict[str, Any] = {
        "white noise": rng.normal(size=(n, n_features)),
        "smooth, places shuffled": rng.permuted(smooth, axis=0),
    }
    for name, active in {"1 % active": n // 100, **{f"{m} active": m for m in (10, 50, 100, 1000)}}.items():
        rank = np.argsort(np.argsort(rng.random((n, n_features)), axis=0), axis=0)
        out[name] = sparse.csc_array(np.where(rank < active, rng.lognormal(size=(n, n_features)), 0.0))
    return out


def tests(xyz: np.ndarray, W: Any, n_features: int) -> dict[str, Callable[[Any], np.ndarray]]:
    """Return each statistic as a function from features to one p a feature."""
    n = len(xyz)
    pairs = sparse.csr_array(((W + W.T) > 0).astype(np.float64))
    angle = np.arccos(np.clip(xyz @ xyz.T, -1, 1))
    band = sparse.csr_array(((angle > 0.08) & (angle <= 0.16)).astype(np.float64))
    country = np.digitize(np.arctan2(xyz[:, 1], xyz[:, 0]), np.linspace(-np.pi, np.pi, 16)[1:-1])
    covariates = np.column_stack([np.eye(15)[country], xyz[:, 2]])
    fields = smooth_fields(xyz, 0.3, n_features // SHARED, np.random.default_rng(9))
    shuffled = np.random.default_rng(10).permuted(fields, axis=0)
    kernel, basis = car_kernel(W), spectral_basis(W)
    options: Any = {"permutations": PERMUTATIONS}

    def resolved(r: Any) -> np.ndarray:
        return resolve_p(r.p_analytic, r.at_least, r.at_most, r.n_perm, r.skew)[0]

    def pairs_of(X: Any, V: np.ndarray, **null: Any) -> np.ndarray:
        """A covariate for every five features: those that share one are not independent."""
        parts = [(X[:, SHARED * c : SHARED * (c + 1)], V[:, [c]]) for c in range(V.shape[1])]
        return np.concatenate([bivariate_moran_i(x, v, W, **null, **options).test.p_perm[:, 0] for x, v in parts])

    def one_place(p: np.ndarray) -> np.ndarray:
        return p[np.arange(p.shape[1]) % n, np.arange(p.shape[1])]  # a place of its own for each feature

    return {
        "moran, permutation": lambda X: moran_i(X, W, **options).p_perm,
        "moran, Pearson III": lambda X: moran_i(X, W, permutations=0).p_analytic,
        "moran, auto": lambda X: resolved(moran_i(X, W, **options)),
        "geary": lambda X: geary_c(X, W, **options).p_perm,
        "getis-ord G": lambda X: getis_ord_g(X if sparse.issparse(X) else np.exp(X), W, **options).p_perm,
        "join counts BB": lambda X: count_joins(X, pairs, **options).bb.p_perm,
        "join counts BB, auto": lambda X: resolved(count_joins(X, pairs, **options).bb),
        "join counts BW": lambda X: count_joins(X, pairs, **options).bw.p_perm,
        "bivariate, shuffled covariate, permutation": lambda X: pairs_of(X, shuffled, null="permutation"),
        "bivariate, smooth covariate, permutation": lambda X: pairs_of(X, fields, null="permutation"),
        "bivariate, smooth covariate, spectral": lambda X: pairs_of(X, fields, null="spectral", basis=basis),
        "correlogram, second band": lambda X: correlogram_i(X, [W, band], **options).p[1],
        "residual moran": lambda X: residual_moran_i(X, covariates, W, **options).p,
        "car Q": lambda X: car_q(X, kernel, **options).p_perm,
        "local moran, one place": lambda X: one_place(local_moran_i(X, W, permutations=1999).p),
        "local G*, one place": lambda X: one_place(getis_ord_local(X, W, permutations=1999).p),
    }


def row(kind: str, statistic: str, p: np.ndarray) -> dict[str, Any]:
    """Count rejections, and say where they lie beside the middle 99 % of the binomial."""
    tested = p[~np.isnan(p)]
    out: dict[str, Any] = {"kind": kind, "statistic": statistic, "n_tested": int(tested.size)}
    counts = np.arange(tested.size + 1.0)
    for alpha in ALPHAS:
        cdf = special.bdtr(counts, tested.size, alpha)
        low, high = (int(counts[cdf >= edge][0]) for edge in (0.005, 0.995))
        rejected = int((tested <= alpha * (1 + 1e-12)).sum())
        verdict = "above" if rejected > high else "below" if rejected < low else "within"
        out[f"{alpha:g}"] = {"rate": rejected / max(tested.size, 1), "count": rejected, "band": [low, high]}
        out[f"{alpha:g}"]["verdict"] = verdict
    return out


def smooth_pairs(n_places: int, seed: int) -> list[dict[str, Any]]:
    """Return rejection rates of independent smooth fields, 40 features x 50 covariates a range."""
    xyz, W = globe(n_places, seed)
    basis, out = spectral_basis(W), []
    covariates = {"field": None, "latitude": xyz[:, [2]]}
    for radians in RADIANS:
        for name, fixed in covariates.items():
            rng = np.random.default_rng(seed + 1)
            X = smooth_fields(xyz, radians, 40 if fixed is None else 2000, rng)
            V = smooth_fields(xyz, radians, 50, rng) if fixed is None else fixed
            for null in ("permutation", "spectral"):
                chosen: Any = {"null": null, "basis": basis if null == "spectral" else None}
                p = bivariate_moran_i(X, V, W, permutations=PERMUTATIONS, **chosen).test.p_perm
                rates = {f"{alpha:g}": float((p <= alpha).mean()) for alpha in ALPHAS}
                about = {"radians": radians, "km": round(6371 * radians), "covariate": name, "null": null}
                out.append({**about, "n_pairs": int(p.size), "rates": rates})
    return out


def planted(W: Any, rho: float, count: int, active: int | None, rng: np.random.Generator) -> Any:
    """Return spatial-lag fields (place, field), or what is left of them above the level that `active` places pass."""
    n = W.shape[0]
    solve = sparse_linalg.factorized(sparse.csc_array(sparse.eye_array(n) - rho * W))
    x = np.column_stack([solve(e) for e in rng.normal(size=(count, n))])
    return x if active is None else sparse.csc_array(np.maximum(x - np.sort(x, axis=0)[-active - 1], 0.0))


def esda_p(X: Any, W: Any) -> np.ndarray:
    """Return esda's p_sim of each feature: the smaller tail, chosen after looking."""
    import esda
    from libpysal.weights import WSP, WSP2W

    w = WSP2W(WSP(sparse.csr_matrix(W)), silence_warnings=True)
    dense = X.toarray() if sparse.issparse(X) else X
    np.random.seed(0)  # noqa: NPY002 - esda draws from the global generator
    return np.array([esda.Moran(x, w, transformation="O", permutations=PERMUTATIONS).p_sim for x in dense.T])


def power(n_places: int, n_features: int, seed: int) -> list[dict[str, Any]]:
    """Return how often planted fields are rejected; esda's p_sim is of two tails and so is held to half the level."""
    _, W = globe(n_places, seed)
    graph, options = MoranGraph.from_weights(W), {"permutations": PERMUTATIONS}
    out = []
    for kind, active in (("dense", None), ("1 % active", n_places // 100), ("10 % active", n_places // 10)):
        for rho in RHOS:
            X = planted(W, rho, n_features, active, np.random.default_rng(seed + 1))
            upper, both = (moran_i(X, graph, alternative=a, **options) for a in ("greater", "two-sided"))
            found = {
                "moran, greater": upper.p_perm,
                "moran, two-sided": both.p_perm,
                "geary, greater": geary_c(X, graph, **options).p_perm,
                "esda p_sim": esda_p(X, W),
            }
            rates = {
                name: {f"{a:g}": float((p <= a * (1 + 1e-12)).mean()) for a in ALPHAS} for name, p in found.items()
            }
            rates["esda 2 p_sim"] = {
                f"{a:g}": float((2 * found["esda p_sim"] <= a * (1 + 1e-12)).mean()) for a in ALPHAS
            }
            out.append({"kind": kind, "rho": rho, "n_features": n_features, "rates": rates})
            print(kind, rho, {name: r["0.05"] for name, r in rates.items()}, flush=True)
    return out


def outside(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the cells that lie outside their band."""
    return [
        {"kind": r["kind"], "statistic": r["statistic"], "alpha": f"{a:g}", "verdict": r[f"{a:g}"]["verdict"]}
        for r in rows for a in ALPHAS if r[f"{a:g}"]["verdict"] != "within"
    ]  # fmt: skip


def null_rates(n_features: int, only: str, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rejections of every kind of null feature by the tests whose name has `only` in it, and the rows before."""
    xyz, W = globe(N_PLACES, seed=1)
    rows = {(r["kind"], r["statistic"]): r for r in before}
    statistics = {name: test for name, test in tests(xyz, W, n_features).items() if only in name}
    for kind, X in null_features(xyz, n_features, seed=2).items():
        for statistic, test in statistics.items():
            rows[kind, statistic] = row(kind, statistic, test(X))
            found = [rows[kind, statistic][f"{a:g}"] for a in ALPHAS]
            print(f"{kind:24} {statistic:42}", *(f"{r['rate']:.4f} {r['verdict']:6}" for r in found), flush=True)
    return list(rows.values())


def main() -> None:
    """Run all of it, or a part, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, default=2000)
    parser.add_argument("--part", choices=("nulls", "smooth", "power"))
    parser.add_argument("--only", default="", help="null features: tests whose name has this in it; the rest is kept")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    result: dict[str, Any] = json.loads(args.out.read_text()) if args.part and args.out.exists() else {}
    about = {"n_places": N_PLACES, "neighbours": K, "n_features": args.features, "permutations": PERMUTATIONS}
    result.update(about, band="middle 99 % of the binomial, for each rate by itself")
    if args.part in (None, "nulls"):
        result["nulls"] = null_rates(args.features, args.only, result.get("nulls", []))
        result["cells"] = len(result["nulls"]) * len(ALPHAS)
        result["outside_the_band"] = outside(result["nulls"])
    if args.part in (None, "smooth"):
        result["independent_smooth_fields"] = smooth_pairs(N_PLACES // 2, seed=3)
    if args.part in (None, "power"):
        result["power"] = power(N_PLACES, POWER, seed=4)
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
