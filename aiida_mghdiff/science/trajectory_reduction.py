"""Reduce a trajectory of VASP (gigabytes) to a few arrays: tracers, sparse full frames, volumes.

Frames come one at a time, so that memory holds only the kept arrays. Coordinates are unwrapped: the atoms of each frame
are the periodic images nearest to the previous frame, and of the first frame nearest to the start of the run.

XDATCAR has no velocities. If every step is written, the velocities of a frame are central differences of its
neighbours. For integrators of the Verlet family, as in VASP, this is the definition of the velocity,
v(t) = (r(t+dt) - r(t-dt)) / 2dt (Allen, Tildesley: Computer Simulation of Liquids, section 3.2), up to the 8 decimals
of the file: 4e-8 Å/fs at 10 Å and 1 fs; hydrogen at 300 K has 2e-2 Å/fs. Kicks of a thermostat are averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Frame:
    """A frame of n atoms, as a reader of a trajectory yields it."""

    configuration: int  # its number in the file
    cell: np.ndarray  # [3,3] Å
    fractional: np.ndarray  # [n,3]


@dataclass(frozen=True)
class ReductionPlan:
    """The start of a run, and the parts of its trajectory to keep.

    ``cell`` [3,3] Å and ``positions`` [n,3] Å are the start; ``tracers`` are indices of atoms, ``host_weights`` [n] sum
    to one. ``block`` is the number of steps between frames of the file. Strides are in steps of the whole run, which
    began ``first_step`` steps ago.

    If VASP does not write every step, the frames whose numbers in the file are multiples of a stride are kept; they
    belong to this or to the previous step. With ``as_written``, VASP's own frame numbers also count when every step is
    written, because the run may span several jobs.
    """

    cell: list[list[float]]
    positions: list[list[float]]
    tracers: list[int]
    host_weights: list[float]
    first_step: int
    block: int
    tracer_stride: int
    frame_stride: int
    time_step_fs: float
    moving_cell: bool
    as_written: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return asdict(self)


@dataclass
class _Kept:
    """A frame to keep, until the next frame gives its velocities."""

    step: int
    unwrapped: np.ndarray
    cell: np.ndarray
    before: np.ndarray | None


class _Collector:
    """Rows of arrays that grow."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {}

    def add(self, **values: Any) -> None:
        for name, value in values.items():
            self.rows.setdefault(name, []).append(value)

    def arrays(self, **empty: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Return the arrays; an array without rows has the given shape of a row."""
        return {name: np.array(self.rows[name]) if name in self.rows else np.empty((0, *empty[name])) for name in empty}


def reduce_trajectory(frames: Iterable[Frame], plan: ReductionPlan) -> dict[str, np.ndarray]:
    """Return the kept arrays of a trajectory with n atoms, t tracers.

    ``shift``: 1 if frame i of VASP has the positions before step i, 0 if it has the positions after step i, -1 if
    unknown because not every step was written. Steps are VASP's steps, counted from 1 in this run: ``tracer_steps``
    [f],
    ``tracer_positions`` [f,t,3], ``host_centre`` [f,3] and ``tracer_cells`` [f,3,3] in Å, float32; ``frame_steps`` [k],
    ``frame_positions`` [k,n,3] Å, ``frame_velocities`` [k,n,3] Å/fs (NaN if unknown), ``frame_cells`` [k,3,3];
    ``volume_steps`` and ``volumes`` [m] Å³ of all frames if the cell moves; ``last_step``; ``last_fractional``
    [n,3], unwrapped; ``largest_move``: the largest change of a fractional coordinate between two frames.
    """
    start_cell = np.array(plan.cell)
    weights, tracers = np.array(plan.host_weights), np.array(plan.tracers, dtype=int)
    start = np.linalg.solve(start_cell.T, np.array(plan.positions).T).T
    kept, volumes = _Collector(), _Collector()
    previous, before, pending, shift, step, largest = start, None, None, -1, 0, 0.0
    for step, frame in _numbered(frames, plan.block):
        cell = frame.cell if plan.moving_cell else start_cell
        move = frame.fractional - previous
        move -= np.rint(move)
        current = previous + move
        largest = max(largest, float(np.abs(move).max()))
        if before is None and plan.block == 1:
            shift = int(np.abs(move).max() < 1e-7)
        if pending is not None:
            _keep_frame(kept, pending, current, plan)
            pending = None
        number = plan.first_step + step - (0 if plan.as_written else max(shift, 0))
        if number % plan.tracer_stride == 0 and len(tracers):
            kept.add(
                tracer_steps=step,
                tracer_positions=(current[tracers] @ cell).astype(np.float32),
                host_centre=(weights @ current @ cell).astype(np.float32),
                tracer_cells=cell.astype(np.float32),
            )
        if number % plan.frame_stride == 0:
            pending = _Kept(step, current, cell, before)
        if plan.moving_cell:
            volumes.add(volume_steps=step, volumes=abs(float(np.linalg.det(cell))))
        previous = before = current
    if pending is not None:
        _keep_frame(kept, pending, None, plan)
    n, t = len(start), len(tracers)
    arrays = kept.arrays(
        tracer_steps=(),
        tracer_positions=(t, 3),
        host_centre=(3,),
        tracer_cells=(3, 3),
        frame_steps=(),
        frame_positions=(n, 3),
        frame_velocities=(n, 3),
        frame_cells=(3, 3),
    )
    return arrays | {
        **volumes.arrays(volume_steps=(), volumes=()),
        'shift': np.array(shift),
        'last_step': np.array(step),
        'last_fractional': previous,
        'largest_move': np.array(largest),
    }


def _numbered(frames: Iterable[Frame], block: int) -> Iterator[tuple[int, Frame]]:
    """Yield the step of each frame and the frame; the file numbers frames by step or consecutively."""
    factor = None
    for frame in frames:
        if factor is None:
            factor = block if frame.configuration < block else 1
        yield factor * frame.configuration, frame


def _keep_frame(kept: _Collector, frame: _Kept, after: np.ndarray | None, plan: ReductionPlan) -> None:
    velocities = np.full_like(frame.unwrapped, np.nan)
    if plan.block == 1 and frame.before is not None and after is not None:
        velocities = (after - frame.before) @ frame.cell / (2 * plan.time_step_fs)
    kept.add(
        frame_steps=frame.step,
        frame_positions=frame.unwrapped @ frame.cell,
        frame_velocities=velocities,
        frame_cells=frame.cell,
    )
