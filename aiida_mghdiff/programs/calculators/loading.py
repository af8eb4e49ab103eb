"""Find the calculator of a potential: the module of this package that has the name of the architecture."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from ase.data import chemical_symbols

from aiida_mghdiff.formats.job_files import POTENTIAL_FILE
from aiida_mghdiff.programs.job import ProgramError, engine_versions

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


def calculator_module(architecture: str) -> ModuleType:
    """Return the module of an architecture. A job contains it, even if another package wrote it.

    :raises ProgramError: INPUT_REFUSED.
    """
    name = f'{__package__}.{architecture}'
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ProgramError('INPUT_REFUSED', f'ASE has no calculator for {architecture!r} potentials here.') from None


def load_calculator(potential: dict[str, Any], path: str, dtype: str, device: str = 'cpu') -> Calculator:
    """Return the ASE calculator of a potential.

    :param potential: attributes of the potential node: ``architecture``, ``elements``, ``head``.
    :param path: the model file.
    :param dtype: ``float64`` or ``float32``.
    :raises ProgramError: ENGINE_MISSING, POTENTIAL_UNREADABLE or INPUT_REFUSED.
    """
    return calculator_module(potential['architecture']).load(potential, path, dtype, device)


def open_calculator(
    potential: dict[str, Any], numbers: Iterable[int], dtype: str, device: str = 'cpu'
) -> tuple[Calculator, dict[str, str]]:
    """Return the ASE calculator of the potential of a job, and the versions that determine its results.

    :param numbers: atomic numbers that the potential must know.
    :raises ProgramError: as :func:`load_calculator`, or ELEMENT_UNKNOWN.
    """
    versions = engine_versions(*calculator_module(potential['architecture']).DISTRIBUTIONS)
    check_elements(potential, numbers)
    return load_calculator(potential, POTENTIAL_FILE, dtype, device), versions


def make_atoms(content: dict[str, Any]) -> Atoms:
    """Return periodic atoms from the JSON of a structure or a state; velocities in Å/fs, if any."""
    atoms = Atoms(content['numbers'], content['positions'], cell=content['cell'], pbc=True)
    if 'velocities' in content:
        atoms.set_velocities(np.array(content['velocities']) / units.fs)
    return atoms


def chosen_head(calculator: Calculator) -> str | None:
    """Return the head that a calculator evaluates; None if its model has no heads."""
    return getattr(calculator, 'head', None)


def check_elements(potential: dict[str, Any], numbers: Iterable[int]) -> None:
    """Refuse atoms of elements that the potential does not know.

    :raises ProgramError: ELEMENT_UNKNOWN with the symbols.
    """
    unknown = sorted({chemical_symbols[int(number)] for number in numbers} - set(potential['elements']))
    if unknown:
        raise ProgramError(
            'ELEMENT_UNKNOWN',
            f'The potential does not know {", ".join(unknown)}: train it on a dataset with these elements.',
        )
