"""Diffusion coefficients of walks with known answers, and their intervals."""

import numpy as np
import pytest
from hops import O_T, RATTLING, T_O, Network, trajectory
from scipy import stats

from aiida_mghdiff.science import diffusion

RATES = RATTLING | {T_O: 0.2, O_T: 0.1}


def analyse(positions, interval=0.05, window=(0.0, 20.0)):
    return diffusion.analyse_replica(positions, interval, window, threshold=1.63, block_ps=0.1)


def make_replica(coefficients, jumps=100, frames=101, interval=1.0):
    coefficients = np.array(coefficients, float)
    zeros = np.zeros((frames, 3))
    return diffusion.Replica(
        interval, zeros, zeros[0], zeros[0], coefficients, np.array([jumps] + [0] * (len(coefficients) - 1))
    )


@pytest.fixture(scope='module')
def replicas():
    return [analyse(trajectory(RATES, 8000, 0.05, 8, seed)[0]) for seed in (1, 2, 3)]


def test_fit_matches_scipy():
    times = np.linspace(0, 10, 51)
    msd = np.random.default_rng(1).normal(size=(51, 2, 3)).cumsum(axis=0)
    slope, intercept = diffusion.einstein_fit(times, msd, (2.0, 8.0))
    inside = (times > 1.99) & (times < 8.01)
    reference = stats.linregress(times[inside], msd[inside, 1, 2])
    assert (slope[1, 2], intercept[1, 2]) == pytest.approx((reference.slope, reference.intercept))


def test_plateau_of_vibrations_is_no_diffusion():
    times = np.arange(0, 10, 0.1)
    msd = np.where(times > 0, 0.3 + 0.02 * times, 0.0)
    slope, intercept = diffusion.einstein_fit(times, msd, (0.0, 5.0))
    assert (slope, intercept) == pytest.approx((0.02, 0.3))


def test_random_walk_of_known_coefficient():
    steps = np.random.default_rng(2).normal(scale=np.sqrt(2 * 0.5 * 0.05), size=(4000, 100, 3))  # D = 0.5
    replica = analyse(steps.cumsum(axis=0), window=(0.0, 10.0))
    assert replica.coefficient == pytest.approx(0.5, rel=0.03)
    np.testing.assert_allclose(replica.slope, 1.0, rtol=0.06)


def test_hops_on_the_hcp_network_give_the_exact_coefficient(replicas):
    exact = Network(RATES).diffusion_coefficient()
    result = diffusion.combine_replicas(replicas, 1.96)
    assert result.diffusing
    assert result.coefficient == pytest.approx(exact, rel=0.15)
    assert result.interval[0] < exact < result.interval[1]
    assert result.residence_time_ps == pytest.approx(1 / 0.6, rel=0.3)


def test_interval_is_student_of_the_replicas():
    result = diffusion.combine_replicas([make_replica([d] * 4) for d in (0.9, 1.0, 1.2)], 1.96)
    values = np.array([0.9, 1.0, 1.2])
    assert result.standard_error == pytest.approx(stats.sem(values))
    assert result.interval == pytest.approx(stats.t.interval(0.95, 2, values.mean(), stats.sem(values)))
    assert (result.interval[1] - result.coefficient) / result.standard_error == pytest.approx(4.3027, rel=1e-4)


def test_relative_error_pools_the_tracers():
    tracers = [[0.5, 1.0, 1.5], [0.8, 1.1, 1.4]]
    result = diffusion.combine_replicas([make_replica(values, jumps=10**6) for values in tracers], 1.96)
    assert result.relative_error == pytest.approx(stats.sem(np.ravel(tracers)) / np.mean(tracers))
    assert result.degrees_of_freedom == 5


def test_relative_error_has_the_floor_of_counting():
    result = diffusion.combine_replicas([make_replica([1.0, 1.0], jumps=8) for _ in range(2)], 1.96)
    assert result.relative_error == pytest.approx(1 / 4)
    assert 'only 16 jumps' in result.warnings[0]


def test_single_replica_takes_its_interval_from_the_tracers():
    result = diffusion.combine_replicas([make_replica([0.8, 1.0, 1.2])], 1.96)
    assert result.interval_from == 'tracers'
    assert result.interval == pytest.approx(stats.t.interval(0.95, 2, 1.0, stats.sem([0.8, 1.0, 1.2])))
    assert any('single replica' in warning for warning in result.warnings)


def test_single_tracer_has_no_interval():
    result = diffusion.combine_replicas([make_replica([1.0])], 1.96)
    assert (result.coefficient, result.standard_error, result.interval) == (1.0, None, None)
    assert result.relative_error == pytest.approx(0.1)


def test_rattling_is_called_non_diffusing_with_an_upper_bound():
    replicas = [analyse(trajectory(RATTLING, 4000, 0.05, 8, seed, kind='T')[0]) for seed in (1, 2, 3)]
    result = diffusion.combine_replicas(replicas, 1.96)
    assert not result.diffusing
    assert (result.coefficient, result.standard_error, result.interval, result.relative_error) == (None,) * 4
    assert result.jumps == 0
    assert result.residence_time_ps is None
    assert result.upper_bound == pytest.approx(2.9957 * 1.96**2 / (6 * 24 * 199.95), rel=1e-4)


def test_upper_bound_of_no_jump_in_24_tracer_nanoseconds():
    assert diffusion.upper_bound(0, 1.96, 24e3) == pytest.approx(8e-5, rel=0.01)


@pytest.mark.parametrize('jumps', [0, 1, 5])
def test_upper_bound_is_the_poisson_limit(jumps):
    expected = diffusion.upper_bound(jumps, 1.0, 1 / 6)
    assert stats.poisson.cdf(jumps, expected) == pytest.approx(0.05)


def test_coefficient_that_is_not_positive_counts_as_none():
    result = diffusion.combine_replicas([make_replica([-0.1, 0.05], jumps=2) for _ in range(3)], 1.96)
    assert not result.diffusing
    assert result.upper_bound == pytest.approx(diffusion.upper_bound(6, 1.96, 600))
    assert any('not positive' in warning for warning in result.warnings)


def test_window_beyond_the_run():
    with pytest.raises(diffusion.TooShortError, match='ends at 20 ps, but the run has 5'):
        analyse(np.zeros((101, 2, 3)))


def test_window_of_two_frames():
    with pytest.raises(diffusion.TooShortError, match='2 frames lie in'):
        analyse(np.zeros((101, 2, 3)), window=(0.0, 0.1))


@pytest.mark.slow
def test_interval_covers_the_truth():
    exact = Network(RATES).diffusion_coefficient()
    covered = []
    for seed in range(100):
        positions, _ = trajectory(RATES, 2000, 0.1, 12, seed, repeats=(2, 2, 2))
        replicas = [analyse(positions[:, part : part + 4], 0.1, (0.0, 40.0)) for part in (0, 4, 8)]
        low, high = diffusion.combine_replicas(replicas, 1.96).interval
        covered.append(low < exact < high)
    assert 0.88 <= np.mean(covered) <= 1.0
