"""Mean squared displacement over all time origins, by fast Fourier transform.

For one coordinate x of f frames and the lag m,

    msd(m) = 1/(f-m) sum_k [x(k+m) - x(k)]^2 = 1/(f-m) [S(m) - 2 C(m)],

with S(m) the sum of both squares, a recursion over cumulative sums, and C(m) the autocorrelation, computed by FFT in
O(f log f) (Calandrini et al., École thématique de la Société Française de la Neutronique 12, 201 (2011),
doi:10.1051/sfn/201112010; Kneller et al., Comput. Phys. Commun. 91, 191 (1995), doi:10.1016/0010-4655(95)00048-K).
Positions are shifted to their mean first: the difference of the two terms loses digits where a tracer is far from the
origin. Positions must be unwrapped.
"""

from __future__ import annotations

import numpy as np
from scipy import fft


def remove_drift(positions: np.ndarray, host_centre: np.ndarray) -> np.ndarray:
    """Return positions [f,n,3] relative to the centre of the host [f,3], in float64.

    The cell as a whole drifts in a run at zero total momentum as soon as the tracers move; only the motion against the
    host is diffusion.
    """
    return np.asarray(positions, float) - np.asarray(host_centre, float)[:, None, :]


def mean_squared_displacement(positions: np.ndarray) -> np.ndarray:
    """Return the mean squared displacement [f,n,3] in Å² of each tracer along each axis.

    :param positions: unwrapped positions [f,n,3] in Å, evenly spaced in time; without drift of the host.
    :returns: row m holds the lag of m frames, averaged over all f-m time origins.
    """
    frames, *rest = positions.shape
    coordinates = np.array(positions.reshape(frames, -1).T, float, order='C')
    coordinates -= coordinates.mean(axis=1, keepdims=True)
    # one coordinate at a time: its arrays stay in the processor's cache
    msd = np.stack([_coordinate_msd(coordinate) for coordinate in coordinates])
    return np.moveaxis(msd.reshape(*rest, frames), -1, 0)


def _coordinate_msd(x: np.ndarray) -> np.ndarray:
    """Return the mean squared displacement [f] of one centred coordinate [f]."""
    frames, squares = len(x), np.square(x)
    left_out = np.zeros(frames)
    np.cumsum(squares[:-1] + squares[:0:-1], out=left_out[1:])
    msd = (2 * squares.sum() - left_out - 2 * _autocorrelation(x)) / np.arange(frames, 0, -1)
    msd[0] = 0.0
    return msd


def _autocorrelation(x: np.ndarray) -> np.ndarray:
    """Return the unnormalised autocorrelation [f], zero padded against wrap-around."""
    length = fft.next_fast_len(2 * len(x) - 1, real=True)
    spectrum = fft.rfft(x, length)
    return fft.irfft(np.square(spectrum.real) + np.square(spectrum.imag), length)[: len(x)]
