"""Perspective: near objects are large and in front."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_mghdiff.report.figures.scene import View, cell_edges, view_of


def test_projection_along_x():
    view = View(azimuth=0, elevation=0, centre=np.zeros(3), distance=10.0)
    points = np.array([[0.0, 1.0, 2.0], [5.0, 1.0, 2.0], [-10.0, 1.0, 2.0]])
    places, depths, scales = view.project(points)
    np.testing.assert_allclose(depths, [0, -5, 10])
    np.testing.assert_allclose(scales, [1, 2, 0.5])
    np.testing.assert_allclose(places, [[1, 2], [2, 4], [0.5, 1]])


def test_camera_keeps_its_distance():
    view = view_of(np.array([[0.0, 0, 0], [4, 4, 4]]), 30, 20)
    np.testing.assert_allclose(view.centre, [2, 2, 2])
    assert view.distance == pytest.approx(3 * np.sqrt(48))


def test_edges_of_a_cell():
    cell = np.array([[3.0, 0, 0], [-1.5, 2.6, 0], [0, 0, 5.2]])
    lengths = np.linalg.norm(np.diff(cell_edges(cell), axis=1)[:, 0], axis=1)
    expected = np.repeat(np.linalg.norm(cell, axis=1), 4)
    np.testing.assert_allclose(np.sort(lengths), np.sort(expected))
