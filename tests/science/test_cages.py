"""Jumps between cages on synthetic hops with known counts."""

import numpy as np
import pytest
from hops import O_O, O_T, RATTLING, T_O, T_T, trajectory

from aiida_mghdiff.science.cages import block_means, cage_path, count_jumps, find_stays

THRESHOLD = 1.63
HOT = {'fast': 0.35, 'slow': 0.25}


@pytest.mark.parametrize('rate', [0.05, 1.0, 10.0])
@pytest.mark.parametrize('amplitudes', [{}, HOT])
@pytest.mark.parametrize('block', [10, 20])
def test_rattling_in_a_cage_is_no_jump(rate, amplitudes, block):
    positions, _ = trajectory({T_T: rate}, 20000, 0.01, 4, seed=1, kind='T', **amplitudes)
    assert np.square(positions[-1] - positions[0]).sum() > 1  # the tracer moves
    np.testing.assert_array_equal(count_jumps(positions, THRESHOLD, block), 0)


def test_vibration_at_an_octahedral_site_is_no_jump():
    positions, _ = trajectory({T_T: 1.0}, 20000, 0.01, 4, seed=2, kind='O', fast=0.4, slow=0.3)
    np.testing.assert_array_equal(count_jumps(positions, THRESHOLD, 10), 0)


@pytest.mark.parametrize(('residence', 'least'), [(100, 0.97), (20, 0.93), (4, 0.85)])
@pytest.mark.parametrize('amplitudes', [{}, HOT])
def test_counts_of_slow_hops(residence, least, amplitudes):
    rates = {T_T: 2.0, T_O: 1 / residence / 3, O_T: 1 / residence / 6}
    positions, jumps = trajectory(rates, 30000, 0.01, 6, seed=3, **amplitudes)
    counted = count_jumps(positions, THRESHOLD, 10).sum()
    assert least * jumps.sum() <= counted <= 1.01 * jumps.sum()


def test_octahedral_hops_along_c_are_counted():
    positions, jumps = trajectory({O_O: 0.02}, 20000, 0.01, 4, seed=4, kind='O')
    np.testing.assert_array_equal(count_jumps(positions, THRESHOLD, 10), jumps)


def test_every_jump_of_a_quiet_path_is_counted():
    steps = np.repeat([[0, 0, 0], [1.96, 0, 0], [1.96, 2.6, 0], [0, 0, 0]], 50, axis=0).astype(float)
    assert count_jumps(steps[:, None], THRESHOLD, 5).tolist() == [3]
    stays = find_stays(block_means(steps[:, None], 5)[:, 0], THRESHOLD)
    assert [stay.blocks for stay in stays] == [10, 10, 10, 10]


def test_an_excursion_that_comes_back_at_once_is_no_jump():
    path = np.zeros((100, 1, 3))
    path[50:55] = 2.0
    assert count_jumps(path, THRESHOLD, 5).tolist() == [0]


def test_path_from_cage_to_cage_leaves_rattling_and_excursions_out():
    path = np.repeat([[0, 0, 0], [1.96, 0, 0], [1.96, 2.6, 0]], [40, 20, 40], axis=0).astype(float)
    rattling = 0.3 * np.where(np.arange(100) % 2, 1, -1)[:, None] * [0, 0, 1]
    excursion = np.where(np.arange(100) == 30, 2.0, 0.0)[:, None] * [0, 1, 0]
    np.testing.assert_allclose(cage_path(path + rattling + excursion, THRESHOLD), path, atol=0.02)


def test_blocks_cover_every_frame():
    path = np.random.default_rng(5).normal(size=(23, 2, 3))
    means = block_means(path, 5)
    np.testing.assert_allclose(means[0], path[:5].mean(axis=0))
    np.testing.assert_allclose(means[-1], path[15:].mean(axis=0))
    assert len(means) == 4


def test_path_shorter_than_a_block():
    assert count_jumps(np.zeros((3, 2, 3)), THRESHOLD, 10).tolist() == [0, 0]


def test_motion_of_the_origin_and_order_do_not_matter():
    positions, _ = trajectory(RATTLING | {T_O: 0.05, O_T: 0.025}, 5000, 0.02, 3, seed=6)
    counts = count_jumps(positions, THRESHOLD, 5)
    np.testing.assert_array_equal(count_jumps(positions[:, ::-1] + 100.0, THRESHOLD, 5), counts[::-1])
