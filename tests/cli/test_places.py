"""Folders with odd names, and files that `profile` and `demo` leave outside their folder."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from aiida_mghdiff.cli import environment
from aiida_mghdiff.cli.demo import demo
from aiida_mghdiff.cli.profile import profile

COMMAND = str(Path(sys.executable).with_name('aiida-mghdiff'))
NOBODY = 65534
#: Blanks, and characters with a meaning in shells, circus or URLs.
ODD_NAME = """my d$emo's "ü" (1) & #2 back\\slash; *"""


@pytest.fixture
def short_path():
    """A folder with a short path: the daemon's sockets lie in the folder of temporary files."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def outside(short_path):
    """Empty home and empty folder of temporary files of a new user, and the environment with them."""
    folders = [short_path / 'home', short_path / 'tmp']
    for folder in folders:
        folder.mkdir()
    forgotten = ('AIIDA_PATH', 'VIRTUAL_ENV', 'XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'MPLCONFIGDIR')
    clean = {key: value for key, value in os.environ.items() if key not in forgotten}
    clean |= {'HOME': str(folders[0]), 'TMPDIR': str(folders[1]), 'PATH': '/usr/local/bin:/usr/bin:/bin'}
    return folders, clean


def files_in(folders):
    return [str(path) for folder in folders for path in folder.rglob('*')]


def call(variables, *arguments):
    return subprocess.run([COMMAND, *arguments], env=variables, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures('daemon_environment')
def test_profile_in_a_folder_with_an_odd_name(tmp_path, outside):
    """The daemon runs there, the printed line can be pasted, and nothing is left behind."""
    folders, variables = outside
    folder = tmp_path / ODD_NAME
    made = call(variables, 'profile', str(folder))
    assert made.returncode == 0, made.stderr
    line = made.stdout.splitlines()[-1].strip()
    ask = f'{line}; {shlex.quote(str(Path(sys.executable).with_name("verdi")))} daemon status'
    status = subprocess.run(['bash', '-c', ask], env=variables, capture_output=True, text=True, check=False)
    assert 'Daemon is running' in status.stdout, status.stdout + status.stderr
    assert files_in(folders[:1]) == []
    assert call(variables, 'profile', '--stop', str(folder)).returncode == 0
    assert files_in(folders) == []


@pytest.mark.usefixtures('daemon_environment')
def test_sockets_of_a_daemon_that_was_killed(tmp_path, outside):
    """The next start deletes the sockets."""
    folders, variables = outside
    folder = tmp_path / 'killed'
    assert call(variables, 'profile', str(folder)).returncode == 0
    parts = [
        process for process in psutil.process_iter() if variables_of(process).get('AIIDA_PATH') == f'{folder}/.aiida'
    ]
    assert len(parts) >= 3
    for process in parts:
        process.kill()
    psutil.wait_procs(parts, timeout=10)
    assert files_in(folders[1:]) != []
    assert call(variables, 'profile', str(folder)).returncode == 0
    assert call(variables, 'profile', '--stop', str(folder)).returncode == 0
    assert files_in(folders) == []


def variables_of(process):
    try:
        return process.environ()
    except psutil.Error:
        return {}


@contextmanager
def ordinary_user():
    """Be a user without rights, because root may write everywhere."""
    users = os.getresuid()
    if users[0] == 0:
        os.setresuid(NOBODY, NOBODY, 0)
    yield
    os.setresuid(*users)


@pytest.mark.parametrize('command', [[demo, '--directory'], [profile]])
class TestRefusals:
    """The command refuses with one sentence, before it makes anything."""

    def refuse(self, command, folder):
        result = CliRunner().invoke(command[0], [*command[1:], str(folder)])
        assert result.exit_code == 1, result.output
        assert result.output.startswith('Error: AiiDA')
        assert len(result.output.splitlines()) == 1
        assert not folder.exists()
        return result.output

    @pytest.mark.parametrize('name', ['100%', 'a?b', 'a:b', '{mg}', 'open{', 'two\nlines'])
    def test_profile(self, tmp_path, command, name):
        result = CliRunner().invoke(command[0], [*command[1:], str(tmp_path / name)])
        assert result.exit_code == 1
        assert 'AiiDA cannot keep a profile in' in result.output
        assert 'choose a folder without' in result.output
        assert not (tmp_path / name).exists()

    def test_below_a_file(self, tmp_path, command):
        (tmp_path / 'file').touch()
        words = self.refuse(command, tmp_path / 'file' / 'demo')
        assert f', for {tmp_path / "file"}: it is a file. Choose another folder.' in words

    @pytest.mark.usefixtures('daemon_environment')
    @pytest.mark.parametrize('folder', ['/proc/mghdiff', '/sys/mghdiff'])
    def test_where_no_folder_can_be_made(self, command, folder):
        words = self.refuse(command, Path(folder))
        assert f'AiiDA cannot keep a profile in {folder}' in words

    def test_in_a_folder_of_another_user(self, short_path, command):
        short_path.chmod(0o755)
        (short_path / 'theirs').mkdir(mode=0o555)
        with ordinary_user():
            words = self.refuse(command, short_path / 'theirs' / 'demo')
        assert 'you may not write there. Choose another folder.' in words

    @pytest.mark.parametrize('name', ['my env', "it's", 'back\\slash', 'a"b'])
    def test_environment(self, tmp_path, monkeypatch, command, name):
        monkeypatch.setattr(sys, 'prefix', str(tmp_path / name))
        monkeypatch.setattr(sys, 'executable', str(tmp_path / name / 'bin' / 'python'))
        words = self.refuse(command, tmp_path / 'demo')
        assert f'cannot be started from the environment {tmp_path / name}: make the environment in a folder' in words

    @pytest.mark.usefixtures('daemon_environment')
    def test_folder_of_temporary_files(self, tmp_path, monkeypatch, command):
        """A socket's path has at most 107 bytes."""
        (tmp_path / ('x' * 100)).mkdir()
        monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / ('x' * 100)))
        words = self.refuse(command, tmp_path / 'demo')
        assert 'set TMPDIR to a folder whose path has at most 73 bytes' in words


@pytest.mark.usefixtures('daemon_environment')
def test_longest_folder_of_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', f'/tmp/{"x" * 68}')
    environment.check_place(tmp_path / 'demo')
    monkeypatch.setattr(tempfile, 'tempdir', f'/tmp/{"ü" * 35}')
    with pytest.raises(environment.SetupError, match='at most 73 bytes'):
        environment.check_place(tmp_path / 'demo')


def test_refused_demo_leaves_nothing(tmp_path, outside):
    folders, variables = outside
    refused = call(variables, 'demo', '--protocol', 'nope', '--directory', str(tmp_path / 'demo'))
    assert refused.returncode == 1
    assert refused.stderr.startswith('Error: ')
    assert files_in(folders) == []
    assert not (tmp_path / 'demo').exists()


def test_work_directory_with_braces(aiida_profile, tmp_path):
    with pytest.raises(environment.SetupError, match='contains braces, which AiiDA replaces by names'):
        environment.local_computer('braces', tmp_path / '{work}')
