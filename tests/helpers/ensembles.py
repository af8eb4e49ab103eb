"""Bias, scatter and coverage of an estimator, from many estimates of a known answer."""

from __future__ import annotations

import numpy as np
from scipy import stats


def summarise(name, rows):
    """Print and return bias, root mean square error and coverage in per cent, coverage with its exact 95 % interval.

    `rows`: estimate, lower and upper limit, all divided by the truth.
    """
    errors, hits = 100 * (rows[:, 0] - 1), (rows[:, 1] < 1) & (rows[:, 2] > 1)
    bias, scatter, coverage = errors.mean(), np.sqrt(np.mean(np.square(errors))), 100 * hits.mean()
    limits = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci()
    low, high = 100 * limits.low, 100 * limits.high
    print(f'{name:24s} bias {bias:5.1f}  rmse {scatter:5.1f}  coverage {coverage:5.1f} ({low:.1f} to {high:.1f}) %')
    return bias, scatter, coverage


def gain(name, rows, other, others):
    """Print and return by how much one estimator lowers the root mean square error of another on the same runs.

    Values are in per cent of the truth, with a 95 % interval from resampled runs.
    `rows`, `others`: estimates divided by the truth, as for :func:`summarise`.
    """
    squares = np.square(np.stack([others[:, 0], rows[:, 0]], axis=1) - 1)
    picks = np.random.default_rng(0).integers(len(squares), size=(4000, len(squares)))
    found = -np.diff(100 * np.sqrt(np.stack([squares.mean(axis=0), *squares[picks].mean(axis=1)])), axis=1)[:, 0]
    low, high = np.quantile(found[1:], [0.025, 0.975])
    print(f'{name}: rmse less than that of {other} by {found[0]:.1f} ({low:.1f} to {high:.1f}) %')
    return found[0], low, high
