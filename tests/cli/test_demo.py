"""What `aiida-mghdiff demo` refuses before it stores anything, and which study it continues.

The demo itself runs in tests/test_study.py.
"""

from __future__ import annotations

import fcntl
import re
import sys
from pathlib import Path

import pytest
from aiida import engine, orm
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from click.testing import CliRunner
from plumpy import ProcessState

from aiida_mghdiff import __version__
from aiida_mghdiff.cli import demo as module
from aiida_mghdiff.cli.demo import STUDY_KEY, Choices, demo, find_or_submit, verdi
from aiida_mghdiff.cli.environment import waiting_words
from aiida_mghdiff.workflows.study import StudyWorkChain


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
    assert f'{file} would not be used, for a study --from otf labels its own dataset.' in message


def test_refuses_files_that_are_not_there(refuse, file, tmp_path):
    assert 'nothing.extxyz: name one with --dataset' in refuse('--dataset', tmp_path / 'nothing.extxyz')
    assert 'no model file nothing.model' in refuse('--dataset', file, '--foundation', 'nothing.model')


def test_refuses_an_unknown_protocol(refuse, file):
    assert "no protocol 'fast'; known are balanced, demo, paper, smoke" in refuse(
        '--dataset', file, '--protocol', 'fast'
    )


@pytest.mark.usefixtures('daemon_environment')
def test_refuses_a_second_demo_in_one_folder(refuse, file, tmp_path):
    (tmp_path / 'demo').mkdir()
    with (tmp_path / 'demo' / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        message = refuse('--dataset', file)
    assert 'another demo runs in' in message
    assert '--directory' in message


@pytest.fixture
def submit(aiida_profile_clean, generate_workchain_node, monkeypatch):
    """Return a function that asks for the study of equal choices; the submitted study has failed, ended or runs."""
    monkeypatch.setattr(module, 'load_potentials', lambda *_: {})
    monkeypatch.setattr(module, 'study_builder', lambda *_, **__: StudyWorkChain.get_builder())

    def ask(exit_status, protocol='smoke', checkpoint='how it goes on', version=__version__):
        def submitted(builder):
            if exit_status is None:
                node = orm.WorkChainNode(process_type='aiida.workflows:mghdiff.study')
                node.set_process_label('StudyWorkChain')
                node.base.attributes.set('version', {'plugin': version} if version else {})
                node.set_process_state(ProcessState.CREATED)
                if checkpoint:
                    node.set_checkpoint(checkpoint)
            else:
                node = generate_workchain_node('mghdiff.study', exit_status)
            node.description = builder.metadata.description
            return node.store()

        monkeypatch.setattr(engine, 'submit', submitted)
        return find_or_submit({}, Choices(protocol))

    return ask


@pytest.mark.parametrize(('exit_status', 'words'), [(0, 'Report of'), (None, 'Going on with')])
def test_a_study_that_runs_or_is_finished_is_not_submitted_again(submit, capsys, exit_status, words):
    """The command writes nothing after the submission, so a killed command still finds its study."""
    first = submit(exit_status)
    capsys.readouterr()
    assert first.base.extras.all.keys() <= {'_aiida_hash'}
    assert submit(0).uuid == first.uuid
    assert capsys.readouterr().out == f'{words} study {first.uuid}.\n'


def test_a_finished_study_of_an_earlier_version_is_found(submit, monkeypatch):
    first = submit(0)
    first.base.extras.set(STUDY_KEY, first.description.split()[-1])
    first.description = ''
    assert submit(0).uuid == first.uuid


@pytest.mark.parametrize(('version', 'words'), [('0.0.7', 'version 0.0.7'), (None, 'version unknown')])
def test_a_study_that_another_version_left_unfinished_is_shown_and_not_resumed(submit, capsys, version, words):
    first = submit(None, version=version)
    capsys.readouterr()
    second = submit(None)
    assert second.uuid != first.uuid
    assert not first.is_terminated
    message, submitted = capsys.readouterr().out.splitlines()[-2:]
    assert message.startswith(f'StudyWorkChain<{first.pk}> was started by {words} and is not resumed by version 0.')
    assert f'end it with `verdi process kill {first.pk}`' in message
    assert submitted.startswith(f'Submitted study {second.uuid}')
    assert submit(None).uuid == second.uuid


def test_only_a_study_of_this_version_is_said_to_go_on(submit):
    """After a later refusal: a study of another version is paused, and no command continues it."""
    assert waiting_words(Path('demo')) == ''
    earlier = submit(None, version='0.0.7')
    begin = r'\n{} processes of an earlier study in demo are not finished\. '
    foreign = rf'StudyWorkChain<{earlier.pk}> was started by version 0\.0\.7 and is not resumed by version'
    assert re.match(begin.format(1) + r'Its workflows are paused\. ' + foreign, waiting_words(Path('demo')))
    submit(None)
    words = waiting_words(Path('demo'))
    assert re.match(begin.format(2) + f'To continue them, call its command again, or .*{foreign}', words)


def test_a_study_that_was_not_saved_is_submitted_again(submit, capsys):
    """If the command is killed during the submission, nothing can run its node."""
    first = submit(None, checkpoint=None)
    second = submit(None)
    assert second.uuid != first.uuid
    assert (first.is_excepted, first.is_sealed) == (True, True)
    assert capsys.readouterr().out.count('Submitted study') == 2


def test_the_node_of_a_submission_that_was_killed_has_its_key(
    aiida_profile_clean, codes, tiny_potential, example_data, monkeypatch, capsys
):
    """The command is killed right after it made and saved the process."""
    monkeypatch.setattr(module, 'load_potentials', lambda *_: {'mace_mp': tiny_potential})
    made = []

    def submitted(builder):
        process = instantiate_process(get_manager().get_runner(), builder)
        process.node.set_checkpoint('how it goes on')
        made.append(process.node)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, 'submit', submitted)
    with pytest.raises(KeyboardInterrupt):
        find_or_submit(codes, Choices('smoke', example_data / 'mgh_pbe.extxyz'))
    assert find_or_submit(codes, Choices('smoke', example_data / 'mgh_pbe.extxyz')).uuid == made[0].uuid
    assert capsys.readouterr().out == f'Going on with study {made[0].uuid}.\n'
    with_key = made[0].base.caching.compute_hash()
    made[0].description = ''
    assert made[0].base.caching.compute_hash() == with_key


def test_a_failed_study_is_submitted_again(submit, capsys):
    first = submit(620)
    second = submit(620)
    third = submit(0)
    assert len({first.uuid, second.uuid, third.uuid}) == 3
    assert capsys.readouterr().out.count('Submitted study') == 3
    assert submit(620).uuid == third.uuid


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
