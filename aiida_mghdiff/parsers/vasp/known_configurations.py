"""Find the same configuration in two files by composition, cell, positions and energy.

VASP sorts the configurations of ML_AB by composition, wraps positions into the cell, and its compiler decides the
number of digits; OUTCAR has 5 decimals of a position and 8 of an energy. So neither the index in a file nor a digest of
the bytes identifies a configuration.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

#: Largest differences of the same configuration in two files: energy of the cell in eV, positions in Å.
ENERGY_EV, LENGTH_ANGSTROM = 1e-6, 1e-4


class Configurations:
    """Configurations that can be found again, each once."""

    def __init__(self, arrays: Mapping[str, np.ndarray] | None) -> None:
        """:param arrays: flat arrays of ``formats.frames``; None for no configuration."""
        self._arrays = arrays or {'energies': np.empty(0), 'natoms': np.empty(0, int)}
        energies = self._arrays['energies']
        self._order = np.argsort(energies, kind='stable')
        self._energies = energies[self._order]
        self._ends = np.cumsum(self._arrays['natoms'])
        self._is_found = np.zeros(len(energies), dtype=bool)

    def __len__(self) -> int:
        return len(self._energies)

    def find(self, atoms: Atoms, energy: float) -> int | None:
        """Return the index of an equal configuration that was not found before, or None."""
        first, last = np.searchsorted(self._energies, [energy - ENERGY_EV, energy + ENERGY_EV])
        for index in self._order[first:last]:
            if not self._is_found[index] and self._is_same(int(index), atoms):
                self._is_found[index] = True
                return int(index)
        return None

    def _is_same(self, index: int, atoms: Atoms) -> bool:
        span = slice(self._ends[index] - self._arrays['natoms'][index], self._ends[index])
        cell = self._arrays['cells'][index]
        if not np.array_equal(self._arrays['numbers'][span], atoms.numbers):
            return False
        if np.abs(cell - atoms.cell.array).max() > LENGTH_ANGSTROM:
            return False
        move = np.linalg.solve(cell.T, (self._arrays['positions'][span] - atoms.positions).T).T
        return bool(np.abs((move - np.rint(move)) @ cell).max() < LENGTH_ANGSTROM)
