from .activations import PlaceActivations as PlaceActivations, placename_activations as placename_activations
from .confounds import (
    place_covariates as place_covariates,
    residual_moran as residual_moran,
    residualise as residualise,
)
from .decode_run import (
    decoding_study as decoding_study,
    geo_probe as geo_probe,
    unmentioned_cities as unmentioned_cities,
)
from .distance_bands import correlogram as correlogram, variogram as variogram
from .global_tests import geary as geary, getis_ord as getis_ord, join_counts as join_counts
from .kernel_tests import car_test as car_test
from .moran import local_moran as local_moran, moran as moran
from .pair_tests import bivariate_moran as bivariate_moran, lee_l as lee_l
from .places import load_places as load_places
from .prompts import Prompts as Prompts, make_prompts as make_prompts
from .run import autocorrelation_study as autocorrelation_study
from .small_p import certified_moran as certified_moran, min_p_moran as min_p_moran
from .study import StudyConfig as StudyConfig
from .weight_choice import sensitivity as sensitivity
from .weights import SpatialWeights as SpatialWeights, spatial_weights as spatial_weights
