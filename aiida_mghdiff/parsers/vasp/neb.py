"""Parser of nudged elastic bands in VASP.

VASP writes no OUTCAR for the end points, whose energies come from relaxations and are inputs of the job. All energies
are free energies, and forces are their gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode

from aiida_mghdiff.calculations.vasp.force_field import evaluator_of
from aiida_mghdiff.calculations.vasp.neb import image_atoms, image_folder
from aiida_mghdiff.data.stored_keys import stored_value
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.job_files import OUTCAR
from aiida_mghdiff.parsers.ase.neb import make_image, make_path
from aiida_mghdiff.parsers.vasp.ionic import IonicParser, IonicRun, read_ionic_run, versions
from aiida_mghdiff.science.bands import BandResults, band_results, path_coordinate


class VaspNebParser(IonicParser):
    """Emits path and saddle point at the last common step of all images, also for a search that ended early."""

    def parse_job(self) -> ExitCode | None:
        """Emit the outputs; return the exit code of a failed search."""
        folders = [image_folder(index) for index in range(1, self.node.inputs.images.numsteps - 1)]
        if missing := [name for name in folders if not (self.files / name / OUTCAR).is_file()]:
            return self.crash(', '.join(f'{name}/OUTCAR' for name in missing))
        try:
            runs = [read_ionic_run(self.files / name, self.is_dft, is_image=True) for name in folders]
        except FormatError as error:
            return self.invalid(error)
        return self._outcome_before_steps(runs) or self._outcome(runs, self._emit(runs))

    def _outcome_before_steps(self, runs: list[IonicRun]) -> ExitCode | None:
        """Return the exit code of runs whose steps do not form a band."""
        if any(run.is_without_vtst for run in runs):
            tags = ', '.join(tag.upper() for tag in ('iopt', 'ichain', 'lclimb') if tag in self.node.inputs.parameters)
            message = f'OUTCAR of {runs[0].version} has no line VTST. Take a code with VTST.'
            return self.exit_codes.ERROR_VTST_MISSING.format(tags=tags, message=message)
        counts = [run.n_steps for run in runs]
        if min(counts) == 0 or max(counts) - min(counts) > 1:
            return self.unfinished(f'the images have {", ".join(map(str, counts))} complete steps; {_end_of(runs)}')
        return None

    def _emit(self, runs: list[IonicRun]) -> dict[str, Any]:
        """Emit path, saddle point and results; return the results."""
        step = min(run.n_steps for run in runs)
        atoms, start = image_atoms(self.node.inputs.images, 0), self.node.inputs.images.get_positions()
        inner = [run.positions(step, reference) for run, reference in zip(runs, start[1:-1], strict=True)]
        unknown = np.full_like(start[0], np.nan)
        path = {
            'numbers': atoms.numbers,
            'cell': atoms.cell.array,
            'positions': np.stack([start[0], *inner, start[-1]]),
            'forces': np.stack([unknown, *(run.step(step).forces for run in runs), unknown]),
        }
        coordinate = path_coordinate(path['positions'])
        results = {
            **self._energies(runs, step),
            'reaction_coordinate_angstrom': coordinate.tolist(),
            'path_length_angstrom': float(coordinate[-1]),
            **self._convergence(runs, step),
        }
        self.out('path', make_path(path, results))
        if results['saddle_image'] is not None:
            self.out('saddle', make_image(path, results['saddle_image']))
        self.out('results', orm.Dict(results))
        for run in runs:
            self.tell_of_electrons(run, f'image {run.folder.name}: ')
        return results

    def _energies(self, runs: list[IonicRun], step: int) -> BandResults:
        ends = [self.node.inputs[name]['free_energy_ev'] for name in ('initial_results', 'final_results')]
        return band_results([ends[0], *(run.step(step).energy for run in runs), ends[1]])

    def _convergence(self, runs: list[IonicRun], step: int) -> dict[str, Any]:
        inputs = self.node.inputs
        return {
            'converged': all(run.converged for run in runs),
            'max_force_ev_per_angstrom': max(run.band_forces[step - 1] for run in runs),
            'n_steps': step,
            'initial_displacement_angstrom': inputs.initial_results['largest_displacement_angstrom'],
            'final_displacement_angstrom': inputs.final_results['largest_displacement_angstrom'],
            'dtype': 'float64',
            'evaluator': evaluator_of(self.inputs.get('potential')),
            'labelled_by': runs[0].labelled_by,
            'versions': versions(runs[0]),
        }

    def _outcome(self, runs: list[IonicRun], results: dict[str, Any]) -> ExitCode | None:
        """Return the exit code of an unsatisfactory band."""
        for name in ('initial_results', 'final_results'):
            if (origin := stored_value(self.node.inputs[name], 'labelled_by')) != results['labelled_by']:
                return self.exit_codes.ERROR_ENDS_OF_OTHER_LABELS.format(
                    message=f'{name} is labelled by {origin}, the images by {results["labelled_by"]}.'
                )
        if not all(run.finished for run in runs):
            return self.unfinished(f'the path of step {results["n_steps"]} is kept; {_end_of(runs)}')
        if unsettled := [image for image, run in enumerate(runs, 1) if run.is_unconverged(results['n_steps'])]:
            message = f'at the last step of image {", ".join(map(str, unsettled))}. Raise nelm or set algo.'
            return self.exit_codes.ERROR_SCF_NOT_CONVERGED.format(message=message)
        if not results['converged'] and results['n_steps'] < self.node.inputs.parameters['nsw']:
            return self.exit_codes.ERROR_OUT_OF_WALLTIME
        if not results['converged']:
            return self.exit_codes.ERROR_NEB_NOT_CONVERGED.format(
                message=f'forces of {results["max_force_ev_per_angstrom"]:.3f} eV/Å after {results["n_steps"]} steps; '
                f'ediffg = {self.node.inputs.parameters["ediffg"]:g}. Continue from its path, or raise nsw.'
            )
        return None


def _end_of(runs: list[IonicRun]) -> str:
    """Return the end of the first truncated file."""
    return next((run.truncated for run in runs if run.truncated), 'no file shows its end')
