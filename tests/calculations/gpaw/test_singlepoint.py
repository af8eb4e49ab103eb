"""Single points with GPAW: written files, refused inputs, and real runs if GPAW is installed."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from ase.build import bulk

from aiida_mghdiff.calculations.gpaw.singlepoint import validate_parameters
from aiida_mghdiff.workflows.label import LabelWorkChain

CALCULATION = CalculationFactory('mghdiff.gpaw.singlepoint')


def gpaw_parameters(protocol, overrides=None):
    """Return the parameters of a protocol."""
    return LabelWorkChain.get_parameters('gpaw', protocol, {'gpaw': {'parameters': overrides or {}}})[0]


def inputs_of(code, atoms, parameters, mesh=(1, 1, 1)):
    """Return the inputs of a job."""
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh(list(mesh))
    structure = orm.StructureData(ase=atoms)
    options = {'max_wallclock_seconds': 600}
    return {
        'code': code,
        'structure': structure,
        'parameters': orm.Dict(parameters),
        'kpoints': kpoints,
        'metadata': {'options': options},
    }


@pytest.mark.parametrize('protocol', LabelWorkChain.get_available_protocols())
def test_script(protocol, generate_workchain, aiida_code_installed, host, file_regression):
    """The files hold aiida-ase's script for each protocol, so that an expert can read them."""
    code = aiida_code_installed(default_calc_job_plugin='mghdiff.gpaw.singlepoint')
    inputs = inputs_of(code, host.get_ase(), gpaw_parameters(protocol), mesh=(4, 4, 3))
    with SandboxFolder() as folder:
        calcinfo = generate_workchain(CALCULATION, inputs).prepare_for_submission(folder)
        assert calcinfo.retrieve_list == [calcinfo.codes_info[0].stdout_name] == ['aiida.out']
        assert calcinfo.retrieve_temporary_list == ['results.json']
        with folder.open('aiida_script.py') as handle:
            file_regression.check(handle.read(), extension='.txt')


def test_the_same_structure_gives_the_same_file(generate_workchain, aiida_code_installed, host):
    code = aiida_code_installed(default_calc_job_plugin='mghdiff.gpaw.singlepoint')
    texts = []
    for _ in range(2):
        with SandboxFolder() as folder:
            inputs = inputs_of(code, host.get_ase(), gpaw_parameters('smoke'))
            generate_workchain(CALCULATION, inputs).prepare_for_submission(folder)
            with folder.open('aiida_atoms.json') as handle:
                texts.append(handle.read())
    assert texts[0] == texts[1]
    assert 'user' not in texts[0]


@pytest.mark.parametrize('protocol', LabelWorkChain.get_available_protocols())
def test_protocols_are_valid(protocol):
    for parameters in LabelWorkChain.get_parameters('gpaw', protocol):
        assert validate_parameters(orm.Dict(parameters)) is None


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'optimizer': {'name': 'BFGS'}}, 'parameters.optimizer: no such key; known are atoms_getters, calculator,'),
        ({'kpoints_option': {}}, 'parameters.kpoints_option: no such key; did you mean kpoints_options?'),
        ({'atoms_getters': ['forces']}, 'atoms_getters must be as in a protocol'),
        ({'calculator': 'gpaw'}, "calculator = 'gpaw' is not a dictionary"),
        ({'calculator': {'name': 'emt'}}, "'emt' is not gpaw"),
        ({'calculator': {'name': 'gpaw', 'args': ['mode']}}, "args = ['mode'] is not a dictionary"),
        ({'calculator': {'name': 'gpaw'}}, 'args lack convergence, mode, occupations, xc'),
    ],
)
def test_refuses(change, message):
    assert message in validate_parameters(orm.Dict(gpaw_parameters('smoke') | change))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'mode': {'@function': 'LCAO'}}, 'only plane waves'),
        ({'mode': {'@function': 'PW', 'args': None}}, 'only plane waves'),
        ({'mode': {'@function': 'PW', 'args': {'ecut': -5.0}}}, 'only plane waves'),
        ({'kpts': [2, 2, 2]}, 'give the k-points as kpoints'),
    ],
)
def test_refuses_arguments(change, message):
    parameters = gpaw_parameters('smoke')
    parameters['calculator']['args'] |= change
    assert message in validate_parameters(orm.Dict(parameters))


