"""Mean squared displacement over all time origins, by fast Fourier transform.

For one coordinate x of f frames and a lag m,

    msd(m) = 1/(f-m) sum_k [x(k+m) - x(k)]^2 = 1/(f-m) [S(m) - 2 C(m)],

where S(m) is the sum of both squares, a recursion over cumulative sums, and C(m) is the autocorrelation, computed by
FFT in O(f log f) (Calandrini et al., École thématique de la Société Française de la Neutronique 12, 201 (2011),
doi:10.1051/sfn/201112010; Kneller et al., Comput. Phys. Commun. 91, 191 (1995), doi:10.1016/0010-4655(95)00048-K).
Positions are shifted to their mean first: otherwise the difference of the two terms loses digits for a tracer far from
the origin. Positions must be unwrapped. Both terms are linear in the tracers, so the average over tracers takes one
inverse transform for each axis, of the sum of their spectra.

The collective mean squared displacement is the squared displacement of the sum of all tracers, divided by their number.
It grows as 2 D t with the D of conductivity and of Fick's law at low content (without the thermodynamic factor). The
ratio of tracer to collective D is the Haven ratio (Murch, Solid State Ionics 7, 177 (1982),
doi:10.1016/0167-2738(82)90050-9); it is 1 if tracers do not interact.
"""

from __future__ import annotations

import numpy as np
from scipy import fft


def remove_drift(positions: np.ndarray, host_centre: np.ndarray) -> np.ndarray:
    """Return positions [f,n,3] relative to the centre of the host [f,3], in float64.

    In a run at zero total momentum the whole cell drifts when the tracers move; only the motion relative to the host is
    diffusion.
    """
    return np.asarray(positions, float) - np.asarray(host_centre, float)[:, None, :]


def mean_squared_displacement(positions: np.ndarray) -> np.ndarray:
    """Return the mean squared displacement [f,n,3] in Å² of each tracer along each axis.

    :param positions: unwrapped positions [f,n,3] in Å, evenly spaced in time; without drift of the host.
    :returns: row m has the lag of m frames, averaged over all f-m time origins.
    """
    frames, *rest = positions.shape
    # one coordinate at a time, so that its arrays stay in the processor's cache
    msd = np.stack([_coordinate_msd(coordinate) for coordinate in _centred_coordinates(positions)])
    return np.moveaxis(msd.reshape(*rest, frames), -1, 0)


def average_mean_squared_displacement(positions: np.ndarray) -> np.ndarray:
    """Return the mean squared displacement [f,3] in Å² along each axis, averaged over tracers.

    :param positions: as in :func:`mean_squared_displacement`; the result is its mean over tracers, in less time.
    """
    coordinates, axes = _centred_coordinates(positions), positions.shape[2]
    return np.stack([_axis_msd(coordinates[axis::axes]) for axis in range(axes)], axis=-1)


def collective_mean_squared_displacement(positions: np.ndarray) -> np.ndarray:
    """Return the mean squared displacement [f,3] in Å² of the sum of all tracers along each axis, per tracer."""
    return mean_squared_displacement(positions.sum(axis=1, dtype=float, keepdims=True))[:, 0] / positions.shape[1]


def haven_ratio(tracer: np.ndarray, collective: np.ndarray) -> tuple[float, float]:
    """Return the ratio of tracer to collective D and its standard error.

    The error comes from a jackknife that leaves out one axis of one replica at a time. Displacements along different
    axes are uncorrelated; if D depends on the axis, the error is only larger.

    :param tracer: D [r,3] of the tracers of each replica along each axis, in any unit.
    :param collective: D [r,3] of the sum of their displacements, see :func:`collective_mean_squared_displacement`.
    """
    above, below = np.ravel(tracer), np.ravel(collective)
    left_out = (above.sum() - above) / (below.sum() - below)
    error = np.sqrt((len(above) - 1) * np.mean(np.square(left_out - left_out.mean())))
    return float(above.sum() / below.sum()), float(error)


def _centred_coordinates(positions: np.ndarray) -> np.ndarray:
    """Return all coordinates, one per row relative to its mean, from positions [f,...]: rows are read many times."""
    coordinates = np.array(positions.reshape(len(positions), -1).T, float, order='C')
    coordinates -= coordinates.mean(axis=1, keepdims=True)
    return coordinates


def _axis_msd(coordinates: np.ndarray) -> np.ndarray:
    """Return the mean over tracers [f] of one axis of centred positions [n,f]."""
    frames = coordinates.shape[1]
    length = _padded_length(frames)
    squares, power = np.zeros(frames), np.zeros(length // 2 + 1)
    for coordinate in coordinates:
        squares += np.square(coordinate)
        power += _power(coordinate, length)
    return _displacement(squares, power, length) / len(coordinates)


def _coordinate_msd(x: np.ndarray) -> np.ndarray:
    """Return the mean squared displacement [f] of one centred coordinate [f]."""
    length = _padded_length(len(x))
    return _displacement(np.square(x), _power(x, length), length)


def _displacement(squares: np.ndarray, power: np.ndarray, length: int) -> np.ndarray:
    """Return the mean squared displacement [f] from squares [f] and power spectrum of a padded coordinate."""
    frames = len(squares)
    left_out = np.zeros(frames)
    np.cumsum(squares[:-1] + squares[:0:-1], out=left_out[1:])
    autocorrelation = fft.irfft(power, length)[:frames]
    msd = (2 * squares.sum() - left_out - 2 * autocorrelation) / np.arange(frames, 0, -1)
    msd[0] = 0.0
    return msd


def _padded_length(frames: int) -> int:
    """Return the length of a transform without wrap-around."""
    return fft.next_fast_len(2 * frames - 1, real=True)


def _power(x: np.ndarray, length: int) -> np.ndarray:
    """Return the power spectrum of a coordinate, padded with zeros."""
    spectrum = fft.rfft(x, length)
    return np.square(spectrum.real) + np.square(spectrum.imag)
