"""Energies per element: their fit, and the signs of wrong ones."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.formats.frames import arrays_from_frames
from aiida_mghdiff.science.energy_offsets import (
    OffsetError,
    check_determined,
    check_each,
    check_offsets,
    element_counts,
    fit_offsets,
    is_determined,
)

COUNTS = np.array([[0.0, 16.0], [1.0, 16.0], [2.0, 16.0]])  # H, Mg


def test_element_counts():
    natoms, atoms = np.array([2, 3]), np.array([12, 12, 1, 12, 1])
    assert element_counts(natoms, atoms, [1, 12]).tolist() == [[0, 2], [2, 1]]


def test_one_composition_determines_nothing():
    assert is_determined(COUNTS)
    assert not is_determined(COUNTS[[1, 1]])
    assert not is_determined(COUNTS[[1]] * [[1.0], [2.0]])  # a larger cell of the same composition
    assert is_determined(COUNTS[:1, 1:])


def test_dividing_large_energies_is_refused_and_small_corrections_are_not():
    check_determined(COUNTS, COUNTS @ [-3.0, -1.5], ['H', 'Mg'])
    check_determined(COUNTS[[1, 1]], 17 * np.array([0.1, 0.2]), ['H', 'Mg'])
    with pytest.raises(OffsetError, match=r'how 1\.5 eV/atom divide between H, Mg: add configurations of another'):
        check_determined(COUNTS[[1, 1]], 17 * np.array([-1.5, -1.5]), ['H', 'Mg'])


@pytest.mark.parametrize('offsets', [{'H': 1e6, 'Mg': -1.5}, {'H': -1e6, 'Mg': -1.5}, {'H': -3.0, 'Mg': 60.0}])
def test_offsets_far_from_the_energies_are_refused(offsets):
    with pytest.raises(OffsetError, match='but a fit to the configurations gives'):
        check_offsets(COUNTS, COUNTS @ [-3.0, -1.5], offsets)


@pytest.mark.parametrize(
    ('offsets', 'words'),
    [
        (
            {'H': 200.0, 'Mg': -1.5},
            'the E0 of H is 200 eV, but a fit to the configurations gives -3 eV',
        ),
        ({'H': -203.0, 'Mg': -1.5}, 'the E0 of H is -203 eV'),
        ({'H': -3.0, 'Mg': -26.0}, 'the E0 of Mg is -26 eV'),
    ],
)
def test_offset_of_a_minority_element_is_held_to_the_energies(offsets, words):
    with pytest.raises(OffsetError, match=words):
        check_offsets(COUNTS, COUNTS @ [-3.0, -1.5], offsets)


def test_each_element_is_judged_where_the_compositions_tell_it():
    """H and O always come together, so only Mg is determined; the size of the others is checked."""
    counts = np.array([[0.0, 16.0, 0.0], [1.0, 16.0, 1.0], [2.0, 16.0, 2.0]])
    energies = counts @ [-3.0, -1.5, -5.0]
    check_each(counts, energies, ['H', 'Mg', 'O'], {'H': 15.0, 'Mg': 0.0})
    with pytest.raises(OffsetError, match='the E0 of Mg is 30 eV'):
        check_each(counts, energies, ['H', 'Mg', 'O'], {'Mg': 30.0})
    check_offsets(COUNTS[[1, 1]], COUNTS[[1, 1]] @ [-3.0, -1.5], {'H': 15.0, 'Mg': -1.5})


@pytest.mark.parametrize('seed', range(5))
def test_offsets_of_atoms_in_other_states_of_matter_are_taken(seed):
    """Energies shift by about 0.5 eV/atom with the H content, from heat, pressure or another phase."""
    rng = np.random.default_rng(seed)
    counts = np.array([[x, 64.0] for x in (0.0, 1.0, 2.0, 3.0) for _ in range(10)])
    shift = rng.normal(scale=0.5, size=4)[counts[:, 0].astype(int)]
    energies = counts @ [-3.0, -1.5] + counts.sum(axis=1) * (shift + rng.normal(scale=0.02, size=40))
    check_offsets(counts, energies, {'H': -1.1, 'Mg': 0.0})


def test_real_offsets_are_taken(example_data):
    """Offsets may be isolated atoms of other codes and of MACE-MP, or elements in their solids."""
    arrays = arrays_from_frames(read_extxyz(example_data / 'mgh_pbe.extxyz').frames)
    counts = element_counts(arrays['natoms'], arrays['numbers'], [1, 12])
    for offsets in ({'H': -1.117, 'Mg': -0.016}, {'H': -3.39, 'Mg': -1.51}, {'H': -13.6, 'Mg': 0.0}, {'H': 0, 'Mg': 0}):
        check_offsets(counts, arrays['energies'], offsets)
        for wrong in ({'H': offsets['H'] + 200}, {'H': offsets['H'] - 200}, {'H': -2.72 * 27.2, 'Mg': -1.44}):
            with pytest.raises(OffsetError):
                check_offsets(counts, arrays['energies'], offsets | wrong)


def test_known_offsets_are_held_only_where_the_fit_needs_them():
    """The binding of an element with a known atom must not enter the other elements."""
    energies = COUNTS @ [-3.0, -1.5]
    for known, expected in (([-1.0, np.nan], [-1.0, -1.5]), ([np.nan, 0.0], [-3.0, 0.0])):
        offsets, told = fit_offsets(COUNTS, energies, np.array(known))
        assert offsets == pytest.approx(expected)
        assert told == 2
    one = COUNTS[[1, 1]]
    offsets, told = fit_offsets(one, one @ [-3.0, -1.5], np.array([-1.0, np.nan]))
    assert offsets == pytest.approx([-1.0, -1.5 - 2 / 16])
    assert told == 2
    check_determined(one, one @ [-3.0, -1.5], ['H', 'Mg'], {'H': -1.0})


def test_offsets_of_atoms_and_of_another_zero_are_taken():
    check_offsets(COUNTS, COUNTS @ [-3.0, -1.5], {'H': 0.0, 'Mg': 0.0})
    check_offsets(COUNTS, COUNTS @ [-13.6 - 2.0, -5440.0 - 1.5], {'H': -13.6, 'Mg': -5440.0})


@pytest.mark.parametrize('offset', [-25.0, 20.0])
def test_offsets_of_one_composition_are_held_to_its_mean_energy(offset):
    one = COUNTS[[1, 1]]
    with pytest.raises(OffsetError, match='eV/atom for the bonds of configuration 0, more than 20'):
        check_offsets(one, one @ [-3.0, -1.5], {'H': -1.0, 'Mg': offset})


@pytest.mark.parametrize('offsets', [{'H': 200.0, 'Mg': 0.0}, {'H': -16e6, 'Mg': 1e6}])
def test_offsets_far_above_zero_are_refused_where_one_composition_tells_nothing(offsets):
    one = COUNTS[[1, 1]]
    with pytest.raises(OffsetError, match='no isolated atom lies so far above'):
        check_offsets(one, one @ [offsets['H'] - 3.0, offsets['Mg'] - 1.5], offsets)
