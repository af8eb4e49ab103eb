"""Energies per element: their fit, and what cannot be right about them."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_mghdiff.science.energy_offsets import (
    OffsetError,
    check_determined,
    check_offsets,
    element_counts,
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
    with pytest.raises(OffsetError, match='eV/atom for the bonds of configuration'):
        check_offsets(COUNTS, COUNTS @ [-3.0, -1.5], offsets)


def test_offsets_of_atoms_and_of_another_zero_are_taken():
    check_offsets(COUNTS, COUNTS @ [-3.0, -1.5], {'H': 0.0, 'Mg': 0.0})
    check_offsets(COUNTS, COUNTS @ [-13.6 - 2.0, -5440.0 - 1.5], {'H': -13.6, 'Mg': -5440.0})
