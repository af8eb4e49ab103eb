"""VASP's file of labelled configurations, ML_AB (read by VASP) and ML_ABN (written by it): one format.

The file is a sequence of sections: a ledger (a line of ``*`` or ``=``), a label, a ledger, values. VASP writes with
Fortran's list-directed output, whose columns depend on the compiler. So this reader finds sections by their labels,
separates numbers at white space, and relies on no column and no line offset. The section CTIFOR is optional.

Energies in the file are free energies in eV; the stress is in kbar with VASP's sign (compression positive) and in the
order XX YY ZZ XY YZ ZX. Frames have ASE's units, sign and order: σ = -stress, eV/Å³, xx yy zz yz xz xy.
VASP wraps positions into the cell and sorts configurations by composition, so the frames are no trajectory.

A file is either read completely or refused with its line and the reason.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.cell import Cell
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from fastnumbers import try_array

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.frames import arrays_from_frames
from aiida_mghdiff.formats.plausibility import implausible
from aiida_mghdiff.formats.text import require_text
from aiida_mghdiff.science.units import KBAR_IN_EV_PER_ANGSTROM3

# kbar, XX YY ZZ XY YZ ZX -> eV/Å³, xx yy zz yz xz xy
STRESS_ORDER = [0, 1, 2, 4, 5, 3]
STRESS_FACTOR = -KBAR_IN_EV_PER_ANGSTROM3

#: First word of the system name of a configuration that the stand-in for VASP labelled; the second is its labeller.
STANDIN = 'stand-in'

_DASHES = rb'[ \t]*+-{5,}+[ \t]*+\n'
_LINE = rb'([^\n]*)\n'
_NUMBER = rb'[ \t]*+([+-]?[0-9.]++(?:[EeDd][+-]?[0-9]++)?+)'
_NUMBERS = {count: _NUMBER.join([b''] + [rb'(?=[ \t])'] * (count - 1) + [rb'[ \t]*\n']) for count in (1, 3)}
_INTEGER = rb'\s*(\d+)[ \t]*\n'
_TO_LEDGER = rb'(.*?)(?=^[ \t]*[*=]{5,}[ \t]*$)'
_COUNTED_TYPES = rb'((?:[ \t]*[^\s*=]+[ \t]+\d+[ \t]*\n)+)'


class _Section:
    """A ledger, a label and the following content, as two patterns: of the label alone, and of the whole."""

    def __init__(self, label: str, value: bytes, what: str = '', optional: bool = False) -> None:
        self.label = label
        self.what = what
        self.optional = optional
        label_pattern = rb'\s*+[*=-]{5,}+\s*+' + re.escape(label.encode()).replace(rb'\ ', rb' +') + rb'(?=\s)'
        self.label_pattern = re.compile(label_pattern)
        self.source = label_pattern + value
        self.pattern = re.compile(self.source, re.MULTILINE | re.DOTALL)


def _valued(label: str, value: bytes, what: str, optional: bool = False) -> _Section:
    return _Section(label, rb'[ \t]*+\n' + _DASHES + value, what, optional)


class _Group:
    """Sections in a fixed order, matched at once, in a tenth of the time of separate matches."""

    def __init__(self, *sections: _Section) -> None:
        self.sections = sections
        sources = (b'(?:' + part.source + (b')?' if part.optional else b')') for part in sections)
        self.pattern = re.compile(b''.join(sources), re.MULTILINE | re.DOTALL)


_CONFIGURATION_COUNT = _valued('The number of configurations', _INTEGER, 'one whole number')
_HEADER = (
    _CONFIGURATION_COUNT,
    _valued('The maximum number of atom type', _INTEGER, 'one whole number'),
    _valued('The atom types in the data file', _TO_LEDGER, 'the atom types'),
    _valued('The maximum number of atoms per system', _INTEGER, 'one whole number'),
    _valued('The maximum number of atoms per atom type', _INTEGER, 'one whole number'),
    _valued('Reference atomic energy (eV)', _TO_LEDGER, 'numbers'),
    _valued('Atomic mass', _TO_LEDGER, 'numbers'),
    _valued('The numbers of basis sets per atom type', _TO_LEDGER, 'whole numbers'),
)
_BASIS = _Section('Basis set for', rb'[ \t]+(\S+)[ \t]*\n' + _DASHES + _TO_LEDGER, 'an atom type and its basis')
_TO_POSITIONS = _Group(
    _Section('Configuration num.', rb'[ \t]*(\d+)[ \t]*\n', 'its number'),
    _valued('System name', _LINE, 'a name'),
    _valued('The number of atom types', _INTEGER, 'one whole number'),
    _valued('The number of atoms', _INTEGER, 'one whole number'),
    _valued('Atom types and atom numbers', _COUNTED_TYPES, 'atom types, each with its number of atoms'),
    _valued('CTIFOR', _NUMBERS[1], 'one number', optional=True),
    _valued('Primitive lattice vectors (ang.)', _NUMBERS[3] * 3, 'three rows of numbers'),
    _valued('Atomic positions (ang.)', b'', 'rows of numbers'),
)
_TO_FORCES = _Group(
    _valued('Total energy (eV)', _NUMBERS[1], 'one number'),
    _valued('Forces (eV ang.^-1)', b'', 'rows of numbers'),
)
_TO_STRESS = _Group(
    _Section('Stress (kbar)', rb'[ \t]*\n', 'the normal stresses'),
    _valued('XX YY ZZ', _NUMBERS[3], 'three numbers'),
    _valued('XY YZ ZX', _NUMBERS[3], 'three numbers'),
)

_CALCULATOR = SinglePointCalculator(Atoms())
_BLANK = re.compile(rb'[\s*=-]*\Z')
_SYMBOL = re.compile(r'([A-Z][a-z]?)[^A-Za-z]*')
_D_TO_E = bytes.maketrans(b'Dd', b'Ee')
_SHORT_EXPONENTS = {2: rb'(?:[+-]\d?|-00)(?=\s)', 3: rb'[+-]\d?\d?(?=\s)'}


@dataclass(frozen=True)
class MlAb:
    """Content of an ML_AB file.

    ``basis`` has for each atom type the local reference configurations as integers ``[m, 2]``: configuration and
    atom, both counted from 1 as in the file. A frame's ``info`` has ``system_name``, ``stress_kbar`` (the six numbers
    of the file), ``ctifor`` (eV/Å; if the file has it) and ``atom_types`` (if a label is not a plain symbol, for
    example O1: pairs of label and number of atoms).
    """

    frames: list[Atoms]
    version: str
    types: list[str]
    basis: dict[str, np.ndarray]
    reference_energies: dict[str, float] = field(default_factory=dict)
    masses: dict[str, float] = field(default_factory=dict)

    @property
    def ctifor(self) -> list[float] | None:
        """Return the threshold of the Bayesian force error of each configuration in eV/Å; None if the file has none."""
        return [frame.info['ctifor'] for frame in self.frames] if 'ctifor' in self.frames[0].info else None


def read_mlab(path: str | Path, allow_implausible: bool = False) -> MlAb:
    """Read an ML_AB or ML_ABN file.

    :param allow_implausible: accept implausible labels unchanged, so that no run of VASP is lost.
    :raises FormatError: names file, line and reason, for a file that is truncated, contradicts itself, or has a
        damaged number or implausible labels (:mod:`aiida_mghdiff.formats.plausibility`). Nothing is skipped.
    """
    require_text(path)
    reader = _Reader(path)
    header = _read_header(reader)
    frames = list(_read_configurations(reader, header))
    _check_cells(reader, frames)
    _check_ctifor(reader, frames)
    _check_basis(reader, header, frames)
    if not allow_implausible and (finding := implausible(frames, range(1, len(frames) + 1))) is not None:
        raise FormatError(path, f'configuration {finding.index + 1}', finding.reason)
    return MlAb(frames, header.version, header.types, header.basis, header.reference_energies, header.masses)


def read_mlab_header(path: str | Path) -> tuple[int, list[str]]:
    """Return number of configurations and atom types in the header of an ML_AB file.

    :raises FormatError: names file, line and reason, for a damaged header; the rest of the file is not read.
    """
    header = _read_header(_Reader(path))
    return header.count, header.types


def standin_name(labelled_by: str, name: str) -> str:
    """Return the system name of a configuration that the stand-in labelled; it distinguishes it from VASP's own."""
    return f'{STANDIN} {labelled_by} {name}'


