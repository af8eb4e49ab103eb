"""What VASP's optimizers, and those of the VTST code, say in OUTCAR about their convergence."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from aiida_mghdiff.formats.errors import FormatError

_BAND_FORCE = re.compile(r'^\s*FORCES: max atom, RMS\s+(\S+)\s+\S+\s*$')
_REACHED = 'reached required accuracy - stopping structural energy minimisation'


@dataclass
class Convergence:
    """Whether the accuracy of EDIFFG was reached, and the largest force of each step.

    ``max_forces`` in eV/Å, of the band: along it springs, across it the potential. Empty without VTST.
    """

    reached: bool = False
    max_forces: list[float] = field(default_factory=list)


def read_convergence(path: str | Path) -> Convergence:
    """Read an OUTCAR line by line.

    :raises FormatError: for a force that is no number.
    """
    convergence = Convergence()
    with open(path, encoding='utf-8', errors='replace') as handle:
        for number, line in enumerate(handle, start=1):
            if 'FORCES:' in line and (match := _BAND_FORCE.match(line)):
                convergence.max_forces.append(_read_force(path, number, match[1]))
            elif _REACHED in line:
                convergence.reached = True
    return convergence


def _read_force(path: str | Path, number: int, word: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise FormatError(path, f'line {number}', f'the largest force of a band is {word!r}, no number') from error
