"""Positions that allow no diffusion coefficient."""

import hops
import numpy as np
import pytest

from aiida_mghdiff.science.positions import PositionsError, check_positions


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


def test_numbers_that_are_not_finite(path):
    broken = path[0].copy()
    broken[10, 2, 1] = np.nan
    with pytest.raises(PositionsError, match='run has 1 coordinates that are not finite'):
        check_positions(broken, 'run')


@pytest.mark.parametrize('shape', [(10, 3), (10, 2, 2), (0, 2, 3), (10, 0, 3)])
def test_another_shape(shape):
    with pytest.raises(PositionsError, match='frames, tracers, 3'):
        check_positions(np.zeros(shape), 'run')