def labelled_by_of(frame: Atoms) -> str:
    """Return the origin of the labels of a configuration: ``vasp``, or ``standin:<labeller>``."""
    words = frame.info['system_name'].split()
    return f'standin:{words[1]}' if words[:1] == [STANDIN] and len(words) > 1 else 'vasp'


def write_mlab(
    path: str | Path,
    frames: Sequence[Atoms],
    ctifor: Sequence[float] | None = None,
    basis: Mapping[str, np.ndarray] | None = None,
    reference_energies: Mapping[str, float] | None = None,
    masses: Mapping[str, float] | None = None,
    version: str = '1.0',
) -> None:
    """Write labelled frames as an ML_AB file. Numbers have 17 digits, so reading them gives the same floats.

    With a basis VASP can continue from the file: everything keeps its order, and reading the file gives the content of
    :func:`read_mlab` again. Without a basis the file is for ``ML_MODE = select``: configurations of one composition are
    grouped, as VASP does, and atoms are grouped by element. The basis is then a dummy with one atom for each element,
    which ``select`` replaces.

    :param frames: periodic frames with energy (the free energy if present), forces and stress.
    :param ctifor: eV/Å, for all frames or none; without it, VASP aborts a ``select`` with ML_ICRITERIA=3.
    :param basis: for each atom type, in the order of the header, rows of configuration and atom, both from 1, [m,2].
    :param reference_energies: eV of each atom type; the default is 0.
    :param masses: u of each atom type; the default are standard atomic weights (VASP has POMASS).
    :raises ValueError: for a frame without a label, or with atom types that are not grouped or not in the basis.
    """
    stresses = arrays_from_frames(frames)['stresses']
    without = np.flatnonzero(np.isnan(stresses).any(axis=1))
    if len(without):
        raise ValueError(f'frame {without[0]}: no stress, which every configuration of an ML_AB file must have')
    if ctifor is not None and len(ctifor) != len(frames):
        raise ValueError(f'{len(ctifor)} values of ctifor for {len(frames)} frames')
    if basis is None:
        order = _order_by_composition(frames)
        ordered = [_order_by_element(frames[index]) for index in order]
        blocks = [_blocks(frame) for frame in ordered]
        basis = _dummy_basis(ordered)
    else:
        order, ordered = list(range(len(frames))), list(frames)
        blocks = [_typed_blocks(frame) for frame in frames]
        _check_types(blocks, basis)
    lines = _header_lines(blocks, version, basis, reference_energies or {}, masses or {})
    for number, (index, frame, block) in enumerate(zip(order, ordered, blocks, strict=True), start=1):
        lines += _configuration_lines(number, frame, block, stresses[index], None if ctifor is None else ctifor[index])
    Path(path).write_text('\n'.join(lines) + '\n')


