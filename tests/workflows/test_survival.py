"""The next worker repeats the step of a killed worker, and a crashed job runs once more."""

from __future__ import annotations

import re

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState, WorkChain, if_, run_get_node
from aiida.engine.persistence import AiiDAPersister
from aiida.manage import get_manager
from aiida.plugins import CalculationFactory
from crash_chain import JOBS, SlowLauncher
from plumpy.persistence import LoadSaveContext
from provenance import nodes_without_origin

from aiida_mghdiff import __version__
from aiida_mghdiff.workflows.study import StudyWorkChain
from aiida_mghdiff.workflows.survival import SurvivalMixin, close_half_made, is_repeatable, version_message


@pytest.fixture
def bash(aiida_code_installed):
    return aiida_code_installed(default_calc_job_plugin='core.arithmetic.add', filepath_executable='/bin/bash')


@pytest.fixture
def launcher(generate_workchain, bash, tmp_path, monkeypatch):
    monkeypatch.setattr('crash_chain.PAUSE_SECONDS', 0.0)
    process = generate_workchain(SlowLauncher, {'code': bash, 'starts': orm.Str(str(tmp_path / 'starts'))})
    with process._process_scope():  # as in a step, so that submitted processes are its children
        yield process


def test_a_step_that_is_begun_again_launches_no_child_twice(launcher):
    launcher.first_wave()
    launched = launcher.ctx.launched
    launcher._context = type(launcher.ctx)()  # as in the state that was saved before the step
    launcher.first_wave()
    assert launcher.ctx.launched == launched
    assert [node.pk for node in launcher.node.called] == launched
    launcher.second_wave()
    assert len(launcher.node.called) == 2 * JOBS


def test_children_of_one_label_are_told_apart_by_their_order(launcher):
    inputs = launcher.job_inputs('same', 1)
    launched = [launcher.submit(CalculationFactory('core.arithmetic.add'), **inputs).pk for _ in range(2)]
    assert launched[0] != launched[1]
    launcher.ctx.launched = launched[:1]
    assert launcher.submit(CalculationFactory('core.arithmetic.add'), **inputs).pk == launched[1]
    assert launcher.submit(CalculationFactory('core.arithmetic.add'), **inputs).pk not in launched


def half_made(parent, label, state):
    node = orm.CalcFunctionNode(process_type='aiida.calculations:mghdiff.supercell')
    node.base.links.add_incoming(parent, link_type=LinkType.CALL_CALC, link_label=label)
    node.set_process_state(state)
    return node.store()


def test_what_a_killed_worker_left_half_made_is_closed(launcher):
    """A process node that is not sealed cannot be exported, nor can its study."""
    left = half_made(launcher.node, 'left', ProcessState.RUNNING)
    ended = half_made(launcher.node, 'ended', ProcessState.FINISHED)
    saved = half_made(launcher.node, 'saved', ProcessState.CREATED)
    saved.set_checkpoint('how it goes on')
    close_half_made(launcher.node)
    assert left.is_excepted
    assert left.is_sealed
    assert 'was killed before the process was saved' in left.exception
    assert (ended.process_state, saved.process_state) == (ProcessState.FINISHED, ProcessState.CREATED)


@pytest.fixture
def taken_up(launcher):
    """Return a function that lets a daemon take up a process of some version, with its saved state changed."""
    runner = get_manager().get_runner()

    def take_up(version, **state):
        launcher._stepper = launcher.spec().get_outline().create_stepper(launcher)
        AiiDAPersister().save_checkpoint(launcher)
        launcher.node.backend_entity.set_attribute('version', {'plugin': version} if version else {})
        bundle = AiiDAPersister().load_checkpoint(launcher.node.pk)
        bundle['stepper_state'] |= state
        return bundle.unbundle(LoadSaveContext(runner=runner))

    return take_up


def test_a_process_that_another_version_started_is_paused(taken_up):
    process = taken_up('0.0.7')
    assert process.paused
    assert process.node.paused
    pk = process.node.pk
    assert process.node.process_status == (
        f'SlowLauncher<{pk}> was started by version 0.0.7 and is not resumed by version unknown: '
        f'end it with `verdi process kill {pk}`, or return to the version that started it.'
    )


