"""Molecular dynamics in LAMMPS with a MACE potential."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo, CodeRunMode
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from aiida_lammps.calculations.raw import LammpsRawCalculation

from aiida_mghdiff.calculations.exit_codes import JOB_FAILURES, define_exit_codes
from aiida_mghdiff.calculations.lammps import script
from aiida_mghdiff.calculations.md import MD_KEYS, define_md, has_own_restart, start_symbols, validate_md_inputs
from aiida_mghdiff.calculations.mpi import MpiJob, is_parallel, runs_under_mpi
from aiida_mghdiff.calculations.program import CachedIfContinued, set_options
from aiida_mghdiff.calculations.validation import keys_help
from aiida_mghdiff.data.architectures import MACE
from aiida_mghdiff.data.md_state import RESTART_FILE
from aiida_mghdiff.formats import job_files
from aiida_mghdiff.formats.lammps import write_data
from aiida_mghdiff.science.units import PS_IN_FS

ENGINE = 'lammps'
_RESERVE = 0.05


def validate_inputs(inputs: dict[str, Any], context: Any = None) -> str | None:
    """Return a message about a fault in the inputs, or None."""
    if message := validate_md_inputs(inputs, context):
        return message
    if not {'potential', 'parameters'} <= set(inputs):
        return None
    if inputs['potential'].architecture != MACE.name:
        return f'LAMMPS runs {MACE.name} potentials here, not {inputs["potential"].architecture}.'
    if inputs['parameters']['evaluator'] == 'as-learned':
        return 'parameters: evaluator = as-learned is for VASP: set auto, symmetrix or torch.'
    if 'code' in inputs and 'convert_code' not in inputs and needs_converter(inputs['code']):
        return f'convert_code is missing: {converter_message(inputs["code"])}'
    return None


def needs_converter(code: orm.AbstractCode) -> bool:
    """Return whether a LAMMPS reads a converted model: every LAMMPS except ``mghdiff-lmp`` does."""
    return is_parallel(code)


def converter_message(code: orm.AbstractCode) -> str:
    """Return why a LAMMPS needs a converter, and which command makes its code."""
    return (
        f'{code.full_label} is no {job_files.LAUNCHER}, so it needs a model that `mace_create_lammps_model` converted; '
        '`aiida-mghdiff setup --lmp` creates the code of the converter.'
    )


class LammpsMdCalculation(MpiJob, CachedIfContinued, LammpsRawCalculation):
    """One run of molecular dynamics: velocity Verlet, with Langevin noise, or with noise and an isotropic barostat.

    The Code is ``mghdiff-lmp``, or an ``lmp`` built with ML-MACE. Such an ``lmp`` reads a converted model. The program
    of ``convert_code`` (``mace_create_lammps_model``) converts the model in the same job.
    """

    CACHE_VERSION = 4
    CONTINUED_FROM = 'state'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define ports and exit codes."""
        super().define(spec)
        for name in ('script', 'files', 'filenames', 'settings'):
            del spec.inputs[name]
        set_options(spec, parser_name='mghdiff.lammps.md')
        words = keys_help('Complete settings.', MD_KEYS)
        spec.input('parameters', valid_type=orm.Dict, serializer=orm.to_aiida_type, help=words)
        spec.input(
            'convert_code',
            valid_type=orm.AbstractCode,
            required=False,
            help='`mace_create_lammps_model`, for a Code that is an `lmp` built with MACE; `mghdiff-lmp` needs none.',
        )
        define_md(spec)
        spec.default_output_node = 'results'
        for name in ('ERROR_PARSER_DETECTED_LAMMPS_RUN_ERROR', 'ERROR_OUTFILE_MISSING', 'ERROR_PARSING_OUTFILE'):
            del spec.exit_codes[name]
        define_exit_codes(spec, *JOB_FAILURES, 'ELEMENT_UNKNOWN', 'LAMMPS_ERROR')
        spec.inputs.validator = validate_inputs

    @classmethod
    def default_withmpi(cls, code: orm.AbstractCode, n_ranks: int) -> bool:
        """Return whether ``lmp`` runs under MPI by default."""
        return is_parallel(code) and n_ranks > 1

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write script and start, and list the files of the inputs."""
        with folder.open(self.inputs.metadata.options.input_filename, 'w') as handle:
            handle.write(self._script())
        if not has_own_restart(self.inputs, ENGINE):
            with folder.open(job_files.DATA_FILE, 'w') as handle:
                self._write_start(handle)
        calcinfo = CalcInfo()
        calcinfo.codes_info = list(self._codes())
        calcinfo.codes_run_mode = CodeRunMode.SERIAL
        calcinfo.local_copy_list = list(self._files())
        calcinfo.retrieve_list = [self.inputs.metadata.options.output_filename]
        calcinfo.retrieve_temporary_list = ['*.dump', '*.txt', job_files.RESTART_OUT]
        return calcinfo

    def _script(self) -> str:
        wall = self.inputs.metadata.options.get('max_wallclock_seconds')
        return script.md_script(
            self.inputs.parameters.get_dict(),
            self._types(),
            draws_velocities='structure' in self.inputs,
            reads_restart=has_own_restart(self.inputs, ENGINE),
            head=self._head(),
            wall_seconds=int(wall * (1 - _RESERVE)) if wall else None,
        )

    def _head(self) -> str | None:
        """Return the head to name; None for a model with a single head."""
        potential = self.inputs.potential
        return potential.head if potential.heads is None or len(potential.heads) > 1 else None

    def _types(self) -> list[str]:
        """Return the element of each LAMMPS atom type, the tracer last."""
        tracer = self.inputs.parameters['tracer_element']
        return [*sorted(set(start_symbols(self.inputs)) - {tracer}), tracer]

    def _write_start(self, handle: Any) -> None:
        if 'structure' in self.inputs:
            atoms, velocities = self.inputs.structure.get_ase(), None
        else:
            atoms = self.inputs.state.get_atoms()
            velocities = self.inputs.state.get_array('velocities') * PS_IN_FS
        symbols = atoms.get_chemical_symbols()
        write_data(handle, self._types(), symbols, atoms.cell.array, atoms.positions, velocities)

    def _codes(self) -> Iterator[CodeInfo]:
        options = self.inputs.metadata.options
        if 'convert_code' in self.inputs:
            head = self._head()
            dtype = self.inputs.parameters['dtype']
            arguments = [job_files.POTENTIAL_FILE, '--dtype', dtype, *(['--head', head] if head else [])]
            yield _code_info(self.inputs.convert_code, arguments, 'convert.log', withmpi=False)
        code, computer = self.inputs.code, self.node.computer
        withmpi = runs_under_mpi(type(self), code, computer, options)
        yield _code_info(code, ['-in', options.input_filename], options.output_filename, withmpi=withmpi)

    def _files(self) -> Iterator[tuple[str, str, str]]:
        yield self.inputs.potential.copy_entry()
        if has_own_restart(self.inputs, ENGINE):
            yield (self.inputs.state.uuid, RESTART_FILE, job_files.RESTART_IN)


def _code_info(code: orm.AbstractCode, arguments: list[str], stdout: str, *, withmpi: bool) -> CodeInfo:
    info = CodeInfo()
    info.code_uuid = code.uuid
    info.cmdline_params = arguments
    info.stdout_name = stdout
    info.withmpi = withmpi
    return info
