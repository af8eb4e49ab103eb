"""Diffusion coefficient without a lag: Brownian motion, relaxation in the cages and noise are fitted together.

The mean squared displacement of a tracer that hops on a network of sites with reversible rates is exactly 2 D t + sum_k
A_k (1 - exp(-t/tau_k)) along an axis: Brownian motion and Ornstein-Uhlenbeck modes. The modes are rattling inside a
cage and returns between cages. Modes and white noise (vibrations, averaged over blocks of 1 ps) are fitted along with
D.

The fit maximises the debiased Whittle likelihood of the increments of the blocks (Sykulski, Olhede, Guillaumin, Lilly
and Early, Biometrika 106, 251 (2019), doi:10.1093/biomet/asy071): the periodogram, averaged over tracers, is compared
with its *expected* value for so many increments, block averages included, from the closed autocovariance of the model.
All of a run counts, each frequency with its optimal weight, and the score has zero mean for any distribution of the
displacements (see ``science.spectra``).

Relaxation times are not fitted: free times make the likelihood prefer a slow mode to slow diffusion by chance, and D
falls by its own error. Instead they follow from the time that a tracer stays, l²/(6 D), with the length l of a hop and
a first D without modes: no mode of a hop network is much slower than a third of this time. This slowest mode, and modes
5 and 25 times as fast, down to half a block, span the modes of a network. Amplitudes may have either sign, so times in
between are described and nothing is cut off at zero. D is then linear in the periodogram, and its error is the scatter
over tracers. Hops are shot noise and not Gaussian, so the curvature of the likelihood would give too small an error.

If tracers stay for at least 50 blocks, half of the result comes from the same fit to the path from cage to cage
(``science.cages``): the mean position of the stay at each block, averaged over a tenth of the time that a tracer stays.
This path contains no rattling of any pace, so no modes are fitted, which avoids their noise. It loses short stays, and
the memory of the side from which a cage was entered: this fit alone is wrong by up to 7 %, usually too low. The mean of
both fits has nearly the small noise of the second and half of its bias. If the second fit is too low by more than
chance over tracers (one in a thousand), it is not used. This happens for a tracer without cages, or in very long runs.

Positions must be in Å and times in ps: blocks of 1 ps, hops of 1.96 Å and cages of 1.63 Å fit H in Mg. The fit with
given relaxation times works in any unit.

For measurements with known D (``tests/science/test_ensembles.py``), see the manual. Limits: relaxation slower than the
modes counts as diffusion, as for a tracer in a trap far deeper than all others. A run of fewer than a hundred blocks is
refused. In two cases the estimate is doubtful (:func:`automatic_fit`), and its interval does not cover D:

- Rattling a hundred times as fast as the hops makes the first D, and with it the modes, too fast. The first D is then
  far above the fitted D. With frames 0.02 and 0.1 ps apart the ratio is at least 1.9 if D is 13 % too high, and at most
  1.6 in the networks on which the estimate was measured; the limit is 1.7. In blocks of few frames vibrations hide part
  of the rattling: with frames 0.5 ps apart the ratios are 1.5 (1.4 to 1.7) and 1.2 (1.05 to 1.4); the limit is 1.4.
- If tracers stay 50 to 100 blocks, the path from cage to cage is used. But so many jumps are seen that its remaining
  error, 2 % of the mean of both fits, is no longer small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft

from aiida_mghdiff.science.cages import CAGE, cage_path
from aiida_mghdiff.science.gls import lag_difference
from aiida_mghdiff.science.positions import TooShortError
from aiida_mghdiff.science.spectra import fit_spectra

BLOCK_PS = 1.0
FEWEST_BLOCKS = 100
#: Å: distance from a tetrahedral to the next octahedral site of hcp Mg.
HOP_LENGTH = 1.96
#: Time of the slowest mode divided by the time that a tracer stays, and ratios of the faster modes to the slowest.
SLOWEST, RATIOS = 0.3, (1.0, 0.2, 0.04)
#: Cages are resolved and followed if a tracer stays at least this many blocks.
FEWEST_BLOCKS_A_STAY = 50
#: Below this many blocks per stay, the interval of D is too narrow if cages are followed.
FEWEST_BLOCKS_FOR_CAGES = 100
#: Ratio of first to fitted D above which the modes are too fast, for blocks of at least this many frames, and for
#: fewer.
TOO_FAST, FRAMES_THAT_AVERAGE, TOO_FAST_UNAVERAGED = 1.7, 10, 1.4
#: Block over which the path from cage to cage is averaged, divided by the time that a tracer stays.
COARSENING = 0.1
#: Below this probability the path from cage to cage is too slow by more than chance, and is not used.
DISAGREEMENT = 0.001
#: Slowest mode that a run can distinguish from diffusion, divided by its length.
RESOLVED = 0.05


def automatic_fit(replicas: Sequence[np.ndarray], frame_time_ps: float) -> tuple[list[np.ndarray], str | None]:
    """Return D [n,3] in Å²/ps of each tracer along each axis, by replica, and the reason to doubt it, or None.

    :param replicas: positions [f,n,3] in Å of each replica.
    :raises TooShortError: if a run has fewer than a hundred blocks of 1 ps.
    """
    block = max(1, round(BLOCK_PS / frame_time_ps))
    means = [_block_means(positions, block) for positions in replicas]
    _check_length(min(map(len, means)))
    paths = _fit_paths(means, block, frame_time_ps)
    length, staying = block * frame_time_ps, staying_time(_mean(paths))
    limit = TOO_FAST if block >= FRAMES_THAT_AVERAGE else TOO_FAST_UNAVERAGED
    doubt = _doubt(_first_coefficient(means, block, frame_time_ps), _mean(paths), limit, staying / length)
    if staying < FEWEST_BLOCKS_A_STAY * length or not np.isfinite(staying):
        return paths, doubt
    cages = _fit_cages(means, length, staying)
    if lag_difference(paths, cages) < DISAGREEMENT:
        return paths, doubt
    return [(path + cage) / 2 for path, cage in zip(paths, cages, strict=True)], doubt


def _doubt(first: float, fitted: float, limit: float, blocks_a_stay: float) -> str | None:
    """Return the reason to doubt the estimate, or None.

    :param first: D without modes.
    :param fitted: D with modes.
    :param limit: largest ratio of the first D to the fitted D.
    """
    if fitted <= 0:
        return None
    if first > limit * fitted:
        return (
            f'tracers rattle much faster than they hop: without relaxation in the cages D is {first / fitted:.2g} '
            f'times as high, and from {limit:g} times on the automatic estimate is too high.'
        )
    if FEWEST_BLOCKS_A_STAY <= blocks_a_stay < FEWEST_BLOCKS_FOR_CAGES:
        return (
            f'tracers stay for {blocks_a_stay:.0f} blocks of {BLOCK_PS:g} ps: the interval of the automatic estimate '
            f'is too narrow from {FEWEST_BLOCKS_A_STAY} to {FEWEST_BLOCKS_FOR_CAGES}.'
        )
    return None


def _mean(coefficients: Sequence[np.ndarray]) -> float:
    """Return the mean over tracers and axes."""
    return float(np.concatenate(coefficients).mean())


def staying_time(coefficient: float) -> float:
    """Return the time in ps that a tracer stays, from D in Å²/ps; infinite if D is not positive."""
    return HOP_LENGTH**2 / (6 * coefficient) if coefficient > 0 else np.inf


def _fit_paths(means: Sequence[np.ndarray], block: int, frame_time_ps: float) -> list[np.ndarray]:
    """Return D [n,3] by replica with modes of relaxation, from the means [m,n,3] of blocks of frames."""
    increments = [np.diff(one, axis=0) for one in means]
    first = _first_coefficient(means, block, frame_time_ps)
    times = relaxation_times(first, block * frame_time_ps, min(map(len, increments)))
    return _fit(increments, block, frame_time_ps, times)


def _first_coefficient(means: Sequence[np.ndarray], block: int, frame_time_ps: float) -> float:
    """Return D without modes from the means [m,n,3] of blocks of frames."""
    return _mean(_fit([np.diff(one, axis=0) for one in means], block, frame_time_ps, []))


def _fit_cages(means: Sequence[np.ndarray], interval_ps: float, staying_ps: float) -> list[np.ndarray]:
    """Return D [n,3] by replica without modes, from the paths from cage to cage behind means [m,n,3] of blocks."""
    block = max(1, round(min(COARSENING * staying_ps / interval_ps, min(map(len, means)) / FEWEST_BLOCKS)))
    paths = [np.stack([cage_path(path, CAGE) for path in np.swapaxes(one, 0, 1)], axis=1) for one in means]
    increments = [np.diff(_block_means(path, block), axis=0) for path in paths]
    if not any(np.any(one) for one in increments):
        return [np.zeros(one.shape[1:]) for one in means]
    return _fit(increments, block, interval_ps, [])


def _fit(
    increments: Sequence[np.ndarray], block: int, frame_time_ps: float, times: Sequence[float]
) -> list[np.ndarray]:
    """Return D [n,3] by replica from increments [m,n,3] of block means, with modes of these relaxation times."""
    powers, counts = [_periodogram(one) for one in increments], [len(one) for one in increments]
    designs = {count: _design(count, block, frame_time_ps, times) for count in set(counts)}
    amplitudes = fit_spectra(powers, [designs[count] for count in counts], [_multiplicity(count) for count in counts])
    return [one[0] for one in amplitudes]


def relaxation_times(coefficient: float, block_ps: float, blocks: int) -> list[float]:
    """Return the relaxation times in ps of the modes, slowest first.

    :param coefficient: a first D in Å²/ps.
    :param blocks: number of blocks in the shortest run.
    """
    longest = RESOLVED * blocks * block_ps
    times = np.array(RATIOS) * min(SLOWEST * staying_time(coefficient), longest)
    return [float(time) for time in times if time >= block_ps / 2] or [block_ps / 2]


def _block_means(positions: np.ndarray, block: int) -> np.ndarray:
    """Return the means [m,n,3] of the m whole blocks of frames."""
    blocks = len(positions) // block
    return positions[: blocks * block].reshape(blocks, block, *positions.shape[1:]).mean(axis=1)


def _check_length(blocks: int) -> None:
    if blocks < FEWEST_BLOCKS:
        raise TooShortError(
            f'the run has {blocks} blocks of {BLOCK_PS:g} ps, the automatic estimate needs {FEWEST_BLOCKS}: run longer.'
        )


def _periodogram(increments: np.ndarray) -> np.ndarray:
    """Return the periodogram [k,n,3] of increments [m,n,3], from frequency zero on."""
    spectrum = fft.rfft(increments, axis=0)
    return (np.square(spectrum.real) + np.square(spectrum.imag)) / len(increments)


def _multiplicity(increments: int) -> np.ndarray:
    """Return the weight of each frequency [k]: the two real frequencies count half as much as complex ones."""
    weights = np.ones(increments // 2 + 1)
    weights[0] = 0.5
    if increments % 2 == 0:
        weights[-1] = 0.5
    return weights


def _design(increments: int, block: int, frame_time_ps: float, times: Sequence[float]) -> np.ndarray:
    """Return the expected periodograms [k,p] of diffusion, of white noise and of modes, for unit amplitudes.

    They follow from the autocovariances c(l) of the increments of block means. Half the second difference of the mean
    squared displacement of two blocks that start l blocks apart is c(l). With b frames of time h per block it is for

    - diffusion 2 D b h (l - (b² - 1)/(3 b²));
    - white noise of variance s² b at each frame 2 s²;
    - a mode A (1 - phi^m) at m frames, phi = exp(-h/tau), A (M - phi^((l-1) b + 1) S²/b²) with S the sum of phi^i over
      i < b and M the mean of phi^|i-j| over i, j < b.
    """
    overlap, length = (block**2 - 1) / (3 * block**2), 2 * block * frame_time_ps
    diffusion, noise = np.zeros(increments), np.zeros(increments)
    diffusion[:2] = length * (1 - overlap), length * overlap / 2
    noise[:2] = 2.0, -1.0
    modes = [_mode_covariance(increments, block, frame_time_ps / time) for time in times]
    return np.stack([_expected_periodogram(one) for one in (diffusion, noise, *modes)], axis=1)


def _mode_covariance(increments: int, block: int, rate: float) -> np.ndarray:
    """Return the autocovariance [m] of the increments of a mode's block means, its rate in 1/frame."""
    frames, lags = np.arange(block), np.arange(increments)
    decay = np.exp(-rate * frames)
    squared_sum = np.square(decay.sum() / block)
    within = (2 * (block - frames) @ decay - block) / block**2
    # (l - 2) b + 1 frames from the last frame of a block to the first frame of the next but l - 2
    covariance = -0.5 * squared_sum * np.exp(-rate * ((lags - 2) * block + 1)) * np.expm1(-rate * block) ** 2
    first, second = (within - squared_sum * np.exp(-rate * (lag * block + 1)) for lag in (0, 1))
    covariance[:2] = first, second / 2 - first
    return covariance


def _expected_periodogram(covariance: np.ndarray) -> np.ndarray:
    """Return the mean of the periodogram [k] for as many increments as autocovariances [m]."""
    tapered = covariance * (1 - np.arange(len(covariance)) / len(covariance))
    return 2 * fft.rfft(tapered).real - covariance[0]
