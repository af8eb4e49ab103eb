"""Parser of molecular dynamics in LAMMPS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from aiida.engine import ExitCode
from aiida.parsers.parser import Parser

from aiida_mghdiff.calculations.lammps import script
from aiida_mghdiff.calculations.lammps.md import ENGINE
from aiida_mghdiff.formats import job_files
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.lammps import Dump, LammpsFrame, read_dump, read_series
from aiida_mghdiff.parsers.executable import last_line, missing_executable, stdout_of
from aiida_mghdiff.parsers.md import MdRun, emit_md_outputs
from aiida_mghdiff.science.units import BAR_IN_GPA, FS_IN_PS

_LAMMPS = re.compile(r'^LAMMPS \((.*)\)$', re.MULTILINE)
_ERROR = re.compile(r'^ERROR.*$', re.MULTILINE)
_HALTED = re.compile(rf'^.*condition for fix-id {job_files.RUNAWAY_FIX} met.*$', re.MULTILINE)
#: Last line of ``mace_create_lammps_model`` if it needs to ask for the head, or does not find the given head.
_NO_HEAD = re.compile(r'^(EOFError: .*|ValueError: .* is not in list)$', re.MULTILINE)
_RUNAWAY = re.compile(r'Lost atoms|Non-numeric|Out of range atoms|NaN', re.IGNORECASE)
_NO_MEMORY = re.compile(r'bad_alloc|out of memory|Failed to (?:re)?allocate|MemoryError', re.IGNORECASE)
_NO_HEAD_MESSAGE = (
    'the converter found several heads in the model, or not the head of the potential: make the potential again with '
    'PotentialData.from_file, which reads the heads'
)
_POSITIONS, _VELOCITIES = ('xu', 'yu', 'zu'), ('vx', 'vy', 'vz')


class LammpsMdParser(Parser):
    """Emits the outputs of every MD job, also for a run that stopped before its wall time or ran away."""

    CACHE_VERSION = 2

    def parse(self, retrieved_temporary_folder: str | None = None, **_: Any) -> ExitCode | None:
        """Emit the outputs; return the exit code of a failed run."""
        files = Path(retrieved_temporary_folder or '')
        stdout = stdout_of(self.node)
        if (files / job_files.FINAL_DUMP).is_file():
            return self._parse_run(stdout, files)
        return self.failure(stdout)

    def failure(self, stdout: str) -> ExitCode:
        """Return the exit code of a run without a final state."""
        codes, stderr = self.exit_codes, self.node.get_scheduler_stderr() or ''
        if missing := missing_executable(self.node, stdout):
            return missing
        if named := job_files.read_failure(stdout):
            return codes[f'ERROR_{named[0]}'].format(message=named[1])
        if match := _NO_MEMORY.search(stdout + stderr):
            return codes.ERROR_OUT_OF_MEMORY.format(message=match[0])
        if 'convert_code' in self.node.inputs and 'Traceback' in stderr:
            return self.failure_of_conversion(stderr)
        if errors := _ERROR.findall(stdout):
            if _RUNAWAY.search(errors[-1]):
                return codes.ERROR_TEMPERATURE_RUNAWAY.format(message=errors[-1])
            return codes.ERROR_LAMMPS_ERROR.format(message=errors[-1])
        if 'Traceback' in stderr:
            return codes.ERROR_PROGRAM_CRASHED.format(message=last_line(stderr))
        return codes.ERROR_OUTPUT_MISSING.format(message=last_line(stderr, job_files.FINAL_DUMP))

    def failure_of_conversion(self, stderr: str) -> ExitCode:
        """Return the exit code of a job without a converted model, which makes LAMMPS miss a file."""
        if match := _NO_HEAD.search(stderr):
            return self.exit_codes.ERROR_INPUT_REFUSED.format(message=f'{_NO_HEAD_MESSAGE} ({match[0]})')
        code = self.node.inputs.convert_code.full_label
        message = f'{code} did not convert the model: {last_line(stderr)}'
        if 'ModuleNotFoundError' in message or 'ImportError' in message:
            return self.exit_codes.ERROR_ENGINE_MISSING.format(message=message)
        return self.exit_codes.ERROR_PROGRAM_CRASHED.format(message=message)

    def _parse_run(self, stdout: str, files: Path) -> ExitCode | None:
        try:
            run = read_run(self._start(), self.node.inputs.parameters.get_dict(), stdout, files, self._head(stdout))
        except (FormatError, OSError, KeyError, ValueError) as error:
            return self.exit_codes.ERROR_OUTPUT_INVALID.format(message=f'{type(error).__name__}: {error}')
        if (evaluator := job_files.read_evaluator(stdout)) and 'not used' in evaluator[1]:
            self.logger.warning(f'evaluator {evaluator[0]}: {evaluator[1]}')
        completed = emit_md_outputs(self.out, run)
        if halted := _HALTED.search(stdout):
            return self.exit_codes.ERROR_TEMPERATURE_RUNAWAY.format(message=halted[0])
        return None if completed else self.exit_codes.ERROR_OUT_OF_WALLTIME

    def _head(self, stdout: str) -> str | None:
        """Return the evaluated head: printed by the launcher or, with a converted model, the head of the potential."""
        if head := job_files.read_head(stdout):
            return head
        return self.node.inputs.potential.head if 'potential' in self.node.inputs else None

    def _start(self) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers [n] and cell [3,3] of the start."""
        inputs = self.node.inputs
        atoms = inputs.structure.get_ase() if 'structure' in inputs else inputs.state.get_atoms()
        return atoms.numbers, atoms.cell.array


