"""Set up the environment of a study: a profile, a running daemon, a computer and codes.

Every function can be called again: it keeps an existing item that fits, and reports an existing item that differs.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psutil

from aiida_mghdiff.cli.computers import computer_message
from aiida_mghdiff.cli.process_tasks import active_processes, forget_broker, lost_processes, repair_tasks
from aiida_mghdiff.formats.job_files import LAUNCHER, STANDIN
from aiida_mghdiff.schedulers.direct import set_slots

if TYPE_CHECKING:
    from aiida.engine.daemon.client import DaemonClient
    from aiida.manage.configuration.profile import Profile
    from aiida.orm import Computer, InstalledCode

COMPUTER = 'mghdiff-localhost'
PROFILE = 'mghdiff'
CACHING_PATTERN = 'aiida.calculations:mghdiff.*'
SCHEDULER = 'mghdiff.direct'
CONVERTER = 'mace_create_lammps_model'
#: The interpreter that imports GPAW from Debian's package.
DEBIAN_PYTHON = '/usr/bin/python3'

#: The attribute of a code that stores its role in `setup`.
ROLE = 'mghdiff_role'
DEFAULT_JOBS = {
    'lammps': 'mghdiff.lammps.md',
    'vasp': 'mghdiff.vasp.mlff',
    'vasp_neb': 'mghdiff.vasp.neb',
    'gpaw': 'mghdiff.gpaw.singlepoint',
}

#: AiiDA's default (2 s) is too short while jobs occupy all cores.
_DAEMON_TIMEOUT_SECONDS = 60
#: Time between TERM and KILL, for a worker or a daemon that does not end.
_END_SECONDS = 10
#: Time between two looks at a daemon that starts.
_LOOK_SECONDS = 0.2
#: `verdi daemon restart` takes this long on a busy machine.
_PATIENCE_SECONDS = 20.0
_MOST_NAMED = 3
#: Commands of `verdi daemon` that run as long as the daemon.
_PARTS = ('start-circus', 'worker', 'broker')
#: Circus, AiiDA's supervisor, runs this beside the workers.
_STATISTICS = 'from circus import stats; stats.main()'


#: Characters that the path of a profile must not contain: its storage reads % as an escape code and ? as the end of a
#: path, AIIDA_PATH reads : as the end of a path, and the work directory of a computer reads braces as the user's name.
_NOT_IN_PROFILES = '%?:{}\n'
#: The sockets of the daemon's broker lie in the temporary folder, and Linux limits their paths to 107 bytes.
_SOCKET, _SOCKET_BYTES = '/aiida_zeromq_12345678/router.sock', 107

#: Variables that lead the caches of libraries into `.cache` of a profile. By default libraries use the user's home and
#: the temporary folder. The first variable holds for all libraries that follow XDG.
_CACHES = {
    'XDG_CACHE_HOME': '',
    'MPLCONFIGDIR': 'matplotlib',
    'TORCHINDUCTOR_CACHE_DIR': 'torchinductor',
    'TRITON_CACHE_DIR': 'triton',
    'CUDA_CACHE_PATH': 'cuda',
}


class SetupError(click.ClickException):
    """An existing item differs from the requested one, or an item is missing; the message names the remedy."""


def make_profile(directory: Path, name: str = PROFILE) -> Profile:
    """Load the profile in its own `AIIDA_PATH`; make it if it does not exist.

    The profile has SQLite storage and the ZeroMQ broker: it needs no service and touches nothing outside the
    directory. From now on `AIIDA_PATH` and the cache variables lead this process and its children to the directory.

    :raises SetupError: if the configuration in the directory cannot be read.
    """
    from aiida.common.exceptions import ConfigurationError
    from aiida.manage.configuration import create_profile, get_config, load_profile
    from aiida.plugins import BrokerFactory

    use_directory(directory)
    try:
        config = get_config(create=True)
    except ConfigurationError as error:
        raise SetupError(configuration_words(error)) from error
    if name not in config.profile_names:
        create_profile(
            config,
            name=name,
            email='aiida@localhost',
            storage_backend='core.sqlite_dos',
            storage_config={},
            broker_backend='core.zeromq',
            broker_config=BrokerFactory('core.zeromq').get_default_config(),
        )
        config.set_option('runner.poll.interval', 5, scope=name)  # a safety net: the broker tells at once
        config.set_default_profile(name, overwrite=True)
        config.store()
    return load_profile(name, allow_switch=True)


def check_place(directory: Path) -> None:
    """Make a directory after checking that a profile and its daemon can live there.

    :raises SetupError: names the reason and the remedy.
    """
    folder, temporary = str(directory.resolve()), tempfile.gettempdir()
    there = next(path for path in (directory.resolve(), *directory.resolve().parents) if os.path.exists(path))
    if not there.is_dir() or not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        reason = 'you may not write there' if there.is_dir() else 'it is a file'
        raise SetupError(f'AiiDA cannot keep a profile in {folder}, for {there}: {reason}. Choose another folder.')
    if wrong := [character for character in _NOT_IN_PROFILES if character in folder]:
        raise SetupError(f'AiiDA cannot keep a profile in {folder}: choose a folder without {wrong[0]!r} in its path.')
    if message := environment_message():
        raise SetupError(message)
    if len(os.fsencode(temporary + _SOCKET)) > _SOCKET_BYTES:
        most = _SOCKET_BYTES - len(_SOCKET)
        raise SetupError(
            f"AiiDA's daemon cannot use the temporary folder {temporary}: set TMPDIR to a folder whose path has at "
            f'most {most} bytes.'
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f'AiiDA cannot keep a profile in {folder}: it cannot be made ({error.strerror}). Choose another folder.'
        ) from error


def environment_message() -> str | None:
    """Return why AiiDA's daemon cannot start from the environment of this process, or None."""
    if _is_one_word(str(_bin() / 'verdi')):
        return None
    return (
        f"AiiDA's daemon cannot be started from the environment {sys.prefix}: make the environment in a folder without "
        'blanks, quotes and backslashes in its path (in a checkout: `make VENV=/that/folder ...`).'
    )


