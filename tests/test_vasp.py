"""The stand-in in VASP's place: it learns, refits, runs, is stopped and killed, and yields a diffusion coefficient."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.calculators.singlepoint import SinglePointCalculator
from vasp_md_runs import START, mlff_inputs, mlff_settings, mlff_tags, vasp_md_parameters

from aiida_mghdiff.calculations.functions.merge import merge_datasets
from aiida_mghdiff.calculations.vasp.evaluate import VaspEvaluateCalculation
from aiida_mghdiff.calculations.vasp.md import VaspMdCalculation
from aiida_mghdiff.calculations.vasp.mlff import VaspMlffCalculation
from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.executables.vasp_standin.force_field import ForceField
from aiida_mghdiff.formats.iconst import iconst_text
from aiida_mghdiff.formats.ml_ff import read_ml_ff_payload
from aiida_mghdiff.formats.mlab import read_mlab
from aiida_mghdiff.workflows.diffusion import DiffusionWorkChain
from aiida_mghdiff.workflows.learning_segment import LearningSegmentWorkChain

pytestmark = pytest.mark.slow

STANDIN = Path(sys.executable).with_name('mghdiff-vasp-standin')
LABELS = 'standin:chgnet-r2scan'
OPTIONS = {'withmpi': False, 'environment_variables': {'OMP_NUM_THREADS': '1'}}


def run(process_class, **inputs):
    """Run a job; return its exit status and outputs."""
    outputs, node = run_get_node(process_class, **inputs)
    return node, outputs


@pytest.fixture(scope='module')
def code(aiida_profile, tmp_path_factory):
    """The stand-in and a Python interpreter on this machine."""
    computer = orm.Computer('live', 'localhost', transport_type='core.local', scheduler_type='core.direct')
    computer.set_workdir(str(tmp_path_factory.mktemp('vasp')))
    computer.set_default_mpiprocs_per_machine(1)
    computer.store().configure(safe_interval=0.0, use_login_shell=False)
    computer.set_minimum_job_poll_interval(0.5)
    return {
        'vasp': orm.InstalledCode(computer=computer, filepath_executable=str(STANDIN), label='vasp').store(),
        'reduce': orm.InstalledCode(computer=computer, filepath_executable=sys.executable, label='reduce').store(),
    }


def learning_inputs(code, steps=40, **changes):
    inputs = mlff_inputs(code['vasp'])
    tags = mlff_tags(nsw=steps, ml_mconf_new=2, ml_ctifor=0.02, ml_mb=400, pmass=50.0)
    return (
        inputs
        | {
            'parameters': orm.Dict(tags),
            'iconst': shape_file(),
            'metadata': {'options': OPTIONS},
        }
        | changes
    )


def shape_file():
    return orm.SinglefileData(io.StringIO(iconst_text(START.cell.array, 'fixed')), 'ICONST')


@pytest.fixture(scope='module')
def learned(code):
    """A first segment, learned from nothing."""
    node, outputs = run(VaspMlffCalculation, **learning_inputs(code))
    assert node.is_finished_ok, node.exit_message
    return outputs


@pytest.fixture(scope='module')
def force_field(code, learned):
    """The same force field in fast mode."""
    inputs = learning_inputs(code) | {
        'parameters': orm.Dict({'encut': 600, 'ml_lmlff': True, 'ml_mode': 'refit'}),
        'configurations': {'part000': learned['dataset']},
        'learning_state': learned['learning_state'],
    }
    del inputs['iconst']
    node, outputs = run(VaspMlffCalculation, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert outputs['force_field'].base.attributes.get('fast') is True
    return outputs['force_field']


def test_learning_from_nothing(learned):
    results, dataset = learned['results'].get_dict(), learned['dataset']
    assert (results['completed'], results['last_step'], results['labelled_by']) == (True, 40, LABELS)
    assert results['versions']['vasp'].startswith('vasp.6.4.2-standin')
    assert dataset.base.attributes.get('labelled_by') == LABELS
    assert 0 < results['n_dft_steps'] < 40
    assert results['n_new_configurations'] == results['n_dft_steps']
    assert dataset.get_array('steps').min() == 0
    assert np.isfinite(dataset.get_array('temperatures_k')).all()
    assert len(learned['learning_state'].get_array('order')) == results['n_configurations']
    assert results['training_rmse_force_ev_per_angstrom'] < 0.1
    assert learned['tracers'].steps.tolist() == list(range(0, 44, 4))


def next_segment(code, learned, steps=20, **tags):
    """Return the inputs that continue a first segment."""
    inputs = learning_inputs(code, steps) | {
        'settings': orm.Dict(mlff_settings(first_step=learned['state'].step)),
        'state': learned['state'],
        'configurations': {'part000': learned['dataset']},
        'learning_state': learned['learning_state'],
    }
    inputs['parameters'] = orm.Dict(inputs['parameters'].get_dict() | tags)
    del inputs['structure']
    return inputs


def test_next_segment_starts_with_the_force_field_of_the_last(code, learned):
    """ML_AB equals the last segment's ML_ABN in each number; the weights then agree to rounding."""
    node, outputs = run(VaspMlffCalculation, **next_segment(code, learned, steps=2, ml_ctifor=50.0, ml_icriteria=0))
    assert node.is_finished_ok, node.exit_message
    assert outputs['results']['n_dft_steps'] == 0
    folders = [Path(part['remote_folder'].get_remote_path()) for part in (learned, outputs)]
    left, right = read_mlab(folders[0] / 'ML_ABN'), read_mlab(folders[1] / 'ML_AB')
    assert left.ctifor == right.ctifor
    assert all(np.array_equal(left.basis[element], right.basis[element]) for element in ('Mg', 'H'))
    for one, other in zip(left.frames, right.frames, strict=True):
        assert np.array_equal(one.positions, other.positions)
        assert np.array_equal(one.cell, other.cell)
        assert all(np.array_equal(one.calc.results[key], other.calc.results[key]) for key in ('forces', 'stress'))
        assert one.calc.results['energy'] == other.calc.results['energy']
    one, other = (np.load(io.BytesIO(read_ml_ff_payload(folder / 'ML_FFN'))) for folder in folders)
    for name in one:
        assert np.allclose(one[name], other[name], rtol=1e-6, atol=1e-7 * np.abs(one[name]).max())
    assert np.array_equal(outputs['learning_state'].get_array('order'), learned['learning_state'].get_array('order'))


