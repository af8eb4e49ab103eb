"""Diffusion coefficients of walks with known answers, their intervals, the gate, and invariances."""

import warnings

import hops
import numpy as np
import pytest
from hops import RATTLING, Network, trajectory
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.transform import Rotation

from aiida_mghdiff.science.diffusion import METHODS, MethodError, estimate_diffusion, upper_bound
from aiida_mghdiff.science.gls import generalised_least_squares
from aiida_mghdiff.science.intervals import ConfidenceError
from aiida_mghdiff.science.least_squares import least_squares
from aiida_mghdiff.science.msd import mean_squared_displacement
from aiida_mghdiff.science.positions import PositionsError, TooShortError

INTERVAL = 0.5
OPTIONS = {'window_ps': (0, 50), 'lag_ps': 10.0}


@pytest.fixture(scope='module')
def network():
    return Network(hops.regime(0.5), (2, 2, 2))


@pytest.fixture(scope='module')
def replicas(network):
    rng = np.random.default_rng(1)
    return [network.walks(rng, 800, INTERVAL, 6) + hops.vibrations(rng, 800, 6, INTERVAL) for _ in range(3)]


@pytest.mark.parametrize('method', METHODS)
def test_hops_on_the_hcp_network_give_the_exact_coefficient(network, replicas, method):
    result = estimate_diffusion(replicas, INTERVAL, method=method, confidence=0.999, **OPTIONS)
    assert result.diffusing
    assert result.value == pytest.approx(0.5, rel={'least-squares': 0.25, 'gls': 0.2, 'automatic': 0.1}[method])
    assert result.interval[0] < 0.5 < result.interval[1]
    assert result.upper_bound is None
    np.testing.assert_allclose(result.per_axis.mean(), result.value)
    exact = np.diag(network.diffusion_tensor())
    assert np.all(np.abs(result.per_axis - exact) < 4 * result.per_axis_errors)


def test_least_squares_is_the_line_through_the_displacement(replicas):
    result = estimate_diffusion(replicas, INTERVAL, window_ps=(2, 40))
    times = INTERVAL * np.arange(4, 81)
    for positions, coefficients in zip(replicas, result.coefficients, strict=True):
        msd = mean_squared_displacement(positions)[4:81]
        assert coefficients[2, 1] == pytest.approx(stats.linregress(times, msd[:, 2, 1]).slope / 2)
    assert result.value == pytest.approx(np.mean(result.tracers))


def test_interval_of_replicas_that_agree_is_student_of_all_tracers(replicas):
    result = estimate_diffusion(replicas, INTERVAL, window_ps=(0, 50), confidence=0.9)
    tracers = result.tracers.mean(axis=1)
    assert (result.interval_from, result.degrees_of_freedom) == ('tracers', 17)
    assert result.standard_error == pytest.approx(stats.sem(tracers))
    half = stats.t.ppf(0.95, 17) * stats.sem(tracers) / result.value
    assert np.log(result.interval) == pytest.approx(np.log(result.value) + np.array([-half, half]))
    assert result.relative_interval == pytest.approx(np.sinh(half))


@pytest.mark.parametrize('method', METHODS)
def test_interval_of_replicas_that_differ_is_student_of_replicas(network, method):
    """The last replica is ten times slower, as at a lower temperature."""
    rng, slow = np.random.default_rng(2), Network(hops.regime(0.05), (2, 2, 2))
    walks = [one.walks(rng, 800, INTERVAL, 40) for one in (network, network, slow)]
    result = estimate_diffusion(walks, INTERVAL, method=method, **OPTIONS)
    values = [coefficients.mean() for coefficients in result.coefficients]
    assert (result.interval_from, result.degrees_of_freedom) == ('replicas', 2)
    assert result.standard_error == pytest.approx(stats.sem(values))
    half = stats.t.ppf(0.975, 2) * stats.sem(values) / result.value
    assert result.interval == pytest.approx((result.value * np.exp(-half), result.value * np.exp(half)))


@pytest.mark.parametrize('method', METHODS)
def test_interval_of_one_replica_is_student_of_its_tracers(replicas, method):
    result = estimate_diffusion(replicas[:1], INTERVAL, method=method, **OPTIONS)
    half = stats.t.ppf(0.975, 5) * stats.sem(result.tracers.mean(axis=1)) / result.value
    assert (result.interval_from, result.degrees_of_freedom) == ('tracers', 5)
    assert result.interval == pytest.approx((result.value * np.exp(-half), result.value * np.exp(half)))
    assert any('single replica' in warning for warning in result.warnings)


def test_interval_of_scattered_replicas_is_positive():
    """The symmetric interval of three replicas with one tracer would reach far below zero."""
    walks = [trajectory(hops.regime(0.5), 200, INTERVAL, 1, seed)[0] for seed in (1, 2, 3)]
    result = estimate_diffusion(walks, INTERVAL, window_ps=(0, 50))
    values = [coefficients.mean() for coefficients in result.coefficients]
    assert stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))[0] < 0
    assert (result.interval_from, result.degrees_of_freedom) == ('replicas', 2)
    assert 0 < result.interval[0] < 0.5 < result.interval[1]


