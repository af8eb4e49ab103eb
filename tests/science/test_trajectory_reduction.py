"""Reduced trajectories: unwrapping, velocities, numbering, memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from aiida_mghdiff.formats.xdatcar import XdatcarReader, xdatcar_frame, xdatcar_header
from aiida_mghdiff.science.trajectory_reduction import Frame, ReductionPlan, reduce_trajectory

CELL = np.array([[6.0, 0.0, 0.0], [-3.0, 5.0, 0.0], [0.0, 0.0, 8.0]])
START = np.array([[0.0, 0.0, 0.0], [2.0, 1.0, 4.0], [1.0, 1.0, 1.0]])
VELOCITIES = np.array([[0.0, 0.0, 0.001], [0.0, 0.002, 0.0], [0.03, 0.01, -0.02]])
STEP_FS = 2.0


def make_plan(**changes):
    """Return the plan of a run of two host atoms and a tracer."""
    plan = ReductionPlan(
        cell=CELL.tolist(),
        positions=START.tolist(),
        tracers=[2],
        host_weights=[0.5, 0.5, 0.0],
        first_step=0,
        block=1,
        tracer_stride=2,
        frame_stride=5,
        time_step_fs=STEP_FS,
        moving_cell=False,
    )
    return replace(plan, **changes)


def positions(step):
    return START + VELOCITIES * STEP_FS * step


def frames(steps, *, wrapped=False, numbers=None):
    """Return frames of the free flight after some steps."""
    for number, step in zip(numbers or range(1, len(steps) + 1), steps, strict=True):
        fractional = np.linalg.solve(CELL.T, positions(step).T).T
        yield Frame(number, CELL, fractional % 1.0 if wrapped else fractional)


@pytest.mark.parametrize('wrapped', [False, True])
def test_paths_leave_the_cell(wrapped):
    arrays = reduce_trajectory(frames(range(400), wrapped=wrapped), make_plan())
    assert arrays['shift'] == 1
    steps = arrays['tracer_steps'] - 1
    assert steps.tolist() == list(range(0, 400, 2))
    expected = np.array([positions(step) for step in steps])
    assert np.abs(arrays['tracer_positions'] - expected[:, 2:]).max() < 1e-5
    assert np.abs(arrays['host_centre'] - expected[:, :2].mean(axis=1)).max() < 1e-5
    assert np.abs(expected[-1, 2] - START[2]).max() > 20
    last = arrays['last_fractional'] @ CELL
    assert np.abs(last - positions(399)).max() < 1e-9


def test_frames_after_their_step_are_known_by_the_start():
    arrays = reduce_trajectory(frames(range(1, 21)), make_plan())
    assert arrays['shift'] == 0
    assert arrays['tracer_steps'].tolist() == list(range(2, 21, 2))
    assert np.allclose(arrays['tracer_positions'][:, 0], [positions(step)[2] for step in range(2, 21, 2)])


def test_velocities_are_those_of_the_neighbours(tmp_path):
    """Positions of a harmonic oscillator with 8 decimals give back its velocities."""
    omega2, step = 1e-2, 1.0
    x, v = np.array([[0.3, -0.2, 0.1]]), np.array([[0.02, 0.01, 0.0]])
    path, known = tmp_path / 'XDATCAR', []
    text = [xdatcar_header('one', np.eye(3) * 10.0, ['H'], [1])]
    for number in range(1, 41):
        text.append(xdatcar_frame(number, x / 10.0))
        known.append(v)
        half = v - 0.5 * step * omega2 * x
        x = x + step * half
        v = half - 0.5 * step * omega2 * x
    path.write_text(''.join(text))
    plan = ReductionPlan(
        cell=(np.eye(3) * 10.0).tolist(),
        positions=[[0.3, -0.2, 0.1]],
        tracers=[],
        host_weights=[1.0],
        first_step=0,
        block=1,
        tracer_stride=1,
        frame_stride=3,
        time_step_fs=step,
        moving_cell=False,
    )
    arrays = reduce_trajectory(XdatcarReader(path), plan)
    assert arrays['tracer_positions'].shape == (0, 0, 3)
    wanted = np.array([known[number - 1] for number in arrays['frame_steps']])
    first, *others, last = arrays['frame_velocities']
    assert np.isnan(first).all()
    assert np.isnan(last).all()
    assert np.abs(np.array(others) - wanted[1:-1]).max() < 1e-7
    assert np.abs(wanted).max() > 1e-2


@pytest.mark.parametrize('numbers', [[10, 20, 30, 40], [1, 2, 3, 4]])
def test_sparse_files_count_steps_or_frames(numbers):
    plan = make_plan(block=10, tracer_stride=20, frame_stride=20, first_step=100)
    arrays = reduce_trajectory(frames([9, 19, 29, 39], numbers=numbers), plan)
    assert arrays['shift'] == -1
    assert arrays['tracer_steps'].tolist() == [20, 40]
    assert np.isnan(arrays['frame_velocities']).all()
    assert arrays['last_step'] == 40


def test_moving_cell_is_that_of_each_frame():
    grown = [Frame(number, CELL * (1 + 0.01 * number), np.linalg.solve(CELL.T, START.T).T) for number in range(1, 5)]
    arrays = reduce_trajectory(grown, make_plan(moving_cell=True, tracer_stride=1))
    assert np.allclose(arrays['volumes'], [240 * (1 + 0.01 * number) ** 3 for number in range(1, 5)])
    assert np.allclose(arrays['tracer_positions'][-1, 0], START[2] * 1.04)
    assert np.allclose(arrays['tracer_cells'][-1], CELL * 1.04)


def test_run_without_a_frame():
    arrays = reduce_trajectory([], make_plan())
    assert arrays['last_step'] == 0
    assert arrays['frame_positions'].shape == (0, 3, 3)
    assert np.allclose(arrays['last_fractional'] @ CELL, START)


def test_memory_is_that_of_what_is_kept(tmp_path):
    """1 ns of Mg128H8 at 1 fs, a frame every 10 steps, takes well below 1 GB; a hundredth is measured."""
    n, kept_frames = 136, 100_000
    rng = np.random.default_rng(1)
    fractional = rng.uniform(size=(n, 3))
    block = 10

    def write(count):
        with (tmp_path / 'XDATCAR').open('w') as handle:
            handle.write(xdatcar_header('Mg128H8', np.eye(3) * 14.0, ['Mg', 'H'], [128, 8]))
            for number in range(1, count + 1):
                handle.write(xdatcar_frame(number * block, fractional))

    plan = ReductionPlan(
        cell=(np.eye(3) * 14.0).tolist(),
        positions=(fractional * 14.0).tolist(),
        tracers=list(range(128, 136)),
        host_weights=[1 / 128] * 128 + [0.0] * 8,
        first_step=0,
        block=block,
        tracer_stride=block,
        frame_stride=1000,
        time_step_fs=1.0,
        moving_cell=False,
    )
    peaks = []
    for count in (200, 1000):
        write(count)
        tracemalloc.start()
        arrays = reduce_trajectory(XdatcarReader(tmp_path / 'XDATCAR'), plan)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(arrays['tracer_steps']) == count
    per_frame = (peaks[1] - peaks[0]) / 800
    assert peaks[0] + per_frame * kept_frames < 0.5e9
