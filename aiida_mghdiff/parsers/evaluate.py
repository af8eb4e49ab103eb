"""Parser of evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode

from aiida_mghdiff.data.arrays import set_array
from aiida_mghdiff.formats.job_files import PREDICTIONS_FILE
from aiida_mghdiff.parsers.program import ProgramParser

SHAPES = {'energies': (None,), 'forces': (None, 3), 'stresses': (None, 6)}


class EvaluateParser(ProgramParser):
    """Stores the predictions."""

    CACHE_VERSION = 2

    def parse_program(self, results: dict[str, Any], files: Path) -> ExitCode | None:
        """Emit the predictions."""
        node = orm.ArrayData()
        with np.load(files / PREDICTIONS_FILE) as arrays:
            for name, shape in SHAPES.items():
                set_array(node, name, arrays[name], 'f8', shape)
        self.out('predictions', node)
        return None
