"""Check positions of tracers before a diffusion coefficient is computed.

Wrapped coordinates leap by a cell vector. Three marks together, along one axis, distinguish a leap from diffusion in
the positions alone. It is longer than any hop to a neighbouring site. It spans more than half of the range of the
tracers (wrapped coordinates never leave the cell, unless the host drifts), or several leaps of its length are separated
from all shorter steps (long steps of diffusion have no such gap). It is far longer than the tracer's usual steps. If
the cell is known, the caller can look for steps of its length instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

#: Å; hops between neighbouring interstitial sites of a metal, with vibrations, are shorter along one axis.
SHORTEST_LEAP = 4.5
#: Leaps are separated if there are at least this many, and no other step is between these fractions of the longest.
FEWEST_APART, GAP = 3, (0.5, 0.75)
#: Fraction of the cell. After unwrapping, a step is correct only if it is below half the cell.
LARGEST_CLEAR_STEP = 0.4
#: Steps beyond this many robust standard deviations are unusual.
OUTLIER = 6.0


class TooShortError(ValueError):
    """A run is too short for the requested analysis."""


class PositionsError(ValueError):
    """Positions give no diffusion coefficient."""


def check_positions(positions: np.ndarray, name: str) -> np.ndarray:
    """Return positions [f,n,3] in float64.

    :param name: name of the positions in the error.
    :raises PositionsError: for another shape, numbers that are not finite, or wrapped coordinates.
    """
    array = np.asarray(positions, float)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise PositionsError(f'{name} has the shape {array.shape}: give positions as [frames, tracers, 3].')
    if bad := np.count_nonzero(~np.isfinite(array)):
        raise PositionsError(f'{name} has {bad} coordinates that are not finite: look at the run that made it.')
    if leaps := np.argwhere(_leaps(array)).tolist():
        frame, tracer, _ = leaps[0]
        raise PositionsError(
            f'{name}: tracer {tracer} leaps across the cell after frame {frame} ({len(leaps)} leaps in all), its '
            'coordinates are wrapped: unwrap them.'
        )
    return array


def _leaps(positions: np.ndarray) -> np.ndarray:
    """Return for each step [f-1,n,3] between frames whether it is a leap of a wrapped coordinate."""
    if len(positions) < 3:
        return np.zeros((0, 0, 0), bool)
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


def sparse_warnings(steps: Sequence[np.ndarray]) -> list[str]:
    """Return the warning that the frames are too far apart to unwrap positions.

    :param steps: for each run the largest step [f-1] of a tracer from frame to frame, as a part of the cell.
    """
    largest = np.concatenate(steps)
    large = int(np.count_nonzero(largest > LARGEST_CLEAR_STEP))
    if not large:
        return []
    return [
        f'tracers move by more than {LARGEST_CLEAR_STEP:g} of the cell between {large} of {len(largest)} pairs of '
        f'frames, at most by {largest.max():.2f}: if the positions were wrapped, unwrapping them is ambiguous and D '
        'wrong. Record frames more often.'
    ]
