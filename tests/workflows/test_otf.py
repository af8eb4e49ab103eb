"""On-the-fly learning: the schedule of the paper, the repairs of a segment, and a whole run with the stand-in."""

from __future__ import annotations

import io
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ended_nodes import inspect
from plumpy import ProcessState
from provenance import nodes_without_origin
from vasp_md_runs import START, learned_dataset, learning_state, state_of
from vasp_runs import make_force_field

from aiida_mghdiff.calculations.functions.dataset import split_dataset
from aiida_mghdiff.calculations.functions.learning import (
    carry_on,
    learning_history,
    piece_of_segment,
    plan_learning,
)
from aiida_mghdiff.calculations.functions.merge import merge_datasets
from aiida_mghdiff.calculations.vasp.job import poscar_text
from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.iconst import iconst_text
from aiida_mghdiff.formats.incar import write_incar
from aiida_mghdiff.formats.kpoints import write_kpoints
from aiida_mghdiff.workflows.learning_segment import LearningSegmentWorkChain
from aiida_mghdiff.workflows.otf import OnTheFlyWorkChain
from aiida_mghdiff.workflows.protocol import merge

STANDIN = Path(sys.executable).with_name('mghdiff-vasp-standin')


COLD = {'name': 'cold', 'start_temperature_k': 0.0, 'end_temperature_k': 9.0, 'duration_ps': 1.0}


@pytest.fixture
def vasp(codes):
    """The stand-in."""
    computer = codes['python'].computer
    return orm.InstalledCode(label='standin', computer=computer, filepath_executable=str(STANDIN)).store()


@pytest.fixture
def builder(codes, vasp):
    """Inputs of a schedule with a few steps."""
    return OnTheFlyWorkChain.get_builder_from_protocol(
        {'vasp': vasp, 'reduce': codes['python']},
        placeholder_potcars(['Mg', 'H']),
        orm.StructureData(ase=START),
        protocol='smoke',
    )


def plan(protocol, **overrides):
    """Return the plan of a protocol as plain values."""
    settings = OnTheFlyWorkChain.get_protocol_inputs(protocol, {'settings': overrides})['settings']
    result, node = plan_learning.run_get_node(orm.Dict(settings), orm.StructureData(ase=START))
    assert node.is_finished_ok, node.exit_message
    return result


# ---- the schedule --------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def paper(aiida_profile):
    """The plan of the paper's schedule."""
    return plan('paper')


def test_schedule_of_the_paper(paper):
    """0.2 ns from 1 to 700 K, then 0.1 ns each at 300, 480 and 673 K, without a gap; no refit."""
    labels = sorted(key for key in paper if key.startswith('seg') and key.endswith('_parameters'))
    tags = [paper[label].get_dict() for label in labels]
    settings = [paper[label.replace('parameters', 'settings')].get_dict() for label in labels]
    assert sum(tag['nsw'] for tag in tags) == 500_000
    assert all(
        b['first_step'] == a['first_step'] + t['nsw'] for (a, b), t in zip(pairwise(settings), tags, strict=False)
    )
    heating = [tag for tag, own in zip(tags, settings, strict=True) if own['stage'] == 'heating']
    assert (heating[0]['tebeg'], heating[-1]['teend']) == (1.0, 700.0)
    assert all(a['teend'] == pytest.approx(b['tebeg']) for a, b in pairwise(heating))
    holds = {own['stage']: (tag['tebeg'], tag['teend']) for tag, own in zip(tags, settings, strict=True)}
    assert [holds[name] for name in ('hold300', 'hold480', 'hold673')] == [(300, 300), (480, 480), (673, 673)]
    assert len({tuple(tag['random_seed']) for tag in tags}) == len(tags)
    assert 'refit_parameters' not in paper


