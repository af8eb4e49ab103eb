"""The parser of VASP's single points: the origin of the labels, and an exit code for each kind of failure."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.plugins import CalculationFactory
from ase import Atoms
from ase.units import GPa
from parsing import parse_job
from vasp_files import FAR, NEAR, REACHED, dft_step, loop_step, outcar_end, outcar_head, scf_settings

ENTRY_POINT = 'mghdiff.vasp.singlepoint'
EXIT_CODES = CalculationFactory(ENTRY_POINT).exit_codes
CELL = np.diag([3.2, 5.5, 5.2])
POSITIONS = np.array([[0.1, 0.2, 0.3], [1.5, -0.25, 2.0], [1.0, 4.0, 5.3]])
STEP = {
    'cell': CELL,
    'positions': POSITIONS % np.diag(CELL),
    'forces': np.arange(9).reshape(3, 3) / 10,
    'stress': [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    'energy': -8.25,
    'sigma0': -8.2,
}
HEAD = outcar_head(['Mg', 'H'], [2, 1])


@pytest.fixture
def parse(aiida_profile, aiida_localhost, tmp_path):
    """Return a function that parses the files of a job."""

    def run(outcar=None, stdout='', scheduler_status=None):
        if outcar is not None:
            (tmp_path / 'OUTCAR').write_text(outcar)
        structure = orm.StructureData(ase=Atoms('Mg2H', cell=CELL, positions=POSITIONS, pbc=True))
        return parse_job(ENTRY_POINT, aiida_localhost, tmp_path, {'structure': structure}, scheduler_status, stdout)

    return run


def test_converged(parse):
    code, outputs = parse(HEAD + dft_step(1, STEP) + outcar_end())
    assert code is None
    arrays = outputs['dataset'].get_arrays()
    assert arrays['energies'].tolist() == [-8.25]
    assert np.array_equal(arrays['forces'], STEP['forces'])
    assert np.array_equal(arrays['positions'], POSITIONS)
    assert np.allclose(arrays['stresses'], -0.1 * GPa * np.array([[1, 2, 3, 5, 6, 4]]))
    assert outputs['dataset'].base.attributes.get('labelled_by') == 'vasp'
    assert outputs['results'].get_dict() == {
        'free_energy_ev': -8.25,
        'energy_sigma0_ev': -8.2,
        'converged': True,
        'labelled_by': 'vasp',
        'versions': {'vasp': 'vasp.6.4.2 20Jul23 (build) complex'},
        'max_memory_mb': 470384 / 1024,
    }


@pytest.mark.parametrize('version', ['vasp.5.4.4.18Apr17-6-g9f103f2a35 (build) complex', 'vasp.6.4.2 20Jul23 (build)'])
@pytest.mark.parametrize(('last', 'status'), [(FAR, 430), (NEAR, None)])
def test_electrons_that_ended_at_nelm(parse, version, last, status):
    """VASP 5 says that EDIFF is reached all the same; no label is stored, and a workflow repeats the frame."""
    head = outcar_head(['Mg', 'H'], [2, 1], version=version, settings=scf_settings(8))
    code, outputs = parse(head + loop_step(1, STEP, [*(7 * [FAR]), last], REACHED) + outcar_end())
    assert (code and code.status) == status
    assert ('dataset' in outputs) == (status is None)
    assert outputs['results']['converged'] == (status is None)
    if code:
        words = 'it did not reach EDIFF = 1e-06 eV within NELM = 8 iterations. Raise nelm or set algo.'
        assert code.message == f'The SCF did not converge: {words}'


def test_electrons_of_which_nothing_is_known(parse):
    """In a trimmed OUTCAR VASP 5 says of every loop that EDIFF is reached."""
    code, outputs = parse(HEAD + loop_step(1, STEP, [], REACHED) + outcar_end())
    assert (code.status, outputs['results']['converged'], 'dataset' in outputs) == (430, None, False)
    assert "its convergence is unknown, since OUTCAR has no 'Iteration' lines" in code.message


FORCES = np.array([[0.0, 0.0, 0.0], [0.0, -150.0, 0.0], [0.0, 150.0, 0.0]])


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'forces': FORCES}, 'the force on atom 1 (Mg) is 150 eV/Å, above 100'),
        ({'stress': [0, 0, 2000.0, 0, 0, 0]}, 'a stress of 1.248 eV/Å³ (200 GPa) is above 1 eV/Å³'),
    ],
)
def test_label_that_cannot_be_right_is_none(parse, change, words):
    code, outputs = parse(HEAD + dft_step(1, STEP | change) + outcar_end())
    assert (code.status, code.invalidates_cache) == (431, False)
    assert code.message.startswith(f'The label cannot be right: {words}. Atoms are too close')
    assert 'dataset' not in outputs
    assert outputs['results']['free_energy_ev'] == -8.25


def test_a_stand_in_is_named(parse):
    mark = ' NOT VASP: stand-in, labels chgnet-r2scan\n'
    head = outcar_head(['Mg', 'H'], [2, 1], version='vasp.6.4.2-standin mghdiff-vasp-standin 0.1', extra=mark)
    code, outputs = parse(head + dft_step(1, STEP) + outcar_end())
    assert code is None
    assert outputs['dataset'].base.attributes.get('labelled_by') == 'standin:chgnet-r2scan'
    assert outputs['results']['labelled_by'] == 'standin:chgnet-r2scan'
    assert outputs['results']['versions']['vasp'].startswith('vasp.6.4.2-standin')


@pytest.mark.parametrize(
    ('outcar', 'stdout', 'name', 'words'),
    [
        (None, 'srun: error: node failure', 'OUTPUT_MISSING', 'node failure'),
        (HEAD + dft_step(1, STEP, converged=False) + outcar_end(), '', 'SCF_NOT_CONVERGED', 'NELM'),
        (HEAD + dft_step(1, STEP), '', 'OUTPUT_MISSING', 'ends without'),
        (HEAD, '', 'OUTPUT_MISSING', 'ends without'),
        (None, 'ERROR: [INPUT_REFUSED] tag ENCUTT is unknown', 'INPUT_REFUSED', 'ENCUTT'),
        (HEAD, 'ERROR: [ELEMENT_UNKNOWN] no Uuo in the model', 'CODE_LACKS_ELEMENT', 'Uuo'),
        (HEAD, 'terminate called after std::bad_alloc', 'OUT_OF_MEMORY', 'bad_alloc'),
        (HEAD, ' |     ZBRENT: fatal error in bracketing      |', 'PROGRAM_CRASHED', 'ZBRENT'),
        ('nonsense\n', '', 'OUTPUT_INVALID', 'no OUTCAR'),
        (HEAD + dft_step(1, STEP | {'positions': POSITIONS[::-1]}) + outcar_end(), '', 'OUTPUT_INVALID', 'not match'),
    ],
)
def test_failures(parse, outcar, stdout, name, words):
    code, outputs = parse(outcar, stdout)
    assert code.status == EXIT_CODES[f'ERROR_{name}'].status
    assert words in code.message
    assert 'pytest' not in code.message
    assert 'dataset' not in outputs


@pytest.mark.parametrize('outcar', [None, HEAD, HEAD + dft_step(1, STEP)])
@pytest.mark.parametrize('status', [110, 120])
def test_the_scheduler_knows_better(parse, outcar, status):
    """If the scheduler killed the job for memory or time, AiiDA's own exit code stays."""
    code, outputs = parse(outcar, scheduler_status=status)
    assert code is None
    assert 'dataset' not in outputs
