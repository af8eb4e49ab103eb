"""The tasks of a study, and its refusals."""

from __future__ import annotations

import host_datasets
import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from ended_nodes import ended_node
from training_inputs import make_chgnet, make_dataset
from vasp_runs import make_force_field

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import LEARNED
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.workflows.protocol import merge
from aiida_mghdiff.workflows.restart_loops import RESTART
from aiida_mghdiff.workflows.study import ENTRIES, StudyWorkChain
from aiida_mghdiff.workflows.train import TrainWorkChain


@pytest.fixture
def builder(study_builder):
    return study_builder


@pytest.fixture
def from_nothing(study_from_nothing):
    return study_from_nothing


def make(generate_workchain, builder, **changes):
    """Return the study, without running it."""
    return generate_workchain(StudyWorkChain, builder._inputs(prune=True) | changes)


def test_a_training_without_its_foundation_is_left_out(builder):
    assert set(builder.training) == {'mace_ft', 'mace_tr'}
    assert set(builder.diffusion) == {'best_mace_h1'}


def test_tasks_know_their_prerequisites(generate_workchain, builder):
    study = make(generate_workchain, builder)
    study.setup()
    tasks = study.ctx.tasks
    assert next(iter(tasks)).startswith('train_')
    assert tasks['evaluate_mace_mp'] == []
    assert tasks['evaluate_mace_ft'] == ['train_mace_ft']
    assert tasks['barrier_mace_tr_o_t'] == ['train_mace_tr']
    assert set(tasks['diffusion_best_mace_h1']) == {'evaluate_mace_ft', 'evaluate_mace_tr'}


def test_refuses_labels_and_codes_that_do_not_fit(generate_workchain, builder, tiny_potential):
    with pytest.raises(ValueError, match=r'codes\.python is missing'):
        make(generate_workchain, builder, codes={})
    twice = {'mace_mp': tiny_potential, 'mace_ft': tiny_potential}
    with pytest.raises(ValueError, match='mace_ft name a given and a trained'):
        make(generate_workchain, builder, potentials=twice)
    run = dict(builder.diffusion['best_mace_h1']) | {'potential': orm.Str('best:chgnet')}
    with pytest.raises(ValueError, match='no chgnet potential'):
        make(generate_workchain, builder, diffusion={'x': run})
    run['potential'] = orm.Str('mace_xx')
    with pytest.raises(ValueError, match='neither given nor trained'):
        make(generate_workchain, builder, diffusion={'x': run})


def test_refuses_learning_that_would_fail_at_its_first_segment(generate_workchain, from_nothing):
    settings = merge(from_nothing.otf['settings'].get_dict(), {'tracer_element': 'Li'})
    otf = dict(from_nothing.otf) | {'settings': orm.Dict(settings)}
    with pytest.raises(ValueError, match='otf: the first segment is refused: settings: tracer_element = Li'):
        make(generate_workchain, from_nothing, otf=otf)
    with pytest.raises(ValueError, match=r'otf: codes\.vasp is missing'):
        make(generate_workchain, from_nothing, codes={'python': from_nothing.codes['python']})


def test_learning_that_failed_gives_what_it_labelled(
    generate_workchain, generate_workchain_node, from_nothing, tiny_potential, example_data
):
    study = make(generate_workchain, from_nothing)
    dataset = DatasetData.from_frames(read_extxyz(example_data / 'mgh_pbe.extxyz').frames[:3])
    found = {'dataset': dataset, 'force_field': tiny_potential}
    study.ctx.otf = generate_workchain_node('mghdiff.otf', 621, found, 'Segment seg002 failed')
    code = study.inspect_learning()
    assert code.status == study.exit_codes.ERROR_LEARNING_FAILED.status == 650
    assert 'Segment seg002 failed' in code.message
    assert {name: study.outputs[f'learned_{name}'].uuid for name in found} == {k: v.uuid for k, v in found.items()}


def make_hop(path, forward, reverse):
    """Return an unstored hop."""
    kinds = {'O': [12.0, 13.0, 14.0], 'T': [30.0, 31.0, 40.0]}
    return orm.Dict(
        {
            'path': path,
            'tracer_element': 'H',
            'forward_barrier_ev': forward,
            'reverse_barrier_ev': reverse,
            'initial_frequencies_thz': kinds[path[0]],
            'saddle_frequencies_thz': [-15.0, 33.0, 45.0],
            'final_frequencies_thz': kinds[path[2]],
            'elementary': True,
        }
    )