# --- reading -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Header:
    version: str
    count: int
    types: list[str]
    most_atoms: int
    most_of_type: int
    reference_energies: dict[str, float]
    masses: dict[str, float]
    basis: dict[str, np.ndarray]


@dataclass(frozen=True)
class _Composition:
    numbers: np.ndarray
    info: dict[str, list[tuple[str, int]]]


class _Reader:
    """A cursor over the bytes of a file. Lines are counted only for error messages."""

    def __init__(self, path: str | Path) -> None:
        data = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
        if b'\r' in data:
            data = data.replace(b'\r\n', b'\n')
        self.path = path
        self.data = data if data.endswith(b'\n') else data + b'\n'
        self.offset = 0
        self._unseen_exponents = {b'E', b'e', b'D', b'd'}

    def error(self, reason: str, offset: int | None = None) -> FormatError:
        """Return the error for an offset, by default for the present position."""
        offset = self.offset if offset is None else offset
        blank = len(self.data[offset : offset + 1000]) - len(self.data[offset : offset + 1000].lstrip())
        line = self.data.count(b'\n', 0, min(offset + blank, len(self.data) - 1)) + 1
        return FormatError(self.path, f'line {line}', reason)

    def offset_of(self, index: int) -> int:
        """Return the offset of a configuration, counted from 0."""
        return [match.start() for match in re.finditer(rb'Configuration num', self.data)][index]

    def at_end(self) -> bool:
        """Return whether only blanks and ledgers are left."""
        return _BLANK.match(self.data, self.offset) is not None

    def take(self, section: _Section) -> re.Match[bytes]:
        """Pass a section that must come next and return its match."""
        match = section.pattern.match(self.data, self.offset)
        if match is None:
            label = section.label_pattern.match(self.data, self.offset)
            if label is not None:
                raise self.error(f'{section.what} must follow {section.label!r}', label.end() + 1)
            raise self._misplaced(section.label)
        self.offset = match.end()
        return match

    def take_group(self, group: _Group) -> re.Match[bytes]:
        """Pass sections that must come next, in their order, and return their common match."""
        match = group.pattern.match(self.data, self.offset)
        if match is None:
            for section in group.sections:
                if not section.optional or section.label_pattern.match(self.data, self.offset):
                    self.take(section)
            raise self.error('sections that do not fit together')
        self.offset = match.end()
        return match

    def take_rows(self, rows: int) -> np.ndarray:
        """Pass rows of three numbers up to the next ledger and return them, ``[rows, 3]``."""
        start, stop = self.offset, self.data.find(b'=', self.offset)
        self.offset = stop if stop >= 0 else len(self.data)
        return self.numbers(self.data[start : self.offset], start, rows)

    def numbers(self, text: bytes, start: int, rows: int, columns: int = 3) -> np.ndarray:
        """Return the numbers of a text that begins at the offset ``start``, as ``[rows, columns]``."""
        for letter in [letter for letter in self._unseen_exponents if letter in text]:
            self._unseen_exponents.remove(letter)
            self._refuse_damaged_exponents(letter)
        try:
            array = try_array(text.split())
        except ValueError:
            array = self._fortran_numbers(text, start)
        if array.size != rows * columns or text.count(b'\n') != rows or not np.isfinite(array).all():
            self._check_rows(text, start, rows, columns)
        return array.reshape(rows, columns)

    def _refuse_damaged_exponents(self, letter: bytes) -> None:
        """Refuse numbers whose exponent lost digits (a file cut at a column by hand: ``...E-00`` from ``...E-002``).

        A writer of three-digit exponents never writes fewer digits, and no writer writes one digit or the exponent -00.
        Such numbers parse, but to a wrong value.
        """
        width = 3 if re.search(letter + rb'[+-]0\d\d\s', self.data) else 2
        for match in re.finditer(letter + _SHORT_EXPONENTS[width], self.data):
            first = self.data.rfind(b'\n', 0, match.start()) + 1
            token = self.data[first : match.end()].split()[-1]
            if _is_number(token.translate(_D_TO_E) + b'0') and not self._is_name(first):
                reason = f'{token.decode()!r} has lost digits of its exponent, which has {width} in this file'
                raise self.error(reason, match.start())

    def _misplaced(self, label: str) -> FormatError:
        lines = (line.strip() for line in self.data[self.offset : self.offset + 1000].splitlines())
        found = next((line for line in lines if line.strip(b'*=-')), b'')[:60].decode(errors='replace')
        if not found:
            return self.error(f'the file ends where {label!r} should stand: it is truncated', len(self.data))
        return self.error(f'{label!r} should stand here, not {found!r}')

    def _fortran_numbers(self, text: bytes, start: int) -> np.ndarray:
        for offset, line in _lines(start, text):
            for token in line.split():
                if not _is_number(token.translate(_D_TO_E)):
                    raise self.error(f'{token.decode(errors="replace")!r} is not a number', offset)
        return np.array(text.translate(_D_TO_E).split(), dtype=float)

    def _check_rows(self, text: bytes, start: int, rows: int, columns: int) -> None:
        lines = [(offset, line.translate(_D_TO_E).split()) for offset, line in _lines(start, text) if line.strip()]
        for offset, tokens in lines:
            if len(tokens) != columns:
                raise self.error(f'{len(tokens)} number(s) in a row that must have {columns}', offset)
            if not np.isfinite([float(token) for token in tokens]).all():
                raise self.error('a number that is not finite', offset)
        if len(lines) != rows:
            raise self.error(f'{len(lines)} row(s) of numbers where {rows} must be', start)

    def _is_name(self, line_start: int) -> bool:
        before = self.data[max(line_start - 300, 0) : line_start].split()
        return before[-3:-1] == [b'System', b'name']


