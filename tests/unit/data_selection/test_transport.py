"""Transport against a linear programme, and near-duplicates that share what one of them would get."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial.distance import cdist

from analyses.data_selection.transport import kernel_density, transport_scores, transported
from interp.errors import InvalidInput


def unit(seed, n, d=4):
    x = np.random.default_rng(seed).standard_normal((n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def programme(distance, most):
    """Return the mass of each sample in the cheapest plan with at most `most` for each pair and 1 / M a target."""
    m, n = distance.shape
    rows = np.kron(np.eye(m), np.ones(n))
    found = linprog(distance.ravel(), A_eq=rows, b_eq=np.full(m, 1 / m), bounds=[(0, b) for b in np.tile(most, m)])
    assert found.success
    return found.x.reshape(m, n).sum(axis=0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cap", [0.05, 0.11, 2.0])
def test_filling_up_is_the_cheapest_plan(seed, cap):
    pool, targets = unit(seed, 12), unit(seed + 50, 3)
    distance, weight = cdist(targets, pool), np.random.default_rng(seed).uniform(0.8, 1.0, 12)
    found = transported(np.argsort(distance, axis=1), weight, cap)
    np.testing.assert_allclose(found, programme(distance, cap * weight), atol=1e-9)
    assert found.sum() == pytest.approx(1.0)


def test_density_is_its_sum():
    points = unit(0, 30)
    d = cdist(points, points)
    np.testing.assert_allclose(kernel_density(points, 0.5), np.maximum(0, 1 - (d / 0.5) ** 2).sum(1), atol=1e-7)
    np.fill_diagonal(d, np.inf)
    width = np.median(d.min(1))
    np.testing.assert_allclose(kernel_density(points), kernel_density(points, width))


@pytest.mark.parametrize("n", [1, 7, 40, 60])
def test_as_many_samples_as_were_wanted_get_mass(n):
    scores = transport_scores(unit(1, 60), unit(2, 5), n=n)
    assert np.isfinite(scores).all()
    assert abs((scores > 0).sum() - n) <= 4  # several targets may reach their next sample with the same cap
    assert (scores > 0).sum() >= n


def test_duplicates_share_and_what_is_alone_ranks_before_them():
    rng = np.random.default_rng(3)
    targets = unit(4, 1, 8)
    near = targets + 0.27 * rng.standard_normal((6, 8))  # alone, a bit farther
    clump = np.repeat(targets + 0.25 * rng.standard_normal((1, 8)), 20, axis=0)
    other = -targets + 0.2 * rng.standard_normal((40, 8))
    pool = np.vstack([clump, near, other])
    scores = transport_scores(pool, targets, n=28, width=0.1)
    best = np.argsort(-scores, kind="stable")[:5]
    assert set(best) <= set(range(20, 26))  # of the last that is reached only a part is taken
    assert (scores[:20] > 0).all()
    assert scores[:20].sum() < scores[20:26].sum()
    assert (scores[26:] > 0).sum() == 2


def test_a_target_about_nothing_reaches_everything_alike():
    """Targets drawn like the pool: their mass does not prefer any half of it."""
    shares = [transport_scores(unit(s, 200), unit(s + 99, 50), n=60).argsort()[-60:] < 100 for s in range(10)]
    assert abs(np.mean(shares) - 0.5) < 0.07


def test_mistakes_are_named():
    with pytest.raises(InvalidInput, match="n is 0"):
        transport_scores(unit(0, 5), unit(1, 2), n=0)
    with pytest.raises(InvalidInput, match="vectors are"):
        transport_scores(unit(0, 5), unit(1, 2, 3), n=1)
    with pytest.raises(InvalidInput, match="NaN"):
        transport_scores(np.full((5, 4), np.nan), unit(1, 2), n=1)
