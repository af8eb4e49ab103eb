"""Read the output of a job, and recognise a missing executable in it; all parsers use the same rules.

A shell names its script and the line, then the executable and the reason, in the language of the machine:
``script: line 103: /opt/lmp: No such file or directory``. MPI launchers name the executable in their messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode

_MISSING = (
    r'No such file or directory|(?:command )?not found|could not be found|Permission denied|Exec format error|'
    r'cannot execute'
)
#: EXE is the executable. Shells (bash, dash); `execve(): EXE: ...` of Slurm, `execvp error on file EXE (...)` of Hydra
#: (MPICH, Intel), `env: 'EXE': No such file or directory`; the table `Executable: EXE` of Open MPI and PRRTE.
_FORMS = (
    r'^\S+: \D*\d+: (?:type: )?EXE: (?P<reason>.+)$',
    rf"""(?<![\w./-])EXE['"’]?[:\s(]+(?P<reason>{_MISSING})""",
    r'^\s*Executable:\s+EXE\s*$',
)


def stdout_of(node: orm.CalcJobNode) -> str:
    """Return the kept standard output of a job, or an empty text."""
    name, repository = node.get_option('output_filename'), node.outputs.retrieved.base.repository
    return repository.get_object_content(name, 'r') if name in repository.list_object_names() else ''


def last_line(text: str, otherwise: str = 'no message') -> str:
    """Return the last line of a text that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else otherwise


def missing_executable(node: orm.CalcJobNode, *texts: str) -> ExitCode | None:
    """Return the exit code of a job with a missing executable; None if all executables exist.

    :param texts: outputs of the job, in addition to the scheduler's standard error.
    """
    text = '\n'.join([node.get_scheduler_stderr() or '', *texts])
    for executable, owner in _executables(node):
        if reason := _reason(executable, text):
            message = (
                f'{executable} of {owner} cannot be started: {reason}. Install it there, load its module (prepend '
                'text), or make a code for another path (`aiida-mghdiff setup --suffix NAME`).'
            )
            return node.process_class.exit_codes.ERROR_EXECUTABLE_MISSING.format(message=message)
    return None


def _reason(executable: str, text: str) -> str | None:
    """Return the reason why a shell or a launcher did not start an executable; None if no message says so."""
    for form in _FORMS:
        if match := re.search(form.replace('EXE', re.escape(executable)), text, re.MULTILINE):
            return match.groupdict().get('reason') or 'the MPI launcher did not find it'
    return None


def _executables(node: orm.CalcJobNode) -> Iterator[tuple[str, str]]:
    """Yield each executable of a job and its owner: a code, or the MPI launcher."""
    for code in node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all_nodes():
        if isinstance(code, orm.AbstractCode):
            yield str(code.get_executable()), f'code `{code.full_label}`'
    computer = node.computer
    if computer and (launcher := computer.get_mpirun_command()):
        yield launcher[0], f'computer `{computer.label}`'