def test_hops_of_each_potential_give_d(generate_workchain, generate_job_node, builder):
    study = make(generate_workchain, builder)
    study.setup()
    hops = {'o_t': make_hop('O-T', 0.20, 0.26), 't_t': make_hop('T-T', 0.11, 0.11)}
    study.ctx.barriers = {f'barrier_{label}_{key}': [label, key] for label in ('mace_mp', 'mace_tr') for key in hops}
    for key in study.ctx.barriers:
        study.ctx.children[key] = generate_job_node('mghdiff.neb', 0)
    for key, hop in hops.items():
        study.ctx.children[f'barrier_mace_mp_{key}'] = generate_job_node('mghdiff.neb', 0, {'hop': hop})
    lone = {'hop': make_hop('O-T', 0.20, 0.26)}
    study.ctx.children['barrier_mace_tr_o_t'] = generate_job_node('mghdiff.neb', 0, lone)
    study.ctx.metrics = {'mace_mp': orm.Dict({'energy_rmse_shifted_mev_per_atom': 1.0})}
    study.join_hops()
    assert set(study.ctx.barrier_diffusion) == {'mace_mp'}  # mace_tr has no T-T
    classical = study.ctx.barrier_diffusion['mace_mp']['classical']
    assert classical['temperatures_k'] == study.inputs.extrapolation['temperatures_k']
    assert classical['ci95_m2_s'][0][0] > 0
    assert set(study.ctx.hops) == {'mace_mp', 'mace_tr'}


def test_gives_on_what_its_children_give(generate_workchain, generate_workchain_node, builder):
    study = make(generate_workchain, builder)
    study.setup()
    run = {'diffusion': orm.Dict({}), 'msd': orm.ArrayData(), 'volume': orm.Float(750.0), 'pairs': orm.Dict({})}
    path = orm.TrajectoryData([host_datasets.make_host()])
    barrier = {'barrier': orm.Dict({}), 'images': path, 'saddle': host_datasets.make_host()}
    children = {
        'diffusion_best_mace_h1': {f'{name}__t{t}k': node.clone() for name, node in run.items() for t in (600, 800)},
        'barrier_mace_mp_o_t': barrier | {'vibrations__initial': orm.Dict({'n': 0})},
    }
    for key, outputs in children.items():
        study.ctx.children[key] = generate_workchain_node('mghdiff.diffusion', 0, outputs)
    study.ctx.hops = study.ctx.barrier_diffusion = {}
    study.results()
    assert {name: set(study.outputs[name]['best_mace_h1']) for name in run} == {
        name: {'t600k', 't800k'} for name in run
    }
    assert study.outputs['images']['mace_mp']['o_t'].uuid == path.uuid
    assert study.outputs['saddles']['mace_mp']['o_t'].uuid == barrier['saddle'].uuid
    assert study.outputs['barriers']['mace_mp']['o_t'].uuid == barrier['barrier'].uuid
    assert study.outputs['vibrations']['mace_mp']['o_t']['initial']['n'] == 0


def test_protocols_say_what_gets_vibrations(codes, tiny_potential, host, example_data):
    frames = read_extxyz(example_data / 'mgh_pbe.extxyz').frames[:12]
    dataset, given = DatasetData.from_frames(frames), {'mace_mp': tiny_potential}
    found = {}
    for protocol in ('paper', 'balanced', 'demo', 'smoke'):
        builder = StudyWorkChain.get_builder_from_protocol(
            codes, dataset, host, host, potentials=given, protocol=protocol
        )
        paths = {path['path'] for path in builder.paths.values()}
        found[protocol] = {name: node['dtype'] for name, node in builder.vibrations.items()}, {'O-T', 'T-T'} <= paths
    both = {'mace': 'float64', 'chgnet': 'float32'}
    assert found['paper'] == found['balanced'] == (both, True)
    assert found['demo'] == ({'mace': 'float64'}, True)
    assert found['smoke'] == ({}, False)


