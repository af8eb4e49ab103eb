"""Splits a LAMMPS script into its potential and the commands before and after the potential."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiida_mghdiff.formats.job_files import CONVERTED_SUFFIX, LAUNCHER_OPTIONS, read_launcher_comments
from aiida_mghdiff.formats.text import split_lines
from aiida_mghdiff.programs.job import ProgramError

_MACE = re.compile(r'pair_style\s+mace(?:/kk)?(?:\s+no_domain_decomposition)?$')
_MLIAP = re.compile(r'pair_style\s+mliap(?:/kk)?\s+unified\s+(\S+)(?:\s+[01])?$')
_COEFF = re.compile(r'pair_coeff\s+\*\s+\*\s+(.+)$')
_CONVERTED = (CONVERTED_SUFFIX, '-mliap_lammps.pt')


@dataclass(frozen=True)
class Plan:
    """A script, split at the end of its potential."""

    before: str  # commands before the potential
    after: str  # commands after the potential
    model: str  # the plain ``.model`` file
    symbols: tuple[str, ...]  # element of each LAMMPS atom type
    options: dict[str, str]  # values of the comment ``# mghdiff key=value ...``


def plan_script(text: str) -> Plan:
    """Split a script at its MACE potential.

    :raises ProgramError: INPUT_REFUSED for commands that the launcher cannot run.
    """
    before: list[str] = []
    after: list[str] = []
    style = potential = None
    for line in logical_lines(text):
        command = line.split('#')[0].strip()
        if command.startswith('pair_style'):
            style = _read_style(command, style)
        elif command.startswith('pair_coeff'):
            potential = _read_coefficients(command, style, potential)
        else:
            _refuse_hidden_potential(command)
            (after if potential else before).append(_adapted(line, command))
    if potential is None:
        raise ProgramError(
            'INPUT_REFUSED',
            'the script has no "pair_style mace" or "mliap unified" with its pair_coeff: use lmp for other potentials.',
        )
    return Plan('\n'.join(before) + '\n', '\n'.join(after) + '\n', *potential, read_options(text))


def logical_lines(text: str) -> Iterator[str]:
    """Yield the lines of a script, continued lines (``&``) joined."""
    joined = ''
    for line in split_lines(text):
        if line.rstrip().endswith('&'):
            joined += line.rstrip()[:-1] + ' '
            continue
        yield joined + line
        joined = ''
    if joined:
        yield joined


def _read_style(command: str, previous: str | None) -> str:
    """Return the model file of ``mliap``, or an empty string for ``mace``, whose pair_coeff names it."""
    if previous is not None:
        raise ProgramError('INPUT_REFUSED', f'"{command}" is a second potential: the launcher runs only one.')
    if match := _MLIAP.match(command):
        return match[1]
    if _MACE.match(command):
        return ''
    raise ProgramError(
        'INPUT_REFUSED',
        f'"{command}": the launcher runs "pair_style mace" or "mliap unified", neither hybrid nor other.',
    )


def _read_coefficients(command: str, style: str | None, previous: object) -> tuple[str, tuple[str, ...]]:
    match = _COEFF.match(command)
    if style is None or previous is not None or not match or '$' in command:
        raise ProgramError(
            'INPUT_REFUSED',
            f'"{command}": the launcher needs one "pair_coeff * * ..." without variables after pair_style.',
        )
    words = match[1].split()
    model, symbols = (style, words) if style else (words[0], words[1:])
    return plain_model(model), tuple(symbols)


def plain_model(name: str) -> str:
    """Return the name of a converted model file without the suffix of the conversion: the plain ``.model`` file."""
    for suffix in _CONVERTED:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def _refuse_hidden_potential(command: str) -> None:
    words = command.split()
    included = words[1] if words[:1] == ['include'] and len(words) > 1 else None
    if included and Path(included).is_file() and 'pair_' in Path(included).read_text():
        raise ProgramError('INPUT_REFUSED', f'"{command}" hides the potential: write pair_style and pair_coeff here.')
    if 'pair_style' in command or 'pair_coeff' in command:
        raise ProgramError('INPUT_REFUSED', f'"{command}" sets the potential in passing: write it on separate lines.')


def _adapted(line: str, command: str) -> str:
    """Return a command in the form that the plain LAMMPS accepts."""
    if command.startswith('write_data ') and 'nocoeff' not in command:
        return f'{command} nocoeff'  # pair zero would write a Pair Coeffs section that read_data refuses
    return line


def shorten_timeouts(text: str, elapsed_seconds: float) -> str:
    """Return commands with ``timer timeout`` shortened by the time already used."""

    def shorter(match: re.Match[str]) -> str:
        return f'{match[1]}{max(1, int(_seconds(match[2]) - elapsed_seconds))}'

    return re.sub(r'^(\s*timer\s.*\btimeout\s+)([\d:.]+)', shorter, text, flags=re.MULTILINE)


def _seconds(time: str) -> float:
    seconds = 0.0
    for part in time.split(':'):
        seconds = 60 * seconds + float(part)
    return seconds


def read_options(text: str) -> dict[str, str]:
    """Return the options in comment lines ``# mghdiff key=value ...``, which lmp itself ignores.

    :raises ProgramError: INPUT_REFUSED for an unknown key or value.
    """
    options = {'evaluator': 'auto', 'dtype': 'float64', 'device': 'cpu'}
    return options | dict(_read_option(word) for word in read_launcher_comments(text))


def _read_option(word: str) -> tuple[str, str]:
    key, _, value = word.partition('=')
    if key not in LAUNCHER_OPTIONS:
        raise ProgramError('INPUT_REFUSED', f'"# mghdiff {word}": known are {", ".join(LAUNCHER_OPTIONS)}.')
    if (allowed := LAUNCHER_OPTIONS[key]) and value not in allowed:
        raise ProgramError('INPUT_REFUSED', f'"# mghdiff {word}": {key} is one of {", ".join(allowed)}.')
    return key, value
