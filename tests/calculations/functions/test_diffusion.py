"""Diffusion coefficients from nodes."""

import numpy as np
import pytest
from aiida import orm
from hops import O_T, RATTLING, T_O, T_T, Network, regime, trajectory, wrap
from scipy.spatial.transform import Rotation
from study_graph import FIT

from aiida_mghdiff.calculations.functions.diffusion import diffusion_coefficient
from aiida_mghdiff.data.tracers import TracerTrajectoryData

SETTINGS = FIT | {'fit_start_ps': 0.0, 'fit_end_ps': 10.0}
RATES = RATTLING | {T_O: 0.2, O_T: 0.1}
CELL = Network(RATES).cell


def segment(positions, first_step=0, temperature=500.0, centre=None, cell=CELL, **changes):
    centre = np.zeros((len(positions), 3)) if centre is None else centre
    attributes = {
        'first_step': first_step,
        'stride': 50,
        'time_step_fs': 1.0,
        'tracer_element': 'H',
        'host_elements': ['Mg'],
        'ensemble': 'nve',
        'mean_temperature_k': temperature,
    }
    return TracerTrajectoryData.from_arrays(positions, centre, cell=cell, **attributes | changes)


@pytest.fixture(scope='module')
def walks():
    return [trajectory(RATES, 4000, 0.05, 6, seed)[0] for seed in (1, 2, 3)]


@pytest.fixture(scope='module')
def result(walks):
    temperatures = (490.0, 500.0, 516.0)
    segments = {
        f'r{i}_s0': segment(walk, temperature=t) for i, (walk, t) in enumerate(zip(walks, temperatures, strict=True))
    }
    return diffusion_coefficient(orm.Dict(SETTINGS), **segments)


def test_known_coefficient_in_si(result):
    values = result['diffusion'].get_dict()
    exact = Network(RATES).diffusion_coefficient() * 1e-8
    assert values['diffusing'] is True
    assert values['diffusion_coefficient_m2_s'] == pytest.approx(exact, rel=0.25)
    assert values['ci95_m2_s'][0] < exact < values['ci95_m2_s'][1]
    assert values['upper_bound_m2_s'] is None
    assert values['temperature_k'] == pytest.approx(502)
    assert values['replica_temperatures_k'] == [490, 500, 516]
    assert (values['n_replicas'], values['tracer_count']) == (3, 6)
    assert values['total_time_ps'] == pytest.approx(3 * 199.95)
    assert values['jump_count'] == sum(values['replica_jump_counts']) > 1000


@pytest.mark.parametrize(('spacing', 'warns'), [(None, False), (1.0, True), (50.0, False)])
def test_warns_of_replicas_that_share_an_arrangement(walks, result, spacing, warns):
    assert 1.0 < result['diffusion']['residence_time_ps'] < 50.0
    segments = {f'r{i}_s0': segment(walk) for i, walk in enumerate(walks)}
    values = diffusion_coefficient(orm.Dict(SETTINGS | {'start_spacing_ps': spacing}), **segments)
    assert any('share one' in text for text in values['diffusion']['warnings']) == warns


def test_arrays_reproduce_the_fit(result):
    arrays = result['msd']
    lags, msd = arrays.get_array('lag_times_ps'), arrays.get_array('msd')
    assert msd.shape == (3, len(lags), 3)
    assert lags[-1] == pytest.approx(99.95)
    inside = (lags > 0) & (lags <= 10)
    slope, intercept = np.polyfit(lags[inside], msd[1][inside].sum(axis=-1), 1)
    assert slope == pytest.approx(arrays.get_array('slopes')[1].sum())
    assert intercept == pytest.approx(arrays.get_array('intercepts')[1].sum())
    replica = result['diffusion']['replica_diffusion_coefficients_m2_s'][1]
    assert replica == pytest.approx(slope / 6 * 1e-8)