def test_a_study_from_nothing_has_changes_of_its_own(builder, from_nothing):
    assert from_nothing.split['fractions'] != builder.split['fractions']
    assert (LEARNED in [run['potential'].value for run in from_nothing.diffusion.values()]) is True
    assert from_nothing.diffusion['vasp_mlff_h1']['settings']['nve']['dtype'] == 'float64'


def test_overrides_come_after_the_changes_of_a_study_from_nothing(codes, host, from_nothing):
    fractions = {'training': 0.6, 'validation': 0.2, 'test': 0.2}
    again = StudyWorkChain.get_builder_from_protocol(
        codes,
        from_nothing.otf['structure'],
        host,
        host,
        potcars=placeholder_potcars(['Mg', 'H']),
        protocol='smoke',
        overrides={'split': {'fractions': fractions}},
    )
    assert again.split['fractions'] == fractions


def test_the_learned_force_field_is_evaluated_by_vasp(generate_workchain, from_nothing):
    tasks = make(generate_workchain, from_nothing).plan_tasks()
    assert tasks[f'evaluate_{LEARNED}'] == []
    assert tasks['diffusion_vasp_mlff_h1'] == []


def test_refuses_learning_without_potcars(generate_workchain, from_nothing):
    with pytest.raises(ValueError, match='potcars has no POTCAR for H: upload a family'):
        make(generate_workchain, from_nothing, potcars=placeholder_potcars(['Mg']))


def test_refuses_a_potential_that_does_not_know_an_element(generate_workchain, builder, tiny_potential):
    tiny_potential.base.attributes.set('elements', ['Mg'])
    with pytest.raises(ValueError, match=r'potentials\.mace_mp does not know H: leave it out'):
        make(generate_workchain, builder)


@pytest.fixture
def build_without_stress(codes, tiny_potential, host):
    """Return a function that makes a study on configurations without stress."""
    dataset = make_dataset(12, stresses=np.full((12, 6), np.nan))

    def make(**overrides):
        given = {'mace_mp': tiny_potential, 'chgnet_mp': make_chgnet()}
        return StudyWorkChain.get_builder_from_protocol(
            codes, dataset, host, host, potentials=given, protocol='smoke', overrides=overrides
        )

    return make


def test_study_of_a_dataset_without_stresses_trains_none(generate_workchain, build_without_stress):
    builder = build_without_stress(split={'fractions': {'training': 0.6, 'validation': 0.2, 'test': 0.2}})
    parameters = {label: training['parameters'] for label, training in builder.training.items()}
    assert parameters['mace_tr']['stress_weight'] == parameters['mace_ft']['stress_weight'] == 0.0
    assert parameters['chgnet_ft']['targets'] == 'ef'
    make(generate_workchain, builder)


@pytest.mark.parametrize(
    ('label', 'parameters', 'message'),
    [
        ('mace_tr', {'stress_weight': 1.0}, r'training\.mace_tr: training and validation lacks stresses'),
        ('chgnet_ft', {'targets': 'efs'}, r'training\.chgnet_ft: training and validation lacks stresses'),
        (
            'mace_ft',
            {'batch_size': 12},
            r'training\.mace_ft: parameters: batch_size = 12 is larger than the training set \(3',
        ),
    ],
)
def test_refuses_a_training_before_anything_runs(generate_workchain, build_without_stress, label, parameters, message):
    builder = build_without_stress(training={label: {'parameters': parameters}})
    with pytest.raises(ValueError, match=message):
        make(generate_workchain, builder)


@pytest.mark.parametrize(
    ('namespace', 'architecture', 'values', 'message'),
    [
        ('evaluation', 'mace', {'dtype': 'float16', 'device': 'cpu'}, r'evaluation\.mace: parameters: dtype ='),
        (
            'evaluation',
            'chgnet',
            {'dtype': 'float64', 'device': 'cpu'},
            r'evaluation\.chgnet: .* CHGNet computes only in float32',
        ),
        ('neb', 'mace', {'n_images': 3}, r'neb\.mace: parameters lack climb, '),
        ('vibrations', 'mace', {'dtype': 'float64'}, r'vibrations\.mace: parameters lack displacement_angstrom'),
    ],
)
def test_refuses_parameters_of_later_jobs(generate_workchain, builder, namespace, architecture, values, message):
    """They would end the study in an exception after its trainings."""
    changes = {namespace: dict(builder[namespace]) | {architecture: orm.Dict(values)}}
    with pytest.raises(ValueError, match=message):
        make(generate_workchain, builder, **changes)


