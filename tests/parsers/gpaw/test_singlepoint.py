"""The parser of GPAW's single points: labels in full precision, and an exit code for each kind of failure."""

from __future__ import annotations

import json

import numpy as np
import pytest
from aiida import orm
from aiida.plugins import CalculationFactory
from ase import Atoms
from ase.build import bulk
from parsing import parse_job

ENTRY_POINT = 'mghdiff.gpaw.singlepoint'
EXIT_CODES = CalculationFactory(ENTRY_POINT).exit_codes
RESULTS = {
    'total_energy': -2.25,
    'potential_energy': -2.5123456789012345,
    'forces': [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]],
    'stress': [0.01, 0.02, 0.03, 0.04, 0.05, 0.06],
    'number_of_iterations': 12,
    'versions': {'gpaw': '22.8.0', 'ase': '3.22.1'},
}
MG = bulk('Mg', 'hcp', a=3.2, c=5.19)
TRACEBACK = 'Traceback (most recent call last):\n  File "aiida_script.py", line 12, in <module>\n'


@pytest.fixture
def parse(aiida_profile, aiida_localhost, tmp_path):
    """Return a function that parses the files of a job."""

    def run(results=None, stderr='', scheduler_status=None, atoms=MG):
        if results is not None:
            (tmp_path / 'results.json').write_text(results)
        inputs = {'structure': orm.StructureData(ase=atoms)}
        kept = {'stderr.txt': stderr}
        return parse_job(ENTRY_POINT, aiida_localhost, tmp_path, inputs, scheduler_status, kept=kept)

    return run


def test_converged(parse):
    code, outputs = parse(json.dumps(RESULTS))
    assert code is None
    arrays = outputs['dataset'].get_arrays()
    assert arrays['energies'].tolist() == [RESULTS['potential_energy']]
    assert np.array_equal(arrays['forces'], RESULTS['forces'])
    assert np.array_equal(arrays['stresses'], [RESULTS['stress']])
    attributes = outputs['dataset'].base.attributes
    assert (attributes.get('labelled_by'), attributes.get('energy_kind')) == ('gpaw', 'free')
    assert outputs['results'].get_dict() == {
        'free_energy_ev': RESULTS['potential_energy'],
        'energy_sigma0_ev': -2.25,
        'converged': True,
        'n_electronic_steps': 12,
        'labelled_by': 'gpaw',
        'versions': RESULTS['versions'],
    }


def test_label_of_an_isolated_atom_is_one_configuration(parse):
    """The workflow that collects labels asks for the label by its frame."""
    atoms = Atoms('H', cell=[12, 12, 12], pbc=True)
    code, outputs = parse(json.dumps(RESULTS | {'forces': [[0, 0, 0]]}), atoms=atoms)
    assert code is None
    assert outputs['dataset'].get_arrays()['energies'].tolist() == [RESULTS['potential_energy']]
    assert outputs['dataset'].isolated_atoms == {}


@pytest.mark.parametrize(
    ('stderr', 'name', 'words'),
    [
        (f'{TRACEBACK}gpaw.KohnShamConvergenceError: Did not converge!', 'SCF_NOT_CONVERGED', 'Did not converge'),
        (
            f'{TRACEBACK}FileNotFoundError: Could not find required PAW dataset file "U.PBE".',
            'CODE_LACKS_ELEMENT',
            'U.PBE',
        ),
        (f"{TRACEBACK}ModuleNotFoundError: No module named 'gpaw'", 'ENGINE_MISSING', 'No module'),
        (f'{TRACEBACK}ImportError: libxc.so.9: cannot open shared object file', 'ENGINE_MISSING', 'libxc.so.9'),
        (f'{TRACEBACK}numpy.core._exceptions._ArrayMemoryError: Unable to allocate', 'OUT_OF_MEMORY', 'Unable'),
        (f'{TRACEBACK}TypeError: Unknown keyword argument: "xd"', 'INPUT_REFUSED', 'xd'),
        (f'{TRACEBACK}NameError: Unknown functional: "PBEE".', 'INPUT_REFUSED', 'PBEE'),
        (f"{TRACEBACK}KeyError: 'nosuch'", 'INPUT_REFUSED', 'nosuch'),
        (f'{TRACEBACK}ValueError: Too few bands!  Electrons: 20, bands: 1', 'INPUT_REFUSED', 'Too few bands'),
        (
            f"{TRACEBACK}KeyError: 'nosuch'\n\nDuring handling of the above exception, another exception occurred:\n\n"
            f'{TRACEBACK}gpaw.calculator.InputError: The convergence keyword "nosuch" is not known.',
            'INPUT_REFUSED',
            'The convergence keyword',
        ),
        (f"{TRACEBACK}KeyError: 'x'\n\nDuring ...\n\n{TRACEBACK}AssertionError", 'PROGRAM_CRASHED', 'AssertionError'),
        (f'{TRACEBACK}AssertionError', 'PROGRAM_CRASHED', 'AssertionError'),
        ('', 'OUTPUT_MISSING', 'output of the scheduler'),
        ('slurmstepd: error: node failure\n', 'OUTPUT_MISSING', 'node failure'),
    ],
)
def test_failures(parse, stderr, name, words):
    code, outputs = parse(stderr=stderr)
    assert code.status == EXIT_CODES[f'ERROR_{name}'].status
    assert words in code.message
    assert not outputs


@pytest.mark.parametrize(
    'change', [{'forces': [[0.0, 0.0, 101.0], [0.0, 0.0, -101.0]]}, {'stress': [0.0, 0.0, 0.0, -1.1, 0.0, 0.0]}]
)
def test_label_that_cannot_be_right_is_none(parse, change):
    code, outputs = parse(json.dumps(RESULTS | change))
    assert (code.status, code.message.partition(':')[0]) == (431, 'The label cannot be right')
    assert 'dataset' not in outputs
    assert 'results' in outputs


@pytest.mark.parametrize(
    'results',
    [
        '{"potential_energy": -2.5, "forces": [[',
        json.dumps({key: value for key, value in RESULTS.items() if key != 'stress'}),
        json.dumps(RESULTS | {'forces': [[0.1, 0.2, 0.3]]}),
        json.dumps(RESULTS | {'potential_energy': float('nan')}),
    ],
)
def test_damaged_results(parse, results):
    code, outputs = parse(results)
    assert code.status == EXIT_CODES['ERROR_OUTPUT_INVALID'].status
    assert 'dataset' not in outputs


@pytest.mark.parametrize('status', [110, 120])
def test_the_scheduler_knows_better(parse, status):
    """If the scheduler killed the job for memory or time, AiiDA's own exit code stays."""
    code, _ = parse(stderr='Terminated', scheduler_status=status)
    assert code is None
