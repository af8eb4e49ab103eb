"""Bayesian linear regression (MacKay, Neural Computation 4, 415 (1992), doi:10.1162/neco.1992.4.3.415).

Weights w have a Gaussian prior of variance sw², labels have Gaussian noise of variance sv²; both variances maximise the
evidence. The solution uses the singular values of the design matrix A (equal to the singular values of its triangular
factor). The normal equations AᵀA are never formed, since they square the condition number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, svd

_ITERATIONS = 200
_CONVERGED = 1e-8
_BOUNDS = (1e-14, 1e14)


@dataclass(frozen=True)
class Posterior:
    """Mean of the weights [m], a factor F [m,m] of their covariance FFᵀ, and the two variances."""

    mean: np.ndarray
    factor: np.ndarray
    weight_variance: float
    noise_variance: float

    def deviations(self, rows: np.ndarray) -> np.ndarray:
        """Return the standard deviations of the predictions of rows [k,m] of the design matrix."""
        return np.sqrt(((rows @ self.factor) ** 2).sum(axis=1))


def fit(design: np.ndarray, labels: np.ndarray) -> Posterior:
    """Return the posterior of the weights.

    :param design: design matrix [k,m], whose rows are divided by the scale of their noise.
    :param labels: labels [k], divided likewise.
    """
    n_rows, n_columns = design.shape
    triangle = qr(np.column_stack([design, labels]), mode='r', overwrite_a=True, check_finite=False)[0]
    triangle = triangle[: n_columns + 1]
    left, values, right = svd(triangle[:, :n_columns], full_matrices=True)
    singular = np.zeros(n_columns)
    singular[: len(values)] = values
    target = np.zeros(n_columns)
    target[: len(values)] = (left.T @ triangle[:, n_columns])[: len(values)]
    unreached = float(triangle[:, n_columns] @ triangle[:, n_columns] - target @ target)
    weight_variance, noise_variance = _maximise_evidence(singular, target, max(unreached, 0.0), n_rows)
    filtered = singular / (singular**2 + noise_variance / weight_variance)
    spread = 1 / np.sqrt(singular**2 / noise_variance + 1 / weight_variance)
    return Posterior(right.T @ (filtered * target), right.T * spread, weight_variance, noise_variance)


def _maximise_evidence(singular: np.ndarray, target: np.ndarray, unreached: float, n_rows: int) -> tuple[float, float]:
    """Return the variances of weights and noise by MacKay's fixed-point iteration, always from the same start.

    :param target: labels in the basis of the left singular vectors.
    :param unreached: sum of the squares of the labels that no weights can reach.
    """
    weight_variance, noise_variance = 1.0, 1e-3
    for _ in range(_ITERATIONS):
        shrinkage = singular**2 / (singular**2 + noise_variance / weight_variance)
        well_determined = float(shrinkage.sum())
        weights = np.divide(shrinkage * target, singular, out=np.zeros_like(target), where=singular > 0)
        residual = unreached + float((((1 - shrinkage) * target) ** 2).sum())
        before = weight_variance, noise_variance
        weight_variance = float(np.clip(weights @ weights / max(well_determined, 1e-9), *_BOUNDS))
        noise_variance = float(np.clip(residual / max(n_rows - well_determined, 1.0), *_BOUNDS))
        if np.allclose((weight_variance, noise_variance), before, rtol=_CONVERGED, atol=0):
            break
    return weight_variance, noise_variance
