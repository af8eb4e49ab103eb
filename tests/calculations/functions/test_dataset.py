"""Datasets from files and their splits, in the provenance graph."""

from __future__ import annotations

import io

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from aiida_mghdiff.calculations.functions.dataset import dataset_from_extxyz, dataset_from_mlab, split_dataset
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.formats.frames import arrays_from_frames
from aiida_mghdiff.formats.mlab import read_mlab, write_mlab

FRACTIONS = {'training': 0.6, 'validation': 0.1, 'test': 0.3}
PBE = {'labelled_by': 'gpaw', 'energy_kind': 'free', 'group_key': 'trajectory'}


@pytest.fixture
def raw(example_data):
    return orm.SinglefileData(example_data / 'mgh_pbe.extxyz')


@pytest.fixture
def dataset(raw):
    return dataset_from_extxyz(raw, orm.Dict(PBE))


@pytest.fixture
def frames(example_data):
    return read_extxyz(example_data / 'mgh_pbe.extxyz').frames


def attributes(node):
    return {key: value for key, value in node.base.attributes.all.items() if not key.startswith('array')}


def test_extxyz(raw, dataset, example_data):
    found = attributes(dataset)
    assert len(found.pop('group_names')) == 15
    assert found == {
        'stage_names': None,
        'n_configurations': 101,
        'elements': ['H', 'Mg'],
        'formulas': {'H2Mg16': 23, 'HMg16': 69, 'Mg16': 9},
        'energy_kind': 'free',
        'labelled_by': 'gpaw',
        'has_stress': True,
    }
    labels = read(example_data / 'mgh_pbe.extxyz', 17)
    atoms = dataset.get_frames()[17]
    np.testing.assert_array_equal(atoms.get_forces(), labels.arrays['REF_forces'])
    np.testing.assert_array_equal(atoms.get_stress(), labels.info['REF_stress'])
    assert dataset.creator.inputs.file.uuid == raw.uuid


def test_extxyz_without_groups_or_stress(raw):
    dataset = dataset_from_extxyz(raw, orm.Dict({'labelled_by': 'gpaw', 'stress_key': None, 'energy_kind': 'sigma0'}))
    assert (dataset.base.attributes.get('group_names'), dataset.base.attributes.get('has_stress')) == (None, False)
    assert dataset.base.attributes.get('energy_kind') == 'sigma0'


def test_mlab(frames, tmp_path):
    write_mlab(tmp_path / 'ML_ABN', frames[:6], ctifor=[0.002] * 6)
    raw = orm.SinglefileData(tmp_path / 'ML_ABN')
    dataset = dataset_from_mlab(raw, orm.Dict())
    assert (dataset.base.attributes.get('labelled_by'), dataset.base.attributes.get('energy_kind')) == ('vasp', 'free')
    for one, other in zip(dataset.get_frames(), read_mlab(tmp_path / 'ML_ABN').frames, strict=True):
        assert one == other
        np.testing.assert_array_equal(one.get_stress(), other.get_stress())
    assert dataset.creator.inputs.file.uuid == raw.uuid


def test_mlab_of_the_standin_says_so(frames, tmp_path):
    """The stand-in's labels cannot pass as VASP's, get another name or join other labels."""
    marked = [frame.copy() for frame in frames[:4]]
    for copy, frame in zip(marked, frames, strict=False):
        copy.calc, copy.info['system_name'] = frame.calc, 'stand-in chgnet-r2scan Mg16H'
    write_mlab(tmp_path / 'ML_ABN', marked)
    raw = orm.SinglefileData(tmp_path / 'ML_ABN')
    name = 'standin:chgnet-r2scan'
    assert dataset_from_mlab(raw, orm.Dict()).base.attributes.get('labelled_by') == name
    assert dataset_from_mlab(raw, orm.Dict({'labelled_by': name})).base.attributes.get('labelled_by') == name
    _, node = dataset_from_mlab.run_get_node(raw, orm.Dict({'labelled_by': 'vasp'}))
    assert node.exit_status == 220
    assert f'labelled by {name}, settings.labelled_by is vasp' in node.exit_message
    del marked[0].info['system_name']
    write_mlab(tmp_path / 'ML_ABN', marked)
    _, node = dataset_from_mlab.run_get_node(orm.SinglefileData(tmp_path / 'ML_ABN'), orm.Dict())
    assert f'labelled by {name}, vasp: give labels of one origin' in node.exit_message


def test_real_mlab(shared_data):
    raw = orm.SinglefileData(shared_data / 'mlab' / 'abn2db_merged_ML_ABN')
    assert dataset_from_mlab(raw, orm.Dict()).base.attributes.get('formulas') == {
        'Ce8O14': 3,
        'Ce8O15': 3,
        'Ce8O16': 3,
    }


