"""The graph of a study: steps, and the data flow between them."""

from __future__ import annotations

from aiida_mghdiff.report.workflow_graph import GIVEN, ordered, read_workflow_graph, reduced, through


def test_steps_and_arrows_are_those_of_the_graph(study):
    graph = read_workflow_graph(study)
    assert graph.steps['NVE: trajectories'].counts == {'lammps.md': 6}
    assert graph.steps['Fit D'].counts == {'diffusion_coefficient': 2}
    assert graph.steps[GIVEN].counts == {'chgnet': 1}
    expected = [('Read configurations', 'Split the dataset'), ('Split the dataset', 'Train MACE')]
    expected += [('Train MACE', 'NVE: trajectories'), ('NVE: trajectories', 'Fit D'), ('Fit D', 'Fit Ea')]
    expected += [(GIVEN, 'Predict'), ('Train MACE', 'Predict'), ('Predict', 'Compare with labels')]
    assert set(expected) <= graph.arrows
    assert ('Split the dataset', 'Predict') not in graph.arrows


def test_steps_without_a_title_are_passed_through():
    links = {(1, 2), (2, 3), (3, 4), (1, 4)}
    assert through(links, {1: 'a', 2: None, 3: None, 4: 'b'}) == {('a', 'b')}
    assert through({(1, 2)}, {1: 'a', 2: 'a'}) == set()


def test_a_cycle_loses_one_arrow():
    order, arrows = ordered({('a', 'b'), ('b', 'c'), ('c', 'b')}, ['a', 'b', 'c'])
    assert order[0] == 'a'
    assert len(arrows) == 1
    assert ordered({('a', 'b')}, ['b', 'a']) == (['a', 'b'], {('a', 'b')})


def test_implied_arrows_are_left_out():
    assert reduced({('a', 'b'), ('b', 'c'), ('a', 'c')}, ['a', 'b', 'c']) == {('a', 'b'), ('b', 'c')}