def changed(entry, changes):
    """Return an entry with some values changed by name; None leaves the name out."""
    kept = {name: value for name, value in entry.items() if name not in changes}
    return kept | {name: make_value() for name, make_value in changes.items() if make_value}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'parametrs': orm.Dict}, r'training\.x\.parametrs: no such key; did you mean parameters\?'),
        ({'potentail': orm.Dict}, r'training\.x\.potentail: no such key; did you mean potential\?'),
        ({'max_iterations': orm.Int}, r'training\.x\.max_iterations: no such key'),
        ({'architecture': None}, r'training\.x lacks architecture'),
        ({'potential': dict}, r'training\.x: potential = \{\} is not a PotentialData node'),
        ({'parameters': dict}, r'training\.x: parameters = \{\} is not a Dict node'),
    ],
)
def test_refuses_an_input_that_no_training_has(generate_workchain, builder, changes, message):
    """The input would end the study in an exception when it launches the training."""
    with pytest.raises(ValueError, match=message):
        make(generate_workchain, builder, training={'x': changed(builder.training['mace_tr'], changes)})


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'segment_steps': orm.Int}, r'diffusion\.x\.segment_steps: no such key'),
        ({'temprature': orm.Float}, r'diffusion\.x\.temprature: no such key; did you mean temperatures\?'),
        ({'settings': None}, r'diffusion\.x lacks settings'),
        ({'temperatures': dict}, r'diffusion\.x: temperatures = \{\} is not a Float node in K for each label'),
        ({'potential': orm.Dict}, r'diffusion\.x: potential = .* is not a Str node'),
    ],
)
def test_refuses_an_input_that_no_diffusion_run_has(generate_workchain, builder, changes, message):
    """Nothing would read the input."""
    with pytest.raises(ValueError, match=message):
        make(generate_workchain, builder, diffusion={'x': changed(builder.diffusion['best_mace_h1'], changes)})


def test_a_training_takes_what_the_study_does_not_give():
    given = {
        'training',
        'validation',
        'codes',
        'options',
        'clean_workdir',
        'metadata',
        'pause_on_max_iterations',
        *RESTART,
    }
    needed, others = ENTRIES['training']
    assert {*needed, *others} == set(TrainWorkChain.spec().inputs) - given


def test_refuses_settings_that_lack_a_section(generate_workchain, builder):
    run = dict(builder.diffusion['best_mace_h1'])
    settings = run['settings'].get_dict()
    del settings['supercell']
    with pytest.raises(ValueError, match=r'diffusion\.x: settings lack supercell'):
        make(generate_workchain, builder, diffusion={'x': run | {'settings': orm.Dict(settings)}})


SHARES = {'training': 0.8, 'validation': 0.1, 'test': 0.1}


def one_group(dataset):
    """Return the configurations of a dataset as one trajectory."""
    arrays = dataset.get_arrays() | {'groups': np.zeros(len(dataset.get_array('natoms')), dtype=int)}
    return DatasetData.from_arrays(arrays, energy_kind='free', labelled_by='vasp', group_names=['run'])


@pytest.mark.parametrize(
    ('split', 'message'),
    [
        ({'fractions': SHARES}, r'split lacks seed'),
        ({'fractions': SHARES | {'test': 0.2}, 'seed': 1}, r'split: fractions = .* which sum to one'),
        (
            {'fractions': {'training': 0.7, 'tests': 0.3}, 'seed': 1},
            r'split\.fractions\.tests: .* did you mean test\?',
        ),
        ({'indices': {'training': [0, 1], 'validation': [2], 'test': [12]}}, r'split: test asks for frame 12, but the'),
        ({'indices': {'training': [0, 1], 'validation': [1], 'test': [2]}}, r'split: frame 1 is given twice'),
        ({'indices': {'training': [0, 1], 'test': [2]}}, r'split: there is no validation set, which chooses the best'),
        (
            {'fractions': {'training': 0.9, 'validation': 0.1, 'test': 0.0}, 'seed': 1},
            r'split: there is no test set, on which the potentials are evaluated',
        ),
        (
            {'indices': {'training': [0], 'validation': [1], 'test': list(range(2, 12))}},
            r'training\.mace_tr: training: the compositions of the training set leave open how',
        ),
    ],
)
def test_refuses_parts_that_cannot_be(generate_workchain, builder, split, message):
    with pytest.raises(ValueError, match=message):
        make(generate_workchain, builder, split=orm.Dict(split))


