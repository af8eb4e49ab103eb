"""Training goes on from its checkpoint, and stops where a repetition would end the same way."""

from __future__ import annotations

import io

import pytest
from aiida import orm

from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.workflows.train import TrainWorkChain, training_kind


@pytest.fixture
def builder(codes, example_data):
    """A training of the smallest MACE on a handful of frames."""
    frames = read_extxyz(example_data / 'mgh_pbe.extxyz').frames
    parts = [DatasetData.from_frames(chosen) for chosen in (frames[:4], frames[4:6])]
    return TrainWorkChain.get_builder_from_protocol(codes['python'], *parts, architecture='mace', protocol='smoke')


@pytest.fixture
def training(generate_workchain, builder):
    """A training that is set up."""
    process = generate_workchain(TrainWorkChain, builder._inputs(prune=True))
    process.setup()
    return process


def inspect(training, node):
    """Let the training look at a job that ended."""
    training.ctx.iteration = 1
    training.ctx.children = [node]
    return training.inspect_process()


def test_continues_from_the_checkpoint(training, generate_job_node):
    checkpoint = orm.SinglefileData(io.BytesIO(b'weights'))
    assert inspect(training, generate_job_node('mghdiff.mace.train', 400, {'checkpoint': checkpoint})).status == 0
    assert training.ctx.inputs['checkpoint'].uuid == checkpoint.uuid


def test_stops_without_a_checkpoint(training, generate_job_node):
    code = inspect(training, generate_job_node('mghdiff.mace.train', 400))
    assert code == training.exit_codes.ERROR_NO_PROGRESS


@pytest.mark.parametrize('status', [211, 213, 500, 501, 502, 503])
def test_stops_where_the_program_refused(training, generate_job_node, status):
    assert inspect(training, generate_job_node('mghdiff.mace.train', status)).status == status


def test_refuses_an_architecture_that_it_cannot_train(generate_workchain, builder):
    inputs = builder._inputs(prune=True) | {'architecture': orm.Str('gap')}
    with pytest.raises(ValueError, match="'gap' cannot be trained"):
        generate_workchain(TrainWorkChain, inputs)


def test_kinds():
    assert training_kind('chgnet', True, False) == 'fine-tune'
    assert [training_kind('mace', *has) for has in [(False, False), (True, False), (True, True)]] == [
        'scratch',
        'naive',
        'multihead',
    ]


@pytest.mark.slow
def test_trains(builder):
    from aiida.engine import run_get_node

    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert outputs['potential'].origin == 'scratch'
