"""Motions of the cell that ICONST allows: a linear space of matrices that may be added to the lattice vectors.

Supported constraints fix all three angles (``LA``), and fix lengths (``LR``) or linear combinations of them (``S``).
Without ICONST the cell moves freely, without rotations. If the cell does not move, every constraint of the cell is
accepted. Constraints of atoms are refused in every run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.linalg import null_space

from aiida_mghdiff.formats.iconst import CONSTRAINED, Coordinate, check_iconst, read_iconst
from aiida_mghdiff.programs.job import ProgramError

_MONITORED = 7


def read_constraints(cell: np.ndarray, n_atoms: int, path: Path = Path('ICONST')) -> list[Coordinate] | None:
    """Return the coordinates in ICONST; None without this file.

    :param cell: [3,3].
    :raises ProgramError: INPUT_REFUSED if ICONST contradicts the cell or constrains anything but the cell.
    """
    if not path.exists():
        return None
    try:
        coordinates = read_iconst(path)
        check_iconst(coordinates, cell, n_atoms)
    except ValueError as error:
        raise ProgramError('INPUT_REFUSED', f'{error}.') from error
    for coordinate in coordinates:
        if coordinate.kind not in ('LR', 'LA', 'S') or coordinate.status not in (CONSTRAINED, _MONITORED):
            raise _unknown(f'{coordinate.kind} with status {coordinate.status}')
    return coordinates


def motion_basis(cell: np.ndarray, coordinates: list[Coordinate] | None) -> np.ndarray:
    """Return an orthonormal basis [k,3,3] of the motions of a cell [3,3].

    :param coordinates: constraints; None for a free cell.
    :raises ProgramError: INPUT_REFUSED for an unsupported combination of constraints.
    """
    return _free(cell) if coordinates is None else _constrained(cell, _conditions(coordinates))


def _free(cell: np.ndarray) -> np.ndarray:
    """Return orthonormal symmetric strains of a cell."""
    strains = np.zeros((6, 3, 3))
    for index, (row, column) in enumerate(zip(*np.triu_indices(3), strict=True)):
        strains[index, row, column] = strains[index, column, row] = 1
    return np.linalg.qr((cell @ strains).reshape(6, 9).T)[0].T.reshape(6, 3, 3)


def _constrained(cell: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Return the changes of the lattice vectors' lengths that meet linear conditions [c,3], as motions [k,3,3]."""
    changes = null_space(conditions).T if len(conditions) else np.eye(3)
    directions = cell / np.linalg.norm(cell, axis=1)[:, None]
    return changes[:, :, None] * directions


def _conditions(coordinates: list[Coordinate]) -> np.ndarray:
    """Check that the angles are fixed; return the conditions [c,3] on the changes of the three lengths."""
    primitives = [coordinate for coordinate in coordinates if not coordinate.is_complex]
    combinations = [coordinate for coordinate in coordinates if coordinate.is_complex]
    constrained = [
        np.array(coordinate.items) if coordinate.is_complex else np.eye(len(primitives))[primitives.index(coordinate)]
        for coordinate in (combinations or primitives)
        if coordinate.status == CONSTRAINED
    ]
    angles = [index for index, primitive in enumerate(primitives) if primitive.kind == 'LA']
    lengths = [index for index, primitive in enumerate(primitives) if primitive.kind == 'LR']
    rows = np.array(constrained).reshape(-1, len(primitives))
    fixed = rows[~rows[:, lengths].any(axis=1)][:, angles]
    if len({frozenset(primitives[index].items) for index in angles}) < 3 or np.linalg.matrix_rank(fixed) < 3:
        raise _unknown('cell angles unless all three are constrained')
    mixed = rows[rows[:, lengths].any(axis=1)]
    if mixed[:, angles].any():
        raise _unknown('a combination of lengths and angles')
    conditions = np.zeros((len(mixed), 3))
    for index in lengths:
        conditions[:, int(primitives[index].items[0]) - 1] += mixed[:, index]
    return conditions


def _unknown(what: str) -> ProgramError:
    return ProgramError(
        'INPUT_REFUSED',
        f'ICONST: the stand-in does not support {what}: constrain the angles LA 1 2, LA 1 3 and LA 2 3, and lengths '
        'LR or linear combinations S of lengths.',
    )