def test_next_segment_goes_on(code, learned):
    node, outputs = run(VaspMlffCalculation, **next_segment(code, learned))
    assert node.is_finished_ok, node.exit_message
    results = outputs['results'].get_dict()
    assert (results['first_step'], results['last_step']) == (40, 60)
    assert results['n_known_configurations'] == learned['results']['n_new_configurations']
    joined = [*learned['tracers'].steps, *outputs['tracers'].steps]
    assert joined == list(range(0, 64, 4))
    path = np.concatenate([part['tracers'].get_array('tracer_positions')[:, 0] for part in (learned, outputs)])
    assert np.abs(np.diff(path, axis=0)).max() < 0.4
    before, after = (part['thermo'].get_array('potential_energy_ev') for part in (learned, outputs))
    assert abs(after[0] - before[-1]) < max(np.ptp(before), 0.2)


def test_force_field_on_frames(code, force_field, learned):
    """VASP gives the force field's results on frames, with atoms in the dataset's order."""
    frames = learned['dataset'].get_frames()[-3:]
    order = np.roll(np.arange(len(frames[0])), 3)
    frames[1] = frames[1][order]
    frames[1].calc = SinglePointCalculator(frames[1], energy=-1.0, forces=np.zeros((len(order), 3)))
    inputs = {'code': code['vasp'], 'potential': force_field, 'potcars': placeholder_potcars(['Mg', 'H'])}
    dataset = DatasetData.from_frames(frames, labelled_by='none')
    node, outputs = run(VaspEvaluateCalculation, **inputs, dataset=dataset, metadata={'options': OPTIONS})
    assert node.is_finished_ok, node.exit_message
    assert outputs['results']['versions']['vasp'].startswith('vasp.6.4.2-standin')
    with force_field.as_path() as path:
        model = ForceField.from_bytes(read_ml_ff_payload(path))
    expected = [model.evaluate(atoms) for atoms in frames]
    arrays = {name: outputs['predictions'].get_array(name) for name in ('energies', 'forces', 'stresses')}
    assert arrays['energies'] == pytest.approx([labels.energy for labels in expected], abs=1e-7)
    assert np.abs(arrays['forces'] - np.concatenate([labels.forces for labels in expected])).max() < 1e-6
    assert np.abs(arrays['stresses'] - [labels.stress for labels in expected]).max() < 1e-6


def md_inputs(code, force_field, **changes):
    return {
        'code': code['vasp'],
        'potential': force_field,
        'potcars': placeholder_potcars(['Mg', 'H']),
        'structure': orm.StructureData(ase=START),
        'parameters': orm.Dict(vasp_md_parameters()),
        'metadata': {'options': OPTIONS},
    } | changes