def read_run(
    start: tuple[np.ndarray, np.ndarray],
    parameters: dict[str, Any],
    stdout: str,
    files: Path,
    head: str | None = None,
) -> MdRun:
    """Return the run from the files in a folder.

    :param start: numbers [n] and cell [3,3] at the start of the run.
    :param head: head of the MACE model.
    :raises FormatError: for a damaged file.
    """
    numbers, cell = start
    frame, ensemble = LammpsFrame.of_cell(cell), parameters['ensemble']
    tracers, centres = _recorded(files, job_files.TRACER_DUMP, job_files.CENTRE_SERIES, parameters, 'tracer_stride')
    frames, energies = _recorded(files, job_files.FRAME_DUMP, job_files.FRAME_SERIES, parameters, 'frame_stride')
    final = read_dump(files / job_files.FINAL_DUMP)
    restart = files / job_files.RESTART_OUT

    def cells(dump: Dump) -> np.ndarray:
        """Return the cells of a dump; a fixed cell is the exact cell of the start."""
        return frame.from_lammps(dump.cells) if ensemble == 'npt' else np.tile(cell, (len(dump.steps), 1, 1))

    return MdRun(
        parameters=parameters,
        numbers=numbers,
        tracer_positions=frame.from_lammps(tracers.vectors(*_POSITIONS)),
        host_centre=frame.from_lammps(np.stack([centres[f'centre_{axis}'] for axis in 'xyz'], axis=-1)),
        tracer_steps=tracers.steps,
        tracer_cells=cells(tracers) if ensemble == 'npt' else cell,
        frame_steps=frames.steps,
        frame_positions=frame.from_lammps(frames.vectors(*_POSITIONS)),
        frame_velocities=frame.from_lammps(frames.vectors(*_VELOCITIES)) * FS_IN_PS,
        frame_cells=cells(frames),
        frame_energies=energies['etotal'],
        thermo=_read_thermo(files, parameters),
        final_step=int(final.steps[0]),
        final_positions=frame.from_lammps(final.vectors(*_POSITIONS)[0]),
        final_velocities=frame.from_lammps(final.vectors(*_VELOCITIES)[0]) * FS_IN_PS,
        final_cell=cells(final)[0],
        restart=restart.read_bytes() if restart.is_file() else None,
        engine=ENGINE,
        thermostat=script.THERMOSTATS[ensemble],
        barostat=script.BAROSTATS[ensemble],
        evaluator=read_evaluator(stdout),
        head=head,
        versions=read_versions(stdout),
    )


def _recorded(
    files: Path, dump_name: str, series_name: str, parameters: dict[str, Any], stride: str
) -> tuple[Dump, dict[str, np.ndarray]]:
    """Return a dump and a series, reduced to their common steps in this run."""
    dump, series = read_dump(files / dump_name), read_series(files / series_name)
    steps = series['now'].astype(int)
    common = np.intersect1d(dump.steps, steps)
    common = common[_belongs(common, parameters, stride)]
    return dump.select(np.isin(dump.steps, common)), {
        key: values[np.isin(steps, common)] for key, values in series.items()
    }


def _belongs(steps: np.ndarray, parameters: dict[str, Any], stride: str) -> np.ndarray:
    """Return a mask of the recorded steps: multiples of the stride after the first step, and step 0."""
    return (steps % parameters[stride] == 0) & ((steps > parameters['first_step']) | (steps == 0))


def _read_thermo(files: Path, parameters: dict[str, Any]) -> dict[str, np.ndarray]:
    series = read_series(files / job_files.THERMO_SERIES)
    kept = _belongs(series['now'].astype(int), parameters, 'thermo_stride')
    series = {key: values[kept] for key, values in series.items()}
    return {
        'steps': series['now'].astype(int),
        'temperature_k': series['temp'],
        'potential_energy_ev': series['pe'],
        'kinetic_energy_ev': series['ke'],
        'pressure_gpa': series['press'] * BAR_IN_GPA,
        'volume_a3': series['vol'],
    }


def read_evaluator(stdout: str) -> str:
    """Return the evaluator of the potential: ``symmetrix`` or ``torch`` in the launcher, or LAMMPS' own pair style."""
    evaluator = job_files.read_evaluator(stdout)
    return evaluator[0] if evaluator else 'pair_style mace'


def read_versions(stdout: str) -> dict[str, str]:
    """Return the versions of LAMMPS and the launcher."""
    versions = job_files.read_versions(stdout)
    if match := _LAMMPS.search(stdout):
        versions['LAMMPS'] = match[1]
    if launcher := job_files.read_launcher(stdout):
        versions[job_files.LAUNCHER] = launcher
    return versions
