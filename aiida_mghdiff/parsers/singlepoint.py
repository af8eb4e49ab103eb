"""Base of the parsers of single points from first principles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aiida.engine import ExitCode
from aiida.parsers.parser import Parser
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.frames import arrays_from_frames
from aiida_mghdiff.formats.plausibility import excess

_ADVICE = 'Atoms are too close, or the electronic state is wrong: leave the frame out, or change algo or mixing.'


class SinglePointParser(Parser):
    """Emits ``results`` and, for a converged job with plausible labels, ``dataset``."""

    CACHE_VERSION = 3

    def parse(self, retrieved_temporary_folder: str | None = None, **_: Any) -> ExitCode | None:
        """Parse the files of the job. An exit code of the scheduler (memory, wall time) explains missing files best."""
        files = Path(retrieved_temporary_folder or '')
        try:
            outcome = self.parse_files(files)
        except (FormatError, ValueError, KeyError, OSError) as error:
            message = f'{type(error).__name__}: {error}'.replace(f'{files}/', '')
            outcome = self.exit_codes.ERROR_OUTPUT_INVALID.format(message=message)
        return None if self.node.exit_status and 'dataset' not in self.outputs else outcome

    def parse_files(self, files: Path) -> ExitCode | None:
        """Emit the outputs; return the exit code of a failed job."""
        raise NotImplementedError

    def emit_label(self, labelled_by: str, free_energy: float, forces: Any, stress: Any) -> ExitCode | None:
        """Emit the input structure with its labels; return the exit code of implausible labels.

        :param labelled_by: origin of the labels: ``vasp``, ``gpaw``, ``standin:<labeller>``.
        :param free_energy: eV; :param forces: [n,3] eV/Å; :param stress: [6] eV/Å³, ASE's sign and order.
        :raises ValueError: for labels that have a wrong shape or are not finite.
        """
        atoms: Atoms = self.node.inputs.structure.get_ase()
        results = {'energy': free_energy, 'free_energy': free_energy}
        arrays = {'forces': np.array(forces, dtype=float), 'stress': np.array(stress, dtype=float)}
        atoms.calc = SinglePointCalculator(atoms, **results, **arrays)
        # from_frames would drop isolated atoms, but the label of an isolated atom is a result, too
        dataset = DatasetData.from_arrays(arrays_from_frames([atoms]), energy_kind='free', labelled_by=labelled_by)
        if words := excess(atoms):
            return self.exit_codes.ERROR_LABEL_IMPLAUSIBLE.format(message=f'{words}. {_ADVICE}')
        self.out('dataset', dataset)
        return None
