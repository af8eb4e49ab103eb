"""What `aiida-mghdiff demo` refuses before it makes anything; the demo itself runs in tests/test_study.py."""

from __future__ import annotations

import fcntl

import pytest
from click.testing import CliRunner

from aiida_mghdiff.cli.demo import demo


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'mine.extxyz'
    path.write_text('0\n\n')
    return path


@pytest.fixture
def refuse(tmp_path):
    """Return a function that calls the command and returns its message; nothing is left behind."""

    def call(*arguments):
        folder = tmp_path / 'demo'
        before = sorted(folder.rglob('*'))
        result = CliRunner().invoke(demo, ['--directory', str(folder), *map(str, arguments)])
        assert result.exit_code == 1, result.output
        assert sorted(folder.rglob('*')) == before
        assert result.output.startswith('Error: ')
        return result.output

    return call


def test_refuses_a_dataset_that_would_not_be_used(refuse, file):
    message = refuse('--dataset', file, '--from', 'otf')
    assert f'{file} would not be used: a study --from otf labels its own dataset. Leave out one of the two.' in message


def test_refuses_files_that_are_not_there(refuse, file, tmp_path):
    assert 'nothing.extxyz: name one with --dataset' in refuse('--dataset', tmp_path / 'nothing.extxyz')
    assert 'no model file nothing.model' in refuse('--dataset', file, '--foundation', 'nothing.model')


def test_refuses_an_unknown_protocol(refuse, file):
    assert "no protocol 'fast': choose one of paper, balanced, demo" in refuse('--dataset', file, '--protocol', 'fast')


def test_refuses_a_second_demo_in_one_folder(refuse, file, tmp_path):
    (tmp_path / 'demo').mkdir()
    with (tmp_path / 'demo' / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        message = refuse('--dataset', file)
    assert 'another demo runs in' in message
    assert '--directory' in message
