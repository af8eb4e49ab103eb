"""Parser of nudged elastic bands in ASE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from ase import Atoms

from aiida_mghdiff.calculations.functions.paths import make_trajectory
from aiida_mghdiff.formats.job_files import PATH_FILE
from aiida_mghdiff.parsers.program import ProgramParser


class AseNebParser(ProgramParser):
    """Emits the path, its saddle point if there is one, and its ends, also for a search that ended early."""

    CACHE_VERSION = 3

    def parse_program(self, results: dict[str, Any], files: Path) -> ExitCode | None:
        """Emit the structures of the path."""
        path = dict(np.load(files / PATH_FILE))
        self.out('path', make_path(path, results))
        points = {'initial_relaxed': 0, 'saddle': results['saddle_image'], 'final_relaxed': -1}
        for name, index in points.items():
            if index is not None:
                self.out(name, make_image(path, index))
        return None


def make_image(path: dict[str, np.ndarray], index: int) -> orm.StructureData:
    """Return one image of a path."""
    return orm.StructureData(ase=Atoms(path['numbers'], path['positions'][index], cell=path['cell'], pbc=True))


def make_path(path: dict[str, np.ndarray], results: dict[str, Any]) -> orm.TrajectoryData:
    """Return the images, with the arrays ``energies_ev``, ``forces_ev_per_angstrom``, ``coordinate_angstrom``."""
    node = make_trajectory(Atoms(path['numbers'], cell=path['cell']), path['positions'])
    node.set_array('energies_ev', np.array(results['energies_ev'], dtype=float))
    node.set_array('forces_ev_per_angstrom', path['forces'])
    node.set_array('coordinate_angstrom', np.array(results['reaction_coordinate_angstrom'], dtype=float))
    return node
