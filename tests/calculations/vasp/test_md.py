"""Molecular dynamics in VASP: the files of the job and the refused inputs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.datastructures import CodeRunMode
from aiida.common.folders import SandboxFolder
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from vasp_md_runs import START, contcar_text, md_inputs, state_of, vasp_md_parameters

from aiida_mghdiff.calculations.functions.parameters import plan_diffusion
from aiida_mghdiff.calculations.vasp import job
from aiida_mghdiff.calculations.vasp.md import VaspMdCalculation, barostat_mass_amu, output_block
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.iconst import check_iconst, read_iconst
from aiida_mghdiff.formats.ml_ff import MlFfHeader, write_ml_ff
from aiida_mghdiff.formats.poscar import read_poscar
from aiida_mghdiff.science.trajectory_reduction import ReductionPlan
from aiida_mghdiff.workflows.diffusion import DiffusionWorkChain


@pytest.fixture
def inputs(aiida_profile, aiida_code_installed, tmp_path):
    code = aiida_code_installed(default_calc_job_plugin='mghdiff.vasp.md', filepath_executable='/bin/true')
    return md_inputs(code, tmp_path)


@pytest.fixture
def folder():
    with SandboxFolder() as sandbox:
        yield sandbox


def prepare(inputs, folder):
    process = instantiate_process(get_manager().get_runner(), VaspMdCalculation, **inputs)
    return process.prepare_for_submission(folder)


def text_of(folder, name):
    return Path(folder.get_abs_path(name)).read_text()


@pytest.mark.parametrize('ensemble', ['nve', 'nvt', 'npt'])
def test_incar(inputs, folder, ensemble, file_regression):
    inputs['parameters'] = orm.Dict(vasp_md_parameters(ensemble))
    prepare(inputs, folder)
    file_regression.check(text_of(folder, 'INCAR'), extension='.INCAR')


@pytest.mark.parametrize('stage', ['npt', 'nvt', 'nve'])
def test_files_of_the_paper(inputs, folder, stage, file_regression):
    """The files of each stage are kept for an expert to read; NVE begins with velocities."""
    settings = DiffusionWorkChain.get_settings('vasp-mlff', 'paper')
    plan = plan_diffusion(orm.Dict(settings), orm.Float(480.0), orm.StructureData(ase=START[:16]))
    inputs['parameters'] = plan[{'npt': 'npt', 'nvt': 'nvt_0', 'nve': 'nve_0'}[stage]]
    if stage == 'nve':
        del inputs['structure']
        inputs['state'] = state_of(START, 0)
    prepare(inputs, folder)
    names = [name for name in ('INCAR', 'ICONST', 'KPOINTS', 'POSCAR') if name in folder.get_content_list()]
    assert ('ICONST' in names) == (stage == 'npt')
    file_regression.check(''.join(f'# {name}\n{text_of(folder, name)}' for name in names))


def test_files_of_a_run_from_a_structure(inputs, folder):
    calcinfo = prepare(inputs, folder)
    assert sorted(folder.get_content_list()) == ['INCAR', 'KPOINTS', 'POSCAR', 'POTCAR']
    poscar = read_poscar(text_of(folder, 'POSCAR'))
    assert (poscar.symbols, poscar.counts, poscar.velocities) == (['Mg', 'H'], [16, 1], None)
    assert np.abs(poscar.positions - START.positions).max() < 1e-13
    assert 'Mg_standin' in text_of(folder, 'POTCAR')
    assert calcinfo.local_copy_list == [(inputs['potential'].uuid, 'potential.model', 'ML_FF')]
    assert calcinfo.provenance_exclude_list == ['POTCAR']
    assert calcinfo.retrieve_list == ['vasp_last_lines']
    assert sorted(calcinfo.retrieve_temporary_list) == ['CONTCAR', 'OSZICAR', 'OUTCAR', 'XDATCAR', 'vasp_output']


def test_constant_shape(inputs, folder, tmp_path):
    inputs['parameters'] = orm.Dict(vasp_md_parameters('npt'))
    prepare(inputs, folder)
    check_iconst(read_iconst(folder.get_abs_path('ICONST')), START.cell.array, len(START))
    assert 'S 0 0 0 ' in text_of(folder, 'ICONST')


def test_state_of_another_engine_brings_its_velocities(inputs, folder):
    del inputs['structure']
    inputs['state'] = state_of(START, 40, engine='lammps', ensemble='nvt', restart=b'binary').store()
    inputs['parameters'] = orm.Dict(vasp_md_parameters('nvt', first_step=40))
    calcinfo = prepare(inputs, folder)
    poscar = read_poscar(text_of(folder, 'POSCAR'))
    assert np.array_equal(poscar.velocities, inputs['state'].get_array('velocities'))
    assert poscar.predictor_corrector is None
    assert len(calcinfo.local_copy_list) == 1


def test_own_contcar_goes_on_within_its_ensemble(inputs, folder):
    del inputs['structure']
    contcar = contcar_text(START, predictor_corrector=True)
    owner = {'engine': 'vasp', 'ensemble': 'nvt', 'integrator': 'MDALGO = 3'}
    inputs['state'] = state_of(START, 40, **owner, restart=contcar.encode()).store()
    inputs['parameters'] = orm.Dict(vasp_md_parameters('nvt', first_step=40))
    calcinfo = prepare(inputs, folder)
    assert 'POSCAR' not in folder.get_content_list()
    assert (inputs['state'].uuid, 'restart.bin', 'POSCAR') in calcinfo.local_copy_list


@pytest.mark.parametrize(
    ('ensemble', 'first_step', 'integrator'),
    [('nve', 40, 'MDALGO = 3'), ('nvt', 0, 'MDALGO = 3'), ('nvt', 40, 'MDALGO = 2'), ('nvt', 40, None)],
)
def test_predictor_corrector_is_dropped_where_another_run_begins(inputs, folder, ensemble, first_step, integrator):
    del inputs['structure']
    contcar = contcar_text(START, predictor_corrector=True)
    owner = {'engine': 'vasp', 'ensemble': 'nvt', 'integrator': integrator}
    inputs['state'] = state_of(START, 40, **owner, restart=contcar.encode()).store()
    inputs['parameters'] = orm.Dict(vasp_md_parameters(ensemble, first_step=first_step))
    prepare(inputs, folder)
    poscar = read_poscar(text_of(folder, 'POSCAR'))
    assert poscar.predictor_corrector is None
    assert np.array_equal(poscar.velocities, inputs['state'].get_array('velocities'))


def test_segments_have_noise_of_their_own(inputs, folder):
    del inputs['structure']
    seeds = set()
    for step in (0, 40, 80):
        inputs['state'] = state_of(START, step)
        inputs['parameters'] = orm.Dict(vasp_md_parameters('nvt', first_step=step))
        prepare(inputs, folder)
        seeds |= {line for line in text_of(folder, 'INCAR').splitlines() if line.startswith('RANDOM_SEED')}
    assert len(seeds) == 3


def test_vasp_is_stopped_before_its_wall_time(inputs, folder):
    inputs['metadata']['options']['max_wallclock_seconds'] = 1000
    calcinfo = prepare(inputs, folder)
    assert "sleep 950 & wait $!; echo 'LSTOP = .TRUE.' > STOPCAR" in calcinfo.prepend_text
    assert calcinfo.append_text.splitlines() == [
        'tail -n 500 vasp_output > vasp_last_lines',
        'kill $mghdiff_stopper 2> /dev/null',
    ]


def test_reducing_code_keeps_the_trajectory_where_it_is(inputs, folder, aiida_code_installed):
    inputs['reduce_code'] = aiida_code_installed(label='reduce', filepath_executable='/bin/true')
    calcinfo = prepare(inputs, folder)
    # OUTCAR and XDATCAR get another name once they are reduced, and are then not retrieved
    wanted = ['CONTCAR', 'OSZICAR', 'OUTCAR', 'XDATCAR', 'reduce.txt', 'reduced.npz', 'vasp_output']
    assert sorted(calcinfo.retrieve_temporary_list) == wanted
    assert calcinfo.codes_run_mode == CodeRunMode.SERIAL
    assert [code.cmdline_params for code in calcinfo.codes_info] == [None, ['mghdiff.pyz']]
    plan = ReductionPlan(**json.loads(text_of(folder, 'input.json')))
    assert (plan.tracers, plan.block) == ([16], 2)
    assert sum(plan.host_weights) == pytest.approx(1)


def test_dry_run_leaves_titles_and_hashes(inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs['metadata'] |= {'dry_run': True, 'store_provenance': False}
    run_get_node(VaspMdCalculation, **inputs)
    (potcar,) = tmp_path.glob('submit_test/*/POTCAR')
    mg, h = potcar.read_text().splitlines()
    assert mg == f'STANDIN Mg_standin placeholder  sha512 {inputs["potcars"]["Mg"].sha512}'
    assert h.startswith('STANDIN H_standin')
    assert 'END of PSCTR' not in ''.join(path.read_text() for path in potcar.parent.glob('[A-Z]*'))


def test_barostat_mass_is_that_of_the_strain():
    """With this mass the volume of an elastic body oscillates as with a strain mass of 3 N kT tau²."""
    cell = np.diag([10.0, 11.0, 12.0])
    mass = barostat_mass_amu(cell, 100, 300.0, 0.5)
    strain_mass_ev_fs2 = mass / 9.648533e-3 * (cell**2).sum()
    assert strain_mass_ev_fs2 == pytest.approx(3 * 100 * 8.617333e-5 * 300 * 500.0**2, rel=1e-6)


@pytest.mark.parametrize(
    ('changes', 'block'),
    [
        ({}, 2),
        ({'tracer_stride': 10, 'thermo_stride': 20, 'frame_stride': 100, 'steps': 1000}, 10),
        ({'tracer_stride': 10, 'thermo_stride': 20, 'frame_stride': 100, 'steps': 1000, 'first_step': 137}, 1),
        ({'tracer_stride': 10, 'thermo_stride': 20, 'frame_stride': 100, 'steps': 863}, 1),
    ],
)
def test_output_block_meets_strides_and_both_ends(changes, block):
    assert output_block(vasp_md_parameters('nve', **changes)) == block


def test_starts_of_other_runs_need_every_step():
    assert output_block(vasp_md_parameters('nvt')) == 1


def force_field_with(folder, **changes):
    path = folder / 'other'
    header = {'version': '0.2.1', 'elements': ['Mg', 'H'], 'fast': True, 'standin': 'chgnet-r2scan'} | changes
    write_ml_ff(path, MlFfHeader(**header), b'content')
    options = {'architecture': 'vasp-mlff', 'origin': 'on-the-fly', 'dtype': 'float64'}
    return {'potential': PotentialData.from_file(path, elements=header['elements'], **options)}


def interleaved():
    atoms = START.copy()
    return {'structure': orm.StructureData(ase=atoms[[0, 16, *range(1, 16)]])}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda _: {'potcars': {}}, 'no POTCAR for Mg, H'),
        (lambda folder: force_field_with(folder, fast=False), 'no fast mode'),
        (lambda folder: force_field_with(folder, version='0.1.0'), 'of an older VASP'),
        (lambda folder: force_field_with(folder, elements=['Mg']), 'does not know H;'),
        (lambda _: interleaved(), 'species are not grouped: Mg comes back'),
        (lambda _: {'parameters': orm.Dict(vasp_md_parameters(dtype='float32'))}, 'set evaluator to auto'),
        (lambda _: {'parameters': orm.Dict(vasp_md_parameters(evaluator='torch'))}, 'set evaluator to auto'),
        (lambda _: {'parameters': orm.Dict(vasp_md_parameters(temperature_k=0.0))}, 'at least 1 K'),
    ],
)
def test_invalid_inputs_are_refused(inputs, change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run_get_node(VaspMdCalculation, **(inputs | change(tmp_path)))


def test_potcar_of_another_element_is_refused(inputs):
    inputs['potcars'] = {'Mg': inputs['potcars']['H'], 'H': inputs['potcars']['H']}
    with pytest.raises(ValueError, match=r'potcars\.Mg is a POTCAR of H'):
        run_get_node(VaspMdCalculation, **inputs)


def test_stopper_ends_with_the_job(tmp_path):
    """The shell that would write STOPCAR ends with VASP, and so does its sleep."""
    start, end = job.stopping_text(987654, 0.0)
    (tmp_path / 'job.sh').write_text(f'{start}\nsleep 0.3\npgrep -cf "sleep 987654"\n{end}\nwait ${job.STOPPER}\n')
    done = subprocess.run(['bash', 'job.sh'], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)
    left = subprocess.run(['pgrep', '-cf', 'sleep 987654'], capture_output=True, text=True, check=False)
    assert (int(done.stdout), int(left.stdout)) == (1, 0)
    assert not (tmp_path / 'STOPCAR').exists()


def test_stopper_writes_stopcar_in_time(tmp_path):
    start, end = job.stopping_text(1, 0.0)
    script = f'{start}\nsleep 2\n{end}'
    subprocess.run(['bash', '-c', script], cwd=tmp_path, timeout=20, check=False)
    assert (tmp_path / 'STOPCAR').read_text() == 'LSTOP = .TRUE.\n'


def test_nothing_licensed_is_stored(inputs):
    """POTCAR is in the job's folder, not in its repository; a program that does nothing has no output."""
    inputs['metadata']['options']['max_wallclock_seconds'] = 3600
    _, node = run_get_node(VaspMdCalculation, **inputs)
    assert node.exit_status == 300, node.exit_message
    assert 'POTCAR' in node.outputs.remote_folder.listdir()
    assert 'POTCAR' not in node.base.repository.list_object_names()
    assert sorted(node.outputs.retrieved.base.repository.list_object_names()) == [
        '_scheduler-stderr.txt',
        '_scheduler-stdout.txt',
        'vasp_last_lines',
    ]