def test_coefficient_along_an_axis_that_is_not_positive_is_none_and_has_no_interval(replicas):
    rng = np.random.default_rng(4)
    flat = [positions * [1, 1, 0] + rng.normal(size=positions.shape) for positions in replicas]
    found = [estimate_diffusion([one[:, start : start + 2]], INTERVAL, **OPTIONS) for one in flat for start in (0, 2)]
    for result in found:
        along = result.mean_along(2)
        assert np.isnan(result.per_axis[2]) == (along.value <= 0)
        assert along.value > 0 or along.interval() is None
        assert np.all(result.per_axis[:2] > 0)
    assert {bool(np.isnan(result.per_axis[2])) for result in found} == {True, False}


def test_interval_of_each_replica(replicas):
    result = estimate_diffusion([replicas[0], replicas[1], replicas[2][:, :1]], INTERVAL, **OPTIONS)
    first, _, last = result.replica_intervals()
    assert first == estimate_diffusion(replicas[:1], INTERVAL, **OPTIONS).interval
    assert last is None


def test_coefficient_that_is_zero_within_its_error_has_no_interval():
    """Tracers only vibrate, so D scatters about zero; limits of a positive D would reach 1e100."""
    rng, found = np.random.default_rng(1), []
    for _ in range(20):
        result = estimate_diffusion([rng.normal(scale=0.3, size=(400, 6, 3))], INTERVAL, window_ps=(0, 50), jumps=1)
        warned = any('no interval of D,' in text or 'no interval of D:' in text for text in result.warnings)
        assert warned == (result.diffusing and result.interval is None)
        assert result.interval is None or result.interval[1] < 1001 * result.value
        assert (result.interval is None) == (result.relative_interval is None) == (result.replica_intervals() == [None])
        found.append(warned)
    assert 0 < sum(found) < 20


def test_relative_error_pools_the_tracers_and_has_the_floor_of_counting(replicas):
    pooled = estimate_diffusion(replicas, INTERVAL, **OPTIONS, jumps=10**6)
    assert pooled.relative_error == pytest.approx(stats.sem(pooled.tracers.mean(axis=1)) / pooled.value)
    few = estimate_diffusion(replicas, INTERVAL, **OPTIONS, jumps=16)
    assert few.relative_error == pytest.approx(1 / 4)
    assert 'only 16 jumps' in few.warnings[0]


def test_plateau_of_vibrations_is_no_diffusion():
    rng = np.random.default_rng(3)
    walk = rng.normal(scale=np.sqrt(2 * 0.01 * INTERVAL), size=(2000, 20, 3)).cumsum(axis=0)
    noisy = walk + rng.normal(scale=0.4, size=walk.shape)
    for method in METHODS:
        result = estimate_diffusion([noisy], INTERVAL, method=method, **OPTIONS)
        assert result.value == pytest.approx(0.01, rel=0.15)


@pytest.mark.parametrize('method', METHODS)
def test_rattling_is_called_non_diffusing_with_an_upper_bound(method):
    replicas = [trajectory(RATTLING, 2000, 0.1, 8, seed, kind='T')[0] for seed in (1, 2, 3)]
    result = estimate_diffusion(replicas, 0.1, method=method, **OPTIONS)
    assert not result.diffusing
    assert (result.value, result.standard_error, result.interval, result.relative_error, result.per_axis) == (None,) * 5
    assert result.jumps == 0
    assert result.upper_bound == pytest.approx(2.9957 * 1.96**2 / (6 * 24 * 199.9), rel=1e-4)


def test_upper_bound_of_no_jump_in_24_tracer_nanoseconds():
    assert upper_bound(0, 1.96, 24e3) == pytest.approx(8e-5, rel=0.01)


@pytest.mark.parametrize('jumps', [0, 1, 5])
def test_upper_bound_is_the_poisson_limit(jumps):
    assert stats.poisson.cdf(jumps, upper_bound(jumps, 1.0, 1 / 6)) == pytest.approx(0.05)


def test_coefficient_that_is_not_positive_counts_as_none():
    rng = np.random.default_rng(5)
    caged = [rng.normal(scale=0.3, size=(400, 2, 3)) for _ in range(20)]
    found = [estimate_diffusion([positions], INTERVAL, window_ps=(0, 50), jumps=6) for positions in caged]
    negative = [result for result in found if not result.diffusing]
    assert 4 < len(negative) < 16
    assert negative[0].upper_bound == pytest.approx(upper_bound(6, 1.96, 2 * 199.5))
    assert any('not positive' in warning for warning in negative[0].warnings)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'window_ps': (0, 500)}, 'ends at 500 ps, but the run has 399.5 ps'),
        ({'window_ps': (0, 1)}, '2 frames lie in'),
        ({'method': 'gls', 'lag_ps': 30.0}, 'increments over 60 ps'),
        ({'method': 'automatic', 'frames': 150}, '75 blocks of 1 ps'),
    ],
)
def test_runs_that_are_too_short(replicas, changes, words):
    options = OPTIONS | changes
    frames = options.pop('frames', None)
    with pytest.raises(TooShortError, match=words):
        estimate_diffusion([positions[:frames] for positions in replicas], INTERVAL, **options)


