"""Heads of MACE models: the data in a file that need no torch, and the rule that chooses a head."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from models import make_multihead_mace

from aiida_mghdiff.formats.mace_heads import choose_head, read_heads


@pytest.mark.parametrize(
    ('heads', 'named', 'chosen'),
    [
        (['A', 'B'], 'B', 'B'),
        (['pt_head', 'Default'], 'pt_head', 'pt_head'),
        (['pt_head', 'Default'], None, 'Default'),
        (['Default', 'pt_head'], None, 'Default'),
        (['surface'], None, 'surface'),
        (['pt_head'], None, 'pt_head'),
        ([], None, None),
    ],
)
def test_rule(heads, named, chosen):
    assert choose_head(heads, named) == chosen


@pytest.mark.parametrize(
    ('heads', 'named', 'message'),
    [
        (['A', 'B'], 'nosuch', "no head 'nosuch': its heads are A and B"),
        (['A', 'B', 'C'], None, 'the heads A, B and C and none is named'),
        (['Default', 'omat'], None, 'the heads Default and omat and none is named'),
        (['pt_head', 'mine'], None, 'the heads pt_head and mine and none is named'),
        (['surface'], 'Default', 'its only head is surface'),
        ([], 'Default', 'no named heads, so leave head out'),
    ],
)
def test_refusals(heads, named, message):
    with pytest.raises(ValueError, match=message):
        choose_head(heads, named)


@pytest.mark.parametrize('heads', [['pt_head', 'Default'], ['A', 'B', 'C'], ['surface']])
@pytest.mark.parametrize('is_zip', [True, False])
def test_heads_of_a_file(tmp_path, heads, is_zip):
    import torch

    path = make_multihead_mace(tmp_path / 'some.model', heads)
    torch.save(torch.load(path, weights_only=False), path, _use_new_zipfile_serialization=is_zip)
    assert read_heads(path) == heads


@pytest.mark.parametrize('is_zip', [True, False])
@pytest.mark.parametrize('protocol', [2, 4])
def test_heads_that_are_texts_of_numpy(tmp_path, is_zip, protocol):
    import torch

    path = make_multihead_mace(tmp_path / 'some.model', ['pt_head', 'Grün'])
    model = torch.load(path, weights_only=False)
    model.heads = [np.str_(head) for head in model.heads]
    torch.save(model, path, _use_new_zipfile_serialization=is_zip, pickle_protocol=protocol)
    assert read_heads(path) == ['pt_head', 'Grün']
    with pytest.raises(ValueError, match="no head 'nosuch': its heads are pt_head and Grün"):
        choose_head(model.heads, np.str_('nosuch'))


def test_model_of_a_mace_without_heads(tmp_path):
    import torch

    path = make_multihead_mace(tmp_path / 'old.model', ['Default'])
    model = torch.load(path, weights_only=False)
    del model.heads
    torch.save(model, path)
    assert read_heads(path) == []


def test_published_foundation_has_no_named_heads(shared_data):
    assert read_heads(shared_data / 'mace' / 'mace_mp_small.model') == []


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_no_code_of_the_file_runs(tmp_path):
    path, sprung = tmp_path / 'trap.model', tmp_path / 'sprung'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('trap/data.pkl', pickle.dumps([Trap(sprung)]))
    assert read_heads(path) is None
    assert not sprung.exists()


@pytest.mark.parametrize('content', [b'', b'weights', b'PK\x03\x04 cut off', pickle.dumps({'heads': ['A']})])
def test_other_files_tell_nothing(tmp_path, content):
    path = tmp_path / 'some.model'
    path.write_bytes(content)
    assert read_heads(path) is None


def test_a_checkpoint_of_chgnet_has_no_heads():
    from program_runs import chgnet_file

    assert read_heads(chgnet_file()) is None


def test_reading_needs_no_engine(tmp_path):
    """The user may make the node where torch is not installed."""
    path = make_multihead_mace(tmp_path / 'some.model', ['A', 'B'])
    code = (
        'import sys; sys.modules["torch"] = sys.modules["mace"] = None\n'
        f'from aiida_mghdiff.formats.mace_heads import read_heads; print(read_heads({str(path)!r}))'
    )
    output = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert output == "['A', 'B']\n"
