"""Fits of models to power spectra, linear in the model's amplitudes, weighted by the fitted spectrum itself.

In the basis in which a stationary Gaussian process is uncorrelated, its squares P(k) have the mean l(k) and the
variance 2 l(k)². A weighted linear fit of P to l with the weights 1/l² is iterated until the weights agree with the
fit. It then solves sum_k (P - l) dl / l² = 0, the score of the likelihood. It is unbiased for any distribution if the
mean of P is l.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_ITERATIONS = 20
_LEAST = 1e-3


def fit_spectra(
    powers: Sequence[np.ndarray], designs: Sequence[np.ndarray], weights: Sequence[np.ndarray] | None = None
) -> list[np.ndarray]:
    """Return the amplitudes [p,n,3] of each tracer along each axis, by replica.

    All tracers and axes share the weights of the fit to their mean. The result is then linear in the squares: the mean
    over tracers and axes is the estimate for all, and rotations mix axes as they mix displacements.

    :param powers: squares [k,n,3] of each replica.
    :param designs: derivatives [k,p] of the model by the amplitudes.
    :param weights: number of squares [k] that each square represents; the default is one.
    """
    counts = [np.ones(len(power)) for power in powers] if weights is None else weights
    observed = np.concatenate([power.mean(axis=(1, 2)) for power in powers])
    together = np.concatenate(designs)
    worth = np.concatenate([count * power.shape[1] for count, power in zip(counts, powers, strict=True)])
    least, solution = _LEAST * observed.mean(), None
    spectrum = np.full_like(observed, observed.mean())
    for _ in range(_ITERATIONS):
        solution = _solve(together, worth / np.square(spectrum), observed)
        spectrum = np.maximum(together @ solution, least)
    fitted = [np.maximum(design @ solution, least) for design in designs]
    parts = zip(designs, counts, fitted, powers, strict=True)
    return [_solve(design, count / np.square(model), power) for design, count, model, power in parts]


def _solve(design: np.ndarray, weights: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return the amplitudes [p,...] of the weighted fit to squares [k,...]."""
    weighted = (weights[:, None] * design).T
    flat = np.linalg.solve(weighted @ design, weighted @ observed.reshape(len(observed), -1))
    return flat.reshape(-1, *observed.shape[1:])
