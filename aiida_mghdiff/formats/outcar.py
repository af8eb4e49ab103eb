"""OUTCAR, VASP's log: the ionic steps with their energies, forces and stresses, and the end of the run.

A step is a table of positions and forces, followed by its energies. On-the-fly learning has two kinds of steps: DFT
steps, and force-field steps, whose labels begin with ``ML`` (all zero while there is no force field). The force-field
step stands before the ``Iteration`` lines of a DFT step of the same geometry. One step is read at a time, so memory
does not grow with the file. Positions have 5 decimals and forces 6: VASP prints no more.

``Loop`` decides whether the SCF of a DFT step converged. VASP 5 ends every loop with the words "aborting loop
because EDIFF is reached", VASP 6 with NELM = 1 too. Both leave the loop when abs(dE) and abs(d eps) are below EDIFF, or
at iteration NELM.

Several runs of the same atoms, one after the other in one file, are read as one; each is judged by its own settings.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.text import require_text
from aiida_mghdiff.science.units import EV_PER_ANGSTROM3_IN_GPA, KBAR_IN_EV_PER_ANGSTROM3

# Conversion of a stress: kbar, compression positive, XX YY ZZ XY YZ ZX -> eV/Å³, tension positive, xx yy zz yz xz xy
_STRESS_ORDER = [0, 1, 2, 4, 5, 3]
_KIB_IN_MB = 1 / 1024
_STANDIN_LINES = 20
#: Messages name this many damaged steps, and count all others.
_NAMED = 3
#: Arrays of a summary for its DFT steps; the stress is an additional array, with gaps.
_DFT_FIELDS = ('index', 'energy', 'energy_sigma0', 'cell', 'positions', 'forces', 'scf_converged')
#: Replaces an unknown ``scf_converged``.
_UNKNOWN = -1
#: From this NWRITE on VASP writes the table of forces of every step.
_NWRITE = 2

_SETTING = re.compile(rb'\s*(NELM|EDIFF|NWRITE)\s*=\s*([-+.\dDEde]+)')
_ATOMS = re.compile(rb'\s*number of (?:.*\s)?ions\s+NIONS\s*=\s*(\d+)')
_COUNTS = re.compile(rb'\s*ions per type =')
_WHOLE_NUMBERS = re.compile(rb'[\s\d]*\d\s*')
_CHANGES = re.compile(rb'\s*total energy-change[^:]*:([^(]*)(?:\(([^)]*))?')
# Fortran leaves out the E of an exponent with three digits, and may write D
_EXPONENT = re.compile(rb'(?<=[\d.])[Dd]?(?=[+-]\d+$)')
_ROW = re.compile(3 * rb'\s*(-?\d*\.\d{5})' + 3 * rb'\s*(-?\d*\.\d{6})')
_BAND_FORCE = re.compile(rb'\s*FORCES: max atom, RMS\s+(\S+)\s+\S+\s*')
#: Of a potential: its element, as in ``VRHFIN =H: ultrasoft test``, ``VRHFIN =Mg_pv : 2p6 3s2`` or ``VRHFIN =Mg 3s2``.
VRHFIN = r'[ \t]*VRHFIN\s*=\s*([A-Z][a-z]?)(?![A-Za-z])'
_ELEMENT = re.compile(VRHFIN.encode())
#: Texts of the user, which may look like anything else.
_TITLE = re.compile(rb'\s*(?:SYSTEM|POSCAR)\s*[=:]')
_VTST = re.compile(rb'\s*VTST:\s*(.*?)\s*')
_STANDIN = re.compile(rb'\s*NOT VASP: stand-in, labels (\S+)\s*')
_ITERATION = re.compile(rb'-+ Iteration\s*(\d+|\*+)\(\s*(\d+|\*+)')
_FREE_ENERGY = re.compile(rb'\s*free  energy (ML)?\s*TOTEN\s*=\s*(\S+)\s+eV')
_SIGMA_ENERGY = re.compile(rb'\s*(ML)?\s*energy  without entropy\s*=.*?\benergy\(sigma->0\)\s*=\s*(\S+)')
_MEMORY = re.compile(rb'\s*Maximum memory used \(kb\):\s*([\d.]+)\s*')
# A killed job leaves half a line, followed by the version of an appended run. A title may name VASP, too
_APPENDED = re.compile(rb' vasp\.\d.*(?:\(build|complex|gamma-only|standin).*')
_END = b'General timing and accounting'
#: Files saved in Windows may begin with a byte order mark.
_BOM_AND_BLANKS = codecs.BOM_UTF8 + b' \t'


def standin_mark(labelled_by: str) -> str:
    """Return the line with which the stand-in marks its files, as :class:`OutcarReader` recognises it."""
    return f'NOT VASP: stand-in, labels {labelled_by}'


@dataclass(frozen=True)
class OutcarStep:
    """A step of n atoms.

    ``index`` numbers the ionic steps from 1. A DFT step has the number of its ``Iteration`` lines. A force-field step
    is numbered one after the previous step. With ML_OUTBLOCK > 1 only written steps count.
    """

    index: int
    is_dft: bool
    energy: float  # free energy, eV
    energy_sigma0: float  # extrapolated to zero smearing, eV
    cell: np.ndarray  # [3,3] Å
    positions: np.ndarray  # [n,3] Å
    forces: np.ndarray  # [n,3] eV/Å
    stress: np.ndarray | None  # [6] eV/Å³, ASE's sign and order
    scf_converged: bool | None  # None for a force-field step, and if unknown


@dataclass
class Loop:
    """The SCF of a DFT step as far as it was read: its last iteration, and VASP's words at its end."""

    iteration: int = 0
    changes: tuple[float, ...] = ()  # abs(dE) and abs(d eps) of the last iteration, eV
    is_reached: bool | None = None  # VASP's statement; None without one
    follows_unconverged: bool = False  # an earlier SCF of the same step did not converge

    def converged(self, nelm: int | None, ediff: float | None) -> bool | None:
        """Return whether the loop met EDIFF; None without ``Iteration`` lines, since nothing supports VASP's words.

        VASP 6, and a hard stop, say that EDIFF was not reached. If the loop ended before NELM, VASP's words decide. A
        loop of NELM iterations converged only if its last changes show it. If the file does not echo NELM (an old or
        trimmed file), the last changes decide, too; without changes or EDIFF only VASP's words are left.
        """
        if self.is_reached is False or self.follows_unconverged:
            return False
        if not self.iteration:
            return None
        met_ediff = None if ediff is None or not self.changes else all(change <= ediff for change in self.changes)
        if nelm is None:
            return bool(self.is_reached) if met_ediff is None else met_ediff
        return bool(self.is_reached) if self.iteration < nelm else bool(met_ediff)


