"""Activation energy from diffusion coefficients at several temperatures."""

from __future__ import annotations

import math

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.functions.refusals import refusing
from aiida_mghdiff.science.arrhenius import ArrheniusFit, TooFewTemperaturesError, fit_arrhenius


@refusing(TooFewTemperaturesError)
@calcfunction
def arrhenius_fit(**diffusion: orm.Dict) -> orm.Dict:
    """Return activation energy, prefactor and their covariance (see ``science.arrhenius``).

    Each point lies at the measured mean temperature of its runs and has as weight the relative error over all tracers.
    Temperatures without diffusion have no D and are left out; the result names them. With two temperatures
    ``chi_squared`` is null.

    :param diffusion: results of ``diffusion_coefficient``, one for each temperature, by any keys.
    """
    results = sorted((node.get_dict() for node in diffusion.values()), key=lambda result: result['temperature_k'])
    used = [result for result in results if result['diffusing']]
    excluded = [result['temperature_k'] for result in results if not result['diffusing']]
    columns = ('temperature_k', 'diffusion_coefficient_m2_s', 'relative_error')
    temperatures, coefficients, relative_errors = (np.array([result[key] for result in used]) for key in columns)
    degrees_of_freedom = sum(result['relative_error_degrees_of_freedom'] for result in used)
    fit = fit_arrhenius(temperatures, coefficients, relative_errors, degrees_of_freedom)
    points = {
        'temperatures_k': temperatures.tolist(),
        'diffusion_coefficients_m2_s': coefficients.tolist(),
        'relative_errors': relative_errors.tolist(),
        'excluded_temperatures_k': excluded,
    }
    return orm.Dict(describe(fit) | points)


def describe(fit: ArrheniusFit) -> dict[str, object]:
    """Return a fit of D in m²/s as plain values."""
    return {
        'activation_energy_ev': fit.activation_energy,
        'activation_energy_error_ev': fit.activation_energy_error,
        'ci95_ev': list(fit.activation_energy_interval),
        'prefactor_m2_s': math.exp(fit.ln_prefactor),
        'ln_prefactor_m2_s': fit.ln_prefactor,
        'ln_prefactor_error': fit.ln_prefactor_error,
        'covariance': fit.covariance.tolist(),
        'chi_squared': fit.chi_squared if fit.points > 2 else None,
        'degrees_of_freedom': fit.points - 2,
        'interval_factor': fit.interval_factor,
    }
