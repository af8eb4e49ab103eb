"""Rates, residence times, occupancy and free energies against the known rates of the truth model."""

from __future__ import annotations

import hops
import numpy as np
import pytest
from hops import O_O, O_T, T_O, T_T

from aiida_mghdiff.science.lattice import geometry
from aiida_mghdiff.science.lattice.hcp import CLASSES, HcpSites
from aiida_mghdiff.science.lattice.occupancy import (
    Tallies,
    free_energy_difference,
    jump_rate,
    occupancy,
    rate_bound,
    residence_time,
)
from aiida_mghdiff.science.lattice.sites import find_jumps

RATES = {T_T: 1.0, T_O: 0.10, O_T: 0.05, O_O: 0.04}
#: Rate of each class to all its targets together: T-O has 3 targets, O-T 6, O-O along c 2.
TOTAL = {'T-T': 1.0, 'T-O': 3 * 0.10, 'O-T': 6 * 0.05, 'O-O c': 2 * 0.04}
INTERVAL = 0.02


@pytest.fixture(scope='module')
def network():
    return hops.Network(RATES)


@pytest.fixture(scope='module')
def sites():
    return HcpSites.from_host(*geometry.hcp_supercell(hops.A, hops.C, (3, 3, 2)))


def make_tallies(network, sites, seed, frames=4000, tracers=8, replicas=3):
    rng = np.random.default_rng(seed)
    runs = [network.walks(rng, frames, INTERVAL, tracers) for _ in range(replicas)]
    shaken = [run + hops.vibrations(rng, frames, tracers, INTERVAL, fast=0.05, slow=0.03) for run in runs]
    return Tallies.of([find_jumps(run, sites.positions, sites.cell) for run in shaken], sites, INTERVAL)


@pytest.fixture(scope='module')
def ensemble(network, sites):
    """The tallies of many short studies."""
    return [make_tallies(network, sites, seed) for seed in range(40)]


def pulls(estimates, truth):
    """Return deviations from the truth divided by the claimed errors."""
    return np.array([(value - truth) / error for value, error in estimates])


@pytest.mark.parametrize('name', TOTAL)
def test_rates_and_their_errors(ensemble, name):
    estimates = [jump_rate(tallies, name) for tallies in ensemble]
    assert np.mean([value for value, _ in estimates]) == pytest.approx(TOTAL[name], rel=0.04)
    assert 0.6 < np.std(pulls(estimates, TOTAL[name])) < 1.35


@pytest.mark.parametrize(('place', 'rate'), [('O', 0.3 + 0.08), ('T', 1.0 + 0.3), ('T pair', 0.3)])
def test_residence_times(ensemble, place, rate):
    estimates = [residence_time(tallies, place) for tallies in ensemble]
    assert np.mean([value for value, _ in estimates]) == pytest.approx(1 / rate, rel=0.05)
    assert 0.6 < np.std(pulls(estimates, 1 / rate)) < 1.35


def test_occupancy_and_free_energy_follow_from_detailed_balance(ensemble, network):
    kt = 8.617333262e-5 * 600
    truth = -kt * np.log(RATES[O_T] / RATES[T_O])
    estimates = [free_energy_difference(tallies, 600.0) for tallies in ensemble]
    assert np.mean([value for value, _ in estimates]) == pytest.approx(truth, abs=0.1 * kt)
    assert 0.6 < np.std(pulls(estimates, truth)) < 1.35
    expected = network.occupation[network.kinds == 'O'].sum()
    fractions = [occupancy(tallies)['O'] for tallies in ensemble]
    assert np.mean([value for value, _ in fractions]) == pytest.approx(expected, rel=0.03)
    assert 0.6 < np.std(pulls(fractions, expected)) < 1.35
    for tallies in ensemble[:3]:
        assert sum(value for value, _ in occupancy(tallies).values()) == pytest.approx(1)


def test_counts_are_those_of_the_jumps(network, sites):
    tallies = make_tallies(network, sites, 99)
    assert tallies.counts.sum() == sum(tallies.count(name).sum() for name in CLASSES)
    np.testing.assert_allclose(tallies.times_ps.sum(axis=1), 4000 * INTERVAL)
    assert tallies.counts.shape == (24, len(CLASSES))
    np.testing.assert_array_equal(tallies.departures.sum(axis=1), tallies.counts.sum(axis=1))
    assert tallies.changes.sum() == pytest.approx(tallies.count('O-T', 'T-O').sum(), rel=0.02)


def make_hand_tallies(times, **counts):
    table = np.zeros((len(times), len(CLASSES)), int)
    for name, values in counts.items():
        table[:, CLASSES.index(name.replace('_', '-'))] = values
    from_o, from_t = (table[:, [name[0] == kind for name in CLASSES]].sum(axis=1) for kind in 'OT')
    changes = table[:, [name in ('O-T', 'T-O') for name in CLASSES]].sum(axis=1)
    return Tallies(np.array(times, float), table, np.stack([from_o, from_t], axis=1), changes)


def test_nothing_seen_is_said_so():
    tallies = make_hand_tallies([[0, 100.0], [0, 50.0]], T_T=[3, 1])
    assert jump_rate(tallies, 'T-O') == (0.0, None)
    assert rate_bound(tallies, 'T-O') == pytest.approx(2.9957 / 150, rel=1e-4)
    assert rate_bound(tallies, 'T-T') is None
    assert jump_rate(tallies, 'O-T') == (None, None)
    assert rate_bound(tallies, 'O-T') is None
    assert residence_time(tallies, 'T pair') == (None, None)
    assert residence_time(tallies, 'T').value == pytest.approx(150 / 4)
    assert free_energy_difference(tallies, 500.0) == (None, None)
    assert occupancy(tallies) == {'O': (0.0, None), 'T': (1.0, None)}


def test_occupancy_of_a_run_without_changes_has_no_error():
    tallies = make_hand_tallies([[100.0, 0.0], [0.0, 100.0]])
    assert occupancy(tallies)['O'] == (0.5, None)
    assert free_energy_difference(tallies, 500.0) == (None, None)


def test_error_of_bunches_is_larger_than_that_of_counting():
    tallies = make_hand_tallies([[0, 100.0]] * 4, T_T=[0, 0, 0, 100])
    assert jump_rate(tallies, 'T-T') == (pytest.approx(0.25), pytest.approx(0.25))
    assert jump_rate(make_hand_tallies([[0, 100.0]], T_T=[25]), 'T-T') == (0.25, pytest.approx(0.05))
