from .autocorrelation import MoranResult as MoranResult, moran_i as moran_i
from .bivariate import (
    BivariateResult as BivariateResult,
    bivariate_moran_i as bivariate_moran_i,
    lee_l_i as lee_l_i,
    spectral_basis as spectral_basis,
)
from .car_kernel import car_q as car_q
from .certified import CertifiedMoran as CertifiedMoran, certified_moran_i as certified_moran_i
from .control_task import control_labels as control_labels
from .corrections import benjamini_hochberg as benjamini_hochberg, min_p as min_p
from .correlogram import Correlogram as Correlogram, correlogram_i as correlogram_i
from .description_length import OnlineCode as OnlineCode, online_code as online_code
from .erasure import (
    Eraser as Eraser,
    leace as leace,
    mean_projection as mean_projection,
    random_projection as random_projection,
)
from .geary import geary_c as geary_c
from .getis_ord import LocalGResult as LocalGResult, getis_ord_g as getis_ord_g, getis_ord_local as getis_ord_local
from .join_counts import JoinCounts as JoinCounts, count_joins as count_joins
from .label_variance import variance_explained as variance_explained
from .local_autocorrelation import LocalMoranResult as LocalMoranResult, local_moran_i as local_moran_i
from .min_p_moran import MinPMoran as MinPMoran, min_p_moran_i as min_p_moran_i
from .moran_graph import MoranGraph as MoranGraph
from .multinomial import Multinomial as Multinomial, fit_multinomial as fit_multinomial
from .nearest_means import MassMean as MassMean, mass_mean as mass_mean
from .pvalues import pearson3_p as pearson3_p, permutation_p as permutation_p, resolve_p as resolve_p
from .residuals import (
    ResidualMoran as ResidualMoran,
    Residuals as Residuals,
    residual_moran_i as residual_moran_i,
    residualise as residualise,
)
from .ridge import leave_group_out as leave_group_out, leave_one_out as leave_one_out, ridge_path as ridge_path
from .ridge_folds import Fold as Fold, NestedRidge as NestedRidge, nested_ridge as nested_ridge
from .ridge_stream import RidgeGram as RidgeGram
from .seeds import permutation_indices as permutation_indices
from .spatial_test import SpatialTest as SpatialTest
from .variogram import Variogram as Variogram, variogram_gamma as variogram_gamma
from .weighted_jaccard import (
    generalized_jaccard as generalized_jaccard,
    jaccard_bounds as jaccard_bounds,
    min_sums as min_sums,
)
