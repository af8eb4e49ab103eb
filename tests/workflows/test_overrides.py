"""Overrides have the shape of the protocol file; every builder refuses unknown keys and wrong values."""

from __future__ import annotations

from functools import partial
from math import inf, nan

import numpy as np
import pytest
from aiida import orm
from training_inputs import make_chgnet, make_dataset

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.workflows.arrhenius import ArrheniusWorkChain
from aiida_mghdiff.workflows.diffusion import DiffusionWorkChain
from aiida_mghdiff.workflows.label import LabelWorkChain
from aiida_mghdiff.workflows.md import MolecularDynamicsWorkChain
from aiida_mghdiff.workflows.neb import BarrierWorkChain
from aiida_mghdiff.workflows.otf import OnTheFlyWorkChain
from aiida_mghdiff.workflows.protocol import load_protocol_file, merge, protocol_inputs
from aiida_mghdiff.workflows.protocol_schemas import SCHEMAS
from aiida_mghdiff.workflows.setting_checks import settings_message
from aiida_mghdiff.workflows.study import StudyWorkChain
from aiida_mghdiff.workflows.train import TrainWorkChain
from aiida_mghdiff.workflows.validate import ValidationWorkChain

#: Builders, and the protocol files that give the shape of their overrides.
FILES = {
    'study': 'study',
    'study from nothing': 'study',
    'otf': 'otf',
    'arrhenius': 'arrhenius',
    'diffusion': 'diffusion',
    'md': 'md',
    'neb': 'neb',
    'label': 'label',
    'validate': 'validate',
    'mace': 'mace/train',
    'chgnet': 'chgnet/train',
}
#: Places that take overrides of another file, of the whole file or of one section.
OTHERS = {
    'study': {
        'md': ('md', ''),
        'neb': ('neb', 'parameters'),
        'otf': ('otf', 'settings'),
        'arrhenius': ('arrhenius', 'extrapolation'),
        'from_nothing': ('study', 'split'),
        'diffusion.mine.overrides': ('diffusion', ''),
        'training.mine': ('mace/train', 'parameters'),
    },
    'arrhenius': {'diffusion': ('diffusion', '')},
    'diffusion': {'md': ('md', '')},
    'neb': {'vibrations': ('vibrations', 'parameters')},
    'validate': {'label.overrides': ('label', '')},
}
#: Places whose keys the user chooses: INCAR tags.
OPEN = ('electrons', 'learning', 'refit', 'band', 'relaxation')
OPEN += ('repeats', 'vasp.parameters', 'vasp.retry_parameters', 'dft.parameters', 'force_field.parameters')
#: Entries of a study with the user's own labels; null removes an entry.
ENTRIES = ('paths', 'training', 'diffusion')
#: A run and a training that the user adds.
MINE = {
    'diffusion': {'mine': {'potential': 'mace_mp', 'temperatures_k': [500.0], 'overrides': {}}},
    'training': {'mine': {'architecture': 'mace'}},
}


@pytest.fixture
def builders(codes, tiny_potential, host, hydride):
    """Return for each builder a function that calls it with overrides."""
    start, dataset, potcars = hydride, make_dataset(12), placeholder_potcars(['Mg', 'H'])
    study = partial(StudyWorkChain.get_builder_from_protocol, codes)
    options = {'potentials': {'mace_mp': tiny_potential}, 'potcars': potcars, 'protocol': 'smoke'}
    on_host = (codes, tiny_potential, host)
    md = {'ensemble': 'nvt', 'temperature_k': 500.0, 'seed': 1}
    train = partial(TrainWorkChain.get_builder_from_protocol, codes, dataset, dataset)
    return {
        'study': partial(study, dataset, host, host, **options),
        'study from nothing': partial(study, start, host, host, **options),
        'otf': partial(OnTheFlyWorkChain.get_builder_from_protocol, codes, potcars, start),
        'arrhenius': partial(ArrheniusWorkChain.get_builder_from_protocol, *on_host),
        'diffusion': partial(DiffusionWorkChain.get_builder_from_protocol, *on_host, temperature_k=500.0),
        'md': partial(MolecularDynamicsWorkChain.get_builder_from_protocol, codes, tiny_potential, start, **md),
        'neb': partial(BarrierWorkChain.get_builder_from_protocol, *on_host, path='O-T', vibrations=True),
        'label': partial(LabelWorkChain.get_builder_from_protocol, codes, dataset, engine='gpaw'),
        'validate': partial(
            ValidationWorkChain.get_builder_from_protocol,
            codes,
            {'mace_mp': tiny_potential},
            {'run': {'nve0': orm.TrajectoryData([start, start])}},
            engine='gpaw',
        ),
        'mace': partial(train, architecture='mace'),
        'chgnet': partial(train, architecture='chgnet', potential=make_chgnet()),
    }


