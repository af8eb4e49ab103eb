"""The ASE calculator of MACE models: MACE's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ase.data import chemical_symbols

from aiida_mghdiff.formats.mace_heads import choose_head, read_heads
from aiida_mghdiff.programs.calculators.base import import_engine, readable, set_threads
from aiida_mghdiff.programs.job import ProgramError

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

DISTRIBUTIONS = ('ase', 'numpy', 'torch', 'mace-torch', 'e3nn')


def load(potential: dict[str, Any], path: str, dtype: str, device: str = 'cpu') -> Calculator:
    """Return the calculator of a model, for the head of :func:`~aiida_mghdiff.formats.mace_heads.choose_head`.

    :param potential: has the ``head`` that the user requested, if any.
    :raises ProgramError: ENGINE_MISSING, POTENTIAL_UNREADABLE, or INPUT_REFUSED for the head.
    """
    calculators = import_engine('mace.calculators', 'mace-torch')
    set_threads()
    import torch

    with readable(path):
        model = torch.load(path, map_location=device, weights_only=False)
    try:
        head = choose_head(getattr(model, 'heads', []), potential.get('head'))
    except ValueError as error:
        raise ProgramError('INPUT_REFUSED', f'{path}: {error}') from None
    with readable(path):
        return calculators.MACECalculator(models=model, device=device, default_dtype=dtype, head=head)


def elements_of(calculator: Any) -> list[str]:
    """Return the symbols of the elements that the model of a calculator knows."""
    return [chemical_symbols[int(number)] for number in calculator.models[0].atomic_numbers]


def model_properties(path: str) -> dict[str, Any]:
    """Return the ``elements`` and ``dtype`` of a model file, which are the same for all heads."""
    head = next(iter(read_heads(path) or []), None)
    elements = elements_of(load({'head': head}, path, 'float64'))
    import torch

    stored = torch.load(path, map_location='cpu', weights_only=False)
    return {'elements': elements, 'dtype': str(next(stored.parameters()).dtype).removeprefix('torch.')}
