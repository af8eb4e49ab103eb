"""What a command says where it fails unexpectedly: what failed, where its log is, what its study does."""

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
    """Remember the folder that the command works in, and its study, in case that it fails."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta.update(
            {key: value for key, value in {_FOLDER: folder, _STUDY: study}.items() if value is not None}
        )


def failure(context: click.Context, error: Exception) -> click.ClickException:
    """Write the traceback to a log; return the exception that says in words what failed.

    :param context: of the command group.
    """
    words = [f'{context.invoked_subcommand or "the command"} failed unexpectedly: {what_failed(error)}.']
    words.append(write_log(context.meta.get(_FOLDER)))
    if _STUDY in context.meta or _FOLDER in context.meta:
        words.append(study_words(context.meta.get(_STUDY), submits=_FOLDER in context.meta))
    return click.ClickException('\n'.join(words))


def what_failed(error: BaseException) -> str:
    """Return the error in one line, with the one that it came from, which says more."""
    what = ' '.join(f'{type(error).__name__}: {error}'.split()).rstrip('.')
    return what if error.__cause__ is None else f'{what} ({what_failed(error.__cause__)})'


def write_log(folder: Path | None) -> str:
    """Append the traceback of the exception at hand to a log; return the sentence that says where that is.

    Where none can be written, return where the exception came from.
    """
    text = f'{datetime.now():%Y-%m-%d %H:%M:%S} {" ".join(sys.argv)}\n{traceback.format_exc()}\n'
    for place in _places(folder):
        try:
            with (place / LOG).open('a') as log:
                log.write(text)
        except OSError:  # full, or not ours
            continue
        return f'The traceback is in {(place / LOG).resolve()}: please report it with this file.'
    last = traceback.extract_tb(sys.exc_info()[2])[-1]
    return (
        f'It came from {last.filename}, line {last.lineno}. Its traceback could not be written anywhere: make room or '
        'set TMPDIR to a folder that can be written, and call the command again.'
    )


def _places(folder: Path | None) -> Iterator[Path]:
    """Yield where the log may be: the folder of the command, AiiDA's own, that of temporary files."""
    if folder is not None:
        yield folder
    if 'aiida.manage.configuration.settings' in sys.modules:
        from aiida.manage.configuration.settings import AiiDAConfigDir

        yield Path(AiiDAConfigDir.get())
    yield Path(tempfile.gettempdir())


def study_words(study: ProcessNode | None, submits: bool) -> str:
    """Return what a study does that its command no longer follows, and how to go on.

    :param submits: whether the command submits studies; others only read them.
    """
    if study is None:
        return 'This call submitted no study: the same command begins one, or goes on with an earlier one.'
    name = f'Study {study.uuid} (PK {study.pk})'
    try:
        state, ended = state_of(study), study.is_terminated
    except Exception as error:  # what broke the command may have broken the profile, too
        return f'{name} is in a state that cannot be read ({type(error).__name__}): see `verdi process list -a`.'
    if not submits:
        return f'{name} {state if ended else f"is {state}"}: the command changed nothing of it.'
    if ended:
        return f'{name} {state}. The same command goes on from what is stored.'
    return f'{name} is {state}: its jobs go on to their end, nothing new begins; the same command goes on from there.'


def state_of(process: ProcessNode) -> str:
    """Return how a process ended, or how far it is, in words."""
    if process.is_excepted:
        return f'ended in an exception ({process.exception})'
    if process.is_killed:
        return 'was killed'
    if process.is_failed:
        return f'ended with failures [{process.exit_status}]: {process.exit_message}'
    if process.is_finished_ok:
        return 'is finished'
    return process.process_state.value if process.process_state else 'created'
