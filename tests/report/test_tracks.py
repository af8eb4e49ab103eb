"""The path of one tracer: its choice, its two ends, and the host atoms around it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aiida_mghdiff.report.interactive import track_figure
from aiida_mghdiff.report.tracks import MOST_POINTS, nearby, read_track, typical_tracer


@pytest.fixture(scope='module')
def track(study):
    return read_track(study)


def test_path_is_that_of_a_stored_trajectory(track):
    (tracers,) = track.run.outputs('tracers')
    positions = tracers.get_array('tracer_positions')[:, track.tracer] - tracers.get_array('host_centre')
    assert track.diffusion.target_temperature_k == 850
    np.testing.assert_allclose(track.positions, positions, atol=1e-5)
    assert track.times_ps[0] == 0
    assert len(track.times_ps) <= MOST_POINTS
    assert tracers.uuid in [node.uuid for node in track.nodes]


def test_host_atoms_are_the_lattice_around_the_path(track):
    distances = np.linalg.norm(track.host[:, None] - track.host, axis=-1)
    nearest = distances[distances > 0].min()
    assert nearest == pytest.approx(3.2, abs=0.2)
    assert np.linalg.norm(track.host[:, None] - track.positions, axis=-1).min(axis=1).max() < 2.3


def test_typical_tracer_is_in_the_middle():
    positions = np.zeros((2, 3, 3))
    positions[1, :, 0] = [5.0, 0.1, 1.0]
    assert typical_tracer(positions) == 2


def test_nearby_finds_images():
    found = nearby(np.zeros((1, 3)), 4 * np.eye(3), np.array([[9.0, 8.0, 8.0]]))
    np.testing.assert_allclose(found, [[8, 8, 8]])


def test_turnable_figure_has_the_path(track):
    figure = json.loads(track_figure(track))
    assert [trace['type'] for trace in figure['data']] == ['scatter3d'] * 4
    assert figure['layout']['scene']['aspectmode'] == 'data'
    assert len(track_figure(track)) < 300_000
