"""Arrhenius fits: exact lines, scipy as the reference, coverage."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from aiida_mghdiff.science.arrhenius import TooFewTemperaturesError, fit_arrhenius
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

TEMPERATURES = np.array([300.0, 400.0, 480.0, 580.0, 673.0])
ERRORS = np.array([0.3, 0.15, 0.1, 0.08, 0.05])


def law(temperatures, ln_prefactor=3.0, energy=0.22):
    return ln_prefactor - energy / (BOLTZMANN_EV_PER_K * temperatures)


def test_exact_line_is_found():
    fit = fit_arrhenius(TEMPERATURES, np.exp(law(TEMPERATURES)), ERRORS)
    assert (fit.ln_prefactor, fit.activation_energy) == pytest.approx((3.0, 0.22))
    assert fit.chi_squared == pytest.approx(0, abs=1e-12)


def test_solution_and_covariance_match_scipy():
    ln_d = law(TEMPERATURES) + np.random.default_rng(1).normal(size=5) * ERRORS
    fit = fit_arrhenius(TEMPERATURES, np.exp(ln_d), ERRORS)
    solution, covariance = curve_fit(law, TEMPERATURES, ln_d, p0=(1, 0.1), sigma=ERRORS, absolute_sigma=True)
    assert (fit.ln_prefactor, fit.activation_energy) == pytest.approx(tuple(solution), rel=1e-6)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-4)


def test_two_temperatures_determine_the_line():
    fit = fit_arrhenius([400.0, 600.0], np.exp(law(np.array([400.0, 600.0]))), [0.1, 0.1])
    assert fit.activation_energy == pytest.approx(0.22)
    expected = BOLTZMANN_EV_PER_K * np.sqrt(2) * 0.1 / (1 / 400 - 1 / 600)
    assert fit.activation_energy_error == pytest.approx(expected)


@pytest.mark.parametrize('temperatures', [[], [500.0], [500.0, 500.0], [500.0, 503.0, 498.5]])
def test_one_temperature_is_not_enough(temperatures):
    values = np.full(len(temperatures), 0.1)
    with pytest.raises(TooFewTemperaturesError, match='two distinct temperatures'):
        fit_arrhenius(temperatures, values, values)


def test_unit_of_the_coefficients_moves_the_prefactor_alone():
    values = np.exp(law(TEMPERATURES))
    first, second = (fit_arrhenius(TEMPERATURES, values * factor, ERRORS) for factor in (1.0, 1e-8))
    assert second.activation_energy == pytest.approx(first.activation_energy)
    assert second.ln_prefactor == pytest.approx(first.ln_prefactor + np.log(1e-8))
    np.testing.assert_allclose(first.covariance, second.covariance)


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(2)
    energies, bands = [], []
    for _ in range(500):
        fit = fit_arrhenius(TEMPERATURES, np.exp(law(TEMPERATURES) + rng.normal(size=5) * ERRORS), ERRORS)
        low, high = fit.activation_energy_interval
        energies.append(low < 0.22 < high)
        _, below, above = fit.band(np.array([250.0]))
        bands.append(below[0] < np.exp(law(250.0)) < above[0])
    assert np.mean(energies) == pytest.approx(0.95, abs=0.03)
    assert np.mean(bands) == pytest.approx(0.95, abs=0.03)


def test_few_degrees_of_freedom_widen_the_interval():
    values = np.exp(law(TEMPERATURES))
    normal, student = (fit_arrhenius(TEMPERATURES, values, ERRORS, dof) for dof in (10**6, 4))
    assert normal.interval_factor == pytest.approx(1.96, abs=1e-3)
    assert student.interval_factor == pytest.approx(2.776, abs=1e-3)


def test_band_is_narrowest_within_the_data():
    fit = fit_arrhenius(TEMPERATURES, np.exp(law(TEMPERATURES)), ERRORS)
    middle, low, high = fit.band(np.array([250.0, 600.0, 2000.0]))
    np.testing.assert_allclose(np.log(middle), law(np.array([250.0, 600.0, 2000.0])))
    width = np.log(high / low)
    assert width[1] < width[0]
    assert width[1] < width[2]