def whole_file(name):
    """Return the whole content of a protocol file in one dictionary."""
    content = load_protocol_file(name)
    whole = merge(content['default_inputs'], MINE if name == 'study' else {})
    for protocol in content['protocols'].values():
        whole = merge(protocol, whole)
    return {key: value for key, value in whole.items() if key not in ('description', 'options')}


def levels(name, values=None, place=''):
    """Yield each place that takes overrides in a file and the files below it, with its content."""
    values = whole_file(name) if values is None else values
    if place.endswith(OPEN):
        return
    if values:
        yield place, values
    for key, value in values.items():
        below = f'{place}.{key}' if place else key
        if below in OTHERS.get(name, {}):
            other, section = OTHERS[name][below]
            content = whole_file(other)
            for deeper, found in levels(other, {section: content[section]} if section else content):
                if deeper or not section:
                    yield '.'.join(filter(None, [below, deeper])), found
        elif isinstance(value, dict):
            yield from levels(name, value, below)


def nested(place, key, value=1):
    """Return overrides with a key and its value at a place."""
    overrides = {key: value}
    for part in reversed(place.split('.') if place else []):
        overrides = {part: overrides}
    return overrides


def with_mine(place, overrides):
    """Return overrides of a user's entry together with its other required keys."""
    return merge(MINE, overrides) if 'mine' in place else overrides


def misspelt(key):
    """Return a key with its last letter doubled."""
    return f'{key[:-1]}{key[-1]}{key[-1]}'


@pytest.mark.parametrize('name', FILES)
def test_every_builder_refuses_a_wrong_key_at_every_level(builders, name):
    before = orm.QueryBuilder().append(orm.Node).count()
    places = dict(levels(FILES[name]))
    assert '' in places
    assert len(places) >= (3 if name not in ('chgnet', 'otf') else 2)
    for place, keys in places.items():
        labels = place in ENTRIES and FILES[name] == 'study'
        for key in [] if labels else keys:
            wrong = misspelt(key)
            where = f'{place}.{wrong}' if place else wrong
            with pytest.raises(ValueError, match='no such key') as refusal:
                builders[name](overrides=with_mine(place, nested(place, wrong)))
            (line,) = str(refusal.value).splitlines()
            assert line.startswith(f'{where}: no such key; did you mean ')
            assert line.removesuffix('?').rpartition(' ')[2] in keys
    assert orm.QueryBuilder().append(orm.Node).count() == before


@pytest.mark.parametrize(
    ('name', 'place'),
    [
        ('study', 'split.fractions'),
        ('study', 'md.parameters'),
        ('study', 'diffusion.mine.overrides.settings.supercell'),
        ('arrhenius', 'diffusion.settings.fit'),
        ('diffusion', 'md.ensembles.nvt'),
        ('validate', 'label.overrides.gpaw.parameters.calculator'),
    ],
)
def test_levels_are_those_of_all_files(name, place):
    assert place in dict(levels(name))


