"""LAMMPS files: the frame of a general triclinic cell, data files, text dumps and series of ``fix print``.

LAMMPS stores a cell as a lower triangular matrix with a positive diagonal. Every cell is rotated into this form (a
left-handed cell is reflected) and results are rotated back, so that no other module needs this form.
Units are LAMMPS' ``metal`` units: Å, ps, eV, bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from ase.data import atomic_masses, chemical_symbols

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.text import read_text, split_lines


@dataclass(frozen=True)
class LammpsFrame:
    """The rotation between the user's cell and LAMMPS' lower triangular cell."""

    rotation: np.ndarray  # [3,3]; a row vector of LAMMPS times this is a row vector of the user

    @classmethod
    def of_cell(cls, cell: np.ndarray) -> LammpsFrame:
        """Return the frame of a cell [3,3] (row vectors)."""
        return cls(np.linalg.solve(_lower_triangular(cell), cell))

    def to_lammps(self, vectors: np.ndarray) -> np.ndarray:
        """Rotate row vectors [..., 3] into LAMMPS' frame."""
        return vectors @ self.rotation.T

    def from_lammps(self, vectors: np.ndarray) -> np.ndarray:
        """Rotate row vectors [..., 3] back into the user's frame."""
        return vectors @ self.rotation


def _lower_triangular(cell: np.ndarray) -> np.ndarray:
    return np.linalg.cholesky(cell @ np.transpose(cell))


def write_data(
    handle: TextIO,
    types: list[str],
    symbols: list[str],
    cell: np.ndarray,
    positions: np.ndarray,
    velocities: np.ndarray | None = None,
) -> None:
    """Write a data file of atom style ``atomic``; numbers have 17 digits, which preserve them exactly.

    :param types: element of each LAMMPS atom type, in order.
    :param symbols: element of each atom [n].
    :param cell: [3,3] in Å, in the user's frame, as are positions and velocities.
    :param positions: [n,3] in Å; positions outside the cell get their image flags from ``read_data``.
    :param velocities: [n,3] in Å/ps.
    """
    frame = LammpsFrame.of_cell(cell)
    box = _lower_triangular(cell)
    handle.write(f'written by aiida-mghdiff\n\n{len(symbols)} atoms\n{len(types)} atom types\n\n')
    handle.writelines(f'0.0 {box[axis, axis]:.17g} {name}lo {name}hi\n' for axis, name in enumerate('xyz'))
    handle.write(f'{box[1, 0]:.17g} {box[2, 0]:.17g} {box[2, 1]:.17g} xy xz yz\n\nMasses\n\n')
    handle.writelines(
        f'{index} {atomic_masses[chemical_symbols.index(symbol)]:.17g} # {symbol}\n'
        for index, symbol in enumerate(types, 1)
    )
    handle.write('\nAtoms # atomic\n\n')
    handle.writelines(
        f'{index} {types.index(symbol) + 1} {x:.17g} {y:.17g} {z:.17g}\n'
        for index, (symbol, (x, y, z)) in enumerate(zip(symbols, frame.to_lammps(positions), strict=True), 1)
    )
    if velocities is not None:
        handle.write('\nVelocities\n\n')
        handle.writelines(
            f'{index} {x:.17g} {y:.17g} {z:.17g}\n' for index, (x, y, z) in enumerate(frame.to_lammps(velocities), 1)
        )


@dataclass(frozen=True)
class Dump:
    """Frames of a text dump: f frames of n atoms in the order of the file, in LAMMPS' frame."""

    steps: np.ndarray  # [f]
    cells: np.ndarray  # [f,3,3] lower triangular, Å
    columns: dict[str, np.ndarray]  # name -> [f,n]

    def vectors(self, *names: str) -> np.ndarray:
        """Return three columns as vectors [f,n,3]."""
        return np.stack([self.columns[name] for name in names], axis=-1)

    def select(self, chosen: np.ndarray) -> Dump:
        """Return the chosen frames (a boolean mask [f] or indices)."""
        return Dump(self.steps[chosen], self.cells[chosen], {key: item[chosen] for key, item in self.columns.items()})


_HEADER_LINES = 9


def read_dump(path: str | Path) -> Dump:
    """Read a text dump of a fixed number of atoms and numeric columns; an incomplete last frame is left out.

    :raises FormatError: if the file is empty or is not such a dump.
    """
    lines = split_lines(read_text(path))
    try:
        n_atoms = int(lines[3])
        names = lines[_HEADER_LINES - 1].removeprefix('ITEM: ATOMS').split()
        size = _HEADER_LINES + n_atoms
        frames = len(lines) // size
        blocks = np.array(lines[: frames * size], dtype=object).reshape(frames, size)
        values = _numbers(blocks[:, _HEADER_LINES:]).reshape(frames, n_atoms, len(names))
        steps = _numbers(blocks[:, 1]).astype(int)
        cells = _cells(blocks[:, 5:8])
    except (ValueError, IndexError) as error:
        raise FormatError(path, '', f'no text dump of a fixed number of atoms ({error})') from error
    return Dump(steps, cells, {name: values[..., column] for column, name in enumerate(names)})


def _numbers(lines: np.ndarray) -> np.ndarray:
    return np.array(' '.join(lines.ravel()).split(), dtype=float)


def _cells(bounds: np.ndarray) -> np.ndarray:
    """Return cells [f,3,3] from the three lines of box bounds, which span the tilted box, not its edges."""
    values = _numbers(bounds).reshape(len(bounds), 3, -1)
    low, high = values[:, :, 0], values[:, :, 1]
    xy, xz, yz = (values[:, :, 2] if values.shape[2] == 3 else np.zeros_like(low)).T
    corners = np.stack([np.zeros_like(xy), xy, xz, xy + xz])
    cells = np.zeros((len(values), 3, 3))
    cells[:, 0, 0] = high[:, 0] - low[:, 0] - corners.max(axis=0) + corners.min(axis=0)
    cells[:, 1, 1] = high[:, 1] - low[:, 1] - np.maximum(yz, 0) + np.minimum(yz, 0)
    cells[:, 2, 2] = high[:, 2] - low[:, 2]
    cells[:, 1, 0], cells[:, 2, 0], cells[:, 2, 1] = xy, xz, yz
    return cells


def read_series(path: str | Path) -> dict[str, np.ndarray]:
    """Read the output of ``fix print ... file``: a title ``# name name ...`` and one row for each step.

    :returns: name -> [m]; a truncated last row is left out.
    :raises FormatError: if a row does not have one number for each name.
    """
    title, _, rows = read_text(path).partition('\n')
    names = title.removeprefix('#').split()
    try:
        values = np.array(rows[: rows.rfind('\n') + 1].split(), dtype=float).reshape(-1, len(names))
    except ValueError as error:
        raise FormatError(path, '', f'not {len(names)} numbers in each row ({error})') from error
    return dict(zip(names, values.T, strict=True))
