"""Tracer diffusion coefficient with an interval, D in Å²/ps.

There are three estimators:

- ``least-squares``: straight lines through the mean squared displacement, as in the paper (``science.least_squares``);
- ``gls``: generalised least squares with an explicit lag (``science.gls``). With the right lag it is several times more
  efficient; if the lag is too short, D is too high and its error too small;
- ``automatic``: needs no lag (``science.whittle``).

Each estimator gives a D for each tracer, and the scatter of these D is the error. The interval is Student's t on the
scale of ln D, so both limits are positive. The scatter of all tracers is pooled if the means of replicas agree with it
in a test (``science.intervals``). The squares of displacements hardly correlate between tracers, even if the tracers do
(``tests/science/test_crowd.py``). For ``least-squares`` the test easily finds that replicas differ, and then only their
own scatter counts. So its intervals are wide, but also cover replicas that ran at different temperatures. For the other
methods the test must be nearly certain: their errors are so small that a cautious test would double them. Intervals of
D along an axis follow the same rule.

The relative error that weights an Arrhenius fit always comes from the scatter over tracers. Weights from three replicas
are so erratic that the interval of the activation energy covers only 71 %. The relative error is at least the error of
counting jumps, 1/sqrt(jumps).

If an estimate is known to be wrong, least squares gives D instead, with a warning. ``science.whittle`` describes the
cases of ``automatic``. An estimate of ``gls`` is wrong if its lag is shorter than half the time that a tracer stays:
returns between cages then count as diffusion, and D is 3 to 15 % too high (H in Mg, rates T-T : T-O : O-T : O-O of
8:1:1:0.5; with longer lags at most 3 %). On other networks least squares replaces ``gls`` if D at double the lag is
certainly lower. If it is lower but not certainly, a warning says so.

Condition for a D: rattling between the two sites of a cage gives a significant slope although nothing diffuses. If no
tracer jumped between cages, there is no D, but an upper bound: at most 3.0 jumps are expected (Poisson, 95 %), each of
length l, in n tracers of duration T, so D < 3.0 l² / (6 n T).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from aiida_mghdiff.science.cages import CAGE, count_jumps
from aiida_mghdiff.science.gls import generalised_least_squares, lag_difference
from aiida_mghdiff.science.intervals import Mean, check_confidence, interval_warnings, mean_of_replicas
from aiida_mghdiff.science.least_squares import least_squares
from aiida_mghdiff.science.positions import PositionsError, TooShortError, check_positions, position_warnings
from aiida_mghdiff.science.whittle import HOP_LENGTH, automatic_fit, staying_time

METHODS = ('least-squares', 'gls', 'automatic')
FEW_JUMPS = 20
#: Time in ps over which vibrations are averaged, and smallest number of frames, before jumps are counted.
CAGE_AVERAGING_PS, CAGE_AVERAGING_FRAMES = 0.1, 10
#: Probability that two lags disagree by chance; three pairs are compared, so one in five runs is flagged wrongly.
FALSE_ALARM = 0.1
#: Below this probability, D at double the lag is certainly lower.
SURE = 0.001
#: Smallest lag of gls, divided by the time that a tracer stays.
SHORTEST_LAG = 0.5
#: Probability below which replicas differ by more than their tracers explain; strict for all methods but least squares.
QUICK, STRICT = 0.25, 0.002


class MethodError(ValueError):
    """The method is unknown, an input of the method is missing, or a time is impossible for a run."""


@dataclass(frozen=True)
class DiffusionEstimate:
    """Estimate from all replicas; D in Å²/ps, None without diffusion."""

    method: str
    coefficients: tuple[np.ndarray, ...]  # D [n,3] of the tracers along each axis, by replica
    jumps: int
    tracer_time_ps: float
    confidence: float
    names: tuple[str, ...]  # of the replicas
    position_warnings: tuple[str, ...] = ()
    lag_warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()  # reasons why another method replaced the requested one

    @property
    def diffusing(self) -> bool:
        """Return whether there is a D: tracers jumped, and the fitted value is positive."""
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
        """Return half the width of the interval, divided by D.

        If the interval of ln D has half the width w, this is sinh(w): w for a narrow interval, and more for a wide one.
        """
        if self.interval is None or self.value is None:
            return None
        return (self.interval[1] - self.interval[0]) / (2 * self.value)

    @property
    def interval_from(self) -> str:
        """Return whose scatter gives the error: ``replicas`` or ``tracers``."""
        return self.mean.error_from

    @property
    def degrees_of_freedom(self) -> int:
        """Return the degrees of freedom of the interval."""
        return self.mean.degrees_of_freedom

    @cached_property
    def mean(self) -> Mean:
        """Return the mean over tracers and axes with its error, also if it is no D."""
        return self.mean_along(0, 1, 2)

    def mean_along(self, *axes: int) -> Mean:
        """Return the mean over tracers and some of the axes with its error."""
        level = QUICK if self.method == 'least-squares' else STRICT
        return mean_of_replicas([one[:, axes].mean(axis=1) for one in self.coefficients], level)

    def replica_intervals(self) -> list[tuple[float, float] | None]:
        """Return the interval of D of each replica over its tracers; None for one tracer, or D = 0 within its error."""
        means = self._replica_means if self.diffusing else [None] * len(self.coefficients)
        return [None if mean is None else mean.interval(self.confidence) for mean in means]

    @property
    def _replica_means(self) -> list[Mean | None]:
        """Return the mean over the tracers of each replica, None for one tracer."""
        return [mean_of_replicas([one.mean(axis=1)], STRICT) if len(one) > 1 else None for one in self.coefficients]

    def _without_interval(self) -> list[str]:
        """Return the names of positive D that have no interval."""
        means: dict[str, Mean | None] = {'D': self.mean}
        means |= {f'D along {name}': self.mean_along(axis) for axis, name in enumerate('xyz')}
        means |= {f'D of {name}': mean for name, mean in zip(self.names, self._replica_means, strict=True)}
        return [name for name, mean in means.items() if mean and mean.value > 0 and not mean.interval(self.confidence)]

    @property
    def tracers(self) -> np.ndarray:
        """Return D [n,3] of all tracers along each axis; a single estimate has a large error."""
        return np.concatenate(self.coefficients)

    @property
    def per_axis(self) -> np.ndarray | None:
        """Return D [3] along each axis; nan if the fitted value is not positive."""
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
        warnings = [*self.doubts, *self.lag_warnings, *self.position_warnings]
        if 0 < self.jumps < FEW_JUMPS:
            warnings.append(f'only {self.jumps} jumps were seen: D and its interval rest on few events.')
        if self.jumps and not self.diffusing:
            warnings.append('the fitted D is not positive although tracers jumped: run longer.')
        if self.diffusing:
            warnings += interval_warnings(self._without_interval())
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
    cells: Sequence[np.ndarray] | None = None,
    names: Sequence[str] | None = None,
) -> DiffusionEstimate:
    """Return D of all replicas together, or an upper bound without diffusion.

    :param replicas: unwrapped positions [f,n,3] in Å of the tracers of each run, without drift of the host, evenly
        spaced in time.
    :param method: ``least-squares``, ``gls`` or ``automatic``; the estimate names the method that was used.
    :param window_ps: first and last lag of the fit by least squares.
    :param lag_ps: lag of ``gls``.
    :param jumps: number of jumps between cages; without it, they are counted as in hcp Mg.
    :param confidence: probability of the interval and of the upper bound.
    :param cells: lattice vectors [3,3] in Å of each run, in rows. Without them only positions that fill a cell in all
        are refused as wrapped, and a warning names steps that may be leaps across the cell.
    :param names: of the replicas in messages; by default ``replica 0`` and so on.
    :raises PositionsError: for positions that are not finite or wrapped, no replica, or a single tracer in total.
    :raises TooShortError: if the runs are too short for the window, the lag or the method.
    :raises MethodError: for an unknown method, ``gls`` without a lag, or times that are impossible for a run.
    :raises ConfidenceError: for a confidence that is not between 0 and 1.
    """
    check_confidence(confidence)
    _check_times(frame_time_ps, window_ps, jumps)
    names = [f'replica {index}' for index in range(len(replicas))] if names is None else names
    checked = check_replicas(replicas, names, cells)
    taken, coefficients, warnings = _estimate(checked, frame_time_ps, method, window_ps, lag_ps)
    kind = 'lag_warnings' if taken == 'gls' else 'doubts'
    if jumps is None:
        jumps = count_all_jumps(checked, frame_time_ps)
    tracer_time = frame_time_ps * sum((len(positions) - 1) * positions.shape[1] for positions in checked)
    return DiffusionEstimate(
        method=taken,
        coefficients=tuple(coefficients),
        jumps=jumps,
        tracer_time_ps=tracer_time,
        confidence=confidence,
        names=tuple(names),
        position_warnings=tuple(position_warnings(checked, names, cells)),
        **{kind: tuple(warnings)},
    )


def _check_times(frame_time_ps: float, window_ps: tuple[float, float], jumps: int | None) -> None:
    """Refuse times and numbers of jumps that are impossible for a run."""
    if not 0 < frame_time_ps < np.inf:
        raise MethodError(f'frame_time_ps = {frame_time_ps} is not a positive number: give the time between frames.')
    if not 0 <= window_ps[0] < window_ps[1] < np.inf:
        raise MethodError(
            f'window_ps = {window_ps} is no window: give a first lag of at least 0, and a longer last lag.'
        )
    if jumps is not None and jumps < 0:
        raise MethodError(f'jumps = {jumps} is below 0: give the number of counted jumps.')


def check_replicas(
    replicas: Sequence[np.ndarray], names: Sequence[str], cells: Sequence[np.ndarray] | None
) -> list[np.ndarray]:
    """Return the positions of all replicas in float64.

    :raises PositionsError: see :func:`estimate_diffusion`.
    """
    for kind, given in (('names', names), ('cells', cells)):
        if given is not None and len(given) != len(replicas):
            raise PositionsError(f'there are {len(given)} {kind} of {len(replicas)} replicas: give one for each.')
    known: Sequence[np.ndarray | None] = [None] * len(replicas) if cells is None else cells
    each = zip(replicas, names, known, strict=True)
    checked = [check_positions(positions, name, cell) for positions, name, cell in each]
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
    """Return an upper limit of D in Å²/ps for uncorrelated jumps, from the number of observed jumps.

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
    """Return the used method, D [n,3] of the tracers of each replica, and warnings."""
    if method not in METHODS:
        raise MethodError(f'method {method!r} does not exist: choose one of {", ".join(METHODS)}.')
    is_moving = any(np.ptp(positions, axis=0).any() for positions in replicas)
    if method == 'least-squares' or not is_moving:
        return 'least-squares', least_squares(replicas, frame_time_ps, window_ps), []
    if method == 'automatic':
        coefficients, doubt = automatic_fit(replicas, frame_time_ps)
        warnings: list[str] = []
    else:
        coefficients, doubt, warnings = _gls(replicas, frame_time_ps, lag_ps)
    if doubt is None:
        return method, coefficients, warnings
    try:
        replacement = least_squares(replicas, frame_time_ps, window_ps)
    except TooShortError:
        return method, coefficients, [f'{doubt} The runs are too short for least squares: run longer.']
    return 'least-squares', replacement, [f'{doubt} Least squares gives D instead.']


