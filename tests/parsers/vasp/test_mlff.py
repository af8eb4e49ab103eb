"""The parser of learning in VASP: new configurations, their origin, recovered data, and each exit code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from exit_codes import MD, forgotten
from parsing import parse_job
from vasp_files import FAR, NEAR, fortran, scf_settings
from vasp_md_runs import (
    START,
    EinsteinCrystal,
    frame_of,
    labelled_frames,
    learning_state,
    logfile,
    mlff_settings,
    mlff_tags,
    write_learned,
)
from vasp_runs import make_force_field

from aiida_mghdiff.calculations.functions.merge import merge_datasets
from aiida_mghdiff.calculations.vasp.md import reduction_plan
from aiida_mghdiff.calculations.vasp.mlff import md_parameters
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.mlab import read_mlab, write_mlab
from aiida_mghdiff.formats.outcar import OutcarStep, summarise_outcar
from aiida_mghdiff.formats.xdatcar import XdatcarReader
from aiida_mghdiff.parsers.vasp.mlff import labelled
from aiida_mghdiff.science.trajectory_reduction import reduce_trajectory

TAGS = mlff_tags(isif=2, mdalgo=1, andersen_prob=0.0)
DFT_STEPS = (1, 3, 12, 30)


@pytest.fixture
def finish(aiida_profile, aiida_localhost):
    """Return a function that parses the files of a job."""

    def parse(folder, tags=None, settings=None, inputs=None, stdout='', **options):
        (folder / 'vasp_output').write_text(stdout)
        given = {'structure': orm.StructureData(ase=START)} | (inputs or {})
        given |= {'parameters': orm.Dict(TAGS | (tags or {})), 'settings': orm.Dict(mlff_settings(**(settings or {})))}
        return parse_job('mghdiff.vasp.mlff', aiida_localhost, folder, given, **options)

    return parse


@pytest.fixture
def run():
    return EinsteinCrystal().run(40)


@pytest.fixture
def folder(tmp_path, run):
    """Return the files of a run that learned three of its four DFT steps."""
    path = tmp_path / 'files'
    path.mkdir()
    run.write(path, dft=DFT_STEPS)
    write_learned(path, [frame_of(run, step) for step in DFT_STEPS[:3]])
    (path / 'ML_LOGFILE').write_text(logfile(40, DFT_STEPS))
    return path


def test_learning_from_nothing(finish, folder, run):
    code, outputs = finish(folder)
    assert code is None
    dataset = outputs['dataset']
    assert dataset.get_array('learned').tolist() == [1, 1, 1, 0]
    assert dataset.get_array('steps').tolist() == [0, 2, 11, 29]
    temperatures = [round(run.temperature(step - 1)) for step in DFT_STEPS]
    assert dataset.get_array('temperatures_k').tolist() == temperatures
    attributes = dataset.base.attributes
    assert (attributes.get('stage_names'), dataset.get_array('stages').tolist()) == (['heating'], [0, 0, 0, 0])
    assert dataset.get_array('converged').tolist() == [1, 1, 1, 1]
    for frame, step in zip(dataset.get_frames(), DFT_STEPS, strict=True):
        labels = run.labels(step - 1)
        assert frame.get_potential_energy() == labels['energy']
        assert np.abs(frame.get_forces() - labels['forces']).max() < 1e-6
        move = np.linalg.solve(START.cell.array.T, (frame.positions - labels['positions']).T)
        assert np.abs(move - np.rint(move)).max() < 1e-5
        assert np.allclose(frame.get_stress()[:3], -1.0 / 160.2176634)


def test_learning_state_makes_up_mlab_again(finish, folder):
    _, outputs = finish(folder)
    state, mlab = outputs['learning_state'], read_mlab(folder / 'ML_ABN')
    assert state.get_array('order').tolist() == [0, 1, 2]
    assert state.get_array('ctifor').tolist() == mlab.ctifor
    assert state.get_array('basis_H').tolist() == [[1, 17]]
    assert state.base.attributes.get('types') == ['Mg', 'H']
    assert state.base.attributes.get('masses') == {'Mg': 24.305, 'H': 1.0}
    chosen = outputs['dataset'].select(state.get_array('order').tolist()).get_frames()
    for frame, written in zip(chosen, mlab.frames, strict=True):
        assert np.array_equal(frame.positions, written.positions)


def test_what_learning_and_motion_left(finish, folder):
    _, outputs = finish(folder)
    results = outputs['results'].get_dict()
    counts = ('n_dft_steps', 'n_known_configurations', 'n_configurations', 'n_new_configurations')
    assert [results[name] for name in (*counts, 'n_unlearned_configurations')] == [4, 0, 3, 4, 1]
    assert results['training_rmse_force_ev_per_angstrom'] == 0.045
    assert results['threshold_ev_per_angstrom'] == 0.025
    assert results['max_bayesian_error_ev_per_angstrom'] == pytest.approx(0.04)
    assert (results['completed'], results['last_step'], results['labelled_by']) == (True, 40, 'vasp')
    assert results['lattice_change'] == pytest.approx(0.0, abs=1e-12)
    force_field = outputs['force_field']
    assert (force_field.architecture, force_field.origin, force_field.elements) == (
        'vasp-mlff',
        'on-the-fly',
        ['H', 'Mg'],
    )
    learning = outputs['learning']
    assert learning.get_array('bayesian_steps').tolist() == list(range(40))
    assert learning.get_array('status_steps')[learning.get_array('status_is_dft')].tolist() == [0, 2, 11, 29]
    assert learning.get_array('configurations_count').tolist() == [1, 2, 3, 4]
    assert learning.get_array('basis_H_count').tolist() == [1, 2, 3, 4]
    assert outputs['tracers'].steps.tolist() == list(range(0, 44, 4))
    assert outputs['state'].step == 40
    assert outputs['state'].has_restart_of('vasp', 'nve', 'MDALGO = 1')


def test_only_what_is_new_is_stored(finish, folder, run):
    """VASP wrote the known configurations again, between new ones and with other digits."""
    known = labelled_frames(4)
    again = [known[2].copy(), known[0].copy()]
    for frame, old in zip(again, (known[2], known[0]), strict=True):
        frame.positions += 1e-9
        results = {key: np.asarray(value) * (1 + 1e-13) for key, value in old.calc.results.items()}
        frame.calc = type(old.calc)(frame, **results)
    new = [frame_of(run, step) for step in DFT_STEPS]
    write_learned(folder, [again[0], new[0], *new[1:], again[1]])
    parts = {'part000': known[:3], 'part001': known[3:]}
    inputs = {f'configurations__{name}': DatasetData.from_frames(frames) for name, frames in parts.items()}
    _, outputs = finish(folder, inputs=inputs | {'learning_state': learning_state([0, 1, 2])})
    assert outputs['learning_state'].get_array('order').tolist() == [2, 4, 5, 6, 7, 0]
    assert outputs['dataset'].get_array('steps').tolist() == [0, 2, 11, 29]
    assert outputs['results']['n_known_configurations'] == 4


def refit_of(folder, tmp_path, frames):
    """Write the files of a refit, which has no trajectory."""
    write_learned(folder, frames)
    for name in ('XDATCAR', 'OSZICAR', 'CONTCAR'):
        (folder / name).unlink()
    EinsteinCrystal().run(1).write(tmp_path, dft=())
    (tmp_path / 'OUTCAR').rename(folder / 'OUTCAR')


@pytest.mark.parametrize('mode', ['train', 'refit'])
def test_labels_of_another_make_no_force_field(finish, folder, run, tmp_path, mode):
    """VASP learned from the stand-in's labels; only the labels of VASP itself are stored."""
    known = labelled_frames(3)
    new = [frame_of(run, step) for step in DFT_STEPS] if mode == 'train' else []
    if mode == 'refit':
        refit_of(folder, tmp_path, known)
    write_learned(folder, [*known, *new])
    inputs = {'configurations__part000': DatasetData.from_frames(known, labelled_by='standin:chgnet-r2scan')}
    code, outputs = finish(
        folder, tags={'ml_mode': mode}, inputs=inputs | {'learning_state': learning_state([0, 1, 2])}
    )
    assert code.status == 214
    assert 'the known configurations are labelled by standin:chgnet-r2scan, the job by vasp' in code.message
    assert not {'force_field', 'learning_state'} & set(outputs)
    assert ('dataset' in outputs) == (mode == 'train')
    if mode == 'train':
        assert outputs['dataset'].base.attributes.get('labelled_by') == 'vasp'
        assert outputs['dataset'].base.attributes.get('n_configurations') == 4


