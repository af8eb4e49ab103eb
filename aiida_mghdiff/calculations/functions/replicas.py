"""Replicas, the runs at one temperature: segments of tracers and full frames, joined in memory."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from aiida import orm

from aiida_mghdiff.calculations.exit_codes import MismatchError, SegmentsError
from aiida_mghdiff.data.stored_keys import stored_value
from aiida_mghdiff.data.tracers import TracerTrajectoryData
from aiida_mghdiff.science.msd import remove_drift
from aiida_mghdiff.science.units import PS_IN_FS

_SEGMENT = re.compile(r'r(\d+)_s(\d+)')
_FULL_FRAMES = re.compile(r'r(\d+)_f(\d+)')


@dataclass(frozen=True)
class Replica:
    """One run: in order the segments of its tracers, f frames of n tracers, and the segments of its k full frames.

    Its number is the one in the keys of its segments.
    """

    segments: Sequence[TracerTrajectoryData]
    trajectories: Sequence[orm.TrajectoryData] = ()
    number: int = 0

    @property
    def name(self) -> str:
        """Return the name of the run in messages."""
        return f'replica {self.number}'

    @cached_property
    def cell(self) -> np.ndarray:
        """Return the cell [3,3] in Å."""
        return self.segments[0].get_array('cell').astype(float)

    @cached_property
    def tracer_positions(self) -> np.ndarray:
        """Return the unwrapped positions [f,n,3] of the tracers in Å."""
        return np.concatenate([node.get_array('tracer_positions') for node in self.segments])

    @cached_property
    def host_centre(self) -> np.ndarray:
        """Return the centre of the host [f,3] in Å."""
        return np.concatenate([node.get_array('host_centre') for node in self.segments]).astype(float)

    @property
    def drift_free_positions(self) -> np.ndarray:
        """Return the unwrapped positions [f,n,3] of the tracers in Å, relative to the centre of the host."""
        return remove_drift(self.tracer_positions, self.host_centre)

    @property
    def times_ps(self) -> np.ndarray:
        """Return the time of each frame [f] of the tracers in ps."""
        return np.concatenate([node.times_ps for node in self.segments])

    @cached_property
    def frames(self) -> np.ndarray:
        """Return the positions [k,N,3] of all atoms in Å in the full frames."""
        return np.concatenate([node.get_positions() for node in self.trajectories])

    @property
    def frame_cells(self) -> np.ndarray:
        """Return the cells [k,3,3] in Å of the full frames."""
        return np.concatenate([node.get_cells() for node in self.trajectories])

    @property
    def symbols(self) -> np.ndarray:
        """Return the symbols [N] of all atoms."""
        return np.array(self.trajectories[0].symbols)

    @property
    def tracer_element(self) -> str:
        """Return the symbol of the tracers."""
        return self.segments[0].base.attributes.get('tracer_element')

    @property
    def frame_interval_ps(self) -> float:
        """Return the time between two frames of the tracers."""
        attributes = self.segments[0].base.attributes
        return attributes.get('stride') * attributes.get('time_step_fs') / PS_IN_FS

    @property
    def temperature_k(self) -> float:
        """Return the mean temperature of all frames of the tracers in K."""
        temperatures = [node.base.attributes.get('mean_temperature_k') for node in self.segments]
        return float(np.average(temperatures, weights=[node.base.attributes.get('n_frames') for node in self.segments]))

    @property
    def tracer_rows(self) -> np.ndarray:
        """Return for each full frame [k] the row of the tracers' frame at the same or the nearest time."""
        steps = np.concatenate([node.get_stepids() for node in self.trajectories])
        attributes = self.segments[0].base.attributes
        rows = np.round((steps - attributes.get('first_step')) / attributes.get('stride')).astype(int)
        return np.clip(rows, 0, len(self.host_centre) - 1)


