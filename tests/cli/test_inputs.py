"""Inputs of a study from files: equal files give one node, and a refused file leaves nothing behind."""

from __future__ import annotations

import pytest
from aiida import orm
from click import ClickException

from aiida_mghdiff.cli.inputs import load_codes, load_dataset

FRAME = """\
1
Lattice="4 0 0 0 4 0 0 0 4" pbc="T T T" Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy={energy}
H 0 0 0 0 0 0
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'mine.extxyz'
    path.write_text(FRAME.format(energy=-1.0))
    return path


def count():
    return orm.QueryBuilder().append(orm.Node).count()


@pytest.mark.usefixtures('aiida_profile_clean')
class TestDataset:
    def test_the_same_file_is_one_node_and_stays_in_the_graph(self, file):
        dataset = load_dataset(file)
        assert load_dataset(file).uuid == dataset.uuid
        assert dataset.creator.inputs.file.get_content() == file.read_text()

    def test_nothing_is_claimed_of_another_file_than_the_example(self, file):
        assert load_dataset(file).base.attributes.get('labelled_by') == 'unknown'

    def test_labels_that_were_allowed_once_are_not_taken_for_good(self, file):
        """A file is found again only if it was read with the same options."""
        file.write_text(FRAME.replace('H 0 0 0 0 0 0', 'H 0 0 0 0 0 150').format(energy=-1.0))
        dataset = load_dataset(file, allow_implausible=True)
        assert load_dataset(file, allow_implausible=True).uuid == dataset.uuid
        with pytest.raises(ValueError, match='is 150 eV/Å, above 100'):
            load_dataset(file)
        file.write_text(FRAME.format(energy=-1.0))
        assert load_dataset(file).uuid != load_dataset(file, allow_implausible=True).uuid

    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            (FRAME.format(energy='nan'), r'mine\.extxyz, frame 0 \(line 1\): energy is not finite: compute the frame'),
            (FRAME.replace(':REF_forces:R:3', ':other:R:3').format(energy=-1), 'no forces: .* name its key, or label'),
            ('', 'no frames in this file'),
        ],
    )
    def test_a_refused_file_leaves_nothing(self, file, text, message):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_dataset(file)
        assert count() == 0


def test_missing_codes(aiida_profile):
    with pytest.raises(ClickException, match='computer nowhere has no codes python and mghdiff-lmp'):
        load_codes('nowhere')
