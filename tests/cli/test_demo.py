"""What `aiida-mghdiff demo` refuses before it makes anything, and which study it goes on with.

The demo itself runs in tests/test_study.py.
"""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

import pytest
from aiida import engine, orm
from click.testing import CliRunner

from aiida_mghdiff.cli import demo as module
from aiida_mghdiff.cli.demo import demo, find_or_submit, verdi


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


@pytest.fixture
def submit(aiida_profile_clean, generate_workchain_node, monkeypatch):
    """Return a function that asks for the study of the same choices; what is submitted has failed, ended or runs."""
    monkeypatch.setattr(module, 'load_potentials', lambda *_: {})
    monkeypatch.setattr(module, 'study_builder', lambda *_: None)

    def ask(exit_status, protocol='smoke'):
        def submitted(_):
            if exit_status is None:
                return orm.WorkChainNode(process_type='aiida.workflows:mghdiff.study').store()
            return generate_workchain_node('mghdiff.study', exit_status)

        monkeypatch.setattr(engine, 'submit', submitted)
        return find_or_submit({}, protocol, None, None)

    return ask


@pytest.mark.parametrize(('exit_status', 'words'), [(0, 'Report of'), (None, 'Going on with')])
def test_a_study_that_runs_or_is_finished_is_not_submitted_again(submit, capsys, exit_status, words):
    first = submit(exit_status)
    capsys.readouterr()
    assert submit(0).uuid == first.uuid
    assert capsys.readouterr().out == f'{words} study {first.uuid}.\n'


def test_a_failed_study_is_submitted_again(submit, capsys):
    first = submit(410)
    second = submit(410)
    third = submit(0)
    assert len({first.uuid, second.uuid, third.uuid}) == 3
    assert capsys.readouterr().out.count('Submitted study') == 3
    assert submit(410).uuid == third.uuid


def test_another_protocol_is_another_study(submit):
    assert submit(0).uuid != submit(0, protocol='demo').uuid


def test_the_line_for_verdi_works_in_the_folder_of_the_user(submit, monkeypatch, tmp_path):
    study = submit(0)
    monkeypatch.setattr(sys, 'executable', str(tmp_path / '.venv' / 'bin' / 'python'))
    monkeypatch.chdir(tmp_path)
    expected = f'AIIDA_PATH=demo .venv/bin/verdi process status -c {study.pk}'
    assert verdi(Path('demo'), 'status -c', study) == expected
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    expected = f"AIIDA_PATH='my demo' {tmp_path}/.venv/bin/verdi process report {study.pk}"
    assert verdi(Path('my demo'), 'report', study) == expected
