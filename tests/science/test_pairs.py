"""Numbers of pairs against chance: null distributions, the inefficiency of correlated frames, and the test."""

from __future__ import annotations

import hops
import numpy as np
import pytest
from hops import O_O, O_T, T_O, T_T
from scipy import stats
from scipy.signal import lfilter

from aiida_mghdiff.science.lattice import geometry
from aiida_mghdiff.science.lattice.hcp import HcpSites
from aiida_mghdiff.science.pairs import (
    chance_test,
    poisson_probabilities,
    random_arrangements,
    statistical_inefficiency,
)
from aiida_mghdiff.science.rdf import count_close_pairs

NO_OFFSETS = (np.empty((0, 3)), np.empty((0, 3)))
CUTOFF = 3.0


@pytest.fixture(scope='module')
def network():
    return hops.Network({T_T: 2.0, T_O: 0.5, O_T: 0.25, O_O: 0.2})


@pytest.fixture(scope='module')
def sites():
    return HcpSites.from_host(*geometry.hcp_supercell(hops.A, hops.C, (3, 3, 2)))


def on_octahedral(sites, run):
    """Return the number of tracers on octahedral sites (z = 0, c/2) in each frame [f], without vibrations."""
    heights = sites.fold(run)[..., 2] % 0.5
    return np.sum(np.minimum(heights, 0.5 - heights) < 1e-6, axis=1)


def random_site_probabilities(sites, numbers, tracers, count=60000, seed=1):
    positions = random_arrangements(sites, numbers, NO_OFFSETS, tracers, count, np.random.default_rng(seed))
    return np.bincount(count_close_pairs(positions, sites.cell, CUTOFF)) / count


def test_random_arrangements_take_distinct_sites_of_their_kinds(sites):
    numbers = np.array([0, 1, 1, 4])
    positions = random_arrangements(sites, numbers, NO_OFFSETS, 4, 5000, np.random.default_rng(1))
    distances = np.linalg.norm(positions[:, :, None] - sites.positions, axis=-1)
    chosen = distances.argmin(axis=-1)
    assert distances.min(axis=-1).max() < 1e-12
    assert np.diff(np.sort(chosen, axis=1), axis=1).min() > 0
    octahedral = np.bincount(sites.is_octahedral[chosen].sum(axis=1), minlength=5) / 5000
    np.testing.assert_allclose(octahedral, [0.25, 0.5, 0, 0, 0.25], atol=0.03)
    hits = np.bincount(chosen[sites.is_octahedral[chosen]], minlength=len(sites.host))
    assert stats.chisquare(hits).pvalue > 1e-3


def test_random_arrangements_of_a_crowd(sites):
    """There are more tracers than sites of one kind, and a random draw seldom has single occupancy."""
    tracers, octahedral = 60, 30
    positions = random_arrangements(sites, np.array([octahedral]), NO_OFFSETS, tracers, 50, np.random.default_rng(3))
    chosen = np.linalg.norm(positions[:, :, None] - sites.positions, axis=-1).argmin(axis=-1)
    assert np.diff(np.sort(chosen, axis=1), axis=1).min() > 0
    assert (sites.is_octahedral[chosen].sum(axis=1) == octahedral).all()


def test_random_arrangements_have_the_measured_offsets(sites):
    offsets = (np.array([[0.1, 0.0, 0.0]]), np.array([[0.0, 0.0, 0.2], [0.0, 0.0, -0.2]]))
    positions = random_arrangements(sites, np.array([1]), offsets, 2, 1000, np.random.default_rng(2))
    moved = positions[:, :, None] - sites.positions
    moved = np.take_along_axis(moved, np.linalg.norm(moved, axis=-1).argmin(axis=-1)[..., None, None], axis=2)[:, :, 0]
    np.testing.assert_allclose(moved[:, 0], np.tile([0.1, 0, 0], (1000, 1)), atol=1e-9)
    assert np.abs(moved[:, 1, 2]) == pytest.approx(0.2)
    assert np.abs(moved[:, 1, 2].mean()) < 0.03


def test_null_is_what_tracers_that_only_exclude_each_other_do(network, sites):
    free = np.zeros((len(network.sites),) * 2)
    run = hops.crowd(network, free, np.random.default_rng(3), 60000, 1.0, 4)
    expected = random_site_probabilities(sites, on_octahedral(sites, run), 4)
    observed = np.bincount(count_close_pairs(run, sites.cell, CUTOFF), minlength=len(expected)) / len(run)
    np.testing.assert_allclose(observed[: len(expected)], expected, atol=0.015)
    assert np.arange(len(observed)) @ observed == pytest.approx(np.arange(len(expected)) @ expected, rel=0.04)


def autoregressive(rng, frames, memory):
    noise = rng.normal(size=frames)
    noise[1:] *= np.sqrt(1 - memory**2)
    return lfilter([1], [1, -memory], noise)


