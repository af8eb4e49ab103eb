"""`mghdiff.direct`: AiiDA's direct execution with a queue of N slots and an enforced wall time.

`core.direct` starts every job at once and never ends one. Here a job waits, first come first served, until one of the
machine's N slots is free, and is ended when its wall time is over. There is no server: each submit script contains
`slots.sh`, which queues with file locks in `<work directory of the computer>/.mghdiff-direct`, then runs the job.

The number of slots is the number in the file `slots` of that folder (1 without it), set with `set_slots` or
`aiida-mghdiff setup --slots N`; a change holds for the jobs already waiting too. One job takes one slot, however many
cores it uses. Computers of other profiles have work directories of their own, and so slots of their own.

Needs bash, flock (util-linux), timeout (coreutils) and ps (procps) on the machine: any Linux.
"""

from __future__ import annotations

import shlex
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from aiida.engine import CalcJob
from aiida.schedulers.datastructures import JobInfo, JobState, JobTemplate
from aiida.schedulers.plugins.direct import DirectScheduler

if TYPE_CHECKING:
    from aiida.engine import ExitCode
    from aiida.orm import Computer

_QUEUED, _RUNNING = 'mghdiff-queued', 'mghdiff-running'
_WALL_TIME_MESSAGE = 'mghdiff.direct: the job was ended at its wall time limit'
_FOLDER = '.mghdiff-direct'


class SlotScheduler(DirectScheduler):
    """Direct execution with N slots, first come first served, and an enforced wall time."""

    _logger = DirectScheduler._logger.getChild('slots')

    #: Time in seconds between TERM and KILL, at the wall time and when a job is killed.
    _KILL_GRACE_SECONDS = 15

    def _get_submit_script_header(self, job_tmpl: JobTemplate) -> str:
        """The queue and the wall time (`slots.sh`), then the header of `core.direct`."""
        values = {
            '@LIMIT@': int(job_tmpl.max_wallclock_seconds or 0),
            '@GRACE@': self._KILL_GRACE_SECONDS,
            '@LOG@': job_tmpl.sched_error_path or job_tmpl.sched_output_path or '/dev/null',
        }
        queue = resources.files(__package__).joinpath('slots.sh').read_text(encoding='utf-8')
        for key, value in values.items():
            queue = queue.replace(key, shlex.quote(str(value)))
        return queue + super()._get_submit_script_header(job_tmpl)

    def _get_submit_command(self, submit_script: str) -> str:
        """Start the script detached; it prints its process id, the job id, as soon as it stands in the queue."""
        return f'(exec -a {_QUEUED} bash {submit_script} queue < /dev/null &)'

    def _get_joblist_command(self, jobs: list[str] | None = None, user: str | None = None) -> str:
        """List process id, state, user, elapsed seconds and command of the given jobs or of all processes."""
        which = f'-p {",".join(jobs)}' if jobs else '-u "$(id -u)"'
        return f'ps {which} -o pid=,stat=,user=,etimes=,args='

    def _parse_joblist_output(self, retval: int, stdout: str, stderr: str) -> list[JobInfo]:
        """Keep the processes that are jobs of this scheduler: an id re-used by another process is not one."""
        states = {fields[0]: fields[4] for line in stdout.splitlines() if len(fields := line.split()) > 4}
        lines = [line for line in stdout.splitlines() if states.get(line.split()[0]) in (_QUEUED, _RUNNING)]
        jobs = super()._parse_joblist_output(retval, '\n'.join(lines), stderr)
        for job in jobs:
            if states[job.job_id] == _QUEUED:
                job.job_state = JobState.QUEUED
        return jobs

    def _convert_time(self, string: str) -> int:
        """Seconds since submission."""
        return int(string)

    def _get_kill_command(self, jobid: int | str) -> str:
        """End a job, queued or running, with all its processes; a job that is over already is no error."""
        return f'case "$(ps -p {jobid} -o args=)" in mghdiff-*) kill -TERM {jobid};; esac'

    def parse_output(
        self,
        detailed_job_info: dict[str, str | int] | None = None,
        stdout: str | None = None,
        stderr: str | None = None,
    ) -> ExitCode | None:
        """Return the engine's own exit code (120) for a job that was ended at its wall time."""
        if any(_WALL_TIME_MESSAGE in (text or '') for text in (stderr, stdout)):
            return CalcJob.exit_codes.ERROR_SCHEDULER_OUT_OF_WALLTIME
        return None


def set_slots(computer: Computer, slots: int) -> None:
    """Let at most `slots` jobs run at a time on a configured computer; jobs already waiting heed it too.

    :raises ValueError: if `slots` is not at least 1.
    :raises OSError: if the machine's work directory cannot be written.
    """
    if slots < 1:
        raise ValueError(f'the number of slots must be at least 1, not {slots}')
    with computer.get_transport() as transport:
        folder = PurePosixPath(computer.get_workdir().format(username=transport.whoami())) / _FOLDER
        transport.makedirs(str(folder), ignore_existing=True)
        command = f'echo {slots} > {shlex.quote(str(folder / "slots"))}'
        status, _, stderr = transport.exec_command_wait(command)
    if status != 0:
        raise OSError(f'could not set the number of slots of computer `{computer.label}`: {stderr.strip()}')
