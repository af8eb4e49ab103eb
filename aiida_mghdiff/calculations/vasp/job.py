"""One job of VASP: its files, the stop before the wall time, the reducing program, and the retrieved files.

Each of the six jobs adds its own parts. A port has the same name in all of them: ``parameters`` has the user's own
INCAR tags, ``potcars`` a POTCAR for each element, ``potential`` the force field that VASP learned, ``state`` the start
of a continued run. Only in ``mghdiff.vasp.md``, ``parameters`` has the settings of MD jobs, with the user's own INCAR
tags under the key ``incar``.

POTCARs are licensed. Their content is written only into the folder of a job, never into a repository. The folder of a
dry run has titles and hashes instead. ``vaspout.h5`` contains a copy of them and is never retrieved.

The handlers of aiida-vasp's ``VaspWorkChain`` (SCF, NELM, unfinished relaxation) are not used: they need the output
``misc`` of its parser and the scratch folder of the failed job, and they change tags without provenance.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo, CodeRunMode
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from aiida_vasp.calcs.vasp import VaspCalculation
from aiida_vasp.data.potcar import PotcarData
from ase import Atoms

from aiida_mghdiff.calculations.exit_codes import JOB_FAILURES, define_exit_codes
from aiida_mghdiff.calculations.mpi import MpiJob, runs_under_mpi
from aiida_mghdiff.calculations.program import CachedIfContinued, drop_foreign, set_options, zipapp_bytes
from aiida_mghdiff.calculations.validation import IS_COUNT
from aiida_mghdiff.calculations.vasp.force_field import FORCE_FIELD
from aiida_mghdiff.calculations.vasp.known_tags import misspelt_message
from aiida_mghdiff.data.md_state import RESTART_FILE
from aiida_mghdiff.formats.incar import write_incar
from aiida_mghdiff.formats.job_files import (
    CONTCAR,
    INPUT_FILE,
    OSZICAR,
    OUTCAR,
    REDUCE_STDOUT,
    REDUCED,
    TRAJECTORY,
    ZIPAPP,
)
from aiida_mghdiff.formats.kpoints import write_kpoints
from aiida_mghdiff.formats.poscar import Poscar, require_grouped, write_poscar
from aiida_mghdiff.science.trajectory_reduction import ReductionPlan

ENGINE = 'vasp'
STDOUT = 'vasp_output'
STOPPER = 'mghdiff_stopper'
#: The retrieved last lines of VASP's standard output, which has at least one line for each step.
LAST_LINES = 'vasp_last_lines'
KEPT_LINES = 500

#: Files of a run with moving atoms.
RUN_FILES = (CONTCAR, OSZICAR)
#: From this NWRITE on, which is VASP's default, OUTCAR has the forces and the SCF of every step.
FEWEST_NWRITE = 2

#: Fraction of the wall time reserved for the step in progress and VASP's final output. A learning step may take a whole
#: single point, followed by a regression.
RESERVE_RUN, RESERVE_TRAIN = 0.05, 0.15

#: Inputs of aiida-vasp that are removed: no job depends on the scratch folder of an earlier job.
_FOREIGN_INPUTS = (
    'potential',
    'structure',
    'settings',
    'dynamics',
    'charge_density',
    'wavefunctions',
    'restart_folder',
)
#: Tags that make VASP read WAVECAR or CHGCAR.
_RESTART_TAGS = {'istart': (1, 2, 3), 'icharg': (1, 11)}


def own_tags_message(tags: Mapping[str, Any], set_by_job: Iterable[str] = (), where: str = 'parameters') -> str | None:
    """Return a message about a fault in the user's INCAR tags, or None.

    :param where: place of the tags, for the message.
    """
    if wrong := sorted(tag for tag in tags if tag != tag.lower()):
        return f'{where}: write {", ".join(wrong)} in lower case.'
    if taken := sorted(set(tags) & set(set_by_job)):
        return f'{where}: {", ".join(taken)} cannot be given, because the job sets it: leave it out.'
    if read := [tag for tag, values in _RESTART_TAGS.items() if tags.get(tag) in values]:
        return (
            f'{where}: {read[0]} = {tags[read[0]]} reads a file of an earlier job, but these jobs begin without it: '
            f'leave out {read[0]}.'
        )
    if message := misspelt_message(tags, where):
        return message
    nwrite = tags.get('nwrite', FEWEST_NWRITE)
    if IS_COUNT.holds(nwrite) and nwrite >= FEWEST_NWRITE:
        return None
    return (
        f'{where}: nwrite = {nwrite!r}: below {FEWEST_NWRITE} VASP leaves forces and the SCF out of '
        f'OUTCAR for all steps but the first and the last; leave out nwrite, or set {FEWEST_NWRITE}.'
    )


def symbols_message(symbols: Sequence[str]) -> str | None:
    """Return a message if atoms of a species are not contiguous, or None."""
    try:
        require_grouped(symbols)
    except ValueError as error:
        return f'structure: {error} the atoms by element: VASP assigns the species of POSCAR in the order of POTCAR.'
    return None


def potcars_message(symbols: Sequence[str], potcars: Mapping[str, PotcarData]) -> str | None:
    """Return a message if the POTCAR of an element is missing or belongs to another element, or None."""
    elements = list(dict.fromkeys(symbols))
    missing = [element for element in elements if element not in potcars]
    if missing:
        return (
            f'potcars has no POTCAR for {", ".join(missing)}: upload a family (`aiida-vasp potcar uploadfamily`), or '
            'for the stand-in take the POTCARs of `aiida-mghdiff setup`.'
        )
    wrong = [element for element in elements if potcars[element].element != element]
    if not wrong:
        return None
    return f'potcars.{wrong[0]} is a POTCAR of {potcars[wrong[0]].element}: give a POTCAR of {wrong[0]}.'


def start_atoms(inputs: Mapping[str, Any]) -> Atoms:
    """Return the atoms that a run starts from."""
    return inputs['structure'].get_ase() if 'structure' in inputs else inputs['state'].get_atoms()


def poscar_text(atoms: Atoms, velocities: np.ndarray | None) -> str:
    """Return a POSCAR of atoms that are grouped by element.

    :param velocities: [n,3] in Å/fs; if None, VASP draws them at TEBEG.
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


