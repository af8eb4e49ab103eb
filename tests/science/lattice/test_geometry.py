"""Sites and paths of hcp Mg against its known geometry, for ideal, strained, rotated and thermal cells."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, hcp0001
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from aiida_mghdiff.science.lattice import geometry

A, C = 3.20, 5.19


@pytest.fixture
def host():
    return geometry.hcp_supercell(A, C, (3, 3, 2))


def with_sites(cell, positions, sites):
    """Return distances within 2.6 Å from each site to host atoms, by ASE's neighbour list."""
    atoms = Atoms('Mg' * len(positions) + 'H' * len(sites), [*positions, *sites], cell=cell, pbc=True)
    return neighbor_list('ijd', atoms, {('H', 'Mg'): 2.6})


def test_supercell_is_the_hcp_crystal_of_ase():
    cell, positions = geometry.hcp_supercell(A, C, (2, 2, 2))
    reference = bulk('Mg', 'hcp', a=A, c=C).repeat(2)
    atoms = Atoms('Mg16', positions, cell=cell, pbc=True)
    assert atoms.cell.cellpar() == pytest.approx(reference.cell.cellpar())
    assert np.sort(atoms.get_all_distances(mic=True)[0]) == pytest.approx(
        np.sort(reference.get_all_distances(mic=True)[0])
    )


@pytest.mark.parametrize('repeats', [(1, 1, 1), (2, 2, 2), (1, 3, 2), (4, 4, 4)])
def test_one_octahedral_and_two_tetrahedral_sites_an_atom(repeats):
    cell, positions = geometry.hcp_supercell(A, C, repeats)
    octahedral, tetrahedral = geometry.interstitial_sites(cell, positions)
    assert (len(octahedral), len(tetrahedral)) == (len(positions), 2 * len(positions))


def test_coordination_and_distances(host):
    octahedral, tetrahedral = geometry.interstitial_sites(*host)
    for sites, count, mean in ((octahedral, 6, 2.26), (tetrahedral, 4, 1.95)):
        first, second, distances = with_sites(*host, sites)
        of_site = distances[(first >= len(host[1])) & (second < len(host[1]))]
        assert len(of_site) == count * len(sites)
        assert of_site.mean() == pytest.approx(mean, abs=0.012)


def matched(cell, first, second):
    """Return the largest distance from a site of the first set to the nearest of the second."""
    return max(geometry._periodic_distances(cell, second - site).min() for site in first)


def test_octahedral_sites_are_wyckoff_2a(host):
    cell, _ = host
    primitive = cell / np.array([3, 3, 2])[:, None]
    grid = np.array([(i, j, k / 2) for i in range(3) for j in range(3) for k in range(4)]) @ primitive
    assert matched(cell, geometry.interstitial_sites(*host)[0], grid) < 1e-9


def test_tetrahedral_sites_lie_above_and_below_each_atom(host):
    cell, positions = host
    up = np.array([0, 0, 3 / 8 * C])
    expected = np.concatenate([positions + up, positions - up])
    assert matched(cell, geometry.interstitial_sites(cell, positions)[1], expected) < 1e-9


@pytest.mark.parametrize('seed', range(5))
def test_rattled_and_strained_host(host, seed):
    rng = np.random.default_rng(seed)
    cell, positions = host
    strain = np.eye(3) + rng.uniform(-0.03, 0.03, size=(3, 3))
    rattled = positions @ strain + rng.normal(scale=0.08, size=positions.shape)
    for ideal, found in zip(
        geometry.interstitial_sites(cell, positions), geometry.interstitial_sites(cell @ strain, rattled), strict=True
    ):
        assert matched(cell @ strain, found, ideal @ strain) < 0.3


def test_rotation_order_and_wrapping_do_not_matter(host):
    cell, positions = host
    rng = np.random.default_rng(1)
    rotation = Rotation.random(rng=rng).as_matrix()
    moved = (positions + rng.integers(-2, 3, size=positions.shape) @ cell)[rng.permutation(len(positions))]
    for ideal, found in zip(
        geometry.interstitial_sites(cell, positions),
        geometry.interstitial_sites(cell @ rotation, moved @ rotation),
        strict=True,
    ):
        assert matched(cell @ rotation, found, ideal @ rotation) < 1e-6


