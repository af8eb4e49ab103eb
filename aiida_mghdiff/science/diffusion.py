"""Tracer diffusion coefficient with an interval, D in Å²/ps.

There are three estimators:

- ``least-squares``: straight lines through the mean squared displacement, as in the paper (``science.least_squares``);
- ``gls``: generalised least squares with an explicit lag (``science.gls``). With the right lag it is several times more
  efficient; with a lag that is too short, D is too high and its error too small;
- ``automatic``: needs no lag (``science.whittle``).

Each gives a D for each tracer, and the scatter of these D is the error. The interval is Student's t on the scale of
ln D, so that both limits are positive. The scatter of all tracers is pooled as long as the means of replicas agree with
it, which a test decides (``science.intervals``); the squares of displacements hardly correlate between tracers, even
where the tracers do (``tests/science/test_crowd.py``). For ``least-squares`` the test is quick to find that replicas
differ, and their scatter alone counts then: its intervals are as wide as this needs, and cover replicas that ran at
different temperatures too. For the other methods it must be sure: their errors are so small that the caution would cost
half of what they gain. Intervals of D along an axis follow the same rule.

The relative error that weights an Arrhenius fit is always that over tracers: three replicas give weights so erratic
that the interval of the activation energy covers 71 %. It is never taken below that of counting jumps, 1/sqrt(jumps).

Where an estimate is known to be off, D is by least squares instead, with a warning. For ``automatic``
``science.whittle`` says where. An estimate of ``gls`` is off if its lag is shorter than half the time that a tracer
stays: returns between cages then count as diffusion, and D is 3 to 15 % too high (H in Mg, rates T-T : T-O : O-T : O-O
of 8:1:1:0.5; longer lags leave at most 3 %). On other networks ``gls`` gives way where D at double the lag is surely
lower; where it is lower, but not surely so, a warning says so.

Gate: rattling between the two sites of a cage gives a significant slope although nothing diffuses. Where no tracer
jumped between cages there is no D, but an upper bound: at most 3.0 jumps are expected (Poisson, 95 %), each of length
l, in n tracers of duration T, thus D < 3.0 l² / (6 n T).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from aiida_mghdiff.science.cages import CAGE, count_jumps
from aiida_mghdiff.science.gls import generalised_least_squares, lag_difference
from aiida_mghdiff.science.intervals import Mean, check_confidence, mean_of_replicas
from aiida_mghdiff.science.least_squares import least_squares
from aiida_mghdiff.science.positions import PositionsError, TooShortError, check_positions
from aiida_mghdiff.science.whittle import HOP_LENGTH, automatic_fit, staying_time

METHODS = ('least-squares', 'gls', 'automatic')
FEW_JUMPS = 20
#: Vibrations are averaged over these ps, and at least so many frames, before jumps are counted.
CAGE_AVERAGING_PS, CAGE_AVERAGING_FRAMES = 0.1, 10
#: Probability that two lags disagree by chance; three pairs are compared, and one in five runs is flagged for nothing.
FALSE_ALARM = 0.1
#: Probability, below which D at double the lag is surely lower.
SURE = 0.001
#: Shortest lag of gls over the time that a tracer stays.
SHORTEST_LAG = 0.5
#: Probability below which replicas differ by more than their tracers explain; strict for all but least squares.
QUICK, STRICT = 0.25, 0.002


class MethodError(ValueError):
    """An unknown method of estimation, a missing input of a method, or times that no run has."""


@dataclass(frozen=True)
class DiffusionEstimate:
    """What replicas say together; D in Å²/ps, None where nothing diffuses."""

    method: str
    coefficients: tuple[np.ndarray, ...]  # D [n,3] of the tracers along each axis, by replica
    jumps: int
    tracer_time_ps: float
    confidence: float
    lag_warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()  # of the method asked for, why it gave way

    @property
    def diffusing(self) -> bool:
        """Return whether there is a D: tracers jumped, and what was fitted is positive."""
        return self.jumps > 0 and self.mean.value > 0

    @property
    def value(self) -> float | None:
        """Return D."""
        return self.mean.value if self.diffusing else None

    @property
    def standard_error(self) -> float | None:
        """Return the standard error of D, from the scatter that ``interval_from`` names."""
        return self.mean.standard_error if self.diffusing else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the interval of D by Student's t on the scale of ln D; both limits are positive."""
        return self.mean.interval(self.confidence) if self.diffusing else None

    @property
    def relative_interval(self) -> float | None:
        """Return half the width of the interval over D.

        With w half the width of the interval of ln D this is sinh(w): w for a narrow interval, and more for a wide one.
        """
        if self.interval is None or self.value is None:
            return None
        return (self.interval[1] - self.interval[0]) / (2 * self.value)

    @property
    def interval_from(self) -> str:
        """Return ``replicas`` or ``tracers``: whose scatter is the error."""
        return self.mean.error_from

    @property
    def degrees_of_freedom(self) -> int:
        """Return the degrees of freedom of the interval."""
        return self.mean.degrees_of_freedom

    @cached_property
    def mean(self) -> Mean:
        """Return the mean over tracers and axes with its error, whether or not it is a D."""
        return self.mean_along(0, 1, 2)

    def mean_along(self, *axes: int) -> Mean:
        """Return the mean over tracers and some of the axes with its error."""
        level = QUICK if self.method == 'least-squares' else STRICT
        return mean_of_replicas([one[:, axes].mean(axis=1) for one in self.coefficients], level)

    def replica_intervals(self) -> list[tuple[float, float] | None]:
        """Return the interval of D of each replica over its tracers; None for one tracer, or no positive D."""
        return [
            mean_of_replicas([one.mean(axis=1)], STRICT).interval(self.confidence)
            if self.diffusing and len(one) > 1
            else None
            for one in self.coefficients
        ]

    @property
    def tracers(self) -> np.ndarray:
        """Return D [n,3] of all tracers along each axis, one estimate each and worth little alone."""
        return np.concatenate(self.coefficients)

    @property
    def per_axis(self) -> np.ndarray | None:
        """Return D [3] along each axis, nan where what was fitted is not positive."""
        if not self.diffusing:
            return None
        values = self.tracers.mean(axis=0)
        return np.where(values > 0, values, np.nan)

    @property
    def per_axis_errors(self) -> np.ndarray | None:
        """Return the standard errors [3] of D along each axis."""
        return np.array([self.mean_along(axis).standard_error for axis in range(3)]) if self.diffusing else None

    @property
    def relative_error(self) -> float | None:
        """Return the standard error over tracers relative to D, at least the error of counting jumps."""
        if not self.diffusing:
            return None
        return max(float(stats.sem(self.tracers.mean(axis=1)) / self.tracers.mean()), self.jumps**-0.5)

    @property
    def upper_bound(self) -> float | None:
        """Return an upper bound of D without diffusion, for jumps between neighbouring sites of hcp Mg."""
        return None if self.diffusing else upper_bound(self.jumps, HOP_LENGTH, self.tracer_time_ps, self.confidence)

    @property
    def warnings(self) -> list[str]:
        """Return warnings about D."""
        warnings = [*self.doubts, *self.lag_warnings]
        if 0 < self.jumps < FEW_JUMPS:
            warnings.append(f'only {self.jumps} jumps were seen: D rests on few events, its interval on fewer.')
        if self.jumps and not self.diffusing:
            warnings.append('the fitted D is not positive although tracers jumped: run longer.')
        if len(self.coefficients) == 1:
            warnings.append('a single replica: the interval takes its tracers as independent.')
        return warnings


