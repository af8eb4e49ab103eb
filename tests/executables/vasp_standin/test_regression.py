"""Bayesian linear regression against theory, on data with known variances."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_mghdiff.executables.vasp_standin import regression


def sample(rows, columns, weight=2.0, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    design, weights = rng.normal(size=(rows, columns)), weight * rng.normal(size=columns)
    return design, weights, design @ weights + noise * rng.normal(size=rows)


def test_evidence_finds_the_variances():
    design, _, labels = sample(3000, 300)
    posterior = regression.fit(design, labels)
    assert np.sqrt(posterior.noise_variance) == pytest.approx(0.1, rel=0.05)
    assert np.sqrt(posterior.weight_variance) == pytest.approx(2.0, rel=0.1)


def test_mean_and_covariance_are_those_of_the_normal_equations():
    """Normal equations are safe for a small, well-conditioned matrix."""
    design, _, labels = sample(60, 8)
    posterior = regression.fit(design, labels)
    precision = design.T @ design / posterior.noise_variance + np.eye(8) / posterior.weight_variance
    mean = np.linalg.solve(precision, design.T @ labels / posterior.noise_variance)
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(posterior.factor @ posterior.factor.T, np.linalg.inv(precision), rtol=1e-9, atol=1e-15)


def test_deviations_are_the_errors():
    """For many weights, errors of predictions scatter by the predicted deviation."""
    scores = []
    for seed in range(40):
        design, weights, labels = sample(50, 20, seed=seed)
        posterior = regression.fit(design, labels)
        rows = np.random.default_rng(seed + 1000).normal(size=(20, 20))
        scores.append(rows @ (posterior.mean - weights) / posterior.deviations(rows))
    assert np.std(scores) == pytest.approx(1.0, rel=0.1)


def test_fewer_rows_than_columns():
    """Directions without any row keep the variance of the prior."""
    design, _, labels = sample(5, 12)
    posterior = regression.fit(design, labels)
    unseen = np.linalg.svd(design)[2][-1]
    assert posterior.deviations(unseen[None])[0] ** 2 == pytest.approx(posterior.weight_variance)


def test_columns_that_nearly_repeat_each_other():
    """The condition number is 1e12, so normal equations would lose the solution."""
    design, _, _ = sample(400, 50)
    design = np.hstack([design, design + 1e-12 * np.random.default_rng(5).normal(size=design.shape)])
    labels = design @ np.ones(100)
    posterior = regression.fit(design, labels)
    np.testing.assert_allclose(design @ posterior.mean, labels, atol=1e-4)
    assert np.abs(posterior.mean).max() < 10
