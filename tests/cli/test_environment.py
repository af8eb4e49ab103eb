"""A throw-away profile with a real daemon, and computers and codes in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiida import orm

from aiida_mghdiff.cli import environment

SCRIPTS = Path(sys.executable).parent


def use_executable(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/bin/sh\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def lmp(tmp_path):
    return use_executable(tmp_path / 'bin' / 'mghdiff-lmp')


@pytest.fixture(autouse=True)
def debian_python(tmp_path, monkeypatch):
    """An interpreter that imports everything, so that GPAW is found on any machine."""
    path = use_executable(tmp_path / 'debian' / 'python3')
    monkeypatch.setattr(environment, 'DEBIAN_PYTHON', path)
    return path


def slots_file(computer):
    return Path(computer.get_workdir()) / '.mghdiff-direct' / 'slots'


@pytest.mark.usefixtures('aiida_profile_clean')
class TestSetupCodes:
    def test_makes_computer_and_codes(self, lmp, tmp_path):
        codes = environment.setup_codes(workdir=tmp_path / 'work', slots=3, threads=2, lmp=lmp)
        assert [code.full_label for code in codes.values()] == [
            'python@mghdiff-localhost',
            'mghdiff-lmp@mghdiff-localhost',
            'mghdiff-vasp-standin@mghdiff-localhost',
            'gpaw@mghdiff-localhost',
        ]
        assert os.path.samefile(codes['python'].filepath_executable, sys.executable)
        assert str(codes['lammps'].filepath_executable) == lmp
        computer = codes['python'].computer
        assert computer.scheduler_type == 'mghdiff.direct'
        assert computer.get_minimum_job_poll_interval() == 2
        assert computer.get_configuration()['safe_interval'] == 0
        assert computer.get_prepend_text() == 'export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}'
        assert slots_file(computer).read_text() == '3\n'

    def test_again_changes_nothing_but_what_is_asked(self, lmp, tmp_path):
        first = environment.setup_codes(workdir=tmp_path / 'work', slots=3, threads=2, lmp=lmp)
        second = environment.setup_codes(lmp=lmp)
        assert {role: code.uuid for role, code in first.items()} == {role: code.uuid for role, code in second.items()}
        computer = second['python'].computer
        assert slots_file(computer).read_text() == '3\n'
        assert computer.get_prepend_text().endswith(':-2}')
        environment.setup_codes(lmp=lmp, slots=1, threads=5)
        assert slots_file(computer).read_text() == '1\n'
        assert orm.load_computer(computer.label).get_prepend_text().endswith(':-5}')
        assert orm.QueryBuilder().append(orm.InstalledCode).count() == 4

    def test_default_load(self, lmp, tmp_path, monkeypatch):
        """Two jobs at a time share the cores."""
        monkeypatch.setattr(environment, 'available_cores', lambda: 8)
        computer = environment.setup_codes(workdir=tmp_path / 'work', lmp=lmp)['python'].computer
        assert slots_file(computer).read_text() == '2\n'
        assert computer.get_prepend_text().endswith(':-4}')

    def test_another_environment_needs_another_label(self, lmp, tmp_path):
        environment.setup_codes(workdir=tmp_path / 'work', lmp=lmp)
        other = use_executable(tmp_path / 'other' / 'python')
        with pytest.raises(environment.SetupError, match=r'python@mghdiff-localhost.*suffix'):
            environment.setup_codes(python=other, lmp=lmp)
        codes = environment.setup_codes(python=other, lmp=lmp, suffix='-2')
        assert codes['python'].label == 'python-2'

    def test_missing_executable(self, tmp_path):
        with pytest.raises(environment.SetupError, match='no executable /nowhere/lmp'):
            environment.setup_codes(workdir=tmp_path / 'work', lmp='/nowhere/lmp')

    def test_own_lammps(self, tmp_path):
        codes = environment.setup_codes(workdir=tmp_path / 'work', lmp=use_executable(tmp_path / 'lmp_mpi'))
        assert codes['lammps'].label == 'lmp'
        assert codes['convert'].label == 'mace_create_lammps_model'
        assert os.path.samefile(codes['convert'].filepath_executable, SCRIPTS / 'mace_create_lammps_model')

    def test_own_lammps_needs_its_converter(self, tmp_path):
        bare, lmp = (use_executable(tmp_path / 'bare' / name) for name in ('python', 'lmp_mpi'))
        with pytest.raises(environment.SetupError, match=r'no executable .*/bare/mace_create_lammps_model: install'):
            environment.setup_codes(workdir=tmp_path / 'work', python=bare, lmp=lmp)

    def test_foreign_computer_is_left_alone(self, aiida_computer, tmp_path):
        aiida_computer(label='mine')
        with pytest.raises(environment.SetupError, match=r'`core\.direct`'):
            environment.local_computer('mine')
        environment.local_computer('other', tmp_path / 'work')
        with pytest.raises(environment.SetupError, match='work directory'):
            environment.local_computer('other', tmp_path / 'elsewhere')

    def test_remote_codes(self, aiida_computer):
        cluster = aiida_computer(label='cluster', hostname='cluster', transport_type='core.ssh')
        executables = ('/opt/env/bin/python', '/opt/lammps/lmp', '/opt/vasp_std', '/usr/bin/python3')
        codes = environment.add_codes(cluster, *executables, prepend_text='module load x')
        assert [code.full_label for code in codes.values()] == [
            'python@cluster',
            'lmp@cluster',
            'mace_create_lammps_model@cluster',
            'vasp@cluster',
            'gpaw@cluster',
        ]
        assert codes['python'].prepend_text == 'module load x'

    def test_gpaw_is_found_where_it_is(self, lmp, tmp_path, debian_python, monkeypatch):
        codes = environment.setup_codes(workdir=tmp_path / 'work', lmp=lmp)
        assert str(codes['gpaw'].filepath_executable) == debian_python
        assert environment.setup_codes(lmp=lmp)['gpaw'].uuid == codes['gpaw'].uuid
        monkeypatch.setattr(environment, 'DEBIAN_PYTHON', sys.executable)
        assert 'gpaw' not in environment.setup_codes(lmp=lmp)

    def test_gpaw_that_is_named_must_be_there(self, lmp, tmp_path):
        with pytest.raises(environment.SetupError, match='has no GPAW: `apt-get install gpaw gpaw-data`'):
            environment.setup_codes(workdir=tmp_path / 'work', lmp=lmp, gpaw=sys.executable)
        with pytest.raises(environment.SetupError, match='/nowhere/python has no GPAW'):
            environment.setup_codes(lmp=lmp, gpaw='/nowhere/python')
        interpreter = use_executable(tmp_path / 'bin' / 'python')
        assert str(environment.setup_codes(lmp=lmp, gpaw=interpreter)['gpaw'].filepath_executable) == interpreter


def test_enable_caching(aiida_profile, aiida_config):
    environment.enable_caching()
    environment.enable_caching()
    assert aiida_config.get_option('caching.enabled_for', scope=aiida_profile.name) == [environment.CACHING_PATTERN]
    aiida_config.unset_option('caching.enabled_for', scope=aiida_profile.name)


SUBMIT = """
import time
from aiida import load_profile, orm
from aiida.engine import submit
from aiida.engine.processes.control import kill_processes
from aiida.plugins import CalculationFactory
load_profile()
from aiida_mghdiff.cli import environment
computer = orm.load_code('python@mghdiff-localhost').computer
bash = orm.InstalledCode(label='bash', computer=computer, filepath_executable='/bin/bash').store()

