"""Segments are joined in order into replicas, and refused if they do not belong to one run."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from structure_runs import make_run, make_segment, make_walks

from aiida_mghdiff.calculations.exit_codes import MismatchError, SegmentsError
from aiida_mghdiff.calculations.functions.replicas import Replica, group_segments, read_replicas

CELL = np.diag([10.0, 10.0, 16.0])


def part(frames, first_step=0, **changes):
    """Return frames of two tracers and a drifting host; each position is the number of its row."""
    rows = np.arange(first_step, first_step + frames, dtype=float)
    positions = np.broadcast_to(rows[:, None, None], (frames, 2, 3)).copy()
    return make_segment(positions, positions[:, 0] / 2, CELL, first_step=first_step, **changes)


def test_segments_are_joined_in_the_order_of_their_numbers(aiida_profile):
    groups = group_segments({'r1_s10': part(3, 4), 'r0_s0': part(2), 'r1_s9': part(4)})
    assert list(groups) == [0, 1]
    replica = Replica(groups[1])
    assert replica.tracer_positions[:, 0, 0].tolist() == list(range(7))
    assert replica.drift_free_positions[:, 1, 2].tolist() == [row / 2 for row in range(7)]
    np.testing.assert_allclose(replica.times_ps, np.arange(7) * 1e-3)
    assert (replica.cell.dtype, replica.frame_interval_ps, replica.tracer_element) == (float, 1e-3, 'H')


def test_temperature_is_the_mean_over_frames(aiida_profile):
    parts = {'r0_s0': part(1, mean_temperature_k=400.0), 'r0_s1': part(3, 1, mean_temperature_k=800.0)}
    assert Replica(group_segments(parts)[0]).temperature_k == 700.0


@pytest.mark.parametrize(
    ('segments', 'message'),
    [
        ({}, 'at least one'),
        ({'seg000': {}}, 'seg000: keys of segments must have the form'),
        ({'r0_s0': {}, 'r0_s1': {'first_step': 3}}, 'replica 0 leave a gap or overlap'),
        ({'r3_s0': {}, 'r3_s1': {'first_step': 1}}, 'replica 3 leave a gap or overlap'),
        ({'r0_s0': {}, 'r0_s1': {'first_step': 2, 'stride': 10}}, 'replica 0 differ in one of stride'),
        ({'r1_s0': {'ensemble': 'npt'}}, 'replica 1 is an npt run'),
    ],
)
def test_segments_that_are_no_run(aiida_profile, segments, message):
    with pytest.raises(SegmentsError, match=message):
        group_segments({key: part(2, **changes) for key, changes in segments.items()})


def test_full_frames_belong_to_their_replica(aiida_profile):
    nodes = make_run(make_walks(frames=500))
    (replica,) = read_replicas(nodes)
    assert replica.frames.shape[1:] == (len(replica.symbols), 3)
    assert replica.tracer_rows.tolist() == list(range(0, 500, 50))
    tracers = replica.frames[:, replica.symbols == 'H']
    np.testing.assert_allclose(tracers, replica.tracer_positions[replica.tracer_rows], atol=1e-4)


def test_replicas_that_do_not_belong_together(aiida_profile):
    first, other = make_run(make_walks(frames=500)), make_run(make_walks(frames=500, tracers=2), replica=1)
    segments = {key: node for key, node in first.items() if '_s' in key}
    with pytest.raises(SegmentsError, match='replica 0 has no full frames'):
        read_replicas(segments)
    with pytest.raises(SegmentsError, match='frames: keys of full frames must have the form r<replica>_f<index>'):
        read_replicas(segments | {'frames': first['r0_f000']})
    with pytest.raises(MismatchError, match='atoms of replica 1'):
        read_replicas(first | other)


@pytest.mark.parametrize(
    ('symbols', 'cell', 'stride', 'message'),
    [
        ('HH', 2 * CELL, 1, 'the cell of replica 5 differs from replica 3'),
        ('HD', CELL, 1, 'the atoms of replica 5 differ from replica 3'),
        ('HH', CELL, 2, 'replica 5 was recorded at another interval than replica 3'),
    ],
)
def test_messages_name_replicas_by_their_numbers(aiida_profile, symbols, cell, stride, message):
    frames = [orm.TrajectoryData() for _ in range(2)]
    for node, names in zip(frames, ('HH', symbols), strict=True):
        node.set_trajectory(list(names), np.zeros((1, 2, 3)), cells=CELL[None])
    positions = np.zeros((2, 2, 3))
    other = make_segment(positions, positions[:, 0], cell, stride=stride)
    with pytest.raises(MismatchError, match=message):
        read_replicas({'r3_s0': part(2), 'r3_f0': frames[0], 'r5_s0': other, 'r5_f0': frames[1]})
