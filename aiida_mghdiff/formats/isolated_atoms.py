"""Isolated atoms among labelled frames: they are no configurations, but give energies of the elements.

Training sets for MACE contain them as frames of one atom with ``config_type=IsolatedAtom`` (or more letters behind it),
with or without a cell. One atom at least 8 Å away from its periodic images is isolated, too, whatever the frame is
called; so is one at least 6 Å away, if the name begins with ``isolated``: neighbours in crystals are closer (caesium:
5.3 Å).

If all frames are isolated atoms, they stay configurations: single points give them, to be merged with others later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.geometry import minkowski_reduce

from aiida_mghdiff.formats.frames import frames_from_arrays, is_numeric, select_frames

_CONFIG_TYPE = 'isolatedatom'
SMALLEST_DISTANCE_ANGSTROM = 8.0
SMALLEST_DISTANCE_IF_NAMED_ANGSTROM = 6.0
#: Energies of one element contradict each other if they differ by more.
_TOLERANCE_EV = 1e-3


def is_isolated_atom(atoms: Atoms) -> bool:
    """Return whether a frame is an isolated atom: its config_type says so, or it is far from its periodic images."""
    name = ''.join(filter(str.isalpha, str(atoms.info.get('config_type', '')).lower()))
    if len(atoms) != 1:
        return name == _CONFIG_TYPE
    smallest = SMALLEST_DISTANCE_IF_NAMED_ANGSTROM if name.startswith('isolated') else SMALLEST_DISTANCE_ANGSTROM
    return name.startswith(_CONFIG_TYPE) or _nearest_image(atoms) >= smallest


def _nearest_image(atoms: Atoms) -> float:
    """Return the shortest periodic translation in Å; infinite without periodicity."""
    if not atoms.pbc.any() or not np.isfinite(atoms.cell.array).all() or not atoms.cell.lengths()[atoms.pbc].all():
        return 0.0 if atoms.pbc.any() else np.inf
    reduced, _ = minkowski_reduce(atoms.cell.array, atoms.pbc)
    return float(np.linalg.norm(reduced[atoms.pbc], axis=1).min())


def isolated_indices(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the indices of isolated atoms in flat arrays (:mod:`aiida_mghdiff.formats.frames`)."""
    single = np.flatnonzero(np.asarray(arrays['natoms']) == 1)
    if not len(single):
        return single
    return single[[is_isolated_atom(atoms) for atoms in frames_from_arrays(select_frames(arrays, single.tolist()))]]


def take_isolated_atoms(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return flat arrays (:mod:`aiida_mghdiff.formats.frames`) without isolated atoms, and their energies in eV.

    An isolated atom stays if there is no other configuration, or if its SCF is not known to have converged.

    :raises ValueError: for two energies of one element.
    """
    if not (found := _found_energies(arrays)):
        return dict(arrays), {}
    kept = np.setdiff1d(np.arange(len(arrays['natoms'])), list(found))
    energies = join_energies((f'configuration {index}', energy) for index, energy in found.items())
    return select_frames(arrays, kept.tolist()), energies


def contradictions(arrays: Mapping[str, np.ndarray]) -> dict[int, str]:
    """Return by index the isolated atoms in flat arrays whose energy differs from the first one of their element.

    Each has a message. Without these frames :func:`take_isolated_atoms` accepts the arrays.
    """
    first: dict[str, float] = {}
    found = {}
    for index, energies in _found_energies(arrays).items():
        for symbol, energy in energies.items():
            if message := _contradiction(symbol, energy, first.setdefault(symbol, energy)):
                found[index] = message
    return found


def _found_energies(arrays: Mapping[str, np.ndarray]) -> dict[int, dict[str, float]]:
    """Return by index the energies in eV, by symbol, of isolated atoms that are no configurations."""
    isolated = isolated_indices(arrays)
    converged = isolated[np.asarray(arrays.get('converged', np.ones(len(arrays['natoms']))))[isolated] == 1]
    if not len(converged) or len(isolated) == len(arrays['natoms']):
        return {}
    found = select_frames(arrays, converged.tolist())
    rows = zip(converged.tolist(), found['numbers'], found['energies'].tolist(), strict=True)
    return {index: {chemical_symbols[number]: energy} for index, number, energy in rows}


def isolated_atom_energies(frames: Iterable[tuple[str, Atoms, float]]) -> dict[str, float]:
    """Return the energy in eV of each element.

    :param frames: isolated atoms: the place in words, the atom, and its energy in eV.
    :raises ValueError: for a frame of several atoms, or two energies of one element; the message names the place.
    """
    return join_energies(_energy(*frame) for frame in frames)


def _energy(place: str, atoms: Atoms, energy: float) -> tuple[str, dict[str, float]]:
    if len(atoms) != 1:
        raise ValueError(f'{place}: config_type is IsolatedAtom, but the frame has {len(atoms)} atoms')
    return place, {str(atoms.symbols[0]): energy}


def join_energies(parts: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, float]:
    """Return the energy in eV of each element of all parts.

    :param parts: the place in words, and energies in eV by symbol.
    :raises ValueError: for two energies of one element, an unknown element, or an energy that is no finite number; the
        message names the place.
    """
    joined: dict[str, float] = {}
    for place, energies in parts:
        for symbol, energy in energies.items():
            if not atomic_numbers.get(symbol):
                raise ValueError(f'{place}: {symbol!r} is no element: give energies in eV by chemical symbol')
            if (value := finite_energy(energy)) is None:
                raise ValueError(f'{place}: an isolated {symbol} has {energy!r}: give a finite energy in eV')
            known = joined.setdefault(symbol, value)
            if message := _contradiction(symbol, value, known):
                raise ValueError(f'{place}: {message}')
    return joined


def _contradiction(symbol: str, energy: float, known: float) -> str | None:
    """Return a message if two energies in eV of an element differ, or None."""
    if abs(known - energy) <= _TOLERANCE_EV:
        return None
    return f'an isolated {symbol} has {energy} eV, but {known} eV before: keep one of the two'


def finite_energy(value: Any) -> float | None:
    """Return an energy if it is one finite number, None otherwise."""
    if value is None or not is_numeric(value) or np.size(value) != 1:
        return None
    energy = float(np.asarray(value).item())
    return energy if np.isfinite(energy) else None
