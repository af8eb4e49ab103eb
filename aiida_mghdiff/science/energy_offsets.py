"""Energies per element (E0s) that a potential adds to the energy of bonds: their fit, and a check of plausibility.

The energy of a cell less the E0s of its atoms is the energy of its bonds. Whatever the zero of the energies is, the
bonds of a solid have at most about 10 eV per atom, so E0s that leave more are wrong. A wrong E0 of a minority element
leaves less, so each E0 is also compared with a fit to the energies, if they determine it. Configurations with
proportional compositions do not determine how energies divide between the elements.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

#: Twice the binding energy of any solid (tungsten: 9, diamond: 7): the zero of energies may be atoms without spin.
LARGEST_BINDING_EV_PER_ATOM = 20.0
#: Below this energy per atom any division between the elements is harmless: corrections between two functionals.
HARMLESS_EV_PER_ATOM = 0.5
#: Energies per atom of two compositions may differ by this for other reasons: temperature, pressure, phase.
_LEAST_SCATTER_EV_PER_ATOM = 0.2
_STANDARD_ERRORS = 3


_ANOTHER = 'another code, pseudopotential or unit (Ha, Ry, kJ/mol)'


class OffsetError(ValueError):
    """Energies per element are implausible, or the labels do not determine them."""


def element_counts(natoms: np.ndarray, atom_numbers: np.ndarray, numbers: Iterable[int]) -> np.ndarray:
    """Return the number of atoms of each element in each configuration ``[n, len(numbers)]``.

    :param natoms: atoms of each configuration [n], and their atomic numbers one after the other [sum of natoms].
    """
    frame = np.repeat(np.arange(len(natoms)), natoms)
    columns = [np.bincount(frame[atom_numbers == number], minlength=len(natoms)) for number in numbers]
    return np.stack(columns, axis=1).astype(float)


def fit_offsets(counts: np.ndarray, residuals: np.ndarray, known: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    """Return energies per element that fit ``residuals [n]`` (eV per cell) by least squares, and the rank of the fit.

    If the compositions determine the energies of all elements, the known energies do not enter the fit: the energies of
    isolated atoms would shift the binding of their elements to other elements. Otherwise the known energies are fixed.
    For undetermined energies the solution has the least norm, and the rank is below the number of elements.

    :param known: eV of each element, NaN for elements to fit; by default all are fitted.
    """
    offsets = np.full(counts.shape[1], np.nan) if known is None else known.copy()
    is_open = np.isnan(offsets)
    if is_determined(counts):
        offsets[is_open] = np.linalg.lstsq(counts, residuals, rcond=None)[0][is_open]
        return offsets, len(offsets)
    left = residuals - counts[:, ~is_open] @ offsets[~is_open]
    offsets[is_open], _, rank, _ = np.linalg.lstsq(counts[:, is_open], left, rcond=None)
    return offsets, int(rank) + int((~is_open).sum())


def is_determined(counts: np.ndarray) -> bool:
    """Return whether the compositions determine the energies of all elements."""
    return int(np.linalg.matrix_rank(counts)) == counts.shape[1]


def check_determined(
    counts: np.ndarray, residuals: np.ndarray, symbols: Sequence[str], known: Collection[str] = ()
) -> None:
    """Refuse to divide large energies between elements if the compositions do not determine the division.

    :param counts: atoms of each element in each configuration [n,m], in the order of ``symbols``.
    :param residuals: energies [n] in eV per cell to divide.
    :param known: elements that get no part.
    :raises OffsetError: names the size and the remedy.
    """
    size = float(np.sqrt(np.mean((residuals / counts.sum(axis=1)) ** 2)))
    open_ = [symbol not in known for symbol in symbols]
    if is_determined(counts[:, open_]) or size < HARMLESS_EV_PER_ATOM:
        return
    names = ', '.join(symbol for symbol in symbols if symbol not in known)
    raise OffsetError(
        f'the compositions of the training set leave open how {size:.3g} eV/atom divide between {names}: add '
        'configurations of another composition or isolated atoms, or give E0s as energies in eV by symbol'
    )


def check_offsets(counts: np.ndarray, energies: np.ndarray, offsets: Mapping[str, float]) -> None:
    """Refuse energies per element that leave an impossible energy for the bonds, or are far from a fit to the energies.

    :param counts: atoms of each element in each configuration [n,m], in the order of ``offsets``.
    :param energies: energies of the cells [n] in eV.
    :param offsets: eV by symbol.
    :raises OffsetError: names the configuration, the remaining energy, and the likely reason.
    """
    check_each(counts, energies, list(offsets), offsets)
    left = (energies - counts @ np.array(list(offsets.values()))) / counts.sum(axis=1)
    worst = int(np.abs(left).argmax())
    if abs(left[worst]) <= LARGEST_BINDING_EV_PER_ATOM:
        return
    words = ', '.join(f'{symbol} {energy:.6g}' for symbol, energy in offsets.items())
    raise OffsetError(
        f'the E0s ({words} eV) leave {left[worst]:.4g} eV/atom for the bonds of configuration {worst}, more than '
        f'{LARGEST_BINDING_EV_PER_ATOM:g}: they belong to {_ANOTHER} than the labels'
    )


def check_each(counts: np.ndarray, energies: np.ndarray, symbols: Sequence[str], offsets: Mapping[str, float]) -> None:
    """Refuse an energy of an element that is far from its value in a least-squares fit, if the fit determines it.

    :param counts: atoms of each element in each configuration [n,m], in the order of ``symbols``.
    :param energies: energies of the cells [n] in eV.
    :param offsets: eV by symbol, of some of the elements or all.
    :raises OffsetError: names the element, the fitted energy, and the likely reason.
    """
    for symbol, fitted, error in zip(symbols, *_fit_with_errors(counts, energies), strict=True):
        given = offsets.get(symbol, fitted)
        if np.isinf(error) and offsets.get(symbol, 0.0) > LARGEST_BINDING_EV_PER_ATOM:
            raise OffsetError(
                f'the E0 of {symbol} is {given:.6g} eV, above {LARGEST_BINDING_EV_PER_ATOM:g}: no isolated atom lies '
                f'so far above the zero of energies; it belongs to {_ANOTHER} than the labels'
            )
        if abs(given - fitted) > LARGEST_BINDING_EV_PER_ATOM + _STANDARD_ERRORS * error:
            raise OffsetError(
                f'the E0 of {symbol} is {given:.6g} eV, but a fit to the configurations gives {fitted:.4g} eV, '
                f'with an error of {error:.2g}: it belongs to {_ANOTHER} than the labels'
            )


def _fit_with_errors(counts: np.ndarray, energies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return energies per element by least squares and their standard errors in eV; infinite if undetermined.

    Configurations of one composition share properties that the model lacks (phase, temperature). So not the
    configurations but the compositions are independent: each adds its atoms times the scatter per atom.
    """
    inverse = np.linalg.pinv(counts, rcond=1e-10)
    fitted, natoms = inverse @ energies, counts.sum(axis=1)
    _, composition = np.unique(counts, axis=0, return_inverse=True)
    composition = composition.ravel()
    left = np.bincount(composition, (energies - counts @ fitted) / natoms) / np.bincount(composition)
    freedom = len(left) - np.linalg.matrix_rank(counts)
    scatter = np.sqrt(np.sum(left**2) / freedom) if freedom else 0.0
    weights = np.array([np.bincount(composition, row * natoms) for row in inverse])
    errors = max(scatter, _LEAST_SCATTER_EV_PER_ATOM) * np.linalg.norm(weights, axis=1)
    told = np.isclose(np.einsum('mn,nm->m', inverse, counts), 1)
    return fitted, np.where(told, errors, np.inf)
