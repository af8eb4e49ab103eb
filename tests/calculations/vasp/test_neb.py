"""Elastic bands in VASP: the files of the job and the refused inputs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from ase import Atom
from ase.optimize import BFGS
from vasp_runs import end_results, hydride, make_force_field, standin_code, straight_path, vasp_inputs

from aiida_mghdiff.calculations.vasp.neb import VaspNebCalculation, validate_band
from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.formats.poscar import read_poscar
from aiida_mghdiff.programs.calculators.loading import load_calculator
from aiida_mghdiff.science.lattice.geometry import hcp_paths


def tags(protocol='smoke', **changes):
    return orm.Dict(vasp_inputs(protocol)['parameters'].get_dict() | changes)


@pytest.fixture
def inputs(aiida_profile, aiida_code_installed):
    """Inputs of a band of one image."""
    potcars = placeholder_potcars(['Mg', 'H'])
    return {
        'code': aiida_code_installed(default_calc_job_plugin='mghdiff.vasp.neb', filepath_executable='/bin/true'),
        'parameters': tags(),
        'kpoints': vasp_inputs()['kpoints'],
        'potcars': potcars,
        'images': straight_path(hydride(), 1),
        'initial_results': end_results(),
        'final_results': end_results(-25.8),
        'metadata': {'options': {'max_wallclock_seconds': 3600, 'withmpi': False}},
    }


def content(folder, name):
    return Path(folder.get_abs_path(name)).read_text()


def prepare(inputs, folder):
    process = instantiate_process(get_manager().get_runner(), VaspNebCalculation, **inputs)
    return process.prepare_for_submission(folder)


def test_files(inputs):
    with SandboxFolder() as folder:
        calcinfo = prepare(inputs, folder)
        assert {'INCAR', 'KPOINTS', 'POSCAR', 'POTCAR', '00', '01', '02'} == set(folder.get_content_list())
        for index, image in enumerate(inputs['images'].get_positions()):
            poscar = read_poscar(folder.get_abs_path(f'0{index}/POSCAR'))
            assert poscar.symbols == ['Mg', 'H']
            assert poscar.positions == pytest.approx(image, abs=1e-13)
        assert 'Mg_standin' in content(folder, 'POTCAR')
    assert calcinfo.provenance_exclude_list == ['POTCAR']
    assert calcinfo.retrieve_temporary_list == ['vasp_output', ('01/OUTCAR', '.', 2), ('01/CONTCAR', '.', 2)]
    assert calcinfo.local_copy_list == []
    assert 'sleep 3420' in calcinfo.prepend_text


@pytest.mark.parametrize('protocol', ['paper', 'balanced', 'demo', 'smoke'])
def test_incar(inputs, protocol, file_regression):
    parameters = tags(protocol)
    with SandboxFolder() as folder:
        prepare(inputs | {'parameters': parameters, 'images': straight_path(hydride(), parameters['images'])}, folder)
        file_regression.check(content(folder, 'INCAR'), extension='.INCAR')


def test_force_field(inputs, tmp_path, file_regression):
    force_field = make_force_field(tmp_path).store()
    ends = {name: end_results(evaluator=f'vasp-mlff {force_field.base.attributes.get("sha256")[:12]}') for name in ENDS}
    parameters = vasp_inputs('paper', force_field)['parameters']
    images = straight_path(hydride(), parameters['images'])
    with SandboxFolder() as folder:
        calcinfo = prepare(
            inputs | ends | {'potential': force_field, 'parameters': parameters, 'images': images}, folder
        )
        file_regression.check(content(folder, 'INCAR'), extension='.INCAR')
    targets = [target for uuid, _, target in calcinfo.local_copy_list if uuid == force_field.uuid]
    assert targets == ['ML_FF', *(f'{index:02d}/ML_FF' for index in range(1, 11))]


def test_dry_run_has_no_potcar(inputs):
    inputs['metadata'] = {'dry_run': True, 'store_provenance': False}
    with SandboxFolder() as folder:
        prepare(inputs, folder)
        text = content(folder, 'POTCAR')
    assert text.startswith('STANDIN Mg_standin placeholder  sha512 ')
    assert 'VRHFIN' not in text


ENDS = ('initial_results', 'final_results')


def test_refuses_tags(inputs):
    assert validate_band(inputs) is None

    def message(**changes):
        return validate_band(inputs | {'parameters': tags(**changes)})

    assert 'ibrion = 2 is not one of 3' in message(ibrion=2)
    assert 'ediffg = 0.01 is not a negative number' in message(ediffg=0.01)
    assert 'LCLIMB in lower case' in message(LCLIMB=True)
    assert 'ml_mode cannot be given' in message(ml_mode='run')
    assert 'images = 3 needs 5' in message(images=3)
    assert 'nwrite = 1: below 2 VASP leaves forces' in message(nwrite=1)
    assert 'nwrite = 2.5: below 2' in message(nwrite=2.5)
    assert message(nwrite=2) is None
    parameters = inputs['parameters'].get_dict()
    del parameters['iopt']
    assert 'lack iopt' in validate_band(inputs | {'parameters': orm.Dict(parameters)})


def test_refuses_systems(inputs, tmp_path):
    potcars = inputs['potcars']
    assert 'potcars has no POTCAR for H' in validate_band(inputs | {'potcars': {'Mg': potcars['Mg']}})
    ends = hydride()
    mixed = [atoms[[0, 16, *range(1, 16)]] for atoms in ends]
    assert 'species are not grouped' in validate_band(inputs | {'images': straight_path(mixed, 1)})
    assert 'no fast mode' in validate_band(inputs | {'potential': make_force_field(tmp_path, fast=False)})
    assert 'does not know H; it knows Mg' in validate_band(inputs | {'potential': make_force_field(tmp_path, ('Mg',))})


def test_refuses_force_field_of_another_engine(inputs, tiny_potential):
    assert 'VASP runs vasp-mlff potentials, not mace' in validate_band(inputs | {'potential': tiny_potential})


def test_refuses_ranks_that_images_cannot_share(inputs):
    three = {'parameters': tags(images=3), 'images': straight_path(hydride(), 3)}
    options = {'withmpi': True, 'resources': {'num_machines': 2, 'num_mpiprocs_per_machine': 16}}
    message = validate_band(inputs | three | {'metadata': {'options': options}})
    assert message == '32 MPI ranks cannot be shared by 3 images: ask for a multiple of 3.'
    options['resources'] = {'tot_num_mpiprocs': 30, 'num_machines': 2}
    assert validate_band(inputs | three | {'metadata': {'options': options}}) is None


def test_refuses_ends_that_give_no_honest_barrier(inputs, tmp_path):
    def message(**changes):
        return validate_band(inputs | {'final_results': end_results(**changes)})

    assert 'forces of 0.300 eV/Å are above ediffg = -0.1' in message(max_force_ev_per_angstrom=0.3)
    assert message(unconverged_steps=[1, 3]) is None
    assert 'final_results: the SCF did not converge at its last step' in message(unconverged_steps=[3, 7])
    assert 'was computed with vasp-mlff 0123, the band uses dft: relax' in message(evaluator='vasp-mlff 0123')
    assert 'final_results lacks evaluator, free_energy_ev' in validate_band(
        inputs | {'final_results': orm.Dict({'max_force_ev_per_angstrom': 0.0, 'labelled_by': 'vasp'})}
    )
    force_field = make_force_field(tmp_path)
    assert 'initial_results was computed with dft' in validate_band(inputs | {'potential': force_field})


def test_exit_codes_and_the_cache():
    codes = VaspNebCalculation.exit_codes
    kept = {'OUT_OF_WALLTIME', 'NEB_NOT_CONVERGED', 'ENDS_OF_OTHER_LABELS', 'SCF_NOT_CONVERGED'}
    lost = {'VTST_MISSING', 'OUTPUT_MISSING', 'OUTPUT_INVALID', 'OUTPUT_TRUNCATED', 'OUT_OF_MEMORY', 'PROGRAM_CRASHED'}
    assert {name for name in kept | lost if codes[f'ERROR_{name}'].invalidates_cache} == lost


@pytest.mark.slow
def test_stops_before_its_wall_time_and_goes_on(inputs, codes, tiny_mace):
    origin = f'standin:mace:{hashlib.sha256(tiny_mace.read_bytes()).hexdigest()[:12]}'
    inputs |= {name: end_results(-27.3, labelled_by=origin) for name in ENDS}
    inputs |= {'code': standin_code(codes['python'].computer, tiny_mace)}
    inputs |= {'metadata': {'options': {'max_wallclock_seconds': 60}}}
    never = tags(ediffg=-1e-16, nsw=100000)
    ends = {name: end_results(-27.3, labelled_by=origin, max_force_ev_per_angstrom=0.0) for name in ENDS}
    outputs, node = run_get_node(VaspNebCalculation, **(inputs | ends | {'parameters': never}))
    assert node.exit_status == 400, node.exit_message
    assert outputs['results']['converged'] is False

    inputs['metadata'] = {'options': {'max_wallclock_seconds': 600}}
    outputs, node = run_get_node(VaspNebCalculation, **(inputs | {'images': outputs['path']}))
    assert node.is_finished_ok, node.exit_message
    assert outputs['results']['n_steps'] == 1


@pytest.mark.slow
def test_path_up_to_the_point_between_two_sites(inputs, codes, host, tiny_mace):
    """A tracer exactly between two tetrahedral sites stays there, so the band has no saddle point."""
    first, last = hcp_paths(np.array(host.cell), host.get_ase().positions)['T-T']
    ends = [relaxed(host.get_ase() + Atom('H', place), tiny_mace) for place in (first, (first + last) / 2)]
    origin = f'standin:mace:{hashlib.sha256(tiny_mace.read_bytes()).hexdigest()[:12]}'
    inputs |= {
        name: end_results(atoms.get_potential_energy(), labelled_by=origin)
        for name, atoms in zip(ENDS, ends, strict=True)
    }
    inputs |= {'code': standin_code(codes['python'].computer, tiny_mace), 'images': straight_path(ends, 1)}
    outputs, node = run_get_node(VaspNebCalculation, **inputs)
    assert node.is_finished_ok, node.exit_message
    results = outputs['results'].get_dict()
    assert results['reverse_barrier_ev'] is results['saddle_image'] is None
    assert 'the final end is no minimum of this potential' in results['reverse_barrier_reason']
    assert (
        results['forward_barrier_ev'] == pytest.approx(results['reaction_energy_ev']) == pytest.approx(0.082, abs=5e-3)
    )
    assert 'saddle' not in outputs


def relaxed(atoms, model):
    """Return atoms relaxed with a MACE model, without a displacement before."""
    atoms.calc = load_calculator({'architecture': 'mace', 'head': None}, model, 'float64')
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=300)
    return atoms
