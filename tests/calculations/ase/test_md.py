"""The MD job: inputs, and real runs with CHGNet and a tiny MACE through AiiDA."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from md_parameters import md_parameters
from training_inputs import make_chgnet

from aiida_mghdiff.calculations.ase.md import AseMdCalculation, validate_inputs
from aiida_mghdiff.calculations.md import ENSEMBLE_KEYS
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.potential import PotentialData


def parameters(ensemble='nve', **changes):
    values = {'steps': 10, 'seed': 3, 'tracer_stride': 2, 'thermo_stride': 1, 'frame_stride': 5}
    values = md_parameters(ensemble, **values | changes)
    assert set(values) == set(ENSEMBLE_KEYS[ensemble])
    return values


@pytest.fixture
def structure(host):
    atoms = host.get_ase()
    atoms.append('H')
    atoms.positions[-1] = atoms.positions[0] + [1.6, 0.92, 1.3]
    return orm.StructureData(ase=atoms)


@pytest.fixture
def inputs(codes, tiny_potential, structure):
    return {
        'code': codes['python'],
        'potential': tiny_potential,
        'structure': structure,
        'parameters': orm.Dict(parameters()),
    }


def continuation(inputs, state, **changes):
    """Return inputs that continue from a state."""
    kept = {key: value for key, value in inputs.items() if key != 'structure'}
    values = inputs['parameters'].get_dict() | {'first_step': state.step} | changes
    return kept | {'state': state, 'parameters': orm.Dict(values)}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'evaluator': 'symmetrix'}, 'evaluator'),
        ({'temperature_k': 0.5}, 'at least 1 K'),
        ({'ensemble': 'nph'}, 'ensemble'),
        ({'friction_per_ps': 3.0}, 'parameters.friction_per_ps: no such key'),
        ({'tracer_element': 'He'}, 'no He atom'),
        ({'dtype': 'float16'}, 'dtype'),
    ],
)
def test_refuses_parameters(inputs, changes, message):
    assert validate_inputs(inputs) is None
    assert message in validate_inputs(inputs | {'parameters': orm.Dict(parameters() | changes)})


def test_refuses_a_missing_parameter(inputs):
    values = parameters()
    del values['seed']
    assert 'lack seed' in validate_inputs(inputs | {'parameters': orm.Dict(values)})


def test_refuses_double_precision_with_chgnet(inputs):
    assert 'float32' in validate_inputs(inputs | {'potential': make_chgnet()})


def test_refuses_a_potential_that_ase_cannot_run(inputs):
    inputs['potential'].base.attributes.set('architecture', 'vasp-mlff')
    assert 'not vasp-mlff' in validate_inputs(inputs)


def test_npt_with_mace(inputs):
    outputs, node = run_get_node(AseMdCalculation, **(inputs | {'parameters': orm.Dict(parameters('npt'))}))
    assert node.is_finished_ok, node.exit_message
    results = outputs['results'].get_dict()
    assert results['completed']
    assert results['last_step'] == 10
    assert 'piston' in results['barostat']
    assert 'BAOAB' in results['thermostat']
    np.testing.assert_array_equal(outputs['tracers'].steps, [0, 2, 4, 6, 8, 10])
    assert outputs['tracers'].get_array('cells').shape == (6, 3, 3)
    np.testing.assert_array_equal(outputs['trajectory'].get_stepids(), [0, 5, 10])
    np.testing.assert_array_equal(outputs['thermo'].get_array('steps'), np.arange(11))
    assert outputs['state'].has_restart_file


@pytest.mark.slow
def test_two_segments_are_one_run(inputs):
    """Two segments give the same final state as one run; the state passes through AiiDA nodes."""
    npt = {'parameters': orm.Dict(parameters('npt', steps=20))}
    whole, _ = run_get_node(AseMdCalculation, **(inputs | npt))
    half, _ = run_get_node(AseMdCalculation, **(inputs | {'parameters': orm.Dict(parameters('npt'))}))
    rest, node = run_get_node(AseMdCalculation, **continuation(inputs | npt, half['state'], steps=10))
    assert node.is_finished_ok, node.exit_message
    for name in ('positions', 'velocities', 'cell'):
        expected = whole['state'].get_array(name)
        np.testing.assert_allclose(rest['state'].get_array(name), expected, atol=1e-9)
    assert rest['results']['last_step'] == rest['state'].step == 20
    np.testing.assert_array_equal(rest['tracers'].steps, [12, 14, 16, 18, 20])
    np.testing.assert_array_equal(rest['trajectory'].get_stepids(), [15, 20])
    np.testing.assert_array_equal(rest['thermo'].get_array('steps'), np.arange(11, 21))


def test_nve_with_chgnet(inputs):
    values = parameters(dtype='float32', steps=30)
    outputs, node = run_get_node(
        AseMdCalculation, **(inputs | {'potential': make_chgnet(), 'parameters': orm.Dict(values)})
    )
    assert node.is_finished_ok, node.exit_message
    results = outputs['results'].get_dict()
    assert results['evaluator'] == 'torch'
    assert results['dtype'] == 'float32'
    assert results['energy_drift_error_mev_per_atom_ns'] > 0
    assert results['thermostat'] is None
    assert results['versions']['chgnet']
    assert not outputs['state'].has_restart_file
    assert outputs['tracers'].get_array('cell').shape == (3, 3)


def test_a_new_run_does_not_take_over_the_random_state(inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a dry run leaves its folder here
    atoms = inputs['structure'].get_ase()
    restart = json.dumps({'random_state': {'bit_generator': 'PCG64'}, 'cell': {}}).encode()
    state = MdStateData.from_arrays(
        atoms.numbers,
        atoms.cell.array,
        atoms.positions,
        np.zeros_like(atoms.positions),
        2,
        restart=restart,
        engine='ase',
        ensemble='nvt',
    )
    nvt = {'parameters': orm.Dict(parameters('nvt'))}
    restarts = {}
    for first_step, ensemble in ((2, 'nvt'), (0, 'nvt'), (2, 'npt')):
        builder = continuation(inputs | nvt, state) | {
            'parameters': orm.Dict(parameters(ensemble, first_step=first_step)),
            'metadata': {'dry_run': True, 'store_provenance': False},
        }
        _, node = run_get_node(AseMdCalculation, **builder)
        content = json.loads(Path(node.dry_run_info['folder'], 'input.json').read_text())
        restarts[first_step, ensemble] = content['restart']
    assert restarts[2, 'nvt']['random_state']['bit_generator'] == 'PCG64'
    assert restarts[0, 'nvt'] is None
    assert restarts[2, 'npt'] is None
    message = validate_inputs(continuation(inputs | nvt, state, first_step=7))
    assert 'state is of step 2' in message


@pytest.mark.slow
def test_stops_before_its_wall_time(inputs):
    inputs['metadata'] = {'options': {'max_wallclock_seconds': 60}}
    inputs['parameters'] = orm.Dict(
        parameters(steps=500_000, thermo_stride=1000, tracer_stride=1000, frame_stride=1000)
    )
    outputs, node = run_get_node(AseMdCalculation, **inputs)
    assert node.exit_status == 400
    assert outputs['results']['completed'] is False
    assert outputs['state'].step == outputs['results']['last_step'] < 500_000


@pytest.mark.slow
def test_temperature_that_runs_away(inputs):
    inputs['parameters'] = orm.Dict(parameters(time_step_fs=50.0, steps=200, temperature_k=900.0))
    _, node = run_get_node(AseMdCalculation, **inputs)
    assert node.exit_status == 520
    assert 'ran away' in node.exit_message


@pytest.mark.slow
def test_forces_that_are_not_finite(inputs, tiny_mace, tmp_path):
    import torch

    model = torch.load(tiny_mace, weights_only=False)
    with torch.no_grad():
        model.atomic_energies_fn.atomic_energies.fill_(float('nan'))
    torch.save(model, tmp_path / 'broken.model')
    attributes = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    inputs['potential'] = PotentialData.from_file(tmp_path / 'broken.model', **attributes)
    _, node = run_get_node(AseMdCalculation, **inputs)
    assert node.exit_status == 420
    assert 'step 0' in node.exit_message


def test_elements_that_the_potential_does_not_know(inputs):
    inputs['potential'].base.attributes.set('elements', ['Mg'])
    with pytest.raises(ValueError, match='does not know H;'):
        run_get_node(AseMdCalculation, **inputs)
