"""Frames become flat arrays, and the arrays give equal frames back."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mghdiff.formats.frames import arrays_from_frames, frames_from_arrays, index_groups, select_frames


def labelled(symbols='Mg2H', stress=True, seed=0, **labels):
    rng = np.random.default_rng(seed)
    atoms = Atoms(symbols, cell=np.diag([4.0, 5.0, 6.0]), pbc=True)
    atoms.positions = rng.normal(size=(len(atoms), 3))
    results = {'energy': -1.0, 'free_energy': -1.5, 'forces': rng.normal(size=(len(atoms), 3))}
    if stress:
        results['stress'] = rng.normal(size=6)
    atoms.calc = SinglePointCalculator(atoms, **(results | labels))
    return atoms


@pytest.fixture
def frames():
    return [labelled('Mg2H', seed=1), labelled('Mg', stress=False, seed=2), labelled('MgH2', seed=3)]


def test_shapes_types_and_units(frames):
    arrays = arrays_from_frames(frames, groups=[0, 0, 1])
    shapes = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
    assert shapes == {
        'natoms': ((3,), 'int64'),
        'numbers': ((7,), 'int64'),
        'cells': ((3, 3, 3), 'float64'),
        'positions': ((7, 3), 'float64'),
        'energies': ((3,), 'float64'),
        'forces': ((7, 3), 'float64'),
        'stresses': ((3, 6), 'float64'),
        'groups': ((3,), 'int64'),
    }
    assert np.isnan(arrays['stresses']).all(axis=1).tolist() == [False, True, False]


@pytest.mark.parametrize(('kind', 'energy'), [('free', -1.5), ('sigma0', -1.0)])
def test_kind_of_energy(frames, kind, energy):
    assert arrays_from_frames(frames, energy_kind=kind)['energies'].tolist() == [energy] * 3


def test_round_trip(frames):
    back = frames_from_arrays(arrays_from_frames(frames, groups=[0, 0, 1]))
    assert [atoms.info['group'] for atoms in back] == [0, 0, 1]
    for one, other in zip(frames, back, strict=True):
        assert one == other
        np.testing.assert_array_equal(one.get_forces(), other.get_forces())
        assert other.get_potential_energy(force_consistent=True) == other.get_potential_energy() == -1.5
        assert ('stress' in one.calc.results) == ('stress' in other.calc.results)
    np.testing.assert_array_equal(frames[2].get_stress(), back[2].get_stress())


def test_selection_keeps_the_order_asked_for(frames):
    chosen = frames_from_arrays(select_frames(arrays_from_frames(frames), [2, 0]))
    assert [chosen[0] == frames[2], chosen[1] == frames[0]] == [True, True]
    np.testing.assert_array_equal(chosen[1].get_forces(), frames[0].get_forces())


def test_groups_are_counted_as_they_appear():
    indices, names = index_groups(['b', 'a', 'b', 3])
    assert (indices.tolist(), names) == ([0, 1, 0, 2], ['b', 'a', '3'])


@pytest.mark.parametrize(
    ('broken', 'words'),
    [
        (Atoms('H', cell=[1, 1, 1], pbc=True), 'frame 1: no energy'),
        (labelled(forces=None), 'frame 1: no forces'),
        (labelled(forces=np.full((3, 3), np.nan)), 'frame 1: forces is not finite'),
        (labelled(free_energy=np.inf), 'frame 1: energy is not finite'),
        (labelled(free_energy=np.zeros(3)), r'frame 1: energy has the shape \(3,\)'),
        (labelled(stress=True) + Atoms('H'), 'frame 1: no energy'),
        (labelled(forces=np.zeros((2, 3))), r'frame 1: forces have the shape \(2, 3\), not \(3, 3\)'),
        (Atoms('H', cell=[1, 1, 1], pbc=[True, True, False]), 'frame 1: not a cell .* periodic in three'),
        (Atoms('H', cell=[1, 1, 0], pbc=True), 'frame 1: not a cell'),
        (Atoms('H', cell=[100, 100, 0.01], pbc=True), r'frame 1: the cell has .* 0.01 Å apart'),
        (Atoms('Mg', cell=[0.32, 0.32, 0.52], pbc=True), r'frame 1: the cell has 0.0532 Å³ an atom'),
    ],
)
def test_what_is_no_labelled_configuration(frames, broken, words):
    with pytest.raises(ValueError, match=words):
        arrays_from_frames([frames[0], broken])


def test_no_frames():
    with pytest.raises(ValueError, match='no frames'):
        arrays_from_frames([])