@pytest.mark.parametrize('stage', ['heating', 'hold300', 'hold480', 'hold673'])
def test_files_of_the_paper(paper, stage, file_regression):
    """The kept files show the first segment of each stage to an expert."""
    own = sorted(key for key in paper if key.endswith('_settings') and paper[key]['stage'] == stage)
    tags = paper[own[0].replace('settings', 'parameters')].get_dict()
    mesh, _ = paper['kpoints'].get_kpoints_mesh()
    files = {
        'INCAR': write_incar(tags),
        'ICONST': paper['iconst'].get_content(),
        'KPOINTS': write_kpoints(mesh),
        'POSCAR': poscar_text(START, None),
    }
    file_regression.check(''.join(f'# {name}\n{text}' for name, text in files.items()))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'stages': [{'name': 'cold', 'start_temperature_k': 0.0, 'end_temperature_k': 9.0, 'duration_ps': 1.0}]},
            '1 K',
        ),
        ({'cell_shape': 'round'}, 'one of fixed, free-c/a, free-lengths'),
        ({'electrons': {'ENCUT': 600}}, 'lower case'),
        ({'kpoints': [4, 4]}, 'three positive whole numbers'),
        ({'group_ps': 0}, 'group_ps = 0 is not a positive number'),
        ({'learning': {'langevin_gamma': [10.0]}}, 'learning sets langevin_gamma, which follow from the schedule'),
        ({'refit': {'ml_mconf': 10}}, 'refit sets ml_mconf, which follow'),
        ({'electrons': {'tebeg': 0, 'nsw': 5}}, 'electrons sets nsw, tebeg, which follow from the schedule'),
    ],
)
def test_settings_are_refused(aiida_profile, changes, message):
    settings = merge(OnTheFlyWorkChain.get_protocol_inputs('smoke')['settings'], changes)
    _, node = plan_learning.run_get_node(orm.Dict(settings), orm.StructureData(ase=START))
    assert node.exit_status == 220
    assert message in node.exit_message


def with_settings(builder, **changes):
    return {'settings': orm.Dict(merge(builder.settings.get_dict(), changes))}


def known(symbol='H', count=1):
    """Return configurations and the learning state that orders them."""
    return {
        'configurations': {'part0000': learned_dataset(count=count, symbol=symbol)},
        'learning_state': orm.ArrayData({'order': np.arange(count)}),
    }


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda _: {'potcars': {}}, 'potcars has no POTCAR for Mg, H: upload a family'),
        (lambda _: {'potcars': placeholder_potcars(['Mg'])}, 'potcars has no POTCAR for H'),
        (lambda _: {'codes': {}}, r'codes\.vasp is missing'),
        (lambda _: {'structure': orm.StructureData(ase=START[[0, 16, *range(1, 16)]])}, 'species are not grouped'),
        (lambda _: {'structure': orm.StructureData(ase=START[:16])}, 'tracer_element = H, but the start has Mg'),
        (lambda builder: with_settings(builder, stages=[COLD]), 'start_temperature_k = 0.0 is not a temperature of at'),
        (lambda builder: with_settings(builder, cell_shape='round'), 'cell_shape = .round. is not one of fixed'),
        (
            lambda builder: with_settings(builder, learning={'ml_mconf': 2}) | known(count=2),
            'ml_mconf = 2, but 2 c',
        ),
        (lambda _: known('Li'), 'the known configurations have Li, which the start lacks'),
        (lambda builder: with_settings(builder, electrons={'encut': None}), 'parameters lack encut'),
        (lambda builder: with_settings(builder, learning={'langevin_gamma': [1.0]}), 'follow from the schedule'),
        (lambda _: {'configurations': {'part0001': learned_dataset()}}, 'must be named part0000, part0001'),
    ],
)
def test_bad_inputs_are_refused_before_anything_runs(generate_workchain, builder, change, message):
    with pytest.raises(ValueError, match=message):
        generate_workchain(OnTheFlyWorkChain, builder._inputs(prune=True) | change(builder))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda tags: {'parameters': orm.Dict(tags | {'tebeg': 0.0})}, 'below 0.1 K VASP relaxes'),
        (
            lambda tags: {'parameters': orm.Dict(tags | {'langevin_gamma': [10.0]})},
            'one friction for each of 2 species',
        ),
        (lambda tags: {'parameters': orm.Dict(tags | {'ml_mode': 'run'})}, 'mode run needs a force field'),
        (lambda _: {'iconst': shape_of(START.cell.array * [[1.0], [1.0], [1.1]])}, 'give the ratio of the cell'),
        (lambda _: {'potcars': {}}, 'potcars has no POTCAR'),
    ],
)
def test_bad_inputs_of_a_segment_are_refused(generate_workchain, segment_inputs, change, message):
    tags = segment_inputs['parameters'].get_dict()
    with pytest.raises(ValueError, match=message):
        generate_workchain(LearningSegmentWorkChain, segment_inputs | change(tags))


