"""The scheduler with real processes, through a real local transport."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time

import psutil
import pytest
from aiida import orm
from aiida.common.datastructures import CodeRunMode
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from aiida.schedulers import SchedulerError
from aiida.schedulers.datastructures import JobState, JobTemplate, JobTemplateCodeInfo
from aiida.transports.plugins.local import LocalTransport

from aiida_mghdiff.schedulers.direct import SlotScheduler, set_slots

RECORD = 'echo start $(date +%s%N) > times; sleep {seconds}; echo end $(date +%s%N) >> times'


class QuickScheduler(SlotScheduler):
    """Ends stubborn jobs sooner than the real scheduler."""

    _KILL_GRACE_SECONDS = 1


class Machine:
    """A work directory with slots, and jobs in it."""

    def __init__(self, scheduler, workdir):
        self.scheduler, self.workdir, self.ids = scheduler, workdir, []

    def slots(self, count):
        folder = self.workdir / '.mghdiff-direct'
        folder.mkdir(exist_ok=True)
        (folder / 'slots').write_text(f'{count}\n')

    def folder(self, job_id):
        return self.workdir / 'aa' / 'bb' / f'job-{self.ids.index(job_id)}'

    def submit(self, command, wall_time=None):
        folder = self.workdir / 'aa' / 'bb' / f'job-{len(self.ids)}'
        folder.mkdir(parents=True)
        (folder / '_aiidasubmit.sh').write_text(self.scheduler.get_submit_script(template(command, wall_time)))
        self.ids.append(self.scheduler.submit_job(str(folder), '_aiidasubmit.sh'))
        return self.ids[-1]

    def state(self, job_id):
        return self.scheduler.get_jobs(jobs=[job_id], as_dict=True)[job_id].job_state

    def wait(self, job_id, state=JobState.DONE, timeout=20):
        until(lambda: self.state(job_id) is state, timeout)

    def times(self, job_id):
        return [int(line.split()[1]) for line in (self.folder(job_id) / 'times').read_text().splitlines()]


def until(condition, timeout=20):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, 'timed out'
        time.sleep(0.05)


def template(command, wall_time=None):
    job = JobTemplate()
    job.codes_info = [JobTemplateCodeInfo(prepend_cmdline_params=[], cmdline_params=['bash', '-c', command])]
    job.codes_run_mode = CodeRunMode.SERIAL
    job.sched_output_path, job.sched_error_path = '_scheduler-stdout.txt', '_scheduler-stderr.txt'
    job.import_sys_environment = True
    job.max_wallclock_seconds = wall_time
    return job


@pytest.fixture
def machine(tmp_path):
    scheduler = QuickScheduler()
    with LocalTransport(use_login_shell=False) as transport:
        scheduler.set_transport(transport)
        machine = Machine(scheduler, tmp_path)
        yield machine
        for job_id in machine.ids:
            scheduler.kill_job(job_id)


def alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def descendants(job_id):
    return psutil.Process(int(job_id)).children(recursive=True)


def test_six_jobs_on_two_slots(machine):
    """At most two run at a time, in the order of submission."""
    machine.slots(0)
    ids = [machine.submit(RECORD.format(seconds=0.6)) for _ in range(6)]
    states = machine.scheduler.get_jobs(jobs=ids, as_dict=True)
    assert [states[job_id].job_state for job_id in ids] == [JobState.QUEUED] * 6
    machine.slots(2)
    for job_id in ids:
        machine.wait(job_id)
    spans = [machine.times(job_id) for job_id in ids]
    running = [sum(start <= moment < end for start, end in spans) for moment, _ in spans]
    assert max(running) == 2
    starts = [start for start, _ in spans]
    assert all(first < later for first, later in zip(starts, starts[2:], strict=False))  # neighbours start together
    assert list((machine.workdir / '.mghdiff-direct' / 'queue').iterdir()) == []


def test_first_come_first_served(machine):
    machine.slots(0)
    ids = [machine.submit(RECORD.format(seconds=0)) for _ in range(5)]
    machine.slots(1)
    for job_id in ids:
        machine.wait(job_id)
    moments = [moment for job_id in ids for moment in machine.times(job_id)]
    assert moments == sorted(moments)


def test_one_slot_by_default_and_more_while_waiting(machine):
    first, second = machine.submit('sleep 30'), machine.submit('sleep 30')
    machine.wait(first, JobState.RUNNING)
    time.sleep(1)
    assert machine.state(second) is JobState.QUEUED
    machine.slots(2)
    machine.wait(second, JobState.RUNNING, timeout=3)


def test_wall_time(machine):
    """The job's whole shell ends, the scheduler's output tells the reason, and the next job runs."""
    job_id = machine.submit('echo begun > begun; sleep 60; echo over > over', wall_time=2)
    follower = machine.submit(RECORD.format(seconds=0), wall_time=20)
    machine.wait(job_id, timeout=6)
    machine.wait(follower, timeout=6)
    folder = machine.folder(job_id)
    assert (folder / 'begun').exists()
    assert not (folder / 'over').exists()
    stderr = (folder / '_scheduler-stderr.txt').read_text()
    assert 'at its wall time limit of 2 s' in stderr
    assert machine.scheduler.parse_output(None, '', stderr).status == 120
    stderr = (machine.folder(follower) / '_scheduler-stderr.txt').read_text()
    assert machine.scheduler.parse_output(None, '', stderr) is None


def test_wall_time_of_a_stubborn_job(machine):
    """A job that ignores TERM is killed with its children after the grace time."""
    job_id = machine.submit('trap "" TERM; (sleep 61; sleep 61) & sleep 61; sleep 61', wall_time=1)
    machine.wait(job_id, JobState.RUNNING)
    until(lambda: len(descendants(job_id)) >= 4)
    processes = descendants(job_id)
    machine.wait(job_id, timeout=6)
    until(lambda: not any(alive(process) for process in processes), 3)
    assert 'wall time limit of 1 s' in (machine.folder(job_id) / '_scheduler-stderr.txt').read_text()


def test_wall_time_counts_from_the_start_of_the_job(machine):
    first = machine.submit(RECORD.format(seconds=2))
    second = machine.submit(RECORD.format(seconds=0.5), wall_time=2)
    machine.wait(first)
    machine.wait(second)
    assert len(machine.times(second)) == 2


def test_kill_queued(machine):
    """A killed waiting job leaves the queue; later jobs move up in their order."""
    ids = [machine.submit('sleep 30')] + [machine.submit(RECORD.format(seconds=0.2)) for _ in range(3)]
    machine.wait(ids[0], JobState.RUNNING)
    assert machine.scheduler.kill_job(ids[1])
    machine.wait(ids[1], timeout=3)
    assert machine.state(ids[2]) is JobState.QUEUED
    assert machine.scheduler.kill_job(ids[0])
    machine.wait(ids[2], timeout=5)
    machine.wait(ids[3], timeout=5)
    assert not (machine.folder(ids[1]) / 'times').exists()
    assert machine.times(ids[2])[0] < machine.times(ids[3])[0]


@pytest.mark.parametrize('command', ['sleep 62 & sleep 62', 'trap "" TERM; sleep 62 & sleep 62; sleep 62'])
def test_kill_running(machine, command):
    job_id = machine.submit(command)
    machine.wait(job_id, JobState.RUNNING)
    until(lambda: len(descendants(job_id)) >= 4)
    processes = descendants(job_id)
    assert machine.scheduler.kill_job(job_id)
    machine.wait(job_id, timeout=5)
    until(lambda: not any(alive(process) for process in processes), 3)
    assert 'wall time' not in (machine.folder(job_id) / '_scheduler-stderr.txt').read_text()


@pytest.mark.skipif(shutil.which('mpiexec') is None, reason='no mpiexec')
def test_kill_mpi(machine):
    """MPI launchers start ranks in sessions of their own, and the kill reaches them."""
    job_id = machine.submit('mpiexec -n 2 sleep 63')
    machine.wait(job_id, JobState.RUNNING)
    until(lambda: sum(alive(process) and process.name() == 'sleep' for process in descendants(job_id)) == 2)
    processes = descendants(job_id)
    assert machine.scheduler.kill_job(job_id)
    until(lambda: not any(alive(process) for process in processes), 5)


def test_kill_a_job_that_is_over(machine):
    job_id = machine.submit('true')
    machine.wait(job_id)
    assert machine.scheduler.kill_job(job_id)


def test_left_over_processes_end_with_the_job(machine):
    job_id = machine.submit('sleep 64 & echo $! > child')
    machine.wait(job_id)
    child = int((machine.folder(job_id) / 'child').read_text())
    until(lambda: not psutil.pid_exists(child) or not alive(psutil.Process(child)), 3)


def test_slots_of_dead_processes_are_free(machine):
    """A process killed with SIGKILL cannot clean up; its lock is free all the same."""
    running, waiting, dead = machine.submit('exec sleep 3'), machine.submit('true'), machine.submit('true')
    last = machine.submit(RECORD.format(seconds=0))
    machine.wait(running, JobState.RUNNING)
    os.kill(int(dead), signal.SIGKILL)
    for process in [psutil.Process(int(running)), *descendants(running)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    machine.wait(waiting, timeout=4)
    machine.wait(last, timeout=4)
    assert machine.times(last)
    assert list((machine.workdir / '.mghdiff-direct' / 'queue').iterdir()) == []


def test_job_without_its_supervisor_keeps_its_slot(machine):
    """Only the supervisor is killed; no second job starts beside the running job."""
    running, waiting = machine.submit('sleep 2; echo over > over'), machine.submit(RECORD.format(seconds=0))
    machine.wait(running, JobState.RUNNING)
    until(lambda: len(descendants(running)) >= 3)
    os.kill(int(running), signal.SIGKILL)
    time.sleep(1)
    assert machine.state(waiting) is JobState.QUEUED
    machine.wait(waiting, timeout=6)
    assert (machine.folder(running) / 'over').exists()


def test_background_processes_that_left_the_job_hold_no_slot(machine):
    job_id = machine.submit('setsid sleep 5 & true')
    machine.wait(job_id)
    follower = machine.submit('true')
    machine.wait(follower, timeout=3)


def test_process_with_a_reused_id_is_no_job(machine):
    with subprocess.Popen(['sleep', '65']) as process:
        assert machine.state(str(process.pid)) is JobState.DONE
        assert machine.scheduler.kill_job(str(process.pid))
        assert process.poll() is None
        process.kill()


@pytest.mark.parametrize('seconds', [0, 1])
def test_a_job_that_is_submitted_again_runs_once(machine, seconds):
    """The submitter was killed before it noted the job id; the job still runs or has ended."""
    job_id = machine.submit(f'echo start >> starts; sleep {seconds}')
    if seconds == 0:
        machine.wait(job_id)
    folder = machine.folder(job_id)
    assert machine.scheduler.submit_job(str(folder), '_aiidasubmit.sh') == job_id
    machine.wait(job_id)
    assert (folder / 'starts').read_text().split() == ['start']
    assert not list((machine.workdir / '.mghdiff-direct' / 'queue').iterdir())


def test_a_job_that_an_earlier_version_submitted_keeps_its_id(machine):
    """An earlier version noted only the number; then a script of this version is submitted in the same folder."""
    job_id = machine.submit('echo start >> starts')
    machine.wait(job_id)
    folder = machine.folder(job_id)
    assert (folder / '.mghdiff-job-id').read_text() == f'\nmghdiff-job {job_id}\n'
    (folder / '.mghdiff-job-id').write_text('\n26326\n')
    assert machine.scheduler.submit_job(str(folder), '_aiidasubmit.sh') == '26326'
    assert (folder / 'starts').read_text().split() == ['start']


def test_jobs_of_the_user(machine):
    """The daemon asks for all jobs of this scheduler and gets nothing else."""
    ids = [machine.submit('sleep 30'), machine.submit('sleep 30')]
    machine.wait(ids[0], JobState.RUNNING)
    jobs = machine.scheduler.get_jobs(user='$USER', as_dict=True)
    assert set(ids) <= set(jobs)
    assert jobs[ids[0]].job_state is JobState.RUNNING
    assert jobs[ids[0]].wallclock_time_seconds < 20
    assert str(os.getpid()) not in jobs


def test_exit_status_and_output_reach_the_folder(machine):
    job_id = machine.submit('echo out; echo err >&2; exit 3')
    machine.wait(job_id)
    assert (machine.folder(job_id) / '_scheduler-stdout.txt').read_text() == 'out\n'
    assert (machine.folder(job_id) / '_scheduler-stderr.txt').read_text() == 'err\n'


def test_script_by_hand(machine):
    """A `verdi calcjob` dry run leaves a script that a person can start."""
    (machine.workdir / 'run.sh').write_text(machine.scheduler.get_submit_script(template('echo by hand')))
    subprocess.run(['bash', 'run.sh'], cwd=machine.workdir, check=True)
    assert (machine.workdir / '_scheduler-stdout.txt').read_text() == 'by hand\n'


#: Shell lines that print like a profile file.
BANNERS = {
    'words': "echo 'Welcome to the cluster'",
    'blank lines': "echo; echo 'Welcome to the cluster'; echo; echo",
    'numbers': "printf '%s\\n' '4711' 'Nodes: 128' '12 users' '99999'",
    'colours': "printf '\\033[1;32mWelcome\\033[0m\\n\\033]0;title\\007\\033[31m123\\033[0m\\n\\033[0m'",
    'line ends of Windows': "printf 'Welcome\\r\\n\\r\\n4711\\r\\n'",
    'no line end': "printf 'Welcome to node 17'",
    'looks like ps': "echo '  4711 S    root     12 mghdiff-running _aiidasubmit.sh run'; echo '1 2 3 4 5 6'",
    'errors': "echo 'Welcome'; echo 'quota: 17 of 100 GB' >&2; ls /no/such/folder",
    'ends with a status': "echo 'Welcome'; false",
}


@pytest.fixture
def login_shell(tmp_path, monkeypatch):
    """Return a function that makes this test's login shell print."""
    home = tmp_path / 'home'
    home.mkdir()
    monkeypatch.setenv('HOME', str(home))

    def set_profile(lines):
        (home / '.bash_profile').write_text(f'{lines}\n')

    return set_profile


