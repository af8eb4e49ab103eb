"""Tracer diffusion coefficient from the mean squared displacement, D in Å²/ps.

Estimator: the mean squared displacement over all time origins, host drift removed, fitted by a straight line *with a
free intercept* over a window of lags (Einstein relation, slope = 2 D an axis); the mean over replicas. The plateau of
the vibrations is no diffusion: a line through zero puts a slow D too high.

Errors: neighbouring lags share nearly all their data, so that the fit's own standard error covers the truth in 0 % of
cases. Given are instead the standard error of the mean over replicas with a Student-t interval (two degrees of freedom
and a factor of 4.30 for three replicas; 1.96 would cover 78 % instead of 95 %) and, as the relative error that weights
an Arrhenius fit, the standard error over all tracers of all replicas: three replicas alone give weights so erratic that
the interval of the activation energy covers 71 %. The relative error is never taken below that of counting jumps,
1/sqrt(jumps).

Gate: rattling between the two sites of a cage gives a significant slope although nothing diffuses. Where no tracer
jumped between cages there is no D, but an upper bound: at most 3.0 jumps are expected (Poisson, 95 %), each of length
l, in n tracers of duration T, thus D < 3.0 l² / (6 n T).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from aiida_mghdiff.science.jumps import count_jumps
from aiida_mghdiff.science.msd import mean_squared_displacement

FEW_JUMPS = 20


class TooShortError(ValueError):
    """A run that is too short for the analysis asked."""


@dataclass(frozen=True)
class Replica:
    """One run of n tracers, f frames."""

    frame_interval_ps: float
    msd: np.ndarray  # [f,3] Å², mean over tracers
    slope: np.ndarray  # [3] Å²/ps
    intercept: np.ndarray  # [3] Å²
    tracer_coefficients: np.ndarray  # [n] Å²/ps
    jumps: np.ndarray  # [n]

    @property
    def coefficient(self) -> float:
        """Return the mean D of the tracers."""
        return float(self.tracer_coefficients.mean())

    @property
    def duration_ps(self) -> float:
        """Return the time from the first to the last frame."""
        return self.frame_interval_ps * (len(self.msd) - 1)

    @property
    def tracer_time_ps(self) -> float:
        """Return the duration times the number of tracers."""
        return self.duration_ps * len(self.jumps)


@dataclass(frozen=True)
class Diffusion:
    """What replicas say together; D in Å²/ps, None where it does not exist."""

    coefficient: float | None
    standard_error: float | None
    interval: tuple[float, float] | None
    interval_from: str  # replicas or tracers
    relative_error: float | None
    degrees_of_freedom: int
    upper_bound: float | None
    jumps: int
    residence_time_ps: float | None
    warnings: list[str]

    @property
    def diffusing(self) -> bool:
        """Return whether there is a D."""
        return self.coefficient is not None


def einstein_fit(times_ps: np.ndarray, msd: np.ndarray, window: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes [...] and intercepts [...] of straight lines through msd [f,...] in a window of lags in ps.

    Ordinary least squares; the lag 0 is left out where the window starts there, since its msd is 0 by definition.

    :raises TooShortError: where the msd ends before the window, or fewer than three lags lie in it.
    """
    start, end = window
    tolerance = 1e-6 * end
    if times_ps[-1] < end - tolerance:
        raise TooShortError(
            f'the fit window ends at {end:g} ps, but the run has {times_ps[-1]:g} ps: run longer or fit '
            'a shorter window.'
        )
    inside = (times_ps >= start - tolerance) & (times_ps <= end + tolerance) & (times_ps > 0)
    if inside.sum() < 3:
        raise TooShortError(
            f'{inside.sum()} frames lie in the fit window of {start:g} to {end:g} ps, at least 3 are needed: widen '
            'the window or record the tracers more often.'
        )
    times, values = times_ps[inside], msd[inside]
    centred = times - times.mean()
    slope = np.tensordot(centred, values, axes=1) / (centred @ centred)
    return slope, values.mean(axis=0) - slope * times.mean()


