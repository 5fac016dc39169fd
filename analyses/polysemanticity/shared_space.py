"""How directions share a space: capacity of each feature, interference, and which neurons carry which latents."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interp.errors import InvalidInput


def feature_capacity(W: np.ndarray) -> pd.DataFrame:
    """Return the share of a dimension that each feature has to itself.

    C_i = (W_i · W_i)² / Σ_j (W_i · W_j)², the same number as the dimensionality ||W_i||² / Σ_j (Ŵ_i · W_j)² of Elhage
    et al.; interference Σ_{j≠i} (Ŵ_i · W_j)² is what the others put onto the direction of i. Σ C is at most the
    number of dimensions.

    Args:
        W: float [n_features, d], the direction of each feature (of an SAE: rows of W_dec).

    Returns:
        feature, capacity, interference, norm, status.

    Reference: Scherlis et al. 2022; Elhage et al. 2022.
    """
    rows = _directions(W)
    squared = (rows @ rows.T) ** 2
    length = (rows**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        capacity = length**2 / squared.sum(axis=1)
        interference = squared.sum(axis=1) / length - length
    status = np.where(length > 0, "ok", "zero direction")
    columns = {"feature": np.arange(len(rows)), "capacity": capacity, "interference": interference}
    return pd.DataFrame({**columns, "norm": np.sqrt(length), "status": status})


def interference_matrix(W: np.ndarray) -> np.ndarray:
    """Return (Ŵ_i · W_j)² for i ≠ j and 0 on the diagonal, float64 [n_features, n_features]."""
    rows = _directions(W)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    out = (unit @ rows.T) ** 2
    np.fill_diagonal(out, 0.0)
    return out


def neuron_latent_map(
    weights: np.ndarray, *, energy: np.ndarray | None = None, n_rotations: int = 20, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how many neurons carry a latent, and how many latents a neuron carries.

    The effective number is 1 / Σ p² with p = w² / Σ w². The null turns the space of the neurons at random: then no
    neuron is a better axis than another, and the latents keep their lengths and angles.

    Args:
        weights: float [n_latents, n_neurons]: W_dec of an SAE on neurons, or W_enc.T @ W_out.T of one on `mlp_out`.
        energy: float [n_latents], E[f²] of each latent, its weight where latents of a neuron are counted; default 1.
        n_rotations: random rotations (Haar) of the null.

    Returns:
        Two tables, of latents (latent, n_effective, top_neuron, top_share) and of neurons (neuron, n_effective,
        top_latent, top_share), each with null_mean, null_sd and z over the rotations, n_rotations, seed, status.

    Raises:
        InvalidInput: shapes that do not fit.
    """
    W = _directions(weights)
    scale = np.ones(len(W)) if energy is None else np.asarray(energy, dtype=np.float64)
    if scale.shape != (len(W),) or (scale < 0).any():
        raise InvalidInput(f"energy is one number from 0 a latent [{len(W)}]; given {list(scale.shape)}.")
    rng = np.random.default_rng(seed)
    spread = [_both_spreads(W @ _rotation(W.shape[1], rng), scale) for _ in range(n_rotations)]
    tables = []
    for axis, (thing, other) in enumerate((("latent", "neuron"), ("neuron", "latent"))):
        mass = W**2 if axis == 0 else (W**2 * scale[:, None]).T
        found, null = _effective(mass), np.array([pair[axis] for pair in spread])
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, sd = (null.mean(axis=0), null.std(axis=0, ddof=1)) if n_rotations > 1 else (np.nan, np.nan)
            columns = {
                thing: np.arange(len(mass)), "n_effective": found, f"top_{other}": mass.argmax(axis=1),
                "top_share": mass.max(axis=1) / mass.sum(axis=1), "null_mean": mean, "null_sd": sd,
                "z": (found - mean) / sd, "n_rotations": n_rotations, "seed": seed,
            }  # fmt: skip
        tables.append(pd.DataFrame(columns).assign(status=np.where(mass.sum(axis=1) > 0, "ok", "no weight")))
    return tables[0], tables[1]


def _both_spreads(W: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _effective(W**2), _effective((W**2 * scale[:, None]).T)


def _effective(mass: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return mass.sum(axis=1) ** 2 / (mass**2).sum(axis=1)


def _rotation(d: int, rng: np.random.Generator) -> np.ndarray:
    """Return an orthogonal matrix of the Haar measure (Mezzadri 2007)."""
    Q, R = np.linalg.qr(rng.standard_normal((d, d)))
    return Q * np.sign(np.diag(R))


def _directions(W: np.ndarray) -> np.ndarray:
    rows = np.asarray(W, dtype=np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise InvalidInput(f"directions are finite and [n_features, d]; given {list(rows.shape)}.")
    return rows
