"""Figures of a study as large as the paper's: eight series at three temperatures stay distinct, without overlaps."""

from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from aiida import orm
from figure_texts import misplaced_texts
from matplotlib.colors import to_rgb

from aiida_mghdiff.report.figures import draw_figures
from aiida_mghdiff.report.figures.canvas import PAGE
from aiida_mghdiff.report.study import NveRun, RateDiffusion, Study
from aiida_mghdiff.report.style import RC

CONTENTS = {'mace_ft': (4, 6, 8, 10), 'mace_tr': (8,), 'mace_mp': (8,), 'chgnet_ft': (8,), 'chgnet_mp': (8,)}
ORIGINS = {'ft': 'fine-tuned', 'tr': 'scratch', 'mp': 'pretrained'}
TEMPERATURES = (300.0, 480.0, 673.0)


class Potential:
    """The attributes of a potential that a report reads."""

    def __init__(self, label):
        self.architecture, _, kind = label.partition('_')
        self.origin, self.uuid = ORIGINS[kind], label


@pytest.fixture(scope='module')
def large_study(graph):
    """Return the large study."""
    return enlarged(graph.node)


def enlarged(node):
    """Return a small study whose results are repeated for every series and temperature of the paper."""
    small, large = Study(node), Study(node)
    large.potentials = {label: Potential(label) for label in CONTENTS}
    places = [(label, count) for label, counts in CONTENTS.items() for count in counts]
    item, fit, training = small.diffusion[-1], small.arrhenius[0], small.trainings[0]
    large.diffusion = [
        run_of(item, label, count, temperature) for temperature in TEMPERATURES for label, count in places
    ]
    large.arrhenius = [
        replace(fit, label=label, series=f'{label}, {count} H', results=line_of(fit), tracer_count=count)
        for label, count in places
    ]
    large.errors = [replace(small.errors[0], label=label) for label in CONTENTS]
    large.barriers = [
        replace(barrier, label=label) for label in CONTENTS for barrier in small.barriers if barrier.label == 'mace_ft'
    ]
    large.trainings = [replace(training, label=label) for label in CONTENTS if not label.endswith('_mp')]
    barriers = [rate for rate in small.rate_diffusion if rate.label == 'mace_ft']
    large.rate_diffusion = [replace(rate, label=label) for label in CONTENTS for rate in barriers]
    large.rate_diffusion += [
        RateDiffusion(label, f'{label}, {count} H', orm.Dict(barriers[0].results.get_dict() | {'source': 'jumps'}))
        for label, count in places
    ]
    large.runs = [run_with(run, label) for label in CONTENTS for run in small.runs]
    return large


def run_with(run, label):
    """Return an NVE run as if it came from another potential."""
    path = run.path if label == 'mace_ft' else (label, *run.path)
    return NveRun(path, [replace(job, label=label) for job in run.jobs])


def run_of(item, label, count, temperature):
    """Return the run as if it came from another series and temperature; at 300 K only one potential diffuses."""
    factor = np.exp(-0.25 / 8.617e-5 * (1 / temperature - 1 / item.results['temperature_k'])) * (1 + 0.1 * count)
    values = item.results.get_dict() | {'temperature_k': temperature, 'tracer_count': count}
    values['diffusion_coefficient_m2_s'] *= factor
    values['ci95_m2_s'] = [factor * limit for limit in values['ci95_m2_s']]
    if temperature == 300.0 and label != 'mace_ft':
        values |= {'diffusing': False, 'diffusion_coefficient_m2_s': None, 'ci95_m2_s': None}
        values |= {'upper_bound_m2_s': 3e-13, 'jump_count': 0}
    new = {'label': label, 'series': f'{label}, {count} H', 'target_temperature_k': temperature}
    return replace(item, **new, results=orm.Dict(values), n_atoms=128 + count)


def line_of(fit):
    """Return a fit to the two higher temperatures."""
    return orm.Dict(fit.results.get_dict() | {'temperatures_k': [480.0, 673.0], 'excluded_temperatures_k': [300.0]})


@pytest.fixture(scope='module')
def figures(large_study):
    with mpl.rc_context(RC):
        return draw_figures(large_study)


def test_no_text_overlaps_another_or_is_cut_off(figures):
    found = {key: misplaced_texts(figure) for key, figure in figures.items()}
    assert {key: texts for key, texts in found.items() if texts} == {}
    assert {'pairs', 'msd', 'windows', 'contents', 'rates'} <= set(figures)


def test_every_figure_fits_a_page(figures):
    sizes = {key: figure.get_size_inches() for key, figure in figures.items()}
    assert {key: size for key, size in sizes.items() if size[0] > PAGE or size[1] > 9.5} == {}


def test_every_panel_is_large_enough_to_read(figures):
    for key in ('pairs', 'msd', 'windows'):
        height = figures[key].get_figheight()
        assert min(axis.get_position().height * height for axis in figures[key].axes) > 0.4, key


def test_pairs_have_a_row_for_each_series(figures, large_study):
    axes = figures['pairs'].axes
    assert len(axes) == 24 + 1
    rows = [axis.get_ylabel().replace('\n', ', ') for axis in axes[:-1:3]]
    assert rows == list(large_study.series)
    assert [axis.get_title(loc='left') for axis in axes[:3]] == ['300 K', '480 K', '673 K']


def test_series_of_one_potential_differ_in_marker_and_in_grey(large_study):
    styles = large_study.series_styles
    assert len({style.marker for style in styles.values()}) == len(styles) == 8
    assert styles['mace_tr, 8 H'] == large_study.styles['mace_tr']
    of_one = [style for name, style in styles.items() if name.startswith('mace_ft')]
    for kind in ('colour', 'fill'):
        grey = sorted(np.dot(to_rgb(getattr(style, kind)), (0.299, 0.587, 0.114)) for style in of_one)
        assert min(np.diff(grey)) > 0.08


def test_series_are_told_apart_in_every_figure(figures):
    names = [f'mace_ft, {count} H' for count in CONTENTS['mace_ft']]
    for key, place in (('rdf', 0), ('pairs', -1), ('arrhenius', 0)):
        handles, labels = figures[key].axes[place].get_legend_handles_labels()
        looks = {name: look_of(handles[labels.index(name)]) for name in names}
        assert len(set(looks.values())) == 4, key
    handles, labels = figures['rates'].axes[0].get_legend_handles_labels()
    rates = [look_of(handles[labels.index(f'rates of jumps in MD, {name}')]) for name in names]
    assert len(set(rates)) == 4
    assert {axis.get_title(loc='left') for axis in figures['msd'].axes} >= {f'{name}, 300 K' for name in names}


def look_of(handle):
    """Return the colour of a line, or of the line of a plot with error bars."""
    return getattr(handle, 'lines', [handle])[0].get_color()


def test_lines_are_dotted_beyond_the_temperatures_of_the_fit(figures):
    first, last = 1000 / 673, 1000 / 480
    lines = [line for line in figures['arrhenius'].axes[0].lines if len(line.get_xdata()) == 60]
    within = [line for line in lines if line.get_linestyle() == '-']
    beyond = [line for line in lines if line.get_linestyle() != '-']
    assert len(within) == 8
    assert all(line.get_xdata()[[0, -1]] == pytest.approx([first, last]) for line in within)
    assert beyond
    assert all(line.get_xdata()[-1] <= first + 1e-9 or line.get_xdata()[0] >= last - 1e-9 for line in beyond)
    assert max(line.get_xdata()[-1] for line in beyond) > 1000 / 300