def run(text, **options):
    builder = CalculationFactory('core.arithmetic.add').get_builder()
    builder.code, builder.x, builder.y = bash, orm.Int(1), orm.Int(2)
    builder.metadata.options = {'resources': {'num_machines': 1}, 'prepend_text': text, **options}
    return submit(builder)

def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, [(node.pk, node.process_state, node.get_scheduler_state()) for node in nodes]
        time.sleep(0.2)

def state(node):
    value = node.get_scheduler_state()
    return value and value.value
"""


@pytest.fixture(scope='module')
def installation(daemon_environment, tmp_path_factory):
    """Folder of a profile that the command line made, with a running daemon; and the environment of its processes."""
    folder = tmp_path_factory.mktemp('installation')
    (folder / 'bin').mkdir()
    lmp = use_executable(folder / 'bin' / 'mghdiff-lmp')
    clean = {key: value for key, value in os.environ.items() if key not in ('AIIDA_PATH', 'VIRTUAL_ENV')}
    clean['PATH'] = '/usr/local/bin:/usr/bin:/bin'
    command = str(SCRIPTS / 'aiida-mghdiff')
    subprocess.run([command, 'profile', str(folder)], env=clean, check=True)
    variables = clean | {'AIIDA_PATH': str(folder)}
    subprocess.run([command, 'setup', '--slots', '1', '--lmp', lmp], env=variables, check=True)
    yield folder, variables
    subprocess.run([command, 'profile', '--stop', str(folder)], env=clean, check=True)


def python(installation, code):
    process = subprocess.run(
        [sys.executable, '-c', code], env=installation[1], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout.split()


@pytest.mark.slow
class TestDaemon:
    """A daemon in an environment that is not activated, without an older profile, with one slot."""

    def test_profile_is_in_its_folder(self, installation):
        folder, _ = installation
        storage, workdir = python(
            installation,
            'from aiida import load_profile, orm; profile = load_profile();'
            "print(profile.storage_config['filepath'], orm.load_computer('mghdiff-localhost').get_workdir())",
        )
        assert Path(storage).is_relative_to(folder)
        assert Path(workdir).is_relative_to(folder)

    def test_wall_time_and_kill(self, installation):
        """A job over its wall time ends; queued and running jobs are killed; the others get their turn."""
        code = """
