"""Each D has its interval in cards, tables and figures, and in results of an older version."""

from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from aiida import orm
from figure_texts import misplaced_texts

from aiida_mghdiff.report.diffusion import diffusion_section, interval, relative_limits, worth_section
from aiida_mghdiff.report.figures.arrhenius import draw_arrhenius
from aiida_mghdiff.report.figures.canvas import scientific, shared_exponent
from aiida_mghdiff.report.figures.coefficients import draw_coefficients
from aiida_mghdiff.report.figures.displacements import draw_displacements, draw_windows
from aiida_mghdiff.report.results import diffusion_row, result_table, results_of
from aiida_mghdiff.report.sections import headlines
from aiida_mghdiff.report.study import Study
from aiida_mghdiff.report.style import RC

NEW = ('replica_ci95_m2_s', 'collective_ci95_m2_s', 'haven_ratio_ci95', 'd_ab_ci95_m2_s', 'd_c_ci95_m2_s')
DRAW = (draw_coefficients, draw_arrhenius, draw_displacements, draw_windows)


@pytest.fixture
def old_study(graph):
    """Return a study as an older version stored it; its first D has a symmetric interval that reaches below zero."""
    study = Study(graph.node)
    values = {key: value for key, value in study.diffusion[0].results.get_dict().items() if key not in NEW}
    value = values['diffusion_coefficient_m2_s']
    values['ci95_m2_s'] = [-0.2 * value, 2.2 * value]
    items = [replace(study.diffusion[0], results=orm.Dict(values)), *study.diffusion[1:]]
    study.__dict__['diffusion'] = items
    study.__dict__['series'] = {items[0].series: items}
    return study


def test_all_limits_are_positive(study):
    for item in study.diffusion:
        results = item.results
        limits = [results['ci95_m2_s'], *results['per_axis_ci95_m2_s'], *results['replica_ci95_m2_s']]
        limits += [results[key] for key in NEW[1:]]
        limits += [estimate['ci95_m2_s'] for estimate in results['estimates'].values()]
        assert all(0 < low < high for low, high in filter(None, limits))
        low, high = results['ci95_m2_s']
        assert low < results['diffusion_coefficient_m2_s'] < high


def test_cards_and_tables_have_each_interval(study):
    item = study.diffusion[0]
    text = interval(item.results['ci95_m2_s'])
    cards = {card['uuid']: card['detail'] for card in headlines(study)}
    assert text in cards[item.results.uuid]
    tables = {table.title: str(table.cells) for table in diffusion_section(study).tables}
    assert text in tables['']
    assert interval(item.results['replica_ci95_m2_s'][0]) in tables['Replicas']
    assert interval(item.results['d_c_ci95_m2_s']) in tables['Directions, and tracers together, with 95 % intervals']
    assert ' to ' in tables['Arrhenius fits'].split(scientific(study.arrhenius[0].results['prefactor_m2_s']))[1]
    assert ' % to ' not in str(worth_section(study).tables[0].cells)
    low, high = (100 * (limit / item.results['diffusion_coefficient_m2_s'] - 1) for limit in item.results['ci95_m2_s'])
    assert relative_limits(item) == f'−{-low:.0f} to +{high:.0f} %'


def test_figures_have_each_interval(study):
    with mpl.rc_context(RC):
        table, _, msd, _ = (draw(study) for draw in DRAW)
    for item in study.diffusion:
        value, limits = item.results['diffusion_coefficient_m2_s'], item.results['ci95_m2_s']
        assert any(shared_exponent(value, limits) in text.get_text() for text in table.axes[0].texts)
        assert any(f'95 %: {interval(limits)}' in text.get_text() for axis in msd.axes for text in axis.texts)


def test_bars_of_intervals_are_asymmetric(study):
    with mpl.rc_context(RC):
        axis = draw_arrhenius(study).axes[0]
    bars = np.concatenate([segment[:, 1] for line in axis.collections for segment in segments_of(line)])
    for item in study.diffusion:
        assert all(np.isclose(bars, limit, rtol=1e-6).any() for limit in item.results['ci95_m2_s'])


def segments_of(collection):
    """Return the vertical segments of a collection of lines."""
    segments = collection.get_segments() if hasattr(collection, 'get_segments') else []
    return [segment for segment in segments if len(segment) == 2 and segment[0, 0] == segment[1, 0]]


def test_results_of_an_older_version_are_readable_and_hide_no_sign(old_study):
    item = old_study.diffusion[0]
    row = diffusion_row(item)
    assert row['ci95_m2_s'][0] < 0
    assert f'{row["ci95_m2_s"][0]:.1e} to' in result_table(results_of(old_study))
    section = diffusion_section(old_study)
    cells = str(section.tables[0].cells)
    assert f"'{interval(row['ci95_m2_s'])}'" in cells
    assert '±' in str(section.tables[3].cells)
    assert relative_limits(item).startswith('−120 to +120')
    assert any(point.startswith('Limits below zero') for point in worth_section(old_study).points)
    with mpl.rc_context(RC):
        for draw in DRAW:
            assert misplaced_texts(draw(old_study)) == []


def test_limits_in_the_power_of_ten_of_their_value():
    assert shared_exponent(2.3e-9, [1.94e-9, 2.84e-9]) == '1.9 to 2.8'
    assert shared_exponent(1.2e-8, [-2.2e-9, 2.7e-8]) == '−0.22 to 2.7'
    assert shared_exponent(1.2e-8, [2e-10, 7.3e-7]) == '0.020 to 73'
