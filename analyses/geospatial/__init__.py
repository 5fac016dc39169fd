"""Is geography laid out in the features? Places, spatial weights, and tests of spatial autocorrelation.

Each public name is imported when it is first used, so that a table of places does not cost the imports of a model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# at once, unlike the others: left to later, `geospatial.moran` would be the module or the function by order of imports
from analyses.geospatial.moran import local_moran, moran

if TYPE_CHECKING:
    from analyses.geospatial.activations import PlaceActivations, placename_activations
    from analyses.geospatial.confounds import place_covariates, residual_moran, residualise
    from analyses.geospatial.decode_run import decoding_study, geo_probe, unmentioned_cities
    from analyses.geospatial.distance_bands import correlogram, variogram
    from analyses.geospatial.global_tests import geary, getis_ord, join_counts
    from analyses.geospatial.kernel_tests import car_test
    from analyses.geospatial.pair_tests import bivariate_moran, lee_l
    from analyses.geospatial.places import load_places
    from analyses.geospatial.prompts import Prompts, make_prompts
    from analyses.geospatial.run import autocorrelation_study
    from analyses.geospatial.small_p import certified_moran, min_p_moran
    from analyses.geospatial.study import StudyConfig
    from analyses.geospatial.weight_choice import sensitivity
    from analyses.geospatial.weights import SpatialWeights, spatial_weights

_HOME = {
    "PlaceActivations": "analyses.geospatial.activations",
    "Prompts": "analyses.geospatial.prompts",
    "SpatialWeights": "analyses.geospatial.weights",
    "StudyConfig": "analyses.geospatial.study",
    "autocorrelation_study": "analyses.geospatial.run",
    "bivariate_moran": "analyses.geospatial.pair_tests",
    "car_test": "analyses.geospatial.kernel_tests",
    "certified_moran": "analyses.geospatial.small_p",
    "correlogram": "analyses.geospatial.distance_bands",
    "decoding_study": "analyses.geospatial.decode_run",
    "geary": "analyses.geospatial.global_tests",
    "geo_probe": "analyses.geospatial.decode_run",
    "getis_ord": "analyses.geospatial.global_tests",
    "join_counts": "analyses.geospatial.global_tests",
    "lee_l": "analyses.geospatial.pair_tests",
    "load_places": "analyses.geospatial.places",
    "make_prompts": "analyses.geospatial.prompts",
    "min_p_moran": "analyses.geospatial.small_p",
    "place_covariates": "analyses.geospatial.confounds",
    "placename_activations": "analyses.geospatial.activations",
    "residual_moran": "analyses.geospatial.confounds",
    "residualise": "analyses.geospatial.confounds",
    "sensitivity": "analyses.geospatial.weight_choice",
    "spatial_weights": "analyses.geospatial.weights",
    "unmentioned_cities": "analyses.geospatial.decode_run",
    "variogram": "analyses.geospatial.distance_bands",
}

__all__ = [
    "PlaceActivations",
    "Prompts",
    "SpatialWeights",
    "StudyConfig",
    "autocorrelation_study",
    "bivariate_moran",
    "car_test",
    "certified_moran",
    "correlogram",
    "decoding_study",
    "geary",
    "geo_probe",
    "getis_ord",
    "join_counts",
    "lee_l",
    "load_places",
    "local_moran",
    "make_prompts",
    "min_p_moran",
    "moran",
    "place_covariates",
    "placename_activations",
    "residual_moran",
    "residualise",
    "sensitivity",
    "spatial_weights",
    "unmentioned_cities",
    "variogram",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return __all__