def _lines(start: int, text: bytes) -> Iterator[tuple[int, bytes]]:
    for line in text.splitlines(keepends=True):
        yield start, line
        start += len(line)


def _is_number(token: bytes) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _read_header(reader: _Reader) -> _Header:
    version = _read_version(reader)
    matches = [reader.take(section) for section in _HEADER]
    count, type_count, most_atoms, most_of_type = (int(matches[index][1]) for index in (0, 1, 3, 4))
    types = _read_types(reader, matches[2], type_count)
    per_type = [_numbers_per_type(reader, match, types) for match in matches[5:]]
    basis = dict(_read_basis(reader, name, size) for name, size in zip(types, per_type[2], strict=True))
    references, masses = (dict(zip(types, map(float, values), strict=True)) for values in per_type[:2])
    return _Header(version, count, types, most_atoms, most_of_type, references, masses, basis)


def _read_version(reader: _Reader) -> str:
    words = reader.data[:200].partition(b'\n')[0].split()
    if len(words) != 2 or words[1] != b'Version':
        reason = "not an ML_AB file: the first line must be '<number> Version' (files older than VASP 6.3 have none)"
        raise reader.error(reason)
    reader.offset = reader.data.find(b'\n') + 1
    return words[0].decode(errors='replace')


def _read_types(reader: _Reader, match: re.Match[bytes], count: int) -> list[str]:
    types = match[1].decode(errors='replace').split()
    if len(types) != count or len(set(types)) != count:
        raise reader.error(f'{len(types)} atom types {types} where the header says {count}', match.start(1))
    for name in types:
        symbol = _SYMBOL.fullmatch(name)
        if symbol is None or symbol[1] not in chemical_symbols[1:]:
            raise reader.error(f'atom type {name!r} is not an element', match.start(1))
    return types