def shape_of(cell):
    return orm.SinglefileData(io.StringIO(iconst_text(cell, 'fixed')), 'ICONST')


def test_refit_keeps_what_describes_atoms_and_weighs_labels(aiida_profile):
    """ML_MCONF depends on the amount of data, and the refit chooses its own regression, so both are left out."""
    learning = {'ml_rcut1': 6.0, 'ml_wtsif': 2.0, 'ml_ialgo_linreg': 1, 'ml_mconf': 100, 'pmass': 50.0}
    tags = plan('smoke', learning=learning, refit={'ml_sigw0': 1e-3})['refit_parameters'].get_dict()
    learned = {tag: value for tag, value in tags.items() if tag.startswith('ml_')}
    expected = {'ml_rcut1': 6.0, 'ml_wtsif': 2.0, 'ml_ctifor': 0.02, 'ml_sigw0': 1e-3}
    assert learned == expected | {'ml_lmlff': True, 'ml_mode': 'refit'}
    assert 'pmass' not in tags


def piece(first_step, job_steps=100, results=None, **nodes):
    """Return the rest of a segment of 100 steps after a job that began with the segment."""
    parameters = orm.Dict({'nsw': 100, 'tebeg': 100.0, 'teend': 300.0, 'random_seed': [5, 0, 0]})
    settings, job = orm.Dict({'first_step': first_step}), orm.Dict({'nsw': job_steps})
    known = nodes if results is None else nodes | {'job_results': orm.Dict(results)}
    return {
        name: node.get_dict() for name, node in piece_of_segment(parameters, settings, job, settings, **known).items()
    }


def test_piece_follows_the_ramp(aiida_profile):
    rest = piece(1000, job_steps=50, state=state_of(START, 1025))
    tags = rest['parameters']
    assert (tags['tebeg'], tags['teend'], tags['nsw']) == (150.0, 250.0, 50)
    assert tags['random_seed'][0] != 5
    assert rest['settings']['first_step'] == 1025
    assert 'ml_ctifor' not in tags
    learned = orm.Dict({'threshold_ev_per_angstrom': 0.03})
    assert piece(0, state=state_of(START, 50), learned=learned)['parameters']['ml_ctifor'] == 0.03


@pytest.mark.parametrize(
    ('job_steps', 'step', 'results', 'steps'),
    [
        (100, 0, None, 100),
        (40, 40, {}, 40),
        (40, 40, {'lattice_change': 0.05}, 40),
        (40, 10, {'lattice_change': 0.01}, 80),
        (40, 40, {'lattice_change': 0.01}, 60),
        (100, 0, {'lattice_change': 0.2, 'first_step': 0, 'last_step': 90}, 45),
    ],
)
def test_jobs_are_as_long_as_the_cell_lets_them(aiida_profile, job_steps, step, results, steps):
    begins = {'state': state_of(START, step)} if step else {}
    assert piece(0, job_steps, results, **begins)['parameters']['nsw'] == steps


@pytest.mark.parametrize(('tags', 'expected'), [({}, 0.03), ({'ml_icriteria': 1}, 0.03), ({'ml_icriteria': 0}, 0.005)])
def test_threshold_is_carried_on_unless_it_is_constant(aiida_profile, tags, expected):
    results = orm.Dict({'threshold_ev_per_angstrom': 0.03})
    assert carry_on(orm.Dict(tags | {'ml_ctifor': 0.005}), orm.Dict({}), results)['ml_ctifor'] == expected
    unknown = orm.Dict({'threshold_ev_per_angstrom': None})
    assert carry_on(orm.Dict({'ml_ctifor': 0.005}), orm.Dict({}), unknown)['ml_ctifor'] == 0.005


