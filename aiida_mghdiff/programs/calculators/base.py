"""Base of the ASE calculators of this package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes


class AllAtOnce(Calculator, ABC):
    """A calculator that computes all of its properties whenever the atoms change, whichever are asked for."""

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute all properties, as ASE asks for it."""
        super().calculate(atoms, properties, system_changes)
        self.results = self.compute(self.atoms)

    @abstractmethod
    def compute(self, atoms: Atoms) -> dict[str, Any]:
        """Return the properties in ASE's units: eV, eV/Å, eV/Å³."""
