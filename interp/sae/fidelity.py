"""How well a reconstruction stands for what it replaces: running sums over rows, under many weightings at once."""

from __future__ import annotations

import numpy as np
from torch import Tensor

FIDELITY = ("l0", "fvu", "explained_variance", "cosine", "norm_ratio", "slope")
"""Names of the metrics, in the order of the table."""
_ERROR, _COSINE, _ON, _RATIO, _INVERSE, _VARIANCE, _HAT, _CROSS, _SIZED = range(9)


class FidelitySums:
    """Running float64 sums over the rows, one for each column of weights (column 0: every weight 1)."""

    def __init__(self, d_in: int, n_weights: int) -> None:
        self.n = 0
        self.weight = np.zeros(n_weights)
        self._x = np.zeros((n_weights, d_in))
        self._x_hat = np.zeros((n_weights, d_in))
        self._unit = np.zeros((n_weights, d_in))  # sum of x / |x|, from which any constant's mean cosine follows
        self._scalars = np.zeros((n_weights, 9))
        self._shift: np.ndarray | None = None

    def add(self, x: Tensor, latents: Tensor, x_hat: Tensor, weights: np.ndarray) -> None:
        """Add rows x [n, d], their latents [n, d_sae] and reconstructions [n, d], weighted [n, n_weights]."""
        rows, out = x.cpu().double().numpy(), x_hat.cpu().double().numpy()
        if self._shift is None:
            self._shift = rows[0].copy()  # near the mean: the variance is then not a difference of large numbers
        centred, centred_out = rows - self._shift, out - self._shift
        norm, out_norm = np.linalg.norm(rows, axis=1), np.linalg.norm(out, axis=1)
        sized = norm > 0
        safe = np.where(sized, norm, 1.0)
        product = safe * out_norm
        per_row = np.empty((len(rows), 9))
        per_row[:, _ERROR] = ((rows - out) ** 2).sum(axis=1)
        per_row[:, _COSINE] = np.divide(
            (rows * out).sum(axis=1), product, out=np.zeros(len(rows)), where=sized & (product > 0)
        )
        per_row[:, _ON] = (latents > 0).sum(dim=1).cpu().double().numpy()
        per_row[:, _RATIO] = np.where(sized, out_norm / safe, 0.0)
        per_row[:, _INVERSE] = np.where(sized, 1.0 / safe, 0.0)
        per_row[:, _VARIANCE] = (centred**2).sum(axis=1)
        per_row[:, _HAT] = (centred_out**2).sum(axis=1)
        per_row[:, _CROSS] = (centred * centred_out).sum(axis=1)
        per_row[:, _SIZED] = sized
        w = weights.T
        self.n += len(rows)
        self.weight += w.sum(axis=1)
        self._x += w @ centred
        self._x_hat += w @ centred_out
        self._unit += w @ (rows / safe[:, None])
        self._scalars += w @ per_row

    def metrics(self) -> dict[str, np.ndarray]:
        """Return each of `FIDELITY`, float64 [n_weights]; NaN where it does not exist.

        fvu = sum |x - x_hat|^2 / sum |x - mean x|^2. cosine: mean over rows. norm_ratio: mean of |x_hat| / |x|.
        slope: of the regression of x on x_hat, both about their means, sum dx.dx_hat / sum |dx_hat|^2: the factor by
        which the reconstruction should be stretched; above 1 it is shrunken.

        Reference: slope is 1 / gamma of Rajamanoharan et al. 2024 (Gated SAEs), here about the means.
        """
        s = self._scalars.T
        with np.errstate(divide="ignore", invalid="ignore"):  # a constant stream has no variance: NaN, with a status
            hat = self._about_mean(s[_HAT], self._x_hat, self._x_hat)
            fvu = _ratio(s[_ERROR], self.variance())
            return {
                "l0": s[_ON] / self.weight,
                "fvu": fvu,
                "explained_variance": 1.0 - fvu,
                "cosine": s[_COSINE] / self.weight,
                "norm_ratio": _ratio(s[_RATIO], s[_SIZED]),
                # a reconstruction that never varies leaves a rounding error of its length, and no slope
                "slope": _ratio(self._about_mean(s[_CROSS], self._x, self._x_hat), hat, floor=1e-12 * s[_HAT]),
            }

    def variance(self) -> np.ndarray:
        """Return sum |x - mean|^2, float64 [n_weights]."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._about_mean(self._scalars[:, _VARIANCE], self._x, self._x)

    def error(self) -> np.ndarray:
        """Return sum |x - x_hat|^2, float64 [n_weights]."""
        return self._scalars[:, _ERROR].copy()

    def mean(self) -> np.ndarray:
        """Return the mean row, float64 [d]."""
        return self._x[0] / self.n + (self._shift if self._shift is not None else 0.0)

    def variance_about(self, point: np.ndarray) -> float:
        """Return sum |x - point|^2."""
        return float(self.variance()[0]) + self.n * float(((self.mean() - point) ** 2).sum())

    def mean_predictor(self) -> dict[str, float]:
        """Return what predicting the mean scores on the same rows; FVU is 1 by its definition, and it has no slope."""
        mean = self.mean()
        size = float(np.linalg.norm(mean))
        cosine = float(self._unit[0] @ mean / (self.n * size)) if size > 0 else 0.0
        sized = self._scalars[0, _SIZED]
        ratio = size * float(self._scalars[0, _INVERSE]) / sized if sized > 0 else float("nan")
        nothing = {"l0": 0.0, "fvu": 1.0, "explained_variance": 0.0}
        return {**nothing, "cosine": cosine, "norm_ratio": ratio, "slope": float("nan")}

    def _about_mean(self, raw: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return raw - (a * b).sum(axis=1) / self.weight


def _ratio(above: np.ndarray, below: np.ndarray, *, floor: np.ndarray | float = 0.0) -> np.ndarray:
    """Return above / below, NaN where `below` is not above `floor`."""
    return np.where(below > floor, above / np.where(below > floor, below, 1.0), np.nan)
