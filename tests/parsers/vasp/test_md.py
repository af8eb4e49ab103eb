"""The parser of molecular dynamics in VASP: outputs of written runs, joined segments, and each exit code."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from aiida import orm
from exit_codes import MD, forgotten
from parsing import parse_job
from vasp_files import ml_step, outcar_end, outcar_head
from vasp_md_runs import START, EinsteinCrystal, state_of, vasp_md_parameters
from vasp_runs import make_force_field

from aiida_mghdiff.calculations.functions.starts import select_starts
from aiida_mghdiff.calculations.vasp.md import output_block, reduction_plan
from aiida_mghdiff.formats.outcar import summarise_outcar
from aiida_mghdiff.formats.poscar import Poscar, write_poscar
from aiida_mghdiff.formats.xdatcar import XdatcarReader, xdatcar_frame, xdatcar_header
from aiida_mghdiff.science.trajectory_reduction import reduce_trajectory


@pytest.fixture
def finish(aiida_profile, aiida_localhost, tmp_path):
    """Return a function that parses the files of a run."""

    def parse(folder, parameters, state=None, stdout='', **options):
        (folder / 'vasp_output').write_text(stdout)
        start = {'structure': orm.StructureData(ase=START)} if state is None else {'state': state}
        inputs = {'parameters': orm.Dict(parameters), 'potential': make_force_field(tmp_path), **start}
        return parse_job('mghdiff.vasp.md', aiida_localhost, folder, inputs, **options)

    return parse


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'files'
    path.mkdir()
    return path


def write(folder, run, parameters, **options):
    run.write(folder, block=output_block(parameters), **options)
    return folder


def test_every_step_written(finish, folder):
    parameters = vasp_md_parameters('nvt')
    state = state_of(START, 0)
    run = EinsteinCrystal(state).run(40)
    code, outputs = finish(write(folder, run, parameters), parameters, state)
    assert code is None
    tracers, trajectory, thermo = outputs['tracers'], outputs['trajectory'], outputs['thermo']
    assert tracers.steps.tolist() == list(range(0, 44, 4))
    paths = [*(position for position, _, _ in run.steps), run.final[0]]
    assert np.allclose(tracers.get_array('tracer_positions')[:, 0], [paths[i][16] for i in range(0, 44, 4)], atol=1e-5)
    centre = [paths[i][:16].mean(axis=0) for i in range(0, 44, 4)]
    assert np.allclose(tracers.get_array('host_centre'), centre, atol=1e-5)
    assert np.allclose(tracers.get_array('cell'), START.cell.array, atol=1e-5)
    assert trajectory.get_stepids().tolist() == [10, 20, 30]
    for index, step in enumerate((10, 20, 30)):
        position, velocity, _ = run.steps[step]
        assert np.abs(trajectory.get_positions()[index] - position).max() < 1e-6
        assert np.abs(trajectory.get_velocities()[index] - velocity).max() < 1e-6
        total = run.potential(position, step) + run.kinetic(velocity)
        assert trajectory.get_array('total_energies_ev')[index] == pytest.approx(total, abs=1e-4)
    assert thermo.get_array('steps').tolist() == list(range(0, 40, 2))
    assert np.allclose(thermo.get_array('volume_a3'), START.get_volume())
    kinetic = thermo.get_array('kinetic_energy_ev')
    ideal = 2 * kinetic / (3 * START.get_volume()) * 160.21766
    assert np.allclose(thermo.get_array('pressure_gpa'), 1.0 + ideal, rtol=1e-6)


def test_final_state(finish, folder):
    parameters, run = vasp_md_parameters('nve'), EinsteinCrystal().run(40)
    _, outputs = finish(write(folder, run, parameters), parameters, run.state)
    state = outputs['state']
    assert (state.step, state.has_restart_of('vasp', 'nve', 'MDALGO = 1')) == (40, True)
    assert np.abs(state.get_array('positions') - run.final[0]).max() < 1e-12
    assert np.array_equal(state.get_array('velocities'), run.final[1])
    content = state.base.repository.get_object_content('restart.bin')
    assert content == (folder / 'CONTCAR').read_text()
    results = outputs['results'].get_dict()
    assert (results['completed'], results['last_step'], results['labelled_by']) == (True, 40, 'vasp')
    assert results['evaluator'].startswith('vasp-mlff ')
    assert results['versions'] == {'vasp': 'vasp.6.4.2 20Jul23 (build) complex'}


@pytest.mark.parametrize('ensemble', ['nve', 'nvt'])
def test_two_segments_are_one_run(finish, tmp_path, ensemble):
    """Paths continue across the border; no frame is doubled or missing."""
    whole = vasp_md_parameters(ensemble, steps=80)
    folders = [tmp_path / name for name in ('whole', 'first', 'second')]
    for path in folders:
        path.mkdir()
    start = state_of(START, 0)
    _, one = finish(write(folders[0], EinsteinCrystal(start).run(80), whole), whole, start)
    first = vasp_md_parameters(ensemble)
    _, left = finish(write(folders[1], EinsteinCrystal(start).run(40), first), first, start)
    second = vasp_md_parameters(ensemble, first_step=40)
    _, right = finish(write(folders[2], EinsteinCrystal(left['state']).run(40), second), second, left['state'])
    for name in ('tracer_positions', 'host_centre'):
        joined = np.concatenate([left['tracers'].get_array(name), right['tracers'].get_array(name)])
        assert np.abs(joined - one['tracers'].get_array(name)).max() < 2e-6
    assert [*left['tracers'].steps, *right['tracers'].steps] == one['tracers'].steps.tolist()
    for name in ('steps', 'potential_energy_ev', 'kinetic_energy_ev'):
        joined = np.concatenate([left['thermo'].get_array(name), right['thermo'].get_array(name)])
        assert np.allclose(joined, one['thermo'].get_array(name), atol=2e-4)
    assert np.abs(right['state'].get_array('positions') - one['state'].get_array('positions')).max() < 1e-9


def test_jobs_that_begin_anywhere_are_one_run(finish, tmp_path):
    """One job stopped at an odd step, a short one leads to the next written step, one writes every tenth step."""
    strides = {'tracer_stride': 10, 'thermo_stride': 10, 'frame_stride': 100}
    state, parts = state_of(START, 0), []
    for first, steps in ((0, 37), (37, 3), (40, 40)):
        parameters = vasp_md_parameters('nve', first_step=first, steps=steps, temperature_k=400.0, **strides)
        folder = tmp_path / str(first)
        folder.mkdir()
        code, outputs = finish(write(folder, EinsteinCrystal(state).run(steps), parameters), parameters, state)
        assert code is None
        state = outputs['state']
        parts.append(outputs)
    assert output_block(parameters) == 10
    assert [step for part in parts for step in part['tracers'].steps] == list(range(9, 80, 10))
    whole = EinsteinCrystal(state_of(START, 0)).run(80)
    paths = np.array([whole.steps[step][0][16] for step in range(9, 80, 10)])
    joined = np.concatenate([part['tracers'].get_array('tracer_positions')[:, 0] for part in parts])
    assert np.abs(joined - paths).max() < 1e-5
    assert parts[1]['thermo'].get_array('steps').tolist() == [39]
    assert all(np.isfinite(part['tracers'].base.attributes.get('mean_temperature_k')) for part in parts)


def test_starts_of_nve_runs_come_from_nvt_frames(finish, folder):
    parameters = vasp_md_parameters('nvt', steps=100, frame_stride=5)
    run = EinsteinCrystal().run(100)
    _, outputs = finish(write(folder, run, parameters), parameters, run.state)
    settings = orm.Dict({'count': 2, 'minimum_spacing_ps': 0.01, 'discard_fraction': 0.2})
    starts = select_starts(settings, part0=outputs['trajectory'])
    for state in starts.values():
        distances = [np.abs(state.get_array('positions') - position).max() for position, _, _ in run.steps]
        index = int(np.argmin(distances))
        assert np.abs(state.get_array('velocities') - run.steps[index][1]).max() < 1e-6


def test_frames_without_velocities_are_no_starts(finish, folder):
    parameters, run = vasp_md_parameters('nve'), EinsteinCrystal().run(40)
    _, outputs = finish(write(folder, run, parameters), parameters, run.state)
    assert 'velocities' not in outputs['trajectory'].get_arraynames()
    settings = orm.Dict({'count': 1, 'minimum_spacing_ps': 0.0, 'discard_fraction': 0.0})
    _, node = select_starts.run_get_node(settings, part0=outputs['trajectory'])
    assert node.exit_status == 225
    assert 'no velocities' in node.exit_message


def test_reduced_where_it_was(finish, folder):
    parameters, run = vasp_md_parameters('nvt'), EinsteinCrystal().run(40)
    _, directly = finish(write(folder, run, parameters), parameters, run.state)
    arrays = reduce_trajectory(XdatcarReader(folder / 'XDATCAR'), reduction_plan(parameters, START, 1))
    outcar = summarise_outcar(folder / 'OUTCAR').to_arrays()
    np.savez(folder / 'reduced.npz', **arrays, **outcar, truncated=np.array(''))
    (folder / 'XDATCAR').unlink()
    (folder / 'OUTCAR').unlink()
    code, outputs = finish(folder, parameters, run.state)
    assert code is None
    for name in ('tracers', 'trajectory', 'thermo'):
        for array in outputs[name].get_arraynames():
            assert np.array_equal(outputs[name].get_array(array), directly[name].get_array(array))
    assert outputs['results'].get_dict() == directly['results'].get_dict()


@pytest.mark.parametrize(
    ('said', 'words'),
    [('ERROR: [ENGINE_MISSING] no numpy\n', 'reducing failed: no numpy'), (None, 'XDATCAR is missing')],
)
def test_neither_reduced_nor_retrieved(finish, folder, said, words):
    """The run continues from CONTCAR and OSZICAR; the exit code names the missing files."""
    parameters, run = vasp_md_parameters('nve'), EinsteinCrystal().run(40)
    write(folder, run, parameters)
    for name in ('XDATCAR', 'OUTCAR'):
        (folder / name).unlink()
    if said:
        (folder / 'reduce.txt').write_text(said)
    code, outputs = finish(folder, parameters, run.state)
    assert code.status == 310
    assert words in code.message
    assert 'OUTCAR is missing' in code.message
    assert 'tracers' not in outputs
    assert np.abs(outputs['state'].get_array('positions') - run.final[0]).max() < 1e-9
    assert outputs['state'].step == 40
    assert len(outputs['thermo'].get_array('steps')) == 20
    results = outputs['results']
    assert (results['labelled_by'], results['versions']['vasp']) == ('standin:chgnet-r2scan', 'unknown')


@pytest.mark.parametrize('text', ['', ' vasp.6.4.2 20J'])
def test_outcar_that_tells_nothing_costs_the_pressure_alone(finish, folder, text):
    parameters, run = vasp_md_parameters('nvt'), EinsteinCrystal().run(40)
    _, whole = finish(write(folder, run, parameters), parameters, run.state)
    (folder / 'OUTCAR').write_text(text)
    code, outputs = finish(folder, parameters, run.state)
    assert code.status == 310
    assert 'OUTCAR, line 1' in code.message
    for name in ('tracers', 'trajectory', 'state'):
        assert outputs[name].store().base.caching.get_hash() == whole[name].store().base.caching.get_hash()
    assert np.isnan(outputs['thermo'].get_array('pressure_gpa')).all()


def test_files_of_a_reducing_that_failed_are_retrieved(finish, folder, caplog):
    parameters, run = vasp_md_parameters('nve'), EinsteinCrystal().run(40)
    write(folder, run, parameters)
    (folder / 'reduce.txt').write_text('ERROR: [ENGINE_MISSING] no numpy\n')
    code, outputs = finish(folder, parameters, run.state)
    assert code is None
    assert 'tracers' in outputs
    assert 'reducing failed: no numpy' in caplog.text


def test_stopped_before_its_wall_time(finish, folder):
    parameters, run = vasp_md_parameters('nve', steps=80), EinsteinCrystal().run(40)
    code, outputs = finish(write(folder, run, parameters), parameters, run.state)
    assert code.status == 400
    assert outputs['state'].step == 40
    assert outputs['results']['completed'] is False


def test_killed(finish, folder):
    """Whole frames are kept, and the exit code says where the files end."""
    parameters, run = vasp_md_parameters('nvt', steps=80), EinsteinCrystal().run(40)
    write(folder, run, parameters, finished=False)
    text = (folder / 'XDATCAR').read_text()
    (folder / 'XDATCAR').write_text(text[: len(text) - 30])
    code, outputs = finish(folder, parameters, run.state)
    assert code.status == 310
    assert 'XDATCAR' in code.message
    assert 'OUTCAR' in code.message
    assert outputs['tracers'].steps.tolist() == list(range(0, 44, 4))
    assert outputs['state'].step == 40


def test_ended_by_the_scheduler_at_its_wall_time(finish, folder):
    parameters, run = vasp_md_parameters('nvt', steps=80), EinsteinCrystal().run(40)
    write(folder, run, parameters, finished=False)
    code, outputs = finish(folder, parameters, run.state, scheduler_status=120)
    assert code.status == 400
    assert 'OUTCAR, line' in code.message
    assert str(folder) not in code.message
    assert outputs['tracers'].steps.tolist() == list(range(0, 44, 4))
    assert outputs['state'].step == 40


@pytest.mark.parametrize(('scheduler', 'status'), [(120, 400), (None, 304)])
def test_killed_before_its_first_step(finish, folder, scheduler, status):
    parameters, run = vasp_md_parameters('nve'), EinsteinCrystal().run(40)
    write(folder, run, parameters, finished=False)
    for name in ('OSZICAR', 'CONTCAR', 'XDATCAR'):
        (folder / name).write_text('')
    code, outputs = finish(folder, parameters, run.state, scheduler_status=scheduler)
    assert code.status == status
    assert not outputs


def test_out_of_memory_that_the_scheduler_tells(finish, folder):
    parameters, run = vasp_md_parameters('nve', steps=80), EinsteinCrystal().run(40)
    write(folder, run, parameters, finished=False)
    code, outputs = finish(folder, parameters, run.state, scheduler_status=110)
    assert code.status == 410
    assert outputs['state'].step == 40


def test_memory_of_a_nanosecond(finish, folder):
    """Mg128H8, every tenth step, as in production: 200 times the growth over the second half of a hundredth."""
    atoms = START.repeat((2, 2, 2))
    atoms = atoms[[*atoms.symbols.search('Mg'), *atoms.symbols.search('H')]]
    strides = {'tracer_stride': 10, 'thermo_stride': 100, 'frame_stride': 1000}
    state, peaks = state_of(atoms, 0), []
    # the first run also imports modules
    for steps in (5_000, 5_000, 10_000):
        parameters = vasp_md_parameters('nve', steps=steps, **strides)
        assert output_block(parameters) == 10
        write_still(folder, atoms, state.get_array('velocities'), range(10, steps + 1, 10))
        tracemalloc.start()
        code, outputs = finish(folder, parameters, state)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert code is None
        assert len(outputs['tracers'].steps) == steps // 10
    # measured: 32 MB; a list of all frames would need 230 MB
    assert 200 * (peaks[2] - peaks[1]) < 1e8


def test_memory_of_a_long_output(finish, folder):
    """VASP prints its failure after one line for each step."""
    box = '|     Error reading item NSW from file INCAR.     |\n'
    stdout = 'a line of a step\n' * 3_000_000 + box
    tracemalloc.start()
    code, _ = finish(folder, vasp_md_parameters('nve'), stdout=stdout)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 'Error reading item NSW' in code.message
    # writing the file takes one copy; reading the whole file would take three
    assert peak < 1.1 * len(stdout)


def write_still(folder, atoms, velocities, steps):
    """Write the files of a run whose atoms do not move."""
    step = {'cell': atoms.cell.array, 'positions': atoms.positions, 'forces': np.zeros((len(atoms), 3))}
    block = ml_step(step | {'stress': np.zeros(6), 'energy': -200.0, 'sigma0': -200.0})
    with (folder / 'OUTCAR').open('w') as handle:
        handle.write(outcar_head(['Mg', 'H'], [128, 8]))
        handle.writelines(block for _ in steps)
        handle.write(outcar_end())
    with (folder / 'XDATCAR').open('w') as handle:
        handle.write(xdatcar_header('Mg128H8', atoms.cell.array, ['Mg', 'H'], [128, 8]))
        handle.writelines(xdatcar_frame(number, atoms.get_scaled_positions()) for number in steps)
    energies = 'T=   300. E= -.19500000E+03 F= -.20000000E+03 E0= -.20000000E+03  EK= 0.50000E+01 SP= 0.0 SK= 0.0'
    (folder / 'OSZICAR').write_text(''.join(f'{number:7d} {energies}\n' for number in steps))
    poscar = Poscar('Mg128H8', ['Mg', 'H'], [128, 8], atoms.cell.array, atoms.positions, velocities=velocities)
    (folder / 'CONTCAR').write_text(write_poscar(poscar))


def test_runaway(finish, folder):
    parameters, run = vasp_md_parameters('nve'), EinsteinCrystal().run(40)
    run.temperature = lambda index: 300.0 if index < 30 else 4000.0
    code, outputs = finish(write(folder, run, parameters), parameters, run.state)
    assert (code.status, code.message) == (
        520,
        'The temperature ran away: 4000 K, more than 3000 K; check start, time step and force field.',
    )
    assert 'state' in outputs


def test_damaged_output(finish, folder):
    parameters, run = vasp_md_parameters('nve'), EinsteinCrystal().run(40)
    write(folder, run, parameters)
    text = (folder / 'XDATCAR').read_text()
    (folder / 'XDATCAR').write_text(text.replace('Direct configuration=     4\n  ', 'Direct configuration=     4\n  x'))
    code, outputs = finish(folder, parameters, run.state)
    assert code.status == 304
    assert 'XDATCAR' in code.message
    assert not outputs


BOX = """
 -----------------------------------------------------------------------------
