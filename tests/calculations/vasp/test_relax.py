"""Relaxations in VASP: the files of the job and the refused inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from vasp_runs import hydride, make_force_field, vasp_inputs

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.calculations.vasp.relax import VaspRelaxCalculation, validate_relaxation


@pytest.fixture
def inputs(aiida_profile, aiida_code_installed):
    """Inputs of a relaxation."""
    return {
        'code': aiida_code_installed(default_calc_job_plugin='mghdiff.vasp.relax', filepath_executable='/bin/true'),
        'parameters': vasp_inputs('paper')['relaxation'],
        'kpoints': vasp_inputs('paper')['kpoints'],
        'potcars': placeholder_potcars(['Mg', 'H']),
        'structure': orm.StructureData(ase=hydride()[0]),
    }


def content(folder, name):
    return Path(folder.get_abs_path(name)).read_text()


def prepare(inputs, folder):
    process = instantiate_process(get_manager().get_runner(), VaspRelaxCalculation, **inputs)
    return process.prepare_for_submission(folder)


@pytest.mark.parametrize('name', ['INCAR', 'KPOINTS'])
def test_files_of_the_paper(inputs, name, file_regression):
    with SandboxFolder() as folder:
        calcinfo = prepare(inputs, folder)
        file_regression.check(content(folder, name), extension=f'.{name}')
    assert calcinfo.retrieve_temporary_list == ['vasp_output', 'OUTCAR', 'CONTCAR']
    assert calcinfo.retrieve_list == ['vasp_output']


def test_force_field(inputs, tmp_path):
    force_field = make_force_field(tmp_path).store()
    with SandboxFolder() as folder:
        calcinfo = prepare(inputs | {'potential': force_field}, folder)
        text = content(folder, 'INCAR')
    assert 'ML_LMLFF = .TRUE.\nML_MODE = run\nML_OUTBLOCK = 1\nML_OUTPUT_MODE = 1\n' in text
    assert calcinfo.local_copy_list == [force_field.copy_entry('ML_FF')]


def test_refuses(inputs, tmp_path):
    assert validate_relaxation(inputs) is None
    relaxation = inputs['parameters'].get_dict()
    changed = orm.Dict(relaxation | {'isif': 3})
    assert 'isif = 3 is not one of 2' in validate_relaxation(inputs | {'parameters': changed})
    changed = orm.Dict(relaxation | {'nwrite': 0})
    assert 'nwrite = 0: below 2 VASP leaves forces' in validate_relaxation(inputs | {'parameters': changed})
    assert 'has no POTCAR for Mg, H' in validate_relaxation(inputs | {'potcars': {}})
    force_field = make_force_field(tmp_path, ('H', 'Ti'))
    assert 'does not know Mg; it knows H, Ti' in validate_relaxation(inputs | {'potential': force_field})


def test_exit_codes_and_the_cache():
    codes = VaspRelaxCalculation.exit_codes
    kept = {'OUT_OF_WALLTIME', 'RELAXATION_NOT_CONVERGED', 'SCF_NOT_CONVERGED', 'INPUT_REFUSED'}
    lost = {'OUTPUT_MISSING', 'OUTPUT_INVALID', 'OUTPUT_TRUNCATED', 'OUT_OF_MEMORY', 'PROGRAM_CRASHED'}
    assert {name for name in kept | lost if codes[f'ERROR_{name}'].invalidates_cache} == lost
