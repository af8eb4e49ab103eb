"""The sites of hcp: unit cell, classes of jumps, and the host of a run."""

from __future__ import annotations

import hops
import numpy as np
import pytest
from ase.build import bulk, hcp0001
from hops import O_O, O_T, T_O, T_T
from scipy.spatial.transform import Rotation

from aiida_mghdiff.science.lattice import geometry
from aiida_mghdiff.science.lattice.hcp import CLASSES, HcpSites, host_displacement, host_origin, unit_cell
from aiida_mghdiff.science.lattice.sites import Jumps, find_jumps

A, C = 3.20, 5.19


def make_sites(repeats=(3, 3, 2), matrix=None):
    cell, host = geometry.hcp_supercell(A, C, repeats)
    matrix = np.eye(3) if matrix is None else matrix
    return HcpSites.from_host(cell @ matrix, host @ matrix)


@pytest.fixture(scope='module')
def sites():
    return make_sites()


def angles(cell):
    normal = cell / np.linalg.norm(cell, axis=1)[:, None]
    return np.degrees(np.arccos((normal @ normal.T)[[0, 0, 1], [1, 2, 2]]))


@pytest.mark.parametrize('repeats', [(2, 2, 2), (1, 3, 2), (4, 4, 4)])
def test_unit_cell(repeats):
    rotation = Rotation.random(rng=np.random.default_rng(1)).as_matrix()
    found = make_sites(repeats, rotation).unit_cell
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [A, A, C])
    np.testing.assert_allclose(angles(found), [120, 90, 90])
    assert np.linalg.det(found) > 0


def test_unit_cell_of_an_orthogonal_and_of_a_strained_cell():
    slab = hcp0001('Mg', (2, 4, 4), a=A, c=C, orthogonal=True, periodic=True)
    np.testing.assert_allclose(np.linalg.norm(unit_cell(slab.cell.array, slab.positions), axis=1), [A, A, C])
    strain = np.diag([1.01, 0.99, 1.02])
    found = make_sites(matrix=strain).unit_cell @ np.linalg.inv(strain)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [A, A, C])


def test_every_site_folds_onto_one_of_six(sites):
    folded = sites.fold(sites.positions)
    folded[folded > 1 - 1e-6] = 0
    assert len(np.unique(folded.round(4), axis=0)) == 6
    assert len(np.unique(folded[sites.is_octahedral].round(4), axis=0)) == 2
    moved = sites.fold(sites.positions + np.array([1, -2, 3]) @ sites.unit_cell + 1e-6)
    np.testing.assert_allclose(moved, sites.fold(sites.positions + 1e-6))


def test_fcc_is_refused():
    atoms = bulk('Al', 'fcc', a=4.05, cubic=True).repeat(2)
    with pytest.raises(geometry.LatticeError, match='not hcp'):
        HcpSites.from_host(atoms.cell.array, atoms.positions)


def jumps_between(sites, origins, targets, vectors):
    zeros = np.zeros(len(origins), int)
    return Jumps(zeros[:, None], zeros, zeros, np.array(origins), np.array(targets), np.array(vectors), 1.0)


@pytest.mark.parametrize('strain', [np.eye(3), np.diag([1.01, 1.01, 0.97])])
@pytest.mark.parametrize(
    ('name', 'kinds', 'length', 'number'),
    [
        ('O-O c', 'OO', C / 2, 2),
        ('O-O ab', 'OO', A, 6),
        ('O-T', 'OT', np.sqrt(A**2 / 3 + C**2 / 64), 6),
        ('T-O', 'TO', np.sqrt(A**2 / 3 + C**2 / 64), 3),
        ('T-T', 'TT', C / 4, 1),
        ('T-T edge', 'TT', np.sqrt(A**2 / 3 + C**2 / 16), 3),
    ],
)
def test_classes_have_their_lengths_and_multiplicities(strain, name, kinds, length, number):
    cell, host = geometry.hcp_supercell(A, C, (4, 4, 3))
    sites = HcpSites.from_host(cell @ strain, host @ strain)
    origin = int(np.flatnonzero(sites.is_octahedral == (kinds[0] == 'O'))[0])
    images = geometry.periodic_images(sites.cell, sites.positions, 5.0)
    vectors = images - sites.positions[origin]
    near = (np.linalg.norm(vectors, axis=1) < 4.5) & (np.linalg.norm(vectors, axis=1) > 0.1)
    targets = (np.arange(len(images)) % len(sites.positions))[near]
    jumps = jumps_between(sites, np.full(len(targets), origin), targets, vectors[near])
    chosen = sites.classify(jumps) == CLASSES.index(name)
    assert chosen.sum() == number
    unstrained = jumps.vectors[chosen] @ np.linalg.inv(strain)
    np.testing.assert_allclose(np.linalg.norm(unstrained, axis=1), length)
    assert set(sites.is_octahedral[targets[chosen]]) == {kinds[1] == 'O'}