def _number_of(name: str) -> int:
    """Return the atomic number of a checked type: ``H`` and ``H_1`` are hydrogen."""
    return atomic_numbers[_SYMBOL.sub(r'\1', name)]


def _numbers_per_type(reader: _Reader, match: re.Match[bytes], types: list[str]) -> np.ndarray:
    joined = b' '.join(match[1].split()) + b'\n'
    return reader.numbers(joined, match.start(1), 1, len(types))[0]


def _read_basis(reader: _Reader, name: str, size: float) -> tuple[str, np.ndarray]:
    match = reader.take(_BASIS)
    found = match[1].decode(errors='replace')
    if found != name:
        raise reader.error(f'the basis set of {name} should stand here, not of {found}', match.start(1))
    return name, reader.numbers(match[2], match.start(2), int(size), 2).astype(np.int64)


def _read_configurations(reader: _Reader, header: _Header) -> Iterator[Atoms]:
    compositions: dict[tuple[bytes, ...], _Composition] = {}
    for number in range(1, header.count + 1):
        if reader.at_end():
            raise reader.error(f'{number - 1} configuration(s) in the file, but its header says {header.count}')
        yield _read_configuration(reader, header, number, compositions)
    if not reader.at_end():
        raise reader.error(f'more in the file than the {header.count} configuration(s) its header says')


