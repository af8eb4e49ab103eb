"""Keep AiiDA out of the home of a user without profiles: `demo` and `profile` have their own folders.

This module imports AiiDA only inside a function, because the import itself makes ``~/.aiida``.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import click

#: Commands whose profiles live in a folder named by the user.
OWN_FOLDER = ('demo', 'profile')


def import_aiida(command: str) -> None:
    """Import AiiDA's configuration for a command without making ``~/.aiida``.

    A command that uses the user's profiles finds them if they exist. Otherwise AiiDA gets a folder that is deleted at
    once.

    :raises click.ClickException: if no folder for temporary files can be used.
    """
    check_temporary()
    before = os.environ.get('AIIDA_PATH')
    if command not in OWN_FOLDER and _has_folder(before):
        return
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # "Creating AiiDA configuration folder"
        os.environ['AIIDA_PATH'] = folder
        try:
            import aiida.manage.configuration  # noqa: F401
        finally:
            del os.environ['AIIDA_PATH']
            if before is not None:
                os.environ['AIIDA_PATH'] = before


def check_temporary() -> None:
    """Check that a folder for temporary files can be used.

    :raises click.ClickException: names the folders that were tried, and the remedy.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise click.ClickException(
            f'{error.strerror}: make room on the disk, or set TMPDIR to a folder that can be written.'
        ) from error


def _has_folder(variable: str | None) -> bool:
    """Return whether a folder of `AIIDA_PATH`, or else the home, contains AiiDA's configuration."""
    places = [Path(place).expanduser() for place in (variable or '~').split(':') if place]
    return any((place if place.name == '.aiida' else place / '.aiida').is_dir() for place in places)
