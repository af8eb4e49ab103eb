"""Single points with VASP: the written files and the refused inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.plugins import CalculationFactory

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars, placeholder_text
from aiida_mghdiff.calculations.vasp.singlepoint import validate_inputs, validate_parameters
from aiida_mghdiff.formats.poscar import read_poscar
from aiida_mghdiff.workflows.label import LabelWorkChain

CALCULATION = CalculationFactory('mghdiff.vasp.singlepoint')


def vasp_parameters():
    """Return the tags of the paper."""
    return LabelWorkChain.get_parameters('vasp', 'paper')[0]


@pytest.fixture
def inputs(aiida_profile, aiida_code_installed, host):
    """Inputs of a single point."""
    atoms = host.get_ase()
    atoms.append('H')
    atoms.positions += np.random.default_rng(2).normal(scale=0.1, size=(17, 3))
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([4, 4, 4])
    return {
        'code': aiida_code_installed(
            default_calc_job_plugin='mghdiff.vasp.singlepoint', filepath_executable='/bin/true'
        ),
        'structure': orm.StructureData(ase=atoms),
        'potcars': placeholder_potcars(['Mg', 'H']),
        'parameters': orm.Dict(vasp_parameters()),
        'kpoints': kpoints,
        'metadata': {'options': {'resources': {'num_machines': 1}}},
    }


@pytest.fixture
def prepare(generate_workchain, inputs):
    """Return a function that writes the files of a job; it returns their texts and the calculation info."""

    def run(**metadata):
        process = generate_workchain(CALCULATION, inputs | {'metadata': inputs['metadata'] | metadata})
        with SandboxFolder() as folder:
            calcinfo = process.prepare_for_submission(folder)
            return {path.name: path.read_text() for path in Path(folder.abspath).iterdir()}, calcinfo

    return run


@pytest.mark.parametrize('name', ['INCAR', 'KPOINTS'])
def test_files_of_the_paper(prepare, name, file_regression):
    files, _ = prepare()
    assert set(files) == {'INCAR', 'KPOINTS', 'POSCAR', 'POTCAR'}
    file_regression.check(files[name], extension=f'.{name}')


def test_structure_and_potcars(prepare, inputs):
    files, calcinfo = prepare()
    poscar = read_poscar(files['POSCAR'])
    assert np.allclose(poscar.positions, inputs['structure'].get_ase().positions, rtol=0, atol=1e-12)
    assert files['POTCAR'] == placeholder_text('Mg') + placeholder_text('H')
    assert 'POTCAR' in calcinfo.provenance_exclude_list
    assert calcinfo.retrieve_list == ['vasp_output']
    assert calcinfo.retrieve_temporary_list == ['vasp_output', 'OUTCAR']


def test_a_dry_run_leaves_no_text_of_a_potcar(prepare):
    files, _ = prepare(dry_run=True, store_provenance=False)
    assert files['POTCAR'].startswith('STANDIN Mg_standin placeholder  sha512 ')
    assert 'PSCTR' not in files['POTCAR']


@pytest.mark.parametrize('protocol', LabelWorkChain.get_available_protocols())
def test_protocols_are_valid(protocol):
    for parameters in LabelWorkChain.get_parameters('vasp', protocol):
        assert validate_parameters(orm.Dict(parameters)) is None


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'nsw': 10}, 'nsw = 10 is not one of 0'),
        ({'encut': -1}, 'encut = -1 is not a positive number'),
        ({'isif': 0}, 'isif = 0 is not one of 2, 3'),
        ({'ml_lmlff': True}, 'ml_lmlff: ML_* tags are not allowed'),
    ],
)
def test_refuses_tags(aiida_profile, change, message):
    found = validate_parameters(orm.Dict(vasp_parameters() | change))
    assert message in found


def test_refuses_missing_tags(aiida_profile):
    parameters = vasp_parameters()
    del parameters['encut'], parameters['isif']
    assert 'lack encut, isif' in validate_parameters(orm.Dict(parameters))


def test_refuses_potcars_and_mixed_atoms(inputs):
    assert validate_inputs(inputs) is None
    assert 'potcars has no POTCAR for H' in validate_inputs(inputs | {'potcars': placeholder_potcars(['Mg'])})
    swapped = {'Mg': inputs['potcars']['H'], 'H': inputs['potcars']['Mg']}
    assert 'potcars.Mg is a POTCAR of H' in validate_inputs(inputs | {'potcars': swapped})
    mixed = orm.StructureData(ase=inputs['structure'].get_ase()[[0, 16, 1]])
    assert 'by element' in validate_inputs(inputs | {'structure': mixed})
