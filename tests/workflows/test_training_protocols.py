from __future__ import annotations

import pytest
from training_inputs import make_chgnet, make_dataset

from aiida_mghdiff.calculations.chgnet.train import validate_inputs as validate_chgnet
from aiida_mghdiff.calculations.mace.train import validate_inputs as validate_mace
from aiida_mghdiff.workflows.protocol import load_protocol_file
from aiida_mghdiff.workflows.train import TrainWorkChain

PROTOCOLS = ('paper', 'balanced', 'demo', 'smoke')


@pytest.mark.parametrize('architecture', ['mace', 'chgnet'])
def test_every_protocol_is_described(architecture):
    content = load_protocol_file(f'{architecture}/train')
    assert tuple(content['protocols']) == PROTOCOLS
    assert all(protocol['description'] for protocol in content['protocols'].values())


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('kind', ['scratch', 'naive', 'multihead'])
def test_mace_parameters_are_complete(tiny_potential, protocol, kind):
    inputs = {'training': make_dataset(12), 'validation': make_dataset(3)}
    if kind != 'scratch':
        inputs['potential'] = tiny_potential
    if kind == 'multihead':
        inputs['replay'] = make_dataset(3)
    inputs['parameters'] = as_node(TrainWorkChain.get_parameters('mace', kind, protocol))
    assert validate_mace(inputs) is None


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_chgnet_parameters_are_complete(aiida_profile_clean, protocol):
    inputs = {'training': make_dataset(12), 'validation': make_dataset(3), 'potential': make_chgnet()}
    inputs['parameters'] = as_node(TrainWorkChain.get_parameters('chgnet', 'fine-tune', protocol))
    assert validate_chgnet(inputs) is None


def as_node(values):
    from aiida import orm

    return orm.Dict(values)
