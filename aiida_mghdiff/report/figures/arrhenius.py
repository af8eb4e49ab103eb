"""D against temperature, from MD and from the rates of hops, and activation energies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from aiida import orm
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aiida_mghdiff.report.figures.canvas import HALO, all_handles, error_bars, new_figure, new_grid
from aiida_mghdiff.report.references import Reference
from aiida_mghdiff.report.study import Diffusion, RateDiffusion, Study, by_series
from aiida_mghdiff.report.style import GUIDE, INK, Style
from aiida_mghdiff.science.arrhenius import on_line, predict

EXPERIMENT = 'experiment'
#: Least distance of two temperatures above an axis of 1000/T, as a fraction of its length, in a narrow panel.
TICK_SPACE = 0.12
#: Largest distance of a shown interval from D, as a factor.
FARTHEST = 30
#: Style of a line beyond the temperatures of its fit.
BEYOND = (0, (1, 1.6))
#: Name, colour and line of each source of D from rates.
RATE_STYLES = {
    'barriers, classical': ('barriers, classical', '#009E73', (0, (4, 1.5))),
    'barriers, quantum': ('barriers, zero-point energies', '#CC79A7', (0, (1, 1.2))),
    'jumps': ('rates of jumps in MD', '#E69F00', (0, (6, 2, 1, 2))),
}


def draw_arrhenius(study: Study) -> Figure:
    """Return D against inverse temperature with 95 % intervals, fits and their bands; upper bounds are arrows.

    The slope of the experiment is drawn through the hottest point of the first fit; its height is arbitrary.
    """
    styles = study.series_styles
    figure, axes = new_figure(4.0)
    axis = axes[0, 0]
    limits = inverse_limits([item.results['temperature_k'] for item in study.diffusion])
    for name, items in study.series.items():
        draw_series(axis, name, items, styles[name])
    for fit in study.arrhenius:
        draw_fit(axis, fit.results, styles[fit.series], limits)
    draw_published(axis, study, limits)
    set_coefficient_limits(axis, study.diffusion, [point.value for _, point in published_points(study, limits)])
    draw_experiment(axis, study, limits)
    finish_axis(axis, limits)
    figure.legend(*axis.get_legend_handles_labels(), loc='outside lower center', ncols=2)
    return figure


def draw_rates(study: Study) -> Figure:
    """Return D from barriers, from rates of jumps and from MD with 95 % intervals, a panel for each potential."""
    labels = list(dict.fromkeys(item.label for item in study.rate_diffusion))
    figure, axes = new_grid(len(labels), 2, 3.0)
    styles = study.series_styles
    for axis, label in zip(axes, labels, strict=True):
        rates = [item for item in study.rate_diffusion if item.label == label]
        measured = [item for item in study.diffusion if item.label == label]
        draw_rate_panel(axis, rates, measured, styles)
        for fit in (fit for fit in study.arrhenius if fit.label == label):
            draw_fit(axis, fit.results, styles[fit.series], fitted_range(fit.results))
        axis.set_title(label)
    figure.legend(*all_handles(axes), loc='outside lower center', ncols=2)
    return figure


def draw_rate_panel(
    axis: Axes, rates: Sequence[RateDiffusion], measured: Sequence[Diffusion], styles: dict[str, Style]
) -> None:
    """Draw D of one potential: lines from rates with their bands, points from MD.

    :param styles: by series.
    """
    for name, items in by_series(measured).items():
        draw_series(axis, f'MD, {name}', items, styles[name])
    several = sum(item.series is not None for item in rates) > 1
    for item in rates:
        draw_rate(axis, item, styles[item.series] if several and item.series is not None else None)
    values = [value for item in rates for value in item.results['diffusion_coefficients_m2_s']]
    set_coefficient_limits(axis, measured, values)
    temperatures = [value for item in rates for value in item.results['temperatures_k']]
    finish_axis(axis, inverse_limits([*temperatures, *(item.results['temperature_k'] for item in measured)]))


def draw_rate(axis: Axes, item: RateDiffusion, style: Style | None) -> None:
    """Draw D from rates as a line with its 95 % band, with open marks beyond the measured temperatures.

    :param style: style of the series in which jumps were counted, if there are several.
    """
    name, colour, line = RATE_STYLES[item.results['source']]
    if style is not None:
        name, colour = f'{name}, {item.series}', style.colour
    order = np.argsort(item.results['temperatures_k'])
    inverse = 1000 / np.array(item.results['temperatures_k'])[order]
    values = np.array(item.results['diffusion_coefficients_m2_s'])[order]
    axis.plot(inverse, values, color=colour, linestyle=line, linewidth=1.3, label=name, zorder=3)
    beyond = np.array(item.results['extrapolated'])[order]
    marker = {'marker': '.'} if style is None else {'marker': style.marker, 'markersize': 3}
    options = {'color': colour, 'linestyle': 'none', 'zorder': 3, **marker}
    axis.plot(inverse[~beyond], values[~beyond], **options)
    axis.plot(inverse[beyond], values[beyond], markerfacecolor='white', **options)
    if item.results['ci95_m2_s'] is not None:
        low, high = np.array(item.results['ci95_m2_s'], float)[order].T  # the database turns large values into integers
        axis.fill_between(inverse, low, high, color=colour, alpha=0.18, linewidth=0, zorder=1)


def inverse_limits(temperatures_k: Sequence[float]) -> tuple[float, float]:
    """Return limits of an axis of 1000/T in 1/K around temperatures."""
    inverse = 1000 / np.array(temperatures_k)
    margin = max(0.06 * np.ptp(inverse), 0.03)
    return inverse.min() - margin, inverse.max() + margin


def finish_axis(axis: Axes, limits: tuple[float, float]) -> None:
    """Give an axis of D against 1000/T its scale, names and temperatures above."""
    axis.set_yscale('log')
    axis.set(xlim=limits, xlabel='1000 / T (1/K)', ylabel='D (m²/s)')
    add_temperature_axis(axis)


def draw_series(axis: Axes, name: str, items: Sequence[Diffusion], style: Style) -> None:
    """Draw the diffusion coefficients of one series; upper bounds are arrows."""
    options = {'color': style.colour, 'marker': style.marker, 'linestyle': 'none'}
    drawn = [item for item in items if item.results['diffusing']]
    if drawn:
        values = np.array([item.results['diffusion_coefficient_m2_s'] for item in drawn])
        intervals = np.array([item.results['ci95_m2_s'] or (np.nan, np.nan) for item in drawn])
        x = [1000 / item.results['temperature_k'] for item in drawn]
        errors = error_bars(values, intervals)
        axis.errorbar(x, values, errors, label=name, elinewidth=1, markersize=6, zorder=4, **options)
    bounds = [item for item in items if not item.results['diffusing']]
    for index, item in enumerate(bounds):
        x, bound = 1000 / item.results['temperature_k'], item.results['upper_bound_m2_s']
        label = {} if drawn or index else {'label': f'{name}: upper bounds'}
        axis.plot(x, bound, markersize=6, markerfacecolor='white', zorder=4, **label, **options)
        arrow = {'arrowstyle': '-|>', 'color': style.colour, 'shrinkA': 3, 'linewidth': 1.2}
        axis.annotate('', (x, bound / 3), (x, bound), arrowprops=arrow, zorder=3)


def fitted_range(results: orm.Dict) -> tuple[float, float]:
    """Return the limits of the temperatures of a fit as 1000/T in 1/K."""
    return 1000 / max(results['temperatures_k']), 1000 / min(results['temperatures_k'])


def fitted(results: orm.Dict, temperatures_k: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return D [m] on the line of a fit and the limits [m] of its 95 % band."""
    line = results['ln_prefactor_m2_s'], results['activation_energy_ev']
    return tuple(predict(temperatures_k, line, np.array(results['covariance']), results['interval_factor']))