def _bin() -> Path:
    """Return the folder with this environment's commands."""
    return Path(sys.executable).parent


def _is_one_word(path: str) -> bool:
    """Return whether a path is one word of a command line, as AiiDA's supervisor requires."""
    try:
        return shlex.split(path) == [path]
    except ValueError:  # an unclosed quote
        return False


def use_directory(directory: Path) -> None:
    """Let AiiDA's configuration and the caches of libraries live in a directory, for this process and its children."""
    from aiida.manage.configuration import reset_config
    from aiida.manage.configuration.settings import AiiDAConfigDir

    folder = directory.resolve() / '.aiida'
    os.environ['AIIDA_PATH'] = str(folder)
    os.environ.update({name: str(folder.with_name('.cache') / part) for name, part in _CACHES.items()})
    reset_config()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # "Creating AiiDA configuration folder" is wanted here
        AiiDAConfigDir.set(folder)


def load(profile: str | None) -> Profile:
    """Load a profile, or the default one, and open its storage.

    :raises SetupError: if there is no profile, or its storage does not open.
    """
    from aiida.common.exceptions import ConfigurationError, MissingConfigurationError, ProfileConfigurationError
    from aiida.manage.configuration import load_profile

    try:
        loaded = load_profile(profile)
    except (ProfileConfigurationError, MissingConfigurationError) as error:
        # AiiDA appends its whole configuration, or names a temporary folder that the user does not know
        is_new = isinstance(error, MissingConfigurationError)
        reason = 'no profile exists' if is_new else str(error).split(': None')[0]
        raise SetupError(
            f'no AiiDA profile ({reason}): make one with `verdi presto`, or see `verdi profile list`.'
        ) from error
    except ConfigurationError as error:
        raise SetupError(configuration_words(error)) from error
    open_storage(loaded)
    return loaded


def configuration_words(error: Exception) -> str:
    """Return the remedy for an AiiDA configuration that cannot be read."""
    return (
        f"AiiDA's configuration cannot be read ({error}): restore a copy config.json.* from the same folder, or move "
        'the folder away to begin anew.'
    )


def open_storage(profile: Profile) -> None:
    """Open the storage of the loaded profile.

    :raises SetupError: if it does not open.
    """
    from aiida.common.exceptions import ConfigurationError, LockedProfileError
    from aiida.manage import get_manager
    from sqlalchemy.exc import SQLAlchemyError

    try:
        get_manager().get_profile_storage()
    except (ConfigurationError, LockedProfileError, SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, 'orig', error)).rstrip('.')  # the database's own words, without the SQL statement
        raise SetupError(
            f'the storage of profile `{profile.name}` does not open: {reason}. Restore a backup of it, or leave it and '
            'make another profile.'
        ) from error


