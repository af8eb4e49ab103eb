from __future__ import annotations

import pytest
from aiida.engine import run_get_node
from training_inputs import chgnet_inputs, make_chgnet

from aiida_mghdiff.calculations.chgnet.train import ChgnetTrainCalculation, validate_inputs


@pytest.fixture
def code(codes):
    return codes['python']


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'learning_rate': -1}, 'learning_rate'),
        ({'epochs': 3}, 'parameters.epochs: no such key'),
        ({'targets': 'efsm'}, 'targets'),
        ({'frozen_layers': ['bias']}, 'frozen_layers'),
        ({'E0s': 'average'}, 'E0s'),
        ({'E0s': {'Mg': -1.5}}, 'E0s has no energy of H: add it'),
        ({'batch_size': 5}, 'larger than the training set'),
    ],
)
def test_refuses_parameters(code, changes, words):
    assert words in validate_inputs(chgnet_inputs(code, **changes))


def test_refuses_another_architecture_and_an_unknown_element(code, tiny_potential):
    inputs = chgnet_inputs(code)
    assert validate_inputs(inputs) is None
    assert 'this job trains chgnet' in validate_inputs(inputs | {'potential': tiny_potential})
    assert 'does not know H' in validate_inputs(inputs | {'potential': make_chgnet(['Mg'])})


@pytest.mark.slow
def test_fine_tunes(code):
    outputs, node = run_get_node(ChgnetTrainCalculation, **chgnet_inputs(code))
    assert node.is_finished_ok, node.exit_message
    assert outputs['potential'].architecture == 'chgnet'
    assert outputs['potential'].origin == 'fine-tuned'
    assert outputs['results']['mode'] == 'fine-tune'
    assert outputs['learning_curves'].get_array('loss_valid').shape == (1,)
