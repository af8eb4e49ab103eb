"""What a study needs around it: a profile, a running daemon, a computer and codes.

Everything here can be called again: what exists and is as asked is left alone, what exists and differs is named.
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
#: The interpreter that has the GPAW of Debian's package.
DEBIAN_PYTHON = '/usr/bin/python3'

#: The attribute of a code that says what `setup` made it for.
ROLE = 'mghdiff_role'
DEFAULT_JOBS = {'lammps': 'mghdiff.lammps.md', 'vasp': 'mghdiff.vasp.mlff', 'gpaw': 'mghdiff.gpaw.singlepoint'}

#: AiiDA's default (2 s) is too short on a machine whose cores are all busy with jobs.
_DAEMON_TIMEOUT_SECONDS = 60
#: Between TERM and KILL, for a worker or a daemon that does not end.
_END_SECONDS = 10
#: Between looks at a daemon that starts.
_LOOK_SECONDS = 0.2
#: `verdi daemon restart` takes as long on a busy machine.
_PATIENCE_SECONDS = 20.0
_MOST_NAMED = 3
#: Commands of `verdi daemon` that run as long as the daemon does.
_PARTS = ('start-circus', 'worker', 'broker')
#: What circus, AiiDA's supervisor, runs beside the workers.
_STATISTICS = 'from circus import stats; stats.main()'


#: In the path of a profile: its storage takes % for a code, AIIDA_PATH takes : for the end of a path, and the work
#: directory of a computer takes braces for the user's name.
_NOT_IN_PROFILES = '%:{}\n'
#: The sockets of the daemon's broker lie in the folder of temporary files, and Linux allows their paths 107 bytes.
_SOCKET, _SOCKET_BYTES = '/aiida_zeromq_12345678/router.sock', 107

#: Where libraries keep what they make once: by default in the user's home and in the folder of temporary files. Each
#: variable leads to its folder in `.cache` of a profile; the first one holds for all libraries that follow XDG.
_CACHES = {
    'XDG_CACHE_HOME': '',
    'MPLCONFIGDIR': 'matplotlib',
    'TORCHINDUCTOR_CACHE_DIR': 'torchinductor',
    'TRITON_CACHE_DIR': 'triton',
    'CUDA_CACHE_PATH': 'cuda',
}


class SetupError(Exception):
    """Something exists that is not what was asked for, or is missing; the message names the remedy."""


def make_profile(directory: Path, name: str = PROFILE) -> Profile:
    """Load the profile of an `AIIDA_PATH` of its own, and make it where it does not exist.

    SQLite storage and the ZeroMQ broker: no service is needed, and nothing outside of the directory is touched. The
    environment variable `AIIDA_PATH` of this process and its children leads to the directory from now on, and so do
    those of caches.

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
        config.set_option('runner.poll.interval', 5, scope=name)  # the broker tells at once; this is its safety net
        config.set_default_profile(name, overwrite=True)
        config.store()
    return load_profile(name, allow_switch=True)


def check_place(directory: Path) -> None:
    """Make a directory, once it is sure that a profile and its daemon can live there.

    :raises SetupError: with the reason and the remedy.
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
            f"AiiDA's daemon cannot use the folder of temporary files {temporary}: set TMPDIR to one whose path has at "
            f'most {most} bytes.'
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f'AiiDA cannot keep a profile in {folder}: it cannot be made ({error.strerror}). Choose another folder.'
        ) from error


def environment_message() -> str | None:
    """Return why AiiDA's daemon cannot be started from the environment of this process."""
    if _is_one_word(str(_bin() / 'verdi')):
        return None
    return (
        f"AiiDA's daemon cannot be started from the environment {sys.prefix}: make the environment in a folder without "
        'blanks, quotes and backslashes in its path (in a checkout: `make VENV=/that/folder ...`).'
    )


def _bin() -> Path:
    """Return the folder of this environment's commands."""
    return Path(sys.executable).parent


def _is_one_word(path: str) -> bool:
    """Whether a path is one word of a command line, which is what AiiDA hands to its supervisor."""
    try:
        return shlex.split(path) == [path]
    except ValueError:  # a quote that is not closed
        return False


def use_directory(directory: Path) -> None:
    """Let AiiDA's configuration and the caches of libraries live in a directory, in this process and its children."""
    from aiida.manage.configuration import reset_config
    from aiida.manage.configuration.settings import AiiDAConfigDir

    folder = directory.resolve() / '.aiida'
    os.environ['AIIDA_PATH'] = str(folder)
    os.environ.update({name: str(folder.with_name('.cache') / part) for name, part in _CACHES.items()})
    reset_config()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # "Creating AiiDA configuration folder": that is what we ask for
        AiiDAConfigDir.set(folder)