def test_a_process_of_the_same_version_goes_on(taken_up):
    assert not taken_up(None).paused


GONE = {'_pos': 9, 'stepper_state': {}}


def test_a_process_whose_step_is_gone_is_paused_and_keeps_its_saved_steps(taken_up):
    process = taken_up('0.0.7', **GONE)
    assert process.node.paused
    assert not process.play()
    assert process.node.paused
    assert not process.node.is_sealed
    saved = AiiDAPersister().load_checkpoint(process.node.pk)
    assert saved['stepper_state'].items() >= GONE.items()
    (report,) = orm.Log.collection.get_logs_for(process.node)
    assert report.message.endswith(process.node.process_status)
    assert process.kill()
    assert process.node.is_killed


def test_a_process_of_this_version_whose_step_is_gone_fails(taken_up):
    with pytest.raises(IndexError):
        taken_up(None, **GONE)


@pytest.mark.parametrize(
    ('began', 'message'),
    [
        (__version__, None),
        (f'{__version__}.dev1', None),
        ('0.0.7', r'started by version 0\.0\.7 and is not resumed by version 0'),
        (None, 'started by version unknown'),
    ],
)
def test_steps_may_differ_between_minor_versions(aiida_profile, began, message):
    node = orm.WorkChainNode()
    node.base.attributes.set('version', {'core': '2.9.4'} | ({'plugin': began} if began else {}))
    found = version_message(node.store(), StudyWorkChain)
    assert found is None if message is None else re.search(message, found)


class Repeating(SurvivalMixin, WorkChain):
    """Runs two jobs; each fails as often as it is told."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode)
        spec.input('folder', valid_type=orm.Str)
        spec.outline(cls.launch, if_(cls.has_crashed)(cls.repeat_crashed), cls.tell)
        spec.output('ended', valid_type=orm.List)

    def launch(self):
        for name, failures in {'sound': 0, 'once': 1, 'always': 9}.items():
            mark = f'{self.inputs.folder.value}/{name}'
            text = f'echo start >> {mark}; if [ $(wc -l < {mark}) -le {failures} ]; then kill -9 $$; fi'
            metadata = {'call_link_label': name, 'options': {'resources': {'num_machines': 1}, 'prepend_text': text}}
            job = CalculationFactory('core.arithmetic.add')
            node = self.submit(job, code=self.inputs.code, x=orm.Int(1), y=orm.Int(2), metadata=metadata)
            self.to_context(**{name: node})

    def tell(self):
        ended = orm.List([[name, self.ctx[name].exit_status] for name in ('sound', 'once', 'always')])
        self.out('ended', ended.store())


def test_a_job_that_crashed_is_run_once_more(aiida_profile, bash, tmp_path, monkeypatch):
    outputs, node = run_get_node(Repeating, code=bash, folder=orm.Str(str(tmp_path)))
    assert node.is_finished_ok
    ended = dict(outputs['ended'].get_list())
    assert ended.pop('always') != 0
    assert set(ended.values()) == {0}
    calls = node.base.links.get_outgoing(link_type=LinkType.CALL_CALC).all()
    labels = sorted(call.link_label for call in calls)
    assert labels == ['always', 'always_repeated', 'once', 'once_repeated', 'sound']
    assert len((tmp_path / 'always').read_text().split()) == 2
    (first, second) = orm.Log.collection.get_logs_for(node)
    assert re.search(r'ArithmeticAddCalculation<\d+> \[\d+\] .* Running it once more\.$', first.message)
    assert second.message != first.message
    assert 'Repeating: ended (List)' in nodes_without_origin(node)  # its step made this node


@pytest.mark.parametrize(
    ('status', 'expected'),
    [(0, False), (100, True), (140, True), (300, True), (304, True), (303, True), (310, True)]
    + [(status, False) for status in (110, 120, 210, 213, 400, 410, 420, 510, 530)],
)
def test_what_a_repetition_may_cure(generate_job_node, status, expected):
    """Excluded are refused input, the end of wall time or memory, and an unwanted result."""
    assert is_repeatable(generate_job_node('mghdiff.ase.neb', status)) == expected
