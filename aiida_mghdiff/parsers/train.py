"""Base of the parsers of training jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from aiida import orm
from aiida.engine import ExitCode

from aiida_mghdiff.data.arrays import set_array
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.job_files import CHECKPOINT_FILE, CURVES_FILE, MODEL_FILE
from aiida_mghdiff.parsers.program import ProgramParser


class TrainParser(ProgramParser):
    """Stores the potential, the learning curves and, for an incomplete training, the checkpoint."""

    _ARCHITECTURE: ClassVar[str]

    def parse_program(self, results: dict[str, Any], files: Path) -> ExitCode | None:
        """Emit the outputs of the training."""
        if (curves := files / CURVES_FILE).is_file():
            self.out('learning_curves', read_curves(curves))
        if not results['completed']:
            if (checkpoint := files / CHECKPOINT_FILE).is_file():
                self.out('checkpoint', orm.SinglefileData(checkpoint, filename=CHECKPOINT_FILE))
            return None
        for warning in results.get('warnings', []):
            self.logger.warning(warning)
        self.out('potential', self.read_potential(results, files / MODEL_FILE))
        return None

    def read_potential(self, results: dict[str, Any], path: Path) -> PotentialData:
        """Return the trained potential."""
        return PotentialData.from_file(
            path,
            architecture=self._ARCHITECTURE,
            origin='scratch' if results['mode'] == 'scratch' else 'fine-tuned',
            elements=results['elements'],
            dtype=results['dtype'],
            heads=results.get('heads'),
        )


def read_curves(path: Path) -> orm.ArrayData:
    """Return the columns of the learning curves as arrays [number of epochs]."""
    node = orm.ArrayData()
    with np.load(path) as columns:
        for name in sorted(columns):
            set_array(node, name, columns[name], 'f8', (None,))
    return node
