"""Density of tracers in the unit cell of hcp."""

import hops
import numpy as np
import pytest

from aiida_mghdiff.science.density import unit_cell_density
from aiida_mghdiff.science.lattice import geometry
from aiida_mghdiff.science.lattice.hcp import HcpSites


@pytest.fixture(scope='module')
def sites():
    return HcpSites.from_host(*geometry.hcp_supercell(hops.A, hops.C, (3, 3, 2)))


def test_integral_is_one_and_peaks_are_at_the_sites(sites):
    network = hops.Network({hops.T_O: 0.4, hops.O_T: 0.2, hops.T_T: 1.0})
    rng = np.random.default_rng(1)
    positions = network.walks(rng, 40000, 0.1, 6) + rng.normal(scale=0.2, size=(40000, 6, 3))
    density = unit_cell_density([positions[:30000], positions[30000:]], sites, 0.1)
    assert density.shape == (32, 32, 52)
    volume = np.linalg.det(sites.unit_cell)
    assert density.mean() * volume == pytest.approx(1)
    peaks = np.unravel_index(np.argsort(density, axis=None)[-20:], density.shape)
    centres = ((np.array(peaks).T + 0.5) / density.shape) @ sites.unit_cell + sites.positions[0]
    offsets = centres[:, None] - geometry.periodic_images(sites.cell, sites.positions, 6.0)
    assert np.linalg.norm(offsets, axis=-1).min(axis=1).max() < 0.35
    # a Gaussian of 0.2 Å at the origin, an octahedral site; its mean within 0.1 Å is 0.96 of its top on each axis
    occupied = network.occupation[network.kinds == 'O'].sum() / 2
    corner = density[np.ix_((-1, 0), (-1, 0), (-1, 0))].mean()
    assert corner == pytest.approx(occupied * (0.96 / np.sqrt(2 * np.pi) / 0.2) ** 3, rel=0.1)


def test_translation_by_a_lattice_vector_changes_nothing(sites):
    points = np.random.default_rng(2).uniform(0, 9, size=(500, 2, 3))
    moved = points + np.array([2, -1, 1]) @ sites.unit_cell
    np.testing.assert_allclose(
        unit_cell_density([points], sites, 0.5), unit_cell_density([moved], sites, 0.5), atol=1e-9
    )


@pytest.mark.parametrize('spacing', [0.0, -0.1, np.nan])
def test_spacing_must_be_positive(sites, spacing):
    with pytest.raises(ValueError, match='not positive'):
        unit_cell_density([np.zeros((1, 1, 3))], sites, spacing)