def test_all_methods_and_axes(walks, result):
    values = diffusion_coefficient(
        orm.Dict(SETTINGS | {'lag_ps': 5.0, 'method': 'automatic'}),
        **{f'r{i}_s0': segment(w) for i, w in enumerate(walks)},
    )['diffusion'].get_dict()
    estimates = values['estimates']
    assert set(estimates) == {'automatic', 'gls', 'least-squares'}
    assert set(result['diffusion']['estimates']) == {'automatic', 'least-squares'}
    exact = np.diag(Network(RATES).diffusion_tensor()) * 1e-8
    for estimate in estimates.values():
        assert abs(estimate['diffusion_coefficient_m2_s'] - exact.mean()) < 4 * estimate['sem_m2_s']
        assert np.mean(estimate['per_axis_m2_s']) == pytest.approx(estimate['diffusion_coefficient_m2_s'])
    assert values['diffusion_coefficient_m2_s'] == estimates['automatic']['diffusion_coefficient_m2_s']
    assert abs(values['d_ab_m2_s'] - exact[0]) < 4 * values['d_ab_error_m2_s'] < 0.4 * exact[0]
    assert abs(values['d_c_m2_s'] - exact[2]) < 4 * values['d_c_error_m2_s'] < 0.6 * exact[2]


@pytest.mark.parametrize('cell', [np.diag([12.0, 12.0, 8.0]), 7.8 * (np.ones((3, 3)) - np.eye(3))])
def test_a_cubic_host_has_no_c_axis(walks, cell):
    diffusion = diffusion_coefficient(orm.Dict(SETTINGS), r0_s0=segment(walks[0], cell=cell))['diffusion']
    assert (diffusion['d_ab_m2_s'], diffusion['d_c_m2_s'], diffusion['d_c_error_m2_s']) == (None, None, None)
    assert any(warning.startswith('the cell is of a cubic host without a c axis') for warning in diffusion['warnings'])
    assert len(diffusion['per_axis_m2_s']) == 3
    silent = orm.Dict(SETTINGS | {'c_axis': None})
    other = diffusion_coefficient(silent, r0_s0=segment(walks[0], cell=cell))['diffusion']
    assert not any('cubic' in warning for warning in other['warnings'])


def test_all_intervals_are_positive_and_hold_their_d(result):
    values = result['diffusion'].get_dict()
    names = {'d_ab_m2_s': 'd_ab_ci95_m2_s', 'd_c_m2_s': 'd_c_ci95_m2_s', 'haven_ratio': 'haven_ratio_ci95'}
    names |= {'collective_diffusion_coefficient_m2_s': 'collective_ci95_m2_s'}
    pairs = [(values[name], values[limits]) for name, limits in names.items()]
    pairs += zip(values['replica_diffusion_coefficients_m2_s'], values['replica_ci95_m2_s'], strict=True)
    pairs += zip(values['per_axis_m2_s'], values['per_axis_ci95_m2_s'], strict=True)
    assert len(pairs) == 10
    assert all(0 < low < value < high for value, (low, high) in pairs)


def test_coefficient_that_is_not_positive_is_null_along_its_axis():
    """Tracers move in the plane and vibrate along c, so some fits along c are negative."""
    rng, found = np.random.default_rng(3), []
    for _ in range(6):
        flat = [trajectory(RATES, 1000, 0.05, 2, int(rng.integers(1000)))[0] * [1, 1, 0] for _ in range(2)]
        segments = {f'r{i}_s0': segment(one + rng.normal(scale=0.3, size=one.shape)) for i, one in enumerate(flat)}
        values = diffusion_coefficient(orm.Dict(SETTINGS), **segments)['diffusion'].get_dict()
        along_c = [values[key] for key in ('d_c_m2_s', 'd_c_ci95_m2_s', 'd_c_error_m2_s')]
        assert (values['per_axis_m2_s'][2], values['per_axis_ci95_m2_s'][2]) == tuple(along_c[:2])
        assert along_c[0] is not None or along_c == [None] * 3
        assert along_c[1] is None or 0 < along_c[1][0] < along_c[0]
        found.append(along_c[0] is None)
    assert 0 < sum(found) < 6