def estimate_diffusion(
    replicas: Sequence[np.ndarray],
    frame_time_ps: float,
    *,
    method: str = 'least-squares',
    window_ps: tuple[float, float] = (0, 200),
    lag_ps: float | None = None,
    jumps: int | None = None,
    confidence: float = 0.95,
) -> DiffusionEstimate:
    """Return D of all replicas together, or an upper bound where nothing diffuses.

    :param replicas: unwrapped positions [f,n,3] in Å of the tracers of each run, without drift of the host, evenly
        spaced in time.
    :param method: ``least-squares``, ``gls`` or ``automatic``; the estimate has the method that was taken.
    :param window_ps: first and last lag of the fit by least squares.
    :param lag_ps: lag of ``gls``.
    :param jumps: number of jumps between cages; without it, they are counted as in hcp Mg.
    :param confidence: probability of the interval and of the upper bound.
    :raises PositionsError: for positions that are not finite or wrapped, no replica, or a single tracer in all.
    :raises TooShortError: where the runs are too short for the window, the lag or the method.
    :raises MethodError: for a method that does not exist, ``gls`` without a lag, or times that no run has.
    :raises ConfidenceError: for a confidence that is no fraction between 0 and 1.
    """
    check_confidence(confidence)
    _check_times(frame_time_ps, window_ps, jumps)
    checked = check_replicas(replicas)
    taken, coefficients, warnings = _estimate(checked, frame_time_ps, method, window_ps, lag_ps)
    kind = 'lag_warnings' if taken == 'gls' else 'doubts'
    if jumps is None:
        jumps = count_all_jumps(checked, frame_time_ps)
    tracer_time = frame_time_ps * sum((len(positions) - 1) * positions.shape[1] for positions in checked)
    return DiffusionEstimate(taken, tuple(coefficients), jumps, tracer_time, confidence, **{kind: tuple(warnings)})


def _check_times(frame_time_ps: float, window_ps: tuple[float, float], jumps: int | None) -> None:
    """Refuse times and numbers of jumps that no run has."""
    if not 0 < frame_time_ps < np.inf:
        raise MethodError(f'frame_time_ps = {frame_time_ps} is not a positive number: give the time between frames.')
    if not 0 <= window_ps[0] < window_ps[1] < np.inf:
        raise MethodError(
            f'window_ps = {window_ps} is no window: give a first lag of at least 0, and a longer last one.'
        )
    if jumps is not None and jumps < 0:
        raise MethodError(f'jumps = {jumps} is below 0: give the number of jumps that were counted.')


