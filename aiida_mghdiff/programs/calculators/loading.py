"""Find the calculator of a potential: the module of this package that has the name of the architecture."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ase.data import chemical_symbols

from aiida_mghdiff.programs.job import ProgramError

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


def distributions(potential: dict[str, Any]) -> tuple[str, ...]:
    """Return the distributions whose versions determine the results of a potential."""
    return calculator_module(potential['architecture']).DISTRIBUTIONS


def load_calculator(potential: dict[str, Any], path: str, dtype: str, device: str = 'cpu') -> Calculator:
    """Return the ASE calculator of a potential.

    :param potential: attributes of the potential node: ``architecture``, ``elements``, ``head``.
    :param path: the model file.
    :param dtype: ``float64`` or ``float32``.
    :raises ProgramError: ENGINE_MISSING, POTENTIAL_UNREADABLE or INPUT_REFUSED.
    """
    return calculator_module(potential['architecture']).load(potential, path, dtype, device)


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