def test_coefficient_of_a_replica_that_is_not_positive_is_null(walks):
    """The tracers of one replica only vibrate, so half of its fits are negative."""
    found, still = [], walks[0][:1]
    for seed in range(6):
        noise = np.random.default_rng(seed).normal(scale=0.3, size=walks[0][:1000].shape)
        outputs = diffusion_coefficient(
            orm.Dict(SETTINGS), r0_s0=segment(walks[0][:1000]), r1_s0=segment(still + noise)
        )
        values, slopes = outputs['diffusion'].get_dict(), outputs['msd'].get_array('slopes').sum(axis=1)
        known = [value is not None for value in values['replica_diffusion_coefficients_m2_s']]
        assert values['diffusing']
        assert known == list(slopes > 0)
        limits = values['replica_ci95_m2_s'][1]
        assert known[1] or limits is None
        warned = any('D of replica 1' in text for text in values['warnings'])
        assert warned == (known[1] and limits is None)
        found.append((known[1], warned))
    assert (True, True) in found
    assert (False, False) in found


@pytest.mark.parametrize('method', ['automatic', 'gls'])
def test_runs_too_short_for_the_automatic_estimate_have_least_squares(walks, result, method):
    segments = {f'r{i}_s0': segment(walk[:1500]) for i, walk in enumerate(walks)}
    settings = SETTINGS | {'method': method, 'lag_ps': 1.0}
    values = diffusion_coefficient(orm.Dict(settings), **segments)['diffusion'].get_dict()
    assert ('automatic' in values['estimates']) == (method == 'automatic')
    if method == 'gls':
        return
    least = values['estimates']['least-squares']
    assert (values['method'], values['ci95_m2_s']) == ('least-squares', least['ci95_m2_s'])
    assert values['warnings'][0] == (
        'the run has 75 blocks of 1 ps, the automatic estimate needs 100: run longer. Least squares gives D instead.'
    )
    assert not any('Least squares' in text for text in least['warnings'])


def test_rattling_has_d_by_least_squares_instead_of_the_automatic_estimate():
    rates = regime(0.01, {T_T: 200.0, T_O: 1.0, O_T: 1.0})
    segments = {f'r{i}_s0': segment(trajectory(rates, 10000, 0.05, 6, i)[0]) for i in range(3)}
    settings = SETTINGS | {'method': 'automatic', 'fit_end_ps': 100.0}
    values = diffusion_coefficient(orm.Dict(settings), **segments)['diffusion'].get_dict()
    assert values['method'] == 'least-squares'
    assert 'rattle much faster' in values['warnings'][0]
    assert values['diffusion_coefficient_m2_s'] == values['estimates']['least-squares']['diffusion_coefficient_m2_s']


def test_c_axis_is_that_of_the_cell(walks, result):
    turn = Rotation.from_euler('xyz', [0.4, -1.0, 0.7]).as_matrix()
    found = diffusion_coefficient(
        orm.Dict(SETTINGS | {'c_axis': 'a'}),
        **{f'r{i}_s0': segment(walk @ turn, cell=CELL[[2, 0, 1]] @ turn) for i, walk in enumerate(walks)},
    )['diffusion']
    for key in ('diffusion_coefficient_m2_s', 'd_ab_m2_s', 'd_ab_error_m2_s', 'd_c_m2_s', 'd_c_error_m2_s'):
        assert found[key] == pytest.approx(result['diffusion'][key], rel=1e-4)
    other = diffusion_coefficient(orm.Dict(SETTINGS | {'c_axis': None}), r0_s0=segment(walks[0]))['diffusion']
    assert (other['d_ab_m2_s'], other['d_c_error_m2_s']) == (None, None)