@pytest.fixture
def login_machine(login_shell, tmp_path):
    with LocalTransport(use_login_shell=True) as transport:
        scheduler = QuickScheduler()
        scheduler.set_transport(transport)
        machine = Machine(scheduler, tmp_path / 'work')
        machine.workdir.mkdir()
        yield machine
        for job_id in machine.ids:
            scheduler.kill_job(job_id)


@pytest.mark.parametrize('banner', BANNERS)
def test_login_shell_that_prints(login_machine, login_shell, banner):
    """Job id, queue, run, kill and end do not change with a banner."""
    machine = login_machine
    login_shell(BANNERS[banner])
    first, second = machine.submit('sleep 66'), machine.submit(RECORD.format(seconds=0))
    assert first.isdigit()
    assert 'mghdiff-' in ' '.join(psutil.Process(int(first)).cmdline())
    machine.wait(first, JobState.RUNNING)
    assert machine.state(second) is JobState.QUEUED
    jobs = machine.scheduler.get_jobs(as_dict=True)
    assert {first, second} <= set(jobs)
    assert machine.scheduler.kill_job(first)
    machine.wait(first, timeout=5)
    machine.wait(second, timeout=5)
    assert len(machine.times(second)) == 2
    assert machine.scheduler.kill_job(second)


@pytest.mark.parametrize(
    ('output', 'job_id'),
    [
        ('Welcome to the cluster\nmghdiff-job 26326\n', '26326'),
        ('\n\nWelcome\n\nmghdiff-job 26326\n\n', '26326'),
        ('mghdiff-job 26326\nGoodbye, 3 jobs\n', '26326'),
        ('4711\nmghdiff-job 26326\n99999\n', '26326'),
        ('\x1b[0mmghdiff-job 26326\x1b[0m\r\n4711', '26326'),
    ],
)
def test_job_id_in_the_words_of_a_login_shell(output, job_id):
    assert SlotScheduler()._parse_submit_output(0, output, 'stderr: noise') == job_id


