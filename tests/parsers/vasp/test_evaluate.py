"""VASP's results for each frame, in the order of the dataset, and an exit code for each kind of failure."""

from __future__ import annotations

import numpy as np
import pytest
from aiida.plugins import CalculationFactory
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa
from parsing import parse_job
from vasp_files import ml_step, outcar_end, outcar_head
from vasp_runs import make_force_field

from aiida_mghdiff.calculations.vasp.evaluate import frames_of, outcar_of
from aiida_mghdiff.data.dataset import DatasetData

ENTRY_POINT = 'mghdiff.vasp.evaluate'
EXIT_CODES = CalculationFactory(ENTRY_POINT).exit_codes
CELL = np.diag([3.2, 5.5, 5.2])


def labelled(formula, shift):
    atoms = Atoms(formula, cell=CELL, pbc=True)
    atoms.positions = 0.3 + shift + 0.8 * np.arange(3 * len(atoms)).reshape(-1, 3) / len(atoms)
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=atoms.positions - 1)
    return atoms


@pytest.fixture
def dataset(aiida_profile):
    return DatasetData.from_frames([labelled('MgHMg', 0.0), labelled('Mg2', 0.1)], labelled_by='vasp')


def outcar(atoms, index, end=True):
    """Return the OUTCAR of a frame; the force on an atom is its number in the file."""
    symbols = list(dict.fromkeys(atoms.get_chemical_symbols()))
    head = outcar_head(symbols, [atoms.get_chemical_symbols().count(symbol) for symbol in symbols])
    step = {
        'cell': CELL,
        'positions': atoms.positions,
        'forces': np.arange(len(atoms))[:, None] * [1.0, 0.1, 0.01],
        'stress': [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        'energy': -8.25 - index,
        'sigma0': -8.25 - index,
    }
    return head + ml_step(step) + (outcar_end() if end else '')


@pytest.fixture
def parse(dataset, aiida_localhost, tmp_path):
    """Return a function that parses a job: only given frames have an OUTCAR, with given texts if any."""

    def run(indices=(0, 1), stdout='', status=None, **texts):
        for index, (path, atoms) in enumerate(frames_of(dataset)):
            target = tmp_path / outcar_of(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if index in indices:
                target.write_text(texts.get(f'frame{index}') or outcar(atoms, index))
        (tmp_path / 'vasp_output').write_text(stdout)
        (tmp_path / 'potential').mkdir()
        inputs = {'dataset': dataset, 'potential': make_force_field(tmp_path / 'potential')}
        return parse_job(ENTRY_POINT, aiida_localhost, tmp_path, inputs, status, stdout)

    return run


def test_predictions_are_in_the_order_of_the_dataset(parse, dataset):
    code, outputs = parse()
    assert code is None
    arrays = {name: outputs['predictions'].get_array(name) for name in ('energies', 'forces', 'stresses')}
    assert arrays['energies'].tolist() == [-8.25, -9.25]
    # VASP orders Mg H Mg of the first frame as Mg Mg H
    assert arrays['forces'][:, 0].tolist() == [0.0, 2.0, 1.0, 0.0, 1.0]
    assert np.allclose(arrays['stresses'], -0.1 * GPa * np.array([[1, 2, 3, 5, 6, 4]] * 2))
    results = outputs['results'].get_dict()
    assert results['n_configurations'] == 2
    assert results['versions'] == {'vasp': 'vasp.6.4.2 20Jul23 (build) complex'}
    assert results['evaluator'].startswith('vasp-mlff ')


def test_a_frame_that_is_missing(parse):
    code, outputs = parse(indices=[0])
    assert code.status == EXIT_CODES.ERROR_OUTPUT_MISSING.status
    assert 'missing: OUTCAR for 1 of 2 frames;' in code.message
    assert not outputs


@pytest.mark.parametrize(
    ('stdout', 'status', 'name', 'message'),
    [
        ('ERROR: [POTENTIAL_UNREADABLE] ML_FF is cut.', None, 'POTENTIAL_UNREADABLE', 'ML_FF is cut'),
        ('terminate called: std::bad_alloc', None, 'OUT_OF_MEMORY', 'bad_alloc'),
        ('| ERROR: internal error in  |\n| module ml_ff_main   |', None, 'PROGRAM_CRASHED', 'internal error'),
        ('', 120, 'OUT_OF_WALLTIME', 'wall time'),
    ],
)
def test_why_a_frame_is_missing(parse, stdout, status, name, message):
    code, _ = parse([], stdout, status)
    assert code.status == EXIT_CODES[f'ERROR_{name}'].status
    assert message in code.message


def test_a_frame_of_other_atoms(parse, dataset):
    _, atoms = list(frames_of(dataset))[1]
    atoms.positions[0] += 0.5
    code, _ = parse(frame1=outcar(atoms, 1))
    assert code.status == EXIT_CODES.ERROR_OUTPUT_INVALID.status
    assert 'frames/Mg/OUTCAR_000001: positions in OUTCAR do not match the structure' in code.message


def test_a_frame_without_a_word_of_the_force_field(parse):
    code, _ = parse(frame1=outcar_head(['Mg'], [2]) + outcar_end())
    assert code.status == EXIT_CODES.ERROR_OUTPUT_INVALID.status
    assert 'frames/Mg/OUTCAR_000001: OUTCAR has no energy, forces and stress of the force field' in code.message
