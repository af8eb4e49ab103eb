"""Arrhenius fits: exact lines, scipy as the reference, coverage on runs with a known answer."""

from __future__ import annotations

import hops
import numpy as np
import pytest
from ensembles import summarise
from scipy.optimize import curve_fit

from aiida_mghdiff.science.arrhenius import (
    CoefficientsError,
    TooFewTemperaturesError,
    effective_temperature,
    fit_arrhenius,
    on_line,
)
from aiida_mghdiff.science.diffusion import estimate_diffusion
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

TEMPERATURES = np.array([300.0, 400.0, 480.0, 580.0, 673.0])
ERRORS = np.array([0.3, 0.15, 0.1, 0.08, 0.05])
ENERGY = 0.22


def law(temperatures, ln_prefactor=3.0, energy=ENERGY):
    return ln_prefactor - energy / (BOLTZMANN_EV_PER_K * temperatures)


def fit_line(values, errors=ERRORS, temperatures=TEMPERATURES, **options):
    return fit_arrhenius(temperatures, values, np.asarray(errors) * values, **options)


def test_exact_line_is_found():
    line = fit_line(np.exp(law(TEMPERATURES)))
    assert (line.ln_prefactor, line.prefactor) == pytest.approx((3.0, np.exp(3.0)))
    assert line.activation_energy_ev == pytest.approx(ENERGY)
    assert line.chi_squared == pytest.approx(0, abs=1e-12)


def test_solution_and_covariance_match_scipy():
    ln_d = law(TEMPERATURES) + np.random.default_rng(1).normal(size=5) * ERRORS
    line = fit_line(np.exp(ln_d))
    solution, covariance = curve_fit(law, TEMPERATURES, ln_d, p0=(1, 0.1), sigma=ERRORS, absolute_sigma=True)
    assert (line.ln_prefactor, line.activation_energy_ev) == pytest.approx(tuple(solution), rel=1e-6)
    np.testing.assert_allclose(line.covariance, covariance, rtol=1e-4)


def test_two_temperatures_determine_the_line():
    temperatures = np.array([400.0, 600.0])
    line = fit_line(np.exp(law(temperatures)), [0.1, 0.1], temperatures)
    assert line.activation_energy_ev == pytest.approx(ENERGY)
    expected = BOLTZMANN_EV_PER_K * np.sqrt(2) * 0.1 / (1 / 400 - 1 / 600)
    assert line.activation_energy_error_ev == pytest.approx(expected)
    assert line.interval(0.6827) == pytest.approx((ENERGY - expected, ENERGY + expected), rel=1e-4)


@pytest.mark.parametrize('temperatures', [[], [500.0], [500.0, 500.0], [500.0, 503.0, 498.5]])
def test_one_temperature_is_not_enough(temperatures):
    values = np.full(len(temperatures), 0.1)
    with pytest.raises(TooFewTemperaturesError, match='two distinct temperatures'):
        fit_arrhenius(temperatures, values, values)


@pytest.mark.parametrize(
    ('temperatures', 'values', 'errors', 'words'),
    [
        ([400.0, 600.0], [0.1, np.nan], [0.1, 0.1], 'D: nan is not finite'),
        ([400.0, 600.0], [0.1, -0.2], [0.1, 0.1], 'D: -0.2 is not'),
        ([400.0, 600.0], [0.1, 0.2], [0.1, 0.0], 'standard errors of D: 0 is not'),
        ([0.0, 600.0], [0.1, 0.2], [0.1, 0.1], 'temperatures: 0 is not'),
        ([400.0, 600.0], [0.1, 0.2], [0.1], r'shapes \(2,\), \(2,\), \(1,\)'),
    ],
)
def test_points_that_cannot_be(temperatures, values, errors, words):
    with pytest.raises(CoefficientsError, match=words):
        fit_arrhenius(temperatures, values, errors)


def test_unit_of_the_coefficients_moves_the_prefactor_alone():
    values = np.exp(law(TEMPERATURES))
    first, second = (fit_line(values * factor) for factor in (1.0, 1e-8))
    assert second.activation_energy_ev == pytest.approx(first.activation_energy_ev)
    assert second.ln_prefactor == pytest.approx(first.ln_prefactor + np.log(1e-8))
    np.testing.assert_allclose(first.covariance, second.covariance)


