"""Name settings by the options of the command line, in messages of processes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from aiida_mghdiff.formats.plausibility import ImplausibleWarning

#: Options for the reading of a file, by the setting of ``dataset_from_extxyz``.
READING = {
    'allow_implausible': '--allow-implausible',
    'energy_key': '--energy-key',
    'forces_key': '--forces-key',
    'stress_key': '--stress-key',
    'group_key': '--group-key',
}
#: Phrases that name a setting; ``head`` alone is an ordinary word.
_SPELLINGS = READING | {'as head': 'as --head', 'leave head out': 'leave --head out', 'tracer_element': '--tracer'}
_SETTINGS = re.compile(rf'\b({"|".join(_SPELLINGS)})\b')


def as_options(message: str) -> str:
    """Return a message in which options of the command replace the names of settings."""
    return _SETTINGS.sub(lambda match: _SPELLINGS[match[1]], message)


@contextmanager
def telling_warnings() -> Iterator[None]:
    """Show warnings of a reader in the words of the command."""

    def tell(message: Warning | str, category: type[Warning], *place: Any, **named: Any) -> None:
        if issubclass(category, ImplausibleWarning):
            click.echo(f'Warning: {as_options(str(message))}', err=True)
        else:
            show(message, category, *place, **named)

    with warnings.catch_warnings():
        show, warnings.showwarning = warnings.showwarning, tell
        yield
