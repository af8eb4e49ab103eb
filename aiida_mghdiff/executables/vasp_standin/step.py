"""Data of one ionic step, for the writers of the output files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_mghdiff.executables.vasp_standin.force_field import Labels, deciding_labels
from aiida_mghdiff.science.units import KBAR_IN_EV_PER_ANGSTROM3


@dataclass(frozen=True)
class Dynamics:
    """State of a molecular-dynamics step: energies in eV, temperatures in K."""

    temperature: float
    target_temperature: float
    kinetic: float
    lattice_kinetic: float
    thermostat_potential: float
    thermostat_kinetic: float
    seed: tuple[int, int, int]


@dataclass(frozen=True)
class Step:
    """One ionic step, counted from 1, with labels of the force field, of first principles, or both."""

    number: int
    atoms: Atoms
    learned: Labels | None
    first_principles: Labels | None
    dynamics: Dynamics | None = None

    @property
    def labels(self) -> Labels:
        """Return the labels that moved the atoms: first principles if present, else the force field."""
        return deciding_labels(self.learned, self.first_principles)

    @property
    def total_energy(self) -> float:
        """Return the conserved energy of atoms, lattice and thermostat, in eV."""
        energy = self.labels.energy
        if self.dynamics is not None:
            part = self.dynamics
            energy += part.kinetic + part.lattice_kinetic + part.thermostat_potential + part.thermostat_kinetic
        return energy


def stress_kbar(stress: np.ndarray) -> np.ndarray:
    """Return ASE's stress (eV/Å³) in VASP's order and sign: kbar, XX YY ZZ XY YZ ZX, compression positive."""
    return -stress[[0, 1, 2, 5, 3, 4]] / KBAR_IN_EV_PER_ANGSTROM3


def scaled_positions(atoms: Atoms) -> np.ndarray:
    """Return the fractional coordinates [n,3], not wrapped into the cell."""
    return np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T
