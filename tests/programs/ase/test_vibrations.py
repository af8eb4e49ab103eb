"""Vibrations in analytic potentials, and the program with CHGNet."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.vibrations import Vibrations
from program_runs import chgnet_file, run_program

from aiida_mghdiff.programs.ase.vibrations import analyse, check_imaginary_modes
from aiida_mghdiff.programs.job import ProgramError
from aiida_mghdiff.science.lattice.geometry import hcp_paths, hcp_supercell
from aiida_mghdiff.workflows.protocol import protocol_inputs

CONSTANTS = np.array([2.0, 5.0, 9.0])


class Anisotropic(Calculator):
    """Each atom in its own quartic well, with given curvatures [3] in eV/Å² in a rotated frame."""

    implemented_properties = ('energy', 'forces')

    def __init__(self, sites, constants):
        super().__init__()
        self.sites, self.constants = sites, np.asarray(constants)
        self.axes = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        steps = (self.atoms.positions - self.sites) @ self.axes
        energy = np.sum(0.5 * self.constants * steps**2 + steps**4)
        self.results = {'energy': energy, 'forces': -(self.constants * steps + 4 * steps**3) @ self.axes.T}


def atoms_in(constants, symbols='MgHMgH'):
    sites = 3.0 * np.arange(len(Atoms(symbols)))[:, None] * [1.0, 0.5, 0.0]
    atoms = Atoms(symbols, sites, cell=[20, 20, 20], pbc=True)
    atoms.calc = Anisotropic(sites, constants)
    return atoms


def parameters(**changes):
    return protocol_inputs('vibrations')['parameters'] | changes


def test_analytic_frequencies_of_one_tracer():
    atoms = atoms_in(CONSTANTS, 'MgH')
    results, arrays = analyse(atoms, parameters())
    frequencies = np.sqrt(CONSTANTS * units._e * 1e20 / (1.008 * units._amu)) / (2 * np.pi) * 1e-12
    np.testing.assert_allclose(results['frequencies_thz'], frequencies, rtol=1e-4)
    quanta = frequencies * 1e12 * units._hplanck / units._e * 1e3
    np.testing.assert_allclose(results['energies_mev'], quanta, rtol=1e-4)
    assert results['zero_point_energy_ev'] == pytest.approx(quanta.sum() / 2000, rel=1e-4)
    assert results['geometric_mean_frequency_thz'] == pytest.approx(np.prod(frequencies) ** (1 / 3), rel=1e-4)
    assert results['n_imaginary_modes'] == 0
    assert results['max_force_ev_per_angstrom'] == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(np.abs(arrays['modes'][:, 0] @ atoms.calc.axes), np.eye(3), atol=1e-4)


def test_agrees_with_ase(tmp_path):
    atoms = atoms_in(CONSTANTS)
    results, arrays = analyse(atoms, parameters())
    reference = Vibrations(atoms, indices=[1, 3], name=str(tmp_path / 'vibrations'), delta=0.01)
    reference.run()
    np.testing.assert_allclose(results['energies_mev'], np.real(reference.get_energies()) * 1e3, rtol=1e-4)
    np.testing.assert_array_equal(arrays['tracers'], [1, 3])
    assert arrays['modes'].shape == (6, 2, 3)
    assert results['tracer_count'] == 2


def test_positions_are_left_as_they_were():
    atoms = atoms_in(CONSTANTS)
    before = atoms.positions.copy()
    analyse(atoms, parameters())
    np.testing.assert_array_equal(atoms.positions, before)


def test_saddle_point():
    results, _ = analyse(atoms_in([-2.0, 5.0, 9.0], 'MgH'), parameters())
    assert results['n_imaginary_modes'] == 1
    assert results['energies_mev'][0] < -50
    real = np.array(results['energies_mev'][1:])
    assert results['zero_point_energy_ev'] == pytest.approx(real.sum() / 2000)
    check_imaginary_modes(results, 1)
    with pytest.raises(ProgramError, match=r'WRONG_NUMBER_OF_IMAGINARY_MODES.*1 found, a minimum has none'):
        check_imaginary_modes(results, 0)


def test_a_minimum_is_no_saddle_point():
    results, _ = analyse(atoms_in(CONSTANTS, 'MgH'), parameters())
    with pytest.raises(ProgramError, match='0 found, a saddle point has one'):
        check_imaginary_modes(results, 1)


def test_soft_imaginary_modes_are_noise():
    results, _ = analyse(atoms_in([-1e-4, 5.0, 9.0], 'MgH'), parameters(imaginary_threshold_mev=2.0))
    assert results['n_imaginary_modes'] == 0


def test_forces_that_are_not_finite():
    with pytest.raises(ProgramError, match='NON_FINITE'):
        analyse(atoms_in([np.nan, 1.0, 1.0], 'MgH'), parameters())


def test_program_with_chgnet(tmp_path):
    """The numbers have no meaning: CHGNet's surface of H in Mg is rough within 0.05 Å."""
    cell, positions = hcp_supercell(3.20, 5.19, (2, 2, 2))
    site = hcp_paths(cell, positions)['T-T'][0]
    structure = {'numbers': [12] * 16 + [1], 'cell': cell.tolist(), 'positions': [*positions.tolist(), site.tolist()]}
    inputs = {'parameters': parameters(dtype='float32', imaginary_threshold_mev=100.0), 'structure': structure}
    potential = (chgnet_file(), {'architecture': 'chgnet', 'elements': ['H', 'Mg'], 'head': None})
    results = run_program(tmp_path, 'ase.vibrations', {}, potential, **inputs)
    assert len(results['frequencies_thz']) == 3
    assert results['dtype'] == 'float32'
    assert np.load(tmp_path / 'vibrations.npz')['hessian_ev_per_angstrom2'].shape == (3, 3)
