"""The vibrations job: inputs, and real runs through AiiDA."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import run_get_node
from host_datasets import path_ends

from aiida_mghdiff.calculations.ase.vibrations import AseVibrationsCalculation, validate_inputs
from aiida_mghdiff.workflows.protocol import protocol_inputs


def parameters(**changes):
    return orm.Dict(protocol_inputs('vibrations')['parameters'] | changes)


@pytest.fixture
def inputs(codes, tiny_potential, host):
    return {
        'code': codes['python'],
        'potential': tiny_potential,
        'structure': path_ends(host)[0],
        'parameters': parameters(),
    }


def test_refuses(inputs, host):
    assert validate_inputs(inputs) is None
    assert 'no H atom' in validate_inputs(inputs | {'structure': host})
    assert 'expected_imaginary_modes' in validate_inputs(
        inputs | {'parameters': parameters(expected_imaginary_modes=2)}
    )
    inputs['potential'].base.attributes.set('elements', ['Mg'])
    assert 'does not know H;' in validate_inputs(inputs)


def test_wrong_number_of_imaginary_modes(inputs):
    """The job gives the frequencies even if they show another kind of stationary point."""
    inputs['parameters'] = parameters(expected_imaginary_modes=1)
    outputs, node = run_get_node(AseVibrationsCalculation, **inputs)
    assert node.exit_status == 530, node.exit_message
    assert 'a saddle point has one' in node.exit_message
    results = outputs['results'].get_dict()
    assert len(results['energies_mev']) == 3
    assert results['n_imaginary_modes'] == 0
    assert outputs['modes'].get_array('hessian_ev_per_angstrom2').shape == (3, 3)


@pytest.mark.slow
def test_minimum(inputs):
    outputs, node = run_get_node(AseVibrationsCalculation, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert outputs['results']['zero_point_energy_ev'] > 0.05
