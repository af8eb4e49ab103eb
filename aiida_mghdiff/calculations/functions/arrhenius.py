"""Activation energy from diffusion coefficients at several temperatures."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.exit_codes import refusing
from aiida_mghdiff.data.results import ArrheniusResults, DiffusionResults, Line, Prediction
from aiida_mghdiff.science.arrhenius import (
    ArrheniusFit,
    TooFewTemperaturesError,
    effective_temperature,
    fit_arrhenius,
)

#: Temperatures of predictions in addition to the fit's: plain MD sees no jumps there.
PREDICTED_TEMPERATURES_K = (250.0, 300.0)
_ITERATIONS = 5


@refusing(TooFewTemperaturesError)
@calcfunction
def arrhenius_fit(**diffusion: orm.Dict) -> orm.Dict:
    """Return activation energy, prefactor and their covariance (see ``science.arrhenius``).

    Each point is placed at its effective temperature, where the fitted D equals the mean over the replicas'
    temperatures. The relative error over all tracers gives its weight. Temperatures without diffusion have no D and are
    left out; the result names them. With two temperatures ``chi_squared`` is null. ``predictions`` gives D on the line
    at the temperatures of the fit and at 250 and 300 K, with intervals and the flag ``extrapolated``.

    :param diffusion: results of ``diffusion_coefficient``, one for each temperature, by any keys.
    """
    nodes = [node.get_dict() for node in diffusion.values()]
    results: list[Any] = sorted(nodes, key=lambda result: result['temperature_k'])  # each as `DiffusionResults`
    used = [result for result in results if result['diffusing']]
    fit, temperatures = fit_replicas(used)
    found: ArrheniusResults = {
        **fit_results(fit),
        'temperatures_k': temperatures,
        'diffusion_coefficients_m2_s': [result['diffusion_coefficient_m2_s'] for result in used],
        'relative_errors': [result['relative_error'] for result in used],
        'excluded_temperatures_k': [result['temperature_k'] for result in results if not result['diffusing']],
        'predictions': [
            predict(fit, temperature) for temperature in sorted({*PREDICTED_TEMPERATURES_K, *temperatures})
        ],
    }
    return orm.Dict(dict(found))


def fit_replicas(results: list[DiffusionResults]) -> tuple[ArrheniusFit, list[float]]:
    """Return the fit and the temperatures of its points, which follow from its activation energy and are iterated.

    :raises TooFewTemperaturesError: see ``fit_arrhenius``.
    """
    coefficients = np.array([result['diffusion_coefficient_m2_s'] for result in results])
    errors = coefficients * [result['relative_error'] for result in results]
    degrees_of_freedom = sum(result['relative_error_degrees_of_freedom'] for result in results)
    temperatures = [result['temperature_k'] for result in results]
    for _ in range(_ITERATIONS):
        fit = fit_arrhenius(temperatures, coefficients, errors, degrees_of_freedom)
        energy = fit.activation_energy_ev
        temperatures = [effective_temperature(result['replica_temperatures_k'], energy) for result in results]
    return fit, temperatures


def predict(fit: ArrheniusFit, temperature_k: float) -> Prediction:
    """Return D on the line at one temperature as plain values."""
    value, low, high = map(float, fit.predict(temperature_k))
    return {
        'temperature_k': temperature_k,
        'diffusion_coefficient_m2_s': value,
        'ci95_m2_s': [low, high],
        'extrapolated': bool(fit.extrapolates(temperature_k)),
    }


def fit_results(fit: ArrheniusFit) -> Line:
    """Return a fit of D in m²/s as plain values."""
    points = len(fit.temperatures_k)
    return {
        'activation_energy_ev': fit.activation_energy_ev,
        'activation_energy_error_ev': fit.activation_energy_error_ev,
        'ci95_ev': list(fit.interval()),
        'prefactor_m2_s': fit.prefactor,
        'ln_prefactor_m2_s': fit.ln_prefactor,
        'ln_prefactor_error': fit.ln_prefactor_error,
        'covariance': fit.covariance.tolist(),
        'chi_squared': fit.chi_squared if points > 2 else None,
        'degrees_of_freedom': points - 2,
        'interval_factor': fit.interval_factor(),
    }