def test_equal_files_give_equal_content(raw, dataset, example_data):
    renamed = orm.SinglefileData(example_data / 'mgh_pbe.extxyz', filename='other.xyz')
    again = dataset_from_extxyz(renamed, orm.Dict(PBE))
    assert again.base.caching.compute_hash() == dataset.base.caching.compute_hash()


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'labels: no frames in this file'),
        (b'2\nx\n', 'labels, frame 0 (line 1): the file ends within this frame of 2 atoms'),
        (
            b'1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 REF_energy=1\nH 0 0 0\n',
            "labels, frame 0 (line 1): no forces: no key 'REF_forces' (keys of this frame: REF_energy); "
            'name its key, or label the frame',
        ),
        (
            b'1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=nan\n'
            b'H 0 0 0 0 0 0\n',
            'labels, frame 0 (line 1): energy is not finite: compute the frame again, or leave it out',
        ),
    ],
)
def test_bad_extxyz_ends_in_an_exit_code(content, words):
    raw = orm.SinglefileData(io.BytesIO(content), filename='labels')
    outputs, node = dataset_from_extxyz.run_get_node(raw, orm.Dict({'labelled_by': 'gpaw'}))
    assert (node.exit_status, node.exit_message) == (230, words)
    assert not outputs
    assert not node.base.links.get_outgoing().all()


def test_bad_mlab_ends_in_an_exit_code():
    raw = orm.SinglefileData(io.BytesIO(b' 1.0 Version\n'), filename='ML_AB')
    _, node = dataset_from_mlab.run_get_node(raw, orm.Dict())
    assert node.exit_status == 230
    assert node.exit_message.startswith("ML_AB, line 1: the file ends where 'The number of configurations' should")


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({}, 'labelled_by = None is not a text'),
        ({'labelled_by': ''}, "labelled_by = '' is not a text that is not empty"),
        ({'labelled_by': 'gpaw', 'energy_kind': 'total'}, "energy_kind = 'total' is not one of free, sigma0"),
        ({'labelled_by': 'gpaw', 'forces': 'forces'}, 'settings.forces: no such key; did you mean forces_key?'),
        ({'labelled_by': 'gpaw', 'forces_key': None}, 'forces_key = None is not a key of the file'),
    ],
)
def test_settings_of_extxyz(raw, settings, words):
    _, node = dataset_from_extxyz.run_get_node(raw, orm.Dict(settings))
    assert node.exit_status == 220
    assert words in node.exit_message


