"""Fitted jump rates and the extrapolated D, against known rates on the hcp network."""

from __future__ import annotations

import hops
import numpy as np
import pytest

from aiida_mghdiff.science.arrhenius import TooFewTemperaturesError
from aiida_mghdiff.science.lattice.hops import HOPS
from aiida_mghdiff.science.lattice.jump_rates import fit_classes, fit_rates, log_normal_interval, relative_error
from aiida_mghdiff.science.lattice.network import diffusivity, sensitivities
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

A, C = hops.A, hops.C
#: Prefactor in 1/ps and activation energy in eV of each class; D at 300 K is about 0.01 Å²/ps, one jump in 100 ps.
LAWS = {'O-T': (4.0, 0.17), 'T-O': (6.0, 0.22), 'T-T': (8.0, 0.12), 'O-O c': (2.0, 0.25)}
TEMPERATURES = (480.0, 575.0, 673.0)


def rates_at(temperature, laws=LAWS):
    return {name: nu * np.exp(-energy / (BOLTZMANN_EV_PER_K * temperature)) for name, (nu, energy) in laws.items()}


def count_jumps(rng, rates, duration, ensembles, tracers):
    """Return counts [e] by class and times [e] in ps by kind of site; tracers start in equilibrium.

    The kind of a tracer's site is itself a Markov chain. Ensembles and tracers run side by side.
    """
    names = list(rates)
    leaving = np.array([[HOPS[name].targets * rates[name] * (name[0] == kind) for name in names] for kind in 'OT'])
    totals, ends_on_t = leaving.sum(axis=1), np.array([name[2] == 'T' for name in names], int)
    cumulative = np.cumsum(leaving, axis=1) / totals[:, None]
    kind = (rng.uniform(size=ensembles * tracers) < 2 * rates['O-T'] / (2 * rates['O-T'] + rates['T-O'])).astype(int)
    ensemble, left = np.repeat(np.arange(ensembles), tracers), np.full(ensembles * tracers, float(duration))
    counts, times = np.zeros((len(names), ensembles), int), np.zeros((2, ensembles))
    while len(left):
        stay = rng.exponential(1 / totals[kind])
        np.add.at(times, (kind, ensemble), np.minimum(stay, left))
        jumps = stay < left
        kind, ensemble, left = kind[jumps], ensemble[jumps], left[jumps] - stay[jumps]
        chosen = (rng.uniform(size=len(left))[:, None] > cumulative[kind]).sum(axis=1)
        np.add.at(counts, (chosen, ensemble), 1)
        kind = ends_on_t[chosen]
    return dict(zip(names, counts, strict=True)), dict(zip('OT', times, strict=True))


def one(values, index):
    """Return the counts and times of one ensemble."""
    return {name: value[index] for name, value in values.items()}


def test_exact_rates_give_the_exact_law():
    times = [2e9, 1e9, 5e8]
    counts = [time * rates_at(temperature)['O-T'] for time, temperature in zip(times, TEMPERATURES, strict=True)]
    fit = fit_rates(TEMPERATURES, counts, times)
    assert fit.activation_energy == pytest.approx(0.17, abs=1e-7)
    assert np.exp(fit.ln_prefactor) == pytest.approx(4.0, rel=1e-6)
    assert fit.rate(300.0) == pytest.approx(rates_at(300.0)['O-T'], rel=1e-5)
    assert fit.chi_squared == pytest.approx(0, abs=1e-6)
    assert fit.degrees_of_freedom == 1


def test_error_at_the_only_temperature_that_matters_is_that_of_counting():
    fit = fit_rates([400.0, 800.0], [100, 10**8], [1e4, 1e4])
    assert fit.relative_error(400.0) == pytest.approx(0.1, rel=1e-3)
    wider = fit_rates([400.0, 800.0], [100, 10**8], [1e4, 1e4], dispersion=4.0)
    assert wider.relative_error(400.0) == pytest.approx(0.2, rel=1e-3)


