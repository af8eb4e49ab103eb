"""Parser of the evaluation of a VASP force field."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from aiida import orm
from aiida.engine import ExitCode
from ase import Atoms

from aiida_mghdiff.calculations.functions.labels import grouped_order
from aiida_mghdiff.calculations.vasp.evaluate import frames_of, outcar_of
from aiida_mghdiff.calculations.vasp.force_field import evaluator_of
from aiida_mghdiff.data.arrays import set_array
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.job_files import OUTCAR
from aiida_mghdiff.formats.outcar import OutcarReader, OutcarStep
from aiida_mghdiff.parsers.evaluate import SHAPES
from aiida_mghdiff.parsers.vasp.base import VaspJobParser, check_structure


class VaspEvaluateParser(VaspJobParser):
    """Reads the OUTCAR of each frame; an unfinished evaluation has no outputs."""

    CACHE_VERSION = 4

    def parse_job(self) -> ExitCode | None:
        """Emit the predictions; return the exit code of a failure."""
        dataset, frames = self.inputs['dataset'], dict(frames_of(self.inputs['dataset']))
        done = [path for path in frames if (self.files / outcar_of(path)).is_file()]
        if len(done) < len(frames):
            return self.crash(f'{OUTCAR} for {len(frames) - len(done)} of {len(frames)} frames')
        steps = []
        for path, atoms in frames.items():
            try:
                steps.append(self.read_frame(outcar_of(path), atoms))
            except (FormatError, ValueError) as error:
                return self.invalid(error, f'{outcar_of(path)}: ')
        self.emit(dataset, steps)
        return None

    def read_frame(self, path: str, atoms: Atoms) -> OutcarStep:
        """Return the prediction of the force field for a frame.

        :raises FormatError: for a truncated OUTCAR.
        :raises ValueError: for an OUTCAR without a force-field step, or with other atoms.
        """
        self.reader = OutcarReader(self.files / path)
        steps = [step for step in self.reader if not step.is_dft]
        if not steps or steps[-1].stress is None:
            raise ValueError('OUTCAR has no energy, forces and stress of the force field')
        check_structure(steps[-1], atoms)
        return steps[-1]

    def emit(self, dataset: DatasetData, steps: list[OutcarStep]) -> None:
        """Emit the predictions, atoms in the order of the dataset, and the results."""
        forces = [np.empty_like(step.forces) for step in steps]
        for index, atoms in enumerate(dataset.get_frames()):
            forces[index][grouped_order(atoms.numbers)] = steps[index].forces
        values: dict[str, npt.ArrayLike] = {
            'energies': [step.energy for step in steps],
            'forces': np.concatenate(forces),
            'stresses': [step.stress for step in steps if step.stress is not None],
        }
        node = orm.ArrayData()
        for name, shape in SHAPES.items():
            set_array(node, name, values[name], 'f8', shape)
        self.out('predictions', node)
        results = {
            'n_configurations': len(steps),
            'evaluator': evaluator_of(self.inputs['potential']),
            'versions': {'vasp': self.reader.version},
        }
        self.out('results', orm.Dict(results))