def draw_fit(axis: Axes, results: orm.Dict, style: Style, limits: tuple[float, float]) -> None:
    """Draw the line of a fit and its 95 % band, dotted and paler beyond the temperatures of the fit.

    :param limits: begin and end of the line, as 1000/T in 1/K.
    """
    first, last = fitted_range(results)
    parts = [(first, last, '-', 0.22), (limits[0], first, BEYOND, 0.08), (last, limits[1], BEYOND, 0.08)]
    for start, end, line, opacity in parts:
        if end > start:
            inverse = np.linspace(start, end, 60)
            values, low, high = fitted(results, 1000 / inverse)
            axis.plot(inverse, values, color=style.colour, linestyle=line, linewidth=1.3, zorder=3)
            axis.fill_between(inverse, low, high, color=style.colour, alpha=opacity, linewidth=0, zorder=1)


def experiment(study: Study) -> Reference | None:
    """Return the measured activation energy, preferably from the user's own file."""
    found = [value for value in study.published('activation_energy_ev') if value.label == EXPERIMENT]
    return found[-1] if found else None


def draw_experiment(axis: Axes, study: Study, limits: tuple[float, float]) -> None:
    """Draw a line with the slope of the experiment through the hottest point of the first fit."""
    reference = experiment(study)
    if not study.arrhenius or reference is None:
        return
    results, x = study.arrhenius[0].results, np.array(limits)
    hottest = max(results['temperatures_k'])
    anchor = fitted(results, np.array([hottest]))[0][0]
    line = 0.0, reference.value
    values = anchor * on_line(1000 / x, line) / on_line(hottest, line)
    label = f'slope of {reference.value:g} eV, {reference.short} (height arbitrary)'
    axis.plot(x, values, color=GUIDE, linestyle=(0, (6, 2, 1, 2)), linewidth=1.4, label=label, zorder=2)


