"""LEACE is that of its authors.

Needs concept-erasure 0.2.4 (`pip install --no-deps concept-erasure`) beside this package; elsewhere it is skipped.
"""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
concept_erasure = pytest.importorskip("concept_erasure")

import torch  # noqa: E402

from interp.stats import leace, mean_projection  # noqa: E402
from interp.stats.erasure import one_hot  # noqa: E402


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize(("ours", "method"), [(leace, "leace"), (mean_projection, "orth")])
def test_erased_rows_are_those_of_the_authors(n_classes, ours, method):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, n_classes, 500)
    x = rng.standard_normal((500, 30)) + 3 * rng.standard_normal((n_classes, 30))[codes]
    x, z = x @ rng.standard_normal((30, 30)) + 5, one_hot(codes)
    fitter = concept_erasure.LeaceFitter(
        30, n_classes, method, shrinkage=False, constrain_cov_trace=False, svd_tol=1e-8, dtype=torch.float64
    )
    theirs = fitter.update(torch.from_numpy(x), torch.from_numpy(z)).eraser(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours(x, z).apply(x), theirs, rtol=1e-8, atol=1e-8)