def analyse_replica(
    positions: np.ndarray, frame_interval_ps: float, window: tuple[float, float], threshold: float, block_ps: float
) -> Replica:
    """Return the analysis of one run.

    :param positions: unwrapped positions [f,n,3] in Å without drift of the host, evenly spaced in time.
    :param window: first and last lag of the fit in ps.
    :param threshold: Å; see :mod:`aiida_mghdiff.science.jumps`.
    :param block_ps: time that vibrations are averaged over before jumps are counted.
    :raises TooShortError: as :func:`einstein_fit` does.
    """
    msd = mean_squared_displacement(positions)
    slope, intercept = einstein_fit(frame_interval_ps * np.arange(len(msd)), msd, window)
    return Replica(
        frame_interval_ps=frame_interval_ps,
        msd=msd.mean(axis=1),
        slope=slope.mean(axis=0),
        intercept=intercept.mean(axis=0),
        tracer_coefficients=slope.sum(axis=-1) / 6,
        jumps=count_jumps(positions, threshold, max(1, round(block_ps / frame_interval_ps))),
    )


def combine_replicas(replicas: Sequence[Replica], jump_length: float) -> Diffusion:
    """Return what the replicas say together.

    With a single replica the interval comes from its tracers, taken as independent. A D that is not positive counts
    as none, with the upper bound for the jumps seen.

    :param jump_length: length of a jump in Å, for the upper bound.
    """
    jumps = int(sum(replica.jumps.sum() for replica in replicas))
    tracer_time = sum(replica.tracer_time_ps for replica in replicas)
    tracers = np.concatenate([replica.tracer_coefficients for replica in replicas])
    single = len(replicas) == 1
    samples = tracers if single else np.array([replica.coefficient for replica in replicas])
    mean = float(samples.mean())
    error = standard_error(samples)
    diffusing = jumps > 0 and mean > 0
    return Diffusion(
        coefficient=mean if diffusing else None,
        standard_error=error if diffusing else None,
        interval=student_interval(mean, error, len(samples) - 1) if diffusing and error is not None else None,
        interval_from='tracers' if single else 'replicas',
        relative_error=max((standard_error(tracers) or 0.0) / mean, jumps**-0.5) if diffusing else None,
        degrees_of_freedom=max(len(tracers) - 1, 1),
        upper_bound=None if diffusing else upper_bound(jumps, jump_length, tracer_time),
        jumps=jumps,
        residence_time_ps=tracer_time / jumps if jumps else None,
        warnings=_warnings(jumps, mean, single),
    )


def standard_error(samples: np.ndarray) -> float | None:
    """Return the standard error of the mean; None for a single sample."""
    return float(np.std(samples, ddof=1) / np.sqrt(len(samples))) if len(samples) > 1 else None


def student_interval(mean: float, error: float, degrees_of_freedom: int) -> tuple[float, float]:
    """Return the two-sided 95 % interval of Student's t."""
    half = float(stats.t.ppf(0.975, degrees_of_freedom)) * error
    return mean - half, mean + half


def upper_bound(jumps: int, jump_length: float, tracer_time_ps: float) -> float:
    """Return the D in Å²/ps that uncorrelated jumps stay below at 95 %, from the number of jumps seen.

    The upper limit of the mean of a Poisson distribution is chi2(0.95; 2 k + 2) / 2: 3.0 for no jump.

    :param jump_length: Å.
    :param tracer_time_ps: number of tracers times duration.
    """
    expected = stats.chi2.ppf(0.95, 2 * (jumps + 1)) / 2
    return float(expected * jump_length**2 / (6 * tracer_time_ps))


def _warnings(jumps: int, mean: float, single: bool) -> list[str]:
    warnings = []
    if 0 < jumps < FEW_JUMPS:
        warnings.append(f'only {jumps} jumps were seen: D rests on few events, its interval on fewer.')
    if jumps and mean <= 0:
        warnings.append('the fitted D is not positive although tracers jumped: run longer.')
    if single:
        warnings.append('a single replica: the interval takes its tracers as independent.')
    return warnings
