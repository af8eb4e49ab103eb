"""Density of tracers from nodes."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from structure_runs import SETTINGS, make_host, make_run, make_runs, make_walks

from aiida_mghdiff.calculations.functions.density import tracer_density


@pytest.fixture(scope='module')
def result(aiida_profile):
    return tracer_density(orm.Dict(SETTINGS), make_host(), **make_runs(replicas=2, frames=4000)[0])


def test_density_integrates_to_one_over_the_unit_cell(result):
    density, cell = result.get_array('density'), result.get_array('cell')
    assert density.shape == (16, 16, 26)
    assert density.mean() * np.linalg.det(cell) == pytest.approx(1)
    np.testing.assert_allclose(np.linalg.norm(cell, axis=1), [3.20, 3.20, 5.19], rtol=1e-5)


def test_tracers_are_at_the_sites_and_not_at_the_host(result):
    density, cell = result.get_array('density'), result.get_array('cell')
    mean = {}
    for name, count in (('host_positions', 2), ('octahedral', 2), ('tetrahedral', 4)):
        points = result.get_array(name)
        assert points.shape == (count, 3)
        bins = np.floor(points @ np.linalg.inv(cell) * density.shape + 1e-6).astype(int) % density.shape
        mean[name] = density[tuple(bins.T)].mean()
    assert mean['host_positions'] < 1e-3
    assert min(mean['octahedral'], mean['tetrahedral']) > 3 * density.mean()


def test_sites_lie_between_the_host_atoms(result):
    cell = result.get_array('cell')
    shifts = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]) @ cell
    host = (result.get_array('host_positions') + shifts[:, None]).reshape(-1, 3)
    for name, distance in (('octahedral', 2.26), ('tetrahedral', 1.95)):
        nearest = np.linalg.norm(result.get_array(name)[:, None] - host, axis=-1).min(axis=1)
        assert nearest == pytest.approx(distance, abs=0.02)


def test_a_melt_is_refused(aiida_profile):
    _, node = tracer_density.run_get_node(
        orm.Dict(SETTINGS), make_host(), **make_run(make_walks(frames=500), melted=True)
    )
    assert node.exit_status == 222
