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
            'replica_temperatures_k': [temperature] * 3,
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
    assert values['interval_factor'] == pytest.approx(1.995, abs=1e-3)  # Student's t for 69 degrees of freedom
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


def test_replicas_at_several_temperatures_lie_on_the_line():
    def mean_of(temperatures):
        values = [point(temperature).get_dict()['diffusion_coefficient_m2_s'] for temperature in temperatures]
        changes = {'diffusion_coefficient_m2_s': np.mean(values), 'replica_temperatures_k': temperatures}
        return orm.Dict(point(np.mean(temperatures)).get_dict() | changes)

    values = arrhenius_fit(t1=mean_of([280.0, 300.0, 320.0]), t2=mean_of([460.0, 500.0]), t3=point(650.0)).get_dict()
    assert values['activation_energy_ev'] == pytest.approx(0.22, rel=1e-6)
    assert values['temperatures_k'][0] == pytest.approx(302.8, abs=0.1)


def test_extrapolation_is_marked():
    predictions = arrhenius_fit(t1=point(300.0), t2=point(480.0), t3=point(673.0)).get_dict()['predictions']
    assert [(value['temperature_k'], value['extrapolated']) for value in predictions] == [
        (250, True),
        (300, False),
        (480, False),
        (673, False),
    ]
    exact = 1e-7 * np.exp(-0.22 / (BOLTZMANN_EV_PER_K * 250))
    assert predictions[0]['diffusion_coefficient_m2_s'] == pytest.approx(exact)
    low, high = predictions[0]['ci95_m2_s']
    assert low < exact < high
    assert high / low > predictions[2]['ci95_m2_s'][1] / predictions[2]['ci95_m2_s'][0]
