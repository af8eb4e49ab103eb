"""The LAMMPS script of a molecular-dynamics run."""

from __future__ import annotations

from typing import Any

from aiida_mghdiff.calculations.md import thermostat_seed
from aiida_mghdiff.formats.job_files import (
    CENTRE_SERIES,
    CONVERTED_FILE,
    DATA_FILE,
    FINAL_DUMP,
    FRAME_DUMP,
    FRAME_SERIES,
    LAUNCHER,
    RESTART_IN,
    RESTART_OUT,
    RUNAWAY_FIX,
    THERMO_SERIES,
    TRACER_DUMP,
    launcher_comment,
    progress_line,
)
from aiida_mghdiff.science.runaway import runaway_limit
from aiida_mghdiff.science.units import FS_IN_PS, GPA_IN_BAR

_LANGEVIN = 'LAMMPS fix langevin, zero momentum (fix momentum)'
THERMOSTATS = {'nve': None, 'nvt': _LANGEVIN, 'npt': _LANGEVIN}
BAROSTATS = {'nve': None, 'nvt': None, 'npt': 'LAMMPS fix nph iso (Martyna-Tobias-Klein)'}

_PROGRESS_LINES = 100


def md_script(
    parameters: dict[str, Any],
    types: list[str],
    *,
    draws_velocities: bool,
    reads_restart: bool,
    head: str | None = None,
    wall_seconds: int | None = None,
) -> str:
    """Return the script of one run; a LAMMPS with MACE and ``mghdiff-lmp`` run the same text.

    :param parameters: complete MD parameters.
    :param types: element of each LAMMPS atom type, the tracer last.
    :param draws_velocities: whether the start has no velocities.
    :param reads_restart: whether to start from LAMMPS' own restart file, which has the state of the barostat.
    :param wall_seconds: time after which the run stops by itself, so that it still writes its final state.
    """
    lines = [
        *_setup(parameters, types, reads_restart, head),
        *_dynamics(parameters, draws_velocities),
        *_recording(parameters),
        *([f'timer timeout {wall_seconds} every 1'] if wall_seconds else []),
        f'run {parameters["steps"]}',
        f'write_dump all custom {FINAL_DUMP} id xu yu zu vx vy vz modify sort id format float %.17g',
        *([f'write_restart {RESTART_OUT}'] if parameters['ensemble'] == 'npt' else []),
    ]
    return '\n'.join(lines) + '\n'


def _setup(parameters: dict[str, Any], types: list[str], reads_restart: bool, head: str | None) -> list[str]:
    options = {name: parameters[name] for name in ('evaluator', 'dtype')}
    return [
        f'# Molecular dynamics by aiida-mghdiff. The next comment is for {LAUNCHER}.',
        launcher_comment(**options, **({'head': head} if head else {})),
        'units metal',
        'atom_style atomic',
        'atom_modify map yes',
        'newton on',
        'box tilt large',
        f'read_restart {RESTART_IN}' if reads_restart else f'read_data {DATA_FILE}',
        f'reset_timestep {parameters["first_step"]}',
        'pair_style mace no_domain_decomposition',
        f'pair_coeff * * {CONVERTED_FILE} {" ".join(types)}',
        f'group tracer type {len(types)}',
        'group host subtract all tracer',
    ]


def _dynamics(parameters: dict[str, Any], draws_velocities: bool) -> list[str]:
    temperature, ensemble = parameters['temperature_k'], parameters['ensemble']
    lines = [f'timestep {parameters["time_step_fs"] * FS_IN_PS!r}']
    if draws_velocities:
        lines.append(f'velocity all create {temperature} {parameters["seed"]} mom yes rot no dist gaussian')
    lines.append(f'fix integrate all {_barostat(parameters) if ensemble == "npt" else "nve"}')
    if ensemble != 'nve':
        damping, seed = 1 / parameters['friction_per_ps'], thermostat_seed(parameters)
        lines.append(f'fix thermostat all langevin {temperature} {temperature} {damping!r} {seed}')
        # langevin's `zero yes` would spread the noise of heavy atoms evenly, which heats light atoms
        lines.append('fix still all momentum 1 linear 1 1 1')
    return lines


def _barostat(parameters: dict[str, Any]) -> str:
    pressure = parameters['pressure_gpa'] * GPA_IN_BAR
    # the fixed point keeps the corner of the box at the origin, where the next segment expects it
    return f'nph iso {pressure!r} {pressure!r} {parameters["barostat_time_ps"]!r} fixedpoint 0 0 0'


def _recording(parameters: dict[str, Any]) -> list[str]:
    every = max(1, parameters['steps'] // _PROGRESS_LINES)
    limit = runaway_limit(parameters['temperature_k'])
    shown = {'t': '$(v_time:%.4f)ps', 'E': '$(v_etotal:%.4f)eV', 'T': '$(v_temp:%.1f)K'}
    progress = progress_line('${done}', parameters['steps'], **shown)
    tracer, frame, thermo = (parameters[f'{name}_stride'] for name in ('tracer', 'frame', 'thermo'))
    return [
        'compute centre host com',
        'variable now equal step',
        f'variable done equal step-{parameters["first_step"]}',
        f'variable time equal step*{parameters["time_step_fs"] * FS_IN_PS!r}',
        *(f'variable {name} equal {name}' for name in ('temp', 'pe', 'ke', 'etotal', 'press', 'vol')),
        *(f'variable centre_{name} equal c_centre[{axis}]' for axis, name in enumerate('xyz', 1)),
        f'dump tracers tracer custom {tracer} {TRACER_DUMP} id xu yu zu',
        'dump_modify tracers sort id format float %.10g first yes',
        _print_fix('centre', tracer, ('now', 'centre_x', 'centre_y', 'centre_z'), CENTRE_SERIES),
        f'dump frames all custom {frame} {FRAME_DUMP} id xu yu zu vx vy vz',
        'dump_modify frames sort id format float %.17g first yes',
        _print_fix('frames', frame, ('now', 'etotal'), FRAME_SERIES),
        _print_fix('thermo', thermo, ('now', 'temp', 'pe', 'ke', 'press', 'vol'), THERMO_SERIES),
        f'fix progress all print {every} "{progress}"',
        f'fix {RUNAWAY_FIX} all halt {every} v_temp > {limit!r} error soft',
        'thermo_style custom step temp pe ke press vol',
        f'thermo {every}',
        'thermo_modify flush yes',
    ]


def _print_fix(name: str, stride: int, variables: tuple[str, ...], file: str) -> str:
    values = ' '.join(f'${{{variable}}}' for variable in variables)
    return f'fix {name} all print {stride} "{values}" file {file} screen no title "# {" ".join(variables)}"'
