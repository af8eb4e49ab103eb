"""Error metrics against direct formulas."""

import numpy as np
import pytest
from scipy import stats

from aiida_mghdiff.science import metrics


def test_errors_of_known_arrays():
    found = metrics.errors(np.array([1.0, 2.0, 5.0]), np.array([1.0, 2.0, 3.0]))
    assert found == pytest.approx({'rmse': np.sqrt(4 / 3), 'mae': 2 / 3, 'r2': 1 - 4 / 2})


def test_r2_of_a_regression_matches_scipy():
    x, noise = np.random.default_rng(1).normal(size=(2, 200))
    y = x + 0.3 * noise
    line = stats.linregress(x, y)
    assert metrics.errors(line.intercept + line.slope * x, y)['r2'] == pytest.approx(line.rvalue**2)


def test_constant_reference_has_no_r2():
    assert metrics.errors(np.array([1.0, 2.0]), np.array([1.0, 1.0]))['r2'] is None


def test_nothing_has_no_errors():
    assert metrics.errors(np.zeros(0), np.zeros(0)) == {'rmse': None, 'mae': None, 'r2': None}


def test_configurations_that_have_company():
    assert metrics.have_company(['a', 'b', 'a', 'c']).tolist() == [True, False, True, False]


def test_shifts_of_compositions_are_removed():
    compositions = ['H8Mg128', 'Mg128', 'H8Mg128', 'Mg128']
    deviations = np.array([0.5, -0.2, 0.7, -0.4])
    shifts = metrics.composition_shifts(deviations, compositions)
    assert shifts == pytest.approx({'H8Mg128': 0.6, 'Mg128': -0.3})
    np.testing.assert_allclose(metrics.remove_shifts(deviations, compositions, shifts), [-0.1, 0.1, 0.1, -0.1])
