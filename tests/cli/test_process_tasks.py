"""Tasks that a crash during launching loses, and their repair: with a real daemon that is killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from host_datasets import MAGNESIUM, make_frame, write_labels

from aiida_mghdiff.cli import environment

SCRIPTS = Path(sys.executable).parent
HELPERS = Path(__file__).parents[1] / 'helpers'

PRELUDE = """
import json, os, signal, sys, time
from pathlib import Path
import psutil
from aiida import load_profile, orm
from aiida.engine import submit
from aiida.engine.daemon.client import get_daemon_client
from crash_chain import JOBS, SlowFunction, SlowLauncher
from aiida_mghdiff.cli import environment, process_tasks
load_profile()
starts = sys.argv[1]

def launch():
    return submit(SlowLauncher, code=orm.load_code('bash@mghdiff-localhost'), starts=orm.Str(starts))

def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, [(node.pk, node.process_state) for node in node.called]
        time.sleep(0.1)
    return found

def seen(name):
    return Path(f'{starts}.{name}').exists

def pid(role):
    return next(part.pid for part in environment.daemon_parts(get_daemon_client()) if part.role == role)

def tell(sentence, node):
    print(json.dumps({
        'sentence': sentence,
        'status': node.exit_status,
        'state': node.process_state.value,
        'children': sorted(child.process_state.value for child in node.called),
        'starts': sorted(Path(starts).read_text().split()),
        'lost': sorted(process_tasks.lost_processes()),
    }))
"""
KEEP = """
keeper = environment.DaemonKeeper(patience=3.0)
keeper.keep()
"""
END = """
sentences = []
def ended():
    sentences.append(keeper.keep())
    return node.is_terminated
until(ended)
tell(' '.join(filter(None, sentences)), node)
"""
KILL_EVERYTHING = """
node = launch()
until(seen('first_2'))
until(Path(starts).exists)
parts = [get_daemon_client().get_daemon_pid()] + [pid(role) for role in ('broker', 'worker')]
for each in parts:
    os.kill(each, signal.SIGKILL)
for process in psutil.process_iter():
    try:
        if process.cwd().startswith(node.called[0].computer.get_workdir()):
            process.kill()
    except psutil.Error:
        pass
tell(node.pk, node)
"""
EVERY_JOB_ONCE = sorted(f'{wave}_{index}' for wave in ('first', 'second') for index in range(3))


@pytest.fixture(scope='module')
def installation(daemon_environment, tmp_path_factory):
    """Environment of the processes of a profile of its own, with a running daemon."""
    folder = tmp_path_factory.mktemp('installation')
    clean = {key: value for key, value in os.environ.items() if key not in ('AIIDA_PATH', 'VIRTUAL_ENV')}
    clean |= {'PYTHONPATH': str(HELPERS), 'OMP_NUM_THREADS': '1'}
    command = str(SCRIPTS / 'aiida-mghdiff')
    subprocess.run([command, 'profile', str(folder)], env=clean, check=True)
    variables = clean | {'AIIDA_PATH': str(folder)}
    subprocess.run([command, 'setup', '--slots', '4'], env=variables, check=True)
    make_bash = (
        'from aiida import load_profile, orm; load_profile(); '
        "computer = orm.load_computer('mghdiff-localhost'); "
        "orm.InstalledCode(label='bash', computer=computer, filepath_executable='/bin/bash').store()"
    )
    subprocess.run([sys.executable, '-c', make_bash], env=variables, check=True)
    yield variables
    subprocess.run([command, 'profile', '--stop', str(folder)], env=clean, check=True)


@pytest.fixture
def run(installation, tmp_path):
    """Return a function that runs code in the profile, and returns its report on the WorkChain."""

    def call(code, starts=tmp_path / 'starts'):
        arguments = [sys.executable, '-c', PRELUDE + code, str(starts)]
        process = subprocess.run(arguments, env=installation, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stdout + process.stderr
        return json.loads(process.stdout.splitlines()[-1])

    return call


def call_command(installation, *words):
    """Call `aiida-mghdiff`."""
    command = [str(SCRIPTS / 'aiida-mghdiff'), *words]
    return subprocess.run(command, env=installation, capture_output=True, text=True, check=False)


def assert_whole(told):
    """Check that every job ran once and no process is left."""
    assert (told['state'], told['status']) == ('finished', 0)
    assert told['children'] == 6 * ['finished']
    assert told['starts'] == EVERY_JOB_ONCE
    assert told['lost'] == []


@pytest.mark.slow
class TestKilled:
    @pytest.mark.parametrize('wave', ['first', 'second'])
    @pytest.mark.parametrize('role', ['broker', 'worker'])
    def test_part_of_the_daemon(self, run, role, wave):
        """The part dies during launching; the daemon replaces it at once, but its memory is lost."""
        kill = f"""
