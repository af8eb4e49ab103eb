"""The queries, on a study made by hand."""

from __future__ import annotations

import pytest
from aiida import orm
from models import write_sealed
from study_graph import Process, StudyGraph
from vasp_runs import make_force_field

from aiida_mghdiff import queries
from aiida_mghdiff.data.potential import PotentialData


@pytest.fixture(scope='module')
def graph():
    """Return a study of two MACE potentials, one fine-tuned from the other, with D at two temperatures."""
    runs = {'mace_ft': (700.0, 850.0)}
    return StudyGraph(labels=('mace_mp', 'mace_ft'), runs=runs, frames=250, configurations=2)


@pytest.fixture(scope='module')
def coefficients(graph):
    """Return the diffusion coefficients of the study, by temperature."""
    nodes = queries.diffusion_coefficients(graph.potentials['mace_ft'])
    return sorted(nodes, key=lambda node: node['temperature_k'])


def test_coefficients_of_a_potential(graph, coefficients):
    assert [node['temperature_k'] for node in coefficients] == pytest.approx([700, 850], rel=0.1)
    assert all('diffusion_coefficient_m2_s' in node.get_dict() for node in coefficients)
    assert queries.diffusion_coefficients(graph.potentials['mace_mp']) == []


def test_potential_of_every_kind_of_result(graph, coefficients):
    potential = graph.potentials['mace_ft']
    fits = queries.activation_energies(potential)
    assert len(fits) == 1
    assert fits[0]['temperatures_k'] == pytest.approx([node['temperature_k'] for node in coefficients], rel=2e-3)
    barriers = queries.barriers(potential)
    assert len(barriers) == 2
    for node in [*coefficients, *fits, *barriers]:
        assert queries.potential_of(node).uuid == potential.uuid
    assert queries.potential_of(potential) is potential


def test_potential_of_refuses_what_has_none_or_several(graph):
    with pytest.raises(ValueError, match='no potential'):
        queries.potential_of(graph.dataset)
    mixed = add(dict(graph.potentials), 1)
    with pytest.raises(ValueError, match='2 potentials'):
        queries.potential_of(mixed)


def test_all_rmses(graph):
    rows = {potential.uuid: (dataset, metrics) for potential, dataset, metrics in queries.all_rmses()}
    for label in ('mace_mp', 'mace_ft'):
        dataset, metrics = rows[graph.potentials[label].uuid]
        assert dataset.uuid == graph.test.uuid
        assert queries.potential_of(metrics).uuid == graph.potentials[label].uuid
    force = {label: rows[graph.potentials[label].uuid][1]['force_rmse_mev_per_angstrom'] for label in graph.potentials}
    assert force['mace_ft'] < force['mace_mp']


def test_lineage_leads_back_to_the_beginning(graph, coefficients):
    origin = queries.lineage(coefficients[-1])
    assert [file.uuid for file in origin.raw_files] == [graph.raw_file.uuid]
    assert [node.uuid for node in origin.potentials] == [
        graph.potentials[label].uuid for label in ('mace_ft', 'mace_mp')
    ]
    assert origin.datasets[-1].uuid == graph.dataset.uuid
    assert graph.test.uuid not in {node.uuid for node in origin.datasets}
    assert [code.uuid for code in origin.codes] == [graph.code.uuid]
    assert {'lammps.md', 'mace.train', 'split_dataset'} <= {node.process_label for node in origin.processes}
    seeds = {seed for values in origin.seeds.values() for seed in values}
    assert {11, 123, 8500, 8501, 8502} <= seeds
    assert not seeds & {7000, 7001, 7002}
    assert origin.versions['torch'] == ['2.13.0']
    assert origin.versions['aiida-mghdiff'] == ['0.1.0']


def test_lineage_of_a_node_without_any():
    origin = queries.lineage(orm.Int(1).store())
    assert origin == queries.Lineage([], [], [], [], [], {}, {})


def test_ancestry_visits_a_node_once_where_paths_are_many():
    """Two links lead from each segment to the next, so there are 256 paths."""
    node = orm.Int(0).store()
    for step in range(8):
        both = {'first': node, 'second': node}
        node = add(both, step)
    visited = [parent.pk for level in queries.ancestry(node) for parent in level]
    assert len(visited) == len(set(visited)) == 16


def add(inputs, value):
    """Return the result of a calculation on the inputs."""
    process = Process(orm.CalcFunctionNode, 'segment_parameters', inputs)
    result = orm.Int(value)
    process.close({'result': result})
    return result


def test_unrelated_potential_has_nothing(tmp_path):
    path = write_sealed(tmp_path / 'model')
    options = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    potential = PotentialData.from_file(path, **options).store()
    assert queries.diffusion_coefficients(potential) == []
    assert queries.activation_energies(potential) == []
    assert queries.barriers(potential) == []


def test_barrier_of_a_learned_force_field(aiida_profile, tmp_path):
    force_field, barrier = make_force_field(tmp_path).store(), orm.Dict({'forward_barrier_ev': 0.2})
    Process(orm.CalcJobNode, 'vasp.neb', {'force_field': force_field}).close({'results': barrier})
    assert [found.uuid for found in queries.barriers(force_field)] == [barrier.uuid]
