"""On-the-fly learning: the schedule of the paper, what a segment cures, and a whole run with the stand-in."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from vasp_md_runs import START, state_of

from aiida_mghdiff.calculations.functions.learning import (
    carry_on,
    learning_history,
    merge_datasets,
    piece_of_segment,
    plan_learning,
)
from aiida_mghdiff.calculations.vasp.base import incar_text, kpoints_text, poscar_text
from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.frames import arrays_from_frames
from aiida_mghdiff.workflows.learning_segment import LearningSegmentWorkChain
from aiida_mghdiff.workflows.otf import OnTheFlyWorkChain

STANDIN = Path(sys.executable).with_name('mghdiff-vasp-standin')


COLD = {'name': 'cold', 'start_temperature_k': 0.0, 'end_temperature_k': 9.0, 'duration_ps': 1.0}


@pytest.fixture
def vasp(codes):
    """The stand-in."""
    computer = codes['python'].computer
    return orm.InstalledCode(label='standin', computer=computer, filepath_executable=str(STANDIN)).store()


@pytest.fixture
def builder(codes, vasp):
    """Inputs of a schedule of a few steps."""
    return OnTheFlyWorkChain.get_builder_from_protocol(
        {'vasp': vasp, 'distil': codes['python']},
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
    """INCAR, ICONST, KPOINTS and POSCAR of the first segment of each stage, for an expert to read."""
    own = sorted(key for key in paper if key.endswith('_settings') and paper[key]['stage'] == stage)
    tags = paper[own[0].replace('settings', 'parameters')].get_dict()
    mesh, _ = paper['kpoints'].get_kpoints_mesh()
    files = {
        'INCAR': incar_text(tags),
        'ICONST': paper['iconst'].get_content(),
        'KPOINTS': kpoints_text(mesh),
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
    ],
)
def test_settings_are_refused(aiida_profile, changes, message):
    settings = OnTheFlyWorkChain.get_protocol_inputs('smoke', {'settings': changes})['settings']
    _, node = plan_learning.run_get_node(orm.Dict(settings), orm.StructureData(ase=START))
    assert node.exit_status == 220
    assert message in node.exit_message


@pytest.mark.parametrize(
    ('missing', 'message'), [('potcars', 'potcars lacks H, Mg'), ('codes', 'codes.vasp is missing')]
)
def test_inputs_are_refused(builder, missing, message):
    builder[missing] = {}
    with pytest.raises(ValueError, match=message):
        run_get_node(builder)


def test_piece_follows_the_ramp(aiida_profile):
    parameters = orm.Dict({'nsw': 100, 'tebeg': 100.0, 'teend': 300.0, 'random_seed': [5, 0, 0]})
    piece = piece_of_segment(parameters, orm.Dict({'first_step': 1000}), orm.Int(1025), orm.Int(50))
    tags = piece['parameters'].get_dict()
    assert (tags['tebeg'], tags['teend'], tags['nsw']) == (150.0, 250.0, 50)
    assert tags['random_seed'][0] != 5
    assert piece['settings']['first_step'] == 1025


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


def test_configurations_must_be_in_order(builder):
    builder.configurations = {'part001': part()}
    with pytest.raises(ValueError, match='must be named part000, part001'):
        run_get_node(builder)


def test_history_of_a_job_that_told_no_steps(aiida_profile):
    whole = {'stage': 'a', 'first_step': 0, 'last_step': 10, 'n_dft_steps': 2, 'n_unlearned_configurations': 0}
    broken = orm.Dict({'stage': 'a', 'n_dft_steps': 0, 'n_unlearned_configurations': 0})
    history = learning_history(seg000=broken, seg001=orm.Dict(whole)).get_dict()
    assert (history['n_steps'], history['dft_share']) == (10, 0.2)
    assert learning_history(seg000=broken)['dft_share'] is None


# ---- what a segment cures ------------------------------------------------------------------------------------------


@pytest.fixture
def segment(generate_workchain, builder):
    """A segment that is set up."""
    own = plan('smoke')
    inputs = {name: builder[name] for name in ('codes', 'potcars', 'options', 'structure')}
    inputs |= {name: own[f'seg000_{name}'] for name in ('parameters', 'settings')}
    process = generate_workchain(LearningSegmentWorkChain, inputs | {'kpoints': own['kpoints']})
    process.setup()
    return process


def inspect(segment, node):
    """Let the segment look at a job that ended."""
    segment.ctx.iteration = 1
    segment.ctx.children = [node]
    return segment.inspect_process()


def results(last_step, change=0.01):
    values = {'first_step': 0, 'last_step': last_step, 'lattice_change': change, 'threshold_ev_per_angstrom': 0.04}
    return orm.Dict(values)


def part(stage='heating', count=1, labels='vasp'):
    """Return a dataset of one stage with the origin of its configurations."""
    from vasp_runs import hydride

    frames = [hydride()[0] for _ in range(count)]
    for frame in frames:
        label(frame)
    origin = {'steps': np.arange(count), 'temperatures_k': np.full(count, 300.0), 'learned': np.ones(count, dtype=int)}
    arrays = arrays_from_frames(frames) | origin | {'groups': np.zeros(count, dtype=int)}
    return DatasetData.from_arrays(arrays, energy_kind='free', labels=labels, group_names=[stage])


def label(frame):
    from ase.calculators.singlepoint import SinglePointCalculator

    frame.calc = SinglePointCalculator(frame, energy=-1.0, forces=np.zeros((len(frame), 3)), stress=np.zeros(6))


def test_goes_on_after_the_wall_time(segment, generate_job_node):
    state, dataset, learning = state_of(START, 12), part(), orm.ArrayData({'order': np.array([0])})
    outputs = {'state': state, 'dataset': dataset, 'learning_state': learning, 'results': results(12)}
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 400, outputs)).status == 0
    inputs = segment.ctx.inputs
    assert (inputs['parameters']['nsw'], inputs['settings']['first_step']) == (18, 12)
    assert inputs['restart'].uuid == state.uuid
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
        'dataset': part(),
        'learning_state': orm.ArrayData({'order': np.array([0])}),
    }
    outputs['results'] = results(12)
    inspect(segment, generate_job_node('mghdiff.vasp.mlff', 400, outputs))
    code = inspect(segment, generate_job_node('mghdiff.vasp.mlff', 520))
    assert code.status == segment.exit_codes.ERROR_UNPHYSICAL.status
    assert segment.outputs['state'].uuid == outputs['state'].uuid
    assert segment.outputs['datasets']['part000'].uuid == outputs['dataset'].uuid
    assert segment.outputs['learning_state'].uuid == outputs['learning_state'].uuid


@pytest.mark.parametrize(('status', 'tag'), [(440, 'ml_mconf'), (442, 'ml_mb')])
def test_makes_room(segment, generate_job_node, status, tag):
    before = segment.ctx.inputs['parameters'][tag]
    outputs = {'state': state_of(START, 10), 'results': results(10)}
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', status, outputs)).status == 0
    assert segment.ctx.inputs['parameters'][tag] == int(1.5 * before) + 1
    assert segment.ctx.inputs['parameters']['nsw'] == 20


def test_gives_the_electrons_more_steps_then_stops(segment, generate_job_node):
    node = generate_job_node('mghdiff.vasp.mlff', 441, {'results': results(30), 'state': state_of(START, 30)})
    for steps in (200, 400):
        assert inspect(segment, node).status == 0
        assert segment.ctx.inputs['parameters']['nelm'] == steps
        assert segment.ctx.inputs['settings']['first_step'] == 0
    assert inspect(segment, node).status == segment.exit_codes.ERROR_ELECTRONS.status


def test_halves_a_job_whose_cell_changed(segment, generate_job_node):
    segment.ctx.parameters = orm.Dict(segment.ctx.parameters.get_dict() | {'nsw': 400})
    outputs = {'state': state_of(START, 400), 'results': results(400, change=0.2)}
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 0, outputs)).status == 0
    assert segment.ctx.most_steps == 200
    assert segment.ctx.inputs['settings']['first_step'] == 0
    outputs = {'state': state_of(START, 40), 'results': results(40, change=0.2)}
    code = inspect(segment, generate_job_node('mghdiff.vasp.mlff', 0, outputs))
    assert code.status == segment.exit_codes.ERROR_LATTICE_CHANGED.status


def test_goes_on_once_with_what_a_broken_job_left(segment, generate_job_node):
    outputs = {'state': state_of(START, 10), 'results': results(10)}
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 310, outputs)).status == 0
    assert segment.ctx.inputs['settings']['first_step'] == 10
    code = inspect(segment, generate_job_node('mghdiff.vasp.mlff', 303))
    assert code.status == segment.exit_codes.ERROR_BROKEN.status


@pytest.mark.parametrize(('status', 'name'), [(520, 'ERROR_UNPHYSICAL'), (420, 'ERROR_UNPHYSICAL')])
def test_stops_where_the_run_is_unphysical(segment, generate_job_node, status, name):
    code = inspect(segment, generate_job_node('mghdiff.vasp.mlff', status))
    assert code.status == segment.exit_codes[name].status


def test_refused_input_is_not_tried_again(segment, generate_job_node):
    assert inspect(segment, generate_job_node('mghdiff.vasp.mlff', 213)).status == 213


# ---- one dataset ---------------------------------------------------------------------------------------------------


def test_stages_become_groups(aiida_profile):
    merged = merge_datasets(seg000=part('heating', 2), seg001=part('hold', 1), seg002=part('heating', 1))
    assert merged.base.attributes.get('group_names') == ['heating', 'hold']
    assert merged.get_array('groups').tolist() == [0, 0, 1, 0]
    assert merged.get_array('steps').tolist() == [0, 1, 0, 0]


def test_labels_do_not_mix(aiida_profile):
    _, node = merge_datasets.run_get_node(a=part(labels='vasp'), b=part(labels='standin:chgnet-r2scan'))
    assert node.exit_status == 228


# ---- the real thing ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_schedule_with_the_stand_in(builder):
    """Four segments and a refit: each goes on where the last one ended, and every label has its origin."""
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    history, dataset = outputs['history'].get_dict(), outputs['dataset']
    assert [job['stage'] for job in history['jobs']] == ['heating', 'heating', 'hold500', 'hold600']
    assert [job['first_step'] for job in history['jobs']] == [0, 30, 60, 90]
    assert history['n_steps'] == 120
    assert dataset.base.attributes.get('labels') == 'standin:chgnet-r2scan'
    assert dataset.base.attributes.get('n_configurations') == history['n_dft_steps'] > 2
    assert dataset.base.attributes.get('group_names')[0] == 'heating'
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
