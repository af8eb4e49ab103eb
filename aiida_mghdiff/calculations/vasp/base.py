"""What the jobs of VASP share: the text of their input files, the stop before the wall time, the distilling program.

POTCARs are licensed. Their content goes into the folder of a job only, never into a repository, and not into the folder
of a dry run, which has titles and hashes instead. ``vaspout.h5`` holds a copy of them and is never retrieved.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo, CodeRunMode
from aiida.common.folders import Folder
from aiida.engine import CalcJob, CalcJobProcessSpec
from aiida_vasp.data.potcar import PotcarData
from ase import Atoms

from aiida_mghdiff.calculations.program import EXECUTABLE_MISSING, ZIPAPP, define_exit_codes, zipapp_bytes
from aiida_mghdiff.calculations.validation import IS_COUNT
from aiida_mghdiff.data.md_state import RESTART_FILE, MdStateData
from aiida_mghdiff.formats.poscar import Poscar, require_grouped, write_poscar
from aiida_mghdiff.science.trajectory_reduction import DistilPlan

ENGINE = 'vasp'
STDOUT = 'vasp_output'
STOPPER = 'mghdiff_stopper'
#: What is kept of VASP's standard output, which has a line or more a step.
LAST_LINES = 'vasp_last_lines'
_KEPT_LINES = 500

#: Files that a run leaves and a parser reads once; of these nothing but the distilled nodes is kept.
RUN_FILES = (STDOUT, 'CONTCAR', 'OSZICAR')
OUTCAR = 'OUTCAR'
#: From this NWRITE on, VASP's default, OUTCAR has forces and electronic convergence of every step.
FEWEST_NWRITE = 2
TRAJECTORY = 'XDATCAR'
DISTILLED = 'distilled.npz'
DISTIL_INPUT = 'input.json'
DISTIL_STDOUT = 'distil.txt'

#: Part of the wall time that is kept for the step in progress and what VASP writes at its end. A training step may be
#: a whole single point, and a regression comes after it.
RESERVE_RUN, RESERVE_TRAIN = 0.05, 0.15

_EXIT_CODES = (
    (210, 'ENGINE_MISSING', 'The environment of the job lacks a package: {message}', True),
    (211, 'POTENTIAL_UNREADABLE', 'VASP cannot read the force field: {message}', False),
    (212, 'ELEMENT_UNKNOWN', 'An element is not known: {message}', False),
    (213, 'INPUT_REFUSED', 'VASP refused its input: {message}', False),
    EXECUTABLE_MISSING,
    (300, 'OUTPUT_MISSING', 'The job left no output file {message}; look at the scheduler output.', True),
    (302, 'OUTPUT_INVALID', 'An output file cannot be read: {message}', True),
    (303, 'PROGRAM_CRASHED', 'VASP ended unexpectedly: {message}', True),
    (310, 'OUTPUT_TRUNCATED', 'Files end in the middle; what is whole was kept: {message}', True),
    (400, 'OUT_OF_WALLTIME', 'The job stopped before its wall time, or at it; its outputs continue it.', False),
    (410, 'OUT_OF_MEMORY', 'The job ran out of memory: {message}', True),
    (420, 'NON_FINITE', 'Energies or forces are no finite numbers: {message}', False),
)


def define_vasp_exit_codes(spec: CalcJobProcessSpec) -> None:
    """Define the failures that every run of VASP can end with."""
    define_exit_codes(spec, _EXIT_CODES)


def define_distil_code(spec: CalcJobProcessSpec) -> None:
    """Define the optional second code of a run."""
    spec.input(
        'distil_code',
        valid_type=orm.AbstractCode,
        required=False,
        help='Python interpreter (with numpy, h5py and ase) on the machine of VASP: distils the trajectory where it '
        'lies. Without it XDATCAR and OUTCAR are retrieved, gigabytes a ns, and distilled by the parser.',
    )


def incar_text(tags: Mapping[str, Any]) -> str:
    """Return an INCAR: one tag a line, sorted, upper case; null leaves a tag out, a list is separated by blanks."""
    rows = {str(tag).upper(): value for tag, value in tags.items() if value is not None}
    return ''.join(f'{tag} = {_incar_value(rows[tag])}\n' for tag in sorted(rows))


def _incar_value(value: Any) -> str:
    if isinstance(value, bool):
        return '.TRUE.' if value else '.FALSE.'
    if isinstance(value, list | tuple):
        return ' '.join(map(_incar_value, value))
    return repr(value) if isinstance(value, float) else str(value)


def kpoints_text(mesh: Sequence[int]) -> str:
    """Return a KPOINTS with a mesh that is centred at Γ."""
    return f'mesh centred at Gamma\n0\nGamma\n{" ".join(map(str, mesh))}\n0 0 0\n'


def nwrite_message(tags: Mapping[str, Any]) -> str | None:
    """Return that OUTCAR would lack numbers of the steps between the first and the last one."""
    nwrite = tags.get('nwrite', FEWEST_NWRITE)
    if IS_COUNT.holds(nwrite) and nwrite >= FEWEST_NWRITE:
        return None
    return (
        f'parameters: nwrite = {nwrite!r}: below {FEWEST_NWRITE} VASP leaves forces and electronic convergence out of '
        f'OUTCAR for the steps between the first and the last one; leave out nwrite, or set {FEWEST_NWRITE}.'
    )


def symbols_message(symbols: Sequence[str]) -> str | None:
    """Return what is wrong with the order of the atoms: a species that comes back after another one."""
    try:
        require_grouped(symbols)
    except ValueError as error:
        return f'structure: {error} the atoms by element: VASP takes the order of POTCAR for that of the species.'
    return None


def potcars_message(symbols: Sequence[str], potcars: Mapping[str, PotcarData], port: str) -> str | None:
    """Return which element of a structure has no POTCAR, or one of another element."""
    elements = list(dict.fromkeys(symbols))
    missing = [element for element in elements if element not in potcars]
    if missing:
        return (
            f'{port} has no POTCAR for {", ".join(missing)}: upload a family (`aiida-vasp potcar uploadfamily`), or '
            'for the stand-in take what `aiida-mghdiff setup` made.'
        )
    wrong = [element for element in elements if potcars[element].element != element]
    return f'{port}.{wrong[0]} is a POTCAR of {potcars[wrong[0]].element}: give that of the element.' if wrong else None


def start_atoms(structure: orm.StructureData | None, state: MdStateData | None) -> Atoms:
    """Return the atoms that a run starts from."""
    return structure.get_ase() if structure is not None else state.get_atoms()


def poscar_text(atoms: Atoms, velocities: np.ndarray | None) -> str:
    """Return a POSCAR of atoms that are grouped by element.

    :param velocities: [n,3] in Å/fs; None where VASP is to draw them at TEBEG.
    """
    symbols = atoms.get_chemical_symbols()
    blocks = list(dict.fromkeys(symbols))
    return write_poscar(
        Poscar(
            comment=atoms.get_chemical_formula(),
            symbols=blocks,
            counts=[symbols.count(symbol) for symbol in blocks],
            cell=atoms.cell.array,
            positions=atoms.positions,
            velocities=velocities,
        )
    )


def write_start(folder: Folder, structure: orm.StructureData | None, state: MdStateData | None) -> None:
    """Write the POSCAR of a structure, or of the arrays of a state."""
    velocities = None if state is None else state.get_array('velocities')
    with folder.open('POSCAR', 'w') as handle:
        handle.write(poscar_text(start_atoms(structure, state), velocities))


def integrator_of(mdalgo: int) -> str:
    """Return how the state of a run names its equations of motion: CONTCAR's predictor-corrector block is of these."""
    return f'MDALGO = {mdalgo}'