def start_daemon(workers: int = 1) -> set[int]:
    """Start the daemon of the loaded profile, unless it is complete; return the processes whose tasks were lost.

    The rest of an incomplete daemon is ended first. Then no worker runs a process, and processes without a task get a
    new one.
    """
    from aiida.engine.daemon import client

    # AiiDA searches `verdi` only on PATH, which lacks it or has another one if this environment is not activated
    client.VERDI_BIN = shutil.which('verdi', path=str(_bin())) or client.VERDI_BIN
    daemon = client.get_daemon_client()
    if _answers(daemon) and is_whole(daemon_parts(daemon)):
        return set()
    end_daemon()
    forget_broker()
    lost = repair_tasks()
    daemon.start_daemon(number_workers=workers, timeout=_DAEMON_TIMEOUT_SECONDS)
    _wait_until_whole(daemon)
    return lost


def lost_words(lost: set[int]) -> str:
    """Return the sentence about processes that got a new task from ``start_daemon``."""
    return f'{len(lost)} processes had lost their task in a crash; they have a new one.'


def waiting_words(directory: Path) -> str:
    """Return the sentences about unfinished processes in a directory that no command follows.

    Studies of another version are paused, and no command continues them.
    """
    from aiida.orm import QueryBuilder, WorkChainNode

    from aiida_mghdiff.workflows.study import StudyWorkChain
    from aiida_mghdiff.workflows.survival import version_message

    if not (active := active_processes()):
        return ''
    of_studies = {'id': {'in': list(active)}, 'process_type': StudyWorkChain.build_process_type()}
    studies = QueryBuilder().append(WorkChainNode, filters=of_studies).all(flat=True)
    paused = [message for study in studies if (message := version_message(study, StudyWorkChain))]
    advice = f'To continue them, call its command again, or `aiida-mghdiff profile {shlex.quote(str(directory))}`.'
    if paused and len(paused) == len(studies):
        advice = 'Its workflows are paused.'
    words = f'\n{len(active)} processes of an earlier study in {directory} are not finished. {advice}'
    return ' '.join([words, *paused])


def _wait_until_whole(daemon: DaemonClient) -> None:
    """Wait for the broker and the workers, which the daemon starts after it answers."""
    end = time.monotonic() + _DAEMON_TIMEOUT_SECONDS
    while time.monotonic() < end and not is_whole(daemon_parts(daemon)):
        time.sleep(_LOOK_SECONDS)


def end_daemon() -> None:
    """End the daemon of the loaded profile with all its parts, in whatever state; jobs go on."""
    from aiida.engine.daemon.client import DaemonException, get_daemon_client

    with suppress(DaemonException):  # a daemon that restarts a worker takes no command
        stop_daemon()
    client = get_daemon_client()
    _end([process for process in psutil.process_iter() if _is_part(process, client.profile.name)])
    _delete_sockets(_socket_folder(client))


@dataclass(frozen=True)
class Part:
    """A process of the daemon, its ``role`` (``broker`` or ``worker``), and when it ``began`` (s since the epoch)."""

    pid: int
    role: str
    began: float


def daemon_parts(daemon: DaemonClient) -> set[Part]:
    """Return the broker and the workers that run under the daemon."""
    pid, parts = daemon.get_daemon_pid(), set()
    for process in psutil.Process(pid).children() if _lives(daemon) else ():
        with suppress(psutil.NoSuchProcess):  # the process just ended, or is a zombie
            words = process.cmdline()
            if words[2:5] == ['-p', daemon.profile.name, 'daemon']:
                parts.add(Part(process.pid, words[5], process.create_time()))
    return parts


def is_whole(parts: set[Part]) -> bool:
    """Return whether there is a broker, and all workers began after it: older workers use the previous broker.

    The daemon restarts a killed broker, but the new broker listens at another address.
    """
    brokers = [part.began for part in parts if part.role == 'broker']
    workers = [part.began for part in parts if part.role == 'worker']
    return bool(brokers and workers) and max(brokers) <= min(workers)


