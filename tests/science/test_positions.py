"""Positions that allow no diffusion coefficient."""

import hops
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aiida_mghdiff.science.positions import PositionsError, check_positions, position_warnings


@pytest.fixture(scope='module')
def path():
    """Positions like those of a molecular dynamics code, without the host's drift, and the cell."""
    network, rng = hops.Network(hops.regime(0.5), (3, 3, 2)), np.random.default_rng(1)
    return network.walks(rng, 2000, 0.5, 6) + hops.vibrations(rng, 2000, 6, 0.5), network.cell


def test_wrapped_coordinates_are_named(path):
    positions, cell = path
    with pytest.raises(PositionsError, match=r'run: tracer \d leaps across the cell after frame \d+ .* unwrap them'):
        check_positions(hops.wrap(positions, cell), 'run')


def test_wrapped_coordinates_that_drift_are_named(path):
    positions, cell = path
    drifting = hops.wrap(positions, cell) - hops.drift(np.random.default_rng(2), 2000, 0.5)[:, None]
    with pytest.raises(PositionsError, match='leaps'):
        check_positions(drifting, 'run')


def test_wrapped_coordinates_of_one_tracer_along_one_axis_are_named(path):
    positions, cell = path
    wrapped = positions.copy()
    wrapped[:, 2, 2] %= cell[2, 2]
    with pytest.raises(PositionsError, match='leaps'):
        check_positions(wrapped[:, 2:3], 'run')


@pytest.mark.parametrize('coefficient', [0.5, 0.05, 0.005])
@pytest.mark.parametrize('interval', [0.5, 5.0])
def test_diffusion_is_no_leap(coefficient, interval):
    network, rng = hops.Network(hops.regime(coefficient), (2, 2, 2)), np.random.default_rng(2)
    for _ in range(20):
        positions = network.walks(rng, 400, interval, 4) + hops.vibrations(rng, 400, 4, interval)
        assert check_positions(positions, 'run').shape == (400, 4, 3)


def long_hops(length, tracers, seed=3):
    """Positions of tracers that vibrate and rarely hop by one length, forth and back along each axis."""
    rng = np.random.default_rng(seed)
    hop = rng.choice([-length, 0, length], (800, tracers, 3), p=[0.01, 0.98, 0.01])
    return np.cumsum(hop, axis=0) + length * rng.integers(0, 3, (tracers, 3)) + hops.vibrations(rng, 800, tracers, 0.5)


@pytest.mark.parametrize('length', [4.8, 5.2, 5.7, 7.0])
@pytest.mark.parametrize('tracers', [1, 2, 6])
def test_long_hops_are_no_leap_and_the_cell_decides(length, tracers):
    positions = long_hops(length, tracers)
    check_positions(positions, 'run')
    cell = np.diag([12.8, 11.1, 10.4])
    check_positions(positions, 'run', cell)
    assert not any('wrapped, D is wrong' in text for text in position_warnings([positions], ['run'], [cell]))
    with pytest.raises(PositionsError, match='leaps across the cell'):
        check_positions(hops.wrap(positions, cell), 'run', cell)


def test_long_hops_without_a_cell_are_warned_of():
    (warning,) = position_warnings([long_hops(5.2, 1)], ['run 7'], None)
    assert warning.startswith('run 7: tracer 0 moves by ')
    assert 'Give the cells' in warning


def test_steps_longer_than_the_cell_are_no_leap():
    """Frames so far apart that tracers pass through a small cell between them."""
    network, rng = hops.Network(hops.regime(0.5), (2, 2, 2)), np.random.default_rng(4)
    positions = network.walks(rng, 800, 5.0, 6) + hops.vibrations(rng, 800, 6, 5.0)
    assert np.abs(np.diff(positions @ np.linalg.inv(network.cell), axis=0)).max() > 1
    check_positions(positions, 'run', network.cell)
    (warning,) = position_warnings([positions], ['run'], [network.cell])
    assert 'unwrapping them is ambiguous' in warning


def test_steps_along_a_channel_are_no_leap():
    """Tracers that hop along one axis only, past several cells from frame to frame."""
    rng, cell = np.random.default_rng(5), np.diag([9.6, 8.3, 10.4])
    positions = hops.vibrations(rng, 800, 6, 5.0)
    positions[..., 2] += np.cumsum(2.6 * rng.normal(scale=4, size=(800, 6)).round(), axis=0)
    check_positions(positions, 'run', cell)


def test_rotated_cells(path):
    positions, cell = path
    rotation = Rotation.from_euler('xyz', [20, 50, 70], degrees=True).as_matrix()
    check_positions(positions @ rotation, 'run', cell @ rotation)
    with pytest.raises(PositionsError, match='leaps across the cell'):
        check_positions(hops.wrap(positions, cell) @ rotation, 'run', cell @ rotation)


def test_segments_wrapped_where_they_join(path):
    """Each part is unwrapped, and begins in the cell."""
    positions, cell = path
    joined = positions.copy()
    joined[1000:] += hops.wrap(positions[1000], cell) - positions[1000]
    with pytest.raises(PositionsError, match='after frame 999'):
        check_positions(joined, 'run', cell)


@pytest.mark.parametrize('step', [1.2, 1.6, 2.0, 2.5, 3.0])
@pytest.mark.parametrize('tracers', [1, 8])
@pytest.mark.parametrize('cell', [np.diag([12.8, 11.1, 10.4]), np.array([[9.6, 0, 0], [-4.8, 8.31, 0], [0, 0, 10.4]])])
def test_wrapped_coordinates_whose_steps_are_all_long(step, tracers, cell):
    positions = np.cumsum(np.random.default_rng(8).normal(scale=step, size=(2000, tracers, 3)), axis=0)
    check_positions(positions, 'run', cell)
    with pytest.raises(PositionsError, match='leaps across the cell'):
        check_positions(hops.wrap(positions, cell), 'run', cell)


@pytest.mark.parametrize('cell', [np.ones(3), np.zeros((3, 3)), np.ones((3, 3))])
def test_cells_without_a_volume(path, cell):
    with pytest.raises(PositionsError, match='run has no cell with a volume'):
        check_positions(path[0], 'run', cell)


def test_numbers_that_are_not_finite(path):
    broken = path[0].copy()
    broken[10, 2, 1] = np.nan
    with pytest.raises(PositionsError, match='run has 1 coordinates that are not finite'):
        check_positions(broken, 'run')


@pytest.mark.parametrize('shape', [(10, 3), (10, 2, 2), (0, 2, 3), (10, 0, 3)])
def test_another_shape(shape):
    with pytest.raises(PositionsError, match='frames, tracers, 3'):
        check_positions(np.zeros(shape), 'run')
