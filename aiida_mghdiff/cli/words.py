"""Settings as the command line spells them, in messages that processes write for users of either."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from aiida_mghdiff.formats.plausibility import ImplausibleWarning

#: Options that choose how a file is read, by the setting of ``dataset_from_extxyz``.
READING = {
    'allow_implausible': '--allow-implausible',
    'energy_key': '--energy-key',
    'forces_key': '--forces-key',
    'stress_key': '--stress-key',
    'group_key': '--group-key',
}
#: Words that name a setting: ``head`` alone is no name but a word.
_SPELLINGS = READING | {'as head': 'as --head', 'leave head out': 'leave --head out', 'tracer_element': '--tracer'}
_SETTINGS = re.compile(rf'\b({"|".join(_SPELLINGS)})\b')


def as_options(message: str) -> str:
    """Return a message with the options of the command in the place of the settings that it names."""
    return _SETTINGS.sub(lambda match: _SPELLINGS[match[1]], message)


@contextmanager
def telling_warnings() -> Iterator[None]:
    """Say what a reader warns of in the words of the command."""

    def tell(message: Warning | str, category: type[Warning], *place: Any, **named: Any) -> None:
        if issubclass(category, ImplausibleWarning):
            click.echo(f'Warning: {as_options(str(message))}', err=True)
        else:
            show(message, category, *place, **named)

    with warnings.catch_warnings():
        show, warnings.showwarning = warnings.showwarning, tell
        yield
