"""VASP's structure file, POSCAR (read by VASP) and CONTCAR (written by it): one format.

The file contains comment, scale, lattice vectors, species and their counts, and positions. For molecular dynamics the
state of the run follows: the velocities of the lattice and of the atoms, and the predictor-corrector block, which has
the state of the integrator and of a Nosé thermostat and is kept as text.

Species are named by their element; additions of VASP or a POTCAR (``Mg_pv``, ``H/0a1b2c3d``) are dropped. Positions are
not wrapped into the cell. Velocities are in Å/fs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.text import read_text, split_lines

HEAD_LINES = 7

_ELEMENT = re.compile(r'[A-Z][a-z]?(?=$|[_/])')


@dataclass(frozen=True)
class LatticeVelocities:
    """Motion of the lattice: ``state`` (1: initialised), velocities [3,3] in Å/fs and lattice vectors [3,3] in Å."""

    state: int
    velocities: np.ndarray
    vectors: np.ndarray


@dataclass(frozen=True)
class Poscar:
    """Content of a POSCAR: n atoms in blocks, each of one species."""

    comment: str
    symbols: list[str]  # element of each block
    counts: list[int]  # atoms of each block
    cell: np.ndarray  # [3,3] Å
    positions: np.ndarray  # [n,3] Å, Cartesian
    velocities: np.ndarray | None = None  # [n,3] Å/fs
    lattice_velocities: LatticeVelocities | None = None
    predictor_corrector: str | None = None
    movable: np.ndarray | None = None  # [n,3], the flags of selective dynamics, along the lattice vectors

    @property
    def numbers(self) -> np.ndarray:
        """Return the atomic number of each atom [n]."""
        return np.repeat([atomic_numbers[symbol] for symbol in self.symbols], self.counts)


def require_grouped(symbols: Sequence[str]) -> None:
    """Refuse symbols, of atoms or of blocks of atoms, in which a species occurs again after another species.

    :raises ValueError: since VASP assigns blocks in the order of POTCAR, and ML_AB has one block for each species.
    """
    blocks = [symbol for symbol, _ in groupby(symbols)]
    repeated = next((symbol for index, symbol in enumerate(blocks) if symbol in blocks[:index]), None)
    if repeated is not None:
        raise ValueError(f'species are not grouped: {repeated} comes back after another one ({" ".join(blocks)}); sort')


def read_poscar(path_or_text: str | Path) -> Poscar:
    """Read a POSCAR or CONTCAR, from a path or from its text (a string with a line break).

    Velocities that are no numbers (``NaN``, as VASP writes for POTIM = 0) are left out.

    :raises FormatError: names line and reason, for a file that is truncated, names no species, or has velocities in
        direct coordinates, whose unit is a time step that the file does not contain.
    """
    if isinstance(path_or_text, str) and '\n' in path_or_text:
        lines = _Lines('POSCAR', path_or_text)
    else:
        lines = _Lines(path_or_text, read_text(path_or_text))
    comment = lines.take('the comment').strip()
    factors, cell = _read_lattice(lines)
    symbols, counts = _read_species(lines)
    selective = lines.take_if('s')
    cartesian = lines.take('the mode of the positions').strip()[:1].lower() in ('c', 'k')
    rows = [lines.take('a position').split() for _ in range(sum(counts))]
    columns = 6 if selective else 3
    values = lines.numbers([row[:3] for row in rows], len(rows))
    movable = _flags(lines, [row[3:columns] for row in rows]) if selective else None
    return Poscar(
        comment=comment,
        symbols=symbols,
        counts=counts,
        cell=cell,
        positions=values * factors if cartesian else values @ cell,
        lattice_velocities=_read_lattice_velocities(lines),
        velocities=_read_velocities(lines, len(rows)),
        predictor_corrector=lines.rest(),
        movable=movable,
    )


def read_structure_head(path: str | Path, text: str, line: int) -> tuple[np.ndarray, list[str], list[int]]:
    """Return cell [3,3] in Å, symbols and counts of the first lines of a POSCAR or an XDATCAR.

    :param text: ``HEAD_LINES`` lines; the first is line number ``line`` of the file at ``path``.
    """
    lines = _Lines(path, text, line)
    lines.take('the comment')
    _, cell = _read_lattice(lines)
    return cell, *_read_species(lines)


def write_poscar(poscar: Poscar) -> str:
    """Return the text of a POSCAR: direct coordinates with 16 decimals, velocities with 17 digits.

    :raises ValueError: if a species occurs again after another species.
    """
    require_grouped(poscar.symbols)
    fractional = np.linalg.solve(poscar.cell.T, poscar.positions.T).T
    lines = [' '.join(poscar.comment.split())[:40], '   1.0000000000000000']
    lines += [''.join(f'{value:23.16f}' for value in row) for row in poscar.cell]
    lines.append(''.join(f'{symbol:>5}' for symbol in poscar.symbols))
    lines.append(''.join(f'{count:6d}' for count in poscar.counts))
    flags = [''] * len(fractional)
    if poscar.movable is not None:
        lines.append('Selective dynamics')
        flags = [''.join('   T' if free else '   F' for free in row) for row in poscar.movable]
    lines.append('Direct')
    lines += [''.join(f'{value:20.16f}' for value in row) + flag for row, flag in zip(fractional, flags, strict=True)]
    if poscar.lattice_velocities is not None:
        lattice = poscar.lattice_velocities
        lines += ['Lattice velocities and vectors', f'{lattice.state:3d}']
        lines += _exact_rows(lattice.velocities) + _exact_rows(lattice.vectors)
    if poscar.velocities is not None:
        lines += ['', *_exact_rows(poscar.velocities)]
        if poscar.predictor_corrector is not None:
            lines += ['', poscar.predictor_corrector.rstrip('\n')]
    return '\n'.join(lines) + '\n'


def _exact_rows(array: np.ndarray) -> list[str]:
    return [''.join(f'{value:25.16E}' for value in row) for row in array]


class _Lines:
    """A cursor over the lines of a file."""

    def __init__(self, path: str | Path, text: str, first: int = 1) -> None:
        self.path = path
        self.first = first
        self.lines = split_lines(text)
        self.next = 0
        if not text.endswith('\n') and len(self.lines) > 1 and len(self.lines[-1]) < len(self.lines[-2].rstrip()):
            reason = 'a short last line without a line break: the file is truncated (or add the line break)'
            raise self.error(reason, len(self.lines))

    def error(self, reason: str, line: int | None = None) -> FormatError:
        """Return the error to raise for a line, by default the last line."""
        return FormatError(self.path, f'line {(self.next if line is None else line) + self.first - 1}', reason)

    def take(self, what: str) -> str:
        """Pass a required line and return it."""
        if self.next >= len(self.lines):
            raise self.error(f'the file ends where {what} should stand: it is truncated', len(self.lines) + 1)
        self.next += 1
        return self.lines[self.next - 1]

    def take_if(self, letter: str) -> bool:
        """Pass the next line if it begins with a letter, in either case, and return whether it did."""
        begins = self.next < len(self.lines) and self.lines[self.next].lstrip()[:1].lower() == letter
        self.next += begins
        return begins

    def numbers(self, rows: list[list[str]], count: int) -> np.ndarray:
        """Return the numbers of the last taken rows, ``[count, 3]``."""
        first = self.next - count + 1
        values = np.empty((count, 3))
        for index, row in enumerate(rows):
            try:
                values[index] = [float(word) for word in row]
            except ValueError as error:
                raise self.error(f'three numbers must stand here, not {" ".join(row)!r}', first + index) from error
            if not np.isfinite(values[index]).all():
                raise self.error('a number that is not finite', first + index)
        return values

    def take_vectors(self, count: int, what: str) -> np.ndarray:
        """Pass rows of three numbers and return them, ``[count, 3]``."""
        return self.numbers([self.take(what).split() for _ in range(count)], count)

    def skip_blank(self) -> None:
        """Pass lines without content."""
        while self.next < len(self.lines) and not self.lines[self.next].strip():
            self.next += 1

    def rest(self) -> str | None:
        """Return the rest, without blank lines at its ends; None if nothing is left."""
        self.skip_blank()
        return '\n'.join(self.lines[self.next :]).rstrip() + '\n' if self.next < len(self.lines) else None


def _read_lattice(lines: _Lines) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors [3] of Cartesian components, and the cell [3,3] in Å."""
    words = lines.take('the scale').split()
    try:
        scale = np.array(words, dtype=float)
    except ValueError as error:
        raise lines.error(f'the scale should stand here, not {" ".join(words)!r}') from error
    if scale.size not in (1, 3) or not np.isfinite(scale).all() or (scale.size == 3 and (scale <= 0).any()):
        raise lines.error('the scale must be one number, or three positive numbers')
    vectors = lines.take_vectors(3, 'a lattice vector')
    volume = abs(np.linalg.det(vectors))
    if scale[0] == 0 or not volume > 1e-6:
        raise lines.error('the cell has no volume')
    factors = np.broadcast_to(scale if scale[0] > 0 else (-scale / volume) ** (1 / 3), 3)
    return factors, vectors * factors


