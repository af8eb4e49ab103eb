"""Restart loops are set at the top: a study passes its values to each loop below it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from aiida import orm

from aiida_mghdiff.workflows.diffusion import DiffusionWorkChain
from aiida_mghdiff.workflows.study import StudyWorkChain
from aiida_mghdiff.workflows.train import TrainWorkChain

MD = {'max_iterations': 7, 'on_unhandled_failure': 'pause'}
TRAIN = {'handler_overrides': {'handle_refused': {'enabled': False}}}
LEARN = {'max_iterations': 3}


@pytest.fixture
def children(generate_workchain, monkeypatch):
    """Return a function that makes the children that a WorkChain's step submits, without running them."""

    def launch(process, step, *arguments):
        made = []

        def submit(process_class, **inputs):
            made.append(generate_workchain(process_class, inputs))
            return made[-1].node

        monkeypatch.setattr(process, 'submit', submit)
        step(process, *arguments)
        return made

    return launch


def values(process):
    """Return the inputs of a process's restart loop."""
    given = {name: process.inputs[name] for name in (MD | TRAIN) if name in process.inputs}
    return {name: node.get_dict() if isinstance(node, orm.Dict) else node.value for name, node in given.items()}


def test_trainings(generate_workchain, children, study_builder):
    study_builder.restarts = {'train': TRAIN}
    study = generate_workchain(study_builder.process_class, study_builder._inputs(prune=True))
    study.setup()
    (training,) = children(study, type(study).launch, 'train_mace_tr')
    assert values(training) == {'max_iterations': 20, 'on_unhandled_failure': 'restart_once'} | TRAIN


def test_molecular_dynamics(generate_workchain, children, study_builder):
    study_builder.restarts = {'md': MD}
    study_builder.diffusion = {
        key: run | {'potential': orm.Str('mace_mp')}
        for key, run in study_builder._inputs(prune=True)['diffusion'].items()
    }
    study = generate_workchain(study_builder.process_class, study_builder._inputs(prune=True))
    study.setup()
    (series,) = children(study, type(study).launch, 'diffusion_best_mace_h1')
    series.setup()
    (run, *_) = children(series, type(series).launch, 't600k')
    assert isinstance(run, DiffusionWorkChain)
    run.setup()
    (npt,) = children(run, type(run).run_npt)
    npt.setup()
    (segment,) = children(npt, type(npt).run_segment)
    assert values(segment) == MD


def test_learning(generate_workchain, children, study_from_nothing):
    study_from_nothing.restarts = {'learn': LEARN}
    study = generate_workchain(study_from_nothing.process_class, study_from_nothing._inputs(prune=True))
    (learning,) = children(study, type(study).learn)
    learning.setup()
    (segment,) = children(learning, type(learning).run_segment)
    assert values(segment) == LEARN


def test_without_settings_all_loops_share_the_defaults_of_the_top(generate_workchain, children, study_builder):
    study = generate_workchain(study_builder.process_class, study_builder._inputs(prune=True))
    study.setup()
    (training,) = children(study, type(study).launch, 'train_mace_tr')
    assert values(training) == {'max_iterations': 20, 'on_unhandled_failure': 'restart_once'}
    defaults = study.inputs.restarts['train']
    assert all(training.inputs[name].uuid == node.uuid for name, node in defaults.items())


def nodes_in(inputs):
    """Return the nodes among inputs, also in namespaces."""
    values = [value for name, value in inputs.items() if name != 'metadata']
    inner = [node for value in values if isinstance(value, Mapping) for node in nodes_in(value)]
    return [value for value in values if isinstance(value, orm.Data)] + inner


def test_loops_have_no_node_that_is_neither_given_at_the_top_nor_made(
    generate_workchain, children, study_builder, study_from_nothing
):
    study = generate_workchain(study_builder.process_class, study_builder._inputs(prune=True))
    study.setup()
    loops = [(study, child) for child in children(study, type(study).launch, 'train_mace_tr')]
    learned = generate_workchain(study_from_nothing.process_class, study_from_nothing._inputs(prune=True))
    (learning,) = children(learned, type(learned).learn)
    learning.setup()
    loops += [(learned, child) for child in children(learning, type(learning).run_segment)]
    assert len(loops) == 2
    for top, loop in loops:
        given = {node.uuid for node in nodes_in(top.inputs)}
        assert [node for node in nodes_in(loop.inputs) if node.uuid not in given and node.creator is None] == []


@pytest.mark.parametrize(
    ('kind', 'name', 'near'),
    [
        ('md', 'handle_step_left', 'handle_steps_left'),
        ('train', 'handle_out_of_waltime', 'handle_out_of_walltime'),
        ('learn', 'handle_electron', 'handle_electrons'),
    ],
)
def test_an_unknown_handler_is_refused_at_the_top(generate_workchain, study_builder, kind, name, near):
    given = {'restarts': {kind: {'handler_overrides': orm.Dict({name: {'enabled': False}})}}}
    with pytest.raises(
        ValueError, match=rf'restarts\.{kind}\.handler_overrides\.{name}: no such key; did you mean {near}\?'
    ):
        generate_workchain(study_builder.process_class, study_builder._inputs(prune=True) | given)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'enable': False}, r'handle_refused\.enable: no such key; did you mean enabled\?'),
        ({'enabled': 'no'}, r"handle_refused\.enabled = 'no' is not true or false"),
        ({'priority': True}, r'handle_refused\.priority = True is not a whole number'),
    ],
)
def test_wrong_settings_of_a_handler_are_refused(values, message):
    overrides = orm.Dict({'handle_refused': values})
    for spec, place in (
        (TrainWorkChain.spec().inputs, 'handler_overrides'),
        (StudyWorkChain.spec().inputs['restarts']['train'], r'restarts\.train\.handler_overrides'),
    ):
        assert re.match(rf'{place}\.{message}', spec['handler_overrides'].validate(overrides).message)
