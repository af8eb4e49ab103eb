"""What the positions of tracers must be for a diffusion coefficient, and what is refused.

Wrapped coordinates leap by a cell vector. From positions alone a leap is told from diffusion by three marks together,
along one axis: it is longer than any hop to a neighbouring site; it spans more than half of all that the tracers ever
covered (wrapped ones never leave the cell, unless the host drifts), or stands apart with others of its length (long
steps of diffusion grade into shorter ones); and it is far beyond the tracer's usual steps. Where the cell is known the
caller can look for steps of its length instead.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

#: Å; no hop between neighbouring interstitial sites of a metal is as long, with vibrations, as this along one axis.
SHORTEST_LEAP = 4.5
#: Leaps that stand apart: this many at least, none of the other steps between these fractions of the longest.
FEWEST_APART, GAP = 3, (0.5, 0.75)
#: Steps beyond so many robust standard deviations are no usual ones.
OUTLIER = 6.0


class TooShortError(ValueError):
    """A run that is too short for the analysis asked."""


class PositionsError(ValueError):
    """Positions that no diffusion coefficient can be taken from."""


def check_positions(positions: np.ndarray, name: str) -> np.ndarray:
    """Return positions [f,n,3] in float64.

    :param name: what to call them in the error.
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
    """Return which steps [f-1,n,3] between frames are leaps of a wrapped coordinate."""
    if len(positions) < 3:
        return np.zeros((0, 0, 0), bool)
    steps = np.abs(np.diff(positions, axis=0))
    half_span = np.ptp(positions, axis=(0, 1)) / 2
    long = steps > np.maximum(SHORTEST_LEAP, np.where(_apart(steps), GAP[1] * steps.max(axis=(0, 1)), half_span))
    if long.any():
        long &= steps > OUTLIER * np.median(steps, axis=0) / stats.norm.ppf(0.75)
    return long


def _apart(steps: np.ndarray) -> np.ndarray:
    """Return along which axes [3] the longest of steps [f-1,n,3] stand apart from the others."""
    lower, upper = np.multiply.outer(GAP, steps.max(axis=(0, 1)))
    between, beyond = (np.count_nonzero(steps > limit, axis=(0, 1)) for limit in (lower, upper))
    return (between == beyond) & (beyond >= FEWEST_APART)
