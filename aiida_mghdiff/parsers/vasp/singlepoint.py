"""Parser of single points with VASP."""

from __future__ import annotations

from pathlib import Path

from aiida import orm
from aiida.engine import ExitCode

from aiida_mghdiff.formats.job_files import OUTCAR
from aiida_mghdiff.formats.outcar import OutcarReader, OutcarStep
from aiida_mghdiff.parsers.executable import last_line
from aiida_mghdiff.parsers.singlepoint import SinglePointParser
from aiida_mghdiff.parsers.vasp.base import VaspJobParser, check_structure


class VaspSinglePointParser(SinglePointParser, VaspJobParser):
    """Reads OUTCAR, and records whether VASP or a stand-in made the labels."""

    CACHE_VERSION = 7

    def parse_files(self, files: Path) -> ExitCode | None:
        """Emit the labels."""
        self.files = files
        path = files / OUTCAR
        if not path.is_file():
            return self.no_results(last_line(self.stdout))
        reader = OutcarReader(path)
        steps = list(reader)
        if not steps:
            return self.no_results(reader.truncated or 'OUTCAR has no energies and forces')
        step, labelled_by = steps[-1], reader.labelled_by
        results = {
            'free_energy_ev': step.energy,
            'energy_sigma0_ev': step.energy_sigma0,
            'converged': step.scf_converged,
            'labelled_by': labelled_by,
            'versions': {'vasp': reader.version},
            'max_memory_mb': reader.max_memory_mb,
        }
        self.out('results', orm.Dict(results))
        if not reader.finished:
            return self.no_results(str(reader.truncated))
        if not step.scf_converged:
            return self.exit_codes.ERROR_SCF_NOT_CONVERGED.format(message=_electrons_message(step, reader))
        check_structure(step, self.node.inputs.structure.get_ase())
        return self.emit_label(labelled_by, step.energy, step.forces, step.stress)

    def no_results(self, message: str) -> ExitCode | None:
        """Return the exit code of an incomplete run; None if the scheduler's exit code gives the reason."""
        return None if self.node.exit_status else self.crash(self.short(message))


def _electrons_message(step: OutcarStep, reader: OutcarReader) -> str:
    """Return advice for an SCF that did not converge."""
    if step.scf_converged is None:
        return "its convergence is unknown, since OUTCAR has no 'Iteration' lines. Run VASP again, and keep them."
    nelm = 'NELM' if reader.nelm is None else f'NELM = {reader.nelm}'
    ediff = 'EDIFF' if reader.ediff is None else f'EDIFF = {reader.ediff:g} eV'
    return f'it did not reach {ediff} within {nelm} iterations. Raise nelm or set algo.'
