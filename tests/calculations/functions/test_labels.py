"""Frames return from single points in their own order, each with its own labels."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mghdiff.calculations.functions.labels import (
    collect_labels,
    frame_key,
    frame_structure,
    gather_frames,
    grouped_order,
)
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.frames import arrays_from_frames

pytestmark = pytest.mark.usefixtures('aiida_profile')

SYMBOLS = (['H', 'Mg', 'H', 'Mg', 'Mg'], ['Mg', 'Mg', 'H', 'H', 'Mg'], ['Mg', 'Mg', 'Mg', 'Mg', 'H'])


def labelled(atoms, energy, forces):
    """Return the atoms with labels."""
    results = {'energy': energy, 'free_energy': energy, 'forces': forces, 'stress': np.arange(6) * energy}
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture
def atoms():
    """Three frames whose elements are mixed."""
    rng = np.random.default_rng(5)
    return [Atoms(symbols, positions=rng.uniform(0, 6, (5, 3)), cell=[6, 7, 8], pbc=True) for symbols in SYMBOLS]


@pytest.fixture
def dataset(atoms):
    """The frames with labels to be replaced, in two groups."""
    frames = [labelled(frame, -1.0, np.zeros((5, 3))) for frame in atoms]
    names = {'groups': [0, 0, 1], 'group_names': ['a', 'b']}
    return DatasetData.from_frames(frames, energy_kind='sigma0', labelled_by='mace', **names, allow_implausible=True)


def single_point(structure, labels='vasp'):
    """Return the result of a single point, whose forces encode the positions of the atoms."""
    atoms = structure.get_ase()
    frames = [labelled(atoms, -7.0, 10 * atoms.positions)]
    return DatasetData.from_frames(frames, energy_kind='free', labelled_by=labels, allow_implausible=True)


def test_elements_are_grouped_by_their_first_atom():
    assert grouped_order(np.array([1, 12, 1, 12, 12])).tolist() == [0, 2, 1, 3, 4]
    assert grouped_order(np.array([12, 12, 1])).tolist() == [0, 1, 2]


def test_labels_return_to_their_atoms(dataset):
    structures = {key: frame_structure(**{key: dataset}) for key in map(frame_key, (2, 0))}
    assert [site.kind_name for site in structures[frame_key(0)].sites] == ['H', 'H', 'Mg', 'Mg', 'Mg']
    parts = {key: single_point(structure) for key, structure in structures.items()}
    outputs = collect_labels(dataset, **parts)
    result, arrays = outputs['dataset'], dataset.get_arrays()
    rows = np.r_[0:5, 10:15]
    assert np.array_equal(result.get_array('positions'), arrays['positions'][rows])
    assert np.array_equal(result.get_array('numbers'), arrays['numbers'][rows])
    assert np.allclose(result.get_array('forces'), 10 * arrays['positions'][rows])
    assert result.get_array('energies').tolist() == [-7.0, -7.0]
    assert result.get_array('groups').tolist() == [0, 1]
    attributes = result.base.attributes
    values = [attributes.get(name) for name in ('labelled_by', 'energy_kind', 'group_names')]
    assert values == [
        'vasp',
        'free',
        ['a', 'b'],
    ]
    assert outputs['summary'].get_dict() == {
        'n_frames': 3,
        'n_labelled': 2,
        'failed_frames': [1],
        'left_out': {},
        'labelled_by': 'vasp',
    }
    assert result.creator.process_label == 'collect_labels'


def test_isolated_atoms_among_the_frames_become_energies(atoms):
    frames, labels = with_lone_atoms(atoms[0], -7.0, -7.0)
    outputs = collect_labels(frames, **labels)
    result, summary = outputs['dataset'], outputs['summary']
    assert (result.isolated_atoms, result.get_formulas()) == ({'H': -7.0}, ['H2Mg3'])
    assert (summary['failed_frames'], summary['left_out'], summary['n_labelled']) == ([], {}, 3)


def test_isolated_atoms_that_contradict_each_other_cost_no_other_label(atoms):
    frames, labels = with_lone_atoms(atoms[0], -1.1, -1.103)
    outputs = collect_labels(frames, **labels)
    result, summary = outputs['dataset'], outputs['summary']
    assert (result.isolated_atoms, result.get_formulas()) == ({'H': -1.1}, ['H2Mg3'])
    assert (summary['failed_frames'], summary['n_labelled']) == ([2], 2)
    assert summary['left_out'] == {'2': 'an isolated H has -1.103 eV, but -1.1 eV before: keep one of the two'}
    failed = {key: node for key, node in labels.items() if key != frame_key(0)}  # only isolated atoms remain
    assert collect_labels(frames, **failed)['dataset'].get_array('energies').tolist() == [-1.1, -1.103]


def with_lone_atoms(atoms, *energies):
    """Return frames of some atoms and of single H atoms, and the labels of their single points."""
    lone = {f'b{index}': orm.StructureData(ase=Atoms('H', cell=[12] * 3, pbc=True)) for index in range(len(energies))}
    frames = gather_frames(a=orm.StructureData(ase=atoms), **lone)
    first = single_point(frame_structure(**{frame_key(0): frames}))
    labels = [first, *map(lone_label, energies)]
    return frames, {frame_key(index): node for index, node in enumerate(labels)}


def lone_label(energy):
    """Return the result of the single point of a lone atom."""
    atoms = labelled(Atoms('H', cell=[12, 12, 12], pbc=True), energy, np.zeros((1, 3)))
    return DatasetData.from_arrays(arrays_from_frames([atoms]), energy_kind='free', labelled_by='vasp')


def test_nothing_labelled(dataset):
    outputs = collect_labels(dataset)
    assert set(outputs) == {'summary'}
    assert outputs['summary']['failed_frames'] == [0, 1, 2]


def test_stand_in_and_vasp_are_never_mixed(dataset):
    parts = {
        frame_key(index): single_point(frame_structure(**{frame_key(index): dataset}), labels)
        for index, labels in enumerate(['vasp', 'standin:mace:0123'])
    }
    _, node = collect_labels.run_get_node(dataset, **parts)
    assert node.exit_status == 228
    assert 'differ in labelled_by: standin:mace:0123, vasp' in node.exit_message


def test_a_single_point_of_another_structure(dataset):
    part = single_point(frame_structure(frame_000002=dataset))
    _, node = collect_labels.run_get_node(dataset, **{frame_key(0): part})
    assert node.exit_status == 228
    assert 'frame 0' in node.exit_message


def test_frames_of_structures_and_trajectories(atoms):
    trajectory = orm.TrajectoryData([orm.StructureData(ase=frame) for frame in (atoms[1], atoms[1])])
    frames = gather_frames(run=trajectory, alone=orm.StructureData(ase=atoms[0]))
    assert frames.get_array('natoms').tolist() == [5, 5, 5]
    assert frames.get_array('groups').tolist() == [0, 1, 1]
    assert frames.base.attributes.get('group_names') == ['alone', 'run']
    structure = frame_structure(frame_000002=frames)
    assert np.allclose(structure.get_ase().positions, atoms[1].positions[[0, 1, 4, 2, 3]])
    outputs = collect_labels(frames, **{frame_key(2): single_point(structure)})
    assert np.array_equal(outputs['dataset'].get_array('positions'), atoms[1].positions)
    assert outputs['dataset'].get_array('groups').tolist() == [1]


def test_refuses_fractional_positions(atoms):
    """Trajectories of aiida-vasp have fractional positions."""
    trajectory = orm.TrajectoryData()
    scaled = atoms[0].get_scaled_positions()
    positions = np.stack([atoms[0].positions, scaled - 0.4])
    trajectory.set_trajectory(SYMBOLS[0], positions, cells=np.stack(2 * [atoms[0].cell.array]), pbc=(True,) * 3)
    _, node = gather_frames.run_get_node(run=trajectory)
    assert node.exit_status == 232
    assert 'run, frame 1: atoms are less than 0.4 Å apart; positions must be Cartesian' in node.exit_message


def test_refuses_positions_that_are_not_finite(atoms):
    trajectory = orm.TrajectoryData()
    positions = np.full((1, 5, 3), np.nan)
    trajectory.set_trajectory(SYMBOLS[0], positions, cells=atoms[0].cell.array[None], pbc=(True,) * 3)
    _, node = gather_frames.run_get_node(run=trajectory)
    assert node.exit_status == 232
    assert 'not finite' in node.exit_message
