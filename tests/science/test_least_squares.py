"""Straight lines through the mean squared displacement."""

import numpy as np
import pytest
from scipy import stats

from aiida_mghdiff.science.least_squares import coefficients_by_window, einstein_fit, lags_inside, log_log_slope
from aiida_mghdiff.science.positions import TooShortError


def test_fit_matches_scipy():
    times = np.linspace(0, 10, 51)
    msd = np.random.default_rng(1).normal(size=(51, 2, 3)).cumsum(axis=0)
    slope, intercept = einstein_fit(times, msd, (2.0, 8.0))
    inside = (times > 1.99) & (times < 8.01)
    reference = stats.linregress(times[inside], msd[inside, 1, 2])
    assert (slope[1, 2], intercept[1, 2]) == pytest.approx((reference.slope, reference.intercept))


def test_plateau_of_vibrations_is_no_diffusion():
    times = np.arange(0, 10, 0.1)
    msd = np.where(times > 0, 0.3 + 0.02 * times, 0.0)
    assert einstein_fit(times, msd, (0.0, 5.0)) == pytest.approx((0.02, 0.3))


def test_lags_inside_a_window():
    times = 0.1 * np.arange(101)
    assert lags_inside(times, (0.0, 1.0)) == slice(1, 11)
    assert lags_inside(times, (0.3, 1.0)) == slice(3, 11)
    assert lags_inside(times, (0.0, 10.0)) == slice(1, 101)
    with pytest.raises(TooShortError, match='ends at 11 ps, but the run has 10 ps'):
        lags_inside(times, (0.0, 11.0))
    with pytest.raises(TooShortError, match='2 frames lie in'):
        lags_inside(times, (0.0, 0.2))


def test_coefficients_against_the_window():
    rng = np.random.default_rng(2)
    msd = [6 * rng.gamma(20, 0.05, size=4) * 0.1 * np.arange(101)[:, None] for _ in range(2)]  # D is about 1
    axes = [np.repeat(one[..., None] / 3, 3, axis=-1) for one in msd]
    values, errors = coefficients_by_window(axes, 0.1, 0.0, np.array([2.0, 10.0]))
    tracers = np.concatenate([one[100] / (6 * 10.0) for one in msd])
    np.testing.assert_allclose(values, tracers.mean())
    np.testing.assert_allclose(errors, stats.sem(tracers))


@pytest.mark.parametrize('power', [0.0, 0.5, 1.0, 2.0])
def test_log_log_slope_is_the_power_of_time(power):
    assert log_log_slope(3.0 * np.arange(200.0) ** power, 0.1, (0.0, 10.0)) == pytest.approx(power)
