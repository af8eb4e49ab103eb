"""The numbers of a study: the schema of results.json, missing values, the table."""

from __future__ import annotations

import json

import pytest
from aiida import orm

from aiida_mghdiff.report import result_table, study_results
from aiida_mghdiff.report.results import directions

KEYS = {
    'potentials': ['label', 'architecture', 'origin', 'uuid'],
    'rmse': ['potential', 'energy_mev_per_atom', 'force_mev_per_angstrom', 'n_configurations', 'source', 'uuid'],
    'barriers': ['potential', 'path', 'barrier_ev', 'reason', 'uuid'],
    'diffusion': [
        'potential',
        'temperature_k',
        'tracer_count',
        'time_step_fs',
        'diffusion_coefficient_m2_s',
        'ci95_m2_s',
        'diffusing',
        'upper_bound_m2_s',
        'n_replicas',
        'uuid',
    ],
    'arrhenius': ['potential', 'tracer_count', 'time_step_fs', 'activation_energy_ev', 'ci95_ev', 'uuid'],
}


@pytest.fixture(scope='module')
def results(graph):
    return study_results(graph.node)


@pytest.fixture(scope='module')
def broken_results(broken_graph):
    return study_results(broken_graph.node)


def test_schema(results):
    assert list(results) == list(KEYS)
    for name, keys in KEYS.items():
        assert results[name], name
        assert all(list(row) == keys for row in results[name])
    labels = {row['label'] for row in results['potentials']}
    assert all(row['potential'] in labels for name in list(KEYS)[1:] for row in results[name])
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_every_uuid_holds_the_numbers_of_its_row(results):
    for row in results['diffusion']:
        node = orm.load_node(row['uuid'])
        for key in ('diffusion_coefficient_m2_s', 'ci95_m2_s', 'n_replicas', 'diffusing'):
            assert row[key] == node[key]
        assert row['temperature_k'] == pytest.approx(node['temperature_k'], rel=0.1)
    for row in results['rmse']:
        node = orm.load_node(row['uuid'])
        assert row['energy_mev_per_atom'] == node['energy_rmse_shifted_mev_per_atom']
    for row in results['potentials']:
        assert orm.load_node(row['uuid']).architecture == row['architecture']


def test_order_and_directions(results):
    assert [row['label'] for row in results['potentials']] == ['mace_ft', 'chgnet_mp']
    assert [row['temperature_k'] for row in results['diffusion']] == [700.0, 850.0]
    assert [row['path'] for row in results['barriers']] == ['O->T', 'T->O', 'T->T', 'T->T'] * 2
    forward, reverse = (row['barrier_ev'] for row in results['barriers'][:2])
    assert forward > reverse
    assert directions('O-O c') == ('O->O c', 'O->O c')


def test_what_failed_has_no_row_and_takes_nothing_along(broken_results):
    assert [row['label'] for row in broken_results['potentials']] == ['mace_mp']
    assert broken_results['rmse'] == []
    assert broken_results['barriers'] == []
    assert broken_results['arrhenius'] == []
    (row,) = broken_results['diffusion']
    assert (row['temperature_k'], row['diffusing']) == (600.0, False)
    assert row['diffusion_coefficient_m2_s'] is None
    assert row['ci95_m2_s'] is None
    assert row['upper_bound_m2_s'] > 0


def test_table(results, broken_results):
    text = result_table(results)
    for word in ('Errors', 'Barriers', 'Diffusion coefficients', 'Activation energies', 'O->T', 'm²/s'):
        assert word in text
    assert all(row['uuid'][:8] in text for name in list(KEYS)[1:] for row in results[name])
    assert max(map(len, text.splitlines())) <= 100
    text = result_table(broken_results)
    assert '< ' in text
    assert 'Barriers' not in text
