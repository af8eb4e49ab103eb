"""Children that depend on each other, with a limit on the number of running children."""

from __future__ import annotations

import copy

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode, WorkChain, run_get_node, while_

from aiida_mghdiff.workflows.tasks import TaskWorkChain


class Child(WorkChain):
    """Ends with the given exit code."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('code', valid_type=orm.Int)
        spec.outline(cls.end)

    def end(self):
        return ExitCode(self.inputs.code.value, 'as asked') if self.inputs.code.value else None


class Tasks(TaskWorkChain):
    """Runs a diamond (a, then b and c, then d), and also e, which fails, and f, which needs e."""

    TASKS = {'a': [], 'b': ['a'], 'c': ['a'], 'd': ['b', 'c'], 'e': [], 'f': ['e']}

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.outline(cls.setup, while_(cls.has_tasks)(cls.advance, cls.record), cls.finish)

    def setup(self):
        self.set_tasks(dict(self.TASKS))

    def record(self):
        in_flight = [*self.node.base.extras.get('in_flight', []), len(self.running())]
        self.node.base.extras.set('in_flight', in_flight)

    def launch(self, key):
        return self.submit(Child, code=orm.Int(3 if key == 'e' else 0), metadata={'call_link_label': key})

    def finish(self):
        return self.failure()


@pytest.mark.parametrize('limit', [1, 2, 8])
@pytest.mark.usefixtures('aiida_profile_clean')
def test_prerequisites_limit_and_failures(limit):
    _, node = run_get_node(Tasks, max_in_flight=orm.Int(limit))
    links = node.base.links.get_outgoing(link_type=LinkType.CALL_WORK).all()
    children = {link.link_label: link.node for link in links}
    assert set(children) == {'a', 'b', 'c', 'd', 'e'}
    assert children['d'].pk > max(children[key].pk for key in 'abc')
    assert node.exit_status == 620
    assert 'e (Child' in node.exit_message
    assert 'as asked' in node.exit_message
    assert 'left out: f' in node.exit_message
    assert max(node.base.extras.get('in_flight')) <= limit


def test_a_child_that_is_heard_through_a_copy_and_twice(generate_workchain, generate_workchain_node, monkeypatch):
    """After a daemon loads the process anew, an awaited child and the child in the context are two objects."""
    process = generate_workchain(Tasks, {})
    children = {key: generate_workchain_node('mghdiff.md') for key in 'ae'}
    monkeypatch.setattr(process, 'launch', children.get)
    process.setup()
    process.advance()
    heard = copy.deepcopy(process.ctx.children.a)
    for _ in range(2):
        process._on_awaitable_finished(heard)
        assert process.child('a').pk == children['a'].pk
        assert process.running() == ['e']
        assert [each.pk for each in process._awaitables] == [children['e'].pk]
