"""OUTCAR, VASP's log: the ionic steps with their energies, forces and stresses, and how the run ended.

A step is a table of positions and forces with the energies behind it. With on-the-fly learning there are two kinds:
those of DFT, and those of the force field, whose labels begin with ``ML`` (all zero as long as there is none). That of
the force field stands before the ``Iteration`` lines of a DFT step of the same geometry. A step is read at a time, so
that memory does not grow with the file. Positions have 5 decimals and forces 6: VASP prints no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.science.units import KBAR_IN_EV_PER_ANGSTROM3

# Of a stress: kbar, compression positive, XX YY ZZ XY YZ ZX -> eV/Å³, tension positive, xx yy zz yz xz xy
_STRESS_ORDER = [0, 1, 2, 4, 5, 3]
_KIB_IN_MB = 1 / 1024
_STANDIN_LINES = 20

_ELEMENT = re.compile(rb'VRHFIN\s*=\s*([A-Z][a-z]?)\s*:')
_VTST = re.compile(rb'\s*VTST:\s*(.*?)\s*')
_STANDIN = re.compile(rb'\s*NOT VASP: stand-in, labels (\S+)\s*')
_ITERATION = re.compile(rb'-+ Iteration\s*(\d+|\*+)\(')
_FREE_ENERGY = re.compile(rb'\s*free  energy (ML)?\s*TOTEN\s*=\s*(\S+)\s+eV')
_SIGMA_ENERGY = re.compile(rb'\s*(ML)?\s*energy  without entropy\s*=\s*\S+\s+(?:ML )?energy\(sigma->0\)\s*=\s*(\S+)')
_MEMORY = re.compile(rb'\s*Maximum memory used \(kb\):\s*([\d.]+)\s*')
_END = b'General timing and accounting'


@dataclass(frozen=True)
class OutcarStep:
    """A step of n atoms.

    ``index`` is the number of the ionic step, from 1: that of the ``Iteration`` lines for a DFT step; a step of the
    force field is the one behind the step before it, which counts the written ones if VASP writes not all of them.
    """

    index: int
    is_dft: bool
    energy: float  # free energy, eV
    energy_sigma0: float  # extrapolated to no smearing, eV
    cell: np.ndarray  # [3,3] Å
    positions: np.ndarray  # [n,3] Å
    forces: np.ndarray  # [n,3] eV/Å
    stress: np.ndarray | None  # [6] eV/Å³, ASE's sign and order
    scf_converged: bool | None  # None of a step of the force field


class OutcarReader:
    """Iterates over the steps of an OUTCAR; may be iterated over again.

    Known at once: ``version`` (the first line), ``vtst`` (the version of the transition-state tools, None of a VASP
    without them), ``standin`` (whose labels the stand-in gave, None of VASP itself), ``symbols`` and ``counts`` of the
    blocks of atoms. Known after an iteration: ``finished`` (whether the run came to its regular end),
    ``max_memory_mb``, ``truncated``, which says in a sentence where a file ends that has no such end, and ``damaged``,
    a sentence for each step that was left out.

    :raises FormatError: with line and reason, for a file that is no OUTCAR, and while iterating for a damaged step.
    """

    def __init__(self, path: str | Path, skips_damaged: bool = False) -> None:
        """:param skips_damaged: leave damaged steps out instead of raising."""
        self.path = path
        self.skips_damaged = skips_damaged
        self.damaged: list[str] = []
        self.finished = False
        self.max_memory_mb: float | None = None
        self.truncated: str | None = None
        self.vtst: str | None = None
        self.standin: str | None = None
        self.symbols: list[str] = []
        self.counts: list[int] = []
        with Path(path).open('rb') as handle:
            first = handle.readline()
            if not first.lstrip().startswith(b'vasp.') or not first.endswith(b'\n'):
                raise FormatError(path, 'line 1', 'no OUTCAR: it must begin with the version, vasp.<number>')
            self.version = first.decode(errors='replace').strip()
            self._read_head(handle)

    def __iter__(self) -> Iterator[OutcarStep]:
        self.finished, self.max_memory_mb, self.truncated, self.damaged = False, None, None, []
        with Path(self.path).open('rb') as handle:
            yield from _Steps(self, handle)

    def _read_head(self, handle: BinaryIO) -> None:
        for number, line in enumerate(handle, start=2):
            if b' Iteration ' in line or b'TOTAL-FORCE' in line:
                return
            if not line.endswith(b'\n'):
                return
            if match := _ELEMENT.search(line):
                self.symbols.append(match[1].decode())
            elif b'ions per type =' in line:
                self.counts = self._read_counts(line, number)
            elif match := _VTST.fullmatch(line):
                self.vtst = match[1].decode(errors='replace')
            elif number <= _STANDIN_LINES and (match := _STANDIN.fullmatch(line)):
                self.standin = match[1].decode(errors='replace')

    def _read_counts(self, line: bytes, number: int) -> list[int]:
        try:
            return [int(word) for word in line.partition(b'=')[2].split()]
        except ValueError:
            raise FormatError(self.path, f'line {number}', 'numbers of atoms should stand here') from None


@dataclass
class _Unfinished:
    """What was read of a step that is not whole yet."""

    converged: bool = False
    stress: np.ndarray | None = None
    tables: dict[str, Any] = field(default_factory=dict)  # positions, forces and whether they are of DFT
    energy: float | None = None
    damaged: bool = False  # and will be left out


class _Steps:
    """One pass over an open file."""

    def __init__(self, reader: OutcarReader, handle: BinaryIO) -> None:
        self.reader, self.handle = reader, handle
        self.line = 0  # lines passed
        self.index = 0  # of the last step
        self.iteration = 0
        self.last_dft = 0  # iteration of the last step of DFT that ended
        self.cell: np.ndarray | None = None
        self.step = _Unfinished()
        self.handlers = (
            (b' Iteration ', self._take_iteration),
            (b'aborting loop because EDIFF is reached', self._take_convergence),
            (b'direct lattice vectors', self._take_cell),
            (b' in kB ', self._take_stress),
            (b'TOTAL-FORCE (eV/Angst)', self._take_tables),
            (b' TOTEN ', self._take_energy),
            (_END, self._take_end),
            (b'Maximum memory used', self._take_memory),
        )

    def __iter__(self) -> Iterator[OutcarStep]:
        while line := self._next():
            try:
                step = self._take(line)
            except FormatError as error:
                if not self.reader.skips_damaged:
                    raise
                self.reader.damaged.append(str(error))
                self.step = _Unfinished(damaged=b'(sigma->0)' not in line)
                continue
            if step is not None:
                yield step
        if self.reader.finished:
            self._note_lost_step()
        else:
            place = f'{self.reader.path}, line {self.line}'
            self.reader.truncated = f"{place}: the file ends without '{_END.decode()}', after step {self.index}"

    def _take(self, line: bytes) -> OutcarStep | None:
        """Take a line; return the step that it ends."""
        if b'(sigma->0)' in line:
            match = _SIGMA_ENERGY.match(line)
            return self._finish(match) if match else None
        for needle, handler in self.handlers:
            if needle in line:
                handler(line)
                break
        return None

    def _next(self) -> bytes:
        """Pass a line and return it; nothing at the end of the file, within a line too."""
        line = self.handle.readline()
        if not line.endswith(b'\n'):
            return b''
        self.line += 1
        return line

    def _error(self, reason: str, line: int | None = None) -> FormatError:
        return FormatError(self.reader.path, f'line {self.line if line is None else line}', reason)

    def _take_iteration(self, line: bytes) -> None:
        if match := _ITERATION.match(line):
            number = int(match[1]) if match[1].isdigit() else self.index + 1
            if number != self.iteration:
                self._note_lost_step()
                self.step = _Unfinished()
            self.iteration = number

    def _note_lost_step(self) -> None:
        """Say which step of DFT had its electrons, but neither forces nor an energy that can be read."""
        if self.reader.skips_damaged and self.last_dft != self.iteration:
            place = f'{self.reader.path}, line {self.line}'
            self.reader.damaged.append(f'{place}: step {self.iteration} above is not whole')

    def _take_convergence(self, line: bytes) -> None:
        self.step.converged = True

    def _take_cell(self, line: bytes) -> None:
        rows = self._rows(3, 6, 9)
        self.cell = None if rows is None else rows[:, :3]

    def _take_stress(self, line: bytes) -> None:
        kbar = self._numbers(line.replace(b'in kB', b''), 6, 5)
        self.step.stress = -KBAR_IN_EV_PER_ANGSTROM3 * kbar[_STRESS_ORDER]

    def _take_tables(self, line: bytes) -> None:
        count = sum(self.reader.counts)
        if not count:
            raise self._error("no 'ions per type' above this table")
        self._next()
        rows = self._rows(count, 6, 5)
        ruler = self._next()
        if ruler and ruler.strip(b' -\n'):
            raise self._error(f'a ruler should stand here, behind {count} atoms')
        if rows is not None and ruler:
            is_dft = b'(ML)' not in line
            self.step.tables = {'is_dft': is_dft, 'positions': rows[:, :3], 'forces': rows[:, 3:]}

    def _take_energy(self, line: bytes) -> None:
        if (match := _FREE_ENERGY.match(line)) and self.step.tables.get('is_dft') is (match[1] is None):
            self.step.energy = self._number(match[2])

    def _take_end(self, line: bytes) -> None:
        self.reader.finished = True

    def _take_memory(self, line: bytes) -> None:
        if match := _MEMORY.fullmatch(line):
            self.reader.max_memory_mb = float(match[1]) * _KIB_IN_MB

    def _is_whole(self, is_dft: bool) -> bool:
        return self.step.energy is not None and self.step.tables['is_dft'] is is_dft

    def _finish(self, sigma_energy: re.Match[bytes]) -> OutcarStep | None:
        """Return the step that ends here; None where it has no forces, or is damaged."""
        is_dft = sigma_energy[1] is None
        if not (self.step.damaged or self._is_whole(is_dft)):
            return None
        step, self.step = self.step, _Unfinished()
        self.index = max(self.iteration, 1) if is_dft else self.index + 1
        if is_dft:
            self.last_dft = self.iteration
        if step.damaged:
            return None
        if self.cell is None:
            raise self._error('no lattice vectors above this step')
        return OutcarStep(
            index=self.index,
            energy=step.energy,
            energy_sigma0=self._number(sigma_energy[2]),
            cell=self.cell,
            stress=step.stress,
            scf_converged=step.converged if is_dft else None,
            **step.tables,
        )

    def _rows(self, count: int, columns: int, decimals: int) -> np.ndarray | None:
        """Pass rows of numbers and return them, ``[count, columns]``; None where the file ends within them."""
        values = np.empty((count, columns))
        for row in range(count):
            line = self._next()
            if not line:
                return None
            values[row] = self._numbers(line, columns, decimals)
        return values

    def _numbers(self, line: bytes, count: int, decimals: int) -> np.ndarray:
        """Return the numbers of a line; those of so many decimals may touch, where one fills its column."""
        words = line.split()
        if len(words) != count:
            words = re.sub(rb'(\.\d{%d})(?=[-\d])' % decimals, rb'\1 ', line).split()
        try:
            values = np.array(words, dtype=float)
        except ValueError:
            values = np.empty(0)
        if len(values) != count or not np.isfinite(values).all():
            raise self._error(f'{count} numbers should stand here, not {line.strip()[:80].decode(errors="replace")!r}')
        return values

    def _number(self, word: bytes) -> float:
        return float(self._numbers(word, 1, 8)[0])
