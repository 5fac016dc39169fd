"""Numeric kernels on arrays alone: no model, no file, no plot.

Each public name is imported when it is first used, so that one kernel does not cost the imports of all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.stats.autocorrelation import MoranResult, moran_i
    from interp.stats.bivariate import BivariateResult, bivariate_moran_i, lee_l_i, spectral_basis
    from interp.stats.car_kernel import car_q
    from interp.stats.certified import CertifiedMoran, certified_moran_i
    from interp.stats.control_task import control_labels
    from interp.stats.corrections import benjamini_hochberg, min_p
    from interp.stats.correlogram import Correlogram, correlogram_i
    from interp.stats.description_length import OnlineCode, online_code
    from interp.stats.erasure import Eraser, leace, mean_projection, random_projection
    from interp.stats.geary import geary_c
    from interp.stats.getis_ord import LocalGResult, getis_ord_g, getis_ord_local
    from interp.stats.join_counts import JoinCounts, count_joins
    from interp.stats.label_variance import variance_explained
    from interp.stats.local_autocorrelation import LocalMoranResult, local_moran_i
    from interp.stats.min_p_moran import MinPMoran, min_p_moran_i
    from interp.stats.moran_graph import MoranGraph
    from interp.stats.multinomial import Multinomial, fit_multinomial
    from interp.stats.nearest_means import MassMean, mass_mean
    from interp.stats.pvalues import pearson3_p, permutation_p, resolve_p
    from interp.stats.residuals import ResidualMoran, Residuals, residual_moran_i, residualise
    from interp.stats.ridge import leave_group_out, leave_one_out, ridge_path
    from interp.stats.ridge_folds import Fold, NestedRidge, nested_ridge
    from interp.stats.ridge_stream import RidgeGram
    from interp.stats.seeds import permutation_indices
    from interp.stats.spatial_test import SpatialTest
    from interp.stats.variogram import Variogram, variogram_gamma
    from interp.stats.weighted_jaccard import generalized_jaccard, jaccard_bounds, min_sums

_HOME = {
    "BivariateResult": "interp.stats.bivariate",
    "CertifiedMoran": "interp.stats.certified",
    "Correlogram": "interp.stats.correlogram",
    "Eraser": "interp.stats.erasure",
    "Fold": "interp.stats.ridge_folds",
    "JoinCounts": "interp.stats.join_counts",
    "LocalGResult": "interp.stats.getis_ord",
    "LocalMoranResult": "interp.stats.local_autocorrelation",
    "MassMean": "interp.stats.nearest_means",
    "MinPMoran": "interp.stats.min_p_moran",
    "MoranGraph": "interp.stats.moran_graph",
    "MoranResult": "interp.stats.autocorrelation",
    "Multinomial": "interp.stats.multinomial",
    "NestedRidge": "interp.stats.ridge_folds",
    "OnlineCode": "interp.stats.description_length",
    "ResidualMoran": "interp.stats.residuals",
    "Residuals": "interp.stats.residuals",
    "RidgeGram": "interp.stats.ridge_stream",
    "SpatialTest": "interp.stats.spatial_test",
    "Variogram": "interp.stats.variogram",
    "benjamini_hochberg": "interp.stats.corrections",
    "bivariate_moran_i": "interp.stats.bivariate",
    "car_q": "interp.stats.car_kernel",
    "certified_moran_i": "interp.stats.certified",
    "control_labels": "interp.stats.control_task",
    "correlogram_i": "interp.stats.correlogram",
    "count_joins": "interp.stats.join_counts",
    "fit_multinomial": "interp.stats.multinomial",
    "geary_c": "interp.stats.geary",
    "generalized_jaccard": "interp.stats.weighted_jaccard",
    "getis_ord_g": "interp.stats.getis_ord",
    "getis_ord_local": "interp.stats.getis_ord",
    "jaccard_bounds": "interp.stats.weighted_jaccard",
    "leace": "interp.stats.erasure",
    "leave_group_out": "interp.stats.ridge",
    "leave_one_out": "interp.stats.ridge",
    "lee_l_i": "interp.stats.bivariate",
    "local_moran_i": "interp.stats.local_autocorrelation",
    "mass_mean": "interp.stats.nearest_means",
    "mean_projection": "interp.stats.erasure",
    "min_p": "interp.stats.corrections",
    "min_p_moran_i": "interp.stats.min_p_moran",
    "min_sums": "interp.stats.weighted_jaccard",
    "moran_i": "interp.stats.autocorrelation",
    "nested_ridge": "interp.stats.ridge_folds",
    "online_code": "interp.stats.description_length",
    "pearson3_p": "interp.stats.pvalues",
    "permutation_indices": "interp.stats.seeds",
    "permutation_p": "interp.stats.pvalues",
    "random_projection": "interp.stats.erasure",
    "residual_moran_i": "interp.stats.residuals",
    "residualise": "interp.stats.residuals",
    "resolve_p": "interp.stats.pvalues",
    "ridge_path": "interp.stats.ridge",
    "spectral_basis": "interp.stats.bivariate",
    "variance_explained": "interp.stats.label_variance",
    "variogram_gamma": "interp.stats.variogram",
}

__all__ = [
    "BivariateResult",
    "CertifiedMoran",
    "Correlogram",
    "Eraser",
    "Fold",
    "JoinCounts",
    "LocalGResult",
    "LocalMoranResult",
    "MassMean",
    "MinPMoran",
    "MoranGraph",
    "MoranResult",
    "Multinomial",
    "NestedRidge",
    "OnlineCode",
    "ResidualMoran",
    "Residuals",
    "RidgeGram",
    "SpatialTest",
    "Variogram",
    "benjamini_hochberg",
    "bivariate_moran_i",
    "car_q",
    "certified_moran_i",
    "control_labels",
    "correlogram_i",
    "count_joins",
    "fit_multinomial",
    "geary_c",
    "generalized_jaccard",
    "getis_ord_g",
    "getis_ord_local",
    "jaccard_bounds",
    "leace",
    "leave_group_out",
    "leave_one_out",
    "lee_l_i",
    "local_moran_i",
    "mass_mean",
    "mean_projection",
    "min_p",
    "min_p_moran_i",
    "min_sums",
    "moran_i",
    "nested_ridge",
    "online_code",
    "pearson3_p",
    "permutation_indices",
    "permutation_p",
    "random_projection",
    "residual_moran_i",
    "residualise",
    "resolve_p",
    "ridge_path",
    "spectral_basis",
    "variance_explained",
    "variogram_gamma",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return __all__