def test_temperature_without_jumps_is_no_missing_one():
    """A long time without a jump shows that the rate is low."""
    seen = fit_rates(TEMPERATURES, [12, 60, 200], [1e3] * 3)
    cold = fit_rates((300.0, *TEMPERATURES), [0, 12, 60, 200], [1e5] + [1e3] * 3)
    assert cold.activation_energy > seen.activation_energy + 0.03
    assert cold.rate(300.0) < 0.5 * seen.rate(300.0)


def test_d_from_lines_is_that_of_the_network():
    counts = [{name: 1e12 * HOPS[name].targets * rate for name, rate in rates_at(t).items()} for t in TEMPERATURES]
    fits, _ = fit_classes(TEMPERATURES, counts, [{'O': 1e12, 'T': 1e12}] * 3)
    value, error = extrapolate(fits, 300.0)
    truth = hops.Network({hops.O_O if name == 'O-O c' else name: rate for name, rate in rates_at(300.0).items()})
    assert value == pytest.approx(truth.diffusion_coefficient(), rel=1e-4)
    assert error < 1e-3


def extrapolate(fits, temperature):
    """Return D and its relative error."""
    rates = {name: fit.rate(temperature) for name, fit in fits.items()}
    return diffusivity(A, C, rates).mean, relative_error(sensitivities(A, C, rates), fits, temperature)


def coverage(duration, tracers, ensembles, seed=1, temperature=300.0):
    """Return how often the 95 % interval contains the exact D, and the median relative error."""
    rng = np.random.default_rng(seed)
    counted = [count_jumps(rng, rates_at(t), duration, ensembles, tracers) for t in TEMPERATURES]
    exact = diffusivity(A, C, rates_at(temperature)).mean
    found = []
    for index in range(ensembles):
        counts, times = ([one(values, index) for values in column] for column in zip(*counted, strict=True))
        found.append(extrapolate(fit_classes(TEMPERATURES, counts, times)[0], temperature))
    inside = [low < exact < high for low, high in (log_normal_interval(*each) for each in found)]
    return np.mean(inside), np.median([error for _, error in found])


def test_extrapolated_d_and_its_interval():
    inside, error = coverage(duration=40.0, tracers=24, ensembles=30)
    assert inside >= 0.85
    assert 0.01 < error < 0.5


@pytest.mark.slow
@pytest.mark.parametrize('duration', [10.0, 40.0, 400.0])
def test_coverage_of_the_extrapolated_d(duration):
    """400 ensembles of 24 tracers; the rarest class has from a few to hundreds of jumps."""
    inside, error = coverage(duration, tracers=24, ensembles=400)
    print(f'{duration:g} ps: {100 * inside:.1f} % inside, median relative error {error:.3f}')
    assert 0.92 <= inside <= 0.98


def test_class_that_was_seen_once_is_left_out():
    counts = [{'O-T': 9, 'T-O': 9, 'T-T': 50, 'O-O c': 0}] * 2 + [{'O-T': 90, 'T-O': 90, 'T-T': 100, 'O-O c': 1}]
    fits, left_out = fit_classes(TEMPERATURES, counts, [{'O': 1e3, 'T': 1e3}] * 3, {'O-T': 4.0})
    assert set(fits) == {'O-T', 'T-O', 'T-T'}
    assert left_out['O-O c'].endswith('there are: 673 K.')
    assert set(left_out) == {'O-O c', 'O-O ab', 'T-T edge'}
    assert fits['O-T'].relative_error(600.0) == pytest.approx(2 * fits['T-O'].relative_error(600.0))


def test_interval_is_that_of_the_logarithm():
    low, high = log_normal_interval(2.0, 0.1)
    assert low * high == pytest.approx(4.0)
    assert np.log(high / 2) == pytest.approx(1.96 * 0.1, rel=1e-3)


@pytest.mark.parametrize(('counts', 'found'), [([0, 0, 0], 'none'), ([0, 0, 9], '673 K')])
def test_refuses_a_line_through_one_point(counts, found):
    with pytest.raises(TooFewTemperaturesError, match=f'two distinct temperatures at least, there are: {found}'):
        fit_rates(TEMPERATURES, counts, [1e3] * 3)
