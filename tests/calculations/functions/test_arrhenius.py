"""Activation energies from nodes."""

import numpy as np
import pytest
from aiida import orm

from aiida_mghdiff.calculations.functions.arrhenius import arrhenius_fit
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K


def point(temperature, diffusing=True, error=0.1, energy=0.22):
    coefficient = 1e-7 * np.exp(-energy / (BOLTZMANN_EV_PER_K * temperature)) if diffusing else None
    return orm.Dict(
        {
            'temperature_k': temperature,
            'diffusion_coefficient_m2_s': coefficient,
            'relative_error': error if diffusing else None,
            'relative_error_degrees_of_freedom': 23,
            'diffusing': diffusing,
        }
    )


def test_known_line():
    values = arrhenius_fit(t1=point(673.0), t2=point(300.0, error=0.3), t3=point(480.0)).get_dict()
    assert values['activation_energy_ev'] == pytest.approx(0.22)
    assert values['prefactor_m2_s'] == pytest.approx(1e-7)
    assert values['temperatures_k'] == [300, 480, 673]
    assert values['relative_errors'] == [0.3, 0.1, 0.1]
    assert values['chi_squared'] == pytest.approx(0, abs=1e-10)
    half = values['interval_factor'] * values['activation_energy_error_ev']
    assert values['ci95_ev'] == pytest.approx([0.22 - half, 0.22 + half])
    assert values['interval_factor'] == pytest.approx(1.995, abs=1e-3)  # t of 69 degrees of freedom
    assert np.shape(values['covariance']) == (2, 2)


def test_temperatures_without_diffusion_are_named():
    values = arrhenius_fit(t1=point(300.0, diffusing=False), t2=point(480.0), t3=point(673.0)).get_dict()
    assert values['excluded_temperatures_k'] == [300]
    assert values['activation_energy_ev'] == pytest.approx(0.22)
    assert (values['chi_squared'], values['degrees_of_freedom']) == (None, 0)


@pytest.mark.parametrize(
    'points',
    [
        {},
        {'t1': (480.0, True)},
        {'t1': (480.0, True), 't2': (481.0, True)},
        {'t1': (480.0, True), 't2': (300.0, False)},
    ],
)
def test_one_temperature_is_not_enough(points):
    _, node = arrhenius_fit.run_get_node(**{key: point(*values) for key, values in points.items()})
    assert node.exit_status == 227
    assert 'two distinct temperatures' in node.exit_message
    assert list(node.outputs) == []
