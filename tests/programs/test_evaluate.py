from __future__ import annotations

import numpy as np
import pytest
from models import make_tiny_mace
from program_runs import chgnet_file, example_arrays, mixed_indices, run_program

from aiida_mghdiff.formats.frames import frames_from_arrays
from aiida_mghdiff.programs import evaluate, job

TINY = {'architecture': 'mace', 'elements': ['H', 'Mg'], 'head': None, 'dtype': 'float64'}
CHGNET = {'architecture': 'chgnet', 'elements': ['H', 'Mg'], 'head': None, 'dtype': 'float32'}


@pytest.fixture(scope='module')
def arrays():
    return example_arrays(mixed_indices(3))


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    path = make_tiny_mace(tmp_path_factory.mktemp('tiny') / 'tiny.model', channels=4, r_max=4.0, max_ell=1, fit=False)
    return path, TINY


def parameters(dtype):
    return {'dtype': dtype, 'device': 'cpu'}


def test_mace(tmp_path, arrays, tiny):
    from mace.calculators import MACECalculator

    results = run_program(tmp_path, 'evaluate', {'dataset': arrays}, tiny, parameters=parameters('float64'))
    assert results['n_configurations'] == 3
    predictions = np.load(tmp_path / 'predictions.npz')
    assert predictions['forces'].shape == arrays['forces'].shape
    assert predictions['stresses'].shape == (3, 6)
    calculator = MACECalculator(model_paths=str(tiny[0]), device='cpu', default_dtype='float64')
    atoms = frames_from_arrays(arrays)[2]
    atoms.calc = calculator
    assert predictions['energies'][2] == pytest.approx(atoms.get_potential_energy())
    assert predictions['forces'][-len(atoms) :] == pytest.approx(atoms.get_forces())
    assert predictions['stresses'][2] == pytest.approx(atoms.get_stress())


def test_chgnet(tmp_path, arrays):
    run_program(tmp_path, 'evaluate', {'dataset': arrays}, (chgnet_file(), CHGNET), parameters=parameters('float32'))
    predictions = np.load(tmp_path / 'predictions.npz')
    assert np.sqrt(np.mean((predictions['forces'] - arrays['forces']) ** 2)) < 0.3


def test_unknown_element(tmp_path, arrays, tiny):
    strange = arrays | {'numbers': np.where(arrays['numbers'] == 1, 8, 12)}
    with pytest.raises(job.ProgramError) as error:
        run_program(tmp_path, 'evaluate', {'dataset': strange}, tiny, parameters=parameters('float64'))
    assert error.value.name == 'ELEMENT_UNKNOWN'


def test_chgnet_in_float64_is_refused(tmp_path, arrays):
    with pytest.raises(job.ProgramError) as error:
        run_program(
            tmp_path, 'evaluate', {'dataset': arrays}, (chgnet_file(), CHGNET), parameters=parameters('float64')
        )
    assert error.value.name == 'INPUT_REFUSED'


class Constant:
    """A calculator with one number for all results."""

    def __init__(self, value):
        self.value = value

    def get_potential_energy(self, atoms, **_):
        return self.value

    def get_forces(self, atoms):
        return np.full((len(atoms), 3), self.value)

    def get_stress(self, atoms):
        return np.full(6, self.value)


def test_numbers_that_are_not_finite(arrays):
    with pytest.raises(job.ProgramError, match='frame 0') as error:
        evaluate.predict(frames_from_arrays(arrays), Constant(np.nan), job.WallClock(None))
    assert error.value.name == 'NON_FINITE'


def test_out_of_walltime(arrays):
    with pytest.raises(job.ProgramError, match='0 of 3') as error:
        evaluate.predict(frames_from_arrays(arrays), Constant(1.0), job.WallClock(0.0))
    assert error.value.name == 'OUT_OF_WALLTIME'
