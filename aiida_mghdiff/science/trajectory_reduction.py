"""A trajectory of VASP, gigabytes of it, as the few arrays that are kept: tracers, sparse full frames, volumes.

Frames come one at a time, so that memory is that of what is kept. Coordinates are unwrapped: each frame is put where
its atoms are nearest to those of the frame before, the first where they are nearest to the start of the run.

XDATCAR has no velocities. Where it has every step, those of a frame are the central differences of its neighbours.
For an integrator of the Verlet family, which is what VASP's are, that is no approximation but the definition,
v(t) = (r(t+dt) - r(t-dt)) / 2dt (Allen, Tildesley: Computer Simulation of Liquids, section 3.2), up to the 8 decimals
of the file: 4e-8 Å/fs at 10 Å and 1 fs, where hydrogen at 300 K has 2e-2. The kicks of a thermostat are averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Frame:
    """A frame of n atoms, as a reader of a trajectory yields it."""

    configuration: int  # as numbered in the file
    cell: np.ndarray  # [3,3] Å
    fractional: np.ndarray  # [n,3]


@dataclass(frozen=True)
class ReductionPlan:
    """The start of a run and what of its trajectory is kept.

    ``cell`` [3,3] Å and ``positions`` [n,3] Å are the start; ``tracers`` are indices of atoms, ``host_weights`` [n] sum
    to one. ``block`` is the number of steps between frames of the file. Strides are in steps of the whole run, which
    began ``first_step`` steps ago.

    Where VASP writes not every step, the frames that it numbers with multiples of a stride are kept, whether they are
    of that step or of the one before. ``as_written`` asks for these of a job, too, that writes every step: it may be
    one of several of a run.
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
    """A frame that is kept, while the next one is read for its velocities."""

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
        """Return the arrays; those without a row have the shape that is given for one."""
        return {name: np.array(self.rows[name]) if name in self.rows else np.empty((0, *empty[name])) for name in empty}


def reduce_trajectory(frames: Iterable[Frame], plan: ReductionPlan) -> dict[str, np.ndarray]:
    """Return what is kept of a trajectory with n atoms, t tracers.

    ``shift``: 1 where frame i of VASP holds the positions before its step i, 0 where those after it, -1 where a file
    without every step does not tell. Steps are those of VASP, counted from 1 in this run: ``tracer_steps`` [f],
    ``tracer_positions`` [f,t,3], ``host_centre`` [f,3] and ``tracer_cells`` [f,3,3] in Å, float32; ``frame_steps`` [k],
    ``frame_positions`` [k,n,3] Å, ``frame_velocities`` [k,n,3] Å/fs (NaN where unknown), ``frame_cells`` [k,3,3];
    ``volume_steps`` and ``volumes`` [m] Å³ of all frames where the cell moves; ``last_step``; ``last_fractional``
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
    """Yield the step of each frame and the frame; the file counts steps, or the frames that it has."""
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