def test_room_is_carried_on(aiida_profile):
    before = orm.Dict({'ml_mconf': 601, 'nelm': 200, 'encut': 1.0})
    tags = carry_on(orm.Dict({'ml_mconf': 400, 'encut': 600.0}), before, orm.Dict({})).get_dict()
    assert tags == {'ml_mconf': 601, 'nelm': 200, 'encut': 600.0}


def test_history_of_a_job_that_told_no_steps(aiida_profile):
    whole = {'stage': 'a', 'first_step': 0, 'last_step': 10, 'n_dft_steps': 2, 'n_unlearned_configurations': 0}
    whole |= {'n_unconverged_configurations': 1, 'n_unjudged_configurations': 2}
    none = {'n_unconverged_configurations': 0, 'n_unjudged_configurations': 0}
    broken = orm.Dict(whole | none | {'last_step': None, 'n_dft_steps': 0})
    history = learning_history(seg000=broken, seg001=orm.Dict(whole)).get_dict()
    assert (history['n_steps'], history['dft_share'], history['n_unconverged_configurations']) == (10, 0.2, 1)
    assert history['n_unjudged_configurations'] == 2
    assert learning_history(seg000=broken)['dft_share'] is None


# ---- failures keep their results -------------------------------------------------------------------------------------


@pytest.fixture
def schedule(generate_workchain, builder):
    """A schedule after its setup."""
    process = generate_workchain(OnTheFlyWorkChain, builder._inputs(prune=True))
    process.setup()
    return process


def learned_outputs(step, **more):
    """Return the outputs of a segment that learned one configuration."""
    history = {'n_dft_steps': 1, 'labelled_by': 'vasp'}
    history |= {f'n_{kind}_configurations': 0 for kind in ('unlearned', 'unconverged', 'unjudged', 'implausible')}
    dataset = learned_dataset()
    outputs = {
        'datasets__part0000': dataset,
        'configurations__part0000': dataset,
        'results__part0000': orm.Dict({'first_step': 0, 'last_step': step} | history),
        'state': state_of(START, step),
        'learning_state': orm.ArrayData({'order': np.array([0])}),
    }
    return outputs | more


def test_failed_segment_ends_the_schedule(schedule, generate_workchain_node):
    schedule.ctx.segments = [generate_workchain_node('mghdiff.learning_segment', 430, learned_outputs(12))]
    code = schedule.inspect_segment()
    assert code.status == schedule.exit_codes.ERROR_SEGMENT_FAILED.status == 621
    assert 'Segment seg000 failed: as made' in code.message
    assert schedule.outputs['dataset'].get_array('steps').tolist() == [0]
    assert (schedule.outputs['state'].step, schedule.outputs['history']['n_steps']) == (12, 12)


def test_failed_refit_leaves_what_was_learned(schedule, generate_workchain_node, generate_job_node, tmp_path):
    outputs = learned_outputs(12, force_field=make_force_field(tmp_path, fast=False))
    schedule.ctx.segments = [generate_workchain_node('mghdiff.learning_segment', 0, outputs)]
    assert schedule.inspect_segment() is None
    assert schedule.wants_refit()
    schedule.ctx.refit = generate_job_node('mghdiff.vasp.mlff', 532)
    code = schedule.inspect_refit()
    assert code.status == schedule.exit_codes.ERROR_REFIT_FAILED.status == 651
    assert schedule.outputs['force_field'].uuid == outputs['force_field'].uuid
    assert schedule.outputs['dataset'].creator.process_label == 'merge_datasets'


@pytest.mark.parametrize(
    ('converged', 'message'),
    [(None, 'lower ML_CTIFOR'), (0, 'SCF did not converge'), (-1, 'its convergence is unknown')],
)
def test_no_label_that_is_good(schedule, generate_workchain_node, converged, message):
    outputs = {'state': state_of(START, 30)}
    if converged is not None:
        outputs['datasets__part0000'] = learned_dataset(converged=converged)
    schedule.ctx.segments = [generate_workchain_node('mghdiff.learning_segment', 0, outputs)]
    assert schedule.inspect_segment() is None
    code = schedule.results()
    assert code.status == schedule.exit_codes.ERROR_NOTHING_LEARNED.status == 652
    assert message in code.message


