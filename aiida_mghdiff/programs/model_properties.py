"""Print the properties of a model file as JSON: ``python mghdiff.pyz model_properties FILE ARCHITECTURE``."""

from __future__ import annotations

import json
import sys

from aiida_mghdiff.programs.calculators.loading import calculator_module


def main() -> None:
    """Print ``dtype`` and, if the file has its own, ``elements``, from the module of the calculator.

    :raises ProgramError: if the engine is missing, the file cannot be loaded, or has several heads without a choice.
    """
    path, architecture = sys.argv[-2:]
    print(json.dumps(calculator_module(architecture).model_properties(path)))
