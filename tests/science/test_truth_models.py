"""The truth models: two independent ways to D, detailed balance, and disguises that can be removed."""

import hops
import numpy as np
import pytest
from hops import O_O, O_T, T_O, T_T, Network

from aiida_mghdiff.science.lattice.network import diffusivity
from aiida_mghdiff.science.msd import average_mean_squared_displacement

RATES = {T_T: 3.0, T_O: 0.7, O_T: 1.3, O_O: 0.4}


@pytest.mark.parametrize('repeats', [(1, 1, 1), (2, 2, 2)])
def test_master_equation_agrees_with_onsager(repeats):
    tensor = Network(RATES, repeats).diffusion_tensor()
    exact = diffusivity(hops.A, hops.C, {'O-O c' if name == O_O else name: rate for name, rate in RATES.items()})
    np.testing.assert_allclose(tensor, np.diag([exact.ab, exact.ab, exact.c]), rtol=1e-9, atol=1e-9)


def test_regimes_have_the_coefficients_asked():
    for coefficient in (0.5, 0.05, 0.005):
        assert Network(hops.regime(coefficient), (2, 2, 2)).diffusion_coefficient() == pytest.approx(coefficient)


def test_walks_have_the_exact_displacement():
    network, rng = Network(RATES, (4, 4, 4)), np.random.default_rng(1)
    times = np.array([0.2, 1.0, 5.0])
    msd = average_mean_squared_displacement(network.walks(rng, 20_000, 0.2, 200))[[1, 5, 25]]
    np.testing.assert_allclose(msd, network.displacement(times), rtol=0.02)


def test_vibrations_have_their_amplitude_and_memory():
    paths = hops.vibrations(np.random.default_rng(2), 100_000, 2, 0.02)
    assert np.square(paths).mean() == pytest.approx(0.25**2 + 0.15**2, rel=0.02)
    expected = 0.25**2 * np.exp(-1) + 0.15**2 * np.exp(-0.1)
    assert np.mean(paths[1:] * paths[:-1]) == pytest.approx(expected, rel=0.03)


def test_disguise_comes_off():
    network, rng = Network(hops.regime(0.5), (4, 4, 4)), np.random.default_rng(3)
    positions = network.walks(rng, 2000, 0.1, 4) + hops.vibrations(rng, 2000, 4, 0.1)
    tracers, host = hops.disguise(rng, positions, 0.1, network.cell)
    fractional = tracers @ np.linalg.inv(network.cell)
    assert fractional.min() >= -1e-12
    assert fractional.max() <= 1 + 1e-12
    found = hops.unwrap(tracers, network.cell) - hops.unwrap(host, network.cell)[:, None]
    np.testing.assert_allclose(found - found[0], positions - positions[0], atol=1e-9)


def test_crowd_of_one_is_a_walk():
    network, rng = Network(RATES, (2, 2, 2)), np.random.default_rng(4)
    paths = [hops.crowd(network, np.zeros((48, 48)), rng, 20_000, 0.2, 1) for _ in range(20)]
    msd = average_mean_squared_displacement(np.concatenate(paths, axis=1))[[5, 25]]
    np.testing.assert_allclose(msd, network.displacement([1.0, 5.0]), rtol=0.04)


def test_crowd_is_distributed_by_boltzmann():
    network, rng = Network(RATES, (1, 1, 1)), np.random.default_rng(5)
    energies = hops.pair_energies(network, [(1.5, 1.0), (2.0, -0.5), (2.3, 0.4)])
    path = hops.crowd(network, energies, rng, 200_000, 0.5, 2)
    fractional = (path[:, :, None] - network.sites) @ np.linalg.inv(network.cell)
    sites = np.argmin(np.linalg.norm(fractional - np.round(fractional), axis=-1), axis=-1)
    found = np.zeros_like(energies)
    np.add.at(found, tuple(sites.T), 1)
    expected = np.outer(network.occupation, network.occupation) * np.exp(-energies) * (1 - np.eye(len(energies)))
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), atol=0.002)


def test_pair_energies_are_periodic():
    network = Network(RATES, (2, 2, 2))
    energies = hops.pair_energies(network, [(1.5, 2.0), (2.1, 1.0)])
    np.testing.assert_array_equal(energies, energies.T)
    assert np.sum(energies == 2.0) == len(energies) * 2 / 3  # each tetrahedral site has one neighbour across a face
    octahedral = network.kinds == 'O'
    assert np.all(np.sum(energies[octahedral] == 1.0, axis=1) == 6)