def _read_configuration(
    reader: _Reader, header: _Header, number: int, compositions: dict[tuple[bytes, ...], _Composition]
) -> Atoms:
    head = reader.take_group(_TO_POSITIONS)
    index, name, n_types, n_atoms, types, ctifor, *lattice = head.groups()
    if int(index) != number:
        raise reader.error(f'configuration {int(index)} where number {number} should stand', head.start(1))
    composition = compositions.get((n_types, n_atoms, types))
    if composition is None:
        composition = compositions[n_types, n_atoms, types] = _read_composition(reader, header, head)
    positions = reader.take_rows(len(composition.numbers))
    total = reader.take_group(_TO_FORCES).groups()
    forces = reader.take_rows(len(composition.numbers))
    kbar = reader.take_group(_TO_STRESS).groups()
    text = b' '.join((*lattice, *total, *kbar, ctifor or b'0')) + b'\n'
    values = reader.numbers(text, head.start(1), 1, 17)[0]
    frame = _crystal(composition.numbers, positions, values[:9].reshape(3, 3))
    energy, stress = float(values[9]), STRESS_FACTOR * values[10:16][STRESS_ORDER]
    frame.calc = _calculator(frame, {'energy': energy, 'free_energy': energy, 'forces': forces, 'stress': stress})
    name = name.decode(errors='replace').strip()
    frame.info = {'system_name': name, 'stress_kbar': tuple(values[10:16].tolist())} | composition.info
    if ctifor is not None:
        frame.info['ctifor'] = float(values[16])
    return frame


def _calculator(frame: Atoms, labels: dict[str, float | np.ndarray]) -> SinglePointCalculator:
    """Return the same as ``SinglePointCalculator(frame, **labels)``, in half the time."""
    calculator = copy(_CALCULATOR)
    calculator.atoms, calculator.results = _crystal(frame.numbers, frame.positions.copy(), frame.cell.array), labels
    return calculator


def _crystal(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray) -> Atoms:
    """Return the same as ``Atoms(numbers=..., positions=..., cell=..., pbc=True)``, in a fifth of the time.

    Of all mutable parts only the positions are shared.
    """
    atoms = Atoms.__new__(Atoms)
    atoms.__dict__ |= {
        'arrays': {'numbers': numbers.copy(), 'positions': positions},
        '_cellobj': Cell(cell.copy()),
        '_pbc': np.ones(3, bool),
        '_celldisp': np.zeros((3, 1)),
        '_constraints': [],
        '_calc': None,
        'info': {},
    }
    return atoms


def _read_composition(reader: _Reader, header: _Header, match: re.Match[bytes]) -> _Composition:
    n_types, n_atoms = int(match[3]), int(match[4])
    words = match[5].decode(errors='replace').split()
    names, counts = words[::2], [int(word) for word in words[1::2]]
    problems = {
        f'{len(names)} atom types where {n_types} are announced': len(names) != n_types,
        f'the atom types have {sum(counts)} atoms, the configuration {n_atoms}': sum(counts) != n_atoms or not n_atoms,
        f'atom types {names} that are not all in the header, {header.types}': not set(names) <= set(header.types),
        f'{n_atoms} atoms, but the header says {header.most_atoms} at most': n_atoms > header.most_atoms,
        f'{max(counts)} atoms of a type, but the header says {header.most_of_type} at most': max(counts)
        > header.most_of_type,
    }
    for problem, present in problems.items():
        if present:
            raise reader.error(problem, match.start(5))
    plain = all(name in atomic_numbers for name in names)
    numbers = np.repeat([_number_of(name) for name in names], counts)
    return _Composition(numbers, {} if plain else {'atom_types': list(zip(names, counts, strict=True))})


def _check_cells(reader: _Reader, frames: list[Atoms]) -> None:
    volumes = np.abs(np.linalg.det([frame.cell.array for frame in frames]))
    if not volumes.min() > 1e-6:
        index = int(volumes.argmin())
        raise reader.error(f'the cell of configuration {index + 1} has no volume', reader.offset_of(index))


def _check_ctifor(reader: _Reader, frames: list[Atoms]) -> None:
    present = ['ctifor' in frame.info for frame in frames]
    if any(present) and not all(present):
        index = present.index(False)
        reason = f'configuration {index + 1} has no CTIFOR, others do: all must have it or none'
        raise reader.error(reason, reader.offset_of(index))