def load(profile: str | None) -> Profile:
    """Load a profile, or the default one, and open its storage.

    :raises SetupError: if there is none, or its storage does not open.
    """
    from aiida.common.exceptions import ConfigurationError, MissingConfigurationError, ProfileConfigurationError
    from aiida.manage.configuration import load_profile

    try:
        loaded = load_profile(profile)
    except (ProfileConfigurationError, MissingConfigurationError) as error:
        # AiiDA appends its whole configuration, or names a folder that this command alone saw
        is_new = isinstance(error, MissingConfigurationError)
        reason = 'none has been made' if is_new else str(error).split(': None')[0]
        raise SetupError(
            f'no AiiDA profile ({reason}): make one with `verdi presto`, or see `verdi profile list`.'
        ) from error
    except ConfigurationError as error:
        raise SetupError(configuration_words(error)) from error
    open_storage(loaded)
    return loaded


def configuration_words(error: Exception) -> str:
    """Return what to do where AiiDA's configuration cannot be read."""
    return (
        f"AiiDA's configuration cannot be read ({error}): restore one of the copies config.json.* beside it, or move "
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
        reason = str(getattr(error, 'orig', error)).rstrip('.')  # in the database's own words, without the statement
        raise SetupError(
            f'the storage of profile `{profile.name}` does not open: {reason}. Restore a backup of it, or leave it and '
            'make another profile.'
        ) from error


def start_daemon(workers: int = 1) -> set[int]:
    """Start the daemon of the loaded profile, unless it runs as a whole; return the processes that it had lost.

    Of a daemon that is not whole the rest is ended first. Then nothing runs a process, and those that lost their task
    get one.
    """
    from aiida.engine.daemon import client

    # AiiDA looks for `verdi` on PATH alone: not there, or another one, where this environment is not activated
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
    """Return the sentence about processes that ``start_daemon`` gave a task."""
    return f'{len(lost)} processes had been lost in a crash; they have a task again.'


def waiting_words(directory: Path) -> str:
    """Return what becomes of the processes in a directory that are not over, where no command looks after them."""
    if not (count := len(active_processes())):
        return ''
    return (
        f'\n{count} processes of an earlier study in {directory} are not over: they go on when its command is called '
        f'again, or after `aiida-mghdiff profile {shlex.quote(str(directory))}`.'
    )


def _wait_until_whole(daemon: DaemonClient) -> None:
    """Wait for the broker and the workers, which the daemon starts after it answers."""
    end = time.monotonic() + _DAEMON_TIMEOUT_SECONDS
    while time.monotonic() < end and not is_whole(daemon_parts(daemon)):
        time.sleep(_LOOK_SECONDS)


def end_daemon() -> None:
    """End the daemon of the loaded profile with all its parts, however they are; jobs go on."""
    from aiida.engine.daemon.client import DaemonException, get_daemon_client

    with suppress(DaemonException):  # it may be restarting a worker, and take no command
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
        with suppress(psutil.NoSuchProcess):  # it ended just now, ZombieProcess included
            words = process.cmdline()
            if words[2:5] == ['-p', daemon.profile.name, 'daemon']:
                parts.add(Part(process.pid, words[5], process.create_time()))
    return parts


def is_whole(parts: set[Part]) -> bool:
    """Return whether there is a broker, and workers that began after it: older ones are connected to its predecessor.

    A broker that was killed is started again by the daemon, but takes messages at another place.
    """
    brokers = [part.began for part in parts if part.role == 'broker']
    workers = [part.began for part in parts if part.role == 'worker']
    return bool(brokers and workers) and max(brokers) <= min(workers)


class DaemonKeeper:
    """Looks after the daemon of a study, and heals what a crash has lost."""

    def __init__(self, patience: float = _PATIENCE_SECONDS) -> None:
        """Begin to look after the daemon.

        :param patience: how long in s a fault lasts before it is healed. A daemon may just be restarted by hand, and
            the task of a process that is just launched be on its way.
        """
        self.patience = patience
        self.parts: set[Part] = set()
        self.since: dict[str, float] = {}

    def keep(self) -> str | None:
        """Start the daemon anew where a fault lasts; return what was done, in one sentence, or None.

        Only while nothing runs a process it is certain which ones have no task.
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
        """Look until no fault is left, or until what lasts is healed.

        :param tell: takes a sentence about what is looked for, and about what was done.
        """
        if faults := sorted(self.faults()):
            tell(f'AiiDA may have lost {", ".join(faults[:_MOST_NAMED])}: looking for {self.patience:g} s.')
        while self.faults():
            if done := self.keep():
                return tell(done)
            time.sleep(_LOOK_SECONDS)
        return None

    def faults(self) -> set[str]:
        """Return what is lost now.

        A worker that was replaced counts, too: the broker may not have heard of it, and give its tasks to nobody.
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
    """Whether the daemon's process exists: its process id file outlives a power cut."""
    pid = daemon.get_daemon_pid()
    try:
        process = psutil.Process(pid) if pid else None
        if process is None or not _is_part(process, daemon.profile.name):
            return False
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end(processes: list[psutil.Process]) -> None:
    """End processes, those that do not end in time by force; return when they have ended."""
    for signal in ('terminate', 'kill'):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                getattr(process, signal)()
        processes = psutil.wait_procs(processes, timeout=_END_SECONDS)[1]


def _is_part(process: psutil.Process, profile: str) -> bool:
    """Whether a process is the daemon of the profile or a part of it: worker, broker, or the statistics of circus.

    Parts of a daemon that was killed run on: without it nothing else would ever end them.
    """
    from aiida.manage.configuration import get_config

    try:
        words, folder = process.cmdline(), process.environ().get('AIIDA_PATH')
    except psutil.Error:  # it ended meanwhile, or is another user's
        return False
    if folder != get_config().dirpath:  # as AiiDA sets it for its daemons
        return False
    is_statistics = words[2:3] == [_STATISTICS] and words[-1].endswith(f'/circus-{profile}.log')
    return is_statistics or words[2:6] in (['-p', profile, 'daemon', part] for part in _PARTS)


def _answers(daemon: DaemonClient) -> bool:
    """Whether the daemon lives and answers."""
    from aiida.engine.daemon.client import DaemonException

    try:
        return _lives(daemon) and bool(daemon.get_status(timeout=_DAEMON_TIMEOUT_SECONDS))
    except DaemonException:
        return False


def stop_daemon() -> None:
    """Stop the daemon of the loaded profile, if it runs; jobs go on and are picked up by the next daemon."""
    from aiida.engine.daemon.client import get_daemon_client

    client = get_daemon_client()
    if _answers(client):
        sockets = _socket_folder(client)
        client.stop_daemon(wait=True, timeout=_DAEMON_TIMEOUT_SECONDS)
        _delete_sockets(sockets)


def _socket_folder(client: DaemonClient) -> Path | None:
    """Return where the sockets of the daemon lie, or lay before it was killed: a folder of temporary files."""
    file = Path(client.circus_socket_file)
    return Path(file.read_text().strip()) if file.is_file() else None


def _delete_sockets(folder: Path | None) -> None:
    """Delete the sockets of a daemon that ended; AiiDA may have deleted another folder, a new one, in their place."""
    if folder is None:
        return
    for path in folder.glob('circus.*.sock'):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # it is gone, or has something else
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
    gpaw: str | None = None,
    suffix: str = '',
    prepend_text: str = '',
) -> dict[str, InstalledCode]:
    """Make this machine usable: the computer with `mghdiff.direct`, and a code for each engine; all of them or nothing.

    :param workdir: where jobs run; by default `scratch/` in AiiDA's configuration folder.
    :param slots: jobs that run at a time; by default 2, or what the existing computer has.
    :param threads: OMP_NUM_THREADS of a job; by default the cores of this machine over the slots.
    :param python: interpreter of the environment with the engines; by default this one.
    :param lmp: a LAMMPS executable with MACE, which gets a converter of its models; by default the `mghdiff-lmp` beside
        the interpreter.
    :param vasp: a VASP executable; by default the `mghdiff-vasp-standin` beside the interpreter, if there is one.
    :param gpaw: an interpreter that has GPAW; by default that of the engines or Debian's, where one of them has it.
    :returns: codes by role: `python`, `lammps`, and where there are any `convert`, `vasp` and `gpaw`.
    :raises SetupError: if a computer or a code of that label exists and is another one, or an executable is missing.
    """
    python = python or str(Path(sys.prefix) / 'bin' / 'python')
    lmp = lmp or str(Path(python).parent / LAUNCHER)
    standin = Path(python).parent / STANDIN
    vasp = vasp or (str(standin) if standin.exists() else None)
    gpaw = gpaw or next(filter(has_gpaw, (python, DEBIAN_PYTHON)), None)
    with all_or_nothing():
        computer = local_computer(label, workdir)
        set_resources(computer, slots, threads)
        return add_codes(computer, python, lmp, vasp, gpaw, suffix=suffix, prepend_text=prepend_text)


