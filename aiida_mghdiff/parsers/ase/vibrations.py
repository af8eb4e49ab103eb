"""Parser of vibrations in ASE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode

from aiida_mghdiff.formats.job_files import VIBRATIONS_FILE
from aiida_mghdiff.parsers.program import ProgramParser


class AseVibrationsParser(ProgramParser):
    """Emits frequencies and modes, also for a stationary point of the wrong kind."""

    CACHE_VERSION = 2

    def parse_program(self, results: dict[str, Any], files: Path) -> ExitCode | None:
        """Emit Hessian and modes."""
        self.out('modes', orm.ArrayData(dict(np.load(files / VIBRATIONS_FILE))))
        return None