def integrator_of(mdalgo: int) -> str:
    """Return the integrator of a run's state; the predictor-corrector block of CONTCAR is valid only for it."""
    return f'MDALGO = {mdalgo}'


def stopping_text(max_wallclock_seconds: int | None, reserve: float) -> tuple[str, str]:
    """Return the shell lines before and after VASP that make VASP end by itself before its wall time.

    VASP has no clock and handles no signal. At every ionic step it checks STOPCAR; with ``LSTOP`` it finishes the step
    and writes all its files. So a shell in the background writes STOPCAR when the time is near. If VASP ends earlier,
    the shell and its ``sleep`` are ended; otherwise a machine without a queue would keep them.
    """
    if not max_wallclock_seconds:
        return '', ''
    seconds = int(max_wallclock_seconds * (1 - reserve))
    wait = f"trap 'kill $!; exit' TERM; sleep {seconds} & wait $!; echo 'LSTOP = .TRUE.' > STOPCAR"
    start = f'( {wait} ) < /dev/null > /dev/null 2>&1 &\n{STOPPER}=$!'
    return start, f'kill ${STOPPER} 2> /dev/null'


class VaspJob(MpiJob, CachedIfContinued, VaspCalculation):
    """Base of all jobs of VASP. The Code is ``vasp_std``, or ``mghdiff-vasp-standin``."""

    _VASP_OUTPUT = STDOUT
    _PARSER: ClassVar[str]
    #: The kept part of the standard output: all of it, or ``LAST_LINES``.
    _KEPT_OUTPUT: ClassVar[str] = STDOUT
    #: Files that a parser reads once, in addition to OUTCAR and the standard output.
    _TEMPORARY_FILES: ClassVar[tuple[str, ...]] = ()
    #: Inputs of aiida-vasp that other jobs of VASP keep, but this job does not need.
    _UNUSED_INPUTS: ClassVar[tuple[str, ...]] = ()
    #: Whether the second program of the job can reduce a trajectory.
    _REDUCES: ClassVar[bool] = False

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports and exit codes that all jobs of VASP share."""
        super().define(spec)
        for name in (*_FOREIGN_INPUTS, *cls._UNUSED_INPUTS):
            del spec.inputs[name]
        drop_foreign(spec)
        set_options(spec, parser_name=cls._PARSER, output_filename=cls._KEPT_OUTPUT)
        spec.inputs['parameters'].help = 'INCAR tags of your own.'
        spec.input_namespace('potcars', valid_type=PotcarData, dynamic=True, help='POTCAR of each element.')
        if cls._REDUCES:
            spec.input(
                'reduce_code',
                valid_type=orm.AbstractCode,
                required=False,
                help='Python interpreter (with numpy, h5py and ase) on the machine of VASP, which reduces trajectories '
                'there. Without it XDATCAR and OUTCAR are retrieved, gigabytes per ns, and reduced by the '
                'parser.',
            )
        spec.output('results', valid_type=orm.Dict, help='Energies, forces, versions and convergence.')
        spec.default_output_node = 'results'
        define_exit_codes(spec, *JOB_FAILURES, 'CODE_LACKS_ELEMENT', 'OUTPUT_TRUNCATED')

    def own_tags(self) -> dict[str, Any]:
        """Return the user's own INCAR tags."""
        return self.inputs.parameters.get_dict() if 'parameters' in self.inputs else {}

    def set_tags(self) -> dict[str, Any]:
        """Return the INCAR tags that the job itself sets."""
        return {}

    @property
    def _parameters(self) -> dict[str, Any]:
        """Return all INCAR tags; aiida-vasp asks for them."""
        return self.own_tags() | self.set_tags()

    def start_atoms(self) -> Atoms:
        """Return the atoms of POSCAR; POTCAR has the same order."""
        return start_atoms(self.inputs)

    def goes_on(self) -> bool:
        """Return whether VASP's own CONTCAR, stored in the state, is the POSCAR."""
        return False

    def iconst(self) -> str | None:
        """Return the ICONST of a job without an ICONST input."""
        return None

    def plan(self) -> ReductionPlan | None:
        """Return the plan for reducing the trajectory; None for a job without a trajectory."""
        return None

    def reserve(self) -> float | None:
        """Return the fraction of the wall time reserved for the end of VASP; None if STOPCAR cannot stop the job."""
        return RESERVE_RUN

    def verify_inputs(self) -> None:
        """Do nothing: the validators of the ports check the inputs."""

    def write_incar(self, dst: str) -> None:
        """Write INCAR; aiida-vasp's own writer does not know the tags ML_*."""
        Path(dst).write_text(write_incar(self._parameters))

    def write_kpoints(self, dst: str) -> None:
        """Write KPOINTS; VASP needs the file even with a force field."""
        if 'kpoints' in self.inputs:
            super().write_kpoints(dst)
        else:
            Path(dst).write_text(write_kpoints((1, 1, 1)))

    def write_poscar(self, dst: str) -> None:
        """Write POSCAR with all digits, and the velocities of a state."""
        if not self.goes_on():
            state = self.inputs.get('state')
            velocities = None if state is None else state.get_array('velocities')
            Path(dst).write_text(poscar_text(self.start_atoms(), velocities))

    def write_potcar(self, dst: str) -> None:
        """Write POTCAR; in a dry run titles and hashes."""
        Path(dst).write_bytes(self.potcar_of(self.start_atoms().get_chemical_symbols()))

    def potcar_of(self, symbols: Sequence[str]) -> bytes:
        """Return the POTCAR of atoms; in a dry run titles and hashes instead."""
        nodes = [self.inputs.potcars[symbol] for symbol in dict.fromkeys(symbols)]
        if not self.inputs.metadata.get('dry_run'):
            return b''.join(node.get_content() for node in nodes)
        return b''.join(f'{node.title}  sha512 {node.sha512}\n'.encode() for node in nodes)

    def write_additional(self, folder: Folder, calcinfo: CalcInfo) -> None:
        """List the force field, VASP's own CONTCAR and ICONST among the input files, or write ICONST."""
        super().write_additional(folder, calcinfo)
        inputs = self.inputs
        if 'potential' in inputs:
            calcinfo.local_copy_list.append(inputs.potential.copy_entry(FORCE_FIELD))
        if self.goes_on():
            calcinfo.local_copy_list.append((inputs.state.uuid, RESTART_FILE, 'POSCAR'))
        if 'iconst' in inputs:
            calcinfo.local_copy_list.append((inputs.iconst.uuid, inputs.iconst.filename, 'ICONST'))
        elif text := self.iconst():
            Path(folder.get_abs_path('ICONST')).write_text(text)

    def temporary_files(self) -> list[Any]:
        """Return the files that a parser reads once; only the nodes made from them are kept."""
        return [OUTCAR, *self._TEMPORARY_FILES, *([] if self.plan() is None else [TRAJECTORY])]

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write all files, stop VASP before the wall time, and list the files to retrieve."""
        calcinfo = super().prepare_for_submission(folder)
        calcinfo.codes_run_mode = CodeRunMode.SERIAL
        code, options = self.inputs.code, self.inputs.metadata.options
        calcinfo.codes_info[0].withmpi = runs_under_mpi(type(self), code, self.node.computer, options)
        calcinfo.provenance_exclude_list = ['POTCAR']
        calcinfo.retrieve_list = [self._KEPT_OUTPUT]
        calcinfo.retrieve_temporary_list = [STDOUT, *self.temporary_files()]
        self._stop_in_time(calcinfo)
        plan = self.plan()
        if plan is not None and 'reduce_code' in self.inputs:
            self._reduce(folder, calcinfo, plan)
        return calcinfo

    def _stop_in_time(self, calcinfo: CalcInfo) -> None:
        wall, reserve = self.inputs.metadata.options.get('max_wallclock_seconds'), self.reserve()
        calcinfo.prepend_text, stop = ('', '') if reserve is None else stopping_text(wall, reserve)
        keep = f'tail -n {KEPT_LINES} {STDOUT} > {LAST_LINES}' if self._KEPT_OUTPUT == LAST_LINES else ''
        calcinfo.append_text = '\n'.join(filter(None, (keep, stop)))

    def _reduce(self, folder: Folder, calcinfo: CalcInfo, plan: ReductionPlan) -> None:
        """Add the second program.

        It renames OUTCAR and XDATCAR, so they are retrieved only if it failed or the job was killed before.
        """
        code, info = self.inputs.reduce_code, CodeInfo()
        info.code_uuid, info.cmdline_params = code.uuid, [ZIPAPP]
        info.stdout_name, info.withmpi = REDUCE_STDOUT, False
        calcinfo.codes_info.append(info)
        calcinfo.retrieve_temporary_list += [REDUCED, REDUCE_STDOUT]
        calcinfo.prepend_text = f'{_require(code)}{calcinfo.prepend_text}'
        Path(folder.get_abs_path(ZIPAPP)).write_bytes(zipapp_bytes('vasp.reduce'))
        with folder.open(INPUT_FILE, 'w') as handle:
            json.dump(plan.to_json(), handle, sort_keys=True)


def _require(code: orm.AbstractCode) -> str:
    """Return the line that ends a job before VASP begins if the executable of its second code is missing."""
    if not isinstance(code, orm.InstalledCode):
        return ''
    return f'type {shlex.quote(str(code.get_executable()))} > /dev/null || exit 127\n'
