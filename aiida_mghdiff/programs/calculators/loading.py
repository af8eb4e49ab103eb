"""ASE calculators of potentials."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ase.data import chemical_symbols

from aiida_mghdiff.formats.mace_heads import choose_head
from aiida_mghdiff.programs.calculators.chgnet import ChgnetCalculator
from aiida_mghdiff.programs.job import ProgramError, missing_engine

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

#: Distributions whose versions decide what a potential of the architecture gives.
DISTRIBUTIONS = {
    'mace': ('ase', 'numpy', 'torch', 'mace-torch', 'e3nn'),
    'chgnet': ('ase', 'numpy', 'torch', 'chgnet', 'pymatgen', 'vesin'),
}


def load_calculator(potential: dict[str, Any], path: str, dtype: str, device: str = 'cpu') -> Calculator:
    """Return the ASE calculator of a potential.

    The calculator of a MACE model has the head that :func:`aiida_mghdiff.formats.mace_heads.choose_head` chooses.

    :param potential: attributes of the potential node: ``architecture``, ``elements``, ``head``.
    :param path: the model file.
    :param dtype: ``float64`` or ``float32``; CHGNet computes in float32 only.
    :raises ProgramError: ENGINE_MISSING, POTENTIAL_UNREADABLE or INPUT_REFUSED.
    """
    loaders = {'mace': _load_mace, 'chgnet': _load_chgnet}
    if potential['architecture'] not in loaders:
        raise ProgramError('INPUT_REFUSED', f'ASE has no calculator for {potential["architecture"]!r} potentials here.')
    return loaders[potential['architecture']](potential, path, dtype, device)


def chosen_head(calculator: Calculator) -> str | None:
    """Return the head that a calculator of :func:`load_calculator` evaluates; None for CHGNet."""
    return getattr(calculator, 'head', None)


def check_elements(potential: dict[str, Any], numbers: Iterable[int]) -> None:
    """Refuse atoms that the potential was not made for.

    :raises ProgramError: ELEMENT_UNKNOWN with the symbols.
    """
    unknown = sorted({chemical_symbols[int(number)] for number in numbers} - set(potential['elements']))
    if unknown:
        raise ProgramError(
            'ELEMENT_UNKNOWN',
            f'The potential knows no {", ".join(unknown)}: train one on a dataset that has these elements.',
        )


def _load_mace(potential: dict[str, Any], path: str, dtype: str, device: str) -> Calculator:
    calculators = _import('mace.calculators', 'mace-torch')
    set_threads()
    import torch

    with _readable(path):
        model = torch.load(path, map_location=device, weights_only=False)
    try:
        head = choose_head(getattr(model, 'heads', []), potential.get('head'))
    except ValueError as error:
        raise ProgramError('INPUT_REFUSED', f'{path}: {error}') from None
    with _readable(path):
        return calculators.MACECalculator(models=model, device=device, default_dtype=dtype, head=head)


def _load_chgnet(potential: dict[str, Any], path: str, dtype: str, device: str) -> Calculator:
    if dtype != 'float32':
        raise ProgramError('INPUT_REFUSED', f'CHGNet computes in float32, not in {dtype}: set dtype to float32.')
    model = _import('chgnet.model.model', 'chgnet')
    set_threads()
    with _readable(path):
        return ChgnetCalculator(model.CHGNet.from_file(path), device)


def set_threads() -> None:
    """Use one core, or as many as ``OMP_NUM_THREADS`` grants: torch would take those of the jobs beside this one."""
    import torch

    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '1')))


def _import(module: str, distribution: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise missing_engine(distribution) from None


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Turn whatever a damaged model file raises while it is loaded into one named failure."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ProgramError(
            'POTENTIAL_UNREADABLE', f'{path} cannot be loaded as a model ({reason}): export it again.'
        ) from error
