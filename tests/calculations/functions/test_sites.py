"""Statistics of sites from nodes; the number and the rates of the hops are known."""

from __future__ import annotations

import hops
import numpy as np
import pytest
from aiida import orm
from structure_runs import RATES, SETTINGS, make_host, make_run, make_runs, make_walks

from aiida_mghdiff.calculations.functions.sites import site_statistics
from aiida_mghdiff.data.tracers import TracerTrajectoryData
from aiida_mghdiff.science.lattice.hcp import CLASSES


@pytest.fixture(scope='module')
def runs():
    return make_runs(replicas=2)


@pytest.fixture(scope='module')
def result(aiida_profile, runs):
    return site_statistics(orm.Dict(SETTINGS), make_host(1.02), **runs[0]).get_dict()


def refused(host=None, settings=None, **nodes):
    host = make_host() if host is None else host
    _, node = site_statistics.run_get_node(orm.Dict(settings or SETTINGS), host, **nodes)
    assert not node.is_finished_ok
    return node.exit_status, node.exit_message


def test_jumps_are_those_of_the_paths(result, runs):
    """The jumps between cages agree; broad vibrations sometimes reach the other core of a pair."""
    lengths = [np.linalg.norm(np.diff(walk, axis=0), axis=-1) for walk in runs[1]]
    known = sum(np.sum(length > 1.5) for length in lengths)
    counts = result['jump_counts']
    assert set(counts) == set(CLASSES)
    assert sum(counts.values()) - counts['T-T'] == pytest.approx(known, rel=0.03)
    assert known > 50


def test_rates_and_occupancy(result):
    rates, errors = result['jump_rates_per_ps'], result['jump_rate_errors_per_ps']
    for name, rate in {'O-T': 6 * RATES['O-T'], 'T-O': 3 * RATES['T-O'], 'O-O c': 2 * RATES['O-O']}.items():
        assert abs(rates[name] - rate) < 4 * errors[name]
        assert errors[name] < rate
    assert rates['O-O ab'] == 0
    assert result['jump_rate_upper_bounds_per_ps']['O-O ab'] > 0
    assert sum(result['occupancy'].values()) == pytest.approx(1)
    assert (
        sum(result['total_times_ps'].values()) == pytest.approx(result['total_time_ps']) == pytest.approx(2 * 3 * 100)
    )
    truth = -8.617333262e-5 * 600 * np.log(RATES['O-T'] / RATES['T-O'])
    assert abs(result['free_energy_difference_ev'] - truth) < 4 * result['free_energy_difference_error_ev']
    leaving = sum(rates[name] for name in ('O-T', 'O-O c'))
    assert result['residence_times_ps']['O'] == pytest.approx(1 / leaving, rel=0.05)  # a few longer jumps
    assert set(result['residence_time_errors_ps']) == {'O', 'T', 'T pair'}


def test_what_the_runs_were(result):
    assert result['temperature_k'] == 600
    assert result['lattice_a_angstrom'] == pytest.approx(3.20)
    assert result['lattice_c_angstrom'] == pytest.approx(5.19)
    assert (result['n_replicas'], result['tracer_count'], result['frame_interval_ps']) == (2, 3, 0.02)
    assert result['host_displacement_angstrom'] == pytest.approx(0.12 * np.sqrt(3), rel=0.1)
    assert 0.5 < result['in_core_fraction'] < 0.95
    assert result['warnings'] == []


def test_wrapped_full_frames_change_nothing(runs):
    wrapped = make_run(runs[1][0], wrapped_frames=True)
    found = site_statistics(orm.Dict(SETTINGS), make_host(), **wrapped).get_dict()
    unwrapped = site_statistics(orm.Dict(SETTINGS), make_host(), **make_run(runs[1][0])).get_dict()
    assert found['jump_counts'] == unwrapped['jump_counts']


def test_tracers_that_stay_are_told(aiida_profile):
    nodes = make_run(make_walks(frames=500, rates={'T-T': 1.0}, seed=4))
    result = site_statistics(orm.Dict(SETTINGS), make_host(), **nodes).get_dict()
    assert result['free_energy_difference_ev'] is None
    assert 'no tracer changed' in result['warnings'][0]


def test_a_melt_is_refused():
    nodes = make_run(make_walks(frames=500), melted=True)
    status, message = refused(**nodes)
    assert status == 222
    assert 'melted' in message


def test_a_host_that_is_no_hcp_crystal_is_refused():
    atoms = make_host().get_ase()
    atoms.rattle(1.0, seed=1)
    assert refused(orm.StructureData(ase=atoms), **make_run(make_walks(frames=500)))[0] == 222


def test_nodes_that_do_not_belong_together():
    first = make_run(make_walks(frames=500))
    atoms = make_host().get_ase()
    status, message = refused(orm.StructureData(ase=atoms[:-1]), **first)
    assert (status, 'must have the atoms' in message) == (228, True)
    status, message = refused(**{key: node for key, node in first.items() if '_s' in key})
    assert (status, 'replica 0 has no full frames' in message) == (226, True)


@pytest.mark.parametrize(('changes', 'status'), [({'core_radius': 0.7}, 234), ({'core_radius': 0}, 220)])
def test_settings_that_do_not_fit(changes, status):
    assert refused(settings=SETTINGS | changes, **make_run(make_walks(frames=500)))[0] == status


def test_tracers_elsewhere_are_refused():
    nodes = make_run(make_walks(frames=500) + np.array([0.9, 0.0, 0.0]))
    assert refused(**nodes)[0] == 234


def test_wrapped_tracers_are_refused():
    nodes = make_run(make_walks(frames=3000), parts=1)
    whole = nodes['r0_s000']
    cell = whole.get_array('cell')
    wrapped = hops.wrap(whole.get_array('tracer_positions').astype(float), cell)
    arguments = {name: whole.base.attributes.get(name) for name in ('first_step', 'stride', 'time_step_fs', 'ensemble')}
    arguments |= {'tracer_element': 'H', 'host_elements': ['Mg'], 'mean_temperature_k': 600.0}
    centre = whole.get_array('host_centre')
    nodes['r0_s000'] = TracerTrajectoryData.from_arrays(wrapped, centre, cell=cell, **arguments)
    status, message = refused(**nodes)
    assert (status, 'wrapped' in message) == (233, True)