class DaemonKeeper:
    """Watches the daemon of a study, and repairs the damage of a crash."""

    def __init__(self, patience: float = _PATIENCE_SECONDS) -> None:
        """Begin to watch the daemon.

        :param patience: time in s that a fault must last before it is repaired. Shorter faults are normal: a user may
        restart the daemon, or a new process may not have its task yet.
        """
        self.patience = patience
        self.parts: set[Part] = set()
        self.since: dict[str, float] = {}

    def keep(self) -> str | None:
        """Restart the daemon if a fault lasts; return one sentence about the repair, or None.

        Only while no worker runs is it certain which processes have no task.
        """
        now = time.monotonic()
        self.since = {fault: self.since.get(fault, now) for fault in sorted(self.faults())}
        lasting = [fault for fault, since in self.since.items() if now - since >= self.patience]
        if not lasting:
            return None
        workers = sum(part.role == 'worker' for part in self.parts)
        end_daemon()
        lost = start_daemon(max(workers, 1))
        self.parts, self.since = set(), {}
        revived = f'{len(lost)} processes got a new task' if lost else 'every process has its task'
        return f'AiiDA had lost {", ".join(lasting[:_MOST_NAMED])}: its daemon was started again, and {revived}.'

    def heal(self, tell: Callable[[str], None]) -> None:
        """Wait until no fault is left, or until every lasting fault is repaired.

        :param tell: takes a sentence about a suspected fault, and a sentence about the repair.
        """
        if faults := sorted(self.faults()):
            tell(f'AiiDA may have lost {", ".join(faults[:_MOST_NAMED])}: watching for {self.patience:g} s.')
        while self.faults():
            if done := self.keep():
                return tell(done)
            time.sleep(_LOOK_SECONDS)
        return None

    def faults(self) -> set[str]:
        """Return the parts of the daemon and the tasks that are lost now.

        A replaced worker counts as a fault, too: the broker may not have noticed, and keep its tasks from other
        workers.
        """
        from aiida.engine.daemon.client import get_daemon_client

        daemon = get_daemon_client()
        if not _lives(daemon):
            return {'its daemon'}
        parts = daemon_parts(daemon)
        if {part.role for part in self.parts - parts} == {'worker'}:
            return {'its worker'}
        if not is_whole(parts):
            return {'its broker'}
        self.parts = parts
        return {f'the task of process<{pk}>' for pk in lost_processes()}


def _lives(daemon: DaemonClient) -> bool:
    """Return whether the daemon's process exists: its process id file outlives a power cut."""
    pid = daemon.get_daemon_pid()
    try:
        process = psutil.Process(pid) if pid else None
        if process is None or not _is_part(process, daemon.profile.name):
            return False
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end(processes: list[psutil.Process]) -> None:
    """End processes, by force if they do not end in time; return after all have ended."""
    for signal in ('terminate', 'kill'):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                getattr(process, signal)()
        processes = psutil.wait_procs(processes, timeout=_END_SECONDS)[1]


def _is_part(process: psutil.Process, profile: str) -> bool:
    """Return whether a process is the profile's daemon or a part: worker, broker, or the statistics of circus.

    Parts of a killed daemon run on, and nothing else would ever end them.
    """
    from aiida.manage.configuration import get_config

    try:
        words, folder = process.cmdline(), process.environ().get('AIIDA_PATH')
    except psutil.Error:  # the process ended meanwhile, or belongs to another user
        return False
    if folder != get_config().dirpath:  # AiiDA sets this variable for its daemons
        return False
    is_statistics = words[2:3] == [_STATISTICS] and words[-1].endswith(f'/circus-{profile}.log')
    return is_statistics or words[2:6] in (['-p', profile, 'daemon', part] for part in _PARTS)


def _answers(daemon: DaemonClient) -> bool:
    """Return whether the daemon lives and answers."""
    from aiida.engine.daemon.client import DaemonException

    try:
        return _lives(daemon) and bool(daemon.get_status(timeout=_DAEMON_TIMEOUT_SECONDS))
    except DaemonException:
        return False


def stop_daemon() -> None:
    """Stop the daemon of the loaded profile, if it runs; jobs go on, and the next daemon picks them up."""
    from aiida.engine.daemon.client import get_daemon_client

    client = get_daemon_client()
    if _answers(client):
        sockets = _socket_folder(client)
        client.stop_daemon(wait=True, timeout=_DAEMON_TIMEOUT_SECONDS)
        _delete_sockets(sockets)


def _socket_folder(client: DaemonClient) -> Path | None:
    """Return the temporary folder with the sockets of the daemon, also if the daemon was killed."""
    file = Path(client.circus_socket_file)
    return Path(file.read_text().strip()) if file.is_file() else None


def _delete_sockets(folder: Path | None) -> None:
    """Delete the sockets of a daemon that ended; AiiDA may have deleted a new daemon's folder instead."""
    if folder is None:
        return
    for path in folder.glob('circus.*.sock'):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # the folder is gone, or contains other files
        folder.rmdir()