def _check_basis(reader: _Reader, header: _Header, frames: list[Atoms]) -> None:
    sizes = np.array([len(frame) for frame in frames])
    for name, rows in header.basis.items():
        inside = (rows >= 1).all(axis=1) & (rows[:, 0] <= len(frames))
        inside[inside] &= rows[inside, 1] <= sizes[rows[inside, 0] - 1]
        if not inside.all():
            configuration, atom = rows[inside.argmin()]
            offset = reader.data.find(b'Basis set for ' + name.encode())
            raise reader.error(f'basis: atom {atom} of configuration {configuration} does not exist', offset)


# --- writing -------------------------------------------------------------------------------------------------------

_STARS, _EQUALS, _LEDGER = '*' * 50, '=' * 50, '-' * 50

_Blocks = list[tuple[str, int]]  # atom type and number of atoms, in the order of a configuration


def _order_by_composition(frames: Sequence[Atoms]) -> list[int]:
    seen: dict[str, int] = {}
    ranks = [seen.setdefault(frame.symbols.formula.format('hill'), len(seen)) for frame in frames]
    return sorted(range(len(frames)), key=ranks.__getitem__)


def _order_by_element(frame: Atoms) -> Atoms:
    order = np.argsort(-frame.numbers, kind='stable')
    ordered = frame[order]
    labels = {'energy': _energy(frame), 'forces': np.asarray(frame.calc.results['forces'])[order]}
    ordered.calc = SinglePointCalculator(ordered, **labels)
    return ordered


def _energy(frame: Atoms) -> float:
    results = frame.calc.results
    return results['energy'] if results.get('free_energy') is None else results['free_energy']


def _blocks(frame: Atoms) -> _Blocks:
    return [(symbol, len(list(atoms))) for symbol, atoms in groupby(frame.symbols)]


def _typed_blocks(frame: Atoms) -> _Blocks:
    """Return the blocks of a frame, with the type names of its file if they are not plain symbols."""
    return frame.info.get('atom_types') or _blocks(frame)


def _check_types(blocks: Sequence[_Blocks], basis: Mapping[str, np.ndarray]) -> None:
    for index, frame_blocks in enumerate(blocks):
        names = [name for name, _ in frame_blocks]
        if len(set(names)) < len(names):
            raise ValueError(f'frame {index}: the atoms of a type are not together ({" ".join(names)})')
        if not set(names) <= set(basis):
            raise ValueError(f'frame {index}: atom types {names} that are not all in the basis, {list(basis)}')
    sizes = [sum(count for _, count in frame_blocks) for frame_blocks in blocks]
    for name, rows in basis.items():
        for configuration, atom in np.asarray(rows).tolist():
            if not (1 <= configuration <= len(sizes) and 1 <= atom <= sizes[configuration - 1]):
                raise ValueError(f'basis of {name}: atom {atom} of configuration {configuration} does not exist')


def _dummy_basis(frames: Sequence[Atoms]) -> dict[str, np.ndarray]:
    numbers = sorted({int(number) for frame in frames for number in frame.numbers}, reverse=True)
    return {chemical_symbols[number]: np.array([_first_of(frames, number)]) for number in numbers}


def _first_of(frames: Sequence[Atoms], number: int) -> tuple[int, int]:
    index = next(index for index, frame in enumerate(frames) if number in frame.numbers)
    return index + 1, int((frames[index].numbers == number).argmax()) + 1


