"""A misspelt input is refused with the nearest name, before anything is submitted."""

from __future__ import annotations

import re
from importlib.metadata import entry_points

import pytest
from aiida.engine.processes.ports import PortNamespace
from aiida.plugins import WorkflowFactory

WORKCHAINS = sorted(point.name for point in entry_points(group='aiida.workflows') if point.name.startswith('mghdiff.'))
#: Namespaces that take any name, or check names themselves.
OPEN = {
    *('codes', 'configurations', 'diffusion', 'evaluation', 'neb', 'options', 'otf.configurations', 'paths', 'potcars'),
    *('potentials', 'structures', 'temperatures', 'training', 'trajectories', 'vibrations'),
}


def namespaces(inputs, path=()):
    """Yield each namespace of inputs with its path, the top first."""
    yield path, inputs
    for name, port in inputs.items():
        if isinstance(port, PortNamespace):
            yield from namespaces(port, (*path, name))


def closed(process_class):
    return [(path, ports) for path, ports in namespaces(process_class.spec().inputs) if '.'.join(path) not in OPEN]


def misspelt(ports):
    """Return an existing name, and the same name with a letter left out."""
    name = max(ports, key=len)
    return name, name[:-2] + name[-1]


def test_the_chains_are_found():
    assert {'mghdiff.study', 'mghdiff.md', 'mghdiff.otf', 'mghdiff.train'} <= set(WORKCHAINS)


@pytest.mark.parametrize('entry_point', WORKCHAINS)
def test_only_namespaces_by_label_are_open(entry_point):
    found = namespaces(WorkflowFactory(entry_point).spec().inputs)
    assert {'.'.join(path) for path, ports in found if ports.dynamic} <= OPEN


@pytest.mark.parametrize('entry_point', WORKCHAINS)
def test_a_builder_refuses_a_misspelt_input_in_each_namespace(entry_point):
    """A user may set the input by name, or in a dictionary with others."""
    process_class = WorkflowFactory(entry_point)
    for path, ports in closed(process_class):
        name, wrong = misspelt(ports)
        message = rf'{wrong}: no such key; did you mean {name}\?'
        builder = place = process_class.get_builder()
        for each in path:
            place = getattr(place, each)
        with pytest.raises(AttributeError, match=wrong) as error:
            setattr(place, wrong, 1)
        assert re.search(message, str(error.value.__cause__))
        if path:
            values = {wrong: 1}
            for each in reversed(path[1:]):
                values = {each: values}
            with pytest.raises(ValueError, match=rf'{re.escape(".".join(path))}\.{message}'):
                setattr(builder, path[0], values)


@pytest.mark.parametrize('entry_point', WORKCHAINS)
@pytest.mark.usefixtures('aiida_profile')
def test_a_misspelt_input_is_refused_before_one_that_is_missing(generate_workchain, entry_point):
    process_class = WorkflowFactory(entry_point)
    name, wrong = misspelt(process_class.spec().inputs)
    with pytest.raises(ValueError, match=rf"port 'inputs': {wrong}: no such key; did you mean {name}\?"):
        generate_workchain(process_class, {wrong: 1})


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'max_in_fligth': 8}, r'max_in_fligth: no such key; did you mean max_in_flight\?'),
        ({'extrapolaton': {}}, r'extrapolaton: no such key; did you mean extrapolation\?'),
        ({'restarts': {'trian': {}}}, r'restarts\.trian: no such key; did you mean train\?'),
        (
            {'restarts': {'train': {'max_iteration': 1}}},
            r'restarts\.train\.max_iteration: no such key; did you mean max_iterations\?',
        ),
        ({'metadata': {'lable': 'mine'}}, r'metadata\.lable: no such key; did you mean label\?'),
        ({'metadata': {'label': 'mine', 'description': 'yes'}}, None),
    ],
)
def test_a_study_is_refused_before_it_is_submitted(generate_workchain, study_builder, changes, message):
    inputs = study_builder._inputs(prune=True) | changes
    if message is None:
        assert generate_workchain(study_builder.process_class, inputs).node.label == 'mine'
        return
    with pytest.raises(ValueError, match=message):
        generate_workchain(study_builder.process_class, inputs)


def test_the_learning_of_a_study_is_refused_too(generate_workchain, study_from_nothing):
    inputs = study_from_nothing._inputs(prune=True)
    inputs['otf'] = inputs['otf'] | {'learning_stat': 1}
    with pytest.raises(ValueError, match=r'otf\.learning_stat: no such key; did you mean learning_state\?'):
        generate_workchain(study_from_nothing.process_class, inputs)


@pytest.mark.parametrize(
    ('entry_point', 'names'),
    [
        (
            'mghdiff.study',
            ('split', 'training', 'evaluation', 'paths', 'neb', 'vibrations', 'extrapolation', 'diffusion'),
        ),
        ('mghdiff.train', ('parameters',)),
    ],
)
def test_help_lists_the_keys(entry_point, names):
    inputs = WorkflowFactory(entry_point).spec().inputs
    assert [name for name in names if ' Keys: ``' not in inputs[name].help] == []
