"""CHGNet's own calculator is the reference."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_mghdiff.programs.calculators.chgnet import ChgnetCalculator


@pytest.fixture(scope='module')
def calculators():
    from chgnet.model.dynamics import CHGNetCalculator
    from chgnet.model.model import CHGNet

    options = {'use_device': 'cpu', 'verbose': False}
    return ChgnetCalculator(CHGNet.load(**options)), CHGNetCalculator(CHGNet.load(**options), use_device='cpu')


@pytest.mark.parametrize('repeats', [(1, 1, 1), (2, 2, 1), (3, 2, 2)])
def test_agrees_with_the_calculator_of_chgnet(calculators, repeats):
    atoms = bulk('Mg', 'hcp', a=3.2, c=5.19).repeat(repeats)
    atoms += Atoms('H', [atoms.positions[0] + [1.6, 0.92, 1.3]])
    rng = np.random.default_rng(2)
    atoms.set_cell(atoms.cell @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    ours, theirs = calculators
    reference = atoms.copy()
    atoms.positions[-1] += 40 * atoms.cell[0] - 30 * atoms.cell[2]  # an unwrapped tracer, far away
    atoms.calc, reference.calc = ours, theirs
    assert atoms.get_potential_energy() == pytest.approx(reference.get_potential_energy(), abs=2e-5)
    np.testing.assert_allclose(atoms.get_forces(), reference.get_forces(), atol=5e-6)
    np.testing.assert_allclose(atoms.get_stress(), reference.get_stress(), atol=1e-6)


def test_forces_and_stress_come_with_one_evaluation(calculators):
    atoms = bulk('Mg', 'hcp', a=3.2, c=5.19)
    atoms.calc = calculators[0]
    atoms.get_forces()
    assert not atoms.calc.calculation_required(atoms, ['energy', 'stress'])


def test_atoms_out_of_reach_of_each_other(calculators):
    atoms = Atoms('H2', [[0, 0, 0], [15.0, 0, 0]], cell=[30.0, 30.0, 30.0], pbc=True)
    atoms.calc = calculators[0]
    np.testing.assert_allclose(atoms.get_forces(), 0.0)
