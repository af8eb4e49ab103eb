"""Tasks of a study, and what it refuses."""

from __future__ import annotations

import pytest
from aiida import orm

from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.workflows.study import StudyWorkChain


@pytest.fixture
def builder(codes, tiny_potential, host, example_data):
    """A smoke study with a given MACE."""
    frames = read_extxyz(example_data / 'mgh_pbe.extxyz').frames[:12]
    return StudyWorkChain.get_builder_from_protocol(
        codes, DatasetData.from_frames(frames), host, host, potentials={'mace_mp': tiny_potential}, protocol='smoke'
    )


def make(generate_workchain, builder, **changes):
    """Return the study without running it."""
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