node = launch()
until(seen('{wave}_1'))
os.kill(pid('{role}'), signal.SIGKILL)
"""
        told = run(KEEP + kill + END)
        assert_whole(told)
        assert told['sentence'].startswith(f'AiiDA had lost its {role}: its daemon was started again')

    def test_worker_and_nobody_looks(self, run):
        """The next worker repeats the step, and finds the jobs that were launched before."""
        told = run("""
node = launch()
until(seen('first_1'))
os.kill(pid('worker'), signal.SIGKILL)
until(lambda: node.is_terminated)
tell('', node)
""")
        assert_whole(told)

    @pytest.mark.parametrize('keep', [KEEP, ''], ids=['the demo looks', 'nobody looks'])
    def test_worker_within_a_calcfunction(self, run, keep):
        """The next worker repeats the step, and closes the node of the killed call, which nothing can run."""
        told = run(
            keep
            + """
node = submit(SlowFunction, starts=orm.Str(starts))
until(seen('slow'))
os.kill(pid('worker'), signal.SIGKILL)
"""
            + (END if keep else "until(lambda: node.is_terminated)\ntell('', node)")
        )
        assert (told['state'], told['status']) == ('finished', 0)
        assert told['children'] == ['excepted', 'finished']
        assert told['starts'] == ['slow', 'slow']
        assert told['lost'] == []

    def test_restart_of_the_daemon(self, run):
        """The daemon stops while a step still has jobs to launch and other jobs run."""
        told = run(
            KEEP
            + """
import subprocess
node = launch()
until(seen('first_1'))
launched = len(node.called)
environment.stop_daemon()
assert 0 < launched < JOBS, f'{launched} jobs were launched when the daemon was told to stop'
assert not all(child.is_terminated for child in node.called), 'all jobs were over when the daemon had stopped'
subprocess.run([str(Path(sys.executable).parent / 'verdi'), 'daemon', 'start'], check=True, capture_output=True)
"""
            + END
        )
        assert_whole(told)

    def test_everything_and_a_second_start(self, run):
        """Command, daemon and jobs are killed; another command repairs the study before it continues."""
        first = run(KILL_EVERYTHING)
        second = run(
            f"""
environment.start_daemon()
keeper = environment.DaemonKeeper(patience=3.0)
node = orm.load_node({first['sentence']})
"""
            + END
        )
        assert (second['state'], second['status']) in [('finished', 0), ('finished', 410)]  # no restart loop here
        assert len(second['children']) == 6
        assert second['starts'] == EVERY_JOB_ONCE
        assert second['lost'] == []


FORGET = """
for path in (process_tasks._broker()._storage_path / 'tasks').rglob('*.json'):
    path.unlink()
"""


@pytest.mark.slow
def test_a_demo_that_is_refused_after_a_crash(run, installation, tmp_path):
    """The processes get new tasks all the same, and the command says so."""
    first = run(KILL_EVERYTHING + FORGET)
    file = write_labels(tmp_path / 'mine.extxyz', [make_frame('Mg', MAGNESIUM, '', seed=seed) for seed in range(4)])
    words = ['demo', '--protocol', 'smoke', '--directory', installation['AIIDA_PATH'], '--dataset', str(file)]
    refused = call_command(installation, *words)
    assert refused.returncode == 1
    assert re.search(r'\d processes had lost their task in a crash; they have a new one\.', refused.stdout)
    assert 'so the tracer is unknown' in refused.stderr
    assert re.search(
        r'\d processes of an earlier study in .* are not finished. To continue them, call its command', refused.stderr
    )
    assert 'Profile mghdiff in' in call_command(installation, 'profile', installation['AIIDA_PATH']).stdout
    told = run(f"""
node = orm.load_node({first['sentence']})
until(lambda: node.is_terminated)
tell('', node)
""")
    assert told['starts'] == EVERY_JOB_ONCE
    assert told['lost'] == []


LOSE = """
node = launch()
until(seen('first_1'))
folder = process_tasks._broker()._storage_path / 'tasks'
job = until(lambda: node.called)[0]
path = next(path for path in folder.rglob('*.json') if f'"pid": {job.pk},' in path.read_text())
path.unlink()
"""


@pytest.mark.slow
def test_profile_heals_what_a_running_daemon_has_lost(run, installation):
    lost = run(
        LOSE
        + """