def test_marks_of_a_file_tell_whose_labels_it_has(finish, folder, run, tmp_path):
    known = labelled_frames(2)
    for frame in known:
        frame.info['system_name'] = 'stand-in gpaw Mg16H'
    write_mlab(tmp_path / 'ML_AB', known, ctifor=[0.02] * 2)
    code, outputs = finish(folder, inputs={'ml_ab': orm.SinglefileData(tmp_path / 'ML_AB')})
    assert code.status == 214
    assert 'labelled by standin:gpaw' in code.message
    assert 'force_field' not in outputs


def test_known_ones_of_a_file(finish, folder, run, tmp_path):
    known = labelled_frames(2)
    write_mlab(tmp_path / 'ML_AB', known, ctifor=[0.02] * 2)
    write_learned(folder, [*known, *(frame_of(run, step) for step in DFT_STEPS)])
    _, outputs = finish(folder, inputs={'ml_ab': orm.SinglefileData(tmp_path / 'ML_AB')})
    assert outputs['learning_state'].get_array('order').tolist() == [0, 1, 2, 3, 4, 5]
    assert outputs['dataset'].base.attributes.get('n_configurations') == 4


def test_stretches_of_a_run_are_groups(finish, folder):
    """Steps are counted over the run, not the job: 10 steps are a stretch, so 1002 and 1011 lie in two."""
    _, outputs = finish(folder, settings={'first_step': 1000, 'stage': 'hold'})
    assert outputs['dataset'].get_array('groups').tolist() == [0, 0, 1, 2]
    names = outputs['dataset'].base.attributes.get('group_names')
    assert names == ['hold, stretch 100', 'hold, stretch 101', 'hold, stretch 102']