def test_split_keeps_trajectories_whole(dataset):
    parts = split_dataset(dataset, orm.Dict({'fractions': FRACTIONS, 'seed': 1}))
    groups = [set(part.get_array('groups').tolist()) for part in parts.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 15
    assert sum(part.base.attributes.get('n_configurations') for part in parts.values()) == 101
    for name, part in parts.items():
        assert abs(part.base.attributes.get('n_configurations') / 101 - FRACTIONS[name]) < 0.05
    assert set(parts['training'].base.attributes.get('formulas')) == {'H2Mg16', 'HMg16', 'Mg16'}
    for part in parts.values():
        assert part.base.attributes.get('group_names') == dataset.base.attributes.get('group_names')


def test_every_stage_of_learning_is_in_training(dataset):
    """The training part has every temperature, whatever the order of the groups."""
    arrays = dataset.select(range(60)).get_arrays()
    stages = np.repeat(np.arange(5), 12)
    arrays |= {'stages': stages, 'groups': 3 * stages + np.tile(np.arange(12) // 4, 5)}
    groups = [f'{stage}, stretch {index}' for stage in 'abcde' for index in range(3)]
    options = {'energy_kind': 'free', 'labelled_by': 'vasp', 'stage_names': list('abcde'), 'group_names': groups}
    learned = DatasetData.from_arrays(arrays, **options)
    for seed in range(1, 6):
        parts = split_dataset(learned, orm.Dict({'fractions': FRACTIONS, 'seed': seed}))
        assert set(parts['training'].get_array('stages')) == set(range(5))
        assert not set(parts['training'].get_array('groups')) & set(parts['test'].get_array('groups'))


def test_split_follows_from_the_seed(dataset):
    hashes = [
        split_dataset(dataset, orm.Dict({'fractions': FRACTIONS, 'seed': seed}))['test'].base.caching.compute_hash()
        for seed in (1, 1, 2)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_split_of_a_dataset_without_groups(frames):
    dataset = DatasetData.from_frames(frames[:20])
    parts = split_dataset(dataset, orm.Dict({'fractions': {'training': 0.75, 'test': 0.25}, 'seed': 3}))
    assert {name: part.base.attributes.get('n_configurations') for name, part in parts.items()} == {
        'training': 15,
        'test': 5,
    }


def test_split_by_indices(frames):
    dataset = DatasetData.from_frames(frames[:6])
    parts = split_dataset(dataset, orm.Dict({'indices': {'training': [4, 0], 'test': [3]}}))
    assert parts['training'].get_frames() == [frames[4], frames[0]]
    assert parts['test'].get_frames() == [frames[3]]


def test_split_keeps_isolated_atoms_that_were_stored_as_configurations(frames):
    """Earlier versions stored isolated atoms as configurations, even two energies of one element."""
    lone = [Atoms('H', cell=[12, 12, 12], pbc=True) for _ in range(2)]
    for atoms, energy in zip(lone, (-1.1, -1.103), strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((1, 3)))
    names = {'groups': None, 'stages': None}
    arrays = arrays_from_frames([*frames[:2], *lone])
    earlier = DatasetData._from_configurations(arrays, {}, 'free', 'vasp', names)
    parts = split_dataset(earlier, orm.Dict({'indices': {'training': [0, 2, 3], 'test': [1]}}))
    assert parts['training'].get_frames() == [frames[0], *lone]
    assert parts['training'].isolated_atoms == {}


@pytest.mark.parametrize(
    ('settings', 'status', 'words'),
    [
        ({'fractions': FRACTIONS}, 220, 'lack seed'),
        ({'fractions': {'training': 0.5, 'test': 0.4}, 'seed': 1}, 220, 'which sum to one'),
        (
            {'fractions': {'training': 0.5, 'tests': 0.5}, 'seed': 1},
            220,
            'settings.fractions.tests: no such key; did you mean test?',
        ),
        ({'indices': {'train': [0]}}, 220, 'settings.indices.train: no such key; did you mean training?'),
        ({'fractions': {'test': 1.0}, 'seed': 1}, 220, 'fractions'),
        ({'fractions': FRACTIONS, 'seed': 1, 'indices': {'training': [0]}}, 220, 'settings.fractions: no such key'),
        ({'indices': {'training': [0.5]}}, 220, 'a list of indices'),
        ({'indices': {'training': [0, 7]}}, 231, 'training asks for frame 7, but the dataset has frames 0 to 1'),
        ({'fractions': FRACTIONS, 'seed': 1}, 231, '3 sets need as many groups of frames, but the dataset has 2'),
    ],
)
def test_splits_that_are_refused(frames, settings, status, words):
    outputs, node = split_dataset.run_get_node(DatasetData.from_frames(frames[:2]), orm.Dict(settings))
    assert (node.exit_status, outputs) == (status, {})
    assert words in node.exit_message


def test_indices_that_cut_a_trajectory(dataset):
    groups = dataset.get_array('groups').tolist()
    first = groups.index(0)
    second = groups.index(0, first + 1)
    settings = orm.Dict({'indices': {'training': [first], 'test': [second]}})
    _, node = split_dataset.run_get_node(dataset, settings)
    assert node.exit_status == 231
    assert f'frame {second} of test is correlated with frames of training' in node.exit_message


def test_implausible_labels_are_refused_or_allowed(example_data, tmp_path):
    frames = read(example_data / 'mgh_pbe.extxyz', ':6')
    for atoms in frames:
        atoms.info['REF_stress'] = 1602.1766 * atoms.info['REF_stress']
    write(tmp_path / 'kbar.extxyz', frames, format='extxyz')
    file = orm.SinglefileData(tmp_path / 'kbar.extxyz')
    _, node = dataset_from_extxyz.run_get_node(file, orm.Dict({'labelled_by': 'gpaw'}))
    assert node.exit_status == 230
    assert 'it looks like kbar' in node.exit_message
    assert not node.base.links.get_outgoing().all()
    allowed = dataset_from_extxyz(file, orm.Dict({'labelled_by': 'gpaw', 'allow_implausible': True}))
    assert allowed.base.attributes.get('n_configurations') == 6


def test_isolated_atoms_go_with_the_dataset_and_its_parts(example_data, tmp_path):
    frames = read(example_data / 'mgh_pbe.extxyz', ':12')
    for symbol, energy in {'H': -1.1, 'Mg': -0.2}.items():
        atom = Atoms(symbol, info={'REF_energy': energy, 'config_type': 'IsolatedAtom'})
        atom.arrays['REF_forces'] = np.zeros((1, 3))
        frames.append(atom)
    write(tmp_path / 'frames.extxyz', frames, format='extxyz')
    dataset = dataset_from_extxyz(orm.SinglefileData(tmp_path / 'frames.extxyz'), orm.Dict({'labelled_by': 'gpaw'}))
    assert dataset.base.attributes.get('n_configurations') == 12
    parts = split_dataset(dataset, orm.Dict({'fractions': {'training': 0.5, 'test': 0.5}, 'seed': 1}))
    for part in (dataset, *parts.values()):
        assert part.isolated_atoms == {'H': -1.1, 'Mg': -0.2}