def test_few_degrees_of_freedom_widen_the_interval():
    values = np.exp(law(TEMPERATURES))
    assert fit_line(values).interval_factor() == pytest.approx(1.96, abs=1e-3)
    assert fit_line(values, degrees_of_freedom=4).interval_factor() == pytest.approx(2.776, abs=1e-3)
    assert fit_line(values, degrees_of_freedom=4).interval_factor(0.9) == pytest.approx(2.132, abs=1e-3)


def test_band_is_narrowest_within_the_data():
    temperatures = np.array([250.0, 600.0, 2000.0])
    line = fit_line(np.exp(law(TEMPERATURES)))
    middle, low, high = line.predict(temperatures)
    np.testing.assert_allclose(np.log(middle), law(temperatures))
    width = np.log(high / low)
    assert width[1] < width[0]
    assert width[1] < width[2]
    np.testing.assert_allclose(on_line(temperatures, (3.0, ENERGY)), middle)
    assert line.predict(250.0) == pytest.approx((middle[0], low[0], high[0]))
    assert [line.extrapolates(value) for value in (250.0, 300.0, 600.0, 673.1)] == [True, False, False, True]


def test_effective_temperature_has_the_mean_coefficient():
    temperatures = np.array([280.0, 300.0, 325.0])
    found = effective_temperature(temperatures, ENERGY)
    assert law(found) == pytest.approx(np.log(np.exp(law(temperatures)).mean()))
    assert effective_temperature([500.0, 500.0], ENERGY) == pytest.approx(500)
    assert effective_temperature([400.0, 500.0], 0.0) == 450


def rows_of(line, truth_at_250):
    """Return Ea and D(250 K) with their limits, divided by the truth."""
    energy = np.array([line.activation_energy_ev, *line.interval()]) / ENERGY
    return energy, np.array(line.predict(250.0)) / truth_at_250


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(2)
    rows = [
        rows_of(fit_line(np.exp(law(TEMPERATURES) + rng.normal(size=5) * ERRORS)), np.exp(law(250.0)))
        for _ in range(500)
    ]
    for name, values in zip(('Ea', 'D(250 K)'), zip(*rows, strict=True), strict=True):
        assert summarise(name, np.array(values))[2] == pytest.approx(95, abs=3)


def test_intervals_cover_the_truth_with_errors_over_tracers():
    """24 tracers at each temperature have uneven D, as in slow runs; their scatter gives the errors."""
    rng, rows = np.random.default_rng(3), []
    for _ in range(500):
        tracers = np.exp(law(TEMPERATURES)) * rng.gamma(2.0, 0.5, size=(24, 5))
        values = tracers.mean(axis=0)
        errors = tracers.std(axis=0, ddof=1) / np.sqrt(24) / values
        rows.append(rows_of(fit_line(values, errors, degrees_of_freedom=5 * 23), np.exp(law(250.0))))
    for name, values in zip(('Ea', 'D(250 K)'), zip(*rows, strict=True), strict=True):
        assert 91 <= summarise(name, np.array(values))[2] <= 98


@pytest.mark.slow
def test_intervals_cover_the_truth_of_hops():
    """Five temperatures, three replicas of 8 H for 1 ns each, errors over tracers; D from 0.005 to 0.5 Å²/ps."""
    scale = 0.5 / np.exp(law(673.0))
    truth = scale * np.exp(law(TEMPERATURES))
    networks = [hops.Network(hops.regime(value), (2, 2, 2)) for value in truth]
    rows = {method: [] for method in ('least-squares', 'automatic')}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        runs = [
            [network.walks(rng, 2001, 0.5, 8) + hops.vibrations(rng, 2001, 8, 0.5) for _ in range(3)]
            for network in networks
        ]
        for method, found in rows.items():
            results = [estimate_diffusion(replicas, 0.5, method=method, jumps=10**6) for replicas in runs]
            values = np.array([result.value for result in results])
            errors = [result.relative_error for result in results]
            found.append(rows_of(fit_line(values, errors, degrees_of_freedom=5 * 23), scale * np.exp(law(250.0))))
    print()
    for method, found in rows.items():
        for name, values in zip(('Ea', 'D(250 K)'), zip(*found, strict=True), strict=True):
            assert 92 <= summarise(f'{method}, {name}', np.array(values))[2] <= 98