@dataclass
class _Head:
    """Content above the first step of a run."""

    version: str
    vtst: str | None = None
    standin: str | None = None
    symbols: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    settings: defaultdict[bytes, list[float]] = field(default_factory=lambda: defaultdict(list))
    lines: int = 1
    ions: int = 0
    is_counting: bool = False

    @classmethod
    def of(cls, line: bytes) -> _Head | None:
        """Return the head that begins with this line, or None if the line has no version of VASP."""
        text = line.lstrip(_BOM_AND_BLANKS)
        return cls(text.decode(errors='replace').strip()) if text.startswith(b'vasp.') else None

    @classmethod
    def within(cls, line: bytes) -> _Head | None:
        """Return the head of another run that begins with this line, or after half a line."""
        if b'vasp.' not in line or _TITLE.match(line):
            return None
        match = _APPENDED.search(line)
        return cls.of(match[0] if match else line)

    def take(self, line: bytes) -> bool:
        """Take the next line; return whether it is the first line after the head."""
        self.lines += 1
        if _TITLE.match(line):
            return False
        if _ITERATION.match(line) or b'TOTAL-FORCE' in line:
            return True
        self.is_counting = bool((_WHOLE_NUMBERS.fullmatch if self.is_counting else _COUNTS.match)(line))
        if self.is_counting:
            # stars are counts that do not fit their column
            self.counts += [int(word) for word in line.rpartition(b'=')[2].split() if word.isdigit()]
        elif match := _SETTING.match(line):
            if math.isfinite(number := _fortran_number(match[2])):
                self.settings[match[1]].append(number)
        elif match := _ATOMS.match(line):
            self.ions = self.ions or int(match[1])  # a later NIONS counts something else
        else:
            self._take_origin(line)
        return False

    def _take_origin(self, line: bytes) -> None:
        """Take an element of POTCAR, or a line that identifies VASP."""
        if match := _ELEMENT.match(line):
            self.symbols.append(match[1].decode())
        elif match := _VTST.fullmatch(line):
            self.vtst = match[1].decode(errors='replace')
        elif self.lines <= _STANDIN_LINES and (match := _STANDIN.fullmatch(line)):
            self.standin = match[1].decode(errors='replace')

    @property
    def n_atoms(self) -> int:
        return self.ions or sum(self.counts)

    @property
    def ediff(self) -> float | None:
        """Return EDIFF with all digits, which the copy of INCAR has; the table below it has one digit."""
        values = self.settings[b'EDIFF']
        return next((value for value in values if _rounds_to(value, values[-1])), None)

    @property
    def nelm(self) -> int | None:
        return self._whole(b'NELM')

    @property
    def nwrite(self) -> int | None:
        return self._whole(b'NWRITE')

    def _whole(self, name: bytes) -> int | None:
        """Return a setting from the table, which is the last of its places: a title of two lines may name it, too."""
        return int(self.settings[name][-1]) if self.settings[name] else None


