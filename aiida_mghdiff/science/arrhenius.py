"""Arrhenius fit, D(T) = D0 exp(-Ea / kT), by weighted least squares of ln D.

Weights are 1/s² with s the relative error of D, which by the delta method is the standard error of ln D. They must be
accurate: the standard error over all tracers of all replicas (``Diffusion.relative_error``) gives intervals that cover
95 %, the one of three replicas 71 %. Temperatures are the measured means of the runs: one canonical start of 136 atoms
puts an NVE run off by 5 %, which is 25 % in D for 0.22 eV at 500 K.

The fit is linear in (ln D0, Ea), so the solution and its covariance are closed; the covariance is (X^T W X)^-1 and is
not scaled with the residuals, since s is known. Two temperatures determine a line; chi squared tells nothing then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K


class TooFewTemperaturesError(ValueError):
    """Fewer than two distinct temperatures with a D."""


@dataclass(frozen=True)
class ArrheniusFit:
    """A fitted line; D0 in the unit of D, Ea in eV."""

    ln_prefactor: float
    activation_energy: float
    covariance: np.ndarray  # [2,2] of (ln D0, Ea)
    chi_squared: float
    points: int
    errors_from: int  # degrees of freedom of the errors of D

    @property
    def activation_energy_error(self) -> float:
        """Return the standard error of Ea in eV."""
        return float(np.sqrt(self.covariance[1, 1]))

    @property
    def ln_prefactor_error(self) -> float:
        """Return the standard error of ln D0."""
        return float(np.sqrt(self.covariance[0, 0]))

    @property
    def interval_factor(self) -> float:
        """Return Student's t of the two-sided 95 % interval, with the degrees of freedom of the errors of D."""
        return float(stats.t.ppf(0.975, self.errors_from))

    @property
    def activation_energy_interval(self) -> tuple[float, float]:
        """Return the 95 % interval of Ea in eV."""
        half = self.interval_factor * self.activation_energy_error
        return self.activation_energy - half, self.activation_energy + half

    def band(self, temperatures_k: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return D [m] on the line and the limits [m] of its 95 % band at temperatures [m] in K."""
        design = _design(np.asarray(temperatures_k, float))
        ln_d = design @ [self.ln_prefactor, self.activation_energy]
        half = self.interval_factor * np.sqrt(np.einsum('mi,ij,mj->m', design, self.covariance, design))
        return np.exp(ln_d), np.exp(ln_d - half), np.exp(ln_d + half)


def fit_arrhenius(
    temperatures_k: np.ndarray, coefficients: np.ndarray, relative_errors: np.ndarray, degrees_of_freedom: int = 10**6
) -> ArrheniusFit:
    """Return the weighted fit of D [m] at mean temperatures [m] in K.

    :param relative_errors: standard errors of ln D [m].
    :param degrees_of_freedom: how many the errors have in all (tracers less one, summed over temperatures); the normal
        interval by default.
    :raises TooFewTemperaturesError: where all temperatures lie within 1 % of each other.
    """
    temperatures = np.asarray(temperatures_k, float)
    if len(temperatures) < 2 or temperatures.max() < 1.01 * temperatures.min():
        found = ', '.join(f'{temperature:.0f} K' for temperature in temperatures) or 'none'
        raise TooFewTemperaturesError(
            f'an Arrhenius fit needs diffusion coefficients at two distinct temperatures at least, there are: {found}.'
        )
    design, ln_d, weights = _design(temperatures), np.log(coefficients), 1 / np.square(relative_errors)
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    solution = covariance @ design.T @ (weights * ln_d)
    chi_squared = float(weights @ np.square(ln_d - design @ solution))
    return ArrheniusFit(*map(float, solution), covariance, chi_squared, len(temperatures), degrees_of_freedom)


def _design(temperatures: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(temperatures), -1 / (BOLTZMANN_EV_PER_K * temperatures)], axis=1)