def restart_entry(state: MdStateData) -> tuple[str, str, str]:
    """Return the entry of a ``local_copy_list`` that lays VASP's own CONTCAR down as POSCAR."""
    return (state.uuid, RESTART_FILE, 'POSCAR')


def potcar_bytes(symbols: Sequence[str], potcars: Mapping[str, PotcarData], dry_run: bool) -> bytes:
    """Return the POTCAR of a structure; for a dry run titles and hashes in its place."""
    nodes = [potcars[symbol] for symbol in dict.fromkeys(symbols)]
    if not dry_run:
        return b''.join(node.get_content() for node in nodes)
    return b''.join(f'{node.title}  sha512 {node.sha512}\n'.encode() for node in nodes)


def stopping_text(max_wallclock_seconds: int | None, reserve: float) -> tuple[str, str]:
    """Return what the job script does before and after VASP, so that VASP ends by itself before its wall time.

    VASP has no clock of its own and takes no signal: it looks for STOPCAR at every ionic step, and ``LSTOP`` there lets
    it finish the step and write all of its files. So a shell in the background writes that file when the time is near.
    Where VASP is done before, the shell and its ``sleep`` are ended, or a machine without queue would keep them.
    """
    if not max_wallclock_seconds:
        return '', ''
    seconds = int(max_wallclock_seconds * (1 - reserve))
    wait = f"trap 'kill $!; exit' TERM; sleep {seconds} & wait $!; echo 'LSTOP = .TRUE.' > STOPCAR"
    start = f'( {wait} ) < /dev/null > /dev/null 2>&1 &\n{STOPPER}=$!'
    return start, f'kill ${STOPPER} 2> /dev/null'