# ---- repairs of a segment ------------------------------------------------------------------------------------------


@pytest.fixture
def segment_inputs(builder):
    """Inputs of a segment with 30 steps."""
    own = plan('smoke')
    inputs = {name: builder[name] for name in ('codes', 'potcars', 'options', 'structure')}
    inputs |= {name: own[f'seg000_{name}'] for name in ('parameters', 'settings')}
    return inputs | {'kpoints': own['kpoints']}


@pytest.fixture
def segment(generate_workchain, segment_inputs):
    """A segment after its setup."""
    process = generate_workchain(LearningSegmentWorkChain, segment_inputs)
    process.setup()
    return process


def results(last_step, change=0.01, **more):
    values = {'first_step': 0, 'last_step': last_step, 'lattice_change': change, 'threshold_ev_per_angstrom': 0.04}
    return orm.Dict(values | more)


def test_goes_on_after_the_wall_time(segment, generate_job_node):
    state, dataset, learning = state_of(START, 12), learned_dataset(), orm.ArrayData({'order': np.array([0])})
    outputs = {'state': state, 'dataset': dataset, 'learning_state': learning, 'results': results(12)}
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 400, outputs)).status == 0
    inputs = segment.ctx.inputs
    assert (inputs['parameters']['nsw'], inputs['settings']['first_step']) == (18, 12)
    assert inputs['state'].uuid == state.uuid
    assert inputs['learning_state'].uuid == learning.uuid
    assert [node.uuid for node in inputs['configurations'].values()] == [dataset.uuid]
    assert inputs['parameters'].creator.process_label == 'piece_of_segment'
    assert inputs['parameters']['ml_ctifor'] == 0.04


def test_stops_without_progress(segment, generate_job_node):
    node = generate_job_node('mghdiff.vasp.mlff', 400, {'state': state_of(START, 0), 'results': results(0)})
    assert inspect(segment, node) == segment.exit_codes.ERROR_NO_PROGRESS


def test_stops_where_the_first_step_takes_longer_than_the_wall_time(segment, generate_job_node):
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 400)) == segment.exit_codes.ERROR_NO_PROGRESS


def test_what_was_learned_before_a_failure_is_given(segment, generate_job_node):
    outputs = {
        'state': state_of(START, 12),
        'dataset': learned_dataset(),
        'learning_state': orm.ArrayData({'order': np.array([0])}),
    }
    outputs['results'] = results(12)
    inspect(segment, generate_job_node('mghdiff.vasp.mlff', 400, outputs))
    code = inspect(segment, generate_job_node('mghdiff.vasp.mlff', 520))
    assert code.status == segment.exit_codes.ERROR_UNPHYSICAL.status
    assert segment.outputs['state'].uuid == outputs['state'].uuid
    assert segment.outputs['datasets']['part0000'].uuid == outputs['dataset'].uuid
    assert segment.outputs['learning_state'].uuid == outputs['learning_state'].uuid


@pytest.mark.parametrize(('status', 'code'), [(520, 611), (420, 611), (303, 613), (440, 613), (400, 610), (214, 214)])
def test_what_the_last_job_labelled_is_given(segment, generate_job_node, status, code):
    """No state is given, because nothing can continue; earlier learning is not touched."""
    dataset = learned_dataset()
    segment.ctx.broken = 1
    outputs = {'dataset': dataset, 'learning_state': orm.ArrayData({'order': np.array([0])}), 'results': results(0)}
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', status, outputs)).status == code
    assert segment.outputs['datasets']['part0000'].uuid == dataset.uuid
    assert not segment.outputs['configurations']
    assert not {'state', 'learning_state'} & set(segment.outputs)


def test_labels_of_a_part_are_given_once(segment, generate_job_node):
    """The last job before the segment gives up is a part."""
    segment.ctx.unconverged = 2
    inspect(segment, unconverged_job(generate_job_node, 430, 5))
    assert list(segment.outputs['datasets']) == ['part0000']


