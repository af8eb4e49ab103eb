"""The evaluators of a MACE model: torch (mace-torch itself) and symmetrix (compiled kernels, several times faster).

Both are ASE calculators, because ASE's neighbour lists find the periodic images in thin cells. symmetrix interpolates
the radial functions with splines: 256 points (its default) change forces by 3e-6 eV/Å, 800 points by 1e-7 eV/Å. It
compiles kernels for the model's shape once per machine and user, into ``SYMMETRIX_JIT_CACHE`` or ``~/.cache/symmetrix``
(keyed by content, locked between processes). Without a C++20 compiler or a writable cache it runs uncompiled kernels.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers

from aiida_mghdiff.programs.calculators import mace
from aiida_mghdiff.programs.calculators.base import import_engine
from aiida_mghdiff.programs.calculators.loading import check_elements
from aiida_mghdiff.programs.job import ProgramError

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

#: With 800 points, one of 31 starts of a demo exceeded the tolerance and fell back to torch, ten times slower.
SPLINE_POINTS = 1600
#: Largest difference between symmetrix and torch on the first frame: forces in eV/Å, stresses in eV/Å³. If the largest
#: force is above 1 eV/Å, differences of forces are divided by it.
TOLERANCE = {'float64': 1e-6, 'float32': 5e-5}

_ENVIRONMENT = {
    # with binding, all single-threaded jobs of a machine would share its first core
    'OMP_PROC_BIND': 'false',
    # symmetrix 0.1.1 looks up its BLAS library for each product, 12 ms a step. Without BLAS, a step of 40 atoms of a
    # 16-channel model takes 1 ms instead of 13 ms and gives the same forces.
    'SYMMETRIX_HOST_WORKER_BLAS': 'off',
}


@dataclass(frozen=True)
class Evaluator:
    """An ASE calculator, and its description in the log."""

    calculator: Any  # an ASE calculator, with the additions of its architecture
    cutoff: float  # Å
    name: str
    version: str
    details: str
    head: str  # head of the model

    def __call__(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        """Return energy in eV, forces [n,3] in eV/Å and stress [6] in eV/Å³ (xx, yy, zz, yz, xz, xy)."""
        self.calculator.calculate(atoms, ['energy', 'forces', 'stress'], _ALL_CHANGES)
        results = self.calculator.results
        return float(results['energy']), results['forces'], results['stress']


_ALL_CHANGES = ['positions', 'numbers', 'cell', 'pbc', 'initial_charges', 'initial_magmoms']


def make_evaluator(model: str, options: dict[str, str], atoms: Atoms) -> Evaluator:
    """Return the evaluator of the options. ``auto`` gives symmetrix if it agrees with torch on these atoms, else torch.

    :param model: the ``.model`` file.
    :param options: ``evaluator``, ``dtype``, ``device`` and, for a model with several heads, ``head``.
    :raises ProgramError: ENGINE_MISSING, POTENTIAL_UNREADABLE, ELEMENT_UNKNOWN or INPUT_REFUSED.
    """
    torch = load_torch(model, options)
    _check_elements(torch, atoms)
    if options['evaluator'] == 'torch' or (options['evaluator'] == 'auto' and options['device'] != 'cpu'):
        return torch
    forced, numbers = options['evaluator'] == 'symmetrix', sorted(set(atoms.numbers.tolist()))
    try:
        symmetrix = load_symmetrix(model, options | {'head': torch.head}, numbers, torch.cutoff)
        difference = compare(symmetrix, torch, atoms)
    except Exception as error:
        if forced and isinstance(error, ProgramError):
            raise
        return _refuse_symmetrix(torch, forced, _first_line(error))
    if not forced and not difference <= TOLERANCE[options['dtype']]:
        return _refuse_symmetrix(torch, forced, f'it differs from torch by {difference:.1e} eV/Å')
    return replace(symmetrix, details=f'{symmetrix.details}, {difference:.1e} eV/Å from torch on the first frame')


def _refuse_symmetrix(torch: Evaluator, forced: bool, reason: str) -> Evaluator:
    if forced:
        raise ProgramError('INPUT_REFUSED', f'symmetrix cannot run this model ({reason}): choose auto or torch.')
    return replace(torch, details=f'{torch.details}, symmetrix not used: {reason}')


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _check_elements(torch: Evaluator, atoms: Atoms) -> None:
    check_elements({'elements': mace.elements_of(torch.calculator)}, atoms.numbers)


def load_torch(model: str, options: dict[str, str]) -> Evaluator:
    """Return the evaluator of mace-torch."""
    # e3nn and mace load pickles, which torch >= 2.6 refuses by default
    os.environ.setdefault('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    calculator: Any = mace.load({'head': options.get('head')}, model, options['dtype'], options['device'])
    version, details = metadata.version('mace-torch'), f'device {options["device"]}'
    return Evaluator(calculator, float(calculator.r_max), 'torch', version, details, calculator.head)


def load_symmetrix(model: str, options: dict[str, str], numbers: list[int], cutoff: float) -> Evaluator:
    """Return the evaluator of symmetrix for these elements, with compiled kernels if possible.

    :param options: with the ``head``, chosen by :func:`load_torch`.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    symmetrix = import_engine('symmetrix', 'symmetrix-xl')
    with tempfile.NamedTemporaryFile('w', suffix='.json') as file:
        json.dump(_extract(model, numbers, options['head']), file)
        file.flush()
        kernels, calculator = _load_kernels(symmetrix.Symmetrix, file.name, options['dtype'])
    version = metadata.version('symmetrix-xl')
    return Evaluator(calculator, cutoff, 'symmetrix', version, f'{kernels} kernels', options['head'])


def _extract(model: str, numbers: list[int], head: str) -> dict[str, Any]:
    from symmetrix.extract_mace_data import extract_mace_data

    return extract_mace_data(model, species=numbers, num_spline_points=SPLINE_POINTS, head=head)


def _load_kernels(symmetrix: Any, path: str, dtype: str) -> tuple[str, Calculator]:
    try:
        return 'compiled', symmetrix(path, dtype=dtype, streamed_edges='direct')
    except Exception:
        return 'uncompiled', symmetrix(path, dtype=dtype, streamed_edges='non-compiled')


def compare(one: Evaluator, other: Evaluator, atoms: Atoms) -> float:
    """Return the largest difference of forces (relative to the largest force above 1 eV/Å) and stresses."""
    _, forces, stress = one(atoms)
    _, reference, reference_stress = other(atoms)
    scale = max(1.0, float(np.abs(reference).max()))
    return max(float(np.abs(forces - reference).max()) / scale, float(np.abs(stress - reference_stress).max()))


def numbers_of(symbols: tuple[str, ...]) -> np.ndarray:
    """Return the atomic number of each LAMMPS type.

    :raises ProgramError: INPUT_REFUSED for words that are not chemical symbols.
    """
    unknown = [symbol for symbol in symbols if symbol not in atomic_numbers]
    if unknown or not symbols:
        raise ProgramError('INPUT_REFUSED', f'pair_coeff: {", ".join(unknown) or "nothing"} where symbols should be.')
    return np.array([atomic_numbers[symbol] for symbol in symbols])
