"""`mghdiff.direct`: AiiDA's direct execution with a queue of N slots and an enforced wall time.

`core.direct` starts every job at once and never ends a job. Here a job waits, first come first served, until one of the
machine's N slots is free, and ends when its wall time is over. There is no server: each submit script contains
`slots.sh`, which queues with file locks in `<work directory of the computer>/.mghdiff-direct`, then runs the job.

The file `slots` in this folder holds the number of slots (default 1). `set_slots` or `aiida-mghdiff setup --slots N`
sets it, also for jobs already waiting. One job takes one slot, with any number of cores. Computers of other profiles
have their own work directories, and so their own slots.

The machine needs bash, flock (util-linux), timeout (coreutils) and ps (procps).

A login shell may print banners, warnings or colours. So each answer of the machine begins on a new line, and only lines
in the form of an answer are read.
"""

from __future__ import annotations

import re
import shlex
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from aiida.engine import CalcJob
from aiida.schedulers import SchedulerError
from aiida.schedulers.datastructures import JobInfo, JobState, JobTemplate
from aiida.schedulers.plugins.direct import DirectScheduler

from aiida_mghdiff.formats.text import split_lines

if TYPE_CHECKING:
    from aiida.engine import ExitCode
    from aiida.orm import Computer

_QUEUED, _RUNNING = 'mghdiff-queued', 'mghdiff-running'
_WALL_TIME_MESSAGE = 'mghdiff.direct: the job was ended at its wall time limit'
_FOLDER = '.mghdiff-direct'

#: Colours, window titles and cursor movements of a terminal.
_ESCAPES = re.compile(r'\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])')
#: The line with the job id.
_JOB_ID = re.compile(r'mghdiff-job ([1-9][0-9]*)')
#: A line of `_get_joblist_command` about any process.
_PROCESS = re.compile(r'[1-9][0-9]*\s+\S+\s+\S+\s+[0-9]+\s+.+')
#: A line of `_get_joblist_command`: id, state, user, seconds and the name of a job of this scheduler.
_JOB = re.compile(rf'([1-9][0-9]*)\s+\S+\s+\S+\s+[0-9]+\s+({_QUEUED}|{_RUNNING})(?:\s.*)?')


class SlotScheduler(DirectScheduler):
    """Direct execution with N slots, first come first served, and an enforced wall time."""

    _logger = DirectScheduler._logger.getChild('slots')

    #: Time in seconds between TERM and KILL, at the wall time and when a job is killed.
    _KILL_GRACE_SECONDS = 15

    def _get_submit_script_header(self, job_tmpl: JobTemplate) -> str:
        """Return the queue and the wall time (`slots.sh`), then the header of `core.direct`."""
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
        """Start the script detached; once in the queue, it prints its process id, which is the job id."""
        return f'(exec -a {_QUEUED} bash {submit_script} queue < /dev/null &)'

    def _parse_submit_output(self, retval: int, stdout: str, stderr: str) -> str:
        """Return the job id from the line that names it, whatever a login shell printed before and after it.

        :raises SchedulerError: without such a line, or if the command failed.
        """
        found = [match[1] for line in _lines(stdout) if (match := _JOB_ID.fullmatch(line))]
        if retval == 0 and found:
            return found[-1]
        raise SchedulerError(
            f'The machine gave no job id: exit status {retval}, output {_end_of(stdout)}, errors {_end_of(stderr)}. '
            'Correct these errors. If a profile file of the login shell ends the shell, let AiiDA use no login '
            'shell: `verdi computer configure core.local COMPUTER --no-use-login-shell` (core.ssh likewise).'
        )

    def _get_joblist_command(self, jobs: list[str] | None = None, user: str | None = None) -> str:
        """List process id, state, user, elapsed seconds and command of the given jobs or of all processes.

        The list always contains the shell itself, so that `ps` fails (2) only if it does not work, and not if all jobs
        are over.
        """
        which = f'-p "$$",{",".join(jobs)}' if jobs else '-u "$(id -u)"'
        return f'echo; ps {which} -o pid=,stat=,user=,etimes=,args= || exit 2'

    def _parse_joblist_output(self, retval: int, stdout: str, stderr: str) -> list[JobInfo]:
        """Keep the lines of `ps` about jobs of this scheduler, without ids that another process reuses.

        :raises SchedulerError: if `ps` did not work or did not run, so that no running job counts as ended.
        """
        lines = _lines(stdout)
        if retval > 1 or not any(map(_PROCESS.fullmatch, lines)):
            raise SchedulerError(
                f'The jobs of the machine cannot be listed: exit status {retval}, output {_end_of(stdout)}, errors '
                f'{_end_of(stderr)}. If `ps` is missing there, install procps. If a profile file of the login shell '
                'ends the shell, let AiiDA use no login shell.'
            )
        matches = [match for line in lines if (match := _JOB.fullmatch(line))]
        states = {match[1]: match[2] for match in matches}
        jobs = super()._parse_joblist_output(0, '\n'.join(match[0] for match in matches), '')
        for job in jobs:
            if states[job.job_id] == _QUEUED:
                job.job_state = JobState.QUEUED
        return jobs

    def _convert_time(self, string: str) -> int:
        """Return the seconds since submission."""
        return int(string)

    def _get_kill_command(self, jobid: int | str) -> str:
        """End a queued or running job with all its processes. A job that is over is no error."""
        return f'case "$(ps -p {jobid} -o args=)" in mghdiff-*) kill -TERM {jobid};; esac'

    def _parse_kill_output(self, retval: int, stdout: str, stderr: str) -> bool:
        """Return whether the job was told to end. Other output of a login shell does not matter."""
        return super()._parse_kill_output(retval, '', '' if retval == 0 else stderr)

    def parse_output(
        self,
        detailed_job_info: dict[str, str | int] | None = None,
        stdout: str | None = None,
        stderr: str | None = None,
    ) -> ExitCode | None:
        """Return the engine's own exit code (120) for a job that reached its wall time."""
        if any(_WALL_TIME_MESSAGE in (text or '') for text in (stderr, stdout)):
            return CalcJob.exit_codes.ERROR_SCHEDULER_OUT_OF_WALLTIME
        return None


def _lines(text: str) -> list[str]:
    """Return the lines of a text, without colours, empty lines, and blanks at their ends."""
    return [line.strip() for line in split_lines(_ESCAPES.sub('', text)) if line.strip()]


def _end_of(text: str) -> str:
    """Return the last lines of an output, for a message."""
    lines = _lines(text)[-3:]
    return repr('; '.join(lines)) if lines else 'none'


def set_slots(computer: Computer, slots: int) -> None:
    """Let at most `slots` jobs run at a time on a configured computer, including jobs already waiting.

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
        raise OSError(f'could not set the number of slots of computer `{computer.label}`: {_end_of(stderr)}')