def test_labels_of_a_cell_that_changed_too_much_stay_with_their_job(segment, generate_job_node):
    outputs = {'state': state_of(START, 20), 'dataset': learned_dataset(), 'results': results(20, change=0.2)}
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 0, outputs)).status == 612
    assert not segment.outputs['datasets']


@pytest.mark.parametrize(
    ('status', 'tag', 'maker'), [(440, 'ml_mconf', 'more_configurations'), (442, 'ml_mb', 'more_references')]
)
def test_makes_room(segment, generate_job_node, status, tag, maker):
    before = segment.ctx.inputs['parameters'][tag]
    outputs = {'state': state_of(START, 10), 'results': results(10)}
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', status, outputs)).status == 0
    assert segment.ctx.inputs['parameters'][tag] == int(1.5 * before) + 1
    assert segment.ctx.inputs['parameters']['nsw'] == 20
    assert (
        segment.ctx.parameters.creator.process_label
        == {'ml_mconf': 'more_configurations', 'ml_mb': 'more_references'}[tag]
    )


def test_makes_room_where_the_last_job_filled_it(segment, generate_job_node):
    room = segment.ctx.inputs['parameters']['ml_mconf']
    outputs = {'state': state_of(START, 12), 'dataset': learned_dataset(count=room), 'results': results(12)}
    outputs['learning_state'] = orm.ArrayData({'order': np.arange(room)})
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 400, outputs)).status == 0
    assert segment.ctx.inputs['parameters']['ml_mconf'] == int(1.5 * room) + 1
    assert segment.ctx.parameters['ml_mconf'] > room  # the next segment begins with this value


def test_gives_the_electrons_more_steps_then_stops(segment, generate_job_node):
    """This holds for any end of the job, and all labels are kept."""
    for status, step, steps in ((430, 5, 200), (400, 10, 400)):
        assert inspect(segment, unconverged_job(generate_job_node, status, step)).status == 0
        assert segment.ctx.inputs['parameters']['nelm'] == steps
        assert segment.ctx.inputs['settings']['first_step'] == step
    code = inspect(segment, unconverged_job(generate_job_node, 310, 15))
    assert code.status == segment.exit_codes.ERROR_SCF_NOT_CONVERGED.status
    assert len(segment.outputs['datasets']) == 3


def test_electrons_that_gave_no_label_get_more_steps(segment, generate_job_node):
    """The stand-in with GPAW may end before its first step, so the job starts again from the beginning."""
    for steps in (200, 400):
        assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 430)).status == 0
        assert segment.ctx.inputs['parameters']['nelm'] == steps
        assert segment.ctx.inputs['settings']['first_step'] == 0
    code = inspect(segment, generate_job_node('mghdiff.vasp.mlff', 430))
    assert code.status == segment.exit_codes.ERROR_SCF_NOT_CONVERGED.status


def unconverged_job(generate_job_node, status, step):
    outputs = {'results': results(step, unconverged_steps=[step - 1]), 'state': state_of(START, step)}
    return generate_job_node('mghdiff.vasp.mlff', status, outputs | {'dataset': learned_dataset()})


def test_one_job_that_converged_gives_the_electrons_new_attempts(segment, generate_job_node):
    for step, unconverged in ((2, [1]), (4, []), (6, [5]), (8, [7])):
        outputs = {'results': results(step, unconverged_steps=unconverged), 'state': state_of(START, step)}
        status = 430 if unconverged else 400
        assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', status, outputs)).status == 0


@pytest.mark.parametrize(('converged', 'kind'), [(0, 'unconverged'), (-1, 'unjudged')])
def test_labels_that_did_not_converge_are_forgotten(segment, generate_job_node, converged, kind):
    """The next job learns from the others; the dataset marks the label, so that trainings leave it out."""
    dataset = learned_dataset(count=3, converged=[converged, 1, 1])
    outputs = {'dataset': dataset, 'learning_state': learning_state([0, 1, 2]), 'state': state_of(START, 12)}
    steps = [0] if kind == 'unconverged' else []
    outputs['results'] = results(12, unconverged_steps=steps, **{f'n_{kind}_configurations': 1})
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 400, outputs)).status == 0
    state = segment.ctx.inputs['learning_state']
    assert state.get_array('order').tolist() == [1, 2]
    assert state.get_array('ctifor').tolist() == [0.02, 0.03]
    assert [state.get_array(f'basis_{element}').tolist() for element in ('Mg', 'H')] == [[[2, 1]], [[1, 17]]]
    assert state.creator.process_label == 'forget_unconverged'
    assert merge_datasets(seg000_part0000=dataset).get_array('steps').tolist() == [1, 2]


