"""Base of the calculation jobs that run a program of this package, and the zipapp that carries it.

The program reaches the machine as one file, ``mghdiff.pyz``: a reproducible zipapp of the program and of all its
imports from this package. The Code is the Python interpreter of an environment with the engines, which needs nothing
else of this package.
"""

from __future__ import annotations

import functools
import io
import json
import zipfile
from typing import Any, ClassVar

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.common.links import LinkType
from aiida.engine import CalcJob, CalcJobProcessSpec

from aiida_mghdiff.calculations.exit_codes import JOB_FAILURES, define_exit_codes, has_ended_with
from aiida_mghdiff.calculations.mpi import define_mpi, refuse_mpi
from aiida_mghdiff.calculations.validation import Schema, keys_help
from aiida_mghdiff.formats.job_files import INPUT_FILE, RESULTS_FILE, ZIPAPP
from aiida_mghdiff.formats.sources import PACKAGE, archive_name, sources

#: AiiDA's own exit codes are below.
_FIRST_OWN_STATUS = 200
_EPOCH = (1980, 1, 1, 0, 0, 0)


@functools.cache
def zipapp_bytes(program: str, calculator: tuple[str, bytes] | None = None) -> bytes:
    """Return the zipapp of a program: the same source gives the same bytes.

    :param program: its module below ``programs``, such as ``ase.md``.
    :param calculator: architecture and source of the calculator that is added to the program.
    """
    name, source = calculator or ('', b'')
    content = {'__main__.py': f'from aiida_mghdiff.programs.job import run\n\nrun({program!r})\n'.encode()}
    content[archive_name(PACKAGE / '__init__.py')] = b''  # a job does not need the names for users
    for path in sources(f'aiida_mghdiff.programs.{program}', source=source):
        content[archive_name(path)] = path.read_bytes()
    if calculator:
        content[f'aiida_mghdiff/programs/calculators/{name}.py'] = source
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name in sorted(content):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def array_files(node: orm.ArrayData, folder: str) -> list[tuple[str, str, str]]:
    """Return the entries of a ``local_copy_list`` that copy the arrays of a node as ``.npy`` files into a folder."""
    names = node.base.repository.list_object_names()
    return [(node.uuid, name, f'{folder}/{name}') for name in names]


def structure_content(structure: orm.StructureData) -> dict[str, Any]:
    """Return a structure as JSON: ``numbers`` [n], ``cell`` [3,3] in Å and ``positions`` [n,3] in Å."""
    atoms = structure.get_ase()
    return {
        'numbers': atoms.numbers.tolist(),
        'cell': atoms.cell.array.tolist(),
        'positions': atoms.positions.tolist(),
    }


class CachedIfContinued(CalcJob):
    """Mixin of jobs that may stop at their wall time. The cache keeps such a job only if the next job can continue it.

    AiiDA's hash does not include wall times: a cached job without progress would replace the same job with more time.
    """

    CONTINUED_FROM: ClassVar[str | None] = None  #: the output from which the next job continues

    @classmethod
    def is_valid_cache(cls, node: orm.ProcessNode) -> bool:
        """Return whether AiiDA's cache may use a job."""
        is_lost = has_ended_with(node, 'OUT_OF_WALLTIME') and not cls._has_advanced(node)
        return super().is_valid_cache(node) and not is_lost

    @classmethod
    def _has_advanced(cls, node: orm.ProcessNode) -> bool:
        outputs = {link.link_label: link.node for link in node.base.links.get_outgoing(link_type=LinkType.CREATE)}
        if cls.CONTINUED_FROM not in outputs:
            return False
        results = outputs['results'].get_dict() if 'results' in outputs else {}
        return 'last_step' not in results or results['last_step'] != results['first_step']


class ProgramCalculation(CachedIfContinued):
    """Runs one program: ``_PROGRAM`` is its module below ``programs``, and the name of its parser."""

    CACHE_VERSION = 1
    _PROGRAM: ClassVar[str]
    _TEMPORARY_FILES: ClassVar[tuple[str, ...]] = ()
    _PARAMETERS: ClassVar[Schema]

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports and exit codes of all programs."""
        super().define(spec)
        names = {'input_filename': INPUT_FILE, 'output_filename': 'output.txt'}
        set_options(spec, parser_name=f'mghdiff.{cls._PROGRAM}', **names)
        spec.inputs['metadata']['options']['withmpi'].validator = refuse_mpi
        spec.input('code', valid_type=orm.AbstractCode, help='Python interpreter of an environment with the engines.')
        words = keys_help('Complete settings.', cls._PARAMETERS)
        spec.input('parameters', valid_type=orm.Dict, serializer=orm.to_aiida_type, help=words)
        spec.output('results', valid_type=orm.Dict, help='Numbers, versions and settings that the program reports.')
        spec.default_output_node = 'results'
        define_exit_codes(spec, *JOB_FAILURES, 'ELEMENT_UNKNOWN')

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write ``input.json`` and the zipapp, and list the files of the inputs."""
        options = self.inputs.metadata.options
        content = {
            'parameters': self.inputs.parameters.get_dict(),
            'max_wallclock_seconds': options.get('max_wallclock_seconds'),
            **self.program_inputs(),
        }
        with folder.open(options.input_filename, 'w') as handle:
            json.dump(content, handle, indent=2, sort_keys=True)
        with folder.open(ZIPAPP, 'wb') as handle:
            handle.write(self.zipapp())
        return self._calcinfo()

    def _calcinfo(self) -> CalcInfo:
        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params, codeinfo.withmpi = [ZIPAPP], False
        codeinfo.stdout_name = self.inputs.metadata.options.output_filename
        calcinfo = CalcInfo()
        calcinfo.codes_info = [codeinfo]
        calcinfo.local_copy_list = self.input_files()
        calcinfo.retrieve_list = [self.inputs.metadata.options.output_filename]
        calcinfo.retrieve_temporary_list = [RESULTS_FILE, *self._TEMPORARY_FILES]
        return calcinfo

    def zipapp(self) -> bytes:
        """Return the zipapp."""
        return zipapp_bytes(self._PROGRAM)

    def program_inputs(self) -> dict[str, Any]:
        """Return the content of ``input.json`` except the parameters."""
        return {}

    def input_files(self) -> list[tuple[str, str, str]]:
        """Return the ``local_copy_list``."""
        return []


def drop_foreign(spec: CalcJobProcessSpec) -> None:
    """Take the outputs and exit codes of another package's job out of a specification."""
    for name in set(spec.outputs) - set(CalcJob.spec().outputs):
        del spec.outputs[name]
    for name in [name for name, code in spec.exit_codes.items() if code.status >= _FIRST_OWN_STATUS]:
        del spec.exit_codes[name]


def set_options(spec: CalcJobProcessSpec, **defaults: str) -> None:
    """Set the defaults of a job's options: the given ones, and one process on one machine."""
    define_mpi(spec)
    options = spec.inputs['metadata']['options']
    resources = {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
    for name, value in {**defaults, 'resources': resources}.items():
        options[name].default, options[name].required = value, False  # a builder asks for required options
