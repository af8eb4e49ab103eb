"""LAMMPS molecular dynamics: scripts, submission, and real runs with the tiny model tested as physics."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.datastructures import CodeRunMode
from aiida.common.folders import SandboxFolder
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from lammps_runs import TYPES, Bench, hydride
from md_parameters import md_parameters
from models import make_multihead_mace
from scipy.constants import Boltzmann, atomic_mass
from training_inputs import make_chgnet

from aiida_mghdiff.calculations.lammps import script
from aiida_mghdiff.calculations.lammps.md import LammpsMdCalculation
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats import job_files

LAUNCHER = Path(sys.executable).with_name('mghdiff-lmp')
BOLTZMANN = 8.617333262e-5


@pytest.fixture
def bench(tmp_path, tiny_mace, capfd, monkeypatch):
    return Bench(tmp_path, tiny_mace, capfd, monkeypatch)


@pytest.fixture
def inputs(aiida_profile, aiida_code_installed, tiny_mace):
    """Inputs of a job that starts from a structure."""
    options = {'environment_variables': {'OMP_NUM_THREADS': '1'}}
    return {
        'code': aiida_code_installed(default_calc_job_plugin='mghdiff.lammps.md', filepath_executable=str(LAUNCHER)),
        'potential': PotentialData.from_file(
            tiny_mace, architecture='mace', origin='scratch', elements=TYPES, dtype='float64'
        ),
        'structure': orm.StructureData(ase=hydride()),
        'parameters': orm.Dict(md_parameters()),
        'metadata': {'options': options},
    }


@pytest.fixture
def fixture_sandbox():
    with SandboxFolder() as folder:
        yield folder


def state_of(atoms, step=0, **options):
    rng = np.random.default_rng(3)
    velocities = rng.normal(scale=1e-3, size=atoms.positions.shape)
    return MdStateData.from_arrays(atoms.numbers, atoms.cell.array, atoms.positions, velocities, step, **options)


def prepare(inputs, folder):
    process = instantiate_process(get_manager().get_runner(), LammpsMdCalculation, **inputs)
    return process.prepare_for_submission(folder)


# ---- the script ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('ensemble', ['nve', 'nvt', 'npt'])
def test_script(ensemble, file_regression):
    text = script.md_script(
        md_parameters(ensemble), TYPES, draws_velocities=True, reads_restart=False, wall_seconds=3420
    )
    file_regression.check(text, extension='.in')


def test_script_of_a_continued_run(file_regression):
    values = md_parameters('npt', first_step=400, evaluator='auto', dtype='float32')
    text = script.md_script(values, TYPES, draws_velocities=False, reads_restart=True, head='pbe')
    file_regression.check(text, extension='.in')


def test_segments_have_noise_of_their_own():
    seeds = {script.thermostat_seed(md_parameters('nvt', first_step=step)) for step in range(0, 5000, 100)}
    assert len(seeds) == 50
    assert all(0 < seed <= 900_000_000 for seed in seeds)


# ---- the submission ------------------------------------------------------------------------------------------------


def test_submission_from_a_structure(inputs, fixture_sandbox):
    calcinfo = prepare(inputs, fixture_sandbox)
    potential = inputs['potential']
    assert sorted(fixture_sandbox.get_content_list()) == ['input.in', 'start.data']
    assert calcinfo.local_copy_list == [(potential.uuid, 'potential.model', 'potential.model')]
    assert calcinfo.retrieve_list == ['lammps.out']
    assert [code.cmdline_params for code in calcinfo.codes_info] == [['-in', 'input.in']]


def test_submission_from_a_state_with_its_own_restart(inputs, fixture_sandbox):
    del inputs['structure']
    inputs['parameters'] = orm.Dict(md_parameters('npt', first_step=40))
    inputs['state'] = state_of(hydride(), 40, restart=b'binary', engine='lammps', ensemble='npt').store()
    calcinfo = prepare(inputs, fixture_sandbox)
    assert fixture_sandbox.get_content_list() == ['input.in']
    assert (inputs['state'].uuid, 'restart.bin', 'start.restart') in calcinfo.local_copy_list


@pytest.mark.parametrize(
    ('ensemble', 'first_step', 'engine'), [('nve', 40, 'lammps'), ('npt', 0, 'lammps'), ('npt', 40, 'ase')]
)
def test_restart_of_another_run_is_not_read(inputs, fixture_sandbox, ensemble, first_step, engine):
    del inputs['structure']
    inputs['parameters'] = orm.Dict(md_parameters(ensemble, first_step=first_step))
    inputs['state'] = state_of(hydride(), 40, restart=b'binary', engine=engine, ensemble='npt').store()
    calcinfo = prepare(inputs, fixture_sandbox)
    assert 'start.data' in fixture_sandbox.get_content_list()
    assert len(calcinfo.local_copy_list) == 1


def test_a_build_with_mace_gets_its_model_converted(inputs, fixture_sandbox, aiida_code_installed):
    inputs['convert_code'] = aiida_code_installed(label='convert', filepath_executable='/bin/true')
    inputs['parameters'] = orm.Dict(md_parameters(dtype='float32'))
    calcinfo = prepare(inputs, fixture_sandbox)
    convert, run = calcinfo.codes_info
    assert calcinfo.codes_run_mode == CodeRunMode.SERIAL
    assert convert.cmdline_params == ['potential.model', '--dtype', 'float32']
    assert run.cmdline_params == ['-in', 'input.in']
    text = Path(fixture_sandbox.get_abs_path('input.in')).read_text()
    assert 'pair_coeff * * potential.model-lammps.pt Mg H\n' in text


def test_both_kinds_of_lammps_get_the_head(inputs, fixture_sandbox, aiida_code_installed, tmp_path):
    inputs['potential'] = potential_with(make_multihead_mace(tmp_path / 'two.model', ['A', 'B']), head='A')['potential']
    inputs['convert_code'] = aiida_code_installed(label='convert', filepath_executable='/bin/true')
    calcinfo = prepare(inputs, fixture_sandbox)
    assert calcinfo.codes_info[0].cmdline_params == ['potential.model', '--dtype', 'float64', '--head', 'A']
    assert ' head=A\n' in Path(fixture_sandbox.get_abs_path('input.in')).read_text()


def test_wall_time_leaves_a_reserve(inputs, fixture_sandbox):
    inputs['metadata']['options']['max_wallclock_seconds'] = 1000
    prepare(inputs, fixture_sandbox)
    assert 'timer timeout 950 every 1\n' in Path(fixture_sandbox.get_abs_path('input.in')).read_text()


def potential_with(model, **changes):
    attributes = {'architecture': 'mace', 'origin': 'scratch', 'elements': TYPES, 'dtype': 'float64'} | changes
    return {'potential': PotentialData.from_file(model, **attributes)}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda _: {'parameters': orm.Dict(md_parameters(colour='red'))}, 'parameters.colour: no such key'),
        (lambda _: {'parameters': orm.Dict(md_parameters(temperature_k=0.5))}, 'at least 1 K'),
        (lambda _: {'parameters': orm.Dict(md_parameters(tracer_element='Li'))}, 'no Li atom'),
        (lambda _: {'state': state_of(hydride())}, 'either a structure'),
        (lambda _: {'potential': make_chgnet()}, 'LAMMPS runs mace potentials'),
        (lambda model: potential_with(model, elements=['Mg']), 'does not know H;'),
        (lambda _: {'code': orm.InstalledCode(orm.load_computer('localhost'), '/opt/lmp')}, 'convert_code is missing'),
    ],
)
def test_invalid_inputs_are_refused(inputs, change, message, tiny_mace):
    with pytest.raises(ValueError, match=message):
        run_get_node(LammpsMdCalculation, **(inputs | change(tiny_mace)))


def test_state_of_another_step_is_refused(inputs):
    del inputs['structure']
    inputs |= {'state': state_of(hydride(), 30), 'parameters': orm.Dict(md_parameters(first_step=40))}
    with pytest.raises(ValueError, match='the state is of step 30'):
        run_get_node(LammpsMdCalculation, **inputs)


# ---- real jobs -----------------------------------------------------------------------------------------------------


def test_job_from_a_structure(inputs):
    outputs, node = run_get_node(LammpsMdCalculation, **inputs)
    assert node.is_finished_ok, node.exit_message
    results = outputs['results'].get_dict()
    assert (results['completed'], results['last_step'], results['evaluator']) == (True, 40, 'torch')
    assert {'lammps', 'mace-torch', 'LAMMPS', 'mghdiff-lmp'} <= set(results['versions'])
    assert outputs['thermo'].get_array('steps').tolist() == list(range(0, 42, 2))
    assert outputs['tracers'].steps.tolist() == list(range(0, 44, 4))
    assert outputs['trajectory'].get_stepids().tolist() == [0, 10, 20, 30, 40]
    assert outputs['state'].step == 40
    positions = outputs['trajectory'].get_positions()
    assert np.allclose(positions[0], inputs['structure'].get_ase().positions, atol=1e-12)
    assert np.allclose(positions[-1], outputs['state'].get_array('positions'), atol=1e-12)
    assert 'progress 40/40 t=0.0200ps E=' in node.outputs.retrieved.base.repository.get_object_content('lammps.out')


@pytest.mark.slow
def test_job_that_converts_its_model_first(inputs, aiida_code_installed):
    converter = Path(sys.executable).with_name('mace_create_lammps_model')
    inputs['convert_code'] = aiida_code_installed(label='mace-converter', filepath_executable=str(converter))
    _, node = run_get_node(LammpsMdCalculation, **inputs)
    assert node.is_finished_ok, node.exit_message
    log = Path(node.outputs.remote_folder.get_remote_path(), 'convert.log').read_text()
    assert job_files.CONVERTED_FILE in node.outputs.remote_folder.listdir(), log


# ---- physics -------------------------------------------------------------------------------------------------------


def total_energy(run):
    return run.thermo['potential_energy_ev'] + run.thermo['kinetic_energy_ev']


def test_velocities_are_drawn_with_no_momentum(bench):
    run = bench.md(md_parameters(steps=1, frame_stride=1, thermo_stride=1), hydride())
    masses = np.where(run.numbers == 1, 1.008, 24.305)
    assert np.abs(masses @ run.frame_velocities[0]).max() < 1e-12
    assert run.thermo['temperature_k'][0] == pytest.approx(300.0, abs=1e-6)
    again = bench.md(md_parameters(steps=1, frame_stride=1, thermo_stride=1, seed=6), hydride())
    assert np.abs(again.frame_velocities[0] - run.frame_velocities[0]).max() > 1e-4


@pytest.mark.parametrize('evaluator', ['torch', 'symmetrix'])
def test_nve_conserves_energy(bench, evaluator):
    run = bench.md(md_parameters(steps=200, evaluator=evaluator), hydride())
    energy = total_energy(run)
    assert np.ptp(run.thermo['potential_energy_ev']) > 0.05
    assert np.abs(energy - energy[0]).max() < 5e-4
    assert np.allclose(run.frame_energies, energy[::5], atol=1e-9)


@pytest.mark.parametrize('half', [40, pytest.param(200, marks=pytest.mark.slow)])
def test_two_segments_are_one_run(bench, half):
    values = md_parameters(steps=2 * half, frame_stride=half // 2, tracer_stride=half // 4)
    whole = bench.md(values, hydride())
    first = bench.md(values | {'steps': half}, hydride())
    second = bench.md(values | {'steps': half, 'first_step': half}, start=first)
    assert np.abs(second.final_positions - whole.final_positions).max() < 1e-9
    assert np.abs(second.final_velocities - whole.final_velocities).max() < 1e-11
    for name in ('tracer_positions', 'host_centre', 'tracer_steps', 'frame_steps', 'frame_positions'):
        joined = np.concatenate([getattr(first, name), getattr(second, name)])
        assert np.abs(joined - getattr(whole, name)).max() < 1e-7
    assert np.abs(np.append(total_energy(first), total_energy(second)) - total_energy(whole)).max() < 1e-9


def test_host_centre_is_that_of_the_frames(bench):
    run = bench.md(md_parameters(steps=20, frame_stride=4), hydride())
    host = run.numbers == 12
    assert np.allclose(run.frame_positions[:, host].mean(axis=1), run.host_centre, atol=1e-9)
    assert np.allclose(run.frame_positions[:, ~host], run.tracer_positions, atol=1e-7)


def test_positions_stay_unwrapped(bench):
    """The path of an atom that crosses several cells stays continuous."""
    atoms = hydride()
    run = bench.md(md_parameters(steps=1), atoms)
    velocities = np.tile([0.5, 0.0, 0.0], (len(atoms), 1))
    start = dataclasses.replace(run, final_positions=atoms.positions, final_velocities=velocities)
    thrown = bench.md(md_parameters(steps=60, tracer_stride=1, temperature_k=1e6), start=start)
    centre_path = np.diff(thrown.host_centre, axis=0)
    assert np.allclose(centre_path, [0.25, 0.0, 0.0], atol=0.01)
    assert thrown.final_positions[:, 0].mean() - atoms.positions[:, 0].mean() == pytest.approx(15.0, abs=0.01)


def test_nvt_keeps_the_temperature(bench):
    values = md_parameters('nvt', steps=5000, time_step_fs=1.0, friction_per_ps=50.0, evaluator='auto', thermo_stride=5)
    run = bench.md(values | {'frame_stride': 5}, hydride())
    kinetic = run.thermo['kinetic_energy_ev'][100:]
    freedom = 3 * len(run.numbers) - 3
    mean = freedom / 2 * BOLTZMANN * 300.0
    assert kinetic.mean() == pytest.approx(mean, rel=0.08)
    # canonical: the relative standard deviation of the kinetic energy is sqrt(2 / degrees of freedom)
    assert kinetic.std() / mean == pytest.approx(np.sqrt(2 / freedom), rel=0.2)
    # equipartition: each atom has 3 kT / 2, less its share of the fixed total momentum; the light atom is no hotter
    masses = np.where(run.numbers == 1, 1.008, 24.305)
    squares = np.square(run.frame_velocities[20:] * 1e5).sum(axis=-1).mean(axis=0)  # (m/s)²
    temperatures = masses * atomic_mass * squares / (3 * Boltzmann * (1 - masses / masses.sum()))
    assert temperatures[run.numbers == 1].mean() == pytest.approx(300.0, rel=0.2)
    assert run.thermostat == 'LAMMPS fix langevin, zero momentum (fix momentum)'


def test_npt_follows_the_pressure_at_fixed_shape(bench):
    atoms = hydride()
    atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
    values = md_parameters('npt', steps=600, time_step_fs=1.0, pressure_gpa=2.0, barostat_time_ps=0.1, evaluator='auto')
    run = bench.md(values, atoms)
    volume = run.thermo['volume_a3']
    assert volume[-50:].mean() < 0.97 * volume[0]
    assert run.thermo['pressure_gpa'][-150:].mean() == pytest.approx(2.0, abs=1.5)
    shape = run.frame_cells / np.linalg.det(run.frame_cells)[:, None, None] ** (1 / 3)
    assert np.allclose(shape, shape[0], atol=1e-12)
    assert np.allclose(np.linalg.det(run.tracer_cells), volume[::2], rtol=1e-6)
    assert run.restart is not None


def test_npt_continues_with_its_barostat(bench):
    """Almost without friction, two segments equal one run; this needs the momentum of the barostat."""
    values = md_parameters('npt', steps=60, friction_per_ps=1e-12, barostat_time_ps=0.1, thermo_stride=1)
    whole = bench.md(values, hydride())
    first = bench.md(values | {'steps': 30}, hydride())
    options = values | {'steps': 30, 'first_step': 30}
    second = bench.md(options, start=first, restart=first.restart)
    assert np.allclose(second.thermo['volume_a3'], whole.thermo['volume_a3'][31:], rtol=1e-9)
    assert np.abs(second.final_positions - whole.final_positions).max() < 1e-7
    forgetful = bench.md(options, start=first)
    assert not np.allclose(forgetful.thermo['volume_a3'], whole.thermo['volume_a3'][31:], rtol=1e-7)


def test_run_stops_before_its_wall_time_with_its_state(bench):
    run = bench.md(md_parameters(steps=10**6, tracer_stride=1, frame_stride=1), hydride(), wall_seconds=2)
    assert 0 < run.final_step < 10**6
    assert run.tracer_steps[-1] == run.final_step
    assert np.allclose(run.frame_positions[-1], run.final_positions, atol=1e-12)


def test_run_that_heats_up_stops_with_its_state(bench):
    atoms = hydride()
    hot = dataclasses.replace(
        bench.md(md_parameters(steps=1), atoms),
        final_velocities=np.random.default_rng(0).normal(scale=0.05, size=atoms.positions.shape),
    )
    run = bench.md(md_parameters(steps=5000), start=hot)
    assert run.final_step < 5000
    assert 'condition for fix-id runaway met' in bench.output
