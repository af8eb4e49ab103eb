"""The calculator of EMT potentials, whose files hold the keywords of ASE's EMT as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from aiida_mghdiff.programs.calculators.base import readable

DISTRIBUTIONS = ('ase', 'numpy')


def load(potential: dict[str, Any], path: str, dtype: str, device: str = 'cpu') -> Calculator:
    """Return the calculator of a file."""
    with readable(path):
        return EMT(**json.loads(Path(path).read_text()))


def model_properties(path: str) -> dict[str, Any]:
    """Return the dtype of a file; all files know the same elements."""
    load({}, path, 'float64')
    return {'dtype': 'float64'}