@pytest.mark.parametrize(
    ('status', 'output', 'words'),
    [
        (0, '', "exit status 0, output none, errors 'no space left'"),
        (0, 'Welcome to the cluster\n\n-17\n0\n1.5', "output '-17; 0; 1.5'"),
        (0, 'Welcome\nnodes up:\n128\n', "output 'Welcome; nodes up:; 128'"),
        (1, 'Welcome\nmghdiff-job 26326\n', 'exit status 1'),
    ],
)
def test_no_job_id_is_refused_in_words(status, output, words):
    with pytest.raises(SchedulerError, match=f'gave no job id.*{words}.*no-use-login-shell'):
        SlotScheduler()._parse_submit_output(status, output, 'no space left\n')


def test_login_shell_that_prints_numbers_at_its_end(login_machine, login_shell, tmp_path):
    login_shell('echo 4711')
    (tmp_path / 'home' / '.bash_logout').write_text('echo; echo 99999\n')
    command = ['bash', '-l', '-c', 'exit']
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ['4711', '99999']
    machine = login_machine
    job_id = machine.submit(RECORD.format(seconds=0))
    machine.wait(job_id)
    assert len(machine.times(job_id)) == 2
    again = machine.scheduler.submit_job(str(machine.folder(job_id)), '_aiidasubmit.sh')
    assert again == job_id


