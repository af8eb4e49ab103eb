"""Parameters of segments and of all runs behind one diffusion coefficient."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.manage.caching import enable_caching
from ase.build import bulk

from aiida_mghdiff.calculations.functions.parameters import (
    block_parameters,
    plan_diffusion,
    replicas_message,
    segment_parameters,
    vibration_parameters,
)
from aiida_mghdiff.calculations.functions.select import select_best
from aiida_mghdiff.calculations.md import parameters_message
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.workflows.diffusion import DiffusionWorkChain

pytestmark = pytest.mark.usefixtures('aiida_profile')


@pytest.fixture
def host():
    return make_host('Mg')


def make_host(symbol, a=3.2, c=5.19):
    return orm.StructureData(ase=bulk(symbol, 'hcp', a=a, c=c).repeat((3, 3, 2)))


def make_state(step):
    """Return a state of one atom."""
    return MdStateData.from_arrays([12], np.eye(3), np.zeros((1, 3)), np.zeros((1, 3)), step)


def test_segments_cover_the_run_without_gap():
    parameters = orm.Dict({'first_step': 10, 'steps': 25, 'seed': 1})
    found = [segment_parameters(parameters, orm.Int(10)).get_dict()]
    for step in (20, 30):
        found.append(segment_parameters(parameters, orm.Int(10), make_state(step)).get_dict())
    assert [(each['first_step'], each['steps']) for each in found] == [(10, 10), (20, 10), (30, 5)]


def test_segment_without_a_limit_makes_all_steps_that_are_left():
    parameters = orm.Dict({'first_step': 10, 'steps': 25})
    assert segment_parameters(parameters, state=make_state(18)).get_dict() == {'first_step': 18, 'steps': 17}


def test_blocks_begin_and_end_where_something_is_written():
    strides = {'tracer_stride': 10, 'thermo_stride': 20, 'frame_stride': 100, 'ensemble': 'nve'}
    parameters = orm.Dict(strides | {'first_step': 7, 'steps': 95})
    found = [block_parameters(parameters, *start).get_dict() for start in ((), (make_state(10),), (make_state(100),))]
    assert [(each['first_step'], each['steps']) for each in found] == [(7, 3), (10, 90), (100, 2)]


def test_one_imaginary_mode_is_due_at_the_saddle_point():
    path = orm.Dict({'tracer_element': 'H', 'path': 'O-T'})
    found = {name: node.get_dict() for name, node in vibration_parameters(orm.Dict({'step': 0.01}), path).items()}
    shared = {'step': 0.01, 'tracer_element': 'H'}
    assert found == {
        'minimum': shared | {'expected_imaginary_modes': 0},
        'saddle': shared | {'expected_imaginary_modes': 1},
    }


@pytest.mark.parametrize('independent', [False, True])
def test_plan_is_complete_and_its_seeds_differ(independent, host):
    overrides = {'settings': {'independent_replicas': independent}}
    settings = orm.Dict(DiffusionWorkChain.get_settings('mace', 'demo', overrides))
    plan = plan_diffusion(settings, orm.Float(600), host)
    runs = {name: node.get_dict() for name, node in plan.items() if name.startswith(('npt', 'nvt', 'nve'))}
    assert len(runs) == (7 if independent else 5)
    assert all(parameters_message(run) is None for run in runs.values())
    assert len({run['seed'] for run in runs.values()}) == len(runs)
    assert {run['temperature_k'] for run in runs.values()} == {600}


@pytest.mark.parametrize(
    ('symbol', 'a', 'c', 'lengths'),
    [('Mg', 3.2, 5.19, (1.63, 1.96)), ('Ti', 2.95, 4.68, (1.49, 1.8)), ('Be', 2.27, 3.58, (1.14, 1.38))],
)
def test_lengths_of_jumps_are_those_of_the_lattice(symbol, a, c, lengths):
    settings = DiffusionWorkChain.get_settings('mace', 'demo')
    fit = plan_diffusion(orm.Dict(settings), orm.Float(600), make_host(symbol, a, c))['fit']
    assert (fit['jump_threshold'], fit['jump_length']) == lengths
    settings['fit']['jump_threshold'] = 1.7
    fit = plan_diffusion(orm.Dict(settings), orm.Float(600), make_host(symbol, a, c))['fit']
    assert (fit['jump_threshold'], fit['jump_length']) == (1.7, lengths[1])


def test_best_is_the_smallest_force_error():
    metrics = {name: orm.Dict({'force_rmse_mev_per_angstrom': error}) for name, error in {'a': 3, 'b': 1}.items()}
    assert select_best(**metrics) == 'b'


def test_calcfunctions_are_not_cached():
    inputs = orm.Dict({'first_step': 0, 'steps': 5}), orm.Int(2)
    with enable_caching(identifier='aiida.calculations:mghdiff.*'):
        nodes = [segment_parameters.run_get_node(*inputs)[1] for _ in range(2)]
    assert not nodes[1].base.caching.is_created_from_cache


@pytest.mark.parametrize('independent', [False, True])
def test_plan_to_a_precision(independent, host):
    overrides = {'independent_replicas': independent, 'target_relative_interval': 0.1, 'max_time_ps': 290.0}
    overrides |= {'n_replicas': 3, 'starts': {'count': 1 if independent else 3}}
    settings = DiffusionWorkChain.get_settings('mace', 'demo', {'settings': overrides})
    assert replicas_message(settings) is None
    plan = plan_diffusion(orm.Dict(settings), orm.Float(600), host)
    looks = plan['looks']['runs']  # at 36, 72, 144 and 288 ps
    steps = settings['nve']['steps']
    runs = {name: plan[name].get_dict() for look in looks for name in look if name.startswith('nve')}
    assert plan['fit']['looks'] == len(looks) == 4
    assert sum(run['steps'] for run in runs.values()) == 24 * steps
    assert len({run['seed'] for run in runs.values()}) == len(runs)
    if independent:
        assert [len(look) for look in looks] == [6, 6, 6, 12]
        assert looks[2] == [f'nve_{index}_look2' for index in range(6)]
        assert (runs['nve_5_look2']['first_step'], runs['nve_5_look2']['steps']) == (steps, steps)
        assert (runs['nve_11']['first_step'], runs['nve_11']['steps']) == (0, 2 * steps)
        assert {f'supercell_{index}' for index in range(12)} <= set(plan)
    else:
        assert [len(look) for look in looks] == [4, 3, 3, 3]
        assert (runs['nve_0_look3']['first_step'], runs['nve_0_look3']['steps']) == (4 * steps, 4 * steps)
