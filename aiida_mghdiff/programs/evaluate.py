"""Predict energies, forces and stresses of a dataset with a potential."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from aiida_mghdiff.formats.arrays import read_folder
from aiida_mghdiff.formats.frames import frames_from_arrays
from aiida_mghdiff.formats.job_files import DATASET_FOLDER, PREDICTIONS_FILE
from aiida_mghdiff.programs import job
from aiida_mghdiff.programs.calculators.loading import chosen_head, open_calculator

if TYPE_CHECKING:
    from aiida_mghdiff.formats.results import EvaluationResults

PROGRESS_SECONDS = 5.0


def main() -> None:
    """Run the program in the working directory."""
    inputs = job.read_input()
    parameters, arrays = inputs['parameters'], read_folder(DATASET_FOLDER)
    clock = job.WallClock(inputs['max_wallclock_seconds'])
    numbers, settings = np.unique(arrays['numbers']), (parameters['dtype'], parameters['device'])
    calculator, versions = open_calculator(inputs['potential'], numbers, *settings)
    job.write_arrays(PREDICTIONS_FILE, **predict(frames_from_arrays(arrays), calculator, clock))
    results: EvaluationResults = {
        'n_configurations': len(arrays['natoms']),
        'head': chosen_head(calculator),
        'dtype': parameters['dtype'],
        'device': parameters['device'],
        'versions': versions,
    }
    job.write_results(results)


def predict(frames: list[Atoms], calculator: Calculator, clock: job.WallClock) -> dict[str, np.ndarray]:
    """Return ``energies [n]`` eV, ``forces [N,3]`` eV/Å and ``stresses [n,6]`` eV/Å³ (ASE's sign and order).

    :raises ProgramError: NON_FINITE, or OUT_OF_WALLTIME (an unfinished evaluation has no outputs).
    """
    energies, forces, stresses = [], [], []
    reported = time.monotonic()
    for index, atoms in enumerate(frames):
        if clock.is_over():
            raise job.ProgramError('OUT_OF_WALLTIME', f'{index} of {len(frames)} frames done: ask for more time.')
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        stresses.append(atoms.get_stress())
        if not (np.isfinite(energies[-1]) and np.isfinite(forces[-1]).all() and np.isfinite(stresses[-1]).all()):
            raise job.ProgramError('NON_FINITE', f'frame {index}: check the configuration and the potential.')
        if time.monotonic() - reported > PROGRESS_SECONDS or index + 1 == len(frames):
            reported = time.monotonic()
            job.report_progress(index + 1, len(frames))
    return {'energies': np.array(energies), 'forces': np.concatenate(forces), 'stresses': np.array(stresses)}
