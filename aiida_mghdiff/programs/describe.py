"""Says what a model file is: ``python mghdiff.pyz describe FILE ARCHITECTURE`` prints one JSON line."""

from __future__ import annotations

import json
import sys

from aiida_mghdiff.programs.calculators.loading import calculator_module


def main() -> None:
    """Print what the calculator's module says of the file: ``dtype``, and ``elements`` if the file has its own.

    :raises ProgramError: where the engine is missing, the file cannot be loaded, or has several heads of which none is
        meant.
    """
    path, architecture = sys.argv[-2:]
    print(json.dumps(calculator_module(architecture).describe(path)))