@pytest.mark.parametrize(
    ('name', 'overrides', 'message'),
    [
        (
            'study',
            {'settings': {'supercell': {'tracer_count': 4}}},
            'settings: no such key here; did you mean diffusion.<label>.overrides.settings?',
        ),
        (
            'study',
            {'diffusion': {'best_mace_h1': {'settings': {'supercell': {'tracer_count': 4}}}}},
            'diffusion.best_mace_h1.settings: no such key here; did you mean diffusion.<label>.overrides.settings?',
        ),
        (
            'arrhenius',
            {'settings': {'supercell': {'tracer_count': 4}}},
            'settings: no such key here; did you mean diffusion.settings?',
        ),
        (
            'diffusion',
            {'supercell': {'tracer_count': 4}},
            'supercell: no such key here; did you mean settings.supercell?',
        ),
        ('diffusion', {'settings': {'supercel': {}}}, 'settings.supercel: no such key; did you mean supercell?'),
        ('mace', {'batch_size': 3}, 'batch_size: no such key here; did you mean parameters.batch_size?'),
        ('md', {'parameters': {'friction_per_ps': 3.0}}, 'did you mean ensembles.nvt.friction_per_ps?'),
        ('md', {'architectures': {'mac': {}}}, 'architectures.mac: no such key; did you mean mace?'),
        ('diffusion', {'settings': {'supercell': 4}}, 'settings.supercell = 4: give a dictionary here.'),
        ('diffusion', {'settings': {'seed': {'a': 1}}}, 'settings.seed: give a value here, not keys (a).'),
        ('diffusion', {'settings': {'npt': {'tracer_element': 'D'}}}, 'set settings.supercell.tracer_element.'),
        ('neb', {'vasp': {'band': {'nsw': 5}}}, 'vasp.band.nsw: it cannot be set here; set parameters.max_steps.'),
        ('md', {'parameters': {'incar': {'NCORE': 8}}}, "'NCORE' is not a tag in lower case: write ncore."),
        ('study', {'evaluation': {'vasp_mlf': {}}}, 'evaluation.vasp_mlf: no such key; did you mean vasp_mlff?'),
        ('label', {'vasp': {'parameters': {'ENCUT': 5.0}}}, "'ENCUT' is not a tag in lower case: write encut."),
        ('otf', {'settings': {'stages': [{'nam': 'x'}]}}, 'settings.stages[0].nam: no such key; did you mean name?'),
        ('mace', {'parameters': {'E0s': {'Mgg': -1.0}}}, 'parameters.E0s.Mgg: no such key; did you mean Mg?'),
        ('study', {'training': {'mace-ft': None}}, "'mace-ft' is not a label of letters, digits and single"),
        (
            'study',
            {'diffusion': {'best_mace_h2': {'temperatures_k': [500.0]}}},
            'diffusion.best_mace_h2 lacks potential, which a new entry needs; did you mean best_mace_h1?',
        ),
        ('study', {'repeats': {'host': [2, 2, 2]}}, 'repeats: it cannot be set here; give the supercells themselves'),
        ('study', {'paths': {'o_tt': None}}, 'paths.o_tt lacks path, which a new entry needs; did you mean o_t?'),
        (
            'validate',
            {'label': {'overrides': {'clean_workdir': True}}},
            'label.overrides.clean_workdir: it cannot be set here; set clean_workdir of the validation.',
        ),
        (
            'validate',
            {'evaluation': {'vasp-mlff': {'device': 'cuda'}}},
            'evaluation.vasp-mlff: no such key; did you mean vasp_mlff?',
        ),
        (
            'mace',
            {'parameters': {'E0s': 'Estimated'}},
            "parameters.E0s = 'Estimated': "
            'give one of estimated, foundation, average, or a dictionary here '
            '(did you mean estimated?).',
        ),
        ('md', {'parameters': {'incar': {8: 1}}}, "parameters.incar.8: the key 8 is not a text: write '8'."),
        ('md', {'parameters': {'incar': {'magmom': []}}}, 'parameters.incar.magmom = [] is not a number, a text, true'),
        ('md', {'parameters': {'incar': {'gga': ' '}}}, "parameters.incar.gga = ' ' is not a number, a text, true"),
        ('study', {'md': {'options': {}}}, 'md.options: it cannot be set here; give options to the builder.'),
    ],
)
def test_a_key_at_the_wrong_place_is_told_its_own(builders, name, overrides, message):
    with pytest.raises(ValueError, match=' ') as refusal:
        builders[name](overrides=overrides)
    assert message in str(refusal.value)


@pytest.mark.parametrize('start', ['study', 'study from nothing'])
@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        ({'training': {'tr': {'architecture': 'mace', 'foundation': 'nosuch'}}}, "training.tr: foundation = 'nosuch'"),
        ({'training': {'mace_ft': {'foundation': 'mace_mp_0'}}}, 'did you mean mace_mp?'),
        ({'diffusion': {'mine': {'potential': 'mace_mp_0', 'temperatures_k': [500.0]}}}, 'did you mean mace_mp?'),
        ({'diffusion': {'mine': {'potential': 'chgnet_ft', 'temperatures_k': [500.0]}}}, "potential = 'chgnet_ft'"),
        ({'diffusion': {'chgnet_ft_h1': {'potential': 'mace_tt'}}}, 'diffusion.chgnet_ft_h1: potential'),
        ({'diffusion': {'best_mace_h1': {'potential': 'best:mac'}}}, 'did you mean best:mace?'),
    ],
)
def test_no_training_and_no_run_of_the_users_own_is_left_out(builders, start, overrides, message):
    with pytest.raises(ValueError, match=' is neither given nor trained here; ') as refusal:
        builders[start](overrides=overrides)
    assert message in str(refusal.value)


def test_what_only_the_protocol_names_is_left_out(builders):
    study = builders['study'](overrides={'diffusion': {'chgnet_ft_h1': {'temperatures_k': [700.0]}}})
    assert set(study.diffusion) == {'best_mace_h1'}
    assert set(study.training) == {'mace_ft', 'mace_tr'}


def refusal_of(build, overrides):
    """Return a builder's reason to refuse overrides."""
    with pytest.raises(ValueError, match=r' is not | give ') as refusal:
        build(overrides=overrides)
    return str(refusal.value)


#: Endings of settings that may be null, any text, negative or empty, or have keys instead of a text.
NULLABLE = ('lag_ps', 'c_axis', 'relative_interval', 'max_time_ps', 'mesh', 'validation_fraction', 'foundation')
NULLABLE += ('.settings.tracer_element', 'args.maxiter')
ANY_TEXT = ('stages.name', 'radial_MLP', 'MLP_irreps', 'interaction', 'interaction_first', 'protocol')
ANY_TEXT += ('foundation', 'potential', 'args.xc', 'setups.Mg')
NEGATIVE, MAY_BE_EMPTY, OPEN_VALUES = ('pressure_gpa',), ('frozen_layers', 'vibrations'), ('E0s', 'args.xc')
#: Sections that may be null.
SECTIONS = ('architecture', 'stage_two', 'multihead.multihead', 'refit', 'mixer', 'symmetry', 'setups')
#: Values in place of such sections, in words.
INSTEAD = {'args.symmetry': 'one of off or null', 'args.setups': 'a text without quotes, not empty or null'}