def test_jumps_of_the_truth_model_by_class(sites):
    network = hops.Network({T_T: 0.5, T_O: 0.2, O_T: 0.1, O_O: 0.1})
    walks = network.walks(np.random.default_rng(3), 20000, 0.01, 4)
    steps = np.diff(walks, axis=0)
    known = np.linalg.norm(steps[(np.abs(steps) > 1e-9).any(axis=-1)], axis=-1).round(2)
    shaken = walks + hops.vibrations(np.random.default_rng(4), 20000, 4, 0.01, fast=0.05, slow=0.03)
    jumps = find_jumps(shaken, sites.positions, sites.cell)
    counts = dict(zip(CLASSES, np.bincount(sites.classify(jumps), minlength=len(CLASSES)), strict=True))
    assert counts['T-T'] == np.sum(known == 1.30) > 100
    assert counts['O-O c'] == np.sum((known == 2.59) | (known == 2.6)) > 10
    assert counts['O-T'] + counts['T-O'] == np.sum(known == 1.96) > 100
    assert counts['O-O ab'] == np.sum(known == 3.20) < 5  # O-T-O between two frames
    assert sum(counts.values()) == len(known)


def drifting_host(sites, frames=50, temperature_displacement=0.15, seed=5):
    """Return host atoms [f,n,3], their recorded centre [f,3] and the drift [f,3]; some atoms are in other cells."""
    rng = np.random.default_rng(seed)
    drift = hops.drift(rng, frames, 2.0, velocity=(0.3, -0.2, 0.1))
    vibration = rng.normal(scale=temperature_displacement, size=(frames, *sites.host.shape))
    vibration -= vibration.mean(axis=1, keepdims=True)
    images = rng.integers(-1, 2, size=sites.host.shape) @ sites.cell
    atoms = sites.host + images + drift[:, None] + vibration
    return atoms, atoms.mean(axis=1), drift


@pytest.mark.parametrize('wrapped', [False, True])
def test_tracers_are_brought_into_the_frame_of_the_sites(sites, wrapped):
    atoms, centres, drift = drifting_host(sites)
    atoms = hops.wrap(atoms, sites.cell) if wrapped else atoms
    tracer = sites.positions[7] + drift
    offsets = tracer - centres + host_origin(atoms, centres, sites) - sites.positions[7]
    fractional = offsets @ np.linalg.inv(sites.cell)
    np.testing.assert_allclose(fractional, np.round(fractional), atol=1e-9)
    assert np.ptp(np.round(fractional), axis=0).max() == 0


def test_displacement_of_the_host(sites):
    atoms, *_ = drifting_host(sites, frames=200)
    assert host_displacement(atoms, sites) == pytest.approx(0.15 * np.sqrt(3), rel=0.03)


def test_a_melt_is_refused(sites):
    rng = np.random.default_rng(6)
    liquid = sites.host + np.cumsum(rng.normal(scale=0.3, size=(60, *sites.host.shape)), axis=0)
    with pytest.raises(geometry.LatticeError, match='melted'):
        host_origin(liquid, liquid.mean(axis=1), sites)
    atoms, centres, _ = drifting_host(sites)
    with pytest.raises(geometry.LatticeError, match='another order'):
        host_origin(atoms[:, rng.permutation(len(sites.host))], centres, sites)
