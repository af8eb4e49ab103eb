"""Base of the calculators of all architectures."""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from aiida_mghdiff.programs.job import ProgramError, failed_import


class AllAtOnce(Calculator, ABC):
    """A calculator that computes all its properties whenever the atoms change, even if only some are requested."""

    atoms: Atoms  # set by the first call

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


def set_threads() -> None:
    """Let torch use one core, or ``OMP_NUM_THREADS`` cores; by default it would take the cores of other jobs."""
    import torch

    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '1')))


def import_engine(module: str, distribution: str) -> Any:
    """Return a module of an engine.

    :raises ProgramError: ENGINE_MISSING with the name of the distribution, if the module is missing or does not load.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise failed_import(distribution, error) from error


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turn any exception of a damaged model file into one named failure."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ProgramError(
            'POTENTIAL_UNREADABLE', f'{path} cannot be loaded as a model ({reason}): export it again.'
        ) from error