def test_begins_anew_where_no_label_converged(segment, generate_job_node):
    outputs = {'dataset': learned_dataset(count=3, converged=0), 'learning_state': learning_state([0, 1, 2])}
    outputs |= {
        'state': state_of(START, 12),
        'results': results(12, unconverged_steps=[1], n_unconverged_configurations=3),
    }
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 430, outputs)).status == 0
    assert 'learning_state' not in segment.ctx.inputs
    assert not segment.ctx.inputs['configurations']


def test_goes_on_as_often_as_it_takes(segment, generate_job_node):
    """A segment of 20 ps may need thousands of jobs; each job that makes a step continues it."""
    assert segment.inputs.max_iterations.value >= 20_000 / 4
    for step in (4, 28):
        outputs = {'state': state_of(START, step), 'results': results(step)}
        assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 400, outputs)).status == 0
        assert segment.ctx.inputs['settings']['first_step'] == step
        assert segment.ctx.inputs['parameters']['nsw'] == 30 - step


def test_jobs_grow_again_where_the_cell_is_calm(segment, generate_job_node):
    segment.ctx.inputs['parameters'] = orm.Dict(segment.ctx.parameters.get_dict() | {'nsw': 5})
    for step, change, most in ((5, 0.05, 5), (10, 0.01, 10), (20, 0.01, 20)):
        outputs = {'state': state_of(START, step), 'results': results(step, change)}
        assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 0, outputs)).status == 0
        assert segment.ctx.inputs['parameters']['nsw'] == min(most, 30 - step)


def test_halves_a_job_whose_cell_changed(segment, generate_job_node):
    segment.ctx.parameters = orm.Dict(segment.ctx.parameters.get_dict() | {'nsw': 400})
    outputs = {'state': state_of(START, 400), 'results': results(400, change=0.2)}
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 0, outputs)).status == 0
    assert segment.ctx.inputs['parameters']['nsw'] == 200
    assert segment.ctx.inputs['settings']['first_step'] == 0
    assert not segment.ctx.parts
    outputs = {'state': state_of(START, 40), 'results': results(40, change=0.2)}
    code = inspect(segment, generate_job_node('mghdiff.vasp.mlff', 0, outputs))
    assert code.status == segment.exit_codes.ERROR_LATTICE_CHANGED.status


def test_goes_on_once_with_what_a_broken_job_left(segment, generate_job_node):
    outputs = {'state': state_of(START, 10), 'results': results(10)}
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 310, outputs)).status == 0
    assert segment.ctx.inputs['settings']['first_step'] == 10
    assert segment.ctx.inputs['parameters']['ml_ctifor'] == 0.04
    code = inspect(segment, generate_job_node('mghdiff.vasp.mlff', 303))
    assert code.status == segment.exit_codes.ERROR_BROKEN.status


def test_stops_where_more_room_is_no_cure(segment, generate_job_node):
    outputs = {'state': state_of(START, 0), 'results': results(0)}
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 440, outputs)).status == 0
    outputs = {'state': state_of(START, 0), 'results': results(0)}
    code = inspect(segment, generate_job_node('mghdiff.vasp.mlff', 440, outputs))
    assert code.status == segment.exit_codes.ERROR_BROKEN.status


