"""Radial distribution functions against neighbour lists of matscipy and ASE, and exact results."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from matscipy.neighbours import neighbour_list
from scipy.spatial.transform import Rotation

from aiida_mghdiff.science.lattice import geometry
from aiida_mghdiff.science.rdf import (
    bin_centres,
    coordination_numbers,
    count_close_pairs,
    pair_histogram,
    shell_volumes,
)

CELLS = {
    'hcp': geometry.hcp_supercell(3.20, 5.19, (4, 4, 4))[0],
    'thin': np.diag([3.0, 4.0, 5.0]),
    'skewed': np.array([[6.0, 0.3, -0.2], [5.0, 4.0, 0.1], [-4.5, 3.0, 7.0]]),
    'left-handed': np.array([[0.0, 6.0, 0.0], [5.0, 0.0, 1.0], [0.5, 0.0, 8.0]]),
}


def make_frames(cell, atoms=20, frames=3, seed=1):
    """Return positions in and around a cell."""
    return np.random.default_rng(seed).uniform(-1, 2, size=(frames, atoms, 3)) @ cell


def reference(function, frames, cells, pairs, r_max, n_bins):
    """Return the histogram of the distances from another code's neighbour list."""
    total = np.zeros(n_bins, int)
    for frame, cell in zip(frames, np.broadcast_to(cells, (len(frames), 3, 3)), strict=True):
        i, j, d = function('ijd', Atoms('H' * len(frame), frame, cell=cell, pbc=True), r_max)
        inside = np.isin(i, pairs[0]) & np.isin(j, pairs[1])
        total += np.histogram(d[inside], n_bins, (0, r_max))[0]
    return total


@pytest.mark.parametrize('cell', CELLS.values(), ids=CELLS)
@pytest.mark.parametrize('r_max', [2.4, 6.0, 14.0])
@pytest.mark.parametrize('pairs', [(range(20), range(20)), (range(5), range(5, 20)), (range(8), range(4, 12))])
def test_counts_are_those_of_matscipy(cell, r_max, pairs):
    frames = make_frames(cell)
    counts, _ = pair_histogram(frames, cell, pairs, r_max, 37)
    np.testing.assert_array_equal(counts, reference(neighbour_list, frames, cell, pairs, r_max, 37))


def test_counts_are_those_of_ase_where_the_cell_changes():
    cells = np.array([CELLS['skewed'] * scale for scale in (0.9, 1.0, 1.1)])
    frames = np.array([make_frames(cell, frames=1, seed=2)[0] for cell in cells])
    pairs = (range(20), range(20))
    counts, ideal = pair_histogram(frames, cells, pairs, 7.0, 29)
    np.testing.assert_array_equal(counts, reference(neighbor_list, frames, cells, pairs, 7.0, 29))
    assert ideal.sum() == pytest.approx(sum(380 / abs(np.linalg.det(cell)) for cell in cells) * 4 / 3 * np.pi * 343)


def test_independent_atoms_have_g_of_one_also_where_they_are_few():
    cell = CELLS['skewed']
    frames = make_frames(cell, atoms=4, frames=20000)
    for pairs in ((range(4), range(4)), ([0, 1], [2, 3]), ([0, 1], [1, 2, 3])):
        g = np.divide(*pair_histogram(frames, cell, pairs, 2.9, 4))
        np.testing.assert_allclose(g[1:], 1.0, atol=0.05)


def test_shells_of_hcp():
    cell, host = geometry.hcp_supercell(3.20, 3.20 * np.sqrt(8 / 3), (3, 3, 2))
    everything = np.arange(len(host))
    r, g = bin_centres(5.0, 500), np.divide(*pair_histogram(host[None], cell, (everything, everything), 5.0, 500))
    numbers = coordination_numbers(g, 5.0, (len(host) - 1) / np.linalg.det(cell))
    found = {round(distance, 2): round(numbers[np.searchsorted(r, distance + 0.02)]) for distance in (3.2, 4.53)}
    assert found == {3.2: 12, 4.53: 18}
    assert numbers[np.searchsorted(r, 3.1)] == 0


