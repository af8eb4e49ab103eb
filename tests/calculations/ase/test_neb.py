"""The ciNEB job: inputs, and real searches through AiiDA."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from host_datasets import path_ends
from training_inputs import make_chgnet

from aiida_mghdiff.calculations.ase.neb import AseNebCalculation, validate_inputs
from aiida_mghdiff.workflows.protocol import protocol_inputs


def parameters(**changes):
    return orm.Dict(protocol_inputs('neb', 'smoke')['parameters'] | changes)


@pytest.fixture
def inputs(codes, tiny_potential, host):
    initial, final = path_ends(host)
    return {
        'code': codes['python'],
        'potential': tiny_potential,
        'initial': initial,
        'final': final,
        'parameters': parameters(),
    }


def test_refuses(inputs, host):
    assert validate_inputs(inputs) is None
    assert 'same atoms' in validate_inputs(inputs | {'final': host})
    larger = inputs['final'].get_ase()
    larger.cell *= 1.01
    assert 'same cell' in validate_inputs(inputs | {'final': orm.StructureData(ase=larger)})
    assert 'n_images' in validate_inputs(inputs | {'parameters': parameters(n_images=0)})
    assert 'parameters.images: no such key' in validate_inputs(inputs | {'parameters': parameters(images=3)})
    assert 'float32' in validate_inputs(inputs | {'potential': make_chgnet()})
    restart = orm.TrajectoryData([host])
    assert 'restart has 1 images' in validate_inputs(inputs | {'restart': restart})
    inputs['potential'].base.attributes.set('elements', ['Mg'])
    assert 'does not know H;' in validate_inputs(inputs)


def test_not_converged_and_continued(inputs):
    """A search that runs out of steps keeps its outputs; the next one starts from its path."""
    tight = {'force_tolerance_ev_per_angstrom': 0.02, 'max_steps': 1}
    outputs, node = run_get_node(AseNebCalculation, **(inputs | {'parameters': parameters(**tight)}))
    assert node.exit_status == 510, node.exit_message
    assert 'eV/Å after 1 steps' in node.exit_message
    assert outputs['results']['converged'] is False
    again = inputs | {'restart': outputs['path'], 'parameters': parameters(force_tolerance_ev_per_angstrom=0.02)}
    outputs, node = run_get_node(AseNebCalculation, **again)
    assert node.is_finished_ok, node.exit_message
    results = outputs['results'].get_dict()
    assert results['converged']
    assert results['max_force_ev_per_angstrom'] <= 0.02
    assert results['forward_barrier_ev'] == pytest.approx(max(results['energies_ev']) - results['energies_ev'][0])
    assert results['saddle_image'] == 1
    path = outputs['path']
    assert path.numsteps == 3
    np.testing.assert_allclose(path.get_array('energies_ev'), results['energies_ev'])
    for name, index in (('initial_relaxed', 0), ('saddle', 1), ('final_relaxed', 2)):
        positions = outputs[name].get_ase().positions
        np.testing.assert_allclose(positions, path.get_array('positions')[index], atol=1e-9)


@pytest.mark.slow
def test_end_point_that_does_not_relax(inputs):
    inputs['parameters'] = parameters(endpoint_max_steps=1, endpoint_tolerance_ev_per_angstrom=1e-4)
    _, node = run_get_node(AseNebCalculation, **inputs)
    assert node.exit_status == 511
    assert 'initial' in node.exit_message


@pytest.mark.slow
def test_end_points_that_collapse(inputs):
    final = inputs['initial'].get_ase()
    final.positions[-1] += 0.15
    _, node = run_get_node(AseNebCalculation, **(inputs | {'final': orm.StructureData(ase=final)}))
    assert node.exit_status == 512
    assert 'one minimum' in node.exit_message


@pytest.mark.slow
def test_stops_before_its_wall_time(inputs):
    inputs['metadata'] = {'options': {'max_wallclock_seconds': 60}}
    inputs['parameters'] = parameters(force_tolerance_ev_per_angstrom=1e-12, max_steps=10**7, n_images=3)
    outputs, node = run_get_node(AseNebCalculation, **inputs)
    assert node.exit_status == 400
    assert outputs['path'].numsteps == 5


def test_path_up_to_the_point_between_two_sites(inputs):
    """A tracer exactly between two sites feels no force along the path, so relaxation leaves it there."""
    between = inputs['initial'].get_ase()
    between.positions[-1] = (between.positions[-1] + inputs['final'].get_ase().positions[-1]) / 2
    own = {'endpoint_displacement_angstrom': 0.0}
    inputs |= {'final': orm.StructureData(ase=between), 'parameters': parameters(**own)}
    outputs, node = run_get_node(AseNebCalculation, **inputs)
    assert node.is_finished_ok, node.exit_message
    results = outputs['results'].get_dict()
    assert results['reverse_barrier_ev'] is results['saddle_image'] is None
    assert 'the final end is no minimum of this potential' in results['reverse_barrier_reason']
    assert results['forward_barrier_ev'] == pytest.approx(max(results['energies_ev']) - results['energies_ev'][0])
    assert {'path', 'initial_relaxed', 'final_relaxed'} <= set(outputs)
    assert 'saddle' not in outputs