@pytest.mark.parametrize('is_stored', [True, False])
def test_refuses_one_trajectory_with_all_other_reasons(generate_workchain, builder, tiny_potential, is_stored):
    dataset = one_group(builder.dataset)
    if is_stored:
        dataset.store()
    tiny_potential.base.attributes.set('elements', ['Mg'])
    with pytest.raises(
        ValueError, match=r'split: 3 sets need as many groups of frames, but the dataset has 1\.'
    ) as refusal:
        make(generate_workchain, builder, dataset=dataset)
    assert 'potentials.mace_mp does not know H' in str(refusal.value)


def test_refuses_an_element_that_only_the_test_part_has(generate_workchain, build_for):
    """The study would refuse to evaluate the trained potential after the training."""
    dataset = host_datasets.make_dataset(tracers=['H'] * 11 + ['HO'])
    builder = build_for(dataset, host_datasets.make_host(), tracer_element='H')
    indices = {'training': list(range(9)), 'validation': [9], 'test': [10, 11]}
    with pytest.raises(
        ValueError, match=r'training\.mace_tr has no configurations with O, but the test set of the dataset has'
    ):
        make(generate_workchain, builder, split=orm.Dict({'indices': indices}))


def test_refuses_a_split_of_what_is_yet_to_be_learned(generate_workchain, from_nothing):
    split = orm.Dict({'fractions': {'training': 0.9, 'test': 0.1}, 'seed': 1})
    with pytest.raises(ValueError, match='split: there is no validation set'):
        make(generate_workchain, from_nothing, split=split)


def learned(study, dataset):
    """Let a study from nothing continue with a dataset."""
    node = ended_node(orm.WorkChainNode, 'aiida.workflows:mghdiff.otf', 0, None)
    dataset.store().base.links.add_incoming(node, link_type=LinkType.RETURN, link_label='dataset')
    study.ctx.otf = node
    return study.setup()


def test_part_of_a_learned_dataset_that_is_too_small_stops_the_study(generate_workchain, from_nothing):
    training = dict(from_nothing.training['mace_tr'])
    training['parameters'] = orm.Dict(training['parameters'].get_dict() | {'batch_size': 2})
    study = make(generate_workchain, from_nothing, training={'mace_tr': training})
    code = learned(study, make_dataset(3))
    assert code.status == study.exit_codes.ERROR_TRAINING_REFUSED.status == 661
    assert 'training.mace_tr: parameters: batch_size = 2 is larger than the training set' in code.message
    assert set(study.outputs['datasets']) == {'training', 'validation', 'test'}


def test_learned_dataset_that_cannot_be_split_stops_the_study(generate_workchain, from_nothing):
    study = make(generate_workchain, from_nothing)
    code = learned(study, one_group(make_dataset(3)))
    assert code.status == study.exit_codes.ERROR_SPLIT_FAILED.status == 660
    assert '3 sets need as many groups of frames' in code.message


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'temperatures': {'t0k5': 0.5}},
            r'diffusion\.x: temperature = 0\.5 K is not a temperature of at least',
        ),
        ({'settings': {'tracer_count': 0}}, r'diffusion\.x: settings: tracer_count = 0 is not a positive whole number'),
        ({'settings': {'tracer_count': 1.5}}, r'diffusion\.x: settings\.supercell: tracer_count = 1\.5'),
    ],
)
def test_refuses_a_run_before_anything_is_trained(generate_workchain, builder, changes, message):
    run = dict(builder.diffusion['best_mace_h1'])
    settings = run['settings'].get_dict()
    settings['supercell'] |= changes.get('settings', {})
    temperatures = changes.get('temperatures', {'t600k': 600.0})
    run |= {
        'settings': orm.Dict(settings),
        'temperatures': {key: orm.Float(value) for key, value in temperatures.items()},
    }
    with pytest.raises(ValueError, match=message):
        make(generate_workchain, builder, diffusion={'x': run})