def wrong_values(where, value):
    """Return values that are wrong for a setting, given its value in the protocol."""
    if isinstance(value, bool):
        wrong = ['no', 0, 1, 1.0, nan, [True], {'a': 1}]
    elif isinstance(value, int | float):
        wrong = ['long', str(value), True, nan, inf, [], [value], {'a': 1}, {}]
        wrong += [] if where.endswith(NEGATIVE) else [-1]
        wrong += [1.5] if isinstance(value, int) and not where.endswith('mixer.weight') else []
    elif isinstance(value, str):
        wrong = [5, True, nan, [], [value], *([] if where.endswith(OPEN_VALUES) else [{'a': 1}])]
        wrong += [] if where.endswith(ANY_TEXT) else ['', 'nosuch', value.swapcase()]
    else:
        wrong = ['text', 5, True, {'a': 1}, ['nosuch'], [None], [nan], [-1]]
        wrong += [] if where.endswith(MAY_BE_EMPTY) else [[]]
    return wrong + ([] if f'.{where}'.endswith(NULLABLE) or where == 'temperatures_k' else [None])


def settings_of(name):
    """Yield place, key, dotted path and value of each setting that a user may change."""
    for place, values in levels(FILES[name]):
        for key, value in values.items():
            if 'repeats' not in (place, key):
                yield place, key, f'{place}.{key}' if place else key, value


@pytest.mark.parametrize('name', FILES)
def test_every_builder_refuses_a_wrong_value_at_every_setting(builders, name):
    """A wrong type, empty, not finite, negative or null: one sentence names the setting."""
    before = orm.QueryBuilder().append(orm.Node).count()
    found = [item for item in settings_of(name) if item[3] is not None and not isinstance(item[3], dict)]
    assert len(found) > 5
    for place, key, where, value in found:
        for wrong in wrong_values(where, value):
            try:
                builders[name](overrides=with_mine(place, nested(place, key, wrong)))
            except ValueError as refusal:
                (line,) = str(refusal).splitlines()
                assert line.startswith((f'{where} = ', f'{where}: ', f'{where}[0]')), (line, where)
            else:
                pytest.fail(f'{where} = {wrong!r} is accepted')
    assert orm.QueryBuilder().append(orm.Node).count() == before


@pytest.mark.parametrize('name', FILES)
def test_every_builder_refuses_a_value_in_place_of_keys(builders, name):
    for place, key, where, value in settings_of(name):
        if isinstance(value, dict) and not (FILES[name] == 'study' and place in ENTRIES):
            instead = next((words for end, words in INSTEAD.items() if where.endswith(end)), 'null')
            words = f'give {instead}, or a dictionary here.' if where.endswith(SECTIONS) else 'give a dictionary here.'
            for wrong in [5, [], *([] if where.endswith(OPEN_VALUES) or 'a text' in instead else ['text'])]:
                refusal = refusal_of(builders[name], with_mine(place, nested(place, key, wrong)))
                assert refusal == f'{where} = {wrong!r}: {words}'


@pytest.mark.parametrize('name', sorted(set(FILES.values()) | {'vibrations'}))
def test_files_have_their_own_schema(name):
    content = load_protocol_file(name)
    for values in (content['default_inputs'], *content['protocols'].values()):
        own = {key: value for key, value in values.items() if key not in ('description', 'options', 'repeats')}
        assert settings_message(own, SCHEMAS[name]) is None


def test_overrides_are_a_dictionary_and_protocols_have_names(builders):
    for build in builders.values():
        for wrong in ([], ['a'], 'study.yaml', 5, True):
            assert refusal_of(build, wrong) == f'overrides = {wrong!r} is not a dictionary.'
        with pytest.raises(ValueError, match=r"has no protocol 'balnced'; did you mean balanced\?"):
            build(protocol='balnced')
        with pytest.raises(ValueError, match=r"^protocol = \['smoke'\] is not a text\.$"):
            build(protocol=['smoke'])