def test_methods_that_cannot_be(replicas):
    with pytest.raises(MethodError, match='least-squares, gls, automatic'):
        estimate_diffusion(replicas, INTERVAL, method='ols')
    with pytest.raises(MethodError, match='needs a lag'):
        estimate_diffusion(replicas, INTERVAL, method='gls')


@pytest.mark.parametrize(
    ('frame_time', 'options', 'words'),
    [
        (0.0, {}, 'frame_time_ps = 0.0 is not a positive number'),
        (-0.05, {}, 'frame_time_ps = -0.05'),
        (float('nan'), {}, 'frame_time_ps = nan'),
        (INTERVAL, {'window_ps': (20, 5)}, 'no window'),
        (INTERVAL, {'window_ps': (-5, 5)}, 'no window'),
        (INTERVAL, {'window_ps': (0, float('inf'))}, 'no window'),
        (INTERVAL, {'jumps': -3}, 'jumps = -3 is below 0'),
    ],
)
@pytest.mark.parametrize('method', METHODS)
def test_times_that_no_run_has(replicas, method, frame_time, options, words):
    with pytest.raises(MethodError, match=words):
        estimate_diffusion(replicas, frame_time, method=method, **(OPTIONS | options))


def test_positions_that_cannot_be(replicas):
    with pytest.raises(PositionsError, match='no tracer has no error'):
        estimate_diffusion([], INTERVAL)
    with pytest.raises(PositionsError, match='a single tracer in a single replica'):
        estimate_diffusion([replicas[0][:, :1]], INTERVAL)
    broken = [replicas[0], np.where(np.arange(3) == 1, np.nan, replicas[1])]
    with pytest.raises(PositionsError, match='replica 1 has 4800 coordinates that are not finite'):
        estimate_diffusion(broken, INTERVAL)


def everything(replicas):
    """Return D and its error by all methods."""
    results = [estimate_diffusion(replicas, INTERVAL, method=method, jumps=100, **OPTIONS) for method in METHODS]
    return np.array([[result.value, result.standard_error] for result in results])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_rotation_translation_and_order_alter_nothing(replicas, seed):
    rng = np.random.default_rng(seed)
    rotation, shift = Rotation.random(rng=rng).as_matrix(), rng.normal(scale=1000.0, size=3)
    changed = [positions[:, rng.permutation(6)] @ rotation + shift for positions in replicas]
    np.testing.assert_allclose(everything([changed[i] for i in rng.permutation(3)]), everything(replicas), rtol=1e-7)


@settings(max_examples=10, deadline=None)
@given(entries=st.lists(st.integers(-1, 1), min_size=3, max_size=3))
def test_choice_of_the_cell_alters_nothing(replicas, network, entries):
    """Positions are wrapped into skewed or orthorhombic cells of the same lattice, and unwrapped again."""
    skewed = (np.eye(3) + np.diag(entries[:2], 1) + np.diag(entries[2:], 2)) @ network.cell * 8
    orthorhombic = np.array([[2, 0, 0], [1, 2, 0], [0, 0, 1]]) @ network.cell * 8
    for cell in (skewed, orthorhombic):
        found = [hops.unwrap(hops.wrap(positions, cell), cell) for positions in replicas]
        np.testing.assert_allclose(everything(found), everything(replicas), rtol=1e-7)


def without_units(replicas, interval):
    """Return D by the fits without units; the lag is ten frames."""
    fits = (
        least_squares(replicas, interval, (0, 50 * interval)),
        generalised_least_squares(replicas, interval, 10 * interval),
    )
    return np.array([np.mean(fit) for fit in fits])


@settings(max_examples=5, deadline=None)
@given(factor=st.floats(0.01, 100))
def test_unit_of_time_alters_the_unit_of_least_squares_and_gls_alone(replicas, factor):
    found, expected = without_units(replicas, INTERVAL * factor), without_units(replicas, INTERVAL)
    np.testing.assert_allclose(found * factor, expected, rtol=1e-6)


@settings(max_examples=5, deadline=None)
@given(factor=st.floats(0.01, 100))
def test_unit_of_length_alters_the_unit_of_least_squares_and_gls_alone(replicas, factor):
    found = without_units([positions * factor for positions in replicas], INTERVAL)
    np.testing.assert_allclose(found / factor**2, without_units(replicas, INTERVAL), rtol=1e-6)


@pytest.mark.parametrize('confidence', [95, 1.0, 0.0, -0.5, np.nan, np.inf, '0.95', None])
def test_confidence_that_is_no_fraction(replicas, confidence):
    with pytest.raises(ConfidenceError, match='give a fraction above 0 and below 1, such as'):
        estimate_diffusion(replicas, INTERVAL, confidence=confidence)


@pytest.mark.parametrize('method', METHODS)
def test_tracers_at_rest_do_not_diffuse(method):
    replicas = [np.zeros((4000, 2, 3)) for _ in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = estimate_diffusion(replicas, 0.1, method=method, lag_ps=5.0)
    assert not found.diffusing
    assert found.upper_bound > 0
    assert found.warnings == []
