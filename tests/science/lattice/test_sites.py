"""Jumps between sites on the truth model, where every hop is known."""

from __future__ import annotations

import hops
import numpy as np
import pytest
from hops import O_O, O_T, T_O, T_T
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aiida_mghdiff.science.lattice.geometry import SitesError
from aiida_mghdiff.science.lattice.sites import find_jumps, offsets_from_sites
from aiida_mghdiff.science.positions import PositionsError

RATES = {T_T: 1.0, T_O: 0.5, O_T: 0.25, O_O: 0.2}
INTERVAL = 0.01
QUIET = {'fast': 0.12, 'slow': 0.08}


@pytest.fixture(scope='module')
def network():
    return hops.Network(RATES)


def make_walks(network, frames=4000, tracers=6, seed=1):
    """Return paths [f,n,3] without vibrations."""
    return network.walks(np.random.default_rng(seed), frames, INTERVAL, tracers)


def known_jumps(walks):
    """Return frames, tracers and vectors of the jumps of a path without vibrations, by tracer and time."""
    steps = np.diff(walks, axis=0)
    tracers, frames = np.nonzero((np.abs(steps) > 1e-9).any(axis=-1).T)
    return frames + 1, tracers, steps[frames, tracers]


def shake(walks, seed=2, **amplitudes):
    return walks + hops.vibrations(np.random.default_rng(seed), *walks.shape[:2], INTERVAL, **amplitudes)


def test_path_without_vibrations_gives_every_jump(network):
    walks = make_walks(network)
    jumps = find_jumps(walks, network.sites, network.cell)
    frames, tracers, vectors = known_jumps(walks)
    assert len(jumps) == len(frames) > 300
    np.testing.assert_array_equal(jumps.frames, frames)
    np.testing.assert_array_equal(jumps.tracers, tracers)
    np.testing.assert_allclose(jumps.vectors, vectors, atol=1e-9)
    assert jumps.in_core == 1.0
    offsets = offsets_from_sites(walks, network.sites, network.cell, jumps.occupied)
    assert np.abs(offsets).max() < 1e-9


@pytest.mark.parametrize(('amplitudes', 'tolerance'), [(QUIET, 0), ({}, 0.005)])
def test_jumps_between_cages_are_found(amplitudes, tolerance):
    """With broad vibrations a tracer may cross the core of another site on its way."""
    network = hops.Network({T_T: 0.5, T_O: 0.03, O_T: 0.02, O_O: 0.02})
    walks = make_walks(network, frames=100000)
    jumps = find_jumps(shake(walks, **amplitudes), network.sites, network.cell)
    known, found = (np.linalg.norm(vectors, axis=1) for vectors in (known_jumps(walks)[2], jumps.vectors))
    assert np.sum(known > 1.5) > 300
    assert np.sum(found > 1.5) == pytest.approx(np.sum(known > 1.5), rel=tolerance, abs=0)


def test_without_hysteresis_there_would_be_more(network):
    walks = make_walks(network)
    positions = shake(walks)
    shifts = positions[:, :, None] - network.sites
    shifts -= np.round(shifts @ np.linalg.inv(network.cell)) @ network.cell
    nearest = np.argmin(np.square(shifts).sum(axis=-1), axis=-1)
    assert np.sum(nearest[1:] != nearest[:-1]) > 1.2 * len(find_jumps(positions, network.sites, network.cell))


@pytest.mark.parametrize('core_radius', [0.3, 0.4, 0.5, 0.6])
def test_core_radius_does_not_matter_for_narrow_vibrations(network, core_radius):
    walks = make_walks(network)
    jumps = find_jumps(shake(walks, fast=0.05, slow=0.03), network.sites, network.cell, core_radius)
    assert len(jumps) == len(known_jumps(walks)[0])


def test_frames_before_the_first_core_belong_to_it(network):
    path = np.repeat(network.sites[[0]], 20, axis=0)[:, None]
    path[:5] += [0.6, 0.0, 0.0]
    assert find_jumps(path, network.sites, network.cell).occupied.ravel().tolist() == [0] * 20


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_rotation_cell_choice_and_labels_do_not_matter(seed):
    network, rng = hops.Network(RATES), np.random.default_rng(seed)
    positions = shake(make_walks(network, 1000, 3, seed), seed, **QUIET)
    jumps = find_jumps(positions, network.sites, network.cell)
    rotation, order = Rotation.random(rng=rng).as_matrix(), rng.permutation(len(network.sites))
    images = rng.integers(-2, 3, size=(3, 3)) @ network.cell
    sites = (network.sites + rng.integers(-1, 2, size=network.sites.shape) @ network.cell)[order] @ rotation
    cell = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]]) @ network.cell @ rotation
    again = find_jumps((positions + images) @ rotation, sites, cell)
    np.testing.assert_array_equal(order[again.occupied], jumps.occupied)
    np.testing.assert_allclose(again.vectors, jumps.vectors @ rotation, atol=1e-9)


def test_single_precision_is_enough(network):
    positions = shake(make_walks(network)) + 40 * network.cell[0]
    single = find_jumps(positions.astype('f4'), network.sites, network.cell)
    np.testing.assert_array_equal(single.frames, find_jumps(positions, network.sites, network.cell).frames)


def test_sites_that_do_not_fit(network):
    positions = shake(make_walks(network))
    with pytest.raises(SitesError, match='do not fit'):
        find_jumps(positions, 1.2 * network.sites, 1.2 * network.cell)
    with pytest.raises(SitesError, match=r'off their sites|do not fit'):
        find_jumps(positions + np.array([0.0, 0.0, 0.6]), network.sites, network.cell)
    with pytest.raises(SitesError, match='off their sites'):
        find_jumps(positions + np.array([0.35, 0.0, 0.0]), network.sites, network.cell)
    with pytest.raises(SitesError, match='tracer 0 never comes'):
        find_jumps(network.sites[None, 1:2], network.sites[:1], network.cell)


def test_sites_of_another_shape(network):
    with pytest.raises(SitesError, match=r'as \[sites, 3'):
        find_jumps(network.sites[None], network.sites[0], network.cell)


@pytest.mark.parametrize('radius', [0.0, -1.0, 0.65])
def test_cores_that_overlap_or_vanish(network, radius):
    with pytest.raises(SitesError, match=r'less than 0\.65 Å'):
        find_jumps(np.zeros((2, 1, 3)), network.sites, network.cell, radius)


def test_wrapped_positions_are_refused(network):
    positions = shake(make_walks(network)) + hops.drift(np.random.default_rng(1), 4000, 0.5)[:, None]
    with pytest.raises(PositionsError, match='wrapped'):
        find_jumps(hops.wrap(positions, network.cell), network.sites, network.cell)


@pytest.mark.parametrize(
    ('positions', 'words'),
    [
        (np.zeros((4, 3)), r'as \[frames, tracers, 3\]'),
        (np.zeros((0, 2, 3)), 'as .frames, tracers, 3'),
        (np.full((4, 2, 3), np.nan), 'finite'),
    ],
)
def test_bad_positions(network, positions, words):
    with pytest.raises(PositionsError, match=words):
        find_jumps(positions, network.sites, network.cell)
