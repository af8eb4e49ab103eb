"""Sections and tables of the report, and numbers as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

DASH = '–'


@dataclass(frozen=True)
class Column:
    """A column of a table, with the kind of its cells."""

    header: str
    kind: str = 'number'  # number, name, word (on one line), text, long (text that needs room), node


@dataclass(frozen=True)
class Table:
    """A table; a folded table opens at a click."""

    columns: Sequence[Column]
    cells: Sequence[Sequence[Any]]
    title: str = ''
    folded: bool = False

    @property
    def rows(self) -> list[list[tuple[Column, Any]]]:
        """Return the cells with their columns."""
        return [list(zip(self.columns, cells, strict=True)) for cells in self.cells]


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    key: str
    title: str
    text: Sequence[str] = ()
    points: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[str] = ()
    code: Sequence[str] = field(default=())


NAME, NODE, TEMPERATURE = Column('potential', 'name'), Column('node', 'node'), Column('target T (K)')


def number(value: float | None, spec: str) -> str:
    """Return a number as text with a true minus sign, or a dash."""
    return plain_number(value, spec).replace('-', '−')


def plain_number(value: float | None, spec: str) -> str:
    """Return a number as text that can be copied, or a dash."""
    return DASH if value is None else rounded(value, spec)


def rounded(value: float, spec: str) -> str:
    """Return a number as text, without a sign if it rounds to zero."""
    text = format(value, spec)
    return text.lstrip('+-') if not float(text) else text


def with_error(value: float | None, error: float | None, spec: str = '.0f') -> str:
    """Return a number with its standard error as text, or a dash."""
    text = number(value, spec)
    return text if value is None or error is None else f'{text} ± {error:{spec.lstrip("+")}}'


def number_interval(limits: Sequence[float], spec: str) -> str:
    """Return an interval as text with true minus signs."""
    return ' to '.join(number(limit, spec) for limit in limits)