def setup_codes(
    *,
    label: str = COMPUTER,
    workdir: Path | None = None,
    slots: int | None = None,
    threads: int | None = None,
    python: str | None = None,
    lmp: str | None = None,
    vasp: str | None = None,
    vasp_neb: str | None = None,
    gpaw: str | None = None,
    suffix: str = '',
    prepend_text: str = '',
) -> dict[str, InstalledCode]:
    """Set up this machine: the computer with `mghdiff.direct`, and a code for each engine; all of them or nothing.

    :param workdir: folder in which jobs run; by default `scratch/` in AiiDA's configuration folder.
    :param slots: number of jobs that run at a time; by default 2, or the number of the existing computer.
    :param threads: OMP_NUM_THREADS of a job; by default the cores of this machine divided by the slots.
    :param python: interpreter of the environment with the engines; by default this one.
    :param lmp: a LAMMPS executable with MACE, which also gets a code that converts MACE models; by default the
        `mghdiff-lmp` beside the interpreter.
    :param vasp: a VASP executable; by default the `mghdiff-vasp-standin` beside the interpreter, if it exists.
    :param vasp_neb: a VASP executable with VTST; by default none.
    :param gpaw: an interpreter with GPAW; by default the engines' or Debian's interpreter, if one of them has GPAW.
    :returns: codes by role: `python`, `lammps`, and if available `convert`, `vasp`, `vasp_neb` and `gpaw`.
    :raises SetupError: if another computer or code has the label already, or an executable is missing.
    """
    python = python or str(Path(sys.prefix) / 'bin' / 'python')
    lmp = lmp or str(Path(python).parent / LAUNCHER)
    standin = Path(python).parent / STANDIN
    vasp = vasp or (str(standin) if standin.exists() else None)
    gpaw = gpaw or next(filter(has_gpaw, (python, DEBIAN_PYTHON)), None)
    with all_or_nothing():
        computer = local_computer(label, workdir)
        set_resources(computer, slots, threads)
        return add_codes(computer, python, lmp, vasp, gpaw, vasp_neb=vasp_neb, suffix=suffix, prepend_text=prepend_text)


def all_or_nothing() -> AbstractContextManager[Any]:
    """Return a context that removes everything stored in it if it ends with an exception."""
    from aiida.manage import get_manager

    return get_manager().get_profile_storage().transaction()


def set_resources(computer: Computer, slots: int | None, threads: int | None) -> None:
    """Set the number of jobs that run at a time, and the threads of each; see `setup_codes`."""
    if slots is None and not computer.get_prepend_text():
        slots = min(2, available_cores())
    if slots is not None:
        set_slots(computer, slots)
        threads = threads or max(1, available_cores() // slots)
    if threads is not None:
        computer.set_prepend_text(f'export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{threads}}}')


def local_computer(label: str = COMPUTER, workdir: Path | None = None) -> Computer:
    """Load the computer for jobs on this machine, or make and configure it.

    :raises SetupError: if the computer exists with another scheduler or work directory, if it belongs to another
        machine, or if a new computer does not work.
    """
    from aiida.common.exceptions import NotExistent
    from aiida.orm import load_computer

    try:
        computer = load_computer(label)
    except NotExistent:
        return _make_computer(label, workdir or _default_workdir())
    if computer.scheduler_type != SCHEDULER:
        raise SetupError(
            f'computer `{label}` exists with the scheduler `{computer.scheduler_type}`: '
            f'choose another label for a computer with `{SCHEDULER}`.'
        )
    if workdir is not None and Path(computer.get_workdir()) != workdir.resolve():
        raise SetupError(
            f'computer `{label}` exists with the work directory {computer.get_workdir()}: '
            f'choose another label for a computer in {workdir.resolve()}.'
        )
    if not computer.is_configured:
        raise SetupError(f'computer `{label}` came with an archive: choose another label for this machine.')
    return computer


def _loaded_profile() -> Profile:
    from aiida.manage.configuration import get_profile

    profile = get_profile()
    assert profile is not None  # each command loads a profile first
    return profile


def _default_workdir() -> Path:
    from aiida.manage.configuration import get_config

    return Path(get_config().dirpath) / 'scratch' / _loaded_profile().name


def _make_computer(label: str, workdir: Path) -> Computer:
    from aiida.orm import Computer

    if {'{', '}'} & set(str(workdir)):
        raise SetupError(
            f'the work directory {workdir} contains braces, which AiiDA replaces by names. Choose another folder.'
        )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f'the work directory {workdir} cannot be made: {error}. Choose another folder.') from error
    computer = Computer(
        label=label,
        hostname='localhost',
        description='This machine, with its own queue (aiida-mghdiff)',
        transport_type='core.local',
        scheduler_type=SCHEDULER,
        workdir=str(workdir.resolve()),
    ).store()
    computer.configure(safe_interval=0, use_login_shell=False)
    computer.set_minimum_job_poll_interval(2)
    computer.set_default_mpiprocs_per_machine(1)
    if message := computer_message(computer):
        raise SetupError(f'{message} Nothing was stored.')
    return computer