def check_replicas(replicas: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the positions of all replicas in float64.

    :raises PositionsError: as :func:`estimate_diffusion` does.
    """
    checked = [check_positions(positions, f'replica {index}') for index, positions in enumerate(replicas)]
    if (tracers := sum(positions.shape[1] for positions in checked)) < 2:
        raise PositionsError(
            f'{"no tracer" if not tracers else "a single tracer in a single replica"} has no error: give several '
            'tracers, or replicas.'
        )
    return checked


def count_all_jumps(replicas: Sequence[np.ndarray], frame_time_ps: float) -> int:
    """Return the number of jumps between cages of hcp Mg of all tracers."""
    block = max(CAGE_AVERAGING_FRAMES, round(CAGE_AVERAGING_PS / frame_time_ps))
    return int(sum(count_jumps(positions, CAGE, block).sum() for positions in replicas))


def upper_bound(jumps: int, jump_length: float, tracer_time_ps: float, confidence: float = 0.95) -> float:
    """Return the D in Å²/ps that uncorrelated jumps stay below, from the number of jumps seen.

    The upper limit of the mean of a Poisson distribution is chi2(0.95; 2 k + 2) / 2: 3.0 for no jump.

    :param jump_length: Å.
    :param tracer_time_ps: number of tracers times duration.
    """
    expected = stats.chi2.ppf(check_confidence(confidence), 2 * (jumps + 1)) / 2
    return float(expected * jump_length**2 / (6 * tracer_time_ps))


def _estimate(
    replicas: list[np.ndarray],
    frame_time_ps: float,
    method: str,
    window_ps: tuple[float, float],
    lag_ps: float | None,
) -> tuple[str, list[np.ndarray], list[str]]:
    """Return the method that was taken, D [n,3] of the tracers of each replica, and warnings."""
    if method == 'least-squares':
        return method, least_squares(replicas, frame_time_ps, window_ps), []
    if method == 'automatic':
        coefficients, doubt = automatic_fit(replicas, frame_time_ps)
        warnings: list[str] = []
    elif method == 'gls':
        coefficients, doubt, warnings = _gls(replicas, frame_time_ps, lag_ps)
    else:
        raise MethodError(f'method {method!r} does not exist: choose one of {", ".join(METHODS)}.')
    if doubt is None:
        return method, coefficients, warnings
    try:
        replacement = least_squares(replicas, frame_time_ps, window_ps)
    except TooShortError:
        return method, coefficients, [f'{doubt} The runs are too short for least squares: take longer ones.']
    return 'least-squares', replacement, [f'{doubt} Least squares gives D instead.']


def _gls(
    replicas: list[np.ndarray], frame_time_ps: float, lag_ps: float | None
) -> tuple[list[np.ndarray], str | None, list[str]]:
    """Return D [n,3] by replica at the lag, why it is not to be trusted (None where it is), and warnings."""
    if lag_ps is None or not lag_ps > 0:
        raise MethodError(f'lag_ps = {lag_ps}: the method gls needs a lag of more than 0 ps.')
    half, whole, double = (
        generalised_least_squares(replicas, frame_time_ps, factor * lag_ps) for factor in (0.5, 1.0, 2.0)
    )
    return whole, lag_doubt(lag_ps, whole, double), _lag_warnings(lag_ps, half, whole, double)


def lag_doubt(lag_ps: float, whole: list[np.ndarray], double: list[np.ndarray]) -> str | None:
    """Return why D by gls is not to be trusted, None where it is.

    :param whole: D [n,3] of the tracers by replica at the lag, and ``double`` at double the lag.
    """
    values = [float(np.concatenate(one).mean()) for one in (whole, double)]
    staying = staying_time(values[0])
    if np.isfinite(staying) and lag_ps < SHORTEST_LAG * staying:
        return (
            f'tracers stay for {staying:.3g} ps, and a lag of {lag_ps:g} ps is less than half of that: gls takes '
            'returns between cages for diffusion. Take a longer lag.'
        )
    if lag_difference(whole, double) < SURE:
        return (
            f'D by gls falls with the lag, from {values[0]:.3g} Å²/ps at {lag_ps:g} ps to {values[1]:.3g} at '
            f'{2 * lag_ps:g} ps: gls takes rattling at that pace for diffusion. Take a longer lag.'
        )
    return None


def _lag_warnings(lag_ps: float, *coefficients: list[np.ndarray]) -> list[str]:
    """Return the warning that D depends on the lag, from D at half the lag, at the lag and at double the lag."""
    half, whole, double = coefficients
    chance = min(lag_difference(half, whole), lag_difference(whole, double), lag_difference(half, double))
    if chance > FALSE_ALARM:
        return []
    values = ', '.join(f'{np.concatenate(one).mean():.3g}' for one in coefficients)
    return [
        f'D falls with the lag ({values} Å²/ps at {lag_ps / 2:g}, {lag_ps:g}, {2 * lag_ps:g} ps): tracers rattle at '
        'that pace, D is too high and its interval does not know. Take a longer lag.'
    ]