def test_login_shell_that_ends(login_machine, login_shell):
    login_shell('echo maintenance; exit 3')
    with pytest.raises(SchedulerError, match="exit status 3, output 'maintenance'"):
        login_machine.submit('true')


def test_machine_without_ps_ends_no_job(login_machine, login_shell):
    """If its state is unknown, a running job must not count as ended."""
    machine = login_machine
    login_shell('echo Welcome')
    job_id = machine.submit('sleep 67')
    machine.wait(job_id, JobState.RUNNING)
    login_shell("ps() { echo 'ps: not here' >&2; return 1; }")
    with pytest.raises(SchedulerError, match=r"cannot be listed: exit status 2, .*errors 'ps: not here'.*procps"):
        machine.state(job_id)
    for ending in ('echo Welcome; exit', 'exit 1'):
        login_shell(ending)
        with pytest.raises(SchedulerError, match=r'cannot be listed: .* let AiiDA use no login shell'):
            machine.state(job_id)
    login_shell('echo Welcome')
    assert machine.state(job_id) is JobState.RUNNING


def test_job_of_aiida_behind_a_banner(login_shell, aiida_computer):
    """The engine submits the job once, waits for its end, and parses it."""
    login_shell("echo; echo 'Welcome to the cluster'; echo 4711; echo 'quota exceeded' >&2")
    computer = aiida_computer(label='banner', scheduler_type='mghdiff.direct')
    computer.configure(safe_interval=0, use_login_shell=True)
    computer.set_minimum_job_poll_interval(0)
    code = orm.InstalledCode(computer=computer, label='bash', filepath_executable=shutil.which('bash')).store()
    inputs = {'code': code, 'x': orm.Int(1), 'y': orm.Int(2), 'metadata': {'options': {'sleep': 2}}}
    _, node = run_get_node(CalculationFactory('core.arithmetic.add'), **inputs)
    assert node.is_finished_ok, node.exit_message
    assert node.get_job_id().isdigit()
    assert node.outputs.sum.value == 3


def test_set_slots(aiida_computer):
    computer = aiida_computer(label='slots', scheduler_type='mghdiff.direct').configure()
    set_slots(computer, 3)
    with computer.get_transport() as transport:
        workdir = computer.get_workdir().format(username=transport.whoami())
    with open(f'{workdir}/.mghdiff-direct/slots') as handle:
        assert handle.read() == '3\n'
    with pytest.raises(ValueError, match='at least 1, not 0'):
        set_slots(computer, 0)
