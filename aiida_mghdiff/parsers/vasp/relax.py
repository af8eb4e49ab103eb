"""Parser of relaxations in VASP."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode

from aiida_mghdiff.calculations.vasp.force_field import evaluator_of
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.job_files import OUTCAR
from aiida_mghdiff.parsers.vasp.ionic import IonicParser, IonicRun, largest, read_ionic_run, versions


class VaspRelaxParser(IonicParser):
    """Emits energy and structure of the last complete step, also for a run that ended early."""

    def parse_job(self) -> ExitCode | None:
        """Emit the outputs; return the exit code of a failed relaxation."""
        try:
            run = read_ionic_run(self.files, self.is_dft)
        except FileNotFoundError:
            return self.crash(OUTCAR)
        except FormatError as error:
            return self.invalid(error)
        if run.n_steps:
            self._emit(run)
            self.tell_of_electrons(run)
        return self._outcome(run)

    def _emit(self, run: IonicRun) -> None:
        start, step = self.node.inputs.structure.get_ase(), run.steps[-1]
        atoms = start.copy()
        atoms.positions = run.positions(run.n_steps, start.positions)
        self.out('structure', orm.StructureData(ase=atoms))
        results = {
            'converged': run.converged,
            'free_energy_ev': step.energy,
            'max_force_ev_per_angstrom': largest(step.forces),
            'n_steps': run.n_steps,
            'unconverged_steps': run.unconverged_steps,
            'largest_displacement_angstrom': largest(atoms.positions - start.positions),
            'evaluator': evaluator_of(self.inputs.get('potential')),
            'labelled_by': run.labelled_by,
            'versions': versions(run),
        }
        self.out('results', orm.Dict(results))

    def _outcome(self, run: IonicRun) -> ExitCode | None:
        if not run.finished:
            return self.unfinished(run.truncated or f'OUTCAR ends after {run.n_steps} complete steps')
        if not run.n_steps:
            return self.exit_codes.ERROR_OUTPUT_INVALID.format(message='OUTCAR has no step with energy and forces')
        if run.is_unconverged(run.n_steps):
            return self.exit_codes.ERROR_SCF_NOT_CONVERGED.format(message='at the last step. Raise nelm or set algo.')
        if not run.converged and run.n_steps < self.node.inputs.parameters['nsw']:
            return self.exit_codes.ERROR_OUT_OF_WALLTIME
        if not run.converged:
            force = largest(run.steps[-1].forces)
            return self.exit_codes.ERROR_RELAXATION_NOT_CONVERGED.format(
                message=f'forces of {force:.3f} eV/Å after {run.n_steps} steps; ediffg = '
                f'{self.node.inputs.parameters["ediffg"]:g}. Continue from its structure, or raise nsw.'
            )
        return None
