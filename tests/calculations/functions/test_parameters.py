"""Parameters of segments and of all runs behind one diffusion coefficient."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.manage.caching import enable_caching

from aiida_mghdiff.calculations.functions.parameters import plan_diffusion, segment_parameters
from aiida_mghdiff.calculations.functions.select import select_best
from aiida_mghdiff.calculations.md import parameters_message
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.workflows.diffusion import DiffusionWorkChain

pytestmark = pytest.mark.usefixtures('aiida_profile')


def make_state(step):
    """Return a state of one atom."""
    return MdStateData.from_arrays([12], np.eye(3), np.zeros((1, 3)), np.zeros((1, 3)), step)


def test_segments_cover_the_run_without_gap():
    parameters = orm.Dict({'first_step': 10, 'steps': 25, 'seed': 1})
    found = [segment_parameters(parameters, orm.Int(10)).get_dict()]
    for step in (20, 30):
        found.append(segment_parameters(parameters, orm.Int(10), make_state(step)).get_dict())
    assert [(each['first_step'], each['steps']) for each in found] == [(10, 10), (20, 10), (30, 5)]


@pytest.mark.parametrize('independent', [False, True])
def test_plan_is_complete_and_its_seeds_differ(independent):
    overrides = {'settings': {'independent_replicas': independent}}
    settings = orm.Dict(DiffusionWorkChain.get_settings('mace', 'demo', overrides))
    plan = plan_diffusion(settings, orm.Float(600))
    runs = {name: node.get_dict() for name, node in plan.items() if name.startswith(('npt', 'nvt', 'nve'))}
    assert len(runs) == (7 if independent else 5)
    assert all(parameters_message(run) is None for run in runs.values())
    assert len({run['seed'] for run in runs.values()}) == len(runs)
    assert {run['temperature_k'] for run in runs.values()} == {600}


def test_best_is_the_smallest_force_error():
    metrics = {name: orm.Dict({'force_rmse_mev_per_angstrom': error}) for name, error in {'a': 3, 'b': 1}.items()}
    assert select_best(**metrics) == 'b'


def test_calcfunctions_are_not_cached():
    inputs = orm.Dict({'first_step': 0, 'steps': 5}), orm.Int(2)
    with enable_caching(identifier='aiida.calculations:mghdiff.*'):
        nodes = [segment_parameters.run_get_node(*inputs)[1] for _ in range(2)]
    assert not nodes[1].base.caching.is_created_from_cache