def all_or_nothing() -> AbstractContextManager[Any]:
    """Return a context that takes back what was stored in it if it ends with an exception."""
    from aiida.manage import get_manager

    return get_manager().get_profile_storage().transaction()


def set_resources(computer: Computer, slots: int | None, threads: int | None) -> None:
    """Set how many jobs run at a time, and the threads of each; see `setup_codes`."""
    if slots is None and not computer.get_prepend_text():
        slots = min(2, available_cores())
    if slots is not None:
        set_slots(computer, slots)
        threads = threads or max(1, available_cores() // slots)
    if threads is not None:
        computer.set_prepend_text(f'export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{threads}}}')


def local_computer(label: str = COMPUTER, workdir: Path | None = None) -> Computer:
    """Load or make and configure the computer for jobs on this machine.

    :raises SetupError: if a computer of that label exists with another scheduler or work directory or is another
        machine's, or a new one does not work.
    """
    from aiida.common.exceptions import NotExistent
    from aiida.orm import load_computer

    try:
        computer = load_computer(label)
    except NotExistent:
        return _make_computer(label, workdir or _default_workdir())
    if computer.scheduler_type != SCHEDULER:
        raise SetupError(
            f'computer `{label}` exists, with the scheduler `{computer.scheduler_type}`: '
            f'choose another label for one with `{SCHEDULER}`.'
        )
    if workdir is not None and Path(computer.get_workdir()) != workdir.resolve():
        raise SetupError(
            f'computer `{label}` exists, with the work directory {computer.get_workdir()}: '
            f'choose another label for one in {workdir.resolve()}.'
        )
    if not computer.is_configured:
        raise SetupError(f'computer `{label}` came with an archive: choose another label for this machine.')
    return computer


def _loaded_profile() -> Profile:
    from aiida.manage.configuration import get_profile

    profile = get_profile()
    assert profile is not None  # each command loads one first
    return profile


def _default_workdir() -> Path:
    from aiida.manage.configuration import get_config

    return Path(get_config().dirpath) / 'scratch' / _loaded_profile().name


def _make_computer(label: str, workdir: Path) -> Computer:
    from aiida.orm import Computer

    if {'{', '}'} & set(str(workdir)):
        raise SetupError(
            f'the work directory {workdir} has braces, which stand for names in AiiDA. Choose another one.'
        )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f'the work directory {workdir} cannot be made: {error}. Choose another one.') from error
    computer = Computer(
        label=label,
        hostname='localhost',
        description='This machine, with a queue of its own (aiida-mghdiff)',
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
    suffix: str = '',
    prepend_text: str = '',
) -> dict[str, InstalledCode]:
    """Load or make the codes of a computer: the Python interpreter, and what of LAMMPS, VASP and GPAW there is.

    :param lmp: LAMMPS, called as it is; None for none. ``vasp``: likewise. For a LAMMPS that is not ``mghdiff-lmp``
        there is the code ``convert``, too: the program beside the interpreter that converts models of MACE for it.
    :param gpaw: a Python interpreter that has GPAW; None for none.
    :raises SetupError: if an executable is missing or a code of that label leads to another one.
    """
    if gpaw is not None and _is_here(computer) and not has_gpaw(gpaw):
        raise SetupError(f'{gpaw} has no GPAW: `apt-get install gpaw gpaw-data`, or name another interpreter.')
    is_own = lmp is not None and Path(lmp).name != LAUNCHER
    labels = {
        'python': ('python', python),
        'lammps': ('lmp' if is_own else LAUNCHER, lmp),
        'convert': (CONVERTER, str(Path(_absolute(computer, python)).parent / CONVERTER) if is_own else None),
        'vasp': (STANDIN if vasp and Path(vasp).name == STANDIN else 'vasp', vasp),
        'gpaw': ('gpaw', gpaw),
    }
    return {
        role: _code(computer, f'{label}{suffix}', executable, role, prepend_text)
        for role, (label, executable) in labels.items()
        if executable is not None
    }


@functools.cache
def has_gpaw(python: str) -> bool:
    """Return whether an interpreter of this machine exists and finds GPAW."""
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
            f'(prepend text {code.prepend_text!r}): give the new one a name of its own (setup --suffix).'
        )
    code.base.extras.set(ROLE, role)
    return code  # type: ignore[return-value]  # it has an executable


def _absolute(computer: Computer, executable: str) -> str:
    """The path of an executable; on this machine it must exist."""
    if not _is_here(computer):
        return executable
    found = shutil.which(executable)
    if found is None:
        raise SetupError(f'no executable {executable}: install `aiida-mghdiff[engines]` there, or name another one.')
    return str(Path(found).absolute())


def _is_here(computer: Computer) -> bool:
    """Whether a computer is this machine."""
    return computer.transport_type == 'core.local'


def enable_caching() -> None:
    """Let the loaded profile re-use finished jobs of this plugin that have equal inputs."""
    from aiida.manage.configuration import get_config

    config, profile = get_config(), _loaded_profile()
    patterns = config.get_option('caching.enabled_for', scope=profile.name)
    if CACHING_PATTERN not in patterns:
        config.set_option('caching.enabled_for', [*patterns, CACHING_PATTERN], scope=profile.name)
        config.store()


def available_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