@pytest.mark.parametrize('memory', [0.0, 0.5, 0.9, 0.98])
def test_inefficiency_of_a_known_process(memory):
    rng = np.random.default_rng(4)
    series = [autoregressive(rng, 20000, memory) for _ in range(3)]
    assert statistical_inefficiency(series) == pytest.approx((1 + memory) / (1 - memory), rel=0.15)


def test_inefficiency_sees_runs_that_differ():
    rng = np.random.default_rng(5)
    runs = [rng.normal(size=1000) + shift for shift in (-3.0, 0.0, 3.0)]
    assert statistical_inefficiency(runs) > 300
    assert statistical_inefficiency([np.ones(10)]) == np.inf
    assert statistical_inefficiency([np.array([0.0, 1.0] * 50)]) == 1.0


def test_poisson_probabilities_end_with_the_tail():
    found = poisson_probabilities(0.7, 3)
    np.testing.assert_allclose(found[:3], stats.poisson.pmf([0, 1, 2], 0.7))
    assert found.sum() == pytest.approx(1)


def births_and_deaths(rng, mean, lifetime, frames):
    """Return Poisson distributed numbers [f] with a correlation of exp(-t / lifetime), by binomial thinning: members
    survive a frame by chance, and new ones come (McKenzie, Adv. Appl. Probab. 20, 822 (1988))."""
    survival, numbers = np.exp(-1 / lifetime), np.empty(frames, int)
    numbers[0] = rng.poisson(mean)
    for frame in range(1, frames):
        numbers[frame] = rng.binomial(numbers[frame - 1], survival) + rng.poisson(mean * (1 - survival))
    return numbers


def rejections(tests):
    """Return the fraction of rejections among the possible tests at 5 %."""
    return np.mean([test.p_value < 0.05 for test in tests if test is not None])


@pytest.mark.parametrize('lifetime', [3.0, 20.0])
def test_false_rejections_of_poisson_on_correlated_frames(lifetime):
    rng = np.random.default_rng(6)
    studies = [[births_and_deaths(rng, 1.2, lifetime, 700) for _ in range(3)] for _ in range(150)]
    means = [np.concatenate(runs).mean() for runs in studies]
    tests = [
        chance_test(runs, poisson_probabilities(mean, 12), fitted=1) for runs, mean in zip(studies, means, strict=True)
    ]
    assert sum(test is not None for test in tests) > 100
    assert rejections(tests) <= 0.08
    naive = [
        stats.chisquare(*naive_cells(runs, mean), ddof=1).pvalue < 0.05
        for runs, mean in zip(studies, means, strict=True)
    ]
    assert np.mean(naive) > 0.2


def naive_cells(runs, mean):
    counts = np.bincount(np.minimum(np.concatenate(runs), 4), minlength=5)
    return counts, poisson_probabilities(mean, 4) * counts.sum()


@pytest.mark.slow
@pytest.mark.parametrize('interval', [0.1, 0.5])
def test_false_rejections_of_random_sites_on_correlated_frames(network, sites, interval):
    """The truth agrees with chance: tracers exclude each other but do not interact otherwise."""
    rng, free = np.random.default_rng(7), np.zeros((len(network.sites),) * 2)
    tests = []
    for _ in range(200):
        runs = [hops.crowd(network, free, rng, 1500, interval, 4) for _ in range(3)]
        numbers = np.concatenate([on_octahedral(sites, run) for run in runs])
        expected = random_site_probabilities(sites, numbers, 4, seed=int(rng.integers(2**31)))
        tests.append(chance_test([count_close_pairs(run, sites.cell, CUTOFF) for run in runs], expected))
    assert sum(test is not None for test in tests) > 150
    assert 0.005 <= rejections(tests) <= 0.09


def test_attraction_is_found(network, sites):
    """Each pair within 2.7 Å has an energy of -1.5 kT."""
    energies = hops.pair_energies(network, [(1.5, 3.0), (2.7, -1.5)])
    runs = [hops.crowd(network, energies, np.random.default_rng(seed), 4000, 0.5, 4) for seed in range(3)]
    counts = [count_close_pairs(run, sites.cell, CUTOFF) for run in runs]
    expected = random_site_probabilities(sites, np.concatenate([on_octahedral(sites, run) for run in runs]), 4)
    assert chance_test(counts, expected).p_value < 1e-3
    assert np.concatenate(counts).mean() > 1.5 * np.arange(len(expected)) @ expected


def test_too_few_independent_frames_allow_no_test():
    assert chance_test([np.array([0, 1] * 5)], np.array([0.5, 0.5])) is None
    assert chance_test([np.ones(1000, int)], np.array([0.5, 0.5])) is None
    assert chance_test([np.random.default_rng(8).integers(0, 2, 1000)], np.array([0.5, 0.5]), fitted=1) is None
