"""Frames sampled from runs."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase import Atoms

from aiida_mghdiff.calculations.functions.sampling import sample_frames


def make_run(count, seed, symbols=('Mg', 'Mg', 'H'), interval=0.25, first=0):
    """Return full frames of a run whose cell changes from frame to frame."""
    rng, steps = np.random.default_rng(seed), first + np.arange(count)
    node = orm.TrajectoryData()
    node.set_trajectory(
        symbols=list(symbols),
        positions=rng.normal(size=(count, len(symbols), 3)),
        cells=np.eye(3) * (5 + steps / 1000)[:, None, None],
        stepids=steps,
        times=steps * interval,
        pbc=[True, True, True],
    )
    return node


@pytest.fixture
def runs(aiida_profile):
    """Three runs of 40 frames, the first in two segments."""
    return {
        'nve0_seg001': make_run(15, 2, first=25),
        'nve0_seg000': make_run(25, 1),
        'nve1_seg000': make_run(40, 3),
        'nve2_seg000': make_run(40, 4),
    }


def test_frames_are_evenly_apart_over_all_runs(runs):
    found = sample_frames(orm.Dict({'count': 12, 'seed': 5}), **runs)
    everything = np.concatenate([runs[key].get_positions() for key in sorted(runs)])
    cells = np.concatenate([runs[key].get_cells() for key in sorted(runs)])
    indices = [int(np.flatnonzero((everything == frame).all(axis=(1, 2)))[0]) for frame in found.get_positions()]
    np.testing.assert_array_equal(np.diff(indices), 10)
    np.testing.assert_array_equal(found.get_cells(), cells[indices])
    assert found.symbols == ['Mg', 'Mg', 'H']


def test_seed_decides(runs):
    first, same, other = (
        sample_frames(orm.Dict({'count': 12, 'seed': seed}), **runs).get_positions() for seed in (5, 5, 7)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def fail(settings, **runs):
    _, node = sample_frames.run_get_node(orm.Dict(settings), **runs)
    return node.exit_status, node.exit_message


def test_refusals(runs):
    status, message = fail({'count': 121, 'seed': 1}, **runs)
    assert status == 225
    assert '121 frames are requested, but there are 120' in message
    assert fail({'count': 1, 'seed': 1})[0] == 225
    status, message = fail({'count': 2, 'seed': 1}, **runs, other=make_run(9, 5, symbols=('Mg', 'H')))
    assert status == 228
    assert 'different atoms' in message
    status, message = fail({'count': 2, 'seed': 1}, **runs, other=make_run(9, 5, interval=0.5))
    assert status == 228
    assert '0.25 to 0.5 ps apart' in message
    assert fail({'count': 0, 'seed': 1}, **runs)[0] == 220


def test_frames_without_times_are_refused(runs):
    frames = orm.TrajectoryData([orm.StructureData(ase=Atoms('MgH', cell=[3.0] * 3, pbc=True))] * 4)
    status, message = fail({'count': 2, 'seed': 1}, run=frames)
    assert status == 228
    assert message.endswith('a trajectory has no times: give `set_trajectory` cells in Å and times in ps.')
