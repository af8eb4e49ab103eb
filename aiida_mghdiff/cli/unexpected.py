"""Messages for an unexpected failure of a command: what failed, where the log is, how the study continues."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from aiida.orm import ProcessNode

LOG = 'aiida-mghdiff.log'
_FOLDER, _STUDY = 'aiida_mghdiff.folder', 'aiida_mghdiff.study'


def watch(folder: Path | None = None, study: ProcessNode | None = None) -> None:
    """Remember the folder and the study of the command, in case the command fails."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta.update(
            {key: value for key, value in {_FOLDER: folder, _STUDY: study}.items() if value is not None}
        )


def failure(context: click.Context, error: Exception) -> click.ClickException:
    """Write the traceback to a log; return an exception with a message for the user.

    :param context: context of the command group.
    """
    words = [f'{context.invoked_subcommand or "the command"} failed unexpectedly: {what_failed(error)}.']
    words.append(write_log(context.meta.get(_FOLDER)))
    if _STUDY in context.meta or _FOLDER in context.meta:
        words.append(study_words(context.meta.get(_STUDY), submits=_FOLDER in context.meta))
    return click.ClickException('\n'.join(words))


def what_failed(error: BaseException) -> str:
    """Return the error in one line, with its original cause."""
    what = ' '.join(f'{type(error).__name__}: {error}'.split()).rstrip('.')
    return what if error.__cause__ is None else f'{what} ({what_failed(error.__cause__)})'


def write_log(folder: Path | None) -> str:
    """Append the current traceback to a log; return a sentence with the path of the log.

    If no log can be written, return the file and line that raised the exception.
    """
    text = f'{datetime.now():%Y-%m-%d %H:%M:%S} {" ".join(sys.argv)}\n{traceback.format_exc()}\n'
    for place in _places(folder):
        try:
            with (place / LOG).open('a') as log:
                log.write(text)
        except OSError:  # the disk is full, or the folder belongs to another user
            continue
        return f'The traceback is in {(place / LOG).resolve()}: please report the failure with this file.'
    last = traceback.extract_tb(sys.exc_info()[2])[-1]
    return (
        f'The error came from {last.filename}, line {last.lineno}. Its traceback could not be written anywhere: make '
        'room or set TMPDIR to a folder that can be written, and call the command again.'
    )


def _places(folder: Path | None) -> Iterator[Path]:
    """Yield the folders to try for the log: the command's folder, AiiDA's configuration, the temporary folder."""
    if folder is not None:
        yield folder
    if 'aiida.manage.configuration.settings' in sys.modules:
        from aiida.manage.configuration.settings import AiiDAConfigDir

        yield Path(AiiDAConfigDir.get())
    yield Path(tempfile.gettempdir())


def study_words(study: ProcessNode | None, submits: bool) -> str:
    """Return the state of a study whose command failed, and how to continue.

    :param submits: whether the command submits studies; other commands only read them.
    """
    if study is None:
        return 'This call submitted no study: the same command begins a study, or continues an earlier one.'
    name = f'Study {study.uuid} (PK {study.pk})'
    try:
        state, ended = state_of(study), study.is_terminated
    except Exception as error:  # the cause of the failure may have damaged the profile, too
        return f'{name} has an unreadable state ({type(error).__name__}): see `verdi process list -a`.'
    if not submits:
        return f'{name} {state if ended else f"is {state}"}: the command changed nothing in the study.'
    if ended:
        return f'{name} {state}. Call the same command to continue from its stored jobs.'
    return f'{name} is {state}: running jobs continue, but no new job begins. Call the same command to continue.'


def state_of(process: ProcessNode) -> str:
    """Return in words how a process ended, or its present state."""
    if process.is_excepted:
        return f'ended in an exception ({process.exception})'
    if process.is_killed:
        return 'was killed'
    if process.is_failed:
        return f'ended with failures [{process.exit_status}]: {process.exit_message}'
    if process.is_finished_ok:
        return 'is finished'
    return process.process_state.value if process.process_state else 'created'