def _gls(
    replicas: list[np.ndarray], frame_time_ps: float, lag_ps: float | None
) -> tuple[list[np.ndarray], str | None, list[str]]:
    """Return D [n,3] by replica at the lag, the reason to doubt it or None, and warnings."""
    if lag_ps is None or not lag_ps > 0:
        raise MethodError(f'lag_ps = {lag_ps}: the method gls needs a lag of more than 0 ps.')
    half, whole, double = (
        generalised_least_squares(replicas, frame_time_ps, factor * lag_ps) for factor in (0.5, 1.0, 2.0)
    )
    return whole, lag_doubt(lag_ps, whole, double), _lag_warnings(lag_ps, half, whole, double)


def lag_doubt(lag_ps: float, whole: list[np.ndarray], double: list[np.ndarray]) -> str | None:
    """Return the reason to doubt D by gls, or None.

    :param whole: D [n,3] of the tracers by replica at the lag, and ``double`` at double the lag.
    """
    values = [float(np.concatenate(one).mean()) for one in (whole, double)]
    staying = staying_time(values[0])
    if np.isfinite(staying) and lag_ps < SHORTEST_LAG * staying:
        return (
            f'tracers stay for {staying:.3g} ps, and a lag of {lag_ps:g} ps is less than half of that: gls counts '
            'returns between cages as diffusion. Take a longer lag.'
        )
    if lag_difference(whole, double) < SURE:
        return (
            f'D by gls falls with the lag, from {values[0]:.3g} Å²/ps at {lag_ps:g} ps to {values[1]:.3g} at '
            f'{2 * lag_ps:g} ps: gls counts slow rattling as diffusion. Take a longer lag.'
        )
    return None


def _lag_warnings(lag_ps: float, *coefficients: list[np.ndarray]) -> list[str]:
    """Return a warning if D depends on the lag, from D at half the lag, at the lag and at double the lag."""
    half, whole, double = coefficients
    chance = min(lag_difference(half, whole), lag_difference(whole, double), lag_difference(half, double))
    if chance > FALSE_ALARM:
        return []
    values = ', '.join(f'{np.concatenate(one).mean():.3g}' for one in coefficients)
    return [
        f'D falls with the lag ({values} Å²/ps at {lag_ps / 2:g}, {lag_ps:g}, {2 * lag_ps:g} ps): tracers rattle '
        'slowly, so D is too high and its interval too narrow. Take a longer lag.'
    ]
