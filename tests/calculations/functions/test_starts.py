"""Starts of replicas."""

import numpy as np
import pytest
from aiida import orm

from aiida_mghdiff.calculations.functions.starts import select_starts

SETTINGS = {'count': 3, 'minimum_spacing_ps': 10.0, 'discard_fraction': 0.2}


def trajectory(steps, energies):
    rng = np.random.default_rng(steps[0])
    node = orm.TrajectoryData()
    count = len(steps)
    node.set_trajectory(
        symbols=['Mg', 'Mg', 'H'],
        positions=rng.normal(size=(count, 3, 3)),
        velocities=rng.normal(size=(count, 3, 3)),
        cells=np.tile(np.eye(3) * 5, (count, 1, 1)),
        stepids=np.array(steps),
        times=np.array(steps) * 1e-3,
        pbc=[True, True, True],
    )
    node.set_array('total_energies_ev', np.array(energies, float))
    return node


@pytest.fixture
def segments():
    energies = np.random.default_rng(1).normal(size=100)
    steps = np.arange(1, 101) * 1000
    return {'s1': trajectory(steps[50:], energies[50:]), 's0': trajectory(steps[:50], energies[:50])}, energies


def test_starts_are_near_the_mean_and_apart(segments):
    nodes, energies = segments
    starts = select_starts(orm.Dict(SETTINGS), **nodes)
    assert sorted(starts) == ['start_0', 'start_1', 'start_2']
    positions = np.concatenate([nodes['s0'].get_positions(), nodes['s1'].get_positions()])
    frames = [
        int(np.flatnonzero((positions == starts[name].get_array('positions')).all(axis=(1, 2)))[0])
        for name in sorted(starts)
    ]
    assert np.diff(frames).min() >= 10
    assert min(frames) >= 20
    assert np.abs(energies[frames] - energies[20:].mean()).max() < 0.3


def test_start_is_the_whole_state_of_its_frame(segments):
    nodes, _ = segments
    start = select_starts(orm.Dict(SETTINGS | {'count': 1}), s0=nodes['s0'])['start_0']
    assert start.step == 0
    assert start.get_array('numbers').tolist() == [12, 12, 1]
    index = np.flatnonzero((nodes['s0'].get_positions() == start.get_array('positions')).all(axis=(1, 2)))[0]
    np.testing.assert_array_equal(start.get_array('velocities'), nodes['s0'].get_velocities()[index])
    np.testing.assert_array_equal(start.get_array('cell'), nodes['s0'].get_cells()[index])


@pytest.mark.parametrize(
    ('changes', 'status', 'words'),
    [
        ({'minimum_spacing_ps': 60.0}, 225, 'run longer'),
        ({'count': 0}, 220, 'count'),
        ({'discard_fraction': 1.5}, 220, 'discard_fraction'),
    ],
)
def test_impossible_settings(segments, changes, status, words):
    _, node = select_starts.run_get_node(orm.Dict(SETTINGS | changes), **segments[0])
    assert node.exit_status == status
    assert words in node.exit_message


def test_no_trajectory():
    _, node = select_starts.run_get_node(orm.Dict(SETTINGS))
    assert node.exit_status == 225


def test_energies_that_are_not_finite():
    _, node = select_starts.run_get_node(orm.Dict(SETTINGS), s0=trajectory([1, 2], [1.0, np.nan]))
    assert node.exit_status == 221
