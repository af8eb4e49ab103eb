from __future__ import annotations

import json

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.plugins import ParserFactory
from program_runs import chgnet_file

RESULTS = {'completed': True, 'mode': 'naive', 'elements': ['H', 'Mg'], 'dtype': 'float32', 'best_epoch': 1}


@pytest.fixture
def parse(aiida_profile_clean, aiida_localhost, tmp_path, tiny_mace):
    """Return a function that parses the files of a training."""
    models = {'mghdiff.mace.train': tiny_mace, 'mghdiff.chgnet.train': chgnet_file()}

    def run(entry_point, results, stdout='', files=('learning_curves.npz', 'trained.model')):
        node = orm.CalcJobNode(computer=aiida_localhost, process_type=f'aiida.calculations:{entry_point}')
        node.set_option('output_filename', 'output.txt')
        node.set_option('resources', {'num_machines': 1})
        node.store()
        retrieved = orm.FolderData()
        retrieved.base.repository.put_object_from_bytes(stdout.encode(), 'output.txt')
        retrieved.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label='retrieved')
        retrieved.store()
        if results is not None:
            (tmp_path / 'results.json').write_text(json.dumps(results))
        for name in files:
            (tmp_path / name).write_bytes(models[entry_point].read_bytes())
        if 'learning_curves.npz' in files:
            np.savez(tmp_path / 'learning_curves.npz', epoch=np.arange(3.0), loss_valid=np.array([3.0, 1.0, 2.0]))
        return ParserFactory(entry_point).parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=str(tmp_path)
        )

    return run


@pytest.mark.parametrize(
    ('mode', 'origin'), [('scratch', 'scratch'), ('naive', 'fine-tuned'), ('multihead', 'fine-tuned')]
)
@pytest.mark.parametrize('architecture', ['mace', 'chgnet'])
def test_completed(parse, architecture, mode, origin):
    outputs, node = parse(f'mghdiff.{architecture}.train', RESULTS | {'mode': mode})
    assert node.is_finished_ok
    assert outputs['potential'].architecture == architecture
    assert outputs['potential'].origin == origin
    assert outputs['potential'].base.attributes.get('dtype') == 'float32'
    assert outputs['learning_curves'].get_array('loss_valid').tolist() == [3.0, 1.0, 2.0]
    assert outputs['results']['best_epoch'] == 1


def test_heads_of_a_trained_model(parse):
    outputs, _ = parse('mghdiff.mace.train', RESULTS | {'heads': ['Default']})
    assert (outputs['potential'].head, outputs['potential'].heads) == ('Default', ['Default'])


def test_out_of_walltime(parse):
    outputs, node = parse(
        'mghdiff.mace.train',
        {'completed': False, 'n_epochs': 3},
        'ERROR: [OUT_OF_WALLTIME] The wall time is nearly over.\n',
        ('learning_curves.npz', 'checkpoint.pt'),
    )
    assert node.exit_status == 400
    assert outputs['checkpoint'].filename == 'checkpoint.pt'
    assert 'potential' not in outputs


def test_diverged(parse):
    outputs, node = parse(
        'mghdiff.chgnet.train',
        {'completed': False, 'n_epochs': 3},
        'ERROR: [TRAINING_DIVERGED] the loss of epoch 2 is not finite.\n',
        ('learning_curves.npz',),
    )
    assert node.exit_status == 503
    assert 'epoch 2' in node.exit_message
    assert 'learning_curves' in outputs


@pytest.mark.parametrize(
    ('name', 'status'),
    [
        ('ENGINE_MISSING', 210),
        ('POTENTIAL_UNREADABLE', 211),
        ('ELEMENT_UNKNOWN', 212),
        ('INPUT_REFUSED', 213),
        ('OUT_OF_MEMORY', 410),
        ('E0S_IGNORED', 500),
        ('FINETUNING_MODE_CHANGED', 501),
        ('STRUCTURES_REPLACED', 502),
    ],
)
def test_named_failures(parse, name, status):
    outputs, node = parse('mghdiff.mace.train', None, f'ERROR: [{name}] for this reason.\n', ())
    assert node.exit_status == status
    assert 'for this reason' in node.exit_message or name == 'OUT_OF_WALLTIME'
    assert not outputs


def test_missing_model(parse):
    _, node = parse('mghdiff.mace.train', RESULTS, files=('learning_curves.npz',))
    assert node.exit_status == 304
