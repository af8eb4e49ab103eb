"""The services refuse bad calls in one sentence; tests/cluster starts them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SERVICES = Path(__file__).with_name('services')
#: A shell in which one program is not found.
WITHOUT = 'command() { [ "$2" != %s ] && builtin command "$@"; }; export -f command; exec "$0" "$@"'
#: A shell whose user is not root.
ORDINARY = 'id() { echo 1000; }; export -f id; exec "$0" "$@"'
root_alone = pytest.mark.skipif(os.getuid() != 0, reason='only root can start services')


def refusal(*command):
    """Return the one line with which a command ends."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, '')
    (line,) = done.stderr.splitlines()
    return line.removeprefix('services: ')


@pytest.mark.parametrize('words', [[], ['up'], ['start', '/tmp/x'], ['up', '/tmp/x', 'y']])
def test_other_words(words):
    assert refusal(SERVICES, *words) == 'say `up`, `down` or `status`, and a folder; or `packages`.'


@pytest.mark.parametrize('word', ['up', 'down'])
def test_an_ordinary_user(tmp_path, word):
    line = refusal('bash', '-c', ORDINARY, SERVICES, word, tmp_path)
    assert line.startswith('only root can ')


@root_alone
def test_a_long_path(tmp_path):
    folder = tmp_path / ('x' * 50)
    assert refusal(SERVICES, 'up', folder).endswith('has more than 50 bytes: choose a shorter one.')
    assert not folder.exists()


@root_alone
@pytest.mark.parametrize(
    ('program', 'package'), [('munged', 'munge'), ('srun', 'slurm-client'), ('psql', 'postgresql')]
)
def test_a_missing_package(program, package):
    line = refusal('bash', '-c', WITHOUT % program, SERVICES, 'up', '/tmp/mghdiff-x')
    assert line.startswith('packages are missing: apt-get install ')
    assert package in line
    assert not Path('/tmp/mghdiff-x').exists()


def test_packages():
    """In the form that `apt-get install` takes."""
    names = subprocess.run([SERVICES, 'packages'], capture_output=True, text=True, check=True).stdout.split()
    assert {'munge', 'slurmctld', 'openssh-server', 'postgresql', 'rabbitmq-server', 'openmpi-bin'} <= set(names)


def test_nothing_runs(tmp_path):
    done = subprocess.run([SERVICES, 'status', tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert all(line.endswith(' does not run') for line in done.stdout.splitlines())
