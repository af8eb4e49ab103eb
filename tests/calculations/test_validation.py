"""Settings have a schema: an unknown key is refused with the nearest key, and the port's help lists the keys."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.plugins import CalculationFactory, WorkflowFactory

from aiida_mghdiff.calculations.evaluate import KEYS as EVALUATION_KEYS
from aiida_mghdiff.calculations.functions.learning import SETTINGS as LEARNING_SETTINGS
from aiida_mghdiff.calculations.functions.parameters import DIFFUSION_SETTINGS, diffusion_settings_message
from aiida_mghdiff.calculations.functions.paths import PATH_SETTINGS
from aiida_mghdiff.calculations.mace.train import KEYS as MACE_KEYS
from aiida_mghdiff.calculations.md import MD_KEYS
from aiida_mghdiff.calculations.validation import IS_COUNT, IS_POSITIVE, IS_TEXT, complete_message, keys_help, nearest
from aiida_mghdiff.workflows.diffusion import DiffusionWorkChain
from aiida_mghdiff.workflows.engines import VASP_TAGS

SCHEMA = {'count': IS_COUNT, 'time': IS_POSITIVE, 'inner': {'name': IS_TEXT, 'deeper': {'size': IS_COUNT}}}
GOOD = {'count': 1, 'time': 0.5, 'inner': {'name': 'a', 'deeper': {'size': 2}}}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({}, None),
        ({'cuont': 1}, 'settings.cuont: no such key; did you mean count?'),
        ({'time_in_ps': 1}, 'settings.time_in_ps: no such key; did you mean time?'),
        ({'x': 1}, 'settings.x: no such key; known are count, inner, time.'),
        ({'count': 0}, 'settings: count = 0 is not a positive whole number.'),
        ({'inner': 3}, 'settings.inner = 3 is not a dictionary.'),
        ({'time': float('inf')}, 'settings: time = inf is not a positive number.'),
        ({'time': float('nan')}, 'settings: time = nan is not a positive number.'),
        ({'time': 10**400}, 'settings: time = 1000'),
        ({'inner': {'nam': 'a'}}, 'settings.inner.nam: no such key; did you mean name?'),
        ({'inner': {'name': 'a'}}, 'settings.inner lacks deeper: fill it in.'),
        (
            {'inner': {'name': 'a', 'deeper': {'size': 2, 'sise': 3}}},
            'settings.inner.deeper.sise: no such key',
        ),
        ({'inner': {'name': 'a', 'deeper': {'size': 0}}}, 'settings.inner.deeper: size = 0 is not a positive whole'),
    ],
)
def test_complete_message(changes, message):
    found = complete_message(GOOD | changes, SCHEMA, 'settings', 'fill it in')
    assert found is None if message is None else found.startswith(message)


def test_a_missing_key_is_named():
    assert complete_message({'count': 1, 'time': 2}, SCHEMA) == (
        'parameters lack inner: a protocol (get_builder_from_protocol) fills in every key.'
    )


def test_nearest_of_none():
    assert nearest('a', []) == 'there are no keys here.'


def test_help_lists_keys_of_all_levels():
    assert keys_help('Settings.', SCHEMA) == (
        'Settings. Keys: ``count`` (a positive whole number), ``time`` (a positive number), ``inner`` '
        '(``name`` (a text that is not empty), ``deeper`` (``size`` (a positive whole number))).'
    )


@pytest.mark.parametrize(
    ('factory', 'process', 'port', 'keys'),
    [
        (CalculationFactory, 'mghdiff.mace.train', 'parameters', MACE_KEYS),
        (CalculationFactory, 'mghdiff.evaluate', 'parameters', EVALUATION_KEYS),
        (CalculationFactory, 'mghdiff.ase.md', 'parameters', MD_KEYS),
        (CalculationFactory, 'mghdiff.lammps.md', 'parameters', MD_KEYS),
        (CalculationFactory, 'mghdiff.vasp.md', 'parameters', MD_KEYS),
        (WorkflowFactory, 'mghdiff.md', 'parameters', MD_KEYS),
        (WorkflowFactory, 'mghdiff.diffusion', 'settings', DIFFUSION_SETTINGS),
        (WorkflowFactory, 'mghdiff.arrhenius', 'settings', DIFFUSION_SETTINGS),
        (WorkflowFactory, 'mghdiff.otf', 'settings', LEARNING_SETTINGS),
        (WorkflowFactory, 'mghdiff.neb', 'path', PATH_SETTINGS),
    ],
)
def test_help_of_a_port_lists_its_keys(factory, process, port, keys):
    words = factory(process).spec().inputs[port].help
    assert words.endswith(keys_help('', keys))
    assert all(f'``{key}``' in words for key in keys)


@pytest.mark.parametrize('process', ['mghdiff.study', 'mghdiff.validate'])
def test_help_of_evaluations_names_the_tags_of_vasp(process):
    words = WorkflowFactory(process).spec().inputs['evaluation'].help
    assert keys_help('Parameters by architecture.', EVALUATION_KEYS) in words
    assert f'``{VASP_TAGS}`` has your own INCAR tags' in words


@pytest.mark.parametrize('protocol', ['paper', 'balanced', 'demo', 'smoke'])
@pytest.mark.parametrize('architecture', ['mace', 'chgnet', 'vasp-mlff'])
def test_settings_of_each_protocol_are_complete(architecture, protocol):
    assert diffusion_settings_message(DiffusionWorkChain.get_settings(architecture, protocol)) is None


@pytest.mark.parametrize('section', [None, 'supercell', 'npt', 'nvt', 'nve', 'volume', 'starts', 'fit', 'structure'])
def test_a_wrong_key_of_hand_made_settings_is_refused(generate_workchain, codes, tiny_potential, host, section):
    builder = DiffusionWorkChain.get_builder_from_protocol(
        codes, tiny_potential, host, temperature_k=600.0, protocol='smoke'
    )
    settings = builder.settings.get_dict()
    keys = settings[section] if section else settings
    right = sorted(keys)[0]
    keys[f'{right}s'] = keys[right]
    place = f'settings.{section}' if section else 'settings'
    with pytest.raises(ValueError, match=rf'{place}\.{right}s: no such key; did you mean {right}\?'):
        generate_workchain(DiffusionWorkChain, builder._inputs(prune=True) | {'settings': orm.Dict(settings)})


@pytest.mark.parametrize('entry_point', ['mghdiff.lammps.md', 'mghdiff.gpaw.singlepoint'])
def test_jobs_of_other_plugins_have_no_port_whose_keys_nothing_checks(entry_point):
    assert 'settings' not in CalculationFactory(entry_point).spec().inputs
