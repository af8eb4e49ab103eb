"""Mean volume and scaling."""

import numpy as np
import pytest
from aiida import orm

from aiida_mghdiff.calculations.functions.volume import mean_volume, scale_state, scale_structure
from aiida_mghdiff.data.md_state import MdStateData


def series(steps, volumes):
    return orm.ArrayData({'steps': np.array(steps), 'volume_a3': np.array(volumes, float)})


@pytest.fixture
def state():
    rng = np.random.default_rng(1)
    cell = np.array([[5.0, 0, 0], [-2.5, 4.0, 0], [0, 0.5, 6.0]])
    return MdStateData.from_arrays(
        np.array([12, 12, 1]), cell, rng.normal(size=(3, 3)) * 10, rng.normal(size=(3, 3)), 77, restart=b'x', engine='e'
    )


def test_mean_leaves_out_the_start_whatever_the_order_of_segments():
    segments = {'b': series([0, 10], [500, 400]), 'a': series([20, 30], [110, 90])}
    assert mean_volume(orm.Dict({'discard_fraction': 0.5}), **segments).value == pytest.approx(100)
    assert mean_volume(orm.Dict({'discard_fraction': 0.0}), **segments).value == pytest.approx(275)


def test_state_is_scaled_with_fractional_coordinates_and_velocities_kept(state):
    scaled = scale_state(state, orm.Float(200.0))
    cell, old = scaled.get_array('cell'), state.get_array('cell')
    assert np.linalg.det(cell) == pytest.approx(200)
    np.testing.assert_allclose(
        scaled.get_array('positions') @ np.linalg.inv(cell), state.get_array('positions') @ np.linalg.inv(old)
    )
    np.testing.assert_array_equal(scaled.get_array('velocities'), state.get_array('velocities'))
    assert (scaled.step, scaled.has_restart_file) == (0, False)


def test_structure_is_scaled(state):
    structure = orm.StructureData(ase=state.get_atoms())
    scaled = scale_structure(structure, orm.Float(200.0))
    assert scaled.get_cell_volume() == pytest.approx(200)
    np.testing.assert_allclose(
        scaled.get_ase().get_scaled_positions(wrap=False), structure.get_ase().get_scaled_positions(wrap=False)
    )


@pytest.mark.parametrize('value', [0.0, -5.0])
def test_volume_that_makes_no_sense(state, value):
    for function, node in ((scale_state, state), (scale_structure, orm.StructureData(ase=state.get_atoms()))):
        _, process = function.run_get_node(node, orm.Float(value))
        assert process.exit_status == 220
        assert 'not a positive number' in process.exit_message


@pytest.mark.parametrize(
    ('segments', 'fraction', 'status', 'words'),
    [
        ({'a': ([0, 1], [1.0, np.nan])}, 0.0, 221, 'volume_a3 has 1 of 2'),
        ({'a': ([], [])}, 0.0, 224, 'no volume'),
        ({}, 0.0, 224, 'no volume'),
        ({'a': ([0], [1.0])}, 1.0, 220, 'discard_fraction'),
    ],
)
def test_series_that_have_no_mean(segments, fraction, status, words):
    thermo = {key: series(*values) for key, values in segments.items()}
    _, node = mean_volume.run_get_node(orm.Dict({'discard_fraction': fraction}), **thermo)
    assert node.exit_status == status
    assert words in node.exit_message
