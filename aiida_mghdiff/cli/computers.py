"""Check whether a computer can run jobs, as `verdi computer test` does, and answer in one sentence."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiida.orm import Computer
    from aiida.transports import Transport

#: Programs that `mghdiff.direct` needs, and the packages that contain them.
_PROGRAMS = {'bash': 'bash', 'flock': 'util-linux', 'timeout': 'coreutils', 'ps': 'procps'}
_TEST_FILE, _TEST_TEXT, _TEST_WORD = '.mghdiff-test', 'written by aiida-mghdiff\n', 'mghdiff-shell'


def computer_message(computer: Computer) -> str | None:
    """Return why a computer cannot run jobs and what to do; None if it can run them."""
    return _configuration_message(computer) or _connection_message(computer)


def _configuration_message(computer: Computer) -> str | None:
    from aiida.common.exceptions import ConfigurationError
    from aiida.orm import User

    label, user = computer.label, User.collection.get_default()
    try:
        computer.get_scheduler()
        computer.get_transport_class()
    except ConfigurationError as error:
        return f'a plugin of computer `{label}` is not installed: {error}.'
    if user is None or not computer.is_user_configured(user):
        return (
            f'computer `{label}` is not configured here, as after the import of an archive: run '
            f'`verdi computer configure {computer.transport_type} {label}` if it is yours.'
        )
    if not computer.is_user_enabled(user):
        return f'computer `{label}` is disabled: run `verdi computer enable {label} {user.email}`.'
    return None


def _connection_message(computer: Computer) -> str | None:
    what = 'be reached'
    try:
        with computer.get_transport() as transport:
            for what, test in _TESTS.items():  # noqa: B007 (the handler below names the failed test)
                test(computer, transport)
    except Exception as error:  # transports and schedulers raise any exception
        words = ' '.join(str(error).split()) or type(error).__name__
        return f'computer `{computer.label}` cannot {what}: {words}'
    return None


def _run_shell(computer: Computer, transport: Transport) -> None:
    status, output, error = transport.exec_command_wait(f'echo; echo {_TEST_WORD}')
    if status != 0 or _TEST_WORD not in output.splitlines():
        raise OSError(
            f'`echo` ended with status {status}, output {output.strip()!r}, errors {error.strip()!r}. If a profile '
            'file of the login shell ends the shell, let AiiDA use no login shell.'
        )
    programs = _PROGRAMS if computer.scheduler_type == 'mghdiff.direct' else {}
    missing = []
    for program, package in programs.items():
        if transport.exec_command_wait(f'command -v {program}')[0] != 0:
            missing.append(f'{program} (package {package})')
    if missing:
        raise OSError(f'it lacks {", ".join(missing)}; install them.')


def _list_jobs(computer: Computer, transport: Transport) -> None:
    scheduler = computer.get_scheduler()
    scheduler.set_transport(transport)
    scheduler.get_jobs(as_dict=True)


def _keep_file(computer: Computer, transport: Transport) -> None:
    workdir, user = computer.get_workdir(), transport.whoami()
    if '{username}' in workdir and (user.split() != [user] or not user.isprintable()):
        raise OSError(
            f'AiiDA takes what its login shell prints for the name of the user ({user!r}): let the shell print nothing '
            'if no terminal is there, or write the name into the work directory, in place of {username}.'
        )
    folder = PurePosixPath(workdir.format(username=user))
    transport.makedirs(str(folder), ignore_existing=True)
    with tempfile.TemporaryDirectory() as here:
        sent, received = Path(here) / 'sent', Path(here) / 'received'
        sent.write_text(_TEST_TEXT)
        transport.putfile(str(sent), str(folder / _TEST_FILE))
        transport.getfile(str(folder / _TEST_FILE), str(received))
        transport.remove(str(folder / _TEST_FILE))
        if received.read_text() != _TEST_TEXT:
            raise OSError('a copied file came back with different content.')


#: Abilities that a computer needs, in words, and the test of each.
_TESTS: dict[str, Callable[[Computer, Transport], None]] = {
    'run the shell of its jobs': _run_shell,
    'list its jobs': _list_jobs,
    'keep files in its work directory': _keep_file,
}