WRONG_ARGUMENTS = [
    ('md', {'ensemble': 'NVT'}, "ensemble = 'NVT' is not one of nve, nvt, npt (did you mean nvt?)."),
    ('md', {'ensemble': None}, 'ensemble = None is not one of nve, nvt, npt.'),
    ('md', {'temperature_k': 'hot'}, "temperature_k = 'hot' is not a temperature of at least 1 K."),
    ('md', {'seed': 1.5}, 'seed = 1.5 is not a whole number between 1 and 900000000.'),
    ('diffusion', {'temperature_k': nan}, 'temperature_k = nan is not a temperature of at least 1 K.'),
    ('diffusion', {'temperature_k': [300]}, 'temperature_k = [300] is not a temperature of at least 1 K.'),
    ('arrhenius', {'temperatures_k': 300}, 'temperatures_k = 300 is not a list, not empty, of different temperatures'),
    ('arrhenius', {'temperatures_k': ['a']}, "temperatures_k = ['a'] is not a list, not empty, of different"),
    ('arrhenius', {'temperatures_k': []}, 'temperatures_k = [] is not a list, not empty, of different temperatures'),
    ('arrhenius', {'temperatures_k': [300, 300]}, 'temperatures_k = [300, 300] is not a list, not empty, of different'),
    ('neb', {'path': 'o-t'}, "path = 'o-t' is not one of O-O c, O-O ab, O-T, T-T (did you mean O-T?)."),
    ('neb', {'vibrations': 'no'}, "vibrations = 'no' is not true or false."),
    ('neb', {'tracer_element': 'D'}, "tracer_element = 'D' is not a chemical symbol but an isotope of H"),
    ('label', {'engine': ['gpaw']}, "engine = ['gpaw'] is not a text."),
    ('label', {'engine': 'gpw'}, "engine 'gpw' is not one of vasp, gpaw."),
    ('mace', {'architecture': 'mac'}, "architecture 'mac' cannot be trained here: choose one of mace, chgnet."),
    ('mace', {'potential': 'medium'}, "potential = 'medium' is not a PotentialData node."),
    ('study', {'potentials': {'a': None}}, 'potentials.a = None is not a PotentialData node.'),
    ('study', {'tracer_element': 5}, 'tracer_element = 5 is not a chemical symbol.'),
]


def test_wrong_arguments_are_refused(builders):
    for name, arguments, message in WRONG_ARGUMENTS:
        with pytest.raises(ValueError, match=' ') as refusal:
            builders[name](**arguments)
        (line,) = str(refusal.value).splitlines()
        assert line.startswith(message)


def test_every_builder_refuses_codes_that_are_none(builders):
    for build in builders.values():
        for wrong, message in (
            (None, 'codes = None: give a dictionary here.'),
            ('python', "codes = 'python': give a dictionary here."),
            ({'python': None}, 'codes.python = None is not a code.'),
        ):
            with pytest.raises(ValueError, match=r'^codes') as refusal:
                build.func(wrong, *build.args[1:], **build.keywords)
            assert str(refusal.value) == message


def test_wrong_arguments_are_told_at_once(builders):
    with pytest.raises(ValueError, match=' ') as refusal:
        builders['md'](ensemble='NVT', temperature_k='hot', seed=0)
    assert len(str(refusal.value).splitlines()) == 3


@pytest.mark.parametrize('name', ['md', 'diffusion', 'arrhenius', 'study'])
@pytest.mark.parametrize('value', [0, -5, True, 1.5])
def test_the_port_takes_no_segments_without_steps(builders, name, value):
    builder = builders[name]()
    with pytest.raises(ValueError, match='segment_steps'):
        builder.segment_steps = value


def test_all_wrong_keys_are_told_at_once(builders):
    with pytest.raises(ValueError, match=' ') as refusal:
        builders['md'](overrides={'segment_step': 3, 'parameters': {'durations_ps': 3}})
    assert len(str(refusal.value).splitlines()) == 2


@pytest.mark.parametrize('name', sorted(set(FILES.values())))
def test_what_a_file_has_are_overrides(name):
    for protocol, content in load_protocol_file(name)['protocols'].items():
        overrides = {key: value for key, value in content.items() if key not in ('description', 'options', 'repeats')}
        assert protocol_inputs(name, protocol, overrides) == protocol_inputs(name, protocol)


def test_keys_of_the_users_own_are_taken(builders):
    tags = {'parameters': {'kpar': 4, 'ncore': 8}}
    assert builders['label'](engine='vasp', potcars={}, overrides={'vasp': tags}).parameters['kpar'] == 4
    settings = builders['otf'](overrides={'settings': {'electrons': {'kpar': 2}, 'refit': None}}).settings
    assert (settings['electrons']['kpar'], settings['refit']) == (2, None)
    energies = {'Mg': -1.5, 'H': -1.1}
    assert builders['mace'](overrides={'parameters': {'E0s': energies}}).parameters['E0s'] == energies
    study = builders['study'](overrides={**MINE, 'paths': {'mine': {'path': 'T-T'}, 'o_t': None}})
    assert set(study.paths) == {'mine'}
    assert 'mine' in study.training
    assert 'mine' in study.diffusion


def test_incar_tags_reach_each_kind_of_job(builders):
    tags = {'ncore': 8}
    assert builders['md'](overrides={'parameters': {'incar': tags}}).parameters['incar'] == tags
    assert builders['diffusion'](overrides={'settings': {'nve': {'incar': tags}}}).settings['nve']['incar'] == tags
    overrides = {'evaluation': {'vasp_mlff': tags}, 'md': {'parameters': {'incar': tags}}}
    study = builders['study'](overrides=overrides)
    assert study.evaluation['vasp_mlff'].get_dict() == tags
    assert study.diffusion['best_mace_h1']['settings']['npt']['incar'] == tags


