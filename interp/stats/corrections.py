"""Corrections for many tests at once, which know that a missing p-value is not a test."""

from __future__ import annotations

from typing import Literal

import numpy as np

from interp.errors import InvalidInput


def _checked(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(p, dtype=np.float64)
    tested = ~np.isnan(values)
    outside = tested & ((values < 0) | (values > 1))
    if outside.any():
        raise InvalidInput(f"p-values must lie in [0, 1]; got {values[outside].flat[0]:.6g}. NaN marks 'not tested'.")
    return values, tested


def benjamini_hochberg(p: np.ndarray, *, dependence: Literal["positive", "any"] = "positive") -> np.ndarray:
    """Return p-values adjusted for the false discovery rate (q-values).

    Args:
        p: any shape; all of it is one family. NaN means "not tested": it stays NaN and is not counted.
        dependence: "positive", Benjamini-Hochberg (independent or positively dependent tests); or "any",
            Benjamini-Yekutieli, larger by 1 + 1/2 + .. + 1/m for m tests.

    Returns:
        float64, the shape of `p`.

    Raises:
        InvalidInput: a value lies outside [0, 1].

    Reference: Benjamini & Hochberg 1995, eq. 1; Benjamini & Yekutieli 2001, theorem 1.3.

    >>> benjamini_hochberg(np.array([0.01, 0.02, np.nan, 0.5])).tolist()
    [0.03, 0.03, nan, 0.5]
    """
    from scipy.stats import false_discovery_control  # here: importing scipy.stats takes most of a second

    values, tested = _checked(p)
    q = np.full(values.shape, np.nan)
    if tested.any():
        q[tested] = false_discovery_control(values[tested], method="bh" if dependence == "positive" else "by")
    return q


def min_p(observed: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """Return step-down minP adjusted p-values, which hold the family-wise error rate under any dependence.

    Args:
        observed: shape (test,), raw p-values; NaN is not a test.
        permuted: shape (permutation, test), the p-values that each permutation gives when it is ranked among all of
            them (the observed one included), so that both are on one scale.

    Returns:
        float64, shape (test,).

    Raises:
        InvalidInput: the shapes do not fit, or a value lies outside [0, 1].

    Reference: Westfall & Young 1993, algorithm 2.8; Ge, Dudoit & Speed 2003, box 3.
    """
    values, tested = _checked(observed)
    null, _ = _checked(permuted)
    if values.ndim != 1 or null.ndim != 2 or null.shape[1] != values.size or null.shape[0] == 0:
        raise InvalidInput(f"min_p needs (test,) and (permutation, test); got {values.shape} and {null.shape}.")
    adjusted = np.full(values.shape, np.nan)
    ids = np.flatnonzero(tested)
    order = ids[np.argsort(values[ids], kind="stable")]
    if order.size == 0:
        return adjusted
    # the smallest null p among this test and all that rank behind it
    lowest = np.fmin.accumulate(null[:, order][:, ::-1], axis=1)[:, ::-1]
    as_small = (lowest <= values[order]).sum(axis=0)
    adjusted[order] = np.maximum.accumulate((1.0 + as_small) / (1.0 + null.shape[0]))
    return adjusted