def finish_calcinfo(
    calculation: CalcJob, folder: Folder, calcinfo: CalcInfo, plan: DistilPlan | None, reserve: float = RESERVE_RUN
) -> None:
    """Fill in what the runs of VASP share: codes, the stop before the wall time, what is retrieved.

    :param plan: what of the trajectory is kept; None for a job without one.
    """
    inputs = calculation.inputs
    wall = inputs.metadata.options.get('max_wallclock_seconds')
    calcinfo.prepend_text, stop = stopping_text(wall, reserve)
    calcinfo.append_text = f'tail -n {_KEPT_LINES} {STDOUT} > {LAST_LINES}\n{stop}'
    calcinfo.codes_info = [vasp_codeinfo(inputs.code)]
    calcinfo.codes_run_mode = CodeRunMode.SERIAL
    calcinfo.provenance_exclude_list = ['POTCAR']
    calcinfo.retrieve_list = [LAST_LINES]
    distils = plan is not None and 'distil_code' in inputs
    calcinfo.retrieve_temporary_list = [*RUN_FILES, OUTCAR, *([] if plan is None else [TRAJECTORY])]
    if not distils:
        return
    # the program renames OUTCAR and XDATCAR: these come back only where it failed, or a killed job never reached it
    calcinfo.retrieve_temporary_list += [DISTILLED, DISTIL_STDOUT]
    calcinfo.codes_info.append(_distil_info(inputs.distil_code))
    calcinfo.prepend_text = f'{_require(inputs.distil_code)}{calcinfo.prepend_text}'
    with folder.open(ZIPAPP, 'wb') as handle:
        handle.write(zipapp_bytes('vasp.reduce'))
    with folder.open(DISTIL_INPUT, 'w') as handle:
        json.dump(plan.to_json(), handle, sort_keys=True)


def vasp_codeinfo(code: orm.AbstractCode) -> CodeInfo:
    """Return how VASP is called: without arguments, all that it prints in one file."""
    info = CodeInfo()
    info.code_uuid = code.uuid
    info.stdout_name = STDOUT
    info.join_files = True
    return info


def _require(code: orm.AbstractCode) -> str:
    """Return the line that ends a job before VASP begins where the executable of its second code is not there."""
    if not isinstance(code, orm.InstalledCode):
        return ''
    return f'type {shlex.quote(str(code.get_executable()))} > /dev/null || exit 127\n'


def _distil_info(code: orm.AbstractCode) -> CodeInfo:
    info = CodeInfo()
    info.code_uuid = code.uuid
    info.cmdline_params = [ZIPAPP]
    info.stdout_name = DISTIL_STDOUT
    info.withmpi = False
    return info
