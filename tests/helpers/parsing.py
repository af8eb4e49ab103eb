"""Parsing of a job's files, without a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode
from aiida.plugins import ParserFactory

STDERR = 'stderr.txt'


def parse_job(
    entry_point: str,
    computer: orm.Computer,
    files: Path,
    inputs: Mapping[str, orm.Data],
    scheduler_status: int | None = None,
    stdout: str = '',
    kept: Mapping[str, str] | None = None,
    **options: str,
) -> tuple[ExitCode | None, dict[str, orm.Data]]:
    """Parse the files of an ended job; return the exit code and the outputs.

    :param files: folder of the files that only the parser sees.
    :param scheduler_status: exit status from the scheduler.
    :param stdout: standard output of VASP, a file among ``files``.
    :param kept: texts of the retrieved files, by name.
    """
    node = orm.CalcJobNode(computer=computer, process_type=f'aiida.calculations:{entry_point}')
    node.set_options({'resources': {'num_machines': 1}} | options)
    node.base.attributes.set('scheduler_stderr', STDERR)
    if scheduler_status is not None:
        node.set_exit_status(scheduler_status)
    for name, data in inputs.items():
        node.base.links.add_incoming(data.store(), LinkType.INPUT_CALC, name)
    node.store()
    if stdout:
        (files / 'vasp_output').write_text(stdout)
    retrieved = orm.FolderData()
    for name, text in ({STDERR: ''} | dict(kept or {})).items():
        retrieved.base.repository.put_object_from_bytes(text.encode(), name)
    retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
    retrieved.store()
    parser = ParserFactory(entry_point)(node)
    return parser.parse(retrieved_temporary_folder=str(files)), parser.outputs
