"""Families of known dictionaries: flat, Zipf, correlated, a tree and a forest of features.

They differ in what makes a dictionary hard to find: rare features (Zipf), features that fire together (correlated),
and features that fire only where another does (tree, forest), which invites an SAE to fold the parent into the child.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

from interp.errors import InvalidInput
from interp.sae.synthetic.source import DICTIONARY_STREAM, Synthetic, unit_rows

_LOW, _HIGH = 0.5, 1.5  # sizes of active features are uniform between these
_NONE = -1


def flat_data(*, d: int = 64, n: int = 256, s: int = 3, seed: int) -> Synthetic:
    """Return n random directions of which exactly s are on in every row, each as often as any other."""
    if not 1 <= s <= n:
        raise InvalidInput(f"s features of {n} are on: s is from 1 to {n}, not {s}.")

    def codes(rng: np.random.Generator, rows: int) -> np.ndarray:
        columns = np.argpartition(rng.random((rows, n)), s - 1, axis=1)[:, :s]
        out = np.zeros((rows, n))
        np.put_along_axis(out, columns, rng.uniform(_LOW, _HIGH, (rows, s)), axis=1)
        return out

    dictionary = _directions(n, d, seed)
    return Synthetic(f"flat d={d} n={n} s={s}", dictionary, np.full(n, s / n), np.full(n, _NONE), codes, seed)


def zipf_data(*, d: int = 64, n: int = 256, l0: float = 3.0, exponent: float = 0.5, seed: int) -> Synthetic:
    """Return n random directions, independent of each other, feature i on with probability ~ (i + 1)^-exponent.

    Raises:
        InvalidInput: with that l0 the most frequent feature would be on more often than always.
    """
    probability = np.arange(1, n + 1, dtype=np.float64) ** -exponent
    probability *= l0 / probability.sum()
    if not l0 > 0 or probability[0] > 1:
        raise InvalidInput(
            f"l0 {l0} over {n} features gives the first a probability of {probability[0]:.3g}; lower it."
        )
    name = f"zipf d={d} n={n} l0={l0:g} exponent={exponent:g}"
    return Synthetic(name, _directions(n, d, seed), probability, np.full(n, _NONE), _independent(probability), seed)


def correlated_data(
    *, d: int = 64, n: int = 256, l0: float = 3.0, block: int = 4, rho: float = 0.5, seed: int
) -> Synthetic:
    """Return n random directions in blocks whose features tend to fire together.

    A feature is on where a standard normal exceeds the quantile of its probability l0 / n; two normals of one block
    have correlation rho, those of different blocks none (a Gaussian copula), so the marginal probability is exact.
    """
    if n % block or not 0 <= rho < 1 or not 0 < l0 < n:
        raise InvalidInput(
            f"blocks of {block} have to divide {n} features, rho is in [0, 1) and l0 in (0, {n}); given rho {rho}, "
            f"l0 {l0}."
        )
    bound = -float(ndtri(l0 / n))

    def codes(rng: np.random.Generator, rows: int) -> np.ndarray:
        shared = np.repeat(rng.standard_normal((rows, n // block)), block, axis=1)
        own = rng.standard_normal((rows, n))
        on = np.sqrt(rho) * shared + np.sqrt(1 - rho) * own > bound
        return np.where(on, rng.uniform(_LOW, _HIGH, (rows, n)), 0.0)

    name = f"correlated d={d} n={n} l0={l0:g} block={block} rho={rho:g}"
    return Synthetic(name, _directions(n, d, seed), np.full(n, l0 / n), np.full(n, _NONE), codes, seed)


def tree_data(*, mixing: float = 0.1, seed: int) -> Synthetic:
    """Return the tree of 20 concepts in R^20 of the Matching Pursuit SAE paper.

    Exactly one of 11 parents is on: three with probability .2, eight with .05. Each of the three has 3 children, of
    which at most one is on with it (.2 each, .4 none). Sizes are N(1.5, .25^2), independent for parent and child.
    The directions are orthonormal, then each is mixed with its m - 1 siblings (children of one parent; the parents
    are siblings of one another): D_i <- (1 - mixing) D_i + mixing / (m - 1) sum D_sibling, and brought to length 1.

    Reference: Costa et al. 2025 (the toy hierarchy).
    """
    if not 0 <= mixing < 1:
        raise InvalidInput(f"mixing is in [0, 1), not {mixing}.")
    parent = np.concatenate([np.full(11, _NONE), np.repeat(np.arange(3), 3)])
    roots = np.array([0.2] * 3 + [0.05] * 8)

    def codes(rng: np.random.Generator, rows: int) -> np.ndarray:
        root = rng.choice(11, size=rows, p=roots)
        which = rng.choice(4, size=rows, p=[0.2, 0.2, 0.2, 0.4])
        on = np.zeros((rows, 20), dtype=bool)
        on[np.arange(rows), root] = True
        with_child = np.flatnonzero((root < 3) & (which < 3))
        on[with_child, 11 + 3 * root[with_child] + which[with_child]] = True
        return np.where(on, np.abs(rng.normal(1.5, 0.25, (rows, 20))), 0.0)

    probability = np.concatenate([roots, np.full(9, 0.2 * 0.2)])
    dictionary = _mixed(np.linalg.qr(_gaussian(20, 20, seed))[0], parent, mixing)
    return Synthetic(f"tree mixing={mixing:g}", dictionary, probability, parent, codes, seed)


def forest_data(
    *, d: int = 64, roots: int = 32, children: int = 4, active: int = 2, child_probability: float = 0.5, seed: int
) -> Synthetic:
    """Return a superposed forest: `active` of the roots are on, each with one of its children at `child_probability`.

    Each child is orthogonal to its own parent, so that a latent for both of them is no better a match by accident.
    """
    if not (1 <= active <= roots and 0 <= child_probability <= 1 and children >= 1):
        raise InvalidInput(
            f"active is from 1 to {roots} roots and child_probability in [0, 1]; given {active}, {child_probability}."
        )
    n = roots * (1 + children)
    parent = np.concatenate([np.full(roots, _NONE), np.repeat(np.arange(roots), children)])
    dictionary = _directions(n, d, seed)
    above = dictionary[parent[roots:]]
    below = dictionary[roots:]
    dictionary[roots:] = unit_rows(below - (below * above).sum(axis=1, keepdims=True) * above)

    def codes(rng: np.random.Generator, rows: int) -> np.ndarray:
        root = np.argpartition(rng.random((rows, roots)), active - 1, axis=1)[:, :active]
        on = np.zeros((rows, n), dtype=bool)
        np.put_along_axis(on, root, True, axis=1)
        child = roots + root * children + rng.integers(children, size=root.shape)
        np.put_along_axis(on, child, rng.random(root.shape) < child_probability, axis=1)
        return np.where(on, rng.uniform(_LOW, _HIGH, (rows, n)), 0.0)

    of_root = active / roots
    probability = np.concatenate([np.full(roots, of_root), np.full(n - roots, of_root * child_probability / children)])
    name = f"forest d={d} roots={roots} children={children} active={active} child={child_probability:g}"
    return Synthetic(name, dictionary, probability, parent, codes, seed)


FAMILIES: dict[str, Callable[..., Synthetic]] = {
    "flat": flat_data,
    "zipf": zipf_data,
    "correlated": correlated_data,
    "tree": tree_data,
    "forest": forest_data,
}


def _independent(probability: np.ndarray) -> Callable[[np.random.Generator, int], np.ndarray]:
    def codes(rng: np.random.Generator, rows: int) -> np.ndarray:
        shape = (rows, len(probability))
        return np.where(rng.random(shape) < probability, rng.uniform(_LOW, _HIGH, shape), 0.0)

    return codes


def _gaussian(n: int, d: int, seed: int) -> np.ndarray:
    if n < 1 or d < 1:
        raise InvalidInput(f"a dictionary has n and d from 1; given n {n}, d {d}.")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(DICTIONARY_STREAM,)))
    return rng.standard_normal((n, d))


def _directions(n: int, d: int, seed: int) -> np.ndarray:
    return unit_rows(_gaussian(n, d, seed))


def _mixed(rows: np.ndarray, parent: np.ndarray, mixing: float) -> np.ndarray:
    out = rows.copy()
    for group in np.unique(parent):
        members = np.flatnonzero(parent == group)
        total = rows[members].sum(axis=0)
        others = (total - rows[members]) / (len(members) - 1)
        out[members] = (1 - mixing) * rows[members] + mixing * others
    return unit_rows(out)