@pytest.mark.parametrize(
    ('state', 'name'),
    [('excepted', 'ERROR_SUB_PROCESS_EXCEPTED'), ('killed', 'ERROR_SUB_PROCESS_KILLED')],
)
def test_job_that_came_to_no_end_stops_the_segment(segment, generate_job_node, state, name):
    """The earlier learning is kept."""
    outputs = {'state': state_of(START, 12), 'results': results(12)}
    inspect(segment, generate_job_node('mghdiff.vasp.mlff', 400, outputs))
    node = generate_job_node('mghdiff.vasp.mlff')
    node.set_process_state(ProcessState(state))
    assert inspect(segment, node) == segment.exit_codes[name]
    assert segment.outputs['state'].uuid == outputs['state'].uuid


def test_most_jobs(generate_workchain, segment_inputs, generate_job_node):
    process = generate_workchain(LearningSegmentWorkChain, segment_inputs | {'max_iterations': orm.Int(1)})
    process.setup()
    outputs = {'state': state_of(START, 12), 'results': results(12)}
    code = inspect(process, generate_job_node('mghdiff.vasp.mlff', 400, outputs))
    assert code == process.exit_codes.ERROR_MAXIMUM_ITERATIONS_EXCEEDED
    assert process.outputs['state'].step == 12


@pytest.mark.parametrize(('status', 'name'), [(520, 'ERROR_UNPHYSICAL'), (420, 'ERROR_UNPHYSICAL')])
def test_stops_where_the_run_is_unphysical(segment, generate_job_node, status, name):
    code = inspect(segment, generate_job_node('mghdiff.vasp.mlff', status))
    assert code.status == segment.exit_codes[name].status


def test_refused_input_is_not_tried_again(segment, generate_job_node):
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 213)).status == 213
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 215)).status == 215


def test_schedule_tells_what_its_dataset_leaves_out(schedule, generate_workchain_node):
    node = learned_dataset(count=3, converged=[1, 0, 1])
    names = {
        name: node.base.attributes.get(name) for name in ('energy_kind', 'labelled_by', 'group_names', 'stage_names')
    }
    arrays = node.get_arrays()
    arrays['forces'][-1, 0] = -150.0
    outputs = learned_outputs(12, datasets__part0000=DatasetData.from_arrays(arrays, **names))
    schedule.ctx.segments = [generate_workchain_node('mghdiff.learning_segment', 0, outputs)]
    reports = []
    schedule.report = reports.append
    schedule.give_learned()
    assert schedule.outputs['dataset'].get_array('steps').tolist() == [0]
    assert '2 of 3 configurations are left out of the dataset' in reports[0]


# ---- a real run ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_schedule_with_the_stand_in(builder):
    """Four segments and a refit: each continues the one before, and every label has its origin."""
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert nodes_without_origin(node) == []
    history, dataset = outputs['history'].get_dict(), outputs['dataset']
    assert [job['stage'] for job in history['jobs']] == ['heating', 'heating', 'hold500', 'hold600']
    assert [job['first_step'] for job in history['jobs']] == [0, 30, 60, 90]
    assert history['n_steps'] == 120
    assert dataset.base.attributes.get('labelled_by') == 'standin:chgnet-r2scan'
    assert dataset.base.attributes.get('n_configurations') == history['n_dft_steps'] > 2
    labelled = list(dict.fromkeys(job['stage'] for job in history['jobs'] if job['n_dft_steps']))
    assert dataset.base.attributes.get('stage_names') == labelled
    split = split_dataset(
        dataset, orm.Dict({'fractions': {'training': 0.5, 'validation': 0.2, 'test': 0.3}, 'seed': 1})
    )
    assert set(split['training'].get_array('stages')) == set(dataset.get_array('stages'))
    assert (np.diff(dataset.get_array('steps')) > 0).all()
    assert outputs['force_field'].base.attributes.get('fast') is True
    assert outputs['state'].step == 120
    tracers = [outputs['tracers'][key] for key in sorted(outputs['tracers'])]
    for before, after in pairwise(tracers):
        jump = after.get_array('tracer_positions')[0] - before.get_array('tracer_positions')[-1]
        assert np.abs(jump).max() < 0.3
    states = [call.outputs.state for call in node.called if call.process_label == 'LearningSegmentWorkChain']
    assert [state.step for state in states] == [30, 60, 90, 120]
    assert {link.link_label for link in node.base.links.get_outgoing().all()} >= {'seg000', 'seg001', 'seg002', 'refit'}