def test_no_override_is_lost(builders):
    """Builders once ignored these overrides without a word."""
    friction = {'ensembles': {'nvt': {'friction_per_ps': 3.5}}}
    assert builders['md'](overrides=friction).parameters['friction_per_ps'] == 3.5
    step = {'architectures': {'mace': {'time_step_fs': 0.25}}}
    assert builders['md'](overrides=step).parameters['time_step_fs'] == 0.25
    assert builders['diffusion'](overrides={'md': friction}).settings['nvt']['friction_per_ps'] == 3.5
    stage = {'md': friction, 'settings': {'nvt': {'friction_per_ps': 4.5}}}
    assert builders['diffusion'](overrides=stage).settings['nvt']['friction_per_ps'] == 4.5
    assert builders['mace'](overrides={'scratch': {'lr': 0.5}, 'parameters': {'lr': 0.1}}).parameters['lr'] == 0.5
    assert builders['mace'](overrides={'parameters': {'lr': 0.1}}).parameters['lr'] == 0.1
    vibrations = {'parameters': {'displacement_angstrom': 0.03}}
    assert builders['neb'](overrides={'vibrations': vibrations}).vibrations['displacement_angstrom'] == 0.03
    study = builders['study'](
        overrides={
            'md': friction,
            'neb': {'vibrations': vibrations},
            'vibrations': ['mace'],
            'training': {'mace_ft': None},
        }
    )
    assert study.diffusion['best_mace_h1']['settings']['nvt']['friction_per_ps'] == 3.5
    assert study.vibrations['mace']['displacement_angstrom'] == 0.03
    assert set(study.training) == {'mace_tr'}
    study = builders['study'](overrides={'diffusion': {'best_mace_h1': {'overrides': {'md': friction}}}})
    assert study.diffusion['best_mace_h1']['settings']['nvt']['friction_per_ps'] == 3.5
    seeds = {'from_nothing': {'split': {'seed': 7}}}
    assert builders['study from nothing'](overrides=seeds).split['seed'] == 7
    assert builders['study'](overrides=seeds).split['seed'] == 1


@pytest.mark.parametrize(
    ('name', 'overrides', 'place', 'used'),
    [
        ('md', {'ensembles': {'npt': {'pressure_gpa': 1.0}}}, 'ensembles.npt', 'ensembles.nvt'),
        ('md', {'architectures': {'chgnet': {'time_step_fs': 0.5}}}, 'architectures.chgnet', 'architectures.mace'),
        ('label', {'vasp': {'parameters': {'encut': 400.0}}}, 'vasp', 'gpaw'),
        ('mace', {'naive': {'lr': 0.1}}, 'naive', 'scratch'),
        (
            'diffusion',
            {'md': {'architectures': {'chgnet': {'time_step_fs': 0.5}}}},
            'md.architectures.chgnet',
            'md.architectures.mace',
        ),
        (
            'arrhenius',
            {'diffusion': {'md': {'architectures': {'chgnet': {'time_step_fs': 0.5}}}}},
            'diffusion.md.architectures.chgnet',
            'diffusion.md.architectures.mace',
        ),
        (
            'validate',
            {'label': {'overrides': {'vasp': {'parameters': {'encut': 400.0}}}}},
            'label.overrides.vasp',
            'label.overrides.gpaw',
        ),
        (
            'study',
            nested('diffusion.best_mace_h1.overrides.md.architectures.chgnet', 'time_step_fs', 0.5),
            'diffusion.best_mace_h1.overrides.md.architectures.chgnet',
            'diffusion.best_mace_h1.overrides.md.architectures.mace',
        ),
    ],
)
def test_settings_of_what_is_not_chosen_are_refused(builders, name, overrides, place, used):
    chosen = used.rpartition('.')[2]
    with pytest.raises(ValueError, match=' ') as refusal:
        builders[name](overrides=overrides)
    words = f'{place}: nothing would use it, because {chosen} is chosen: set {used}, or leave it out.'
    assert str(refusal.value) == words


def test_a_study_shares_settings_of_all_architectures(builders):
    step = {'md': {'architectures': {'chgnet': {'time_step_fs': 0.25}}}}
    settings = [builders['study'](**given).diffusion['best_mace_h1']['settings'] for given in ({}, {'overrides': step})]
    assert settings[0].get_dict() == settings[1].get_dict()


def test_parameters_of_a_training_are_of_its_architecture(builders):
    with pytest.raises(ValueError, match=r'parameters\.learning_rate: no such key'):
        builders['study'](overrides={'training': {'mace_tr': {'parameters': {'learning_rate': 0.1}}}})
    with pytest.raises(
        ValueError, match=r"training\.mine\.architecture = 'mac' is not .* trained here \(did you mean mace\?\)"
    ):
        builders['study'](overrides={'training': {'mine': {'architecture': 'mac'}}})