def _read_species(lines: _Lines) -> tuple[list[str], list[int]]:
    words = lines.take('the species').split()
    if words and all(word.isdecimal() for word in words):
        raise lines.error('no species in this file: add a line with their symbols above the numbers of atoms')
    symbols = []
    for word in words:
        match = _ELEMENT.match(word)
        if match is None or match[0] not in atomic_numbers:
            raise lines.error(f'{word!r} is not an element')
        symbols.append(match[0])
    counts = lines.take('the numbers of atoms').split()
    if not counts or len(counts) != len(words) or not all(count.isdecimal() and int(count) for count in counts):
        raise lines.error(f'{len(words)} species, but not as many numbers of atoms: {" ".join(counts)!r}')
    return symbols, [int(count) for count in counts]


def _flags(lines: _Lines, rows: list[list[str]]) -> np.ndarray:
    first = lines.next - len(rows) + 1
    for index, row in enumerate(rows):
        if len(row) != 3 or not all(word.strip('.')[:1].upper() in ('T', 'F') for word in row):
            raise lines.error('three flags T or F of selective dynamics must follow the position', first + index)
    return np.array([[word.strip('.')[:1].upper() == 'T' for word in row] for row in rows])


def _read_lattice_velocities(lines: _Lines) -> LatticeVelocities | None:
    if not lines.take_if('l'):
        return None
    state = lines.take('the state of the lattice velocities').strip()
    if not state.isdecimal():
        raise lines.error(f'the state of the lattice velocities, a whole number, should stand here, not {state!r}')
    velocities = lines.take_vectors(3, 'a lattice velocity')
    return LatticeVelocities(int(state), velocities, lines.take_vectors(3, 'a lattice vector'))


def _read_velocities(lines: _Lines, count: int) -> np.ndarray | None:
    if not any(line.strip() for line in lines.lines[lines.next :]):
        lines.next = len(lines.lines)
        return None
    mode = lines.take('the mode of the velocities').strip()
    if mode[:1].lower() not in ('', 'c', 'k'):
        raise lines.error(f'velocities must be Cartesian, in Å/fs, not {mode!r}')
    rows = [lines.take('a velocity').split() for _ in range(count)]
    if all(word.lstrip('+-').lower() == 'nan' for row in rows for word in row):
        return None
    return lines.numbers(rows, count)
