"""End points of the named paths."""

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk

from aiida_mghdiff.calculations.functions.paths import interpolate_path, path_endpoints
from aiida_mghdiff.calculations.functions.supercell import build_hcp


@pytest.fixture(scope='module')
def host():
    return build_hcp(orm.Dict({'element': 'Mg', 'a': 3.20, 'c': 5.19, 'repeats': [2, 2, 2]}))


@pytest.mark.parametrize(('path', 'length'), [('O-O c', 2.595), ('O-O ab', 3.2), ('O-T', 1.958), ('T-T', 1.2975)])
def test_ends_of_a_path(host, path, length):
    ends = path_endpoints(host, orm.Dict({'tracer_element': 'H', 'path': path}))
    initial, final = ends['initial'].get_ase(), ends['final'].get_ase()
    assert initial.get_chemical_formula() == 'HMg16'
    np.testing.assert_array_equal(initial.positions[:-1], final.positions[:-1])
    np.testing.assert_array_equal(initial.cell, host.get_ase().cell)
    assert np.linalg.norm(final.positions[-1] - initial.positions[-1]) == pytest.approx(length, abs=1e-3)


def test_unknown_path(host):
    _, node = path_endpoints.run_get_node(host, orm.Dict({'tracer_element': 'H', 'path': 'O-X'}))
    assert node.exit_status == 220
    assert 'O-O ab' in node.exit_message


def test_host_that_is_not_hcp():
    host = orm.StructureData(ase=bulk('Al', 'fcc', a=4.05, cubic=True))
    _, node = path_endpoints.run_get_node(host, orm.Dict({'tracer_element': 'H', 'path': 'O-T'}))
    assert node.exit_status == 222
    assert 'not hcp' in node.exit_message


SETTINGS = {'n_images': 3, 'interpolation': 'idpp', 'minimum_endpoint_distance_angstrom': 0.3}


def test_ends_off_the_symmetry_axes(host):
    settings = orm.Dict({'tracer_element': 'H', 'path': 'O-T'})
    straight, shifted = path_endpoints(host, settings), path_endpoints(host, settings, orm.Float(0.02))
    for name in ('initial', 'final'):
        shift = shifted[name].get_ase().positions - straight[name].get_ase().positions
        assert np.linalg.norm(shift[-1]) == pytest.approx(0.02)
        assert len(set(shift[-1].round(6))) == 3
        np.testing.assert_array_equal(shift[:-1], 0.0)


@pytest.mark.parametrize(('interpolation', 'nearest'), [('linear', 1.60), ('idpp', 1.86)])
def test_images_between_the_ends(host, interpolation, nearest):
    """A straight line leads between two Mg that touch; image-dependent pair potentials lead around them."""
    ends = path_endpoints(host, orm.Dict({'tracer_element': 'H', 'path': 'O-O ab'}))
    images = interpolate_path(**ends, settings=orm.Dict(SETTINGS | {'interpolation': interpolation}))['images']
    positions = images.get_positions()
    assert images.numsteps == 5
    assert list(images.symbols) == ['Mg'] * 16 + ['H']
    np.testing.assert_allclose(positions[0], ends['initial'].get_ase().positions)
    saddle = host.get_ase()
    saddle.positions = positions[2, :-1]
    saddle.append('H')
    saddle.positions[-1] = positions[2, -1]
    assert saddle.get_distances(-1, range(16), mic=True).min() == pytest.approx(nearest, abs=0.03)


def test_images_take_the_short_way_through_the_cell(host):
    ends = path_endpoints(host, orm.Dict({'tracer_element': 'H', 'path': 'O-O c'}))
    final = ends['final'].get_ase()
    final.wrap(eps=0.3)
    final.positions[3] += final.cell[0]
    images = interpolate_path(ends['initial'], orm.StructureData(ase=final), orm.Dict(SETTINGS))['images']
    assert np.abs(np.diff(images.get_positions(), axis=0)).max() < 1.5


def test_refused_ends(host):
    ends = path_endpoints(host, orm.Dict({'tracer_element': 'H', 'path': 'O-T'}))
    _, node = interpolate_path.run_get_node(ends['initial'], ends['initial'], orm.Dict(SETTINGS))
    assert (node.exit_status, 'one minimum' in node.exit_message) == (229, True)
    _, node = interpolate_path.run_get_node(ends['initial'], host, orm.Dict(SETTINGS))
    assert (node.exit_status, 'same atoms' in node.exit_message) == (228, True)
    _, node = interpolate_path.run_get_node(**ends, settings=orm.Dict(SETTINGS | {'n_images': 0}))
    assert node.exit_status == 220
