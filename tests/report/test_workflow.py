"""The drawing of the workflow: no crowded layer, arrows downwards, no box over another or beyond the page."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from aiida_mghdiff.report.figures.canvas import PAGE
from aiida_mghdiff.report.figures.workflow import (
    GAP,
    MOST_BOXES,
    WIDTH,
    counts_text,
    layers_of,
    placed,
    with_placeholders,
)
from aiida_mghdiff.report.workflow_graph import Step, WorkflowGraph

LEAVES = [f'leaf {index}' for index in range(6)]
ARROWS = {('start', leaf) for leaf in LEAVES} | {('leaf 5', 'end'), ('start', 'end'), ('late', 'end')}
FLOW = WorkflowGraph({title: Step(title, {'kind': 1}) for title in ('start', 'late', *LEAVES, 'end')}, ARROWS)


@pytest.fixture
def layers():
    return layers_of(FLOW)


def test_arrows_lead_down_and_no_layer_is_too_full(layers):
    assert all(layers[a] < layers[b] for a, b in ARROWS)
    assert max(list(layers.values()).count(layer) for layer in layers.values()) == MOST_BOXES
    assert layers['leaf 5'] == 1
    assert (layers['start'], layers['late'], layers['end']) == (0, 0, 2)


def test_first_steps_stand_above_what_they_feed():
    steps = {title: Step(title, {}) for title in ('a', 'b', 'late', 'c')}
    graph = WorkflowGraph(steps, {('a', 'b'), ('b', 'c'), ('late', 'c')})
    assert layers_of(graph) == {
        'a': 0,
        'b': 1,
        'late': 1,
        'c': 2,
    }


def test_boxes_lie_beside_each_other_on_the_page(layers):
    arrows, chains = with_placeholders(ARROWS, layers)
    places = placed(layers, arrows)
    for layer in set(layers.values()):
        boxes = sorted(places[title] for title in FLOW.steps if layers[title] == layer)
        assert all(b - a >= WIDTH + GAP - 1e-9 for a, b in pairwise(boxes))
        assert max(np.abs(boxes)) + WIDTH / 2 <= PAGE / 2 + 1e-9
    assert ['start', 'end'] in [[chain[0], chain[-1]] for chain in chains if len(chain) > 2]


def test_kinds_are_counted_where_their_names_are_too_long():
    assert counts_text(Step('NVE', {'lammps.md': 9, 'ase.md': 3})) == '9 lammps.md, 3 ase.md'
    assert counts_text(Step('x', {'radial_distributions': 3, 'tracer_pairs': 3})) == '6 of 2 kinds'
