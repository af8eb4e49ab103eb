"""INCAR, VASP's file of settings: ``TAG = value`` statements, raw values by tag.

Statements end with the line or a ``;``. A ``!`` or ``#`` begins a comment. A ``\\`` at the end of a line continues it
in the next line. A value in double quotes may contain all of these and line breaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.text import read_text

_TAG = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
_TOKENS = re.compile(
    r'(?P<quoted>"[^"]*")|(?P<comment>[!#][^\n]*)|(?P<continued>\\[ \t]*(?:[!#][^\n]*)?\n)|(?P<end>[;\n])|(?P<text>.)'
)


def read_incar(path: str | Path) -> dict[str, str]:
    """Return the raw value of each tag; tags in upper case, in the order of the file.

    :raises FormatError: names line and reason, for a wrong statement, a tag without a value, a repeated tag, or a
        quotation without an end.
    """
    values: dict[str, str] = {}
    for line, statement in _statements(read_text(path)):
        tag, equals, value = (part.strip() for part in statement.partition('='))
        place = f'line {line}'
        if not equals or not _TAG.fullmatch(tag):
            raise FormatError(
                path, place, f"'TAG = value' should stand here, not {statement[:60]!r}; mark comments by #"
            )
        if not value:
            raise FormatError(path, place, f'{tag.upper()} has no value')
        if value.count('"') % 2:
            raise FormatError(path, place, f'the quotation of {tag.upper()} does not end')
        if tag.upper() in values:
            raise FormatError(path, place, f'{tag.upper()} appears twice: keep one')
        values[tag.upper()] = value[1:-1] if value[0] == value[-1] == '"' else value
    return values


def write_incar(tags: Mapping[str, Any]) -> str:
    """Return an INCAR: one tag per line, sorted, upper case; null leaves a tag out, blanks separate items of a list."""
    rows = {str(tag).upper(): value for tag, value in tags.items() if value is not None}
    return ''.join(f'{tag} = {_incar_value(rows[tag])}\n' for tag in sorted(rows))


def _incar_value(value: Any) -> str:
    if isinstance(value, bool):
        return '.TRUE.' if value else '.FALSE.'
    if isinstance(value, list | tuple):
        return ' '.join(map(_incar_value, value))
    return repr(value) if isinstance(value, float) else str(value)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line on which a statement begins, from 1, and the statement without comments."""
    parts: list[str] = []
    line, start = 1, 1
    for match in _TOKENS.finditer(text + '\n'):
        kind, token = match.lastgroup, match[0]
        if kind == 'end':
            if statement := ''.join(parts).strip():
                yield start, statement
            parts = []
        elif kind != 'comment':
            if not ''.join(parts).strip():
                start, parts = line, []
            parts.append(' ' if kind == 'continued' else token)
        line += token.count('\n')
