"""No user sees a traceback: after an unexpected failure the command names the failure, its log and what continues."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from resource import RLIMIT_FSIZE, setrlimit

import click
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.manage.configuration.settings import AiiDAConfigDir
from click.testing import CliRunner
from plumpy import ProcessState

from aiida_mghdiff.cli import COMMANDS, demo, environment, main, unexpected
from aiida_mghdiff.cli.unexpected import LOG, state_of, what_failed


def fail(*_, **__):
    raise RuntimeError('the moon is\nfull.')


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder of AiiDA's configuration."""
    monkeypatch.setattr(AiiDAConfigDir, 'get', lambda: tmp_path)
    return tmp_path


def call(*arguments):
    """Call the command; return its output, which must hold no traceback."""
    result = CliRunner().invoke(main, [str(word) for word in arguments])
    assert result.exit_code == 1, result.output
    assert 'Traceback' not in result.output
    assert 'RuntimeError: the moon is full. ' not in result.output
    return result.output


@pytest.mark.parametrize(
    ('name', 'arguments', 'function'),
    [
        ('setup', (), 'load'),
        ('doctor', (), 'load'),
        ('profile', ('there',), 'make_profile'),
        ('report', ('1234',), 'load'),
    ],
)
def test_every_command_says_what_failed_and_where_its_log_is(place, monkeypatch, request, name, arguments, function):
    if name == 'profile':
        request.getfixturevalue('daemon_environment')
    monkeypatch.setattr(environment, function, fail)
    output = call(name, *arguments)
    assert output.splitlines()[0] == f'Error: {name} failed unexpectedly: RuntimeError: the moon is full.'
    assert f'The traceback is in {place / LOG}' in output
    log = (place / LOG).read_text()
    assert 'Traceback (most recent call last)' in log
    assert 'in fail' in log


def test_a_command_that_cannot_be_imported(place, monkeypatch):
    monkeypatch.setitem(COMMANDS, 'report', ('aiida_mghdiff.cli.nothing:report', 'Broken.'))
    assert 'the command failed unexpectedly: ModuleNotFoundError: No module named' in call('report', '1')
    assert (place / LOG).is_file()


def test_refusals_and_interrupts_are_no_failures(place, monkeypatch):
    def refuse(_):
        raise environment.SetupError('no profile: make one.')

    monkeypatch.setattr(environment, 'load', refuse)
    assert call('report', '1') == 'Error: no profile: make one.\n'

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, 'load', interrupt)
    assert 'Aborted!' in call('report', '1')
    assert not (place / LOG).exists()


def test_log_where_nothing_can_be_written(place, monkeypatch):
    """The log goes to the folder of temporary files; if this is gone, its last line is printed."""
    monkeypatch.setattr(AiiDAConfigDir, 'get', lambda: place / 'nowhere')
    monkeypatch.setattr(tempfile, 'tempdir', str(place))
    monkeypatch.setattr(environment, 'load', fail)
    assert f'The traceback is in {place / LOG}' in call('report', '1')
    monkeypatch.setattr(tempfile, 'tempdir', str(place / 'nowhere'))
    assert re.search(
        r'The error came from .*test_unexpected\.py, line \d+\. Its traceback could not be written anywhere: make',
        call('report', '1'),
    )


@pytest.mark.parametrize('words', [('setup',), ('doctor',), ('profile', 'there'), ('report', '1'), ('demo',)])
def test_no_folder_for_temporary_files(tmp_path, words):
    """No process of the command may write a byte, as on a full disk."""
    result = command(tmp_path, *words, cwd=tmp_path, preexec_fn=lambda: setrlimit(RLIMIT_FSIZE, (0, 0)))
    assert result.returncode == 1
    assert re.fullmatch(
        r'Error: No usable temporary directory found in \[.*\]: make room on the disk, or set TMPDIR to a folder that '
        r'can be written\.\n',
        result.stderr,
    )
    assert not list(tmp_path.iterdir())


def test_the_error_that_an_error_came_from_is_named():
    cause = PermissionError(13, 'Permission denied', 'daemon.log')
    error = ValueError('Unable to configure\nhandler.')
    error.__cause__ = cause
    expected = "ValueError: Unable to configure handler (PermissionError: [Errno 13] Permission denied: 'daemon.log')"
    assert what_failed(error) == expected


def test_report_says_what_its_study_does(aiida_profile, monkeypatch):
    study = make_study(ProcessState.WAITING)
    monkeypatch.setattr('aiida_mghdiff.report.write_report', fail)
    expected = f'Study {study.uuid} (PK {study.pk}) is waiting: the command changed nothing in the study.'
    assert expected in call('report', study.uuid, '-p', aiida_profile.name)


@pytest.fixture(scope='module')
def whole_profile(daemon_environment, tmp_path_factory):
    """The folder of a separate profile."""
    folder = tmp_path_factory.mktemp('whole')
    assert command(folder, 'profile', folder, '--workers', 0).returncode == 0
    return folder


def command(folder, *words, **options):
    variables = {key: value for key, value in os.environ.items() if key != 'AIIDA_PATH'} | {'AIIDA_PATH': str(folder)}
    arguments = [Path(sys.executable).with_name('aiida-mghdiff'), *map(str, words)]
    return subprocess.run(arguments, env=variables, capture_output=True, text=True, check=False, **options)


def damage_configuration(folder):
    (folder / '.aiida' / 'config.json').write_text('{"bad')