def test_evaluation_of_the_learned_force_field_is_a_valid_job(generate_workchain, from_nothing, tmp_path, monkeypatch):
    """The job has VASP's code and POTCARs, the test part, and the study's options."""
    study = make(generate_workchain, from_nothing)
    force_field, dataset = make_force_field(tmp_path), make_dataset(2)
    monkeypatch.setattr(study, 'potential', lambda label: force_field)
    monkeypatch.setattr(study, 'submit', lambda process, **inputs: generate_workchain(process, inputs).node)
    study.ctx.datasets, study.ctx.repeated = {'test': dataset}, {}
    node = study.launch(f'evaluate_{LEARNED}')
    assert node.process_label == 'VaspEvaluateCalculation'
    assert set(node.inputs.potcars) == {'Mg', 'H'}
    assert node.inputs.dataset.uuid == dataset.uuid
    assert node.get_option('max_wallclock_seconds') == 600
    (record,) = orm.Log.collection.get_logs_for(study.node)
    assert record.message.endswith(f'launched evaluate_vasp_mlff: VaspEvaluateCalculation<{node.pk}>')


@pytest.fixture
def build_for(codes, tiny_potential):
    """Return a function that makes a smoke study of a dataset with a MACE that knows its elements."""

    def make(dataset, host, **options):
        tiny_potential.base.attributes.set('elements', sorted({'H', *dataset.base.attributes.get('elements')}))
        options = {'potentials': {'mace_mp': tiny_potential}, 'protocol': 'smoke'} | options
        return StudyWorkChain.get_builder_from_protocol(codes, dataset, host, host, **options)

    return make


def test_tracer_comes_from_the_dataset(generate_workchain, build_for):
    dataset = host_datasets.make_dataset('Ti', host_datasets.TITANIUM, ['N', 'NN', ''] * 4)
    builder = build_for(dataset, host_datasets.make_host('Ti', host_datasets.TITANIUM))
    assert {path['tracer_element'] for path in builder.paths.values()} == {'N'}
    settings = [run['settings'].get_dict() for run in builder.diffusion.values()]
    assert {values['supercell']['tracer_element'] for values in settings} == {'N'}
    assert {values[stage]['tracer_element'] for values in settings for stage in ('npt', 'nvt', 'nve')} == {'N'}
    make(generate_workchain, builder)


def test_two_tracers_are_named_and_one_is_chosen(generate_workchain, build_for):
    dataset = host_datasets.make_dataset(tracers=['H', 'O', 'HO'] * 4)
    host = host_datasets.make_host()
    with pytest.raises(ValueError, match=r'may be about H in Mg or O in Mg: choose with tracer_element\.'):
        build_for(dataset, host)
    builder = build_for(dataset, host, tracer_element='O')
    assert {path['tracer_element'] for path in builder.paths.values()} == {'O'}
    make(generate_workchain, builder)


@pytest.mark.parametrize(
    ('dataset', 'host', 'message'),
    [
        (
            ('Pd', 'PALLADIUM'),
            ('Pd', 'PALLADIUM'),
            r'Pd \(host, neb_host\) is fcc, which is not supported yet: interstitial sites',
        ),
        (
            ('V', 'VANADIUM'),
            ('V', 'VANADIUM'),
            r'V \(host, neb_host\) is bcc, which is not supported yet: interstitial sites',
        ),
        (('Ti', 'TITANIUM'), ('Mg', 'MAGNESIUM'), r'host is of Mg, which the dataset does not contain: it has H, Ti'),
    ],
)
def test_refuses_a_host_that_it_cannot_treat(generate_workchain, build_for, dataset, host, message):
    (symbol, lattice), (host_symbol, host_lattice) = dataset, host
    frames = host_datasets.make_dataset(symbol, getattr(host_datasets, lattice), ['H'] * 12)
    builder = build_for(frames, host_datasets.make_host(host_symbol, getattr(host_datasets, host_lattice)))
    with pytest.raises(ValueError, match=message):
        make(generate_workchain, builder)


def test_gives_all_reasons_at_once(generate_workchain, build_for, tiny_potential):
    dataset = host_datasets.make_dataset('Pd', host_datasets.PALLADIUM, ['H'] * 12)
    builder = build_for(dataset, host_datasets.make_host('Pd', host_datasets.PALLADIUM))
    tiny_potential.base.attributes.set('elements', ['Pd'])
    paths = {'o_x': orm.Dict({'tracer_element': 'H', 'path': 'O-X'})}
    with pytest.raises(ValueError, match=r'potentials\.mace_mp does not know H') as refusal:
        make(generate_workchain, builder, paths=paths)
    message = str(refusal.value)
    for words in ('Pd (host, neb_host) is fcc', "paths.o_x: path: path = 'O-X' is not one of O-O c"):
        assert message.count(words) == 1, message


