"""Parser of single points with VASP."""

from __future__ import annotations

from pathlib import Path

from aiida.engine import ExitCode

from aiida_mghdiff.formats.outcar import OutcarReader, OutcarStep
from aiida_mghdiff.parsers.singlepoint import SinglePointParser
from aiida_mghdiff.parsers.vasp.base import VaspJobParser, check_structure


class VaspSinglePointParser(SinglePointParser, VaspJobParser):
    """Reads OUTCAR. Labels that are not VASP's own, but a stand-in's, are named as such."""

    CACHE_VERSION = 5

    def parse_files(self, files: Path) -> ExitCode | None:
        """Emit the labels."""
        self.files = files
        path = files / 'OUTCAR'
        if not path.is_file():
            return self.no_results(self.log_tail(self.stdout))
        reader = OutcarReader(path)
        steps = list(reader)
        if not steps:
            return self.no_results(reader.truncated or 'OUTCAR has no energies and forces')
        step, labels = steps[-1], reader.labels
        self.emit_results(
            {
                'free_energy_ev': step.energy,
                'energy_sigma0_ev': step.energy_sigma0,
                'converged': step.scf_converged,
                'labels': labels,
                'versions': {'vasp': reader.version},
                'max_memory_mb': reader.max_memory_mb,
            }
        )
        if not reader.finished:
            return self.no_results(str(reader.truncated))
        if not step.scf_converged:
            return self.exit_codes.ERROR_SCF_NOT_CONVERGED.format(message=_electrons_message(step, reader))
        check_structure(step, self.node.inputs.structure.get_ase())
        return self.emit_label(labels, step.energy, step.forces, step.stress)

    def no_results(self, message: str) -> ExitCode | None:
        """Return the exit code of a run that came to no end; None where the scheduler's own says why."""
        return None if self.node.exit_status else self.crash(self.short(message))


def _electrons_message(step: OutcarStep, reader: OutcarReader) -> str:
    """Return what to do about a loop that did not meet EDIFF, or of which nothing tells whether it did."""
    if step.scf_converged is None:
        return "whether they did is unknown, since OUTCAR has no 'Iteration' lines. Run VASP again, and keep them."
    nelm = 'NELM' if reader.nelm is None else f'NELM = {reader.nelm}'
    ediff = 'EDIFF' if reader.ediff is None else f'EDIFF = {reader.ediff:g} eV'
    return f'they did not meet {ediff} within {nelm} iterations. Raise nelm or set algo.'
