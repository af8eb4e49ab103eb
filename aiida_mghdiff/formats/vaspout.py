"""vaspout.h5, VASP's output in HDF5: the trajectory, and the energies and temperatures of its frames.

The reader loads only the needed arrays, a few frames at a time. It never reads the file's copy of POTCAR, which must
not leave the machine. Layout of VASP 6.3 to 6.6, as in py4vasp 0.11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.science.trajectory_reduction import Frame

_IONS = 'intermediate/ion_dynamics'
_POSITIONS, _LATTICES, _SCALE = f'{_IONS}/position_ions', f'{_IONS}/lattice_vectors', f'{_IONS}/scale'
_ENERGIES, _TAGS = f'{_IONS}/energies', f'{_IONS}/energies_tags'
_SPECIES, _COUNTS = 'results/positions/ion_types', 'results/positions/number_ion_types'
_FRAMES_AT_ONCE = 64


class VaspoutReader:
    """Iterates over the frames of a vaspout.h5, like ``XdatcarReader`` over an XDATCAR.

    After an iteration ``truncated`` names the missing part; a frame whose coordinates are all zero was never written.
    ``energies`` has by VASP's name (``temperature TEIN``, ``ion-electron TOTEN``) one value for each frame [f] in eV or
    K: NaN for steps between written steps, for which VASP up to 6.4.2 wrote zeros.

    :raises FormatError: for a file that is not HDF5, was not closed, or has no trajectory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.truncated: str | None = None
        with self._open() as file:
            words = [re.findall('[A-Z]?[a-z]?', _text(word))[0] for word in self._dataset(file, _SPECIES)[()]]
            self.counts = [int(count) for count in self._dataset(file, _COUNTS)[()]]
            self.energies = self._read_energies(file)
            shape = self._dataset(file, _POSITIONS).shape
        if not words or not set(words) <= set(atomic_numbers) or len(words) != len(self.counts):
            raise FormatError(path, _SPECIES, f'{words} {self.counts} are no elements with their numbers of atoms')
        if shape[1:] != (sum(self.counts), 3):
            raise FormatError(path, _POSITIONS, f'of the shape {shape}, but there are {sum(self.counts)} atoms')
        self.symbols: list[str] = words

    def __iter__(self) -> Iterator[Frame]:
        self.truncated = None
        with self._open() as file:
            positions, lattices = self._dataset(file, _POSITIONS), self._dataset(file, _LATTICES)
            scale = float(file[_SCALE][()]) if _SCALE in file else 1.0
            whole = min(len(positions), len(lattices))
            for first in range(0, whole, _FRAMES_AT_ONCE):
                frames = slice(first, min(first + _FRAMES_AT_ONCE, whole))
                cells = scale * lattices[frames]
                for number, (cell, fractional) in enumerate(
                    zip(cells, positions[frames], strict=True), frames.start + 1
                ):
                    if not self._is_written(number, cell, fractional):
                        return
                    yield Frame(number, cell, fractional)
            if len(positions) != len(lattices) or not whole:
                counts = f'{len(positions)} frames of positions and {len(lattices)} of lattice vectors'
                self.truncated = f'{self.path}: the file ends within a frame, it has {counts}'

    def _is_written(self, number: int, cell: np.ndarray, fractional: np.ndarray) -> bool:
        if not (np.isfinite(fractional).all() and np.isfinite(cell).all()):
            raise FormatError(self.path, f'frame {number}', 'a number that is not finite')
        if cell.any() and (fractional.any() or len(fractional) == 1):
            return True
        self.truncated = f'{self.path}, frame {number}: nothing was written of it'
        return False

    def _open(self) -> Any:
        try:
            import h5py
        except ImportError as error:
            raise FormatError(self.path, '', 'h5py, which reads this file, is not installed in this Python') from error
        try:
            return h5py.File(self.path, 'r')
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FormatError(self.path, '', f'not a complete HDF5 file ({error})') from error

    def _dataset(self, file: Any, name: str) -> Any:
        if name not in file:
            raise FormatError(self.path, name, 'there is no such dataset: VASP wrote no trajectory into this file')
        return file[name]

    def _read_energies(self, file: Any) -> dict[str, np.ndarray]:
        if _ENERGIES not in file or _TAGS not in file:
            return {}
        values = np.array(file[_ENERGIES][()], dtype=float)
        values[~values.any(axis=1)] = np.nan
        return {' '.join(_text(tag).split()): column for tag, column in zip(file[_TAGS][()], values.T, strict=True)}


def read_vaspout(path: str | Path) -> VaspoutReader:
    """Return the reader of a vaspout.h5."""
    return VaspoutReader(path)


def _text(value: bytes | str) -> str:
    return value.decode(errors='replace') if isinstance(value, bytes) else str(value)
