"""One potential with one content at two time steps: every figure and table keeps them apart."""

from __future__ import annotations

import matplotlib as mpl
import pytest
from figure_texts import misplaced_texts
from study_graph import StudyGraph

from aiida_mghdiff.report.diffusion import diffusion_section
from aiida_mghdiff.report.figures import draw_figures
from aiida_mghdiff.report.results import results_of
from aiida_mghdiff.report.study import Study
from aiida_mghdiff.report.style import RC

SERIES = ['mace_ft, 2 H, 1 fs', 'mace_ft, 2 H, 0.5 fs']


@pytest.fixture(scope='module')
def two_steps():
    """Return a study of one potential at 1.0 and 0.5 fs, each at two temperatures."""
    runs = {'mace_ft': (700.0, 850.0), ('mace_ft', 2, 0.5): (700.0, 850.0)}
    return Study(StudyGraph(labels=('mace_ft',), runs=runs, frames=250, configurations=2).node)


@pytest.fixture(scope='module')
def figures(two_steps):
    with mpl.rc_context(RC):
        return draw_figures(two_steps)


def test_series_are_apart(two_steps):
    assert {name: len(items) for name, items in two_steps.series.items()} == dict.fromkeys(SERIES, 2)
    assert [fit.series for fit in two_steps.arrhenius] == SERIES
    assert [fit.time_step_fs for fit in two_steps.arrhenius] == [1.0, 0.5]


def test_a_row_for_each_step(figures):
    axes = figures['conservation'].axes
    titles = [axis.get_title(loc='left') for axis in axes[::2]]
    assert titles == ['mace_ft, 1 fs, 850 K', 'mace_ft, 0.5 fs, 850 K']
    table = figures['coefficients'].axes[0]
    assert [label.get_text() for label in table.get_yticklabels()] == SERIES
    places = [text.get_position() for text in table.texts]
    assert len(places) == len(set(places)) == 6
    assert set(SERIES) <= set(figures['arrhenius'].axes[0].get_legend_handles_labels()[1])
    assert {key: texts for key, figure in figures.items() if (texts := misplaced_texts(figure))} == {}


def test_rows_of_results_and_tables_are_apart(two_steps):
    results = results_of(two_steps)
    keys = ('potential', 'tracer_count', 'time_step_fs')
    rows = [tuple(row[key] for key in (*keys, 'temperature_k')) for row in results['diffusion']]
    assert len(rows) == len(set(rows)) == 4
    assert {tuple(row[key] for key in keys) for row in results['arrhenius']} == {('mace_ft', 2, 1), ('mace_ft', 2, 0.5)}
    cells = diffusion_section(two_steps).tables[0].cells
    assert {row[0] for row in cells} == set(SERIES)
