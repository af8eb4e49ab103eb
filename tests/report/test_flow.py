"""The flow of a study: what feeds what."""

from __future__ import annotations

from aiida_mghdiff.report.flow import GIVEN, ordered, read_flow, reduced, through


def test_steps_and_arrows_are_those_of_the_graph(study):
    flow = read_flow(study)
    assert flow.steps['NVE: trajectories'].counts == {'lammps.md': 6}
    assert flow.steps['Fit D'].counts == {'diffusion_coefficient': 2}
    assert flow.steps[GIVEN].counts == {'chgnet': 1}
    expected = [('Read configurations', 'Split the dataset'), ('Split the dataset', 'Train MACE')]
    expected += [('Train MACE', 'NVE: trajectories'), ('NVE: trajectories', 'Fit D'), ('Fit D', 'Fit Ea')]
    expected += [(GIVEN, 'Predict'), ('Train MACE', 'Predict'), ('Predict', 'Compare with labels')]
    assert set(expected) <= flow.arrows
    assert ('Split the dataset', 'Predict') not in flow.arrows


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