class OutcarReader:
    """Iterates over the steps of an OUTCAR; may be iterated over again.

    After opening, these are known for the first run in the file: ``version`` (the first line), ``vtst`` (the version of
    the transition-state tools, None for a VASP without them), ``standin`` (the labeller of the stand-in, None for VASP
    itself), ``n_atoms``, ``symbols`` and ``counts`` of the blocks of atoms (VASP up to 6.3 prints only the first ten
    counts), and the settings ``nelm``, ``ediff`` (eV) and ``nwrite`` (None if the file does not contain them). After an
    iteration, these are known: ``finished`` (whether the run reached its regular end), ``max_memory_mb``, ``truncated``
    (a sentence about the end of a file without regular end), ``damaged`` (a sentence for each step that was left out),
    ``reached_ediffg`` (whether a relaxation or a band reached the accuracy of EDIFFG), and ``band_forces``: the largest
    force of each step of a band in eV/Å, from springs along the band and the potential across it. Empty without VTST.

    :raises FormatError: names line and reason, for a file that is no OUTCAR, and while iterating for a damaged step, or
        a step without the table of forces (NWRITE below 2).
    """

    def __init__(self, path: str | Path, skips_damaged: bool = False) -> None:
        """:param skips_damaged: leave damaged steps out instead of raising."""
        self.path = path
        self.skips_damaged = skips_damaged
        self._forget()
        require_text(path)
        with Path(path).open('rb') as handle:
            first = handle.readline()
            head = _Head.of(first) if first.endswith(b'\n') else None
            if head is None:
                raise FormatError(path, 'line 1', 'no OUTCAR: it must begin with the version, vasp.<number>')
            for line in handle:
                if not line.endswith(b'\n') or _Head.within(line) or head.take(line):
                    break
        self.head = head
        self.version, self.vtst, self.standin = head.version, head.vtst, head.standin
        self.n_atoms, self.symbols, self.counts = head.n_atoms, head.symbols, head.counts
        self.nelm, self.ediff, self.nwrite = head.nelm, head.ediff, head.nwrite

    @property
    def labelled_by(self) -> str:
        """Return the origin of the labels: ``vasp``, or ``standin:<labeller>``."""
        return 'vasp' if self.standin is None else f'standin:{self.standin}'

    def __iter__(self) -> Iterator[OutcarStep]:
        self._forget()
        with Path(self.path).open('rb') as handle:
            yield from _Steps(self, handle)

    def _forget(self) -> None:
        """Forget the results of the last iteration."""
        self.damaged: list[str] = []
        self.finished = self.reached_ediffg = False
        self.max_memory_mb: float | None = None
        self.truncated: str | None = None
        self.band_forces: list[float] = []


def _rounds_to(value: float, rounded: float) -> bool:
    """Return whether a number with one digit may be the rounded value, however a half is rounded."""
    if value == rounded or min(value, rounded) <= 0:
        return value == rounded
    digit = 10 ** math.floor(math.log10(min(value, rounded)))
    return abs(value - rounded) <= 0.5000001 * digit


def _fortran_number(word: bytes) -> float:
    """Return a number in Fortran's notation; infinity for anything else, such as the stars of an overflow."""
    try:
        return float(_EXPONENT.sub(b'E', word.strip()))
    except ValueError:
        return math.inf


@dataclass
class _Unfinished:
    """Content of a step that is not complete yet."""

    loop: Loop = field(default_factory=Loop)
    stress: np.ndarray | None = None
    tables: dict[str, Any] = field(default_factory=dict)  # positions, forces and whether they are of DFT
    energy: float | None = None
    damaged: bool = False  # whether the step will be left out


