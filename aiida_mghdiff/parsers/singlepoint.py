"""Base of the parsers of single points from first principles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers.parser import Parser
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.plausibility import excess

_ADVICE = 'Atoms are too close, or the electrons are in a wrong state: leave the frame out, or change algo or mixing.'


class SinglePointParser(Parser):
    """Emits ``results`` and, of a converged job whose labels can be right, ``dataset``."""

    CACHE_VERSION = 3

    def parse(self, retrieved_temporary_folder: str | None = None, **_: Any) -> ExitCode | None:
        """Parse the files of the job; what the scheduler knows (no memory, no time) explains missing files best."""
        files = Path(retrieved_temporary_folder or '')
        try:
            outcome = self.parse_files(files)
        except (FormatError, ValueError, KeyError, OSError) as error:
            message = f'{type(error).__name__}: {error}'.replace(f'{files}/', '')
            outcome = self.exit_codes.ERROR_OUTPUT_INVALID.format(message=message)
        return None if self.node.exit_status and 'dataset' not in self.outputs else outcome

    def parse_files(self, files: Path) -> ExitCode | None:
        """Emit the outputs; return the exit code of what went wrong."""
        raise NotImplementedError

    def emit_label(self, labels: str, free_energy: float, forces: Any, stress: Any) -> ExitCode | None:
        """Emit the input structure with its labels; return the exit code of labels that cannot be right.

        :param labels: what computed them: ``vasp``, ``gpaw``, ``standin:<labeller>``.
        :param free_energy: eV; :param forces: [n,3] eV/Å; :param stress: [6] eV/Å³, ASE's sign and order.
        :raises ValueError: for labels of a wrong shape or that are no finite numbers.
        """
        atoms: Atoms = self.node.inputs.structure.get_ase()
        results = {'energy': free_energy, 'free_energy': free_energy}
        arrays = {'forces': np.array(forces, dtype=float), 'stress': np.array(stress, dtype=float)}
        atoms.calc = SinglePointCalculator(atoms, **results, **arrays)
        dataset = DatasetData.from_frames([atoms], energy_kind='free', labels=labels, allow_implausible=True)
        if words := excess(atoms):
            return self.exit_codes.ERROR_LABEL_IMPLAUSIBLE.format(message=f'{words}. {_ADVICE}')
        self.out('dataset', dataset)
        return None

    def log_tail(self, text: str) -> str:
        """Return the last line of a text that says something."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else 'no message'

    def emit_results(self, results: dict[str, Any]) -> None:
        """Emit the numbers, versions and convergence."""
        self.out('results', orm.Dict(results))