def _header_lines(
    blocks: Sequence[_Blocks],
    version: str,
    basis: Mapping[str, np.ndarray],
    references: Mapping[str, float],
    masses: Mapping[str, float],
) -> list[str]:
    most_atoms = max(sum(count for _, count in frame_blocks) for frame_blocks in blocks)
    most_of_type = max(count for frame_blocks in blocks for _, count in frame_blocks)
    masses = {name: atomic_masses[_number_of(name)] for name in basis} | dict(masses)
    lines = [f' {version} Version']
    lines += _section(_STARS, 'The number of configurations', f'{len(blocks):11d}')
    lines += _section(_STARS, 'The maximum number of atom type', f'{len(basis):8d}')
    lines += _section(_STARS, 'The atom types in the data file', *_by_three(f'     {name:2}' for name in basis))
    lines += _section(_STARS, 'The maximum number of atoms per system', f'{most_atoms:15d}')
    lines += _section(_STARS, 'The maximum number of atoms per atom type', f'{most_of_type:15d}')
    lines += _section(
        _STARS, 'Reference atomic energy (eV)', *_by_three(_number(references.get(name, 0.0)) for name in basis)
    )
    lines += _section(_STARS, 'Atomic mass', *_by_three(_number(masses[name]) for name in basis))
    lines += _section(
        _STARS, 'The numbers of basis sets per atom type', *_by_three(f'{len(rows):6d}' for rows in basis.values())
    )
    for name, rows in basis.items():
        words = (f'{configuration:11d}{atom:7d}' for configuration, atom in np.asarray(rows).tolist())
        lines += _section(_STARS, f'Basis set for {name}', *words)
    return lines


def _kbar(frame: Atoms, stress: np.ndarray) -> np.ndarray:
    """Return a stress [6] in the unit, sign and order of the file, such that the reader gets the same floats.

    The conversion rounds, so neighbouring numbers are tried, too. If two numbers give the same stress, the number in
    the file of the frame is preferred.
    """
    read = np.array(frame.info.get('stress_kbar', [np.nan] * 6))
    nearest = np.empty(6)
    nearest[STRESS_ORDER] = stress / STRESS_FACTOR
    candidates = np.stack([read, nearest, np.nextafter(nearest, np.inf), np.nextafter(nearest, -np.inf), nearest])
    right = np.empty(candidates.shape, dtype=bool)
    right[:, STRESS_ORDER] = STRESS_FACTOR * candidates[:, STRESS_ORDER] == stress
    right[-1] = True
    return candidates[right.argmax(axis=0), range(6)]


def _configuration_lines(
    number: int, frame: Atoms, blocks: _Blocks, stress: np.ndarray, ctifor: float | None
) -> list[str]:
    kbar = _kbar(frame, stress)
    lines = [_STARS, f'     Configuration num. {number:6d}']
    lines += _section(_EQUALS, 'System name', f'     {_name(frame):40}')
    lines += _section(_EQUALS, 'The number of atom types', f'{len(blocks):8d}')
    lines += _section(_EQUALS, 'The number of atoms', f'{len(frame):11d}')
    lines += _section(_STARS, 'Atom types and atom numbers', *(f'     {name:2}{count:7d}' for name, count in blocks))
    if ctifor is not None:
        lines += _section(_EQUALS, 'CTIFOR', _number(ctifor))
    lines += _section(_EQUALS, 'Primitive lattice vectors (ang.)', *_rows(frame.cell.array))
    lines += _section(_EQUALS, 'Atomic positions (ang.)', *_rows(frame.positions))
    lines += _section(_EQUALS, 'Total energy (eV)', _number(_energy(frame)))
    lines += _section(_EQUALS, 'Forces (eV ang.^-1)', *_rows(frame.calc.results['forces']))
    lines += _section(_EQUALS, 'Stress (kbar)', '     XX YY ZZ')
    lines += [_LEDGER, *_rows(kbar[None, :3]), _LEDGER, '     XY YZ ZX', _LEDGER, *_rows(kbar[None, 3:])]
    return lines


def _name(frame: Atoms) -> str:
    name = frame.info.get('system_name')
    return ' '.join(str(frame.symbols.formula if name is None else name).splitlines()).strip()[:40]


def _section(ledger: str, label: str, *values: str) -> list[str]:
    return [ledger, f'     {label}', _LEDGER, *values]


def _rows(array: np.ndarray) -> list[str]:
    return [''.join(map(_number, row)) for row in array]


def _by_three(words: Iterable[str]) -> list[str]:
    row = list(words)
    return [''.join(row[start : start + 3]) for start in range(0, len(row), 3)]


def _number(value: float) -> str:
    mantissa, exponent = f'{float(value):.16E}'.split('E')
    return f'{mantissa:>20}E{int(exponent):+04d}'