def test_steps_go_on_over_segments(finish, folder):
    _, outputs = finish(folder, settings={'first_step': 1000, 'stage': 'hold'})
    assert outputs['dataset'].get_array('steps').tolist() == [1000, 1002, 1011, 1029]
    assert outputs['learning'].get_array('bayesian_steps')[0] == 1000
    assert outputs['state'].step == 1040


def test_steps_of_the_log_where_outcar_has_none(finish, folder, run):
    """ML_ABN has energies that OUTCAR lacks, so the log gives the steps of DFT."""
    run.write(folder, dft=())
    write_learned(folder, [frame_of(run, step) for step in DFT_STEPS])
    _, outputs = finish(folder)
    assert outputs['dataset'].get_array('steps').tolist() == [0, 2, 11, 29]
    assert outputs['dataset'].get_array('converged').tolist() == [-1] * 4


def test_unknown_steps_make_one_group(finish, folder, run):
    """If neither file gives the step of a configuration, it may be correlated with all others."""
    run.write(folder, dft=DFT_STEPS[1:])
    write_learned(folder, [frame_of(run, step) for step in DFT_STEPS])
    (folder / 'ML_LOGFILE').unlink()
    _, outputs = finish(folder, settings={'first_step': 1000})
    dataset = outputs['dataset']
    assert dataset.get_array('steps').tolist() == [-1, 1002, 1011, 1029]
    assert dataset.base.attributes.get('group_names') == ['heating, job from step 1000']


def test_log_tells_the_step_that_outcar_does_not(finish, folder, run):
    run.write(folder, dft=DFT_STEPS[1:])
    write_learned(folder, [frame_of(run, step) for step in DFT_STEPS])
    _, outputs = finish(folder)
    assert outputs['dataset'].get_array('steps').tolist() == [0, 2, 11, 29]
    assert outputs['dataset'].get_array('converged').tolist() == [-1, 1, 1, 1]
    results = outputs['results']
    assert (results['n_unconverged_configurations'], results['n_unjudged_configurations']) == (0, 1)