class _Steps:
    """One pass over an open file."""

    def __init__(self, reader: OutcarReader, handle: BinaryIO) -> None:
        self.reader, self.handle = reader, handle
        self.head = reader.head
        self.following: _Head | None = None  # head of a run that begins here
        self.is_within_head = self.is_of_others = False
        self.line = 0  # lines passed
        self.index = 0  # number of the last step
        self.iteration = 0
        self.last_dft = 0  # iteration of the last finished DFT step
        self.cell: np.ndarray | None = None
        self.step = _Unfinished()
        self.handlers: dict[bytes, Callable[[bytes], OutcarStep | None]] = {
            b'(sigma->0)': self._take_sigma_energy,
            b' Iteration ': self._take_iteration,
            b'total energy-change': self._take_changes,
            b'aborting loop': self._take_end_of_loop,
            b'direct lattice vectors': self._take_cell,
            b' in kB ': self._take_stress,
            b'TOTAL-FORCE (eV/Angst)': self._take_tables,
            b' TOTEN ': self._take_energy,
            b'FORCES: max atom': self._take_band_force,
            b'reached required accuracy - stopping structural energy': self._take_ediffg,
            _END: self._take_end,
            b'Maximum memory used': self._take_memory,
        }
        # one search for all is three times as fast as a search for each
        self.pattern = re.compile(b'|'.join(map(re.escape, self.handlers)))

    def __iter__(self) -> Iterator[OutcarStep]:
        while (line := self._next()) or self.following:
            if self.following:
                self._begin_run(self.following)
                continue
            try:
                step = self._take(line)
            except FormatError as error:
                if not self.reader.skips_damaged or self.is_of_others:
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
        if self.is_within_head and self.head.take(line):
            self.is_within_head = False
            self._check_atoms()
        match = self.pattern.search(line)
        return self.handlers[match[0]](line) if match and not _TITLE.match(line) else None

    def _next(self) -> bytes:
        """Pass a line and return it; an empty line at the end of the file or of a run, also within a line."""
        line = b'' if self.following else self.handle.readline()
        if not line.endswith(b'\n'):
            return b''
        self.line += 1
        self.following = _Head.within(line) if self.line > 1 else None
        return b'' if self.following else line

    def _error(self, reason: str, line: int | None = None) -> FormatError:
        return FormatError(self.reader.path, f'line {self.line if line is None else line}', reason)

    def _begin_run(self, head: _Head) -> None:
        """Begin another run, if the file has one after the first."""
        self._note_lost_step()
        self.head, self.following, self.is_within_head, self.step = head, None, True, _Unfinished()
        self.index = self.iteration = self.last_dft = 0
        self.reader.finished = self.reader.reached_ediffg = False

    def _check_atoms(self) -> None:
        """Refuse another run whose atoms or origin of labels differ from the reader's."""
        first, head = ((run.n_atoms, run.symbols, run.counts, run.standin) for run in (self.reader.head, self.head))
        if first != head:
            self.is_of_others = True
            raise self._error('another run ends its head here, of other atoms or labels: give each OUTCAR as a file')

    def _take_iteration(self, line: bytes) -> None:
        if match := _ITERATION.match(line):
            number = int(match[1]) if match[1].isdigit() else self.index + 1
            if number != self.iteration:
                self._note_lost_step()
                self.step = _Unfinished()
            self.iteration, loop = number, self.step.loop
            iteration = int(match[2]) if match[2].isdigit() else loop.iteration + 1
            if iteration <= loop.iteration:
                is_unconverged = loop.converged(self.head.nelm, self.head.ediff) is False
                self.step.loop = loop = Loop(follows_unconverged=is_unconverged)
            loop.iteration = iteration
            loop.changes = ()

    def _note_lost_step(self) -> None:
        """Note a DFT step with an SCF but without readable forces and energy."""
        if self.reader.skips_damaged and self.last_dft != self.iteration:
            place = f'{self.reader.path}, line {self.line}'
            self.reader.damaged.append(f'{place}: step {self.iteration} above is not whole')

    def _take_changes(self, line: bytes) -> None:
        if match := _CHANGES.match(line):
            self.step.loop.changes = tuple(abs(_fortran_number(word)) for word in match.groups() if word is not None)

    def _take_end_of_loop(self, line: bytes) -> None:
        self.step.loop.is_reached = b'EDIFF is reached' in line

    def _take_cell(self, line: bytes) -> None:
        rows = self._rows(3, lambda line: self._numbers(line, 6, 9))
        self.cell = None if rows is None else rows[:, :3]

    def _take_stress(self, line: bytes) -> None:
        kbar = self._numbers(line.replace(b'in kB', b''), 6, 5)
        self.step.stress = -KBAR_IN_EV_PER_ANGSTROM3 * kbar[_STRESS_ORDER]

    def _take_tables(self, line: bytes) -> None:
        count = self.reader.n_atoms
        if not count:
            raise self._error("no NIONS and no 'ions per type' above this table")
        self._next()
        rows = self._rows(count, self._table_row)
        ruler = self._next()
        if ruler and ruler.strip(b' -\r\n'):
            raise self._error(f'a ruler should stand here, after {count} atoms')
        if rows is not None and ruler:
            is_dft = b'(ML)' not in line
            self.step.tables = {'is_dft': is_dft, 'positions': rows[:, :3], 'forces': rows[:, 3:]}

    def _take_energy(self, line: bytes) -> None:
        if (match := _FREE_ENERGY.match(line)) and self.step.tables.get('is_dft') is (match[1] is None):
            self.step.energy = self._number(match[2])

    def _take_band_force(self, line: bytes) -> None:
        if match := _BAND_FORCE.fullmatch(line):
            force = _fortran_number(match[1])
            if not math.isfinite(force):
                word = match[1].decode(errors='replace')
                raise self._error(f'the largest force of a band is {word!r}, no number')
            self.reader.band_forces.append(force)

    def _take_ediffg(self, line: bytes) -> None:
        self.reader.reached_ediffg = True

    def _take_sigma_energy(self, line: bytes) -> OutcarStep | None:
        match = _SIGMA_ENERGY.match(line)
        return self._finish(match) if match else None

    def _take_end(self, line: bytes) -> None:
        self.reader.finished = True

    def _take_memory(self, line: bytes) -> None:
        if match := _MEMORY.fullmatch(line):
            self.reader.max_memory_mb = float(match[1]) * _KIB_IN_MB

    def _is_whole(self, is_dft: bool) -> bool:
        return self.step.energy is not None and self.step.tables['is_dft'] is is_dft

    def _refuse_left_out(self, is_dft: bool) -> None:
        """Refuse a DFT step whose table of forces VASP was told to leave out."""
        nwrite = self.head.nwrite
        if is_dft and not self.step.tables and nwrite is not None and nwrite < _NWRITE:
            self.last_dft = self.iteration
            raise self._error(
                f'step {self.iteration} has no table of positions and forces: NWRITE = {nwrite} leaves out the tables '
                f'between the first and the last step; run VASP again with NWRITE = {_NWRITE}'
            )

    def _finish(self, sigma_energy: re.Match[bytes]) -> OutcarStep | None:
        """Return the step that ends here, or None if it has no forces or is damaged."""
        is_dft = sigma_energy[1] is None
        if not (self.step.damaged or self._is_whole(is_dft)):
            self._refuse_left_out(is_dft)
            return None
        step, self.step = self.step, _Unfinished()
        self.index = self.iteration if is_dft and self.iteration else self.index + 1
        if is_dft:
            self.last_dft = self.iteration
        if step.damaged or step.energy is None:
            return None
        if self.cell is None:
            raise self._error('no lattice vectors above this step')
        return OutcarStep(
            index=self.index,
            energy=step.energy,
            energy_sigma0=self._number(sigma_energy[2]),
            cell=self.cell,
            stress=step.stress,
            scf_converged=step.loop.converged(self.head.nelm, self.head.ediff) if is_dft else None,
            **step.tables,
        )

    def _rows(self, count: int, read: Callable[[bytes], np.ndarray]) -> np.ndarray | None:
        """Pass rows of six numbers and return them, ``[count, 6]``; None if the run ends within them."""
        values = np.empty((count, 6))
        for row in range(count):
            line = self._next()
            if not line:
                return None
            values[row] = read(line)
        return values

    def _table_row(self, line: bytes) -> np.ndarray:
        """Return position and force of an atom; VASP builds with vdW add columns after them."""
        match = _ROW.match(line)
        return self._floats(match.groups() if match else line.split(), 6, line)

    def _numbers(self, line: bytes, count: int, decimals: int) -> np.ndarray:
        """Return the numbers of a line. Numbers with this many decimals may touch if one fills its column."""
        words = line.split()
        if len(words) != count:
            words = re.sub(rb'(\.\d{%d})(?=[-\d])' % decimals, rb'\1 ', line).split()
        return self._floats(words, count, line)

    def _floats(self, words: Sequence[bytes], count: int, line: bytes) -> np.ndarray:
        try:
            values = np.array(words, dtype=float)
        except ValueError:
            values = np.empty(0)
        if len(values) != count or not np.isfinite(values).all():
            raise self._error(f'{count} numbers should stand here, not {line.strip()[:80].decode(errors="replace")!r}')
        return values

    def _number(self, word: bytes) -> float:
        return float(self._numbers(word, 1, 8)[0])


