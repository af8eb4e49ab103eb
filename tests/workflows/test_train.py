"""A training continues from its checkpoint, and stops if a repetition would end the same way."""

from __future__ import annotations

import io

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ended_nodes import inspect
from training_inputs import make_chgnet, make_dataset

from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.workflows.engines import trainer
from aiida_mghdiff.workflows.train import TrainWorkChain

BATCHES_OF_FIVE = {'parameters': {'batch_size': 5}}


@pytest.fixture
def builder(codes, example_data):
    """A training of the smallest MACE on a handful of frames."""
    frames = read_extxyz(example_data / 'mgh_pbe.extxyz').frames
    parts = [DatasetData.from_frames(chosen) for chosen in (frames[:4], frames[4:6])]
    return TrainWorkChain.get_builder_from_protocol(codes, *parts, architecture='mace', protocol='smoke')


@pytest.fixture
def training(generate_workchain, builder):
    """A training after its setup."""
    process = generate_workchain(TrainWorkChain, builder._inputs(prune=True))
    process.setup()
    return process


def test_continues_from_the_checkpoint(training, generate_job_node):
    checkpoint = orm.SinglefileData(io.BytesIO(b'weights'))
    assert inspect(training, generate_job_node('mghdiff.mace.train', 400, {'checkpoint': checkpoint})).status == 0
    assert training.ctx.inputs['checkpoint'].uuid == checkpoint.uuid


def test_stops_without_a_checkpoint(training, generate_job_node):
    code = inspect(training, generate_job_node('mghdiff.mace.train', 400))
    assert code == training.exit_codes.ERROR_NO_PROGRESS


@pytest.mark.parametrize('status', [211, 213, 215, 500, 501, 502, 503])
def test_stops_where_the_program_refused(training, generate_job_node, status):
    assert inspect(training, generate_job_node('mghdiff.mace.train', status)).status == status


def test_refuses_an_architecture_that_it_cannot_train(generate_workchain, builder):
    inputs = builder._inputs(prune=True) | {'architecture': orm.Str('gap')}
    with pytest.raises(ValueError, match="'gap' cannot be trained"):
        generate_workchain(TrainWorkChain, inputs)


def without_stress(count, start=0):
    """Return configurations without any stress."""
    return make_dataset(count, start, stresses=np.full((count, 6), np.nan))


@pytest.fixture
def build(codes):
    """Return a function that makes a training of a few frames."""

    def make(architecture, training=None, **options):
        parts = training or make_dataset(4), make_dataset(2, start=2)
        return TrainWorkChain.get_builder_from_protocol(
            codes, *parts, architecture=architecture, **{'protocol': 'smoke'} | options
        )

    return make


@pytest.mark.parametrize(
    ('architecture', 'options', 'message'),
    [
        (
            'mace',
            {'overrides': BATCHES_OF_FIVE},
            r'batch_size = 5 is larger than the training set \(4\)',
        ),
        ('chgnet', {}, 'potential is missing: chgnet is fine-tuned here'),
        ('chgnet', {'potential': ('Mg',)}, 'the potential does not know H'),
        ('mace', {'potential': ('Mg', 'H')}, 'the potential is a chgnet potential'),
        ('chgnet', {'potential': ('Mg', 'H'), 'replay': 2}, 'replay is not for chgnet'),
    ],
)
def test_bad_input_is_refused_before_anything_starts(generate_workchain, build, architecture, options, message):
    makers = {'potential': make_chgnet, 'replay': make_dataset}
    builder = build(architecture, **{key: makers.get(key, dict)(value) for key, value in options.items()})
    with pytest.raises(ValueError, match=message):
        generate_workchain(TrainWorkChain, builder)


def test_stresses_that_are_asked_for_must_be_there(generate_workchain, build):
    stage_two = {'start_stage_two': 1, 'stage_two_lr': 1e-3, 'stage_two_stress_weight': 1.0}
    stage_two |= {'stage_two_energy_weight': 1.0, 'stage_two_forces_weight': 1.0}
    for architecture, potential, overrides in (
        ('mace', None, {'parameters': {'stress_weight': 1.0}}),
        ('mace', None, {'scratch': {'stage_two': stage_two}}),
        ('chgnet', make_chgnet(), {'parameters': {'targets': 'efs'}}),
    ):
        builder = build(architecture, without_stress(4), potential=potential, overrides=overrides)
        with pytest.raises(ValueError, match='training lacks stresses: set stress_weight'):
            generate_workchain(TrainWorkChain, builder)


def test_no_stress_is_trained_where_there_is_none(generate_workchain, build):
    builder = build('mace', without_stress(4), protocol='paper', overrides={'parameters': {'batch_size': 2}})
    weights = builder.parameters['stress_weight'], builder.parameters['stage_two']['stage_two_stress_weight']
    assert weights == (0.0, 0.0)
    assert build('chgnet', without_stress(4), potential=make_chgnet()).parameters['targets'] == 'ef'
    process = generate_workchain(TrainWorkChain, builder)
    process.setup()
    (record,) = orm.Log.collection.get_logs_for(process.node)
    assert record.message.endswith('only energies and forces are trained')


def test_stress_is_trained_where_there_is_one(generate_workchain, build):
    builder = build('mace')
    assert builder.parameters['stress_weight'] > 0
    process = generate_workchain(TrainWorkChain, builder)
    process.setup()
    assert orm.Log.collection.get_logs_for(process.node) == []


@pytest.mark.slow
@pytest.mark.parametrize('architecture', ['mace', 'chgnet'])
def test_trains_without_stresses(build, architecture):
    potential = make_chgnet() if architecture == 'chgnet' else None
    outputs, node = run_get_node(build(architecture, without_stress(4), potential=potential))
    assert node.is_finished_ok, node.exit_message
    curves = outputs['learning_curves']
    assert np.isfinite(curves.get_array('force_rmse_valid')).all()
    assert np.isfinite(curves.get_array('loss_train')).all()


def test_kinds():
    assert trainer('chgnet').training_kind(True, False) == 'fine-tune'
    assert [trainer('mace').training_kind(*has) for has in [(False, False), (True, False), (True, True)]] == [
        'scratch',
        'naive',
        'multihead',
    ]


@pytest.mark.slow
def test_trains(builder):
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert outputs['potential'].origin == 'scratch'
