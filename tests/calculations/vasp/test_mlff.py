"""Learning in VASP: the files of the job and the refused inputs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from vasp_md_runs import START, contcar_text, labelled_frames, learning_state, mlff_inputs, state_of
from vasp_runs import make_force_field

from aiida_mghdiff.calculations.vasp.mlff import VaspMlffCalculation, ensemble_of
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.iconst import iconst_text
from aiida_mghdiff.formats.incar import read_incar
from aiida_mghdiff.formats.mlab import labelled_by_of, read_mlab, write_mlab
from aiida_mghdiff.formats.poscar import read_poscar


@pytest.fixture
def inputs(aiida_profile, aiida_code_installed):
    code = aiida_code_installed(default_calc_job_plugin='mghdiff.vasp.mlff', filepath_executable='/bin/true')
    return mlff_inputs(code)


@pytest.fixture
def folder():
    with SandboxFolder() as sandbox:
        yield sandbox


def prepare(inputs, folder):
    process = instantiate_process(get_manager().get_runner(), VaspMlffCalculation, **inputs)
    return process.prepare_for_submission(folder)


def text_of(folder, name):
    return Path(folder.get_abs_path(name)).read_text()


def with_tags(inputs, **tags):
    parameters = {key: value for key, value in (inputs['parameters'].get_dict() | tags).items() if value is not None}
    return inputs | {'parameters': orm.Dict(parameters)}


def with_settings(inputs, **changes):
    return inputs | {'settings': orm.Dict(inputs['settings'].get_dict() | changes)}


def dataset_of(frames, **options):
    return DatasetData.from_frames(frames, **options)


def mlab_node(frames, folder):
    write_mlab(folder / 'any_name', frames, ctifor=[0.02] * len(frames))
    return orm.SinglefileData(folder / 'any_name', filename='ML_ABN')


def test_files_of_learning_from_nothing(inputs, folder, file_regression):
    calcinfo = prepare(inputs, folder)
    assert sorted(folder.get_content_list()) == ['INCAR', 'KPOINTS', 'POSCAR', 'POTCAR']
    file_regression.check(text_of(folder, 'INCAR'), extension='.INCAR')
    assert read_poscar(text_of(folder, 'POSCAR')).velocities is None
    assert 'Mg_standin' in text_of(folder, 'POTCAR')
    assert set(calcinfo.provenance_exclude_list) == {'POTCAR', 'ML_AB'}
    assert calcinfo.retrieve_list == ['vasp_last_lines']
    kept = ['CONTCAR', 'ML_ABN', 'ML_FFN', 'ML_LOGFILE', 'OSZICAR', 'OUTCAR', 'XDATCAR', 'vasp_output']
    assert sorted(calcinfo.retrieve_temporary_list) == kept


def test_wall_time_leaves_room_for_a_single_point(inputs, folder):
    inputs['metadata']['options']['max_wallclock_seconds'] = 1000
    assert 'sleep 850 ' in prepare(inputs, folder).prepend_text


def test_own_mlab_and_iconst_are_copied(inputs, folder, tmp_path):
    inputs['ml_ab'] = mlab_node(labelled_frames(2), tmp_path).store()
    inputs['iconst'] = orm.SinglefileData(io.StringIO(iconst_text(START.cell.array, 'fixed')), 'any').store()
    calcinfo = prepare(inputs, folder)
    assert (inputs['ml_ab'].uuid, 'ML_ABN', 'ML_AB') in calcinfo.local_copy_list
    assert (inputs['iconst'].uuid, 'any', 'ICONST') in calcinfo.local_copy_list


def test_datasets_become_mlab(inputs, folder):
    """Datasets and learning state give back the learned file: order, thresholds, basis, masses, numbers."""
    frames = labelled_frames(5)
    inputs['configurations'] = {'part001': dataset_of(frames[3:]), 'part000': dataset_of(frames[:3])}
    inputs['learning_state'] = learning_state(order=[4, 0, 2])
    prepare(inputs, folder)
    mlab = read_mlab(folder.get_abs_path('ML_AB'))
    for frame, index in zip(mlab.frames, [4, 0, 2], strict=True):
        assert np.array_equal(frame.positions, frames[index].positions)
        assert np.array_equal(frame.calc.results['forces'], frames[index].calc.results['forces'])
        assert np.array_equal(frame.calc.results['stress'], frames[index].calc.results['stress'])
        assert frame.calc.results['energy'] == frames[index].calc.results['energy']
    assert mlab.ctifor == [0.01, 0.02, 0.03]
    assert mlab.types == ['Mg', 'H']
    assert mlab.basis['Mg'].tolist() == [[1, 2], [3, 1]]
    assert mlab.masses == {'Mg': 24.305, 'H': 1.0}


@pytest.mark.parametrize('mode', ['train', 'select'])
@pytest.mark.parametrize(
    ('labels', 'name'), [('standin:mace:0123456789ab', 'stand-in mace:0123456789ab Mg16H'), ('vasp', 'Mg16H')]
)
def test_configurations_of_the_standin_are_marked(inputs, folder, mode, labels, name):
    """VASP copies the names of the configurations that it reads, so its output is marked, too."""
    inputs['configurations'] = {'part000': dataset_of(labelled_frames(3), labelled_by=labels)}
    if mode == 'train':
        inputs['learning_state'] = learning_state([2, 0, 1])
    prepare(with_tags(inputs, ml_mode=mode), folder)
    frames = read_mlab(folder.get_abs_path('ML_AB')).frames
    assert {frame.info['system_name'] for frame in frames} == {name}
    assert {labelled_by_of(frame) for frame in frames} == {labels}


def test_selection_needs_no_learning_state(inputs, folder):
    inputs = with_tags(inputs, ml_mode='select')
    inputs['configurations'] = {'part000': dataset_of(labelled_frames(3))}
    calcinfo = prepare(inputs, folder)
    assert len(read_mlab(folder.get_abs_path('ML_AB')).frames) == 3
    assert 'XDATCAR' not in calcinfo.retrieve_temporary_list


def test_own_contcar_goes_on(inputs, folder):
    del inputs['structure']
    contcar = contcar_text(START, predictor_corrector=True)
    owner = {'engine': 'vasp', 'ensemble': 'npt', 'integrator': 'MDALGO = 3'}
    inputs['state'] = state_of(START, 40, **owner, restart=contcar.encode()).store()
    inputs = with_settings(inputs, first_step=40)
    calcinfo = prepare(inputs, folder)
    assert 'POSCAR' not in folder.get_content_list()
    assert (inputs['state'].uuid, 'restart.bin', 'POSCAR') in calcinfo.local_copy_list


def test_predictor_corrector_is_dropped_where_the_ensemble_changes(inputs, folder):
    del inputs['structure']
    contcar = contcar_text(START, predictor_corrector=True)
    inputs['state'] = state_of(START, 40, engine='vasp', ensemble='nvt', restart=contcar.encode()).store()
    prepare(with_settings(inputs, first_step=40), folder)
    poscar = read_poscar(text_of(folder, 'POSCAR'))
    assert poscar.predictor_corrector is None
    assert np.array_equal(poscar.velocities, inputs['state'].get_array('velocities'))


def test_poscar_of_a_stage_that_goes_on(inputs, folder, file_regression):
    """If VASP left no CONTCAR of the same motion, POSCAR has positions, and velocities in Å/fs."""
    del inputs['structure']
    inputs['state'] = state_of(START, 200_000)
    inputs = with_settings(with_tags(inputs, tebeg=300.0, teend=300.0), first_step=200_000, stage='hold300')
    prepare(inputs, folder)
    file_regression.check(text_of(folder, 'POSCAR'), extension='.POSCAR')


@pytest.mark.parametrize(('mdalgo', 'goes_on'), [(2, True), (3, False)])
def test_predictor_corrector_is_of_one_thermostat(inputs, folder, mdalgo, goes_on):
    """NVT with Langevin's thermostat cannot read the block of NVT with Nosé's."""
    del inputs['structure']
    owner = {'engine': 'vasp', 'ensemble': 'nvt', 'integrator': 'MDALGO = 2'}
    contcar = contcar_text(START, predictor_corrector=True)
    inputs['state'] = state_of(START, 40, **owner, restart=contcar.encode()).store()
    calcinfo = prepare(with_settings(with_tags(inputs, isif=2, mdalgo=mdalgo, smass=0), first_step=40), folder)
    assert ('POSCAR' in folder.get_content_list()) != goes_on
    assert ((inputs['state'].uuid, 'restart.bin', 'POSCAR') in calcinfo.local_copy_list) == goes_on
    if not goes_on:
        poscar = read_poscar(text_of(folder, 'POSCAR'))
        assert poscar.predictor_corrector is None
        assert np.array_equal(poscar.velocities, inputs['state'].get_array('velocities'))


def test_refit_goes_on_from_nothing_that_moved(inputs, folder):
    del inputs['structure']
    owner = {'engine': 'vasp', 'ensemble': 'npt', 'integrator': 'MDALGO = 3'}
    inputs['state'] = state_of(START, 40, **owner, restart=contcar_text(START).encode()).store()
    inputs |= {
        'configurations': {'part000': dataset_of(labelled_frames(3))},
        'learning_state': learning_state([0, 1, 2]),
    }
    tags = {'encut': 600, 'ml_lmlff': True, 'ml_mode': 'refit'}
    prepare(with_settings(inputs | {'parameters': orm.Dict(tags)}, first_step=40), folder)
    assert read_poscar(text_of(folder, 'POSCAR')).symbols == ['Mg', 'H']


def test_run_reads_a_force_field(inputs, folder, tmp_path):
    inputs = with_tags(inputs, ml_mode='run', ml_outblock=10, encut=None, ml_mconf=None)
    inputs['potential'] = make_force_field(tmp_path).store()
    calcinfo = prepare(inputs, folder)
    assert (inputs['potential'].uuid, 'potential.model', 'ML_FF') in calcinfo.local_copy_list
    assert 'ML_ABN' not in calcinfo.retrieve_temporary_list
    assert read_incar(folder.get_abs_path('INCAR'))['ML_MODE'] == 'run'


def test_job_that_is_killed_before_reducing_keeps_what_dft_computed(inputs, folder, aiida_code_installed):
    """Only OUTCAR has the configurations that DFT computed and VASP did not learn."""
    inputs['reduce_code'] = aiida_code_installed(label='reduce', filepath_executable='/bin/true')
    calcinfo = prepare(inputs, folder)
    assert {'OUTCAR', 'XDATCAR', 'ML_ABN', 'reduced.npz'} <= set(calcinfo.retrieve_temporary_list)


def test_dry_run_has_no_potcar(inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs['metadata'] |= {'dry_run': True, 'store_provenance': False}
    run_get_node(VaspMlffCalculation, **inputs)
    (potcar,) = tmp_path.glob('submit_test/*/POTCAR')
    assert [line.split()[1] for line in potcar.read_text().splitlines()] == ['Mg_standin', 'H_standin']
    assert 'END of PSCTR' not in potcar.read_text()


@pytest.mark.parametrize(
    ('tags', 'ensemble'),
    [
        ({'isif': 3, 'mdalgo': 3}, 'npt'),
        ({'isif': 2, 'mdalgo': 3}, 'nvt'),
        ({'isif': 2, 'mdalgo': 2, 'smass': 0}, 'nvt'),
        ({'isif': 2, 'mdalgo': 2, 'smass': -3}, 'nve'),
        ({'isif': 2, 'mdalgo': 1, 'andersen_prob': 0.0}, 'nve'),
        ({'isif': 2, 'mdalgo': 1, 'andersen_prob': 0.1}, 'nvt'),
    ],
)
def test_ensemble_follows_from_the_tags(tags, ensemble):
    assert ensemble_of(tags) == ensemble


def refuse(inputs, message):
    with pytest.raises(ValueError, match=message):
        run_get_node(VaspMlffCalculation, **inputs)


@pytest.mark.parametrize(
    ('tags', 'message'),
    [
        ({'ml_mode': 'Train2'}, "one of train, select, refit, run, not 'Train2'"),
        ({'ml_lmlff': False}, 'ml_lmlff must be true'),
        ({'encut': None}, 'lack encut'),
        ({'random_seed': None}, 'lack random_seed'),
        ({'tebeg': 0}, 'below 0.1 K VASP relaxes'),
        ({'teend': 0.0}, 'below 0.1 K VASP relaxes'),
        ({'langevin_gamma': [10.0]}, 'one friction for each of 2 species'),
        ({'langevin_gamma': None}, 'one friction for each of 2 species'),
        ({'ibrion': 2}, 'ibrion = 2 is not one of 0'),
        ({'tebeg': '300'}, "tebeg = '300' is not a number"),
        ({'random_seed': 5}, 'random_seed = 5 is not a list'),
        ({'ENCUT': 500}, 'write ENCUT in lower case'),
        ({'nwrite': 1}, 'nwrite = 1: below 2 VASP leaves forces and the SCF out'),
        ({'ml_mode': 'run'}, 'mode run needs a force field'),
        ({'ml_mode': 'refit'}, 'mode refit needs labelled configurations'),
    ],
)
def test_wrong_tags_are_refused(inputs, tags, message):
    refuse(with_tags(inputs, **tags), message)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'tracer_element': 'Li'}, 'tracer_element = Li, but the start has H, Mg'),
        ({'tracer_stride': 0}, 'settings: tracer_stride = 0'),
        ({'colour': 'red'}, 'settings.colour: no such key'),
    ],
)
def test_wrong_settings_are_refused(inputs, settings, message):
    refuse(with_settings(inputs, **settings), message)


def test_spilling_limit_needs_spilling_factors(inputs, tmp_path):
    """VASP does not compute them while learning; a run needs ML_ESTBLOCK (ML_IERR) for them."""
    limited = with_settings(inputs, spilling_limit=0.02)
    refuse(limited, 'spilling_limit is only for mode run')
    run = with_tags(limited, ml_mode='run') | {'potential': make_force_field(tmp_path)}
    refuse(run, 'set ml_estblock')
    refuse(with_tags(run, ml_estblock=0), 'set ml_estblock')
    refuse(with_tags(run, ml_estblock=50), '40 steps have no spilling factor: every 50')


@pytest.mark.parametrize('tag', ['ml_estblock', 'ml_ierr'])
def test_spilling_limit_of_a_run(inputs, folder, tmp_path, tag):
    run = with_tags(with_settings(inputs, spilling_limit=0.02), ml_mode='run', **{tag: 20})
    prepare(run | {'potential': make_force_field(tmp_path).store()}, folder)
    assert read_incar(folder.get_abs_path('INCAR'))[tag.upper()] == '20'


def test_wrong_starts_are_refused(inputs):
    refuse(inputs | {'state': state_of(START, 0)}, 'either a structure')
    atoms = START[[0, 16, *range(1, 16)]]
    refuse(inputs | {'structure': orm.StructureData(ase=atoms)}, 'species are not grouped')
    refuse(inputs | {'potcars': {'Mg': inputs['potcars']['Mg']}}, 'no POTCAR for H')
    del inputs['structure']
    refuse(with_settings(inputs | {'state': state_of(START, 30)}, first_step=40), 'the state is of step 30')


def test_contradicting_iconst_is_refused(inputs):
    other = START.cell.array * np.array([[1.0], [1.0], [1.1]])
    iconst = orm.SinglefileData(io.StringIO(iconst_text(other, 'fixed')), 'ICONST')
    refuse(inputs | {'iconst': iconst}, 'iconst: .*give the ratio of the cell')
    iconst = orm.SinglefileData(io.StringIO('no such thing\n'), 'ICONST')
    refuse(inputs | {'iconst': iconst}, 'iconst: .*no kind of coordinate')


def test_wrong_known_configurations_are_refused(inputs, tmp_path):
    frames = labelled_frames(3)
    mlab = mlab_node(frames, tmp_path)
    refuse(with_tags(inputs | {'ml_ab': mlab}, ml_mconf=3), 'ml_mconf = 3, but 3 configurations are known already')
    strange = [frame.copy() for frame in frames]
    for frame, labelled in zip(strange, frames, strict=True):
        frame.symbols[-1] = 'Li'
        frame.calc = labelled.calc
    refuse(inputs | {'ml_ab': mlab_node(strange, tmp_path)}, 'known configurations have Li')
    damaged = orm.SinglefileData(io.BytesIO(b' 1.0 Version\n nonsense\n'), 'ML_AB')
    refuse(inputs | {'ml_ab': damaged}, 'ml_ab, line 2')
    parts = {'part000': dataset_of(frames)}
    refuse(inputs | {'configurations': parts}, 'needs a learning_state')
    refuse(inputs | {'configurations': parts, 'ml_ab': mlab}, 'either ml_ab or configurations')
    refuse(inputs | {'learning_state': learning_state([0, 1, 2])}, 'give the configurations, too')
    parts |= {'part001': dataset_of(labelled_frames(1, seed=2), labelled_by='standin:chgnet-r2scan')}
    refuse(
        inputs | {'configurations': parts, 'learning_state': learning_state([0, 1, 2])},
        'labelled by standin:chgnet-r2scan, vasp: give configurations of one origin',
    )


def test_wrong_force_fields_are_refused(inputs, tmp_path):
    run = with_tags(inputs, ml_mode='run')
    refuse(run | {'potential': make_force_field(tmp_path, ('Mg',))}, 'does not know H; it knows Mg')
    refuse(run | {'potential': make_force_field(tmp_path, fast=False)}, 'no fast mode')
    refuse(inputs | {'potential': make_force_field(tmp_path)}, 'read only in mode run')


def test_slow_force_field_runs_where_that_is_said(inputs, folder, tmp_path):
    inputs = with_tags(inputs, ml_mode='run', ml_lfast=False) | {'potential': make_force_field(tmp_path, fast=False)}
    prepare(inputs | {'potential': inputs['potential'].store()}, folder)
    assert read_incar(folder.get_abs_path('INCAR'))['ML_LFAST'] == '.FALSE.'


def test_known_configurations_are_not_stored_again(inputs):
    inputs['configurations'] = {'part000': dataset_of(labelled_frames(3))}
    inputs['learning_state'] = learning_state(order=[0, 1, 2])
    _, node = run_get_node(VaspMlffCalculation, **inputs)
    assert node.exit_status == 300, node.exit_message
    assert {'POTCAR', 'ML_AB'} <= set(node.outputs.remote_folder.listdir())
    assert not {'POTCAR', 'ML_AB'} & set(node.base.repository.list_object_names())
