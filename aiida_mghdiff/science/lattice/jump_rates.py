"""Rates of jumps counted at several temperatures, class by class, and D extrapolated from them.

The rate of each class is k(T) = nu exp(-E / kT). For Markov jumps the likelihood of a class depends only on its counts
N at each temperature and on the times t that tracers spent on its starting sites. The counts are Poisson counts of mean
k(T) m t, with m the number of targets around a site. The maximum over (ln nu, E) is found by Newton steps; its
covariance is the inverse of the Fisher information (McCullagh and Nelder, Generalized Linear Models, 2nd edition,
chapter 6). A temperature without a jump enters the fit as a count of zero; a straight line through ln k could not
include it, and few counts would bias it. Classes are independent of each other. This holds for O-T and T-O, too: their
counts differ by at most one for each tracer, but the randomness is in the times.

At each temperature the rates of all classes give D (:mod:`aiida_mghdiff.science.lattice.network`). Its relative error
follows from the delta method: the variances of ln k at this temperature, times the squares of d ln D / d ln k. The
interval assumes a normal distribution of ln D. Measured on hops of known rates, extrapolated from 480 to 673 K down to
300 K (400 ensembles each): the 95 % interval contains the exact D in 95.5, 94.2 and 95.8 % at relative errors of 0.67,
0.33 and 0.10.

Limits: rates depend on the concentration of the run, but D is for independent hops. Correlated bursts of jumps scatter
more than Poisson counts; ``dispersion`` accounts for this scatter, and chi squared shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from aiida_mghdiff.science.arrhenius import TooFewTemperaturesError, arrhenius_design
from aiida_mghdiff.science.intervals import log_interval
from aiida_mghdiff.science.lattice.hops import HOPS

_NEWTON_STEPS = 100


@dataclass(frozen=True)
class RateFit:
    """The Arrhenius line of the rate of one class of jumps; rates in 1/ps to one target, E in eV."""

    ln_prefactor: float
    activation_energy: float
    covariance: np.ndarray  # [2,2] of (ln nu, E)
    chi_squared: float  # Pearson's
    degrees_of_freedom: int

    def rate(self, temperature_k: float) -> float:
        """Return the rate at a temperature in K."""
        return float(np.exp(arrhenius_design(temperature_k) @ [self.ln_prefactor, self.activation_energy]))

    def relative_error(self, temperature_k: float) -> float:
        """Return the standard error of ln k at a temperature in K."""
        row = arrhenius_design(temperature_k)
        return float(np.sqrt(row @ self.covariance @ row))


def fit_rates(
    temperatures_k: Sequence[float], counts: Sequence[int], times_ps: Sequence[float], dispersion: float = 1.0
) -> RateFit:
    """Return the line of a class.

    :param counts: jumps at each temperature.
    :param times_ps: number of targets times the time that tracers spent on the starting sites of the jumps.
    :param dispersion: ratio of the variance of the counts to Poisson's variance.
    :raises TooFewTemperaturesError: if jumps were seen at fewer than two distinct temperatures.
    """
    temperatures, numbers, times = (np.asarray(values, float) for values in (temperatures_k, counts, times_ps))
    seen = temperatures[numbers > 0]
    if len(seen) < 2 or seen.max() < 1.01 * seen.min():
        found = ', '.join(f'{temperature:.0f} K' for temperature in seen) or 'none'
        raise TooFewTemperaturesError(f'jumps must be seen at two distinct temperatures at least, there are: {found}.')
    known = times > 0
    design, numbers, times = arrhenius_design(temperatures[known]), numbers[known], times[known]
    solution = _maximise(design, numbers, times)
    expected = times * np.exp(design @ solution)
    covariance = dispersion * np.linalg.inv(design.T @ (expected[:, None] * design))
    chi_squared = float(np.sum(np.square(numbers - expected) / expected))
    return RateFit(float(solution[0]), float(solution[1]), covariance, chi_squared, len(numbers) - 2)


def fit_classes(
    temperatures_k: Sequence[float],
    counts: Sequence[Mapping[str, int]],
    total_times_ps: Sequence[Mapping[str, float]],
    dispersions: Mapping[str, float] | None = None,
) -> tuple[dict[str, RateFit], dict[str, str]]:
    """Return the lines of the classes of ``HOPS``, and the reasons why other classes have none.

    A class with jumps at one temperature or none is rare compared with all others: it is left out.

    :param counts: jumps by class at each temperature.
    :param total_times_ps: time by kind of site (O, T) that tracers spent there, at each temperature.
    :param dispersions: ratio of the variance of the counts to Poisson's variance by class; the default is one.
    """
    fits, left_out = {}, {}
    for name in HOPS:
        times = [HOPS[name].targets * each[name[0]] for each in total_times_ps]
        numbers = [each.get(name, 0) for each in counts]
        try:
            fits[name] = fit_rates(temperatures_k, numbers, times, (dispersions or {}).get(name, 1.0))
        except TooFewTemperaturesError as error:
            left_out[name] = str(error)
    return fits, left_out


def relative_error(sensitivities: Mapping[str, float], fits: Mapping[str, RateFit], temperature_k: float) -> float:
    """Return the standard error of ln D at a temperature in K.

    :param sensitivities: d ln D / d ln rate by class.
    """
    parts = [sensitivities[name] * fit.relative_error(temperature_k) for name, fit in fits.items()]
    return float(np.linalg.norm(parts))


def log_normal_interval(value: float, relative_error: float) -> tuple[float, float]:
    """Return the 95 % interval of a value whose logarithm is normal."""
    return log_interval(value, float(stats.norm.ppf(0.975)) * relative_error)


def _maximise(design: np.ndarray, counts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return (ln nu, E) [2] of the largest likelihood.

    The logarithm of the likelihood is concave; half a count added to each gives a start that is never far off.
    """
    solution = np.linalg.lstsq(design, np.log((counts + 0.5) / times), rcond=None)[0]
    for _ in range(_NEWTON_STEPS):
        expected = times * np.exp(design @ solution)
        step = np.linalg.solve(design.T @ (expected[:, None] * design), design.T @ (counts - expected))
        solution = solution + step / max(1.0, np.abs(design @ step).max())  # no rate changes by more than a factor e
        if np.abs(design @ step).max() < 1e-12:
            break
    return solution
