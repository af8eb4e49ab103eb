"""Which motions of the cell ICONST leaves: a linear space of matrices that may be added to the lattice vectors.

Known are the constraints that keep a cell's shape in whole or in part: all three angles (``LA``) fixed, and lengths
(``LR``) fixed or bound to each other by linear combinations (``S``). Without ICONST the cell is free but for rotations.
Where the cell does not move, whatever constrains it holds; a constraint of atoms is refused in every run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.linalg import null_space

from aiida_mghdiff.formats.iconst import CONSTRAINED, Coordinate, check_iconst, read_iconst
from aiida_mghdiff.programs.job import ProgramError

_MONITORED = 7


def read_constraints(cell: np.ndarray, n_atoms: int, path: Path = Path('ICONST')) -> list[Coordinate] | None:
    """Return what ICONST constrains of a cell [3,3]; None where there is no such file.

    :raises ProgramError: INPUT_REFUSED where it contradicts the cell or constrains something else.
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
    """Return an orthonormal basis [k,3,3] of the motions of a cell [3,3] under constraints; None for none.

    :raises ProgramError: INPUT_REFUSED for a combination of constraints that is not known.
    """
    return _free(cell) if coordinates is None else _constrained(cell, _conditions(coordinates))


def _free(cell: np.ndarray) -> np.ndarray:
    """Return the symmetric strains of a cell, made orthonormal."""
    strains = np.zeros((6, 3, 3))
    for index, (row, column) in enumerate(zip(*np.triu_indices(3), strict=True)):
        strains[index, row, column] = strains[index, column, row] = 1
    return np.linalg.qr((cell @ strains).reshape(6, 9).T)[0].T.reshape(6, 3, 3)


def _constrained(cell: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Return the motions along the lattice vectors whose changes of length [3] meet linear conditions [c,3]."""
    changes = null_space(conditions).T if len(conditions) else np.eye(3)
    directions = cell / np.linalg.norm(cell, axis=1)[:, None]
    return changes[:, :, None] * directions


def _conditions(coordinates: list[Coordinate]) -> np.ndarray:
    """Return the conditions [c,3] on the changes of the three lengths, after a check that the angles are fixed."""
    primitives = [coordinate for coordinate in coordinates if not coordinate.is_complex]
    combinations = [coordinate for coordinate in coordinates if coordinate.is_complex]
    rows = [
        np.array(coordinate.items) if coordinate.is_complex else np.eye(len(primitives))[primitives.index(coordinate)]
        for coordinate in (combinations or primitives)
        if coordinate.status == CONSTRAINED
    ]
    angles = [index for index, primitive in enumerate(primitives) if primitive.kind == 'LA']
    lengths = [index for index, primitive in enumerate(primitives) if primitive.kind == 'LR']
    rows = np.array(rows).reshape(-1, len(primitives))
    fixed = rows[~rows[:, lengths].any(axis=1)][:, angles]
    if len({frozenset(primitives[index].items) for index in angles}) < 3 or np.linalg.matrix_rank(fixed) < 3:
        raise _unknown('cell angles that are not all three constrained')
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
        f'ICONST: the stand-in does not know {what}: constrain the angles LA 1 2, LA 1 3 and LA 2 3, and lengths LR '
        'or combinations S of them.',
    )
