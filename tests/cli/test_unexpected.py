"""No user sees a traceback: a command that fails unexpectedly says what failed, where its log is and what goes on."""

from __future__ import annotations

import tempfile

import click
import pytest
from aiida import orm
from aiida.manage.configuration.settings import AiiDAConfigDir
from click.testing import CliRunner
from plumpy import ProcessState

from aiida_mghdiff.cli import COMMANDS, demo, environment, main, unexpected
from aiida_mghdiff.cli.unexpected import LOG, state_of


def fail(*_, **__):
    raise RuntimeError('the moon is\nfull.')


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder that AiiDA is configured in."""
    monkeypatch.setattr(AiiDAConfigDir, 'get', lambda: tmp_path)
    return tmp_path


def call(*arguments):
    """Call the command; return its output, which must be a sentence."""
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
def test_every_command_says_what_failed_and_where_its_log_is(place, monkeypatch, name, arguments, function):
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
    """It goes to the folder of temporary files, or in the worst case is shown."""
    monkeypatch.setattr(AiiDAConfigDir, 'get', lambda: place / 'nowhere')
    monkeypatch.setattr(tempfile, 'gettempdir', lambda: str(place))
    monkeypatch.setattr(environment, 'load', fail)
    assert f'The traceback is in {place / LOG}' in call('report', '1')
    monkeypatch.setattr(tempfile, 'gettempdir', lambda: str(place / 'nowhere'))
    result = CliRunner().invoke(main, ['report', '1'])
    assert 'The traceback could not be written:' in result.output
    assert 'in fail' in result.output


@pytest.fixture
def run_demo(aiida_profile, tmp_path, monkeypatch):
    """Return a function that calls the demo, with a study or before there is one, whose environment fails."""
    for name in ('make_profile', 'setup_codes', 'enable_caching', 'start_daemon', 'stop_daemon'):
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
    assert 'This call submitted no study: the same command begins one' in run_demo()


STATES = {
    'is waiting: its jobs go on to their end, nothing new begins; the same command goes on': (ProcessState.WAITING, {}),
    'is finished. The same command goes on from what is stored.': (
        ProcessState.FINISHED,
        {'exit_status': 0, 'exit_message': ''},
    ),
    "ended in an exception (KeyError: 'x'). The same command": (
        ProcessState.EXCEPTED,
        {'exception': "KeyError: 'x'"},
    ),
    'ended with failures [620]: These children failed: a (no)': (
        ProcessState.FINISHED,
        {'exit_status': 620, 'exit_message': 'These children failed: a (no)'},
    ),
    'was killed. The same command goes on': (ProcessState.KILLED, {}),
}


@pytest.mark.parametrize('words', STATES)
def test_demo_says_what_its_study_does(run_demo, words):
    state, attributes = STATES[words]
    study = make_study(state, **attributes)
    assert f'Study {study.uuid} (PK {study.pk}) {words}' in run_demo(study)


def test_a_study_whose_state_cannot_be_read(run_demo, monkeypatch):
    monkeypatch.setattr(unexpected, 'state_of', fail)
    study = make_study(ProcessState.WAITING)
    assert f'(PK {study.pk}) is in a state that cannot be read (RuntimeError)' in run_demo(study)


def test_a_study_that_ended_in_an_exception_is_reported_in_words(aiida_profile, tmp_path, monkeypatch):
    """Numbers and page are written all the same, and the command ends with a sentence."""
    study = make_study(ProcessState.EXCEPTED, exception="KeyError: 'x'")
    monkeypatch.setattr('aiida.tools.archive.create_archive', lambda *_, **__: None)
    with pytest.raises(click.ClickException) as refusal:
        demo.finish(study, tmp_path)
    assert refusal.value.message.startswith("the study ended in an exception (KeyError: 'x'). See: ")
    page = (tmp_path / 'report.html').read_text()
    assert 'ended in an exception: KeyError: ' in page
    assert (tmp_path / 'results.json').is_file()


def test_states_in_words(aiida_profile):
    assert state_of(orm.WorkChainNode()) == 'created'