def test_two_segments_are_one_run(code, force_field):
    """400 steps of NVE equal twice 200 steps, to 1e-6 Å."""
    half = 200
    strides = {'tracer_stride': 20, 'thermo_stride': 10, 'frame_stride': 100}
    node, whole = run(
        VaspMdCalculation,
        **md_inputs(code, force_field, parameters=orm.Dict(vasp_md_parameters(steps=2 * half, **strides))),
    )
    assert node.is_finished_ok, node.exit_message
    _, first = run(
        VaspMdCalculation,
        **md_inputs(code, force_field, parameters=orm.Dict(vasp_md_parameters(steps=half, **strides))),
    )
    inputs = md_inputs(
        code,
        force_field,
        state=first['state'],
        parameters=orm.Dict(vasp_md_parameters(steps=half, first_step=half, **strides)),
    )
    del inputs['structure']
    node, second = run(VaspMdCalculation, **inputs)
    assert node.is_finished_ok, node.exit_message
    largest = np.abs(second['state'].get_array('positions') - whole['state'].get_array('positions')).max()
    assert largest < 1e-6
    joined = np.concatenate([part['tracers'].get_array('tracer_positions') for part in (first, second)])
    assert np.abs(joined - whole['tracers'].get_array('tracer_positions')).max() < 1e-5
    assert [*first['tracers'].steps, *second['tracers'].steps] == whole['tracers'].steps.tolist()
    energies = [part['thermo'].get_array('potential_energy_ev') for part in (first, second)]
    assert np.abs(np.concatenate(energies) - whole['thermo'].get_array('potential_energy_ev')).max() < 1e-6


@pytest.mark.parametrize('ensemble', ['nvt', 'npt'])
def test_ensembles_with_a_thermostat(code, force_field, ensemble):
    parameters = orm.Dict(vasp_md_parameters(ensemble, steps=40))
    node, outputs = run(VaspMdCalculation, **md_inputs(code, force_field, parameters=parameters))
    assert node.is_finished_ok, node.exit_message
    tracers = outputs['tracers']
    assert tracers.base.attributes.get('n_frames') >= 10
    assert ('cells' in tracers.get_arraynames()) == (ensemble == 'npt')
    if ensemble == 'nvt':
        frames = outputs['trajectory']
        masses = np.where(START.numbers == 1, 1.008, 24.305)[:, None]
        kinetic = 0.5 * (masses * frames.get_velocities() ** 2).sum(axis=(1, 2)) / 9.648533e-3
        steps = outputs['thermo'].get_array('steps').tolist()
        known = outputs['thermo'].get_array('kinetic_energy_ev')
        for step, energy in zip(frames.get_stepids(), kinetic, strict=True):
            assert energy == pytest.approx(known[steps.index(step)], rel=1e-4)
    else:
        volumes = outputs['thermo'].get_array('volume_a3')
        assert np.ptp(volumes) > 0
        assert np.isfinite(outputs['thermo'].get_array('pressure_gpa')).all()
        lengths = np.linalg.norm(tracers.get_array('cells'), axis=2)
        assert np.allclose(lengths[:, 2] / lengths[:, 0], lengths[0, 2] / lengths[0, 0], atol=1e-5)


def test_reduced_in_the_job_is_the_same(code, force_field):
    parameters = orm.Dict(vasp_md_parameters('nvt', steps=20))
    inputs = md_inputs(code, force_field, parameters=parameters)
    _, directly = run(VaspMdCalculation, **inputs)
    node, outputs = run(VaspMdCalculation, **inputs, reduce_code=code['reduce'])
    assert node.is_finished_ok, node.exit_message
    for name in ('tracers', 'trajectory', 'thermo'):
        for array in directly[name].get_arraynames():
            values = (outputs[name].get_array(array), directly[name].get_array(array))
            assert np.array_equal(*values, equal_nan=values[0].dtype.kind == 'f')


