"""Energy drift: known slopes, and errors that cover the truth under correlated noise."""

import numpy as np
import pytest
from scipy.signal import lfilter

from aiida_mghdiff.science.drift import energy_drift


def test_known_slope_is_found_in_its_unit():
    times = np.linspace(0, 100, 501)  # ps
    drift, error = energy_drift(times, -500.0 + 2e-4 * times, n_atoms=40)  # eV/ps over 40 atoms
    assert drift == pytest.approx(2e-4 / 40 * 1e3 * 1e3)
    assert error == pytest.approx(0, abs=1e-6)


def test_shift_of_energy_and_time_changes_nothing():
    rng = np.random.default_rng(1)
    times, energies = np.arange(300) * 0.1, rng.normal(size=300)
    shifted = energy_drift(times + 50, energies - 1e3, 8)
    assert shifted == pytest.approx(energy_drift(times, energies, 8), rel=1e-6)


def test_error_covers_correlated_fluctuations():
    rng = np.random.default_rng(2)
    times = np.arange(4000) * 0.05
    noise = lfilter([1], [1, -0.97], rng.normal(size=(300, 4400)))[:, 400:]  # correlated over about 33 samples
    covered = [abs(drift) < 2.306 * error for drift, error in (energy_drift(times, row, 1) for row in noise)]
    assert 0.91 <= np.mean(covered) <= 0.985  # Student's t for 8 degrees of freedom, nominal 0.95


@pytest.mark.parametrize('samples', [0, 1, 2])
def test_too_few_samples_give_nan(samples):
    assert np.isnan(energy_drift(np.arange(samples), np.zeros(samples), 4)).all()


def test_three_samples_are_enough():
    assert energy_drift(np.arange(3.0), np.array([0.0, 1.0, 2.0]), 1)[0] == pytest.approx(1e6)