def damage_database(folder):
    next(folder.rglob('database.sqlite')).write_text(50 * 'this is no database')


def delete_repository(folder):
    shutil.rmtree(next(folder.rglob('container')))


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (
            damage_configuration,
            r"AiiDA's configuration cannot be read \(.*config\.json contains invalid JSON\): restore",
        ),
        (damage_database, 'the storage of profile `mghdiff` does not open: file is not a database. Restore a backup'),
        (
            delete_repository,
            'the storage of profile `mghdiff` does not open: .* not initialised yet .* Restore a backup',
        ),
    ],
)
def test_damaged_profiles(whole_profile, tmp_path, damage, message):
    folder = tmp_path / 'damaged'
    shutil.copytree(whole_profile, folder)
    for file in (folder / '.aiida').glob('config.json*'):
        file.write_text(file.read_text().replace(str(whole_profile), str(folder)))
    damage(folder)
    dataset = ['--dataset', Path(__file__).parents[2] / 'examples' / 'data' / 'mgh_pbe.extxyz']
    for words in (['doctor'], ['profile', folder], ['demo', '--directory', folder, *dataset]):
        result = command(folder, *words)
        assert result.returncode == 1, result.stdout
        assert re.search(f'^Error: {message}', result.stderr, re.MULTILINE), result.stderr
        assert 'Traceback' not in result.stderr + result.stdout


@pytest.fixture
def run_demo(daemon_environment, aiida_profile, tmp_path, monkeypatch):
    """Return a function that calls the demo, before or after its study exists, with an environment that fails."""
    for name in ('make_profile', 'open_storage', 'setup_codes', 'enable_caching', 'start_daemon', 'stop_daemon'):
        monkeypatch.setattr(environment, name, lambda *_, **__: {})
    monkeypatch.setattr(demo, 'check_choices', lambda *_: None)

    def run(study=None):
        if study is None:
            monkeypatch.setattr(environment, 'start_daemon', fail)
        monkeypatch.setattr(demo, 'find_or_submit', lambda *_: unexpected.watch(study=study))
        monkeypatch.setattr(demo, 'follow_study', fail)
        folder = tmp_path / 'demo'
        output = call('demo', '--directory', folder)
        assert f'The traceback is in {folder / LOG}' in output
        assert 'in fail' in (folder / LOG).read_text()
        return output

    return run


def make_study(state, **attributes):
    node = orm.WorkChainNode(process_type='aiida.workflows:mghdiff.study')
    node.set_process_state(state)
    if 'exception' in attributes:
        node.set_exception(attributes['exception'])
    if 'exit_status' in attributes:
        node.set_exit_status(attributes['exit_status'])
        node.set_exit_message(attributes['exit_message'])
    return node.store()


def test_demo_says_that_there_is_no_study_yet(run_demo):
    assert 'This call submitted no study: the same command begins a study' in run_demo()


STATES = {
    'is waiting: running jobs continue, but no new job begins. Call the same command': (ProcessState.WAITING, {}),
    'is finished. Call the same command to continue from its stored jobs.': (
        ProcessState.FINISHED,
        {'exit_status': 0, 'exit_message': ''},
    ),
    "ended in an exception (KeyError: 'x'). Call the same command": (
        ProcessState.EXCEPTED,
        {'exception': "KeyError: 'x'"},
    ),
    'ended with failures [620]: These children failed: a (no)': (
        ProcessState.FINISHED,
        {'exit_status': 620, 'exit_message': 'These children failed: a (no)'},
    ),
    'was killed. Call the same command to continue': (ProcessState.KILLED, {}),
}


@pytest.mark.parametrize('words', STATES)
def test_demo_says_what_its_study_does(run_demo, words):
    state, attributes = STATES[words]
    study = make_study(state, **attributes)
    assert f'Study {study.uuid} (PK {study.pk}) {words}' in run_demo(study)


def test_a_study_whose_state_cannot_be_read(run_demo, monkeypatch):
    monkeypatch.setattr(unexpected, 'state_of', fail)
    study = make_study(ProcessState.WAITING)
    assert f'(PK {study.pk}) has an unreadable state (RuntimeError)' in run_demo(study)


@pytest.mark.parametrize('is_over', [True, False])
def test_a_study_that_ended_in_an_exception_is_reported_in_words(aiida_profile, tmp_path, capsys, is_over):
    """Numbers and page are still written, and an archive if all jobs are over; a sentence ends the output."""
    study = make_study(ProcessState.EXCEPTED, exception="KeyError: 'x'")
    job = orm.WorkChainNode()
    job.base.links.add_incoming(study, link_type=LinkType.CALL_WORK, link_label='job')
    job.store()
    study.seal()
    if is_over:
        job.seal()
    with pytest.raises(click.ClickException) as refusal:
        demo.finish(study, tmp_path)
    assert refusal.value.message.startswith("the study ended in an exception (KeyError: 'x'). See: ")
    page = (tmp_path / 'report.html').read_text()
    assert 'ended in an exception: KeyError: ' in page
    assert (tmp_path / 'results.json').is_file()
    assert (tmp_path / 'study.aiida').is_file() == is_over
    assert ('study.aiida is not written, because processes of the' in capsys.readouterr().out) != is_over


def test_states_in_words(aiida_profile):
    assert state_of(orm.WorkChainNode()) == 'created'
