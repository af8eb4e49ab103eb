"""Energies per element (E0s) that a potential adds to the energy of bonds: their fit, and whether they can be right.

The energy of a cell less the E0s of its atoms is the energy of its bonds. No solid is bound by more than some 10 eV an
atom, whatever the zero of the energies is, so that E0s which leave more are wrong. A set of configurations whose
compositions are all proportional says nothing about how energies divide between the elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

#: More than any solid is bound by: tungsten has 9, diamond 7.
LARGEST_BINDING_EV_PER_ATOM = 30.0
#: An energy an atom below which any division between the elements does no harm: corrections between two functionals.
HARMLESS_EV_PER_ATOM = 0.5


class OffsetError(ValueError):
    """Energies per element that cannot be right, or that the labels do not determine."""


def element_counts(natoms: np.ndarray, atom_numbers: np.ndarray, numbers: Iterable[int]) -> np.ndarray:
    """Return how many atoms of each element each configuration has ``[n, len(numbers)]``.

    :param natoms: atoms of each configuration [n], and their atomic numbers one after the other [sum of natoms].
    """
    frame = np.repeat(np.arange(len(natoms)), natoms)
    columns = [np.bincount(frame[atom_numbers == number], minlength=len(natoms)) for number in numbers]
    return np.stack(columns, axis=1).astype(float)


def fit_offsets(counts: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, int]:
    """Return energies per element that fit ``residuals [n]`` (eV a cell) by least squares, and the rank of the fit.

    If the rank is below the number of elements (few different compositions), the labels leave the division between the
    elements open: the solution of least norm is taken then.
    """
    solution, _, rank, _ = np.linalg.lstsq(counts, residuals, rcond=None)
    return solution, int(rank)


def is_determined(counts: np.ndarray) -> bool:
    """Return whether the compositions tell the energies of all elements."""
    return int(np.linalg.matrix_rank(counts)) == counts.shape[1]


def check_determined(counts: np.ndarray, residuals: np.ndarray, symbols: Iterable[str]) -> None:
    """Refuse to divide large energies between elements where the compositions do not tell how.

    :param residuals: energies [n] in eV a cell that are to be divided.
    :raises OffsetError: naming the size and the remedy.
    """
    size = float(np.sqrt(np.mean((residuals / counts.sum(axis=1)) ** 2)))
    if is_determined(counts) or size < HARMLESS_EV_PER_ATOM:
        return
    raise OffsetError(
        f'the compositions of the training set do not tell how {size:.3g} eV/atom divide between '
        f'{", ".join(symbols)}: add configurations of another composition or isolated atoms, or give E0s as energies '
        'in eV by symbol'
    )


def check_offsets(counts: np.ndarray, energies: np.ndarray, offsets: Mapping[str, float]) -> None:
    """Refuse energies per element that leave bonds an energy that no solid has.

    :param counts: atoms of each element in each configuration [n,m], in the order of ``offsets``.
    :param energies: of the cells [n] in eV.
    :param offsets: eV by symbol.
    :raises OffsetError: naming the configuration, the energy that is left, and the likely reason.
    """
    left = (energies - counts @ np.array(list(offsets.values()))) / counts.sum(axis=1)
    worst = int(np.abs(left).argmax())
    if abs(left[worst]) <= LARGEST_BINDING_EV_PER_ATOM:
        return
    words = ', '.join(f'{symbol} {energy:.6g}' for symbol, energy in offsets.items())
    raise OffsetError(
        f'the E0s ({words} eV) leave {left[worst]:.4g} eV/atom for the bonds of configuration {worst}, more than '
        f'{LARGEST_BINDING_EV_PER_ATOM:g}: they belong to another code, pseudopotential or unit (Ha, Ry, kJ/mol) than '
        'the labels'
    )