def test_bins():
    np.testing.assert_allclose(bin_centres(3.0, 3), [0.5, 1.5, 2.5])
    np.testing.assert_allclose(shell_volumes(3.0, 3) / (4 / 3 * np.pi), [1, 7, 19])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_rotation_translation_cell_choice_and_labels_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    cell = CELLS['skewed']
    frames = make_frames(cell, frames=2, seed=seed)
    counts, ideal = pair_histogram(frames, cell, (range(12), range(8, 20)), 9.0, 31)
    rotation, order = Rotation.random(rng=rng).as_matrix(), rng.permutation(20)
    other_cell = np.array([[1, 0, 0], [1, 1, 0], [-2, 1, 1]]) @ cell
    moved = (frames + rng.normal(size=3) + rng.integers(-2, 3, size=(2, 20, 3)) @ cell)[:, order] @ rotation
    inverse = np.argsort(order)
    again, same = pair_histogram(moved, other_cell @ rotation, (inverse[:12], inverse[8:20]), 9.0, 31)
    # rounding may move a distance over the edge of a bin
    assert np.abs(np.cumsum(again) - np.cumsum(counts)).max() <= 2
    np.testing.assert_allclose(same, ideal)


@pytest.mark.parametrize('cutoff', [1.5, 3.0, 8.0])
def test_close_pairs_of_each_frame(cutoff):
    cell = CELLS['skewed']
    frames = make_frames(cell, atoms=5, frames=40)
    found = [neighbour_list('ij', Atoms('H5', frame, cell=cell, pbc=True), cutoff) for frame in frames]
    expected = [np.sum(i < j) for i, j in found]
    np.testing.assert_array_equal(count_close_pairs(frames, cell, cutoff), expected)


def test_own_images_can_be_left_out():
    cell, frames = CELLS['skewed'], make_frames(CELLS['skewed'])
    i, j, d = neighbour_list('ijd', Atoms('H20', frames[0], cell=cell, pbc=True), 12.0)
    for chosen, own_images in ((i >= 0, True), (i != j, False)):
        counts, _ = pair_histogram(frames[:1], cell, (range(20), range(20)), 12.0, 50, own_images)
        np.testing.assert_array_equal(counts, np.histogram(d[chosen], 50, (0, 12.0))[0])
    assert (i == j).any()


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'r_max': 0.0}, 'must be positive'),
        ({'r_max': np.inf}, 'must be positive'),
        ({'n_bins': 0}, 'must be positive'),
        ({'frames': np.zeros((2, 4))}, r'not \[f,N,3\]'),
        ({'frames': np.full((2, 4, 3), np.nan)}, 'not finite'),
        ({'cells': np.zeros((3, 3))}, 'no volume'),
        ({'cells': np.zeros((5, 3, 3))}, 'not (3, 3) or'),
        ({'pairs': ([0], [4])}, 'from 0 to 3'),
        ({'pairs': ([], [1])}, 'at least one'),
        ({'pairs': ([True, False, False, False], [1])}, 'indices of atoms'),
        ({'pairs': ([1], [1])}, 'no partner'),
    ],
)
def test_bad_input(changes, words):
    arguments = {'frames': np.zeros((2, 4, 3)), 'cells': np.eye(3), 'pairs': ([0], [1]), 'r_max': 1.0, 'n_bins': 2}
    with pytest.raises(ValueError, match=words.replace('(3, 3)', r'\(3, 3\)')):
        pair_histogram(**arguments | changes)


def test_mg_h_distances_by_site():
    atoms = bulk('Mg', 'hcp', a=3.20, c=5.19).repeat(3)
    octahedral, tetrahedral = geometry.interstitial_sites(atoms.cell.array, atoms.positions)
    for sites, distance, number in ((octahedral, 2.26, 6), (tetrahedral, 1.95, 4)):
        frame = np.concatenate([atoms.positions, sites[:1]])[None]
        pairs = (range(len(atoms)), [len(atoms)])
        r, g = bin_centres(2.5, 50), np.divide(*pair_histogram(frame, atoms.cell.array, pairs, 2.5, 50))
        density = len(atoms) / atoms.get_volume()
        assert r[np.argmax(g)] == pytest.approx(distance, abs=0.05)
        assert coordination_numbers(g, 2.5, density)[-1] == pytest.approx(number)
