"""Diffusion coefficient by generalised least squares with the exact covariance of Brownian motion and white noise.

At times that differ by a lag L, the position of a tracer that diffuses and rattles is the sum of a Brownian motion and
of white noise of variance s² per axis. Its N increments have a tridiagonal covariance, 2 D L + 2 s² next to -s², whose
eigenvectors are sines for any D and s (Berglund, Phys. Rev. E 82, 011917 (2010), doi:10.1103/PhysRevE.82.011917;
Michalet and Berglund, Phys. Rev. E 85, 061916 (2012), doi:10.1103/PhysRevE.85.061916). In this basis the squares of the
increments are uncorrelated and have the mean

    l(k) = 2 D L + 4 s² sin²(pi k / (2 N + 2)),

so a weighted linear fit gives D and s² (see ``science.spectra``). No other estimator extracts more from these
increments; ordinary least squares of the mean squared displacement wastes most of a run (Bullerjahn, von Bülow and
Hummer, J. Chem. Phys. 153, 024116 (2020), doi:10.1063/5.0008312). All starts below L are used and averaged over.

Limit: the user chooses the lag. Rattling slower than L is no white noise: it counts as diffusion, so D is too high and
its interval is wrong. To detect this, compare D at half and at double the lag: without such rattling they agree, with
it D falls as the lag grows. Too long a lag wastes data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft, stats

from aiida_mghdiff.science.positions import TooShortError
from aiida_mghdiff.science.spectra import fit_spectra

#: Smallest number of increments for two parameters and the test of the lag.
FEWEST_INCREMENTS = 8


def generalised_least_squares(replicas: Sequence[np.ndarray], frame_time_ps: float, lag_ps: float) -> list[np.ndarray]:
    """Return D [n,3] in Å²/ps of each tracer along each axis, by replica.

    :param replicas: positions [f,n,3] in Å of each replica.
    :raises TooShortError: if a run has fewer than nine lags.
    """
    stride = max(1, round(lag_ps / frame_time_ps))
    powers = [_powers(positions, stride, lag_ps) for positions in replicas]
    designs = [_design(len(power), stride * frame_time_ps) for power in powers]
    return [amplitudes[0] for amplitudes in fit_spectra(powers, designs)]


def lag_difference(short: Sequence[np.ndarray], long: Sequence[np.ndarray]) -> float:
    """Return the probability that D at a short lag exceeds D at a long lag by chance as much as observed.

    One-sided, paired over tracers: rattling makes D fall with the lag and never rise.

    :param short: D [n,3] of the tracers by replica at the short lag.
    :param long: the same at the long lag.
    """
    differences = np.concatenate(short).mean(axis=1) - np.concatenate(long).mean(axis=1)
    return float(stats.ttest_1samp(differences, 0.0, alternative='greater').pvalue)


def _powers(positions: np.ndarray, stride: int, lag_ps: float) -> np.ndarray:
    """Return the squares [N,n,3] of the sine transforms of increments over a lag, averaged over all starts."""
    count = len(positions) // stride
    if count - 1 < FEWEST_INCREMENTS:
        raise TooShortError(
            f'the run has {max(count - 1, 0)} increments over {lag_ps:g} ps, at least {FEWEST_INCREMENTS} are needed: '
            'run longer or take a shorter lag.'
        )
    starts = positions[: count * stride].reshape(count, stride, *positions.shape[1:])
    return np.square(fft.dst(np.diff(starts, axis=0), type=1, axis=0, norm='ortho')).mean(axis=1)


def _design(increments: int, lag_ps: float) -> np.ndarray:
    """Return the derivatives [N,2] of the mean squares by D and by the variance of the noise."""
    angles = np.pi * np.arange(1, increments + 1) / (2 * increments + 2)
    return np.stack([np.full(increments, 2 * lag_ps), 4 * np.square(np.sin(angles))], axis=1)
