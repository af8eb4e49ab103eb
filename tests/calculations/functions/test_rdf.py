"""Radial distribution functions from nodes."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from matscipy.neighbours import neighbour_list
from structure_runs import HOST_ATOMS, SETTINGS, make_host, make_run, make_runs, make_walks

from aiida_mghdiff.calculations.functions.rdf import radial_distributions

PAIRS = {'Mg_Mg', 'Mg_H', 'H_H'}
ON_SITES = {'Mg_H_octahedral', 'Mg_H_tetrahedral', 'H_H_random_sites'}


@pytest.fixture(scope='module')
def runs():
    return make_runs(replicas=2, frames=3000)[0]


@pytest.fixture(scope='module')
def result(aiida_profile, runs):
    return radial_distributions(orm.Dict(SETTINGS), make_host(1.02), **runs)


def with_coordination(names):
    return names | {f'{name}_coordination' for name in names}


def test_names_and_shapes(result):
    names = with_coordination(PAIRS | ON_SITES) | {'distances', 'H_H_over_random_sites'}
    assert set(result.get_arraynames()) == names
    assert {result.get_array(name).shape for name in names} == {(160,)}
    np.testing.assert_allclose(result.get_array('distances')[:2], [0.025, 0.075])


def test_g_of_host_and_tracers_is_that_of_the_full_frames(result, runs):
    counts, expected = np.zeros(160), 0.0
    for key, node in runs.items():
        if '_f' in key:
            for frame, cell in zip(node.get_positions(), node.get_cells(), strict=True):
                i, j, d = neighbour_list('ijd', Atoms(node.symbols, frame, cell=cell, pbc=True), 8.0)
                counts += np.histogram(d[(i < HOST_ATOMS) & (j >= HOST_ATOMS)], 160, (0, 8.0))[0]
                expected += HOST_ATOMS * 3 / np.linalg.det(cell)
    shells = 4 / 3 * np.pi * np.diff(np.linspace(0, 8.0, 161) ** 3)
    np.testing.assert_allclose(result.get_array('Mg_H'), counts / expected / shells, atol=1e-9)


def test_peaks_by_site_and_their_coordination(result):
    """Vibrations widen the peaks, but the first peak lies at the distance between site and host."""
    r = result.get_array('distances')
    shell = r < 2.9
    for kind, distance, number in (('tetrahedral', 1.95, 4), ('octahedral', 2.26, 6)):
        g = result.get_array(f'Mg_H_{kind}')
        assert r[shell][np.argmax(g[shell])] == pytest.approx(distance, abs=0.2)
        assert result.get_array(f'Mg_H_{kind}_coordination')[np.argmin(np.abs(r - 2.85))] == pytest.approx(
            number, abs=0.8
        )
    tetrahedral, octahedral = (result.get_array(f'Mg_H_{kind}') for kind in ('tetrahedral', 'octahedral'))
    near = np.argmin(np.abs(r - 1.6))
    assert tetrahedral[near] > result.get_array('Mg_H')[near] > octahedral[near]


def test_tracers_that_do_not_see_each_other_are_as_on_random_sites(result):
    """Only pairs on one site differ: the truth model has them, random sites do not."""
    ratio, r = result.get_array('H_H_over_random_sites'), result.get_array('distances')
    far = (r > 2.5) & (r < 8.0)
    weights = result.get_array('H_H_random_sites')[far] * r[far] ** 2
    assert np.average(ratio[far], weights=weights) == pytest.approx(1.0, abs=0.1)
    null = result.get_array('H_H_random_sites')
    assert np.isnan(ratio[null == 0]).all()


def test_without_a_host_nothing_is_resolved(runs, result):
    found = radial_distributions(orm.Dict(SETTINGS), **runs)
    assert set(found.get_arraynames()) == with_coordination(PAIRS) | {'distances'}
    np.testing.assert_array_equal(found.get_array('Mg_H'), result.get_array('Mg_H'))


def test_one_tracer_makes_no_pair(aiida_profile):
    found = radial_distributions(orm.Dict(SETTINGS), make_host(), **make_run(make_walks(frames=500, tracers=1)))
    assert not [name for name in found.get_arraynames() if name.startswith('H_H')]


def test_melt_has_a_g_but_no_sites(aiida_profile):
    nodes = make_run(make_walks(frames=500), melted=True)
    _, node = radial_distributions.run_get_node(orm.Dict(SETTINGS), make_host(), **nodes)
    assert node.exit_status == 222
    assert 'Mg_H' in radial_distributions(orm.Dict(SETTINGS), **nodes).get_arraynames()


def test_same_seed_gives_the_same_node(runs, result):
    again = radial_distributions(orm.Dict(SETTINGS), make_host(1.02), **runs)
    assert again.base.caching.get_hash() == result.base.caching.get_hash()
