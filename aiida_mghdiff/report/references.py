"""Published values for comparison with results, from this package and from users' files.

A file (YAML) has ``sources``, a dictionary of citations, and ``values``, a list of dictionaries with

- ``quantity``, with its unit: ``activation_energy_ev``, ``diffusion_coefficient_m2_s``, ``barrier_ev``, ...;
- ``value``, and ``relation: "<"`` for an upper limit;
- ``label``, a potential or ``experiment``; ``source``, a key of ``sources``;
- optionally ``temperatures_k`` (the lowest and the highest temperature of the value), ``path`` of a barrier, ``note``;
- optionally ``system``, such as ``H in Mg``: the value is compared only with studies of this system.

:func:`load_references` returns the values of all files, the package's own first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from aiida_mghdiff.calculations.validation import nearest

RELATIONS = ('=', '<')


class ReferencesError(ValueError):
    """A file that does not have the form of published values."""


@dataclass(frozen=True)
class Reference:
    """A published value and its source."""

    quantity: str
    value: float
    label: str
    source: str  # the citation
    relation: str = '='
    temperatures_k: tuple[float, float] | None = None
    path: str | None = None
    note: str = ''
    system: str | None = None  # tracer and host, such as ``H in Mg``; None: for every study

    @property
    def temperature_k(self) -> float | None:
        """Return the temperature in K of a value that belongs to one, not to a range."""
        limits = self.temperatures_k
        return limits[0] if limits is not None and limits[0] == limits[1] else None

    @property
    def short(self) -> str:
        """Return the first author and the year of the source, as far as they are known."""
        author = self.source.split(',')[0].split(' and ')[0].split()[-1]
        if year := re.search(r'\((\d{4})\)', self.source):
            return f'{author} {year[1]}'
        preprint = re.search(r'arXiv:(\d\d)\d\d\.', self.source)
        return f'{author} 20{preprint[1]}' if preprint else author


KEYS = {field.name for field in fields(Reference)}
NEEDED = ('quantity', 'value', 'label', 'source')


def load_references(*files: str | Path) -> list[Reference]:
    """Return the published values of this package, then the values of the files.

    :raises ReferencesError: for a file of the wrong form; the message names the file.
    """
    own = resources.files('aiida_mghdiff.report').joinpath('references.yaml').read_text(encoding='utf-8')
    texts = {'references.yaml': own} | {str(file): read_file(Path(file)) for file in files}
    return [reference for name, text in texts.items() for reference in parse_references(text, name)]


def read_file(path: Path) -> str:
    """Return the text of a file.

    :raises ReferencesError: if the file cannot be read.
    """
    try:
        return path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise ReferencesError(f'{path} cannot be read: {error}') from None


def parse_references(text: str, name: str) -> list[Reference]:
    """Return the values of a file.

    :param name: name of the file, for messages.
    :raises ReferencesError: for a text of the wrong form; see the module.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ReferencesError(f'{name} is not a YAML file: {error}') from None
    if not isinstance(content, dict) or set(content) != {'sources', 'values'}:
        raise ReferencesError(f'{name} must have `sources` (citations by key) and `values`, and nothing else.')
    return [
        parse_reference(values, content['sources'], f'{name}, value {index}')
        for index, values in enumerate(content['values'] or [], 1)
    ]


def parse_reference(values: Mapping[str, Any], sources: Mapping[str, str], place: str) -> Reference:
    """Return one value.

    :raises ReferencesError: for a value of the wrong form; see the module.
    """
    if not isinstance(values, dict) or (missing := [key for key in NEEDED if key not in values]):
        raise ReferencesError(f'{place} lacks {", ".join(missing) if isinstance(values, dict) else "keys"}.')
    if unknown := sorted(set(values) - KEYS):
        raise ReferencesError(f'{place}: {unknown[0]}: no such key; {nearest(unknown[0], KEYS)}')
    if isinstance(values['value'], bool) or not isinstance(values['value'], int | float):
        raise ReferencesError(f'{place}: {values["value"]!r} is not a number; in YAML, write 6.6e-9 with a point.')
    if values['source'] not in (sources or {}):
        raise ReferencesError(f'{place}: {values["source"]!r} is not among the sources: add its citation.')
    if values.get('relation', '=') not in RELATIONS:
        raise ReferencesError(f'{place}: relation {values["relation"]!r} is not one of {", ".join(RELATIONS)}.')
    limits = values.get('temperatures_k')
    if limits is not None and not (isinstance(limits, list) and len(limits) == 2 and 0 < limits[0] <= limits[1]):
        raise ReferencesError(f'{place}: temperatures_k must be the lowest and the highest temperature in K.')
    own = {'source': sources[values['source']], 'temperatures_k': None if limits is None else tuple(limits)}
    return Reference(**(dict(values) | own))