nodes = [run('sleep 100', max_wallclock_seconds=5), run('sleep 100'), run('sleep 100'), run('')]
until(lambda: state(nodes[0]) == 'running')
until(lambda: state(nodes[2]) == 'queued')
kill_processes([nodes[2]], timeout=20)
until(lambda: state(nodes[1]) == 'running')
kill_processes([nodes[1]], timeout=20)
until(lambda: all(node.is_terminated for node in nodes))
print('wall' if 'wall time limit' in nodes[0].get_scheduler_stderr() else 'none')
print(*[node.is_killed for node in nodes], nodes[3].is_finished_ok)
"""
        assert python(installation, SUBMIT + code) == ['wall', 'False', 'True', 'True', 'False', 'True']

    def test_jobs_survive_a_restart_of_the_daemon(self, installation):
        code = """
nodes = [run('sleep 6'), run('')]
until(lambda: state(nodes[0]) == 'running' and state(nodes[1]) == 'queued')
environment.stop_daemon()
environment.start_daemon()
until(lambda: all(node.is_terminated for node in nodes))
print(*[node.is_finished_ok for node in nodes])
"""
        load = SUBMIT.replace('orm.InstalledCode(', "orm.InstalledCode(description='second',")
        assert python(installation, load.replace("label='bash'", "label='bash2'") + code) == ['True', 'True']

    def test_a_killed_daemon_is_started_again(self, installation):
        """Its worker and broker still run; they are ended, because a daemon has one worker."""
        code = """
import os, signal, psutil
from aiida.engine.daemon.client import get_daemon_client
nodes = [run('sleep 8')]
until(lambda: state(nodes[0]) == 'running')
pid = get_daemon_client().get_daemon_pid()
parts = psutil.Process(pid).children(recursive=True)
keeper = environment.DaemonKeeper(patience=0.0)
print(len(parts), keeper.keep())
os.kill(pid, signal.SIGKILL)
time.sleep(0.5)
print('had lost its daemon' in keeper.keep(), keeper.keep())
print(any(part.is_running() and part.status() != psutil.STATUS_ZOMBIE for part in parts))
until(lambda: nodes[0].is_terminated, seconds=60)
print(nodes[0].is_finished_ok)
"""
        load = SUBMIT.replace('orm.InstalledCode(', "orm.InstalledCode(description='third',")
        answers = python(installation, load.replace("label='bash'", "label='bash3'") + code)
        assert int(answers[0]) >= 2
        assert answers[1:] == ['None', 'True', 'None', 'False', 'True']