@dataclass
class OutcarSummary:
    """The kept content of OUTCAR: its origin, its end, pressures, and the DFT steps.

    ``pressures`` [m] in GPa, of the potential alone, belong to the steps ``steps`` [m]. ``truncated`` names the missing
    parts: damaged steps, and the end of a truncated file.
    """

    version: str
    labelled_by: str  # ``vasp``, or ``standin:<labeller>``
    finished: bool
    truncated: str | None
    max_memory_mb: float | None
    steps: np.ndarray
    pressures: np.ndarray
    dft_steps: list[OutcarStep] = field(default_factory=list)

    @classmethod
    def unknown(cls, labelled_by: str, reason: str) -> OutcarSummary:
        """Return the summary of an unreadable file, with the reason."""
        return cls('unknown', labelled_by, False, reason, None, np.empty(0, dtype=np.int64), np.empty(0))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all as arrays. The arrays of the d DFT steps, of n atoms, are ``dft_<field>`` [d,...]."""
        words = ('version', 'labelled_by', 'finished', 'truncated', 'max_memory_mb')
        text = json.dumps({name: getattr(self, name) for name in words}, sort_keys=True)
        arrays = {'outcar': np.array(text), 'outcar_steps': self.steps, 'pressures': self.pressures}
        dft = {f'dft_{name}': np.array([getattr(step, name) for step in self.dft_steps]) for name in _DFT_FIELDS}
        known = [step.scf_converged for step in self.dft_steps]
        dft['dft_scf_converged'] = np.array([_UNKNOWN if each is None else each for each in known], dtype=np.int8)
        stresses = [np.full(6, np.nan) if step.stress is None else step.stress for step in self.dft_steps]
        return arrays | dft | {'dft_stress': np.array(stresses)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> OutcarSummary:
        """Return the summary from its arrays."""
        words = json.loads(str(arrays['outcar']))
        columns = {name: arrays[f'dft_{name}'] for name in (*_DFT_FIELDS, 'stress')}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        dft_steps = [_dft_step(row) for row in rows]
        return cls(**words, steps=arrays['outcar_steps'], pressures=arrays['pressures'], dft_steps=dft_steps)


def _dft_step(row: dict[str, np.ndarray]) -> OutcarStep:
    """Return a DFT step from its row of arrays."""
    return OutcarStep(
        index=int(row['index']),
        is_dft=True,
        energy=float(row['energy']),
        energy_sigma0=float(row['energy_sigma0']),
        cell=row['cell'],
        positions=row['positions'],
        forces=row['forces'],
        stress=row['stress'] if np.isfinite(row['stress']).all() else None,
        scf_converged=None if row['scf_converged'] == _UNKNOWN else bool(row['scf_converged']),
    )


def summarise_outcar(path: str | Path) -> OutcarSummary:
    """Return the summary of an OUTCAR; memory grows only with the DFT steps. Damaged steps are left out.

    :raises FormatError: for a file that is no OUTCAR.
    """
    reader = OutcarReader(path, skips_damaged=True)
    dft_steps, pressures = [], {}
    for step in reader:
        if step.is_dft:
            dft_steps.append(step)
        if step.stress is not None:
            # if a step has both kinds of labels, DFT comes last: it moved the atoms
            pressures[step.index] = -float(step.stress[:3].mean()) * EV_PER_ANGSTROM3_IN_GPA
    return OutcarSummary(
        version=reader.version,
        labelled_by=reader.labelled_by,
        finished=reader.finished,
        truncated=_missing(reader),
        max_memory_mb=reader.max_memory_mb,
        steps=np.array(list(pressures), dtype=np.int64),
        pressures=np.array(list(pressures.values())),
        dft_steps=dft_steps,
    )


def _missing(reader: OutcarReader) -> str | None:
    """Return the missing parts in a sentence."""
    named, more = reader.damaged[:_NAMED], len(reader.damaged) - _NAMED
    words = [*named, f'{more} more steps are damaged' if more > 0 else None, reader.truncated]
    return '; '.join(filter(None, words)) or None
