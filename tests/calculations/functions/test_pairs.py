"""Numbers of pairs from nodes, against chance."""

from __future__ import annotations

import hops
import numpy as np
import pytest
from aiida import orm
from structure_runs import RATES, REPEATS, SETTINGS, make_host, make_run, make_walks

from aiida_mghdiff.calculations.functions.pairs import tracer_pairs
from aiida_mghdiff.science.rdf import count_close_pairs

FAST = {'T-T': 5.0, 'T-O': 4.0, 'O-T': 2.0, 'O-O': 1.0}


def make_crowds(energy, replicas=2, frames=5000):
    """Return nodes of tracers that never share a site and attract each other within 2.7 Å."""
    network, nodes = hops.Network(FAST, REPEATS), {}
    energies = hops.pair_energies(network, [(1.5, max(energy, 0.0)), (2.7, energy)])
    for replica in range(replicas):
        walks = hops.crowd(network, energies, np.random.default_rng(replica), frames, 0.02, 4)
        nodes |= make_run(walks, replica)
    return nodes


@pytest.fixture(scope='module')
def free(aiida_profile):
    nodes = make_crowds(0.0)
    return nodes, tracer_pairs(orm.Dict(SETTINGS), make_host(), **nodes).get_dict()


def test_counts_are_those_of_the_tracers(free):
    nodes, result = free
    tracers = [node for key, node in sorted(nodes.items()) if '_s' in key]
    counts = np.concatenate(
        [count_close_pairs(node.get_array('tracer_positions'), node.get_array('cell'), 3.0) for node in tracers]
    )
    assert result['mean_pairs'] == pytest.approx(counts.mean())
    observed = np.bincount(counts, minlength=len(result['observed'])) / len(counts)
    np.testing.assert_allclose(result['observed'], observed)
    assert result['numbers_of_pairs'] == list(range(len(result['observed'])))
    assert (result['n_frames'], result['tracer_count'], result['cutoff_angstrom']) == (10000, 4, 3.0)
    for name in ('observed', 'poisson', 'random_sites'):
        assert sum(result[name]) == pytest.approx(1)


def test_free_tracers_are_as_by_chance_on_sites(free):
    _, result = free
    assert result['random_sites_test']['p_value'] > 0.01
    assert not result['random_sites_test']['rejected']
    assert result['mean_pairs'] == pytest.approx(result['mean_pairs_random_sites'], abs=4 * result['mean_pairs_error'])
    assert 20 < result['effective_sample_size'] < 5000
    assert result['correlation_time_ps'] == pytest.approx(10000 * 0.02 / 2 / result['effective_sample_size'])


def test_attraction_is_seen():
    result = tracer_pairs(orm.Dict(SETTINGS), make_host(), **make_crowds(-2.0)).get_dict()
    assert result['random_sites_test']['rejected']
    assert result['mean_pairs'] > 1.5 * result['mean_pairs_random_sites']


def test_without_a_host_there_is_poisson_alone(free):
    nodes, result = free
    found = tracer_pairs(orm.Dict(SETTINGS), **nodes).get_dict()
    assert (found['random_sites'], found['random_sites_test'], found['mean_pairs_random_sites']) == (None, None, None)
    assert found['poisson'][0] == pytest.approx(result['poisson'][0])
    assert found['poisson_test'] is not None


def test_short_runs_are_told(aiida_profile):
    result = tracer_pairs(orm.Dict(SETTINGS), make_host(), **make_run(make_walks(frames=500, rates=RATES))).get_dict()
    assert result['random_sites_test'] is None
    assert 'independent frames' in result['warnings'][0]


def test_tracers_that_are_never_a_pair():
    """If the number of pairs never changes, its error is unknown and not 0.0."""
    settings = orm.Dict(SETTINGS | {'pair_cutoff': 0.01})
    result = tracer_pairs(settings, make_host(), **make_run(make_walks(frames=500, rates=RATES))).get_dict()
    assert result['mean_pairs'] == 0
    for name in ('mean_pairs_error', 'correlation_time_ps', 'effective_sample_size', 'poisson_test'):
        assert result[name] is None
    assert 'the same number of pairs' in result['warnings'][0]


def test_one_tracer_is_refused(aiida_profile):
    _, node = tracer_pairs.run_get_node(orm.Dict(SETTINGS), make_host(), **make_run(make_walks(frames=500, tracers=1)))
    assert node.exit_status == 228
    assert 'single tracer' in node.exit_message