def test_orthogonal_cell():
    slab = hcp0001('Mg', (2, 4, 4), a=A, c=C, orthogonal=True, periodic=True)
    octahedral, tetrahedral = geometry.interstitial_sites(slab.cell.array, slab.positions)
    assert (len(octahedral), len(tetrahedral)) == (len(slab), 2 * len(slab))


@pytest.mark.parametrize('crystal', ['bcc', 'sc'])
def test_other_crystals_are_refused(crystal):
    atoms = bulk('Mg', crystal, a=4.0, cubic=True).repeat(2)
    with pytest.raises(geometry.LatticeError, match='close-packed crystal has'):
        geometry.interstitial_sites(atoms.cell.array, atoms.positions)


def test_fcc_has_sites_but_no_hcp_paths():
    atoms = bulk('Al', 'fcc', a=4.05, cubic=True).repeat(2)
    octahedral, _ = geometry.interstitial_sites(atoms.cell.array, atoms.positions)
    assert len(octahedral) == len(atoms)
    with pytest.raises(geometry.LatticeError, match='not hcp'):
        geometry.hcp_paths(atoms.cell.array, atoms.positions)


def test_host_with_a_vacancy_is_refused(host):
    with pytest.raises(geometry.LatticeError):
        geometry.interstitial_sites(host[0], host[1][1:])


@pytest.mark.parametrize(
    ('path', 'length', 'along_c'),
    [
        ('O-O c', C / 2, True),
        ('O-O ab', A, False),
        ('O-T', np.hypot(A / np.sqrt(3), C / 8), None),
        ('T-T', C / 4, True),
    ],
)
def test_paths(host, path, length, along_c):
    start, end = geometry.hcp_paths(*host)[path]
    assert np.linalg.norm(end - start) == pytest.approx(length)
    if along_c is not None:
        assert abs((end - start)[2]) == pytest.approx(length if along_c else 0, abs=1e-9)


def test_paths_end_on_sites_of_their_kind(host):
    cell, positions = host
    octahedral, tetrahedral = geometry.interstitial_sites(cell, positions)
    for path, ends in geometry.hcp_paths(cell, positions).items():
        for kind, end in zip(path[:3:2], ends, strict=True):
            assert matched(cell, [end], octahedral if kind == 'O' else tetrahedral) < 1e-9


def test_placement_is_reproducible_and_keeps_its_distance(host):
    cell, positions = host
    first = geometry.place_tracers(cell, positions, 5, seed=7, minimum_distance=3.0)
    np.testing.assert_array_equal(first, geometry.place_tracers(cell, positions, 5, seed=7, minimum_distance=3.0))
    assert not np.array_equal(first, geometry.place_tracers(cell, positions, 5, seed=8, minimum_distance=3.0))
    atoms = Atoms('H5', first, cell=cell, pbc=True)
    assert atoms.get_all_distances(mic=True)[np.triu_indices(5, 1)].min() >= 3.0


def test_every_site_is_as_likely():
    cell, positions = geometry.hcp_supercell(A, C, (1, 1, 1))
    octahedral, _ = geometry.interstitial_sites(cell, positions)
    draws = np.concatenate([geometry.place_tracers(cell, positions, 1, seed, 1.0) for seed in range(300)])
    hits = sum(matched(cell, [site], octahedral) < 1e-6 for site in draws)
    assert hits == pytest.approx(100, abs=3 * np.sqrt(300 * 2 / 9))


@pytest.mark.parametrize('count', [0, -1, 109])
def test_number_of_tracers_out_of_range(host, count):
    with pytest.raises(geometry.PlacementError, match='room for 1 to 108'):
        geometry.place_tracers(*host, count, 1, 1.0)


def test_distances_that_cannot_be_met(host):
    with pytest.raises(geometry.PlacementError, match='lower the number or the distance'):
        geometry.place_tracers(*host, 30, 1, 4.0)


def test_cell_thinner_than_the_distance(host):
    with pytest.raises(geometry.PlacementError, match='thin'):
        geometry.place_tracers(*host, 1, 1, 9.0)
