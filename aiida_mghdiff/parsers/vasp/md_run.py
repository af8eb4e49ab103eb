"""Trajectory, energies, pressures and final state of a VASP run with moving atoms.

VASP counts ionic steps from 1: the energy of its step i belongs to the positions after i - 1 steps, and CONTCAR of a
completed run has the positions after the last step. Here, as in every other engine, step i means i completed steps,
counted over all segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiida.engine import ExitCode
from ase import Atoms

from aiida_mghdiff.calculations.vasp.job import ENGINE
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.data.stored_keys import stored_value
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.job_files import (
    CONTCAR,
    OSZICAR,
    OUTCAR,
    REDUCE_STDOUT,
    REDUCED,
    TRAJECTORY,
    read_failure,
)
from aiida_mghdiff.formats.oszicar import read_oszicar
from aiida_mghdiff.formats.outcar import OutcarSummary, summarise_outcar
from aiida_mghdiff.formats.poscar import Poscar, read_poscar
from aiida_mghdiff.formats.xdatcar import XdatcarReader
from aiida_mghdiff.parsers.md import MdRun
from aiida_mghdiff.parsers.vasp.base import VaspJobParser
from aiida_mghdiff.science.runaway import runaway_limit
from aiida_mghdiff.science.trajectory_reduction import ReductionPlan, reduce_trajectory
from aiida_mghdiff.science.units import EV_FS2_PER_ANGSTROM2_IN_AMU, EV_PER_ANGSTROM3_IN_GPA

#: Largest difference of CONTCAR and the last frame of XDATCAR (8 decimals) if they are of the same step.
_SAME_FRACTIONAL = 1e-7
#: Largest move of an atom between two frames, as a fraction of the cell: beyond, its direction is ambiguous.
_LARGEST_MOVE = 0.45


class NoStepError(FormatError):
    """A run that ended before its first step."""


@dataclass
class RecordedRun:
    """A run, with messages about truncated files."""

    run: MdRun
    truncated: list[str]
    largest_move: float


@dataclass(frozen=True)
class Motion:
    """Potential, thermostat and barostat that moved the atoms, in words."""

    evaluator: str
    thermostat: str | None
    barostat: str | None
    integrator: str


def read_run(
    files: Path, start: Atoms, parameters: dict[str, Any], plan: ReductionPlan, outcar: OutcarSummary, motion: Motion
) -> RecordedRun:
    """Return the run from the files in a folder.

    :param start: unwrapped atoms at the start of the run.
    :raises NoStepError: for a run without steps.
    :raises FormatError: for a damaged file.
    :raises FileNotFoundError: for a missing file.
    """
    energies = _read_energies(files / OSZICAR, plan.block)
    if not len(energies['steps']):
        raise NoStepError(OSZICAR, '', 'no step in it: VASP ended before its first step')
    contcar = read_poscar(files / CONTCAR)
    if contcar.velocities is None:
        raise NoStepError(CONTCAR, '', 'no velocities in it: VASP ended before its first step')
    kept, truncated = _read_trajectory(files, plan)
    last, first = int(energies['steps'][-1]), parameters['first_step']
    final = _unwrap(contcar, kept['last_fractional'])
    shift, final_step = _final_step(kept, contcar, first + last, outcar.finished)
    tracers = _tracers(kept, plan, shift, final, contcar.cell, final_step)
    thermo = _thermo(energies, kept, outcar, start, parameters, plan, final_step)
    run = MdRun(
        parameters=parameters,
        numbers=start.numbers,
        **tracers,
        **_frames(kept, energies, start.get_masses(), first, shift, final_step),
        thermo=thermo,
        final_step=final_step,
        final_positions=final,
        final_velocities=contcar.velocities,
        final_cell=contcar.cell if plan.moving_cell else start.cell.array,
        restart=(files / CONTCAR).read_bytes(),
        engine=ENGINE,
        **vars(motion),
        versions={'vasp': outcar.version},
    )
    sentences = [sentence for sentence in (truncated, energies['truncated'], outcar.truncated) if sentence]
    return RecordedRun(run, sentences, float(kept['largest_move']))


def _read_energies(path: Path, block: int) -> dict[str, Any]:
    """Return the series of OSZICAR; ``steps`` count all steps, even if the file counts written steps only."""
    series = dict(read_oszicar(path))
    steps = np.asarray(series['steps'], dtype=int)
    series['steps'] = steps * block if len(steps) and steps[0] < block else steps
    return series


def read_outcar(files: Path) -> OutcarSummary:
    """Return the summary of OUTCAR, reduced by the job or here.

    :raises FormatError: for a damaged file; FileNotFoundError: without an OUTCAR.
    """
    if (files / REDUCED).is_file():
        with np.load(files / REDUCED) as arrays:
            return OutcarSummary.from_arrays(arrays)
    return summarise_outcar(files / OUTCAR)


def _read_trajectory(files: Path, plan: ReductionPlan) -> tuple[dict[str, np.ndarray], str | None]:
    """Return the trajectory, reduced by the job or here, and a message if its end is missing."""
    if (files / REDUCED).is_file():
        with np.load(files / REDUCED) as arrays:
            kept = dict(arrays)
        return kept, str(kept.pop('truncated')) or None
    if not (files / TRAJECTORY).is_file():
        return reduce_trajectory([], plan), _reduction_failure(files / REDUCE_STDOUT) or f'{TRAJECTORY} is missing'
    frames = XdatcarReader(files / TRAJECTORY)
    return reduce_trajectory(frames, plan), frames.truncated


def _reduction_failure(stdout: Path) -> str | None:
    """Return the failure of the reducing program, or None."""
    named = read_failure(stdout.read_text()) if stdout.is_file() else None
    return f'reducing failed: {named[1]}' if named else None


def _unwrap(contcar: Poscar, reference: np.ndarray) -> np.ndarray:
    """Return the positions of CONTCAR [n,3] in Å, as periodic images nearest to unwrapped fractional positions."""
    move = _fractional(contcar) - reference
    return (reference + move - np.rint(move)) @ contcar.cell


def _fractional(contcar: Poscar) -> np.ndarray:
    return np.linalg.solve(contcar.cell.T, contcar.positions.T).T


def _final_step(kept: dict[str, np.ndarray], contcar: Poscar, last: int, finished: bool) -> tuple[int, int]:
    """Return the shift (see ``reduce_trajectory``) and the step of CONTCAR.

    CONTCAR has the positions of the last frame if frames hold positions after their step, or if the run was killed
    between two steps; the last step is then made again.

    :param last: the step after VASP's last written step.
    """
    move = _fractional(contcar) - kept['last_fractional']
    is_same = bool(kept['last_step']) and bool(np.abs(move - np.rint(move)).max() < _SAME_FRACTIONAL)
    shift = int(kept['shift'])
    if shift < 0:
        shift = int(not (is_same and finished))
    return shift, last - 1 if shift and is_same else last


def _tracers(
    kept: dict[str, np.ndarray], plan: ReductionPlan, shift: int, final: np.ndarray, cell: np.ndarray, final_step: int
) -> dict[str, Any]:
    """Return the tracer fields of a run.

    The frames are VASP's frames from the first to the final step; or else the frames after the first step (or from
    step 0), with the final frame from CONTCAR. If the run is shorter than the stride, the preceding frame belongs to
    the previous run.
    """
    numbers = plan.first_step + kept['tracer_steps'].astype(int)
    steps = numbers - shift
    belongs = numbers <= final_step if plan.as_written else (steps > plan.first_step) | (steps == 0)
    names = ('tracer_positions', 'host_centre', 'tracer_cells')
    steps, arrays = steps[belongs], {name: kept[name][belongs] for name in names}
    before = steps[-1] if len(steps) else plan.first_step // plan.tracer_stride * plan.tracer_stride
    if kept['last_step'] and not plan.as_written and before + plan.tracer_stride == final_step:
        rows = {
            'tracer_positions': final[plan.tracers],
            'host_centre': np.array(plan.host_weights) @ final,
            'tracer_cells': cell,
        }
        steps = np.append(steps, final_step)
        arrays = {name: np.concatenate([arrays[name], rows[name][None]]) for name in names}
    if not plan.moving_cell:
        arrays['tracer_cells'] = np.array(plan.cell)
    return arrays | {'tracer_steps': steps}


def _frames(
    kept: dict[str, np.ndarray], energies: dict[str, Any], masses: np.ndarray, first: int, shift: int, final_step: int
) -> dict[str, Any]:
    """Return full frames with known energy before the final frame, with velocities if every step was written.

    A thermostat kicks the atoms between two steps, and differences of positions average the kicks: 0.5 % of the kinetic
    energy at a friction of 10/ps and 1 fs. So velocities are scaled to the kinetic energy that VASP wrote.
    """
    labels = kept['frame_steps'].astype(int)
    wanted, steps = labels - shift + 1, energies['steps']
    has_velocity = np.isfinite(kept['frame_velocities']).all(axis=(1, 2))
    chosen = np.isin(wanted, steps) & (has_velocity | ~has_velocity.any()) & (first + labels - shift < final_step)
    rows = np.searchsorted(steps, wanted[chosen])
    kinetic, velocities = energies['kinetic_energy_ev'], None
    if has_velocity.any():
        velocities = kept['frame_velocities'][chosen]
        squares = (masses[:, None] * velocities**2).sum(axis=(1, 2)) / EV_FS2_PER_ANGSTROM2_IN_AMU
        velocities = velocities * np.sqrt(2 * kinetic[rows] / squares)[:, None, None]
    return {
        'frame_steps': first + labels[chosen] - shift,
        'frame_positions': kept['frame_positions'][chosen],
        'frame_velocities': velocities,
        'frame_cells': kept['frame_cells'][chosen],
        'frame_energies': (energies['free_energy_ev'] + kinetic)[rows],
    }


def _thermo(
    energies: dict[str, Any],
    kept: dict[str, np.ndarray],
    outcar: OutcarSummary,
    start: Atoms,
    parameters: dict[str, Any],
    plan: ReductionPlan,
    final_step: int,
) -> dict[str, np.ndarray]:
    """Return the thermodynamic series before the final step; the pressure includes its kinetic part.

    A run shorter than the stride has one row, its last step.
    """
    steps = energies['steps']
    made = parameters['first_step'] + steps - 1
    counted = made + 1 if plan.as_written else made
    rows = (counted % parameters['thermo_stride'] == 0) & (made < final_step)
    rows[-1] |= not rows.any()
    kinetic, potential = energies['kinetic_energy_ev'], energies['free_energy_ev']
    if parameters['ensemble'] == 'nve':
        # EK has only 5 digits, E and F have 8; E - F is the kinetic energy
        kinetic = energies['total_energy_ev'] - potential
    volumes = np.full(len(steps), start.get_volume())
    if plan.moving_cell and len(kept['volume_steps']):
        volumes = np.interp(steps, kept['volume_steps'], kept['volumes'])
    virial = _at(_written(steps, outcar, plan.block), outcar.steps, outcar.pressures)
    pressure = virial + 2 * kinetic / (3 * volumes) * EV_PER_ANGSTROM3_IN_GPA
    series = {
        'steps': made,
        'temperature_k': energies['temperature_k'],
        'potential_energy_ev': potential,
        'kinetic_energy_ev': kinetic,
        'pressure_gpa': pressure,
        'volume_a3': volumes,
    }
    return {name: values[rows] for name, values in series.items()}


def _written(steps: np.ndarray, outcar: OutcarSummary, block: int) -> np.ndarray:
    """Return the numbers of VASP's steps in OUTCAR. If not every step is written, OUTCAR counts written steps."""
    is_counted = block > 1 and len(outcar.steps) and outcar.steps[0] < block
    return steps // block if is_counted else steps


