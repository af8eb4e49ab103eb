"""Two studies made by hand: a complete one, and one with many failures."""

from __future__ import annotations

import pytest
from study_graph import StudyGraph

from aiida_mghdiff.report import write_report
from aiida_mghdiff.report.study import Study


@pytest.fixture(scope='package')
def graph():
    """Return a study with two potentials and D at two temperatures."""
    runs = {'mace_ft': (700.0, 850.0)}
    return StudyGraph(labels=('chgnet_mp', 'mace_ft'), runs=runs, frames=250, configurations=4)


@pytest.fixture(scope='package')
def study(graph):
    """Return this study as the report reads it."""
    return Study(graph.node)


@pytest.fixture(scope='package')
def folder(graph, tmp_path_factory):
    """Return the folder of this study's report."""
    folder = tmp_path_factory.mktemp('report') / 'demo'
    write_report(graph.node, folder)
    return folder


@pytest.fixture(scope='package')
def broken_graph():
    """Return a study in which one child of each kind failed, and nothing diffused at 600 K."""
    broken = ('train_mace_tr', 'evaluate_mace_mp', 'barrier_mace_mp_o_t', 't850k_nve1')
    runs = {'mace_mp': (600.0, 850.0)}
    options = {'frames': 250, 'configurations': 2, 'frozen': (600.0,), 'broken': broken, 'runs': runs}
    return StudyGraph(labels=('mace_mp', 'mace_tr'), **options)


@pytest.fixture(scope='package')
def broken_study(broken_graph):
    """Return this study as the report reads it."""
    return Study(broken_graph.node)