before = pid('worker')
os.kill(before, signal.SIGKILL)  # else it would run the job to its end
until(lambda: environment.is_whole(environment.daemon_parts(get_daemon_client())) and pid('worker') != before)
print(json.dumps({'sentence': node.pk}))
"""
    )
    healed = call_command(installation, 'profile', installation['AIIDA_PATH']).stdout
    assert re.search(r'AiiDA may have lost the task of process<\d+>: watching for 20 s\.', healed)
    assert re.search(r'its daemon was started again, and 1 processes got a new task\.', healed)
    told = run(f"""
node = orm.load_node({lost['sentence']})
until(lambda: node.is_terminated)
tell('', node)
""")
    assert_whole(told)


@pytest.mark.slow
def test_lost_task_is_noticed(run):
    """A broker loses a task like this if it is killed while it reads the queue."""
    told = run(KEEP + LOSE + END)
    assert_whole(told)
    assert re.match(r'AiiDA had lost the task of process<\d+>: .* 1 processes got a new task\.$', told['sentence'])


REPAIR = """
import json, sys
from pathlib import Path
from aiida import orm
from aiida.brokers.zeromq.queue import PersistentQueue
from aiida.engine import ProcessState
from plumpy.process_comms import create_continue_body
from aiida_mghdiff.cli import environment, process_tasks
environment.make_profile(Path(sys.argv[1]))

def process(state, checkpoint='how it goes on'):
    node = orm.WorkChainNode().store()
    node.set_process_state(state)
    if checkpoint:
        node.set_checkpoint(checkpoint)
    return node.pk

nodes = {
    'whole': process(ProcessState.WAITING),
    'given': process(ProcessState.RUNNING),
    'twice': process(ProcessState.WAITING),
    'lost': process(ProcessState.CREATED),
    'of an interpreter': process(ProcessState.RUNNING, checkpoint=None),
    'ended': process(ProcessState.FINISHED, checkpoint=None),
}
names = {pk: name for name, pk in nodes.items()} | {10**6: 'deleted'}
queue = PersistentQueue(process_tasks._broker()._storage_path / 'tasks')
for pk in [nodes['given'], nodes['whole'], nodes['twice'], nodes['twice'], nodes['ended'], 10**6]:
    queue.push(f'{pk}-{queue.size()}', {'body': create_continue_body(pid=pk), 'no_reply': True})
queue.pop()  # the first is given to a worker that is then killed

def tasks():
    folder = process_tasks._broker()._storage_path / 'tasks'
    bodies = [json.loads(path.read_text())['body'] for path in folder.rglob('*.json')]
    assert all(body['args']['nowait'] is False for body in bodies)  # else the task ends before its process
    return sorted(names[body['args']['pid']] for body in bodies)

told = [[names[pk] for pk in sorted(process_tasks.lost_processes())], tasks()]
told += [[names[pk] for pk in sorted(process_tasks.repair_tasks())], tasks(), sorted(process_tasks.lost_processes())]
print(json.dumps(told))
"""


def test_repair(tmp_path):
    """A look changes nothing; after the repair only the processes of a daemon have a task, one each."""
    process = subprocess.run([sys.executable, '-c', REPAIR, str(tmp_path)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    lost, before, revived, after, left = json.loads(process.stdout.splitlines()[-1])
    assert lost == revived == ['lost']
    assert before == ['deleted', 'ended', 'given', 'twice', 'twice', 'whole']
    assert after == ['given', 'lost', 'twice', 'whole']
    assert left == []


def part(role, began):
    return environment.Part(pid=int(began), role=role, began=began)


@pytest.mark.parametrize(
    ('parts', 'expected'),
    [
        ({part('broker', 1.0), part('worker', 2.0), part('worker', 3.0)}, True),
        ({part('broker', 2.5), part('worker', 2.0), part('worker', 3.0)}, False),
        ({part('broker', 1.0)}, False),
        ({part('worker', 2.0)}, False),
        (set(), False),
    ],
)
def test_a_worker_that_is_older_than_the_broker_hears_nothing(parts, expected):
    assert environment.is_whole(parts) == expected