def published_points(study: Study, limits: tuple[float, float]) -> list[tuple[float, Reference]]:
    """Return 1000/T and the published D at one temperature, of those within an axis of 1000/T."""
    values = study.published('diffusion_coefficient_m2_s')
    found = [(1000 / value.temperature_k, value) for value in values if value.temperature_k is not None]
    return [(inverse, value) for inverse, value in found if limits[0] <= inverse <= limits[1]]


def draw_published(axis: Axes, study: Study, limits: tuple[float, float]) -> None:
    """Draw published D as stars, with one entry in the legend for each source."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for inverse, point in published_points(study, limits):
        groups.setdefault(f'{point.label}, {point.short}', []).append((inverse, point.value))
    for (name, points), marker in zip(groups.items(), '*+x1234', strict=False):
        axis.plot(*zip(*points, strict=True), marker, color=INK, markersize=8, linestyle='none', label=name, zorder=5)


def set_coefficient_limits(axis: Axes, items: Sequence[Diffusion], others: Sequence[float]) -> None:
    """Set limits that show all D, bounds, and intervals up to a factor of thirty from D.

    :param others: further D in m²/s to show.
    """
    keys = ('diffusion_coefficient_m2_s', 'upper_bound_m2_s')
    values = [item.results[key] for item in items for key in keys if item.results[key] is not None]
    bounds = [item.results['upper_bound_m2_s'] / 4 for item in items if item.results['upper_bound_m2_s'] is not None]
    known = [(item.results[keys[0]], item.results['ci95_m2_s']) for item in items if item.results['ci95_m2_s']]
    bottoms = [max(low, value / FARTHEST) for value, (low, _) in known if low > 0]
    tops = [min(high, FARTHEST * value) for value, (_, high) in known]
    lowest = min(min([*values, *bounds, *others]) / 3, min(bottoms, default=np.inf) / 1.2)
    axis.set_ylim(lowest, max([*values, *tops, *others]) * 2)


def add_temperature_axis(axis: Axes) -> None:
    """Write temperatures in K above an axis of 1000/T."""
    top = axis.secondary_xaxis('top')
    low, high = (1000 / value for value in reversed(axis.get_xlim()))
    ticks = [value for value in MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= value <= high]
    ticks = spaced(ticks, TICK_SPACE * np.ptp(axis.get_xlim()))
    top.set_xticks([1000 / value for value in ticks], [f'{value:g}' for value in ticks])
    top.set_xlabel('T (K)')


def spaced(temperatures_k: Sequence[float], distance: float) -> list[float]:
    """Return temperatures, from the lowest, with a least distance in 1000/T, since high temperatures crowd."""
    kept: list[float] = []
    for value in sorted(temperatures_k):
        if not kept or 1000 / kept[-1] - 1000 / value >= distance:
            kept.append(value)
    return kept


def draw_activation_energies(study: Study) -> Figure:
    """Return activation energies with 95 % intervals, published energies below, and the experiment's energy."""
    styles, measured = study.series_styles, experiment(study)
    published = [value for value in study.published('activation_energy_ev') if value.label != EXPERIMENT]
    rows = len(study.arrhenius) + len(published)
    figure, axes = new_figure(1.1 + 0.32 * rows)
    axis = axes[0, 0]
    if measured is not None:
        label = f'{measured.label}, {measured.value:g} eV ({measured.short})'
        axis.axvline(measured.value, color=GUIDE, linestyle=(0, (6, 2, 1, 2)), linewidth=1.4, zorder=1, label=label)
    for place, fit in enumerate(study.arrhenius):
        style, value = styles[fit.series], fit.results['activation_energy_ev']
        errors = [[value - fit.results['ci95_ev'][0]], [fit.results['ci95_ev'][1] - value]]
        axis.errorbar(value, place, xerr=errors, color=style.colour, marker=style.marker, markersize=6, zorder=3)
        write_energy(axis, value, place, '.3f')
    for place, reference in enumerate(published, len(study.arrhenius)):
        axis.plot(reference.value, place, 'D', color=GUIDE, markerfacecolor='white', zorder=3)
        write_energy(axis, reference.value, place, '.2f')
    names = [fit.series for fit in study.arrhenius] + [f'{value.label} ({value.short})' for value in published]
    axis.set_yticks(range(rows), names)
    axis.set_ylim(rows - 0.5, -0.75)
    axis.margins(x=0.08)
    axis.grid(axis='y', visible=False)
    axis.set(xlabel='activation energy (eV)')
    figure.legend(*axis.get_legend_handles_labels(), loc='outside lower center')
    return figure


def write_energy(axis: Axes, value: float, place: float, spec: str) -> None:
    """Write an energy above its mark."""
    offset = {'xytext': (0, 5), 'textcoords': 'offset points', 'ha': 'center', 'path_effects': [HALO]}
    axis.annotate(f'{value:{spec}} eV', (value, place), **offset)
