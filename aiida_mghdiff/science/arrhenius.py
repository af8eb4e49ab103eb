"""Arrhenius fit, D(T) = D0 exp(-Ea / kT), by weighted least squares of ln D.

Weights are 1/s², with s the relative error of D, which by the delta method is the standard error of ln D. The weights
must be accurate: intervals cover 95 % with the standard error over all tracers of all replicas
(``DiffusionEstimate.relative_error``), but 71 % with the standard error over three replicas.

Temperatures are the measured means of the runs: one canonical start of 136 atoms shifts the temperature of an NVE run
by 5 %, which changes D by 25 % for 0.22 eV at 500 K. The mean D of replicas with different temperatures belongs to
their effective temperature, at which the fitted D equals the mean of D over their temperatures
(:func:`effective_temperature`).

The fit is linear in (ln D0, Ea), with a closed solution. The covariance is (X^T W X)^-1, not scaled with the residuals,
since s is known. Two temperatures determine a line, and chi squared is then meaningless. Outside the fitted
temperatures the band widens correctly only as long as the same mechanism dominates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import logsumexp

from aiida_mghdiff.science.intervals import check_confidence
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K


class TooFewTemperaturesError(ValueError):
    """There are fewer than two distinct temperatures with a D."""


class CoefficientsError(ValueError):
    """Temperatures, coefficients or errors cannot be fitted."""


@dataclass(frozen=True)
class ArrheniusFit:
    """A fitted line; D0 in the unit of D, Ea in eV."""

    ln_prefactor: float
    activation_energy_ev: float
    covariance: np.ndarray  # [2,2] of (ln D0, Ea)
    chi_squared: float
    temperatures_k: np.ndarray
    errors_from: int | None  # degrees of freedom of the errors of D; None if the errors are known

    @property
    def prefactor(self) -> float:
        """Return D0."""
        return float(np.exp(self.ln_prefactor))

    @property
    def activation_energy_error_ev(self) -> float:
        """Return the standard error of Ea."""
        return float(np.sqrt(self.covariance[1, 1]))

    @property
    def ln_prefactor_error(self) -> float:
        """Return the standard error of ln D0."""
        return float(np.sqrt(self.covariance[0, 0]))

    def interval_factor(self, confidence: float = 0.95) -> float:
        """Return half the width of a two-sided interval over the standard error: Student's t or the normal factor."""
        quantile = (1 + check_confidence(confidence)) / 2
        return float(stats.norm.ppf(quantile) if self.errors_from is None else stats.t.ppf(quantile, self.errors_from))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the interval of Ea in eV."""
        half = self.interval_factor(confidence) * self.activation_energy_error_ev
        return self.activation_energy_ev - half, self.activation_energy_ev + half

    def predict(
        self, temperature_k: float | np.ndarray, confidence: float = 0.95
    ) -> tuple[float, float, float] | tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return D on the line and the limits of its band at a temperature, or at several [m], in K."""
        line = self.ln_prefactor, self.activation_energy_ev
        values = predict(temperature_k, line, self.covariance, self.interval_factor(confidence))
        return tuple(values.tolist()) if np.ndim(temperature_k) == 0 else tuple(values)

    def extrapolates(self, temperature_k: float) -> bool:
        """Return whether a temperature lies outside the range of the fit."""
        return not self.temperatures_k.min() <= temperature_k <= self.temperatures_k.max()


def predict(
    temperature_k: npt.ArrayLike, line: tuple[float, float], covariance: np.ndarray, factor: float
) -> np.ndarray:
    """Return D on a line and the limits of its band, [3] at a temperature in K, or [3,m] at several [m].

    :param line: ln D0 and Ea in eV, with their covariance [2,2].
    :param factor: half the width of the band, divided by the standard error of ln D.
    """
    design = arrhenius_design(temperature_k)
    ln_d = design @ line
    half = factor * np.sqrt(np.sum(design @ covariance * design, axis=-1))
    return np.exp([ln_d, ln_d - half, ln_d + half])


def on_line(temperature_k: npt.ArrayLike, line: tuple[float, float]) -> np.ndarray:
    """Return D at a temperature in K, or at several [m], on a line, given by ln D0 and Ea in eV."""
    return np.exp(arrhenius_design(temperature_k) @ line)


def fit_arrhenius(
    temperatures_k: npt.ArrayLike,
    diffusion: npt.ArrayLike,
    standard_errors: npt.ArrayLike,
    degrees_of_freedom: int | None = None,
) -> ArrheniusFit:
    """Return the weighted fit of D [m] at mean temperatures [m] in K.

    :param standard_errors: standard errors of D [m], in its unit.
    :param degrees_of_freedom: total degrees of freedom of the errors (number of tracers less one, summed over
        temperatures); without it, the errors count as known.
    :raises TooFewTemperaturesError: if all temperatures lie within 1 % of each other.
    :raises CoefficientsError: for numbers that are not finite and positive, or arrays of different lengths.
    """
    temperatures, values, errors = (np.asarray(array, float) for array in (temperatures_k, diffusion, standard_errors))
    _check_points(temperatures, values, errors)
    if len(temperatures) < 2 or temperatures.max() < 1.01 * temperatures.min():
        found = ', '.join(f'{temperature:.0f} K' for temperature in temperatures) or 'none'
        raise TooFewTemperaturesError(
            f'an Arrhenius fit needs diffusion coefficients at two distinct temperatures at least, there are: {found}.'
        )
    design, ln_d, weights = arrhenius_design(temperatures), np.log(values), np.square(values / errors)
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    solution = covariance @ design.T @ (weights * ln_d)
    chi_squared = float(weights @ np.square(ln_d - design @ solution))
    ln_prefactor, energy = map(float, solution)
    return ArrheniusFit(ln_prefactor, energy, covariance, chi_squared, temperatures, degrees_of_freedom)


def effective_temperature(temperatures_k: Sequence[float], activation_energy_ev: float) -> float:
    """Return the temperature in K at which D is the mean of D at these temperatures; for Ea = 0, their mean."""
    if activation_energy_ev == 0:
        return float(np.mean(temperatures_k))
    energy = activation_energy_ev / BOLTZMANN_EV_PER_K
    mean = logsumexp(-energy / np.asarray(temperatures_k, float)) - np.log(len(temperatures_k))
    return float(-energy / mean)


def _check_points(*arrays: np.ndarray) -> None:
    if len({array.shape for array in arrays}) > 1 or arrays[0].ndim != 1:
        shapes = ', '.join(str(array.shape) for array in arrays)
        raise CoefficientsError(f'temperatures, D and errors have the shapes {shapes}: give one of each for each run.')
    for name, array in zip(('temperatures', 'D', 'standard errors of D'), arrays, strict=True):
        if len(bad := array[~(np.isfinite(array) & (array > 0))]):
            raise CoefficientsError(f'{name}: {bad[0]:g} is not finite and positive; leave that temperature out.')


def arrhenius_design(temperature_k: npt.ArrayLike) -> np.ndarray:
    """Return the rows [2] that give ln D at a temperature, or at several [m,2], from ln D0 and Ea in eV."""
    temperatures = np.asarray(temperature_k, float)
    return np.stack([np.ones_like(temperatures), -1 / (BOLTZMANN_EV_PER_K * temperatures)], axis=-1)