def read_replicas(nodes: Mapping[str, orm.Data]) -> list[Replica]:
    """Return the replicas of tracers (keys ``r<replica>_s<index>``) and full frames (``r<replica>_f<index>``).

    :raises SegmentsError: as :func:`group_segments`, and for a replica without full frames.
    :raises MismatchError: if the replicas differ in their cells, atoms or time between frames.
    """
    segments = {key: node for key, node in nodes.items() if isinstance(node, TracerTrajectoryData)}
    trajectories: dict[int, list[orm.TrajectoryData]] = defaultdict(list)
    for key in sorted(set(nodes) - set(segments)):
        if not (match := _FULL_FRAMES.fullmatch(key)):
            raise SegmentsError(f'{key}: keys of full frames must have the form r<replica>_f<index>.')
        trajectories[int(match[1])].append(nodes[key])  # type: ignore[arg-type]  # by its key
    grouped = group_segments(segments)
    if lacking := set(grouped) - set(trajectories):
        raise SegmentsError(f'replica {min(lacking)} has no full frames: record them (frame_interval_fs).')
    replicas = [Replica(run, trajectories[number], number) for number, run in grouped.items()]
    _check_alike(replicas)
    return replicas


def _check_alike(replicas: Sequence[Replica]) -> None:
    first, *others = replicas
    for run in others:
        if not np.allclose(run.cell, first.cell, atol=1e-3):
            raise MismatchError(f'the cell of {run.name} differs from {first.name}: analyse one volume at a time.')
        if list(run.symbols) != list(first.symbols):
            raise MismatchError(f'the atoms of {run.name} differ from {first.name}.')
        if run.frame_interval_ps != first.frame_interval_ps:
            raise MismatchError(f'{run.name} was recorded at another interval than {first.name}.')


def group_segments(segments: Mapping[str, TracerTrajectoryData]) -> dict[int, list[TracerTrajectoryData]]:
    """Return the segments of each replica in order, by its number.

    :raises SegmentsError: for no segment, a key of another form, or segments that do not follow each other.
    """
    runs: dict[int, list[TracerTrajectoryData]] = defaultdict(list)
    if unknown := [key for key in segments if not _SEGMENT.fullmatch(key)]:
        raise SegmentsError(f'{", ".join(unknown)}: keys of segments must have the form r<replica>_s<index>.')
    if not segments:
        raise SegmentsError('there are no segments: give at least one, by the key r0_s0.')
    numbers = {key: tuple(map(int, _SEGMENT.findall(key)[0])) for key in segments}
    for key in sorted(numbers, key=numbers.__getitem__):
        runs[numbers[key][0]].append(segments[key])
    for replica, run in runs.items():
        check_run(replica, run)
    return runs


def check_run(replica: int, run: list[TracerTrajectoryData]) -> None:
    """Refuse segments that do not form one run at constant volume without gaps.

    :raises SegmentsError: names the replica.
    """
    names = ('stride', 'time_step_fs', 'tracer_count', 'tracer_element', 'ensemble')
    if any(len({stored_value(node, name) for node in run}) > 1 for name in names):
        raise SegmentsError(f'the segments of replica {replica} differ in one of {", ".join(names)}.')
    if run[0].base.attributes.get('ensemble') == 'npt':
        raise SegmentsError(f'replica {replica} is an npt run, so its cell changes: measure D at constant volume.')
    steps = np.concatenate([node.steps for node in run])
    if np.any(np.diff(steps) != run[0].base.attributes.get('stride')):
        raise SegmentsError(f'the segments of replica {replica} leave a gap or overlap: give all of them, in order.')
    check_joins(replica, run)


def check_joins(replica: int, run: list[TracerTrajectoryData]) -> None:
    """Refuse tracers that leap only where a segment begins: they were put back into the cell there.

    :raises SegmentsError: names the replica, the tracer and the frame.
    """
    inverse, frames = np.linalg.inv(run[0].get_array('cell')), 0
    for before, after in pairwise(run):
        parts = [node.get_array('tracer_positions') for node in (before, after)]
        frames += len(parts[0])
        leaps = _images(parts[1][0] - parts[0][-1], inverse)
        if leaps.any() and not any(_images(np.diff(part, axis=0), inverse).any() for part in parts):
            raise SegmentsError(
                f'replica {replica}: tracer {np.flatnonzero(leaps)[0]} leaps across the cell after frame {frames - 1}, '
                'where a segment begins: record unwrapped positions, which go on from segment to segment.'
            )


def _images(steps: np.ndarray, inverse_cell: np.ndarray) -> np.ndarray:
    """Return whether the nearest image of each step [...,3] is in another cell."""
    return np.round(steps @ inverse_cell).any(axis=-1)