@pytest.mark.parametrize('fault', ['code', 'label', 'settings'])
def test_no_reason_hides_another(generate_workchain, build_for, tiny_potential, fault):
    """A missing code, a repeated label and settings of the wrong shape are all named at once."""
    dataset = host_datasets.make_dataset('Pd', host_datasets.PALLADIUM, ['H'] * 12)
    builder = build_for(dataset, host_datasets.make_host('Pd', host_datasets.PALLADIUM))
    tiny_potential.base.attributes.set('elements', ['Pd'])
    changes = {'paths': {'o_x': orm.Dict({'tracer_element': 'H', 'path': 'O-X'})}}
    if fault == 'code':
        changes['codes'], words = {}, 'codes.python is missing'
    elif fault == 'label':
        changes['training'] = {'mace_mp': builder.training['mace_ft']}
        words = 'labels mace_mp name a given and a trained potential'
    else:
        key, run = next(iter(builder.diffusion.items()))
        changes['diffusion'] = {key: dict(run) | {'settings': orm.Dict({'seed': 1})}}
        words = f'diffusion.{key}: '
    with pytest.raises(ValueError, match=words) as refusal:
        make(generate_workchain, builder, **changes)
    for words in (
        'Pd (host, neb_host) is fcc',
        "path = 'O-X' is not one of O-O c",
        'potentials.mace_mp does not know H',
    ):
        assert str(refusal.value).count(words) == 1, str(refusal.value)


def test_refuses_trainings_that_learn_nothing_of_the_tracer(generate_workchain, build_for):
    """The diffusion runs would refuse the trained potentials, after all trainings."""
    dataset = host_datasets.make_dataset(tracers=[''] * 12)
    with pytest.raises(ValueError, match='the dataset has only Mg atoms, so the tracer is unknown'):
        build_for(dataset, host_datasets.make_host())
    builder = build_for(dataset, host_datasets.make_host(), tracer_element='H')
    with pytest.raises(
        ValueError, match=r'training\.mace_tr has no configurations with H, but its barriers or diffusion'
    ) as refusal:
        make(generate_workchain, builder)
    assert 'training.mace_ft has no configurations with H' in str(refusal.value)


def test_tracer_of_a_study_from_nothing(codes, from_nothing, host):
    assert {path['tracer_element'] for path in from_nothing.paths.values()} == {'H'}
    oxide = orm.StructureData(ase=host_datasets.make_frame('Mg', host_datasets.MAGNESIUM, 'O', shake=0.0))
    builder = StudyWorkChain.get_builder_from_protocol(codes, oxide, host, host, protocol='smoke')
    assert builder.otf['settings']['tracer_element'] == 'O'
    for structure, found in (
        (host, 'no tracers'),
        (host_datasets.make_frame('Mg', host_datasets.MAGNESIUM, 'HO'), 'H, O as possible tracers'),
    ):
        node = structure if isinstance(structure, orm.StructureData) else orm.StructureData(ase=structure)
        with pytest.raises(ValueError, match=f'from which learning starts has {found}: name the tracer'):
            StudyWorkChain.get_builder_from_protocol(codes, node, host, host, protocol='smoke')


def test_an_evaluation_that_crashed_starts_once_more(generate_workchain, generate_job_node, builder, monkeypatch):
    study = make(generate_workchain, builder)
    study.set_tasks({'evaluate_chgnet_mp': []})
    study.ctx.repeated = {}
    crashed, refused = (generate_job_node('mghdiff.evaluate', status) for status in (300, 213))
    study.ctx.children['evaluate_chgnet_mp'] = crashed
    study.forget_crashed()
    assert study.has_tasks()
    monkeypatch.setattr(study, 'repeat', lambda node: node)
    assert study.launch('evaluate_chgnet_mp') is crashed
    study.ctx.children['evaluate_chgnet_mp'] = refused
    study.forget_crashed()
    assert not study.has_tasks()
    assert study.failure().status == 620