def test_forces_and_stress_are_derivatives_of_the_free_energy(gpaw):
    """Finite differences of the labels check signs, order, units and the choice of the free energy."""
    atoms = bulk('Mg', 'hcp', a=3.2, c=5.19)
    atoms.positions[1] += (0.1, 0.05, -0.2)
    converged = {'convergence': {'energy': 1e-6, 'density': 1e-6, 'forces': 1e-3}}
    parameters = gpaw_parameters('smoke', {'calculator': {'args': converged}})

    def label(moved):
        outputs, node = run_get_node(CALCULATION, **inputs_of(gpaw, moved, parameters))
        assert node.is_finished_ok, node.exit_message
        log = outputs['retrieved'].base.repository.get_object_content(node.get_option('output_filename'))
        assert 'Energy contributions relative to reference atoms' in log
        return outputs['dataset'].get_arrays(), outputs['results'].get_dict()

    arrays, results = label(atoms)
    assert results['versions'].keys() == {'gpaw', 'ase'}
    assert results['free_energy_ev'] < results['energy_sigma0_ev'] - 1e-3
    assert arrays['energies'] == pytest.approx(results['free_energy_ev'])
    assert np.abs(arrays['forces'][0] + arrays['forces'][1]).max() < 0.02
    step, energies = 0.02, []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 2] += sign * step
        energies.append(label(moved)[0]['energies'][0])
    assert arrays['forces'][1, 2] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=0.02)


def test_electrons_that_do_not_converge(gpaw):
    parameters = gpaw_parameters('smoke', {'calculator': {'args': {'maxiter': 2}}})
    outputs, node = run_get_node(CALCULATION, **inputs_of(gpaw, bulk('Mg', 'hcp', a=3.2, c=5.19), parameters))
    assert node.exit_status == CALCULATION.exit_codes.ERROR_SCF_NOT_CONVERGED.status
    assert 'dataset' not in outputs


def test_element_without_a_paw_dataset(gpaw):
    atoms = bulk('Mg', 'hcp', a=3.2, c=5.19)
    atoms.symbols[1] = 'U'
    _, node = run_get_node(CALCULATION, **inputs_of(gpaw, atoms, gpaw_parameters('smoke')))
    assert node.exit_status == CALCULATION.exit_codes.ERROR_CODE_LACKS_ELEMENT.status
    assert '"U.PBE"' in node.exit_message


def test_interpreter_without_gpaw(codes):
    atoms = bulk('Mg', 'hcp', a=3.2, c=5.19)
    _, node = run_get_node(CALCULATION, **inputs_of(codes['python'], atoms, gpaw_parameters('smoke')))
    assert node.exit_status == CALCULATION.exit_codes.ERROR_ENGINE_MISSING.status


@pytest.mark.parametrize(
    ('name', 'forgotten'),
    [
        ('ENGINE_MISSING', True),
        ('CODE_LACKS_ELEMENT', True),
        ('INPUT_REFUSED', False),
        ('OUTPUT_MISSING', True),
        ('OUTPUT_INVALID', True),
        ('PROGRAM_CRASHED', True),
        ('OUT_OF_MEMORY', True),
        ('SCF_NOT_CONVERGED', False),
    ],
)
@pytest.mark.parametrize('entry_point', ['mghdiff.gpaw.singlepoint', 'mghdiff.vasp.singlepoint'])
def test_what_the_cache_forgets(entry_point, name, forgotten, aiida_profile):
    codes = CalculationFactory(entry_point).exit_codes
    assert codes[f'ERROR_{name}'].invalidates_cache is forgotten
    assert len({code.status for code in codes.values()}) == len(codes)
