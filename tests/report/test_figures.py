"""The figures: their content, empty cases, and potentials that differ even in grey."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from aiida import orm
from figure_texts import misplaced_texts
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from study_graph import Process

from aiida_mghdiff.calculations.functions.metrics import error_metrics
from aiida_mghdiff.data.architectures import architectures
from aiida_mghdiff.data.potential import ORIGINS
from aiida_mghdiff.report.figures import draw_figures
from aiida_mghdiff.report.figures.arrhenius import RATE_STYLES, draw_arrhenius, fitted, spaced
from aiida_mghdiff.report.figures.barriers import barrier_groups, draw_barriers
from aiida_mghdiff.report.figures.baseline import read_baseline
from aiida_mghdiff.report.figures.canvas import PAGE, scientific, scientific_with_error
from aiida_mghdiff.report.figures.coefficients import draw_contents
from aiida_mghdiff.report.figures.errors import draw_content_errors, draw_errors, draw_parity
from aiida_mghdiff.report.figures.structure import RESOLUTION, draw_section
from aiida_mghdiff.report.results import result_table, results_of
from aiida_mghdiff.report.study import Study
from aiida_mghdiff.report.style import RC, styles_of
from aiida_mghdiff.report.tables import number, number_interval, with_error
from aiida_mghdiff.science.bands import read_band
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

EVERY = ['workflow', 'learning_curves', 'rmse', 'rmse_contents', 'parity', 'sites', 'barriers', 'paths', 'frame']
EVERY += ['coefficients', 'msd', 'windows', 'arrhenius', 'rates', 'activation_energies', 'track', 'rdf', 'rdf_sites']
EVERY += ['density', 'pairs', 'conservation']


@pytest.fixture(scope='module')
def figures(study):
    with mpl.rc_context(RC):
        return draw_figures(study)


@pytest.fixture(scope='module')
def broken_figures(broken_study):
    with mpl.rc_context(RC):
        return draw_figures(broken_study)


def test_every_figure_is_there_and_axes_have_units(figures):
    assert list(figures) == EVERY
    units = {
        'rmse': ['RMSE (meV/atom)', 'RMSE (meV/Å)'],
        'arrhenius': ['1000 / T (1/K)'],
        'activation_energies': ['activation energy (eV)'],
        'learning_curves': ['epoch', 'epoch'],
    }
    for name, labels in units.items():
        assert [axis.get_xlabel() for axis in figures[name].axes] == labels
    assert [text.get_text() for text in (figures['msd']._supxlabel, figures['msd']._supylabel)] == [
        'lag time (ps)',
        'mean squared displacement (Å²)',
    ]


@pytest.mark.parametrize('name', ['figures', 'broken_figures'])
def test_no_text_overlaps_another_or_is_cut_off(request, name):
    for key, figure in request.getfixturevalue(name).items():
        assert misplaced_texts(figure) == [], key


def test_widths_fit_a_page(figures):
    assert all(figure.get_figwidth() <= PAGE and figure.get_figheight() <= 9.5 for figure in figures.values())


def test_error_bars_are_as_long_as_the_errors(figures, study):
    widths = [patch.get_width() for patch in figures['rmse'].axes[1].patches]
    assert widths == [errors.metrics['force_rmse_mev_per_angstrom'] for errors in study.errors]


def test_parity_of_energies_is_about_each_composition(figures, study):
    energies, forces = figures['parity'].axes[0], figures['parity'].axes[2]
    errors = study.errors[0]
    assert [axis.get_title(loc='left') for axis in figures['parity'].axes[:2]] == ['mace_ft', 'chgnet_mp']
    assert energies.get_legend_handles_labels()[1] == ['Mg16H', 'Mg16H2']
    points = np.concatenate([np.asarray(part.get_offsets()) for part in energies.collections])
    rmse = np.sqrt(np.mean(np.square(points[:, 1] - points[:, 0])))
    assert rmse == pytest.approx(errors.metrics['energy_rmse_shifted_mev_per_atom'])
    assert points.sum(axis=0).tolist() == pytest.approx([0, 0], abs=1e-9)
    r2 = 1 - np.square(points[:, 1] - points[:, 0]).sum() / np.square(points[:, 0]).sum()
    assert energies.texts[0].get_text().endswith(f'R² {r2:.4f}')
    assert forces.texts[0].get_text().endswith(f'R² {errors.metrics["force_r2"]:.4f}')


def test_fits_lie_on_the_displacements(figures, study):
    lines = {line.get_label(): line for line in figures['msd'].axes[0].lines}
    x, y = lines['fit'].get_data()
    assert list(x) == study.diffusion[0].results['fit_window_ps']
    slope = (y[1] - y[0]) / (x[1] - x[0])
    assert slope / 6 * 1e-8 == pytest.approx(study.diffusion[0].results['replica_diffusion_coefficients_m2_s'][0])


def test_guide_of_the_experiment_has_its_slope_alone(figures):
    axis = figures['arrhenius'].axes[0]
    (guide,) = [line for line in axis.lines if 'Nishimura' in str(line.get_label())]
    assert 'height arbitrary' in guide.get_label()
    x, y = guide.get_data()
    slope = -(np.log(y[1]) - np.log(y[0])) / (x[1] - x[0]) * 1000 * 8.617333e-5
    assert slope == pytest.approx(0.25, rel=1e-4)


def test_band_of_a_fit_contains_its_line(study):
    line, low, high = fitted(study.arrhenius[0].results, np.array([500.0, 700.0, 900.0]))
    assert np.all((low < line) & (line < high))


def test_upper_bounds_are_arrows_within_the_axis(broken_study, broken_figures):
    expected = [
        'workflow',
        'frame',
        'coefficients',
        'msd',
        'arrhenius',
        'track',
        'rdf',
        'rdf_sites',
        'density',
        'pairs',
    ]
    assert list(broken_figures) == [*expected, 'conservation']
    axis = broken_figures['arrhenius'].axes[0]
    assert axis.get_legend_handles_labels()[1] == ['mace_mp, 2 H: upper bounds']
    (arrow,) = [text for text in axis.texts if text.arrowprops]
    bound = broken_study.diffusion[0].results['upper_bound_m2_s']
    assert arrow.xyann[1] == pytest.approx(bound)
    assert axis.get_ylim()[0] < arrow.xy[1] < bound < axis.get_ylim()[1]
    assert 'not diffusing' in broken_figures['msd'].axes[0].texts[0].get_text()


def test_files(folder):
    for name in EVERY:
        assert (folder / 'figures' / f'{name}.png').read_bytes().startswith(b'\x89PNG')
        assert (folder / 'figures' / f'{name}.pdf').read_bytes().startswith(b'%PDF')
        assert (folder / 'figures' / f'{name}.svg').read_text(encoding='utf-8').startswith('<?xml')


def test_no_figures_of_nothing():
    assert draw_figures(Study(Process(orm.WorkChainNode, 'study', {}).node)) == {}


def test_both_directions_of_a_path_between_equal_sites_are_one():
    class Barrier:
        label, path, band = 'a', 'O-O c', read_band([0.0, 0.3, -0.01])
        results = orm.Dict({'forward_barrier_ev': 0.3, 'reverse_barrier_ev': 0.31})

    (group,) = barrier_groups([Barrier]).values()
    assert {label: row['barrier_ev'] for label, row in group.items()} == {'a': 0.3}


def test_configurations_that_stand_alone(study):
    """Without an error of energies there is no bar, number or dot, so nothing seems perfect."""
    first = study.errors[0]
    formulas = np.array(first.dataset.get_formulas())
    rows = [int(np.flatnonzero(formulas == formula)[0]) for formula in np.unique(formulas)]
    natoms = first.dataset.get_array('natoms')
    atoms = np.concatenate([np.arange(natoms[:row].sum(), natoms[: row + 1].sum()) for row in rows])
    arrays = {name: first.predictions.get_array(name) for name in ('energies', 'forces', 'stresses')}
    chosen = {name: values[atoms if name == 'forces' else rows] for name, values in arrays.items()}
    dataset, predictions = first.dataset.select(rows).store(), orm.ArrayData(chosen).store()
    metrics = error_metrics(dataset, predictions)
    alone = Study(study.node)
    alone.errors = [replace(first, dataset=dataset, predictions=predictions, metrics=metrics)]
    with mpl.rc_context(RC):
        bars, parity, contents = draw_errors(alone), draw_parity(alone), draw_content_errors(alone)
    assert len(bars.axes[0].patches) == 0
    assert [text.get_text() for text in parity.axes[0].texts] == ['no RMSE']
    assert sum(len(part.get_offsets()) for part in parity.axes[0].collections) == 0
    assert [misplaced_texts(figure) for figure in (bars, parity, contents)] == [[], [], []]
    assert results_of(alone)['rmse'][0]['energy_mev_per_atom'] is None
    assert ' – ' in result_table(results_of(alone))


def test_text_of_what_rounds_to_zero_has_no_sign():
    values = [number(-0.0001, '.3f'), number(-0.2, '.0f'), number(-0.001, '+.2f'), number(-0.02, '.2f')]
    assert values == ['0.000', '0', '0.00', '−0.02']


def test_numbers_with_limits_have_true_minus_signs():
    assert with_error(-0.5, 0.1, '+.2f') == '−0.50 ± 0.10'
    assert with_error(0.5, None, '.2f') == '0.50'
    assert number_interval([-0.1, 0.2], '.1f') == '−0.1 to 0.2'


def test_potentials_differ_in_marker_and_in_grey():
    class Potential:
        def __init__(self, architecture, origin):
            self.architecture, self.origin = architecture, origin

    styles = styles_of({f'{a}_{o}': Potential(a, o) for a in architectures() for o in ORIGINS})
    assert len({style.marker for style in styles.values()}) == len(styles)
    assert len({style.fill for style in styles.values()}) == len(styles)
    luminance = {label: np.dot(to_rgb(style.fill), (0.299, 0.587, 0.114)) for label, style in styles.items()}
    for a, b in combinations(ORIGINS, 2):
        for architecture in architectures():
            first, second = f'{architecture}_{a}', f'{architecture}_{b}'
            assert abs(luminance[first] - luminance[second]) > 0.04
            assert styles[first].hatch != styles[second].hatch


def test_scientific():
    assert scientific(4.26e-09) == '4.3×10⁻⁹'
    assert scientific(12.0) == '1.2×10¹'


@pytest.mark.parametrize(
    ('value', 'error', 'text'),
    [
        (2.31e-9, 1.2e-10, '2.31(12)×10⁻⁹'),
        (2.31e-9, 4.4e-10, '2.3(4)×10⁻⁹'),
        (2.31e-9, 5e-9, '2(5)×10⁻⁹'),
        (9.96e-9, 3e-10, '10.0(3)×10⁻⁹'),
        (1.5e-9, 1.0e-9, '1.5(10)×10⁻⁹'),
    ],
)
def test_errors_of_last_digits(value, error, text):
    assert scientific_with_error(value, error) == text


def test_hot_temperatures_above_the_axis_do_not_crowd():
    assert spaced([1000.0, 800.0, 600.0, 400.0, 250.0], 0.4) == [250.0, 400.0, 600.0, 800.0]


def test_deviations_are_from_the_line_of_the_best_potential(figures, study):
    texts = [text.get_text() for text in figures['coefficients'].axes[0].texts]
    item, fit = study.diffusion[0], study.arrhenius[0]
    line = fitted(fit.results, np.array([item.results['temperature_k']]))[0][0]
    ratio = item.results['diffusion_coefficient_m2_s'] / line
    assert any(text.endswith(f'\n{ratio:#.2g} D₀') for text in texts)


def test_conserved_energy_and_temperature_of_every_run(figures, study):
    left, right = figures['conservation'].axes
    assert left.get_title(loc='left') == 'mace_ft, 1 fs, 850 K'
    assert len(right.lines) == 3
    thermo = study.runs[-1].outputs('thermo')[0]
    assert np.mean(left.lines[2].get_ydata()) == pytest.approx(thermo.get_array('temperature_k').mean())
    assert abs(right.lines[2].get_ydata()).max() < 1


def test_rates_are_those_of_their_nodes(figures, study):
    axis = figures['rates'].axes[0]
    lines = {line.get_label(): line for line in axis.lines}
    for item in study.rate_diffusion[:2]:
        name = RATE_STYLES[item.results['source']][0]
        assert sorted(lines[name].get_ydata()) == sorted(item.results['diffusion_coefficients_m2_s'])
    assert axis.get_title(loc='left') == 'mace_ft'
    classical, quantum = (item.results['diffusion_coefficients_m2_s'] for item in study.rate_diffusion[:2])
    assert classical != quantum


def test_published_values_of_a_user_are_drawn_and_compared_with(graph, tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text(REFERENCES)
    study = Study(graph.node, [file])
    item = study.diffusion[0]
    line = math.log(2e-9) - 0.3 / BOLTZMANN_EV_PER_K * (1 / item.results['temperature_k'] - 1 / 750)
    expected = math.log10(item.results['diffusion_coefficient_m2_s'] / math.exp(line))
    assert read_baseline(study).deviation(item) == pytest.approx(expected)
    with mpl.rc_context(RC):
        arrhenius, barriers = draw_arrhenius(study), draw_barriers(study)
    assert 'experiment, Nobody 2003' in arrhenius.axes[0].get_legend_handles_labels()[1]
    assert 'slope of 0.3 eV, Nobody 2003 (height arbitrary)' in arrhenius.axes[0].get_legend_handles_labels()[1]
    assert [axis.get_legend_handles_labels()[1] for axis in barriers.axes] == [['DFT, Nobody 2003'], [], []]


REFERENCES = """
sources: {me: 'A. Nobody, J. None 1, 2 (2003)'}
values:
  - {quantity: activation_energy_ev, value: 0.3, label: experiment, source: me}
  - {quantity: diffusion_coefficient_m2_s, value: 2.0e-9, label: experiment, source: me, temperatures_k: [750, 750]}
  - {quantity: barrier_ev, value: 0.2, label: DFT, source: me, path: O->T}
