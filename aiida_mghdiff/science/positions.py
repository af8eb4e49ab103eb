"""Check positions of tracers before a diffusion coefficient is computed.

Wrapped coordinates leap by a lattice vector. If the cell is known, they are refused if unusually long steps are nearly
lattice vectors more often than by chance: steps of diffusion point anywhere, and leaps of wrapped coordinates are a
lattice vector and one step of the tracer. If frames are so far apart that all steps are long, wrapped coordinates have
another mark: tracers leap across the cell, and yet all of them stay in one cell.

If the cell is unknown, three marks together, along one axis, make a step suspicious. It is longer than any hop to a
neighbouring site. It spans more than half of the range of the tracers, or several steps of its length are separated
from all shorter steps. It is far longer than the tracer's usual steps. Long hops have these marks, too, so a warning
names suspicious steps. They are certainly leaps, and refused, only if they are as long as a cell, go from end to end of
the range of all tracers, and tracers also visit the middle. The range is taken frame by frame, because the host may
drift.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from aiida_mghdiff.science.compiled import compiled
from aiida_mghdiff.science.lattice.geometry import cell_heights

#: Å; hops between neighbouring interstitial sites of a metal, with vibrations, are shorter along one axis.
SHORTEST_LEAP = 4.5
#: Leaps are separated if there are at least this many, and no other step is between these fractions of the longest.
FEWEST_APART, GAP = 3, (0.5, 0.75)
#: Å; cells of simulations are longer.
SHORTEST_CELL = 6.5
#: Tracers stay within a cell up to this many robust standard deviations of their steps, and visit its middle half in at
#: least this part of the frames.
CELL_TOLERANCE, FEWEST_IN_THE_MIDDLE = 3.0, 0.1
#: Steps of at least this part of the least height of the cell are compared with lattice vectors. A step is nearly a
#: lattice vector if the rest is below this part of the step. Up to this part of the long steps are so by chance.
LONG_STEP, REST, BY_CHANCE = 7 / 8, 1 / 8, 1 / 8
#: Leaps are longer than this many robust standard deviations of all steps to nearest images. Without it, frames so far
#: apart that tracers pass through the cell along a channel would look wrapped.
UNUSUAL = 3.0
#: Fractions of the cell: steps of tracers that leap across it, and the range of tracers that stay in it.
LEAP, RANGE = 0.75, 1.02
#: Fraction of the cell. After unwrapping, a step is correct only if it is below half the cell.
LARGEST_CLEAR_STEP = 0.4
#: Steps beyond this many robust standard deviations are unusual.
OUTLIER = 6.0


class TooShortError(ValueError):
    """A run is too short for the requested analysis."""


class PositionsError(ValueError):
    """Positions give no diffusion coefficient."""


def check_positions(positions: np.ndarray, name: str, cell: np.ndarray | None = None) -> np.ndarray:
    """Return positions [f,n,3] in float64.

    :param name: name of the run in the error.
    :param cell: lattice vectors [3,3] in Å in rows; with them, wrapped coordinates are found more often.
    :raises PositionsError: for other shapes, numbers that are not finite, or coordinates that are certainly wrapped.
    """
    array = np.ascontiguousarray(positions, float)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise PositionsError(f'{name} has the shape {array.shape}: give positions as [frames, tracers, 3].')
    if bad := np.count_nonzero(~np.isfinite(array)):
        raise PositionsError(f'{name} has {bad} coordinates that are not finite: look at the run that made it.')
    if cell is not None and (np.shape(cell) != (3, 3) or not np.linalg.det(cell)):
        raise PositionsError(f'{name} has no cell with a volume: give its lattice vectors as [3, 3].')
    if leaps := _certain_leaps(array) if cell is None else _lattice_leaps(array, np.asarray(cell, float)):
        frame, tracer = leaps[0]
        raise PositionsError(
            f'{name}: tracer {tracer} leaps across the cell after frame {frame} ({len(leaps)} leaps in all), its '
            'coordinates are wrapped: unwrap them.'
        )
    return array


def position_warnings(
    replicas: Sequence[np.ndarray], names: Sequence[str], cells: Sequence[np.ndarray] | None
) -> list[str]:
    """Return warnings that positions [f,n,3] of the replicas may be, or have been, wrapped."""
    if cells is not None:
        return _sparse_warnings(replicas, cells)
    return [text for positions, name in zip(replicas, names, strict=True) for text in _leap_warnings(positions, name)]


def _leap_warnings(positions: np.ndarray, name: str) -> list[str]:
    """Return the warning that positions [f,n,3] may be wrapped, if their cell is unknown."""
    leaps = np.argwhere(_suspicious_steps(positions)).tolist()
    if not leaps:
        return []
    frame, tracer, axis = leaps[0]
    length = np.ptp(positions[frame : frame + 2, tracer, axis])
    return [
        f'{name}: tracer {tracer} moves by {length:.1f} Å along {"xyz"[axis]} after frame {frame} ({len(leaps)} such '
        'steps in all): if its coordinates are wrapped, D is wrong. Give the cells, which tell more.'
    ]


def _lattice_leaps(positions: np.ndarray, cell: np.ndarray) -> list[tuple[int, int]]:
    """Return frames and tracers of steps that are nearly a lattice vector, if there are more than by chance."""
    length = LONG_STEP * min(cell_heights(cell))
    if not _has_step(positions, length):
        return []
    inverse, steps = np.linalg.inv(cell), np.diff(positions, axis=0)
    images = np.round(steps @ inverse)
    rest, sizes = steps - images @ cell, np.linalg.norm(steps, axis=2)
    usual = np.linalg.norm([_robust_deviation(np.abs(rest[..., axis])) for axis in range(3)])
    leaps = (np.linalg.norm(rest, axis=2) < REST * sizes) & (np.abs(images).max(axis=2) == 1)
    leaps &= sizes > max(length, UNUSUAL * usual)
    by_chance = leaps.sum() <= BY_CHANCE * np.count_nonzero(sizes > length)
    if by_chance:
        leaps = _leaps_within_a_cell(positions @ inverse)
    return [(frame, tracer) for frame, tracer in np.argwhere(leaps).tolist()]


def _leaps_within_a_cell(fractional: np.ndarray) -> np.ndarray:
    """Return whether each step [f-1,n] of fractional coordinates crosses the cell that all tracers stay in."""
    leaps = np.abs(np.diff(fractional, axis=0)).max(axis=2) > LEAP
    is_wrapped = leaps.sum() >= FEWEST_APART and _range(fractional) < RANGE
    return leaps & is_wrapped


@compiled
def _has_step(positions: np.ndarray, length: float) -> bool:
    """Return whether a step of a tracer is longer than a length; needs no memory."""
    for frame in range(1, len(positions)):
        for tracer in range(positions.shape[1]):
            square = 0.0
            for axis in range(3):
                square += (positions[frame, tracer, axis] - positions[frame - 1, tracer, axis]) ** 2
            if square > length * length:
                return True
    return False


def _certain_leaps(positions: np.ndarray) -> list[tuple[int, int]]:
    """Return frames and tracers of suspicious steps along axes on which positions are certainly wrapped."""
    suspicious = _suspicious_steps(positions)
    for axis in np.flatnonzero(suspicious.any(axis=(0, 1))):
        suspicious[..., axis] &= _fills_a_cell(positions[..., axis])
    return [(frame, tracer) for frame, tracer, _ in np.argwhere(suspicious).tolist()]


def _fills_a_cell(coordinates: np.ndarray) -> bool:
    """Return whether coordinates [f,n] fill a cell that is as long as their longest step."""
    steps = np.abs(np.diff(coordinates, axis=0))
    outside = _range(coordinates) - steps.max()
    if steps.max() < SHORTEST_CELL or outside > CELL_TOLERANCE * _robust_deviation(steps):
        return False
    middle = (coordinates.min() + coordinates.max()) / 2
    return bool(np.mean(np.abs(coordinates - middle) < np.ptp(coordinates) / 4) > FEWEST_IN_THE_MIDDLE)


def _range(coordinates: np.ndarray) -> float:
    """Return the largest range of the tracers in one frame, or of a single tracer in all frames [f,n,...]."""
    together = coordinates if coordinates.shape[1] > 1 else coordinates.swapaxes(0, 1)
    return float(np.ptp(together, axis=1).max())


def _robust_deviation(steps: np.ndarray) -> float:
    """Return the standard deviation of usual steps from their sizes."""
    return float(np.median(steps) / stats.norm.ppf(0.75))


def _suspicious_steps(positions: np.ndarray) -> np.ndarray:
    """Return for each step [f-1,n,3] between frames whether it may be a leap of a wrapped coordinate."""
    if len(positions) < 3:
        return np.zeros((0, 0, 3), bool)
    steps = np.abs(np.diff(positions, axis=0))
    half_span = np.ptp(positions, axis=(0, 1)) / 2
    long = steps > np.maximum(SHORTEST_LEAP, np.where(_apart(steps), GAP[1] * steps.max(axis=(0, 1)), half_span))
    if long.any():
        long &= steps > OUTLIER * np.median(steps, axis=0) / stats.norm.ppf(0.75)
    return long


def _apart(steps: np.ndarray) -> np.ndarray:
    """Return for each axis [3] whether the longest of the steps [f-1,n,3] are separated from all others."""
    lower, upper = np.multiply.outer(GAP, steps.max(axis=(0, 1)))
    between, beyond = (np.count_nonzero(steps > limit, axis=(0, 1)) for limit in (lower, upper))
    return (between == beyond) & (beyond >= FEWEST_APART)


def _sparse_warnings(replicas: Sequence[np.ndarray], cells: Sequence[np.ndarray]) -> list[str]:
    """Return the warning that frames are too far apart to unwrap positions [f,n,3] in cells [3,3]."""
    pairs = zip(replicas, cells, strict=True)
    largest = np.concatenate(
        [np.abs(np.diff(one, axis=0) @ np.linalg.inv(cell)).max(axis=(1, 2)) for one, cell in pairs]
    )
    large = int(np.count_nonzero(largest > LARGEST_CLEAR_STEP))
    if not large:
        return []
    return [
        f'tracers move by more than {LARGEST_CLEAR_STEP:g} of the cell between {large} of {len(largest)} pairs of '
        f'frames, at most by {largest.max():.2f}: if the positions were wrapped, unwrapping them is ambiguous and D '
        'wrong. Record frames more often.'
    ]