def test_stopped_before_its_wall_time_and_gone_on(code, force_field):
    parameters = vasp_md_parameters(steps=200000, tracer_stride=20, thermo_stride=20, frame_stride=1000)
    options = OPTIONS | {'max_wallclock_seconds': 15}
    node, outputs = run(
        VaspMdCalculation,
        **md_inputs(code, force_field, parameters=orm.Dict(parameters), metadata={'options': options}),
    )
    assert node.exit_status == 400, node.exit_message
    step = outputs['state'].step
    assert 0 < step < 200000
    parameters |= {'first_step': step, 'steps': 10}
    inputs = md_inputs(code, force_field, state=outputs['state'], parameters=orm.Dict(parameters))
    del inputs['structure']
    node, outputs = run(VaspMdCalculation, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert outputs['state'].step == step + 10


def test_killed_job_loses_no_labelled_configuration(code):
    """The machine kills the job within a segment; all DFT results are kept, and the segment continues."""
    inputs = learning_inputs(code, steps=5000)
    inputs['metadata'] = {'options': OPTIONS | {'prepend_text': 'ulimit -t 20'}}
    node, outputs = run(VaspMlffCalculation, **inputs)
    assert node.exit_status == 310, node.exit_message
    folder = Path(node.outputs.remote_folder.get_remote_path())
    computed = (folder / 'OUTCAR').read_text().count('  free  energy   TOTEN')
    assert outputs['dataset'].base.attributes.get('n_configurations') == computed
    step = outputs['state'].step
    assert step > 0
    going_on = learning_inputs(code, steps=5) | {
        'settings': orm.Dict(mlff_settings(first_step=step)),
        'state': outputs['state'],
        'configurations': {'part000': outputs['dataset']},
        'learning_state': outputs['learning_state'],
    }
    del going_on['structure']
    node, outputs = run(VaspMlffCalculation, **going_on)
    assert node.is_finished_ok, node.exit_message
    assert outputs['results']['last_step'] == step + 5


def test_force_field_runs_as_it_was_learned(code, learned):
    """Without a refit there is no fast mode, so the parameters must ask for 'as-learned'."""
    assert learned['force_field'].base.attributes.get('fast') is False
    parameters = orm.Dict(vasp_md_parameters(steps=10, evaluator='as-learned'))
    node, outputs = run(VaspMdCalculation, **md_inputs(code, learned['force_field'], parameters=parameters))
    assert node.is_finished_ok, node.exit_message
    assert outputs['state'].step == 10


def test_segment_makes_room_and_goes_on_after_its_wall_time(code):
    """Whatever stops its jobs, the segment ends with every labelled configuration."""
    steps = 5000  # more than the fastest machine runs in one wall time
    tags = mlff_tags(nsw=steps, ml_mconf_new=2, ml_ctifor=0.02, ml_mconf=6, ml_mb=400, pmass=50.0)
    resources = {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
    outputs, node = run_get_node(
        LearningSegmentWorkChain,
        codes=code,
        potcars=placeholder_potcars(['Mg', 'H']),
        structure=orm.StructureData(ase=START),
        kpoints=mlff_inputs(code['vasp'])['kpoints'],
        iconst=shape_file(),
        parameters=orm.Dict(tags),
        settings=orm.Dict(mlff_settings(tracer_stride=10, thermo_stride=10, frame_stride=100)),
        options={'default': orm.Dict(OPTIONS | {'resources': resources, 'max_wallclock_seconds': 30})},
    )
    assert node.is_finished_ok, node.exit_message
    jobs = sorted((call for call in node.called if isinstance(call, orm.CalcJobNode)), key=lambda job: job.pk)
    assert {400, 440} <= {job.exit_status for job in jobs}
    assert jobs[-1].inputs.parameters['ml_mconf'] > 6
    labelled = merge_datasets(**outputs['datasets'])
    computed = sum(job.outputs.results['n_dft_steps'] for job in jobs)
    assert labelled.base.attributes.get('n_configurations') == computed < steps / 10
    assert (np.diff(labelled.get_array('steps')) > 0).all()
    assert outputs['state'].step == steps
    parts = [outputs['tracers'][name] for name in sorted(outputs['tracers'])]
    assert [step for part in parts for step in part.steps] == list(range(0, steps + 10, 10))


def test_diffusion(code, force_field):
    """VASP runs NPT, NVT and NVE from starts with velocities, all the way to D."""
    builder = DiffusionWorkChain.get_builder_from_protocol(
        {'vasp': code['vasp'], 'reduce': code['reduce']},
        force_field,
        orm.StructureData(ase=START[:16]),
        temperature_k=300.0,
        potcars=placeholder_potcars(['Mg', 'H']),
        protocol='smoke',
        overrides={'settings': {'independent_replicas': False, 'starts': {'count': 2}}},
        options={'default': OPTIONS},
    )
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert outputs['diffusion']['n_replicas'] == 2
    nve = [child for child in node.called_descendants if child.process_label == 'VaspMdCalculation'][-1]
    start = nve.inputs.state
    masses = np.where(start.get_array('numbers') == 1, 1.008, 24.305)[:, None]
    kinetic = (0.5 * masses * start.get_array('velocities') ** 2).sum() / 9.648533e-3
    assert nve.outputs.thermo.get_array('kinetic_energy_ev')[0] == pytest.approx(kinetic, rel=1e-6)
