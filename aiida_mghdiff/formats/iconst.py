"""ICONST, VASP's file of geometric coordinates that molecular dynamics constrains or monitors.

A line contains a kind, its items and a status (0 constrained, 5 biased, 7 monitored, ...). Primitive coordinates come
first: of atoms (``R i j`` a distance, ``A i j k`` an angle, ...) and of the lattice (``LR i`` the length of a lattice
vector, ``LA i j`` the angle between two vectors, ``LV`` the volume). Complex coordinates are functions of all
primitives; their items are a coefficient for each (``S`` is a linear combination). If there is a complex coordinate,
VASP ignores the status of the primitives. Source: VASP wiki, pages ICONST and NpT ensemble.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.text import read_text, split_lines

CONSTRAINED = 0
SHAPES = ('fixed', 'free-c/a', 'free-lengths')

_ATOMS = {'R': 2, 'A': 3, 'T': 4, 'M': 3, 'B': 4, 'P': 4, 'X': 1, 'Y': 1, 'Z': 1, 'CX': 1, 'CY': 1, 'CZ': 1}
_VECTORS = {'LR': 1, 'LA': 2, 'LV': 0}
_PARAMETRIC = {'W': 5}  # two atoms, a length and two exponents
_COMPLEX = ('S', 'C', 'D', 'IS')
_RATIO_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Coordinate:
    """One line: the items are atoms or lattice vectors, counted from 1, or the coefficients of the primitives."""

    kind: str
    items: tuple[float, ...]
    status: int

    @property
    def is_complex(self) -> bool:
        """Return whether this is a function of the primitive coordinates."""
        return self.kind in _COMPLEX


def read_iconst(path: str | Path) -> list[Coordinate]:
    """Read an ICONST file.

    :raises FormatError: with line and reason, for a line that is not a coordinate, a primitive after a complex
        coordinate, and a complex coordinate without a coefficient for each primitive.
    """
    coordinates: list[Coordinate] = []
    for number, line in enumerate(split_lines(read_text(path)), start=1):
        if words := line.split('!')[0].split('#')[0].split():
            try:
                coordinates.append(_coordinate(words, coordinates))
            except ValueError as error:
                raise FormatError(path, f'line {number}', str(error)) from error
    if not coordinates:
        raise FormatError(path, '', 'no coordinate in this file')
    return coordinates


def iconst_text(cell: np.ndarray, shape: str) -> str:
    """Return the text with which VASP moves a cell [3,3] only in some ways; the angles are always constant.

    :param shape: ``fixed``: all ratios of the lengths are constant, the volume is free; ``free-c/a``: only the ratio of
        the first two lengths is constant (for a hexagonal cell); ``free-lengths``: the three lengths are free.
    """
    if shape not in SHAPES:
        raise ValueError(f'shape must be one of {", ".join(SHAPES)}, not {shape!r}')
    angles = ['LA 1 2 0', 'LA 1 3 0', 'LA 2 3 0']
    if shape == 'free-lengths':
        return '\n'.join(angles) + '\n'
    first, second, third = np.linalg.norm(cell, axis=1)
    lines = [*angles, 'LR 1 0', 'LR 2 0', 'LR 3 0']
    lines += ['S 1 0 0 0 0 0 0', 'S 0 1 0 0 0 0 0', 'S 0 0 1 0 0 0 0']
    lines.append(f'S 0 0 0 {second / first:.12f} -1 0 0')
    if shape == 'fixed':
        lines.append(f'S 0 0 0 {third / first:.12f} 0 -1 0')
    return '\n'.join(lines) + '\n'


def check_iconst(coordinates: Sequence[Coordinate], cell: np.ndarray, n_atoms: int) -> None:
    """Refuse coordinates that do not fit a cell and its atoms.

    A constrained ratio of lengths (``S`` with coefficients of both signs for ``LR`` only) must equal the cell's ratio
    within 1e-6: VASP would keep the difference of the lengths, not their ratio.

    :param cell: [3,3] Å.
    :raises ValueError: names the line of the coordinate, counted from 1 without blank lines.
    """
    primitives = [coordinate for coordinate in coordinates if not coordinate.is_complex]
    for number, coordinate in enumerate(coordinates, start=1):
        if problem := _problem(coordinate, primitives, cell, n_atoms):
            raise ValueError(f'ICONST, coordinate {number} ({coordinate.kind}): {problem}')


def _coordinate(words: list[str], before: list[Coordinate]) -> Coordinate:
    kind, *items = words
    kind = kind.upper()
    if kind not in (*_ATOMS, *_VECTORS, *_PARAMETRIC, *_COMPLEX):
        raise ValueError(f'{words[0]!r} is no kind of coordinate')
    try:
        coordinate = Coordinate(kind, tuple(float(item) for item in items[:-1]), int(items[-1]))
    except (ValueError, IndexError) as error:
        raise ValueError(f'items and a status, all numbers, must follow {kind}: {" ".join(items)!r}') from error
    _check_items(coordinate, sum(not other.is_complex for other in before), len(before))
    return coordinate


def _check_items(coordinate: Coordinate, primitives: int, before: int) -> None:
    kind, items = coordinate.kind, coordinate.items
    if coordinate.is_complex:
        if len(items) != primitives:
            raise ValueError(f'{len(items)} coefficients for {primitives} primitive coordinates above')
        return
    if primitives != before:
        raise ValueError(f'the primitive coordinate {kind} stands after a complex one: primitives come first')
    count = (_ATOMS | _VECTORS | _PARAMETRIC)[kind]
    if len(items) != count:
        raise ValueError(f'{kind} has {count} item(s) and a status, not {len(items)}')
    if not all(item.is_integer() for item in items) and kind not in _PARAMETRIC:
        raise ValueError(f'the items of {kind} must be whole numbers')


def _problem(coordinate: Coordinate, primitives: Sequence[Coordinate], cell: np.ndarray, n_atoms: int) -> str | None:
    if coordinate.is_complex:
        return _ratio_problem(coordinate, primitives, cell)
    if coordinate.kind in _VECTORS:
        name, limit, items = 'lattice vector', 3, coordinate.items
    else:
        name, limit, items = 'atom', n_atoms, coordinate.items[: 2 if coordinate.kind in _PARAMETRIC else None]
    missing = next((int(item) for item in items if not 1 <= item <= limit), None)
    if missing is not None:
        return f'{name} {missing} does not exist, there are {limit}'
    return f'the same {name} twice' if len(set(items)) < len(items) else None


def _ratio_problem(coordinate: Coordinate, primitives: Sequence[Coordinate], cell: np.ndarray) -> str | None:
    terms = [(other, factor) for other, factor in zip(primitives, coordinate.items, strict=True) if factor]
    lengths_alone = all(other.kind == 'LR' for other, _ in terms)
    if coordinate.kind != 'S' or coordinate.status != CONSTRAINED or not lengths_alone:
        return None
    values = [factor * float(np.linalg.norm(cell[int(other.items[0]) - 1])) for other, factor in terms]
    size = sum(map(abs, values)) / 2
    if not values or min(values) > 0 or max(values) < 0 or abs(sum(values)) <= _RATIO_TOLERANCE * size:
        return None
    named = ' '.join(f'{factor:+g}*|a{int(other.items[0])}|' for other, factor in terms)
    return f'{named} is {sum(values):.6g} Å in this cell, not 0: give the ratio of the cell'