def _at(wanted: np.ndarray, steps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the values at the wanted steps, NaN for missing steps."""
    known = dict(zip(steps.tolist(), values.tolist(), strict=True))
    return np.array([known.get(step, np.nan) for step in wanted.tolist()])


def runaway_message(run: MdRun, largest_move: float) -> str | None:
    """Return a message if the temperature ran away, or None."""
    limit = runaway_limit(run.parameters['temperature_k'])
    temperatures = run.thermo['temperature_k']
    if len(temperatures) and (hottest := float(temperatures.max())) > limit:
        return f'{hottest:.0f} K, more than {limit:.0f} K; check start, time step and force field.'
    if largest_move > _LARGEST_MOVE:
        return f'an atom moved by {largest_move:.2f} of the cell between two frames, so its path is ambiguous.'
    return None


class VaspMdRunParser(VaspJobParser):
    """Base of the parsers of runs with moving atoms."""

    def read_outcar(self, labelled_by: str | None) -> OutcarSummary:
        """Return a summary of OUTCAR; if only OUTCAR is unreadable, return an empty one.

        :param labelled_by: origin of the labels that the force field learned; None if the run left no state.
        :raises FormatError: for a damaged file; FileNotFoundError: without an OUTCAR.
        """
        try:
            return read_outcar(self.files)
        except (FileNotFoundError, FormatError) as error:
            if labelled_by is None:
                raise
            reason = str(error) if isinstance(error, FormatError) else 'OUTCAR is missing'
            return OutcarSummary.unknown(labelled_by, reason)

    def origin_of_labels(self, force_field: PotentialData) -> str | None:
        """Return the origin of the labels that a force field learned; None if the run left no state."""
        path = self.files / CONTCAR
        is_left = path.is_file() and path.stat().st_size
        return stored_value(force_field, 'labelled_by') if is_left else None

    def report_failed_reduction(self) -> None:
        """Report that reducing the files failed, so that they were retrieved whole."""
        if not (self.files / REDUCED).is_file() and (message := _reduction_failure(self.files / REDUCE_STDOUT)):
            self.logger.warning(f'{message}; the files were retrieved whole')

    def unreadable(self, error: Exception) -> ExitCode:
        """Return the exit code of a run with unreadable files."""
        if failure := self.failure():
            return failure
        if self.is_out_of_walltime and isinstance(error, NoStepError):
            return self.exit_codes.ERROR_OUT_OF_WALLTIME
        return self.invalid(error)

    def cut(self, missing: list[str]) -> ExitCode | None:
        """Return the exit code of a run that ended at its wall time, or has truncated files.

        :param missing: messages about truncated files.
        """
        codes, words = self.exit_codes, self.short('; '.join(dict.fromkeys(missing)))
        if not self.is_out_of_walltime:
            return codes.ERROR_OUTPUT_TRUNCATED.format(message=words) if missing else None
        code = codes.ERROR_OUT_OF_WALLTIME
        return code._replace(message=f'{code.message} Incomplete: {words}') if missing else code