|                                                                             |
|     EEEEEEE  RRRRRR   RRRRRR   OOOOOOO  RRRRRR      ###     ###     ###     |
|                                                                             |
|     The force field in ML_FF could not be read.                             |
|                                                                             |
 -----------------------------------------------------------------------------
"""

SLURM_OUT_OF_MEMORY = (
    'slurmstepd: error: Detected 1 oom_kill event in StepId=4711.0. Some of the step tasks have been OOM Killed.\n'
)


@pytest.mark.parametrize(
    ('stdout', 'scheduler', 'status', 'message'),
    [
        ('', None, 300, 'OUTCAR'),
        ('', 120, 400, 'before or at its wall time'),
        ('ERROR: [ENGINE_MISSING] no featomic', None, 210, 'no featomic'),
        ('ERROR: [INPUT_REFUSED] INCAR, FOO', None, 213, 'INCAR, FOO'),
        ('ERROR: [POTENTIAL_UNREADABLE] ML_FF', None, 211, 'ML_FF'),
        ('ERROR: [SOMETHING_NEW] as never seen', None, 303, 'as never seen'),
        ('forrtl: severe (41): insufficient virtual memory', None, 410, 'insufficient virtual memory'),
        (SLURM_OUT_OF_MEMORY, None, 410, 'Detected 1 oom_kill event'),
        ('', 110, 410, 'the scheduler ended it'),
        ('a line of a step\n' * 100_000 + BOX, None, 303, 'The force field in ML_FF could not be read.'),
        (BOX, None, 303, 'The force field in ML_FF could not be read.'),
    ],
)
def test_failures(finish, folder, stdout, scheduler, status, message):
    code, outputs = finish(folder, vasp_md_parameters(), stdout=stdout, scheduler_status=scheduler)
    assert code.status == status
    assert message in code.message
    assert not outputs


def test_which_failures_are_cached():
    own = {217: True, 310: True}
    assert forgotten('mghdiff.vasp.md') == MD | own
