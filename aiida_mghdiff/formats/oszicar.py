"""OSZICAR, VASP's short log: a line for each ionic step, between the lines of the SCF.

A step of molecular dynamics has the temperature and the kinetic energy in addition to the energies; a step of a
relaxation has only the energies. For a step of a learned force field, F and E0 are equal.
"""

from __future__ import annotations

import re
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.text import require_text

_COLUMNS = {
    'temperature_k': rb'T',
    'total_energy_ev': rb'E',
    'free_energy_ev': rb'F',
    'energy0_ev': rb'E0',
    'kinetic_energy_ev': rb'EK',
}
_STEP = re.compile(rb'\s*(\d+|\*+)\s+(?:T|F)=')
_VALUES = {name: re.compile(rb'\s' + key + rb'=\s*(\S+)') for name, key in _COLUMNS.items()}
_STARS = re.compile(rb'\*+')


def read_oszicar(path: str | Path) -> dict[str, Any]:
    """Return the ionic steps of a run and the part that is missing at the end of the file.

    ``steps`` [s], from 1, and for each step ``temperature_k``, ``total_energy_ev`` (includes kinetic energy and
    thermostat), ``free_energy_ev``, ``energy0_ev`` (extrapolated to zero smearing) and ``kinetic_energy_ev``;
    ``truncated`` is None, or a sentence about an incomplete last line.

    A value is NaN if the step has none, or if it does not fit its column (stars, as in a run that explodes).

    :raises FormatError: names line and reason, for a step whose values are no numbers.
    """
    steps, values = array('q'), {name: array('d') for name in _COLUMNS}
    truncated = None
    require_text(path)
    with Path(path).open('rb') as handle:
        for number, line in enumerate(handle, start=1):
            if not line.endswith(b'\n'):
                truncated = f'{path}, line {number}: the file ends within this line, after step {_last(steps)}'
            elif match := _STEP.match(line):
                steps.append(int(match[1]) if match[1].isdigit() else _last(steps) + 1)
                for name, pattern in _VALUES.items():
                    values[name].append(_value(path, number, pattern.search(line)))
    arrays = {name: np.array(column, dtype=float) for name, column in values.items()}
    return {'steps': np.array(steps, dtype=np.int64), **arrays, 'truncated': truncated}


def _last(steps: array[int]) -> int:
    return steps[-1] if steps else 0


def _value(path: str | Path, line: int, match: re.Match[bytes] | None) -> float:
    if match is None or _STARS.fullmatch(match[1]):
        return np.nan
    try:
        return float(match[1])
    except ValueError as error:
        word = match[1].decode(errors='replace')
        raise FormatError(path, f'line {line}', f'{word!r} is not a number') from error