def test_motion_of_tracers_that_do_not_see_each_other(result):
    values = result['diffusion'].get_dict()
    assert abs(values['haven_ratio'] - 1) < 3 * values['haven_ratio_error'] < 1
    assert abs(values['log_log_slope'] - 1) < 0.2
    assert values['log_log_slope_error'] > 0


def test_coefficient_against_window(result):
    arrays = result['msd']
    ends, values, errors = (arrays.get_array(f'window_{name}') for name in ('ends_ps', 'coefficients', 'errors'))
    assert len(ends) == len(values) == len(errors) == 20
    assert ends[-1] == pytest.approx(99.95)
    assert np.all(np.diff(ends) > 0)
    nearest = np.argmin(abs(ends - 10))
    assert values[nearest] * 1e-8 == pytest.approx(result['diffusion']['diffusion_coefficient_m2_s'], rel=0.05)
    assert errors[-1] > 2 * errors[0]
    assert arrays.get_array('collective_msd').shape == arrays.get_array('msd').shape


def test_segments_and_drift_of_the_host_change_nothing(walks, result):
    drift = np.linspace(0, 30, 4000)[:, None] * [1.0, -0.5, 0.2]
    segments = {}
    for replica, walk in enumerate(walks):
        for index, part in enumerate((slice(0, 1500), slice(1500, 4000))):
            positions = walk[part] + drift[part, None]
            segments[f'r{replica}_s{index:03d}'] = segment(positions, 50 * part.start, centre=drift[part])
    found = diffusion_coefficient(orm.Dict(SETTINGS), **segments)['diffusion'].get_dict()
    whole = result['diffusion'].get_dict()
    assert found['diffusion_coefficient_m2_s'] == pytest.approx(whole['diffusion_coefficient_m2_s'], rel=1e-4)
    assert found['jump_count'] == whole['jump_count']


def test_rattling_has_an_upper_bound_and_nulls():
    segments = {f'r{i}_s0': segment(trajectory(RATTLING, 1000, 0.05, 4, i, kind='T')[0]) for i in range(3)}
    values = diffusion_coefficient(orm.Dict(SETTINGS), **segments)['diffusion'].get_dict()
    names = ('diffusion_coefficient_m2_s', 'sem_m2_s', 'ci95_m2_s', 'relative_error', 'residence_time_ps')
    assert [values[name] for name in names] == [None] * 5
    together = ('collective_diffusion_coefficient_m2_s', 'haven_ratio', 'haven_ratio_error')
    assert [values[name] for name in together] == [None] * 3
    assert values['replica_diffusion_coefficients_m2_s'] == [None] * 3
    assert values['diffusing'] is False
    assert values['upper_bound_m2_s'] == pytest.approx(2.9957 * 1.96**2 / (6 * 12 * 49.95) * 1e-8, rel=1e-4)


@pytest.mark.parametrize(
    ('changes', 'status', 'words'),
    [
        ({'fit_end_ps': 500.0}, 224, 'the run has 199.95 ps'),
        ({'fit_end_ps': 0.1}, 224, 'at least 3'),
        ({'fit_start_ps': 20.0}, 220, 'less than fit_end_ps'),
        ({'jump_threshold': 0.0}, 220, 'jump_threshold'),
        ({'method': 'gls'}, 220, 'lag_ps is null'),
        ({'method': 'gls', 'lag_ps': 20.0}, 224, 'increments over 40 ps'),
        ({'c_axis': 'z'}, 220, 'c_axis'),
    ],
)
def test_settings_that_do_not_fit_the_run(walks, changes, status, words):
    _, node = diffusion_coefficient.run_get_node(orm.Dict(SETTINGS | changes), r0_s0=segment(walks[0]))
    assert node.exit_status == status
    assert words in node.exit_message
    assert list(node.outputs) == []


