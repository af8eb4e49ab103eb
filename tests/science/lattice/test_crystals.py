"""Lattices of vibrating atoms, their hcp unit cells, and the interstitial elements."""

from __future__ import annotations

import host_datasets
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, make_supercell

from aiida_mghdiff.science.lattice.crystals import (
    Configuration,
    has_cubic_shape,
    hcp_unit_cell,
    interstitial_pairs,
    lattice_of,
)
from aiida_mghdiff.science.lattice.geometry import LatticeError
from aiida_mghdiff.science.lattice.hcp import unit_cell

CRYSTALS = {
    'hcp': bulk('Mg', 'hcp', a=3.20, c=5.19),
    'fcc': bulk('Pd', 'fcc', a=3.95, cubic=True),
    'bcc': bulk('V', 'bcc', a=3.03, cubic=True),
}


def configuration(atoms):
    return Configuration(atoms.cell.array, atoms.positions, atoms.numbers)


def shaken(atoms, amplitude, seed=0):
    """Return a copy with all atoms displaced at random and moved to other cell images, as in an unwrapped run."""
    rng = np.random.default_rng(seed)
    moved = atoms.copy()
    moved.positions += rng.normal(scale=amplitude, size=moved.positions.shape)
    moved.positions += rng.integers(-3, 4, size=moved.positions.shape) @ moved.cell.array
    return moved


@pytest.mark.parametrize('amplitude', [0.0, 0.1, 0.2])
@pytest.mark.parametrize('repeat', [1, 2, 3])
@pytest.mark.parametrize('lattice', CRYSTALS)
def test_lattice_of_vibrating_atoms(lattice, repeat, amplitude):
    """Magnesium at 700 K vibrates by 0.2 Å on each axis; many snapshots vote."""
    frames = [shaken(CRYSTALS[lattice].repeat(repeat), amplitude, seed) for seed in range(20)]
    assert lattice_of((frame.cell.array, frame.positions) for frame in frames) == lattice


@pytest.mark.parametrize('atoms', [bulk('Po', 'sc', a=3.3).repeat(3), bulk('Si', cubic=True).repeat(2)])
def test_other_lattices_have_no_name(atoms):
    assert lattice_of([(atoms.cell.array, atoms.positions)]) is None


def test_a_mixture_of_lattices_has_no_name():
    halves = [CRYSTALS[name].repeat(3) for name in ('hcp', 'bcc')]
    assert len(halves[0]) == len(halves[1])
    assert lattice_of((half.cell.array, half.positions) for half in halves) is None
    assert lattice_of([]) is None


@pytest.mark.parametrize(
    'matrix', [np.diag([2, 2, 2]), [[1, 0, 0], [1, 2, 0], [0, 0, 2]], [[3, 1, 0], [0, 3, 0], [0, 0, 2]]]
)
def test_unit_cell_of_vibrating_atoms_is_that_of_the_ideal_ones(matrix):
    """Only the cell decides, so vibrations do not matter; strain is kept."""
    atoms = make_supercell(CRYSTALS['hcp'], matrix)
    atoms.set_cell(atoms.cell.array @ np.array([[1.01, 0, 0], [0.004, 0.99, 0], [0, 0, 1.02]]), scale_atoms=True)
    ideal = np.linalg.norm(unit_cell(atoms.cell.array, atoms.positions), axis=1)
    for seed in range(5):
        moved = shaken(atoms, 0.1, seed)
        found = np.linalg.norm(hcp_unit_cell(moved.cell.array, moved.positions), axis=1)
        np.testing.assert_allclose(found[2], ideal[2])
        np.testing.assert_allclose(sorted(found[:2]), sorted(ideal[:2]), rtol=0.02)  # strain makes a1 and a2 differ
        assert abs(np.linalg.det(hcp_unit_cell(moved.cell.array, moved.positions))) == pytest.approx(
            2 * atoms.get_volume() / len(atoms)
        )


