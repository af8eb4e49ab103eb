"""Scratch folders: the report is silent about folders that are not cleaned."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import run_get_node, while_
from aiida.plugins import CalculationFactory, WorkflowFactory

from aiida_mghdiff.workflows.restart_loops import RestartWorkChain

Add = CalculationFactory('core.arithmetic.add')


class AddWorkChain(RestartWorkChain):
    """Runs an addition in a restart loop."""

    _process_class = Add

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.expose_inputs(Add, namespace='job')
        spec.expose_outputs(Add)
        spec.outline(cls.setup, while_(cls.should_run_process)(cls.run_process, cls.inspect_process), cls.results)

    def setup(self):
        super().setup()
        self.ctx.inputs = self.exposed_inputs(Add, 'job')


WORKFLOWS = ('segment', 'md', 'diffusion', 'arrhenius', 'otf', 'train', 'label', 'neb', 'validate', 'study')
#: Outer and inner process; the outer one has the inner outputs, under the same or the given names.
GIVEN_ON = [
    ('md', 'segment', {}),
    ('arrhenius', 'diffusion', {}),
    ('study', 'arrhenius', {}),
    ('study', 'neb', {'barrier': 'barriers', 'saddle': 'saddles', 'hop': 'hops'}),
    ('validate', 'label', {'summary': None}),  # the exit code names the frames without a label
]


@pytest.mark.parametrize('name', WORKFLOWS)
def test_every_workflow_can_clean_its_scratch(name):
    port = WorkflowFactory(f'mghdiff.{name}').spec().inputs['clean_workdir']
    assert port.default().value is False


@pytest.mark.parametrize(('outer', 'inner', 'names'), GIVEN_ON)
def test_outer_workflows_give_on_what_inner_ones_give(outer, inner, names):
    found, given = (WorkflowFactory(f'mghdiff.{name}').spec().outputs for name in (outer, inner))
    wanted = {names.get(name, name): port for name, port in given.items()}
    wanted.pop(None, None)
    assert set(wanted) <= set(found)
    for name, port in wanted.items():
        assert {found[name].valid_type, port.valid_type} - {None} in ({port.valid_type}, set()), name


@pytest.mark.parametrize('cleans', [False, True])
def test_restart(aiida_code_installed, cleans):
    code = aiida_code_installed(default_calc_job_plugin='core.arithmetic.add', filepath_executable='/bin/bash')
    job = {'code': code, 'x': orm.Int(1), 'y': orm.Int(2)}
    _, node = run_get_node(AddWorkChain, job=job, clean_workdir=orm.Bool(cleans))
    assert node.is_finished_ok, node.exit_message
    messages = ' '.join(log.message for log in orm.Log.collection.get_logs_for(node))
    assert ('cleaned' in messages) is cleans
    assert node.called[0].outputs.remote_folder.is_cleaned is cleans