def test_faults_of_a_training_in_a_study_have_their_place(builders):
    overrides = {'training': {'mine': {'architecture': 'chgnet', 'parameters': {'E0s': 'average', 'lr': 3}}}}
    with pytest.raises(ValueError, match=' ') as refusal:
        builders['study'](overrides=overrides)
    first, second = str(refusal.value).splitlines()
    assert first.startswith(
        "training.mine.parameters.E0s = 'average': give one of estimated, foundation, or a dictionary"
    )
    assert second.startswith('training.mine.parameters.lr: no such key')


@pytest.mark.parametrize('kind', [np.int64, np.float32, orm.Float, orm.Int])
def test_numbers_of_numpy_and_nodes_become_plain_numbers(builders, kind):
    value = kind(300)
    assert builders['diffusion'](temperature_k=value).temperature.value == 300
    overrides = {'parameters': {'duration_ps': value, 'incar': {'nelm': value}}}
    options = {'default': {'resources': {'num_machines': np.int64(2)}}}
    builder = builders['md'](temperature_k=value, seed=np.int64(3), overrides=overrides, options=options)
    stored = builder.parameters.get_dict()
    assert (stored['temperature_k'], stored['seed'], stored['incar']) == (300, 3, {'nelm': 300})
    for number in (stored['temperature_k'], stored['seed'], stored['incar']['nelm']):
        assert type(number) in (int, float)
    assert type(builder.options.default['resources']['num_machines']) is int


def test_texts_of_numpy_and_nodes_become_plain_texts(builders):
    assert builders['md'](ensemble=orm.Str('nvt')).parameters['ensemble'] == 'nvt'
    assert builders['neb'](path=np.str_('O-T')).path['path'] == 'O-T'
    with pytest.raises(ValueError, match=r"^ensemble = \['nvt'\] is not one of nve, nvt, npt\.$"):
        builders['md'](ensemble=np.array(['nvt']))


@pytest.mark.parametrize('kind', [tuple, orm.List, np.array, lambda values: range(values[0], 401, 100)])
def test_temperatures_are_any_sequence(builders, kind):
    values = kind([300, 400])
    for given in ({'temperatures_k': values}, {'overrides': {'temperatures_k': values}}):
        assert {node.value for node in builders['arrhenius'](**given).temperatures.values()} == {300, 400}


def test_tuples_are_lists(builders):
    label = builders['label'](overrides={'gpaw': {'kpoints': {'mesh': (4, 4, 4)}}})
    assert label.kpoints.get_kpoints_mesh()[0] == [4, 4, 4]
    stages = load_protocol_file('otf')['default_inputs']['settings']['stages']
    settings = builders['otf'](overrides={'settings': {'kpoints': (1, 1, 1), 'stages': tuple(stages)}}).settings
    assert (settings['kpoints'], settings['stages']) == ([1, 1, 1], stages)
    assert builders['chgnet'](overrides={'parameters': {'frozen_layers': ()}}).parameters['frozen_layers'] == []
    assert set(builders['study'](overrides={'vibrations': ('mace',)}).vibrations) == {'mace'}


def test_null_is_not_given(builders):
    usual = set(builders['arrhenius']().temperatures)
    assert set(builders['arrhenius'](overrides={'temperatures_k': None}).temperatures) == usual
    resources = {'num_machines': 1, 'tot_num_mpiprocs': 2, 'num_mpiprocs_per_machine': None}
    assert builders['md'](options={'md': {'resources': resources}}).options.md['resources'] == resources


def test_null_leaves_a_tag_out(builders):
    null = {'nwrite': None, 'nelmin': None}
    otf = builders['otf'](overrides={'settings': {'electrons': null, 'learning': {'ml_mb': None}, 'refit': null}})
    assert not {*null, 'ml_mb'} & {tag for name in ('electrons', 'learning') for tag in otf.settings[name]}
    assert otf.settings['refit'] == {}
    study = builders['study from nothing'](overrides={'otf': {'settings': {'electrons': null}}})
    assert not set(null) & set(study.otf.settings['electrons'])
    assert 'nelmin' not in builders['md'](overrides={'parameters': {'incar': null}}).parameters['incar']
    vasp = {'parameters': null, 'retry_parameters': {'algo': None}}
    label = builders['label'](engine='vasp', potcars={}, overrides={'vasp': vasp})
    assert not {'nwrite', 'algo'} & set(label.retry_parameters.get_dict())
    assert not set(null) & set(label.parameters.get_dict())
    evaluation = builders['validate'](overrides={'evaluation': {'vasp_mlff': {**null, 'ncore': 8}}}).evaluation
    assert evaluation['vasp_mlff'].get_dict() == {'ncore': 8}