def add_codes(
    computer: Computer,
    python: str,
    lmp: str | None,
    vasp: str | None = None,
    gpaw: str | None = None,
    *,
    vasp_neb: str | None = None,
    suffix: str = '',
    prepend_text: str = '',
) -> dict[str, InstalledCode]:
    """Load or make the codes of a computer: the Python interpreter, and LAMMPS, VASP and GPAW if available.

    :param lmp: the LAMMPS executable; None for no code. A LAMMPS other than ``mghdiff-lmp`` also gets the code
        ``convert``, the program beside the interpreter that converts MACE models for LAMMPS.
    :param vasp: the VASP executable; None for no code.
    :param gpaw: a Python interpreter with GPAW; None for no code.
    :param vasp_neb: a VASP executable with VTST; None for no code.
    :raises SetupError: if an executable is missing, or an existing code of the same label has another executable.
    """
    if gpaw is not None and _is_here(computer) and not has_gpaw(gpaw):
        raise SetupError(f'{gpaw} has no GPAW: `apt-get install gpaw gpaw-data`, or name another interpreter.')
    is_own = lmp is not None and Path(lmp).name != LAUNCHER
    labels = {
        'python': ('python', python),
        'lammps': ('lmp' if is_own else LAUNCHER, lmp),
        'convert': (CONVERTER, str(Path(_absolute(computer, python)).parent / CONVERTER) if is_own else None),
        'vasp': (STANDIN if vasp and Path(vasp).name == STANDIN else 'vasp', vasp),
        'vasp_neb': ('vasp_vtst', vasp_neb),
        'gpaw': ('gpaw', gpaw),
    }
    return {
        role: _code(computer, f'{label}{suffix}', executable, role, prepend_text)
        for role, (label, executable) in labels.items()
        if executable is not None
    }


@functools.cache
def has_gpaw(python: str) -> bool:
    """Return whether an interpreter of this machine exists and can import GPAW."""
    if shutil.which(python) is None:
        return False
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('gpaw') is None)"
    return subprocess.run([python, '-c', look], capture_output=True, check=False).returncode == 0


def _code(computer: Computer, label: str, executable: str, role: str, prepend_text: str) -> InstalledCode:
    from aiida.common.exceptions import NotExistent
    from aiida.orm import InstalledCode, load_code

    executable = _absolute(computer, executable)
    try:
        code = load_code(f'{label}@{computer.label}')
    except NotExistent:
        code = InstalledCode(
            label=label,
            computer=computer,
            filepath_executable=executable,
            description=f'aiida-mghdiff: {role}',
            default_calc_job_plugin=DEFAULT_JOBS.get(role),
            prepend_text=prepend_text,
        ).store()
    if (str(code.filepath_executable), code.prepend_text) != (executable, prepend_text):
        raise SetupError(
            f'code `{code.full_label}` exists and leads to {code.filepath_executable} '
            f'(prepend text {code.prepend_text!r}): choose another label for the new code (setup --suffix).'
        )
    code.base.extras.set(ROLE, role)
    return code  # type: ignore[return-value]  # its entry point has an executable


def _absolute(computer: Computer, executable: str) -> str:
    """Return the absolute path of an executable; on this machine the executable must exist."""
    if not _is_here(computer):
        return executable
    found = shutil.which(executable)
    if found is None:
        raise SetupError(f'no executable {executable}: install `aiida-mghdiff[engines]` there, or name another.')
    return str(Path(found).absolute())


def _is_here(computer: Computer) -> bool:
    """Return whether a computer is this machine."""
    return computer.transport_type == 'core.local'


def enable_caching() -> None:
    """Let the loaded profile re-use finished jobs of this plugin for equal inputs."""
    from aiida.manage.configuration import get_config

    config, profile = get_config(), _loaded_profile()
    patterns = config.get_option('caching.enabled_for', scope=profile.name)
    if CACHING_PATTERN not in patterns:
        config.set_option('caching.enabled_for', [*patterns, CACHING_PATTERN], scope=profile.name)
        config.store()


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