@pytest.mark.parametrize('vacuum', [1.2, 2.0, 3.0])
def test_no_unit_cell_of_a_slab_with_vacuum(vacuum):
    atoms = CRYSTALS['hcp'].repeat((3, 3, 2))
    atoms.set_cell(atoms.cell.array * [[1], [1], [vacuum]])
    with pytest.raises(LatticeError, match='vacuum'):
        hcp_unit_cell(atoms.cell.array, atoms.positions)


@pytest.mark.parametrize('atoms', [CRYSTALS['fcc'].repeat(2), CRYSTALS['hcp'].repeat(3)[1:]])
def test_no_unit_cell_of_another_lattice_or_with_a_vacancy(atoms):
    with pytest.raises(LatticeError):
        hcp_unit_cell(atoms.cell.array, atoms.positions)


@pytest.mark.parametrize('lattice', ['MAGNESIUM', 'PALLADIUM', 'VANADIUM'])
@pytest.mark.parametrize('shake', [0.0, 0.15])
def test_the_interstitial_element_is_the_tracer(lattice, shake):
    frames = [
        host_datasets.make_frame('Ti', getattr(host_datasets, lattice), 'HHHH'[:count], shake=shake, seed=count)
        for count in range(4)
    ]
    assert interstitial_pairs([configuration(frame) for frame in frames]) == [(22, 1)]


def test_one_configuration_is_enough():
    frame = host_datasets.make_frame('Zr', host_datasets.ZIRCONIUM, 'O', shake=0.1)
    assert interstitial_pairs([configuration(frame)]) == [(40, 8)]


def test_two_tracers_are_two_pairs():
    frames = [host_datasets.make_frame('Ti', host_datasets.TITANIUM, tracers) for tracers in ('H', 'O', 'HHO', '')]
    assert interstitial_pairs([configuration(frame) for frame in frames]) == [(22, 1), (22, 8)]


def test_atoms_on_lattice_sites_are_no_tracers():
    """An element on 1 to 4 of 16 lattice sites makes an alloy; with hydrogen, only hydrogen is interstitial."""
    rng = np.random.default_rng(0)
    for share in (1, 2, 4):
        frame = shaken(CRYSTALS['hcp'].repeat(2), 0.1)
        frame.symbols[rng.permutation(16)[:share]] = 'Li'
        assert interstitial_pairs([configuration(frame)]) == []
        frame += Atoms('H', [np.array([2 / 3, 1 / 3, 0.5]) @ CRYSTALS['hcp'].cell.array])
        pairs = interstitial_pairs([configuration(frame)])
        assert (12, 1) in pairs
        assert set(pairs) <= {(12, 1), (3, 1)}


def test_as_many_tracers_as_host_atoms_are_a_question():
    """In a 1:1 hydride the composition does not tell which element diffuses."""
    assert interstitial_pairs([configuration(bulk('PdH', 'rocksalt', a=4.1, cubic=True))]) == []


def test_a_slab_with_vacuum_tells_the_same():
    slab = fcc111('Pd', (2, 2, 3), a=3.95, vacuum=8.0, periodic=True)
    slab.symbols[0] = 'Ag'
    assert interstitial_pairs([configuration(slab)]) == []


def test_an_element_alone_has_no_pair():
    assert interstitial_pairs([configuration(CRYSTALS['hcp'])]) == []


@pytest.mark.parametrize('repeats', [(1, 1, 1), (3, 3, 2), (12, 7, 4)])
def test_shape_of_a_cell_tells_cubic_from_hexagonal(repeats):
    fcc, bcc = {'name': 'Pd', 'crystalstructure': 'fcc', 'a': 3.89}, {'name': 'V', 'crystalstructure': 'bcc', 'a': 3.03}
    for crystal in (fcc, bcc, fcc | {'cubic': True}, bcc | {'cubic': True}):
        assert has_cubic_shape(bulk(**crystal).repeat(repeats).cell.array)
    for c in (5.19, 3.2 * np.sqrt(8 / 3), 3.2):
        for orthorhombic in (False, True):
            cell = bulk('Mg', 'hcp', a=3.2, c=c, orthorhombic=orthorhombic).repeat(repeats).cell.array
            assert not has_cubic_shape(cell)