def test_null_leaves_out_a_tag_of_a_barrier_in_vasp(builders):
    tags = {'relaxation': {'lasph': None}, 'band': {'gga': None}, 'dft': {'parameters': {'nelmin': None}}}
    codes, _, host = builders['neb'].args
    potcars = placeholder_potcars(['Mg', 'H'])
    build = partial(builders['neb'].func, codes, None, host, path='O-T', potcars=potcars)
    neb = build(overrides={'vasp': tags})
    assert not {'gga', 'nelmin'} & set(neb.parameters.get_dict())
    assert not {'lasph', 'nelmin'} & set(neb.relaxation.get_dict())
    with pytest.raises(ValueError, match=r'parameters\.dtype: only ASE takes it, and .* in VASP: leave it out'):
        build(overrides={'parameters': {'dtype': 'float64'}})
    with pytest.raises(ValueError, match=r'parameters\.optimizer: only ASE .*: set tags in vasp.band instead'):
        build(overrides={'parameters': {'optimizer': 'fire'}})


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'maxitter': 5}, 'args.maxitter: no such key; did you mean maxiter?'),
        ({'occupations': {'width': -0.1}}, 'args.occupations.width = -0.1 is not a number of at least 0.'),
        ({'occupations': {'widht': 0.1}}, 'args.occupations.widht: no such key; did you mean width?'),
        ({'occupations': {'name': 'fermi-dirc'}}, '(did you mean fermi-dirac?).'),
        ({'mode': {'args': {'ecut': 'high'}}}, "args.mode.args.ecut = 'high' is not a positive number."),
        ({'mode': {'@function': 'LCAO'}}, "args.mode.@function = 'LCAO' is not one of PW."),
        ({'convergence': {'energi': 1e-3}}, 'args.convergence.energi: no such key; did you mean energy?'),
        ({'mixer': {'backend': 'pulai'}}, '(did you mean pulay?).'),
        ({'setups': {'Mgg': '2'}}, 'args.setups.Mgg: no such key; did you mean Mg?'),
        ({'xc': 'PB"E'}, "args.xc = 'PB\"E': give a text without quotes, not empty, or a dictionary here."),
        ({'xc': None}, 'args.xc = None: give a text without quotes, not empty, or a dictionary here.'),
        ({'kpts': [2, 2, 2]}, 'args.kpts: it cannot be set here; set kpoints of gpaw.'),
        ({'maxiter': -1}, 'args.maxiter = -1 is not a positive whole number or null.'),
    ],
)
def test_arguments_of_gpaw(builders, arguments, message):
    for name, place in (('label', ''), ('validate', 'label.overrides.')):
        overrides = nested(f'{place}gpaw.parameters.calculator', 'args', arguments)
        with pytest.raises(ValueError, match='args') as refusal:
            builders[name](overrides=overrides)
        (line,) = str(refusal.value).splitlines()
        assert line.startswith(f'{place}gpaw.parameters.calculator.args')
        assert line.endswith(message)


@pytest.mark.parametrize(
    'arguments',
    [
        {'symmetry': 'off'},
        {'xc': {'name': 'PBE', 'stencil': 2}},
        {'setups': 'sg15'},
        {'setups': {'default': 'paw', 'Mg': '2'}},
        {'external': {'name': 'ConstantPotential', 'constant': 1.0}},
        {'mode': {'args': {'fftwflags': 0}}},
    ],
)
def test_arguments_that_gpaw_knows(builders, arguments):
    builder = builders['label'](overrides={'gpaw': {'parameters': {'calculator': {'args': arguments}}}})
    found = builder.parameters['calculator']['args']
    assert {key: found[key] for key in arguments if key != 'mode'} == {
        key: value for key, value in arguments.items() if key != 'mode'
    }


@pytest.mark.parametrize(
    ('name', 'where'),
    [
        ('neb', 'vasp.dft.parameters.encut'),
        ('neb', 'vasp.force_field.parameters.isym'),
        ('neb', 'vasp.relaxation.ibrion'),
        ('neb', 'vasp.relaxation.ediff'),
        ('neb', 'vasp.band.iopt'),
        ('neb', 'vasp.band.encut'),
        ('otf', 'settings.electrons.encut'),
        ('otf', 'settings.learning.ml_mconf'),
        ('study from nothing', 'otf.settings.learning.ml_mconf'),
        ('label', 'vasp.parameters.nelm'),
        ('label', 'vasp.retry_parameters.sigma'),
        ('validate', 'label.overrides.vasp.parameters.encut'),
    ],
)
def test_null_leaves_out_no_tag_that_the_job_requires(builders, name, where):
    place, _, tag = where.rpartition('.')
    for value, words in ((None, '; the job requires it, so null cannot leave it out.'), ('wrong', '')):
        with pytest.raises(ValueError, match=' is not ') as refusal:
            builders[name](overrides=nested(place, tag, value))
        (line,) = str(refusal.value).splitlines()
        assert line.startswith(f'{where} = {value!r} is not ')
        assert line.endswith(words)


def test_names_are_texts(builders, hydride):
    with pytest.raises(ValueError, match=r"^frames\.1: the key 1 is not a text: write '1'\.$"):
        LabelWorkChain.get_builder_from_protocol(builders['label'].args[0], {1: hydride}, engine='gpaw')