def refused(segments, status=226):
    _, node = diffusion_coefficient.run_get_node(orm.Dict(SETTINGS), **segments)
    assert node.exit_status == status
    return node.exit_message


def test_segments_that_were_wrapped(walks):
    parts = {'r0_s0': segment(walks[0][:2000]), 'r0_s1': segment(walks[0][2000:] + CELL[0], 50 * 2000)}
    assert 'replica 0: tracer 0 leaps across the cell after frame 1999, where a segment begins' in refused(parts)
    far = {'r0_s0': parts['r0_s0'], 'r0_s1': segment(walks[0][2000:] + 3 * CELL[0], 50 * 2000)}
    assert 'leaps across the cell after frame 1999, where a segment begins' in refused(far)


def test_frames_too_far_apart_to_unwrap(walks):
    """Every 200th frame is unwrapped to the nearest images; a warning counts the doubtful steps."""
    sparse = np.unwrap(walks[0][::200] @ np.linalg.inv(CELL), axis=0, period=1) @ CELL
    settings = SETTINGS | {'fit_end_ps': 60.0}
    values = diffusion_coefficient(orm.Dict(settings), r0_s0=segment(sparse, stride=10000))['diffusion']
    (warning,) = [text for text in values['warnings'] if 'unwrapping them is ambiguous' in text]
    steps = np.abs(np.diff(sparse, axis=0) @ np.linalg.inv(CELL)).max(axis=(1, 2))
    assert f'between {np.sum(steps > 0.4)} of {len(steps)} pairs of frames, at most by {steps.max():.2f}:' in warning
    large = diffusion_coefficient(orm.Dict(SETTINGS), r0_s0=segment(walks[0], cell=3 * CELL))['diffusion']
    assert not any('ambiguous' in text for text in large['warnings'])


def test_wrapped_positions(walks):
    message = refused({'r3_s0': segment(walks[0]), 'r12_s0': segment(wrap(walks[1], CELL))}, 233)
    assert 'replica 12: tracer' in message
    assert 'leaps across the cell' in message


def test_hops_that_are_long_in_a_small_cell():
    """Hops of 0.7 of the cell are diffusion; without the cell they could be leaps."""
    cell = np.diag([7.5, 7.5, 7.5])
    rng = np.random.default_rng(1)
    hops = rng.choice([-5.2, 0, 5.2], (2, 4000, 6, 3), p=[0.005, 0.99, 0.005])
    walks = np.cumsum(hops, axis=1) + rng.normal(scale=0.2, size=hops.shape)
    segments = {f'r{index}_s0': segment(walk, cell=cell) for index, walk in enumerate(walks)}
    values = diffusion_coefficient(orm.Dict(SETTINGS), **segments)['diffusion']
    assert values['ci95_m2_s'][0] < 5.2**2 * 0.01 / 2 / 0.05 * 1e-8 < values['ci95_m2_s'][1]
    assert not any('wrapped, D is wrong' in text for text in values['warnings'])


def test_single_tracer_in_a_single_run(walks):
    _, node = diffusion_coefficient.run_get_node(orm.Dict(SETTINGS), r0_s0=segment(walks[0][:, :1]))
    assert node.exit_status == 233
    assert 'several tracers, or replicas' in node.exit_message
    values = diffusion_coefficient(
        orm.Dict(SETTINGS), **{f'r{i}_s0': segment(walk[:, :1]) for i, walk in enumerate(walks)}
    )['diffusion'].get_dict()
    assert (values['haven_ratio'], values['haven_ratio_error']) == (None, None)
    assert values['diffusing']


def test_replicas_of_different_recording(walks):
    assert 'time between frames' in refused({'r0_s0': segment(walks[0]), 'r1_s0': segment(walks[1], time_step_fs=0.5)})


def test_segments_that_are_no_run(walks):
    assert 'seg000' in refused({'seg000': segment(walks[0])})
