"""Model files that the user names, and model files that are found."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from models import make_multihead_mace, write_sealed

from aiida_mghdiff.cli import environment, potentials
from aiida_mghdiff.cli.demo import demo
from aiida_mghdiff.cli.potentials import PotentialError, find_mace, import_potential
from aiida_mghdiff.data.potential import PotentialData


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A folder in place of MACE's cache: an unreadable model, one without Mg, and one that fits."""
    contents = {'broken.model': None, 'off23_model': ['C', 'H', 'N', 'O'], 'small.model': ['H', 'Mg', 'O']}

    def properties(path, architecture):
        if contents[path.name] is None:
            raise PotentialError(f'{path} cannot be loaded.')
        return {'architecture': architecture, 'elements': contents[path.name], 'dtype': 'float32', 'head': None}

    folder = tmp_path / 'cache'
    folder.mkdir()
    for name in contents:
        write_sealed(folder / name, name)
    monkeypatch.setattr(potentials, 'MACE_CACHE', folder)
    monkeypatch.setattr(potentials, '_model_properties', properties)
    return folder


def test_the_first_found_model_that_fits_is_used(aiida_profile_clean, cache):
    """A model of other elements and an unreadable one are passed over and leave no node."""
    lines = []
    node = find_mace([], {'H', 'Mg'}, lines.append)
    assert node.is_stored
    assert node.label == 'small.model'
    assert lines == [
        f'{cache}/broken.model was found and is not used: {cache}/broken.model cannot be loaded.',
        f'{cache}/off23_model was found and is not used: it does not know Mg.',
    ]
    assert find_mace([], {'H', 'Mg'}, lines.append).uuid == node.uuid


def test_no_found_model_fits(aiida_profile, cache, tmp_path):
    lines = []
    assert find_mace([tmp_path / 'nowhere'], {'H', 'Mg', 'Ti'}, lines.append) is None
    assert len(lines) == 3


def test_the_same_file_gives_the_same_node(aiida_profile, cache):
    assert import_potential(cache / 'small.model', 'mace').uuid == import_potential(cache / 'small.model', 'mace').uuid


def test_found_models_with_several_heads(aiida_profile_clean, cache):
    lines = []
    for path in cache.iterdir():
        path.unlink()
    make_multihead_mace(cache / 'a_model', ['A', 'B'])
    make_multihead_mace(cache / 'small.model', ['pt_head', 'Default'])
    node = find_mace([], {'H', 'Mg'}, lines.append)
    assert (node.label, node.head) == ('small.model', 'Default')
    assert lines == [
        f'{cache}/a_model was found and is not used: {cache}/a_model: the model has the heads A and B and none is '
        'named: name one of them as --head, or write one into its own file with mace_select_head.'
    ]
    options = {'architecture': 'mace', 'origin': 'pretrained', 'elements': ['H', 'Mg'], 'dtype': 'float64'}
    PotentialData.from_file(cache / 'small.model', head='pt_head', **options).store()
    assert import_potential(cache / 'small.model', 'mace').uuid == node.uuid


@pytest.mark.parametrize(
    ('heads', 'asked', 'is_taken'),
    [
        (['pt_head', 'Default'], 'Default', True),
        (['pt_head', 'Default'], None, True),
        (['pt_head', 'Default'], 'pt_head', False),
        (['A', 'B'], 'A', False),
    ],
)
def test_a_node_of_an_earlier_version_without_a_head(aiida_profile_clean, cache, heads, asked, is_taken):
    """This node stands only for the head that programs take by default."""
    path = cache / 'small.model'
    make_multihead_mace(path, heads)
    options = {'architecture': 'mace', 'origin': 'pretrained', 'elements': ['H', 'Mg'], 'dtype': 'float64'}
    old = PotentialData.from_file(path, head=heads[0], **options)
    old.base.attributes.set('head', None)
    old.store()
    node = import_potential(path, 'mace', asked)
    assert (node.uuid == old.uuid) is is_taken
    assert is_taken or node.head == asked


def test_a_missing_file_is_named(aiida_profile, tmp_path):
    with pytest.raises(PotentialError, match=r'there is no model file .*nothing\.model: name another'):
        import_potential(tmp_path / 'nothing.model', 'mace')


@pytest.mark.usefixtures('daemon_environment')
def test_a_corrupt_named_model_stops_the_demo_with_one_sentence(aiida_profile, example_data, monkeypatch, tmp_path):
    for name in ('make_profile', 'setup_codes', 'enable_caching', 'start_daemon', 'stop_daemon'):
        monkeypatch.setattr(environment, name, lambda *_, **__: {})
    model = tmp_path / 'corrupt.model'
    model.write_bytes(b'PK\x03\x04 cut off')
    options = ['--directory', tmp_path / 'demo', '--dataset', example_data / 'mgh_pbe.extxyz', '--foundation', model]
    result = CliRunner().invoke(demo, [str(option) for option in options])
    assert result.exit_code == 1
    assert result.output == f'Error: {model}: the model file is damaged (it is cut off): copy or save it again.\n'
