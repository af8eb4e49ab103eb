"""End points of the named paths."""

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk

from aiida_mghdiff.calculations.functions.paths import path_endpoints
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
