"""A segment continues after failures that it can repair, and stops if a repetition would end the same way."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ended_nodes import inspect
from plumpy import ProcessState
from vasp_runs import make_force_field

from aiida_mghdiff.calculations.vasp.md import VaspMdCalculation, output_block
from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.workflows.md import MolecularDynamicsWorkChain
from aiida_mghdiff.workflows.segment import MdSegmentWorkChain


def make_state(step, atoms):
    """Return a state at rest."""
    return MdStateData.from_arrays(atoms.numbers, atoms.cell.array, atoms.positions, np.zeros((len(atoms), 3)), step)


@pytest.fixture
def atoms(host):
    """The host with one H."""
    atoms = host.get_ase()
    atoms.append('H')
    atoms.positions[-1] = (0.0, 0.0, 2.595)
    return atoms


@pytest.fixture
def inputs(codes, tiny_potential, atoms):
    """Inputs of a segment of 100 steps."""
    parameters = MolecularDynamicsWorkChain.get_md_parameters('mace', 'nvt', 'smoke')
    return {
        'codes': {'python': codes['python']},
        'potential': tiny_potential,
        'structure': orm.StructureData(ase=atoms),
        'parameters': orm.Dict(parameters | {'temperature_k': 300.0, 'seed': 1, 'first_step': 0}),
        'options': {'default': orm.Dict({'resources': {'num_machines': 1}})},
    }


@pytest.fixture
def segment(generate_workchain, inputs):
    """A segment after its setup."""
    process = generate_workchain(MdSegmentWorkChain, inputs)
    process.setup()
    return process


def test_continues_from_the_state_of_a_job_without_time(segment, generate_job_node, atoms):
    state = make_state(40, atoms)
    assert inspect(segment, generate_job_node('mghdiff.ase.md', 400, {'state': state})).status == 0
    parameters = segment.ctx.inputs['parameters']
    assert (parameters['first_step'], parameters['steps']) == (40, 60)
    assert segment.ctx.inputs['state'].uuid == state.uuid
    assert 'structure' not in segment.ctx.inputs
    assert parameters.creator.process_label == 'segment_parameters'
    assert set(parameters.creator.inputs) == {'parameters', 'state'}


def test_stops_where_a_job_makes_no_step(segment, generate_job_node, atoms):
    node = generate_job_node('mghdiff.ase.md', 400, {'state': make_state(0, atoms)})
    assert inspect(segment, node) == segment.exit_codes.ERROR_NO_PROGRESS


@pytest.mark.parametrize('status', [420, 520])
def test_stops_where_the_run_is_unphysical(segment, generate_job_node, status):
    code = inspect(segment, generate_job_node('mghdiff.ase.md', status))
    assert code.status == segment.exit_codes.ERROR_UNPHYSICAL.status
    assert 'as made' in code.message


@pytest.mark.parametrize('status', [210, 211, 212, 213, 215])
def test_stops_where_the_program_refused(segment, generate_job_node, status):
    assert inspect(segment, generate_job_node('mghdiff.ase.md', status)).status == status


def test_repeats_a_crash_once(segment, generate_job_node):
    assert inspect(segment, generate_job_node('mghdiff.ase.md', 303)) is None
    assert inspect(segment, generate_job_node('mghdiff.ase.md', 303)) == segment.exit_codes.ERROR_UNHANDLED_FAILURE


@pytest.mark.parametrize(
    ('state', 'name'),
    [('excepted', 'ERROR_SUB_PROCESS_EXCEPTED'), ('killed', 'ERROR_SUB_PROCESS_KILLED')],
)
def test_job_that_came_to_no_end_stops_the_segment(segment, generate_job_node, state, name):
    node = generate_job_node('mghdiff.ase.md')
    node.set_process_state(ProcessState(state))
    assert inspect(segment, node) == segment.exit_codes[name]


def test_most_jobs(generate_workchain, inputs, generate_job_node, atoms):
    process = generate_workchain(MdSegmentWorkChain, inputs | {'max_iterations': orm.Int(1)})
    process.setup()
    node = generate_job_node('mghdiff.ase.md', 400, {'state': make_state(40, atoms)})
    assert inspect(process, node) == process.exit_codes.ERROR_MAXIMUM_ITERATIONS_EXCEEDED


def test_needs_a_code_of_an_engine(generate_workchain, inputs):
    inputs['codes'] = {}
    with pytest.raises(ValueError, match=r'codes\.lammps or codes\.python'):
        generate_workchain(MdSegmentWorkChain, inputs)


def test_refuses_unknown_elements_and_incomplete_parameters(generate_workchain, inputs, atoms):
    atoms.symbols[0] = 'Fe'
    with pytest.raises(ValueError, match='does not know Fe;'):
        generate_workchain(MdSegmentWorkChain, inputs | {'structure': orm.StructureData(ase=atoms)})
    parameters = inputs['parameters'].get_dict()
    del parameters['seed']
    with pytest.raises(ValueError, match='lack seed'):
        generate_workchain(MdSegmentWorkChain, inputs | {'parameters': orm.Dict(parameters)})
    parameters = inputs['parameters'].get_dict() | {'temperature_k': 0.5}
    with pytest.raises(ValueError, match='temperature of at least 1 K'):
        generate_workchain(MdSegmentWorkChain, inputs | {'parameters': orm.Dict(parameters)})


@pytest.fixture
def own_lammps(inputs, codes, tmp_path, aiida_code_installed):
    """Inputs of a segment with an ``lmp`` that reads only converted models, like one built with MACE."""
    lmp = tmp_path / 'lmp'
    lmp.write_text(
        '#!/bin/sh\n'
        '[ -s potential.model-lammps.pt ] || { echo "ERROR: there is no potential.model-lammps.pt"; exit 1; }\n'
        f'exec {codes["lammps"].filepath_executable} "$@"\n'
    )
    lmp.chmod(0o755)
    converter = codes['python'].filepath_executable.parent / 'mace_create_lammps_model'
    files = {'lammps': lmp, 'convert': converter}
    return inputs | {
        'codes': {
            name: aiida_code_installed(label=f'own-{name}', filepath_executable=str(path))
            for name, path in files.items()
        },
    }


def test_launcher_needs_no_converter(generate_workchain, inputs, codes):
    process = generate_workchain(MdSegmentWorkChain, inputs | {'codes': {'lammps': codes['lammps']}})
    process.setup()
    assert process.ctx.inputs['code'].uuid == codes['lammps'].uuid
    assert 'convert_code' not in process.ctx.inputs


def test_own_lammps_needs_a_converter(generate_workchain, own_lammps):
    alone = {'lammps': own_lammps['codes']['lammps']}
    with pytest.raises(ValueError, match=r'codes\.convert is missing: own-lammps@.*`aiida-mghdiff setup --lmp`'):
        generate_workchain(MdSegmentWorkChain, own_lammps | {'codes': alone})


@pytest.mark.slow
def test_own_lammps_runs_with_its_converter(own_lammps):
    outputs, node = run_get_node(MdSegmentWorkChain, **own_lammps)
    assert node.is_finished_ok, node.exit_message
    assert outputs['state'].step == 100
    (job,) = node.called
    assert job.inputs.convert_code.label == 'own-convert'


@pytest.fixture
def vasp_inputs(inputs, atoms, tmp_path, aiida_code_installed):
    """Inputs of a segment with a force field of VASP."""
    parameters = MolecularDynamicsWorkChain.get_md_parameters('vasp-mlff', 'nvt', 'smoke')
    return inputs | {
        'codes': {
            name: aiida_code_installed(label=name, filepath_executable='/bin/true') for name in ('vasp', 'reduce')
        },
        'potential': make_force_field(tmp_path),
        'potcars': placeholder_potcars(['Mg', 'H']),
        'parameters': orm.Dict(parameters | {'temperature_k': 300.0, 'seed': 1, 'first_step': 0}),
    }


def test_force_field_of_vasp_brings_potcars_and_reducing_code(generate_workchain, vasp_inputs):
    process = generate_workchain(MdSegmentWorkChain, vasp_inputs)
    process.setup()
    assert process.process_class is VaspMdCalculation
    assert set(process.ctx.inputs['potcars']) == {'Mg', 'H'}
    assert process.ctx.inputs['reduce_code'].label == 'reduce'


def test_force_field_of_vasp_needs_code_and_potcars(generate_workchain, vasp_inputs):
    with pytest.raises(ValueError, match=r'no POTCAR for H'):
        generate_workchain(MdSegmentWorkChain, vasp_inputs | {'potcars': placeholder_potcars(['Mg'])})
    with pytest.raises(ValueError, match=r'needs codes\.vasp'):
        generate_workchain(MdSegmentWorkChain, vasp_inputs | {'codes': {}})


def with_tags(inputs, **tags):
    return inputs | {'parameters': orm.Dict(inputs['parameters'].get_dict() | {'incar': tags})}


def test_tags_of_the_user_are_in_each_job_of_vasp(generate_workchain, vasp_inputs, generate_job_node, atoms):
    process = generate_workchain(MdSegmentWorkChain, with_tags(vasp_inputs, ncore=8))
    process.setup()
    assert process.ctx.inputs['parameters']['incar'] == {'ncore': 8}
    inspect(process, generate_job_node('mghdiff.vasp.md', 400, {'state': make_state(40, atoms)}))
    assert process.ctx.inputs['parameters']['first_step'] == 40
    assert process.ctx.inputs['parameters']['incar'] == {'ncore': 8}


def test_tags_that_the_job_sets_or_that_no_engine_reads_are_refused(generate_workchain, inputs, vasp_inputs):
    with pytest.raises(ValueError, match='parameters: incar: tebeg cannot be given'):
        generate_workchain(MdSegmentWorkChain, with_tags(vasp_inputs, tebeg=300.0))
    with pytest.raises(ValueError, match='incar has tags for VASP, but VASP does not run this potential'):
        generate_workchain(MdSegmentWorkChain, with_tags(inputs, ncore=8))


def test_vasp_writes_what_is_wanted_alone_wherever_a_run_goes_on(
    generate_workchain, vasp_inputs, generate_job_node, atoms
):
    """A short job up to the next written step, one that writes every tenth, and a short one to the end."""
    strides = {'tracer_stride': 10, 'thermo_stride': 10, 'frame_stride': 100, 'ensemble': 'nve'}
    parameters = {key: value for key, value in vasp_inputs['parameters'].get_dict().items() if key != 'friction_per_ps'}
    parameters |= strides | {'first_step': 7, 'steps': 95}
    del vasp_inputs['structure']
    inputs = vasp_inputs | {'parameters': orm.Dict(parameters), 'state': make_state(7, atoms)}
    process = generate_workchain(MdSegmentWorkChain, inputs)
    process.setup()
    for first, steps, block in ((7, 3, 1), (10, 90, 10), (100, 2, 2)):
        job = process.ctx.inputs['parameters'].get_dict()
        assert (job['first_step'], job['steps'], output_block(job)) == (first, steps, block)
        creator = process.ctx.inputs['parameters'].creator
        assert creator.process_label == 'block_parameters'
        assert creator.inputs.parameters.uuid == process.inputs.parameters.uuid
        assert not process.ctx.is_finished
        state = make_state(first + steps, atoms)
        assert inspect(process, generate_job_node('mghdiff.vasp.md', 0, {'state': state})).status == 0
    assert process.ctx.is_finished


def test_other_engines_run_a_segment_in_one_job(segment):
    assert segment.ctx.inputs['parameters'].uuid == segment.inputs.parameters.uuid


def test_run_that_made_all_its_steps_is_over_though_a_file_is_damaged(segment, generate_job_node, atoms):
    state = make_state(100, atoms)
    assert inspect(segment, generate_job_node('mghdiff.ase.md', 310, {'state': state})).status == 0
    assert segment.ctx.is_finished


def test_goes_on_from_the_state_of_a_job_that_was_killed(generate_workchain, vasp_inputs, generate_job_node, atoms):
    process = generate_workchain(MdSegmentWorkChain, vasp_inputs)
    process.setup()
    state = make_state(40, atoms)
    assert inspect(process, generate_job_node('mghdiff.vasp.md', 310, {'state': state})).status == 0
    assert process.ctx.inputs['parameters']['first_step'] == 40
    assert set(process.ctx.inputs['potcars']) == {'Mg', 'H'}
