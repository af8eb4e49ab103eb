"""XDATCAR, VASP's trajectory: the head of a POSCAR, then frames of direct coordinates with 8 decimals.

If the cell moves, the head is repeated before each frame. Molecular dynamics with MDALGO of 1 or more writes
unwrapped coordinates. One frame is read at a time, so memory does not grow with the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.poscar import HEAD_LINES, read_structure_head
from aiida_mghdiff.formats.text import require_text
from aiida_mghdiff.science.trajectory_reduction import Frame

_FRAME = re.compile(rb'\s*Direct configuration=\s*(\d+|\*+)\s*')
# Columns of 12 characters touch if a coordinate is at most -10 or at least 100.
_TOUCHING = re.compile(rb'(\.\d{8})(?=[-\d])')


class XdatcarReader:
    """Iterates over the frames of an XDATCAR; may be iterated over again.

    After an iteration ``truncated`` is None, or a sentence about the missing end of the file.

    :raises FormatError: names line and reason, for a file without a complete head, and while iterating for a damaged
        frame (not merely truncated at the end of the file).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.truncated: str | None = None
        require_text(path)
        with Path(path).open('rb') as handle:
            head = [handle.readline() for _ in range(HEAD_LINES)]
        if not head[-1].endswith(b'\n'):
            raise FormatError(path, f'line {sum(map(bool, head)) + 1}', 'the file ends within its head: no frame in it')
        self.cell, self.symbols, self.counts = read_structure_head(path, b''.join(head).decode(errors='replace'), 1)

    def __iter__(self) -> Iterator[Frame]:
        self.truncated = None
        with Path(self.path).open('rb') as handle:
            yield from _Frames(self, handle)


class _Frames:
    """One pass over an open file."""

    def __init__(self, reader: XdatcarReader, handle: BinaryIO) -> None:
        self.reader, self.handle = reader, handle
        self.cell = reader.cell
        self.line = 0  # lines passed
        self.unfinished = b''  # content of an incomplete frame or head
        self.numbers = [-1, 0]  # numbers of the last two frames

    def __iter__(self) -> Iterator[Frame]:
        self._take(HEAD_LINES)
        head_alone = True
        while title := self._take(1):
            self.unfinished = title[0]
            is_frame = _FRAME.fullmatch(title[0])
            lines = self._take(sum(self.reader.counts) if is_frame else HEAD_LINES - 1)
            if lines is None:
                break
            self.unfinished = b''
            head_alone = not is_frame
            if is_frame:
                yield Frame(self._number(is_frame[1]), self.cell, self._coordinates(lines))
            else:
                self._read_head(title + lines)
        if head_alone or self.unfinished.strip():
            self.reader.truncated = f'{self.reader.path}, line {self.line}: the file ends within a frame'

    def _take(self, count: int) -> list[bytes] | None:
        """Pass lines and return them; None if the file ends before they are complete."""
        lines = [self.handle.readline() for _ in range(count)]
        self.line += sum(map(bool, lines))
        if lines[-1].endswith(b'\n'):
            return lines
        self.unfinished += b''.join(lines)
        return None

    def _error(self, line: int, expected: str, found: bytes) -> FormatError:
        words = ' '.join(found.decode(errors='replace').split())[:60]
        return FormatError(self.reader.path, f'line {line}', f'{expected} should stand here, not {words!r}')

    def _read_head(self, lines: list[bytes]) -> None:
        first = self.line - len(lines) + 1
        if lines[0].lstrip().startswith(b'Direct'):
            raise self._error(first, "'Direct configuration= <number>'", lines[0])
        text = b''.join(lines).decode(errors='replace')
        self.cell, symbols, counts = read_structure_head(self.reader.path, text, first)
        if (symbols, counts) != (self.reader.symbols, self.reader.counts):
            expected = f'{self.reader.symbols} {self.reader.counts}, as in the first frame,'
            raise self._error(first + 5, expected, lines[-2] + lines[-1])

    def _number(self, digits: bytes) -> int:
        """Return the number of a frame; if it does not fit its column, continue counting."""
        before, last = self.numbers
        number = int(digits) if digits.isdigit() else 2 * last - before
        self.numbers = [last, number]
        return number

    def _coordinates(self, lines: list[bytes]) -> np.ndarray:
        rows = [line.split() for line in lines]
        if any(len(row) != 3 for row in rows):
            rows = [_TOUCHING.sub(rb'\1 ', line).split() for line in lines]
        try:
            values = np.array(rows, dtype=float)
        except ValueError:
            values = np.empty(0)
        if values.shape != (len(lines), 3) or not np.isfinite(values).all():
            index = next(index for index, row in enumerate(rows) if not _is_vector(row))
            raise self._error(self.line - len(lines) + index + 1, 'three coordinates', lines[index])
        return values


def _is_vector(row: list[bytes]) -> bool:
    try:
        return len(row) == 3 and bool(np.isfinite([float(word) for word in row]).all())
    except ValueError:
        return False


def xdatcar_header(comment: str, cell: np.ndarray, symbols: Sequence[str], counts: Sequence[int]) -> str:
    """Return the head in VASP's format, for the first frame or for each frame."""
    lines = [f'{" ".join(comment.split())[:40]:40}', '           1']
    lines += [''.join(f'{value:12.6f}' for value in row) for row in cell]
    lines += [''.join(f'{symbol:>5}' for symbol in symbols), ''.join(f'{count:6d}' for count in counts)]
    return '\n'.join(lines) + '\n'


def xdatcar_frame(configuration: int, fractional: np.ndarray) -> str:
    """Return a frame of direct coordinates [n,3]."""
    rows = [''.join(f'{value:12.8f}' for value in row) for row in fractional]
    return '\n'.join([f'Direct configuration={configuration:6d}', *rows]) + '\n'