"""


def test_density_is_where_its_site_is_marked(study):
    node = study.showcase.call.node.outputs.density
    cell, site = node.get_array('cell'), node.get_array('tetrahedral')[0]
    density = np.zeros(node.get_array('density').shape)
    index = np.floor(site @ np.linalg.inv(cell) % 1 * density.shape).astype(int)
    density[tuple(index)] = 1.0
    arrays = {name: node.get_array(name) for name in ('cell', 'octahedral', 'tetrahedral', 'host_positions')}
    axis = Figure().subplots()
    image = draw_section(axis, orm.ArrayData(arrays | {'density': density}), LogNorm(1e-3, 1))
    values = image.get_array().reshape(RESOLUTION, RESOLUTION)
    y, x = np.unravel_index(values.argmax(), values.shape)
    place = np.array([x * axis.get_xlim()[1], y * axis.get_ylim()[1]]) / (RESOLUTION - 1)
    marked = {line.get_label(): np.stack(line.get_data(), axis=1) for line in axis.lines}
    assert {name: len(points) for name, points in marked.items()} == {'octahedral': 6, 'tetrahedral': 4, 'host': 2}
    assert np.linalg.norm(marked['tetrahedral'] - place, axis=1).min() < 0.3


def test_pairs_and_radial_distributions_are_those_of_their_nodes(figures, study):
    pairs, rdf = (study.showcase.call.node.outputs[name] for name in ('pairs', 'rdf'))
    heights = [bar.get_height() for bar in figures['pairs'].axes[len(study.diffusion) - 1].patches]
    assert heights == pairs['observed']
    lines = {line.get_label(): line for line in figures['rdf'].axes[len(study.diffusion) - 1].lines}
    np.testing.assert_array_equal(lines['mace_ft, 2 H'].get_ydata(), rdf.get_array('Mg_H'))


class Contents:
    """A study with D at two contents: the fixture's, and twice as many tracers, which are slower."""

    def __init__(self, study):
        self.study = study
        self.diffusion = [*study.diffusion, *(self.doubled(item) for item in study.diffusion)]
        fit = study.arrhenius[0]
        self.arrhenius = [fit, replace(fit, series='mace_ft, 4 H', tracer_count=4)]

    def __getattr__(self, name):
        return getattr(self.study, name)

    @staticmethod
    def doubled(item):
        values = item.results.get_dict()
        slower = {'diffusion_coefficient_m2_s': 0.5 * values['diffusion_coefficient_m2_s'], 'tracer_count': 4}
        slower['ci95_m2_s'] = [0.5 * limit for limit in values['ci95_m2_s']]
        return replace(item, series='mace_ft, 4 H', results=orm.Dict(values | slower), n_atoms=20)


def test_contents(study):
    with mpl.rc_context(RC):
        figure = draw_contents(Contents(study))
        assert draw_contents(study) is None
    top, bottom = figure.axes
    assert top.get_legend_handles_labels()[1] == ['700 K', '850 K']
    x, y = top.lines[0].get_data()
    assert list(x) == pytest.approx([2 / 16, 4 / 16])
    assert y[1] == pytest.approx(y[0] / 2)
    assert (top.get_title(loc='left'), bottom.get_xlabel()) == ('mace_ft', 'H per Mg')
    assert misplaced_texts(figure) == []
