"""Diffusion coefficients by least squares: straight lines through the mean squared displacement, D in Å²/ps.

Estimator of the literature: a straight line *with a free intercept* over a window of lags (Einstein relation, slope
2 D along an axis). The plateau of the vibrations is no diffusion: a line through zero makes a slow D too high.
Neighbouring lags share nearly all their data, so the fit's own standard error covers the true D in 0 % of cases. Errors
must come from the scatter of tracers or replicas. D against the end of the window shows whether the window matters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from aiida_mghdiff.science.msd import mean_squared_displacement
from aiida_mghdiff.science.positions import TooShortError


def einstein_fit(times_ps: np.ndarray, msd: np.ndarray, window: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes [...] and intercepts [...] of straight lines through msd [f,...] in a window of lags in ps.

    Ordinary least squares; a lag of 0 is left out, since its msd is 0 by definition.

    :raises TooShortError: if the msd ends before the window, or fewer than three lags lie in it.
    """
    inside = lags_inside(times_ps, window)
    times, values = times_ps[inside], msd[inside]
    centred = times - times.mean()
    slope = np.tensordot(centred, values, axes=1) / (centred @ centred)
    return slope, values.mean(axis=0) - slope * times.mean()


def lags_inside(times_ps: np.ndarray, window: tuple[float, float]) -> slice:
    """Return the lags in a window, without the lag 0.

    :raises TooShortError: see :func:`einstein_fit`.
    """
    start, end = window
    tolerance = 1e-6 * end
    if times_ps[-1] < end - tolerance:
        raise TooShortError(
            f'the fit window ends at {end:g} ps, but the run has {times_ps[-1]:g} ps: run longer or fit '
            'a shorter window.'
        )
    first = max(1, int(np.searchsorted(times_ps, start - tolerance)))
    last = int(np.searchsorted(times_ps, end + tolerance))
    if last - first < 3:
        raise TooShortError(
            f'{max(last - first, 0)} frames lie in the fit window of {start:g} to {end:g} ps, at least 3 are needed: '
            'widen the window or record the tracers more often.'
        )
    return slice(first, last)


def least_squares(
    replicas: Sequence[np.ndarray], frame_time_ps: float, window: tuple[float, float]
) -> list[np.ndarray]:
    """Return D [n,3] in Å²/ps of each tracer along each axis, by replica.

    :param replicas: positions [f,n,3] in Å of each replica.
    :raises TooShortError: see :func:`einstein_fit`.
    """
    return [_tracer_coefficients(positions, frame_time_ps, window) for positions in replicas]


def _tracer_coefficients(positions: np.ndarray, frame_time_ps: float, window: tuple[float, float]) -> np.ndarray:
    times = frame_time_ps * np.arange(len(positions))
    lags_inside(times, window)  # refuse before the transforms
    return einstein_fit(times, mean_squared_displacement(positions), window)[0] / 2


def coefficients_by_window(
    msd: Sequence[np.ndarray], frame_time_ps: float, start_ps: float, ends_ps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return D [w] in Å²/ps by least squares from one start to each end of the window, and its error over tracers [w].

    :param msd: mean squared displacements [f,n,3] in Å² of each replica.
    :raises TooShortError: see :func:`einstein_fit`.
    """
    tracers = [_coefficients_to(msd, frame_time_ps, (start_ps, end)) for end in ends_ps]
    return np.mean(tracers, axis=1), stats.sem(tracers, axis=1)


def _coefficients_to(msd: Sequence[np.ndarray], frame_time_ps: float, window: tuple[float, float]) -> np.ndarray:
    slopes = [einstein_fit(frame_time_ps * np.arange(len(one)), one, window)[0].sum(axis=-1) for one in msd]
    return np.concatenate(slopes) / 6


def log_log_slope(msd: np.ndarray, frame_time_ps: float, window: tuple[float, float]) -> float:
    """Return the slope of ln msd against ln t over the last half of a window; 1 for diffusion, 0 in a cage.

    :param msd: mean squared displacement [f] in Å².
    :raises TooShortError: see :func:`einstein_fit`.
    """
    times = frame_time_ps * np.arange(len(msd))
    inside = lags_inside(times, (sum(window) / 2, window[1]))
    return float(stats.linregress(np.log(times[inside]), np.log(msd[inside])).slope)