def test_killed_before_anything_was_learned(finish, folder, run):
    """No configuration is lost: ML_ABN is truncated, but OUTCAR has all of them."""
    run.write(folder, dft=DFT_STEPS, finished=False)
    text = (folder / 'ML_ABN').read_text()
    (folder / 'ML_ABN').write_text(text[: len(text) // 2])
    (folder / 'ML_LOGFILE').write_text(logfile(40, DFT_STEPS, finished=False))
    (folder / 'ML_FFN').unlink()
    code, outputs = finish(folder, tags={'nsw': 80})
    assert code.status == 310
    for name in ('ML_ABN', 'ML_LOGFILE', 'OUTCAR'):
        assert name in code.message
    assert outputs['dataset'].get_array('learned').tolist() == [0, 0, 0, 0]
    assert outputs['dataset'].get_array('steps').tolist() == [0, 2, 11, 29]
    assert str(folder) not in code.message
    assert 'learning_state' not in outputs
    assert outputs['state'].step == 40


def test_killed_while_contcar_was_written(finish, folder):
    (folder / 'CONTCAR').write_text('')
    code, outputs = finish(folder)
    assert code.status == 304
    assert 'CONTCAR' in code.message
    assert {'dataset', 'learning_state', 'force_field', 'results'} <= set(outputs)
    results = outputs['results']
    assert (results['completed'], results['first_step'], results['last_step']) == (False, 0, None)


def spoil(path, line, old, new):
    """Change a word after a line."""
    text = path.read_text()
    start = text.index(line)
    assert old in text[start:]
    path.write_text(text[:start] + text[start:].replace(old, new, 1))


def test_damaged_line_of_outcar_costs_no_more_than_its_step(finish, folder):
    """Only step 30 is lost, because VASP did not learn it; force field and trajectory stay."""
    whole = finish(folder)[1]
    spoil(folder / 'OUTCAR', 'Iteration     30(', 'in kB ', 'in kB #@!')
    code, outputs = finish(folder)
    assert code.status == 310
    assert '6 numbers should stand here' in code.message
    assert outputs['dataset'].get_array('steps').tolist() == [0, 2, 11]
    for name in ('learning_state', 'force_field', 'tracers', 'state', 'trajectory'):
        assert outputs[name].store().base.caching.get_hash() == whole[name].store().base.caching.get_hash()
    assert outputs['results']['last_step'] == 40


def test_damaged_line_of_a_step_of_the_force_field_costs_its_pressure(finish, folder):
    """The third force-field step is the fifth step of the run, after four steps: the third row."""
    text = (folder / 'OUTCAR').read_text()
    title = ' ML FORCE on cell'
    blocks = text.split(title)
    blocks[3] = blocks[3].replace('in kB ', 'in kB #@!')
    (folder / 'OUTCAR').write_text(title.join(blocks))
    code, outputs = finish(folder)
    assert code.status == 310
    assert np.flatnonzero(np.isnan(outputs['thermo'].get_array('pressure_gpa'))).tolist() == [2]
    assert outputs['dataset'].get_array('steps').tolist() == [0, 2, 11, 29]


@pytest.mark.parametrize('change', [Path.unlink, lambda path: path.write_text('torn' + path.read_text())])
def test_learned_without_outcar(finish, folder, change):
    """ML_FFN names the origin of the labels, and ML_LOGFILE gives their steps."""
    write_learned(folder, read_mlab(folder / 'ML_ABN').frames)
    (folder / 'ML_LOGFILE').write_text(logfile(40, DFT_STEPS[:3]))
    change(folder / 'OUTCAR')
    code, outputs = finish(folder)
    assert code.status == 310
    assert 'OUTCAR' in code.message
    assert outputs['dataset'].base.attributes.get('labelled_by') == 'standin:chgnet-r2scan'
    assert outputs['dataset'].get_array('steps').tolist() == [0, 2, 11]
    assert {'learning_state', 'force_field', 'tracers', 'state'} <= set(outputs)
    assert np.isnan(outputs['thermo'].get_array('pressure_gpa')).all()


def test_refit(finish, folder, tmp_path):
    frames = read_mlab(folder / 'ML_ABN').frames
    write_mlab(tmp_path / 'ML_AB', frames, ctifor=[0.02] * 3)
    refit_of(folder, tmp_path, frames)
    inputs = {'ml_ab': orm.SinglefileData(tmp_path / 'ML_AB')}
    code, outputs = finish(folder, tags={'ml_mode': 'refit'}, inputs=inputs)
    assert code is None
    assert 'dataset' not in outputs
    assert outputs['learning_state'].get_array('order').tolist() == [0, 1, 2]
    assert outputs['results']['completed'] is True
    assert 'force_field' in outputs


def test_run_with_a_force_field(finish, folder, run, tmp_path):
    run.write(folder)
    force_field = make_force_field(tmp_path)
    code, outputs = finish(folder, tags={'ml_mode': 'run'}, inputs={'potential': force_field})
    assert code is None
    assert not {'dataset', 'learning_state', 'force_field'} & set(outputs)
    assert outputs['results']['evaluator'].startswith('vasp-mlff ')


def test_unconverged_electrons(finish, folder):
    text = (folder / 'OUTCAR').read_text()
    index = text.index('Iteration     30(')
    (folder / 'OUTCAR').write_text(
        text[:index] + text[index:].replace('EDIFF is reached', 'EDIFF was not reached (unconverged)', 1)
    )
    code, outputs = finish(folder)
    assert (code.status, code.message) == (
        430,
        'The SCF did not converge: 1 steps of DFT, the first is step 29; raise NELM or change ALGO.',
    )
    assert outputs['results']['unconverged_steps'] == [29]
    assert outputs['dataset'].get_array('steps').tolist() == [0, 2, 11]


@pytest.mark.parametrize(('steps', 'status'), [(40, 430), (100, 400)])
def test_unconverged_label_that_was_learned_is_marked(finish, folder, steps, status):
    """The dataset marks the label, even after a job that ran out of time, because ML_AB needs it."""
    spoil(folder / 'OUTCAR', 'Iteration     12(', 'EDIFF is reached', 'EDIFF was not reached (unconverged)')
    code, outputs = finish(folder, tags={'nsw': steps})
    assert code.status == status
    dataset, results = outputs['dataset'], outputs['results']
    assert dataset.get_array('steps').tolist() == [0, 2, 11, 29]
    assert dataset.get_array('converged').tolist() == [1, 1, 0, 1]
    assert (results['unconverged_steps'], results['n_unconverged_configurations']) == ([11], 1)


def test_labels_that_cannot_be_right_are_told(finish, folder, caplog):
    """VASP has learned the labels, so they stay in the job's dataset, but not in the schedule's."""
    assert finish(folder)[1]['results']['n_implausible_configurations'] == 0
    frames = read_mlab(folder / 'ML_ABN').frames
    frames[1].calc.results['forces'][3, 0] = 150.0
    write_learned(folder, frames)
    code, outputs = finish(folder)
    assert code is None
    assert outputs['dataset'].get_array('steps').tolist() == [0, 2, 11, 29]
    assert outputs['results']['n_implausible_configurations'] == 1
    assert 'the first at step 2: the force on atom 3 (Mg) is 150 eV/Å, above 100' in caplog.text
    merged = merge_datasets(part=outputs['dataset'])
    assert merged.get_array('steps').tolist() == [0, 11, 29]


@pytest.mark.parametrize(('number', 'steps'), [(12, [0, 2, 11, 29]), (30, [0, 2, 11])])
def test_electrons_that_ended_at_nelm(finish, folder, number, steps):
    """VASP 5 words: a learned label is marked, and a label that was not learned is left out."""
    path = folder / 'OUTCAR'
    path.write_text(path.read_text().replace('   ions per type', f'{scf_settings(2)}   ions per type', 1))
    assert finish(folder)[0] is None
    text, (near, far) = path.read_text(), (f'({fortran(change[1])})' for change in (NEAR, FAR))
    start = text.index(f'Iteration {number:6d}(   2)')
    path.write_text(text[:start] + text[start:].replace(near, far, 1))
    code, outputs = finish(folder)
    assert code.status == 430
    assert outputs['results']['unconverged_steps'] == [number - 1]
    dataset = outputs['dataset']
    assert dataset.get_array('steps').tolist() == steps
    assert dataset.get_array('converged').tolist() == [int(step != number - 1) for step in steps]


def test_no_force_field(finish, folder):
    (folder / 'ML_FFN').unlink()
    code, _ = finish(folder)
    assert code.status == 532
    assert '3 configurations learned in 4 steps of DFT' in code.message


@pytest.mark.parametrize(('limit', 'status'), [(0.005, 531), (0.02, None), (None, None)])
def test_spilling_factor(finish, folder, limit, status):
    code, outputs = finish(folder, settings={'spilling_limit': limit})
    assert (code.status if code else None) == status
    assert outputs['results']['max_spilling_factor'] == pytest.approx(0.01)


def test_out_of_walltime(finish, folder):
    code, outputs = finish(folder, tags={'nsw': 100})
    assert code.status == 400
    assert {'dataset', 'state', 'learning_state', 'force_field'} <= set(outputs)


def test_ended_by_the_scheduler_at_its_wall_time(finish, folder, run):
    run.write(folder, dft=DFT_STEPS, finished=False)
    code, outputs = finish(folder, tags={'nsw': 80}, scheduler_status=120)
    assert code.status == 400
    assert 'OUTCAR, line' in code.message
    assert {'dataset', 'state', 'learning_state', 'force_field'} <= set(outputs)


def test_runaway(finish, folder, run):
    run.temperature = lambda index: 300.0 if index < 30 else 5000.0
    run.write(folder, dft=DFT_STEPS)
    code, outputs = finish(folder)
    assert code.status == 520
    assert 'dataset' in outputs


@pytest.mark.parametrize(
    ('stdout', 'status'),
    [
        ('slurmstepd: error: Detected 1 oom-kill event(s)', 410),
        ('slurmstepd: error: Detected 1 oom_kill event in StepId=1.0. Some of the tasks have been OOM Killed.', 410),
        ('ERROR: [INPUT_REFUSED] INCAR, ML_FOO', 213),
        ('ERROR: [MCONF_REACHED] 100 configurations', 440),
        ('ERROR: [MB_REACHED] 400 of Mg', 442),
        ('ERROR: [NON_FINITE] step 3', 420),
    ],
)
def test_failures_that_vasp_names_leave_what_there_is(finish, folder, stdout, status):
    code, outputs = finish(folder, stdout=stdout)
    assert code.status == status
    assert 'dataset' in outputs


def boxed(*lines):
    """Return lines in the box of VASP's errors."""
    ruler = ' ' + '-' * 77
    return '\n'.join([ruler, *(f'|{"    " + line:77}|' for line in ('', *lines, '')), ruler])


@pytest.mark.parametrize(
    ('stdout', 'status'),
    [
        ('|  number of configurations exceeds ML_MCONF, increase ML_MCONF  |', 440),
        ('Please increase ML_MCONF.', 440),
        (boxed('The number of configurations is too large. Please increase', 'ML_MCONF.'), 440),
        (boxed('ML_MCONF is', 'too small'), 440),
        ('Not enough storage reserved for local reference configurations, please increase ML_MB', 442),
        (boxed('Not enough storage reserved for local reference configurations, please', 'increase ML_MB'), 442),
        (boxed('Not enough storage reserved for local reference', 'configurations, please increase', 'ML_MB !!!'), 442),
        ('Please increase ML_MB !!!', 442),
    ],
)
def test_no_room_in_the_words_of_vasp(finish, folder, run, stdout, status):
    run.write(folder, dft=DFT_STEPS, finished=False)
    code, outputs = finish(folder, tags={'nsw': 80}, stdout=f'   40 T=   300.\n{stdout}\n')
    assert code.status == status
    assert 'ML_M' in code.message
    assert '|' not in code.message
    assert {'dataset', 'learning_state', 'state'} <= set(outputs)


@pytest.mark.parametrize('stdout', ['ML_MCONF_NEW = 5 is too small', 'ML_MB = 1500 local reference configurations'])
def test_tags_that_are_no_failure(finish, folder, run, stdout):
    run.write(folder, dft=DFT_STEPS, finished=False)
    assert finish(folder, tags={'nsw': 80}, stdout=stdout)[0].status == 310


def test_run_that_discards_some_of_its_basis_ends_well(finish, folder):
    assert finish(folder, stdout=boxed('ML_MB is reached: basis functions are discarded; increase ML_MB.'))[0] is None


def test_no_room_before_the_first_step(finish, tmp_path):
    code, outputs = finish(tmp_path, stdout=boxed('Please increase', 'ML_MCONF.'))
    assert (code.status, outputs) == (440, {})


@pytest.mark.parametrize('change', [Path.unlink, lambda path: path.write_text('')])
@pytest.mark.parametrize('name', ['ML_LOGFILE', 'ML_ABN'])
def test_file_of_learning_that_is_not_there(finish, folder, name, change):
    change(folder / name)
    code, outputs = finish(folder)
    assert code.status == 310
    assert f'{name} is {"empty" if (folder / name).exists() else "missing"}' in code.message
    assert {'dataset', 'force_field', 'state'} <= set(outputs)


def test_run_without_a_limit_needs_no_log(finish, folder, run, tmp_path):
    run.write(folder)
    (folder / 'ML_LOGFILE').unlink()
    inputs, tags = {'potential': make_force_field(tmp_path)}, {'ml_mode': 'run', 'ml_estblock': 10}
    assert finish(folder, tags=tags, inputs=inputs)[0] is None
    code, _ = finish(folder, tags=tags, settings={'spilling_limit': 0.02}, inputs=inputs)
    assert 'ML_LOGFILE is missing' in code.message


def test_run_without_outcar(finish, folder, run, tmp_path):
    run.write(folder)
    (folder / 'OUTCAR').unlink()
    code, outputs = finish(folder, tags={'ml_mode': 'run'}, inputs={'potential': make_force_field(tmp_path)})
    assert code.status == 310
    assert 'OUTCAR is missing' in code.message
    assert outputs['results']['labelled_by'] == 'standin:chgnet-r2scan'
    assert {'tracers', 'state'} <= set(outputs)


def test_learning_that_was_reduced_where_it_was(finish, folder, run):
    """The reduced file has the DFT steps beside the tracers, also steps that VASP did not learn."""
    whole = finish(folder)[1]
    plan = reduction_plan(md_parameters(TAGS, mlff_settings()), START, 1)
    arrays = (
        reduce_trajectory(XdatcarReader(folder / 'XDATCAR'), plan) | summarise_outcar(folder / 'OUTCAR').to_arrays()
    )
    np.savez(folder / 'reduced.npz', **arrays, truncated=np.array(''))
    for name in ('XDATCAR', 'OUTCAR'):
        (folder / name).unlink()
    code, outputs = finish(folder)
    assert code is None
    assert set(outputs) == set(whole)
    for name in ('dataset', 'learning_state', 'force_field', 'tracers', 'state', 'thermo', 'results'):
        assert outputs[name].store().base.caching.get_hash() == whole[name].store().base.caching.get_hash()


def test_nothing_at_all(finish, tmp_path):
    code, outputs = finish(tmp_path)
    assert code.status == 300
    assert not outputs


def test_step_of_dft_without_stress_is_labelled():
    step = OutcarStep(1, True, -1.0, -1.0, START.cell.array, START.positions, np.zeros((17, 3)), None, True)
    assert 'stress' not in labelled(step, START.numbers).calc.results


def test_which_failures_are_cached():
    own = {214: False, 217: True, 310: True, 430: False, 440: False, 442: False, 531: False, 532: False}
    assert forgotten('mghdiff.vasp.mlff') == MD | own
