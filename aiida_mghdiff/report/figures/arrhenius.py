"""D against temperature, and activation energies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from aiida import orm
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aiida_mghdiff.report.figures.canvas import HALO, new_figure
from aiida_mghdiff.report.study import Diffusion, Study
from aiida_mghdiff.report.style import GUIDE, Style, lightened, styles_of
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

#: Activation energy of Nishimura, Komaki and Amano, J. Alloys Compd. 293-295, 329 (1999), between 474 and 493 K.
EXPERIMENT_EV = 0.25


def draw_arrhenius(study: Study) -> Figure:
    """Return D against inverse temperature with 95 % intervals, fits and their bands; upper bounds are arrows.

    The slope of the experiment is a guide through the hottest point of the first fit: its height means nothing.
    """
    styles, series = styles_of(study.potentials), study.series
    figure, axes = new_figure(4.0)
    axis = axes[0, 0]
    axis.set_yscale('log')
    inverse = np.array([1000 / item.results['temperature_k'] for item in study.diffusion])
    margin = max(0.06 * np.ptp(inverse), 0.03)
    limits = inverse.min() - margin, inverse.max() + margin
    for name, items in series.items():
        draw_series(axis, name, items, styles[items[0].label])
    for fit in study.arrhenius:
        draw_fit(axis, fit.results, styles[fit.label], np.linspace(*limits, 100))
    set_coefficient_limits(axis, study.diffusion)
    draw_experiment(axis, study, limits)
    axis.set(xlim=limits, xlabel='1000 / T (1/K)', ylabel='D (m²/s)')
    add_temperature_axis(axis)
    figure.legend(*axis.get_legend_handles_labels(), loc='outside lower center', ncols=2)
    return figure


def draw_series(axis: Axes, name: str, items: Sequence[Diffusion], style: Style) -> None:
    """Draw the diffusion coefficients of one series, those that do not exist as arrows from their upper bound."""
    options = {'color': style.colour, 'marker': style.marker, 'linestyle': 'none'}
    drawn = [item for item in items if item.results['diffusing']]
    if drawn:
        values = np.array([item.results['diffusion_coefficient_m2_s'] for item in drawn])
        intervals = np.array([item.results['ci95_m2_s'] or (np.nan, np.nan) for item in drawn])
        low = np.fmax(intervals[:, 0], 1e-3 * values)  # an interval that reaches zero leaves the logarithmic axis
        x = [1000 / item.results['temperature_k'] for item in drawn]
        errors = [values - low, intervals[:, 1] - values]
        axis.errorbar(x, values, errors, label=name, elinewidth=1, markersize=6, zorder=4, **options)
    bounds = [item for item in items if not item.results['diffusing']]
    for index, item in enumerate(bounds):
        x, bound = 1000 / item.results['temperature_k'], item.results['upper_bound_m2_s']
        label = {} if drawn or index else {'label': f'{name}: upper bounds'}
        axis.plot(x, bound, markersize=6, markerfacecolor='white', zorder=4, **label, **options)
        arrow = {'arrowstyle': '-|>', 'color': style.colour, 'shrinkA': 3, 'linewidth': 1.2}
        axis.annotate('', (x, bound / 3), (x, bound), arrowprops=arrow, zorder=3)


def fitted(results: orm.Dict, temperatures_k: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return D [m] on the line of a fit and the limits [m] of its 95 % band."""
    design = np.stack([np.ones_like(temperatures_k), -1 / (BOLTZMANN_EV_PER_K * temperatures_k)], axis=1)
    ln_d = design @ [results['ln_prefactor_m2_s'], results['activation_energy_ev']]
    variance = np.einsum('mi,ij,mj->m', design, np.array(results['covariance']), design)
    half = results['interval_factor'] * np.sqrt(variance)
    return np.exp(ln_d), np.exp(ln_d - half), np.exp(ln_d + half)


def draw_fit(axis: Axes, results: orm.Dict, style: Style, inverse: np.ndarray) -> None:
    """Draw the line of a fit and its 95 % band.

    :param inverse: 1000/T in 1/K [m].
    """
    line, low, high = fitted(results, 1000 / inverse)
    axis.plot(inverse, line, color=style.colour, linestyle=style.line, linewidth=1.3, zorder=3)
    axis.fill_between(inverse, low, high, color=lightened(style.colour, 0.8), linewidth=0, zorder=1)


def draw_experiment(axis: Axes, study: Study, limits: tuple[float, float]) -> None:
    """Draw a line with the slope of the experiment through the hottest point of the first fit."""
    if not study.arrhenius:
        return
    results, x = study.arrhenius[0].results, np.array(limits)
    hottest = max(results['temperatures_k'])
    anchor = fitted(results, np.array([hottest]))[0][0]
    values = anchor * np.exp(-EXPERIMENT_EV / BOLTZMANN_EV_PER_K * (x / 1000 - 1 / hottest))
    label = f'slope of {EXPERIMENT_EV} eV, Nishimura et al. 1999 (height arbitrary)'
    axis.plot(x, values, color=GUIDE, linestyle=(0, (6, 2, 1, 2)), linewidth=1.4, label=label, zorder=2)


def set_coefficient_limits(axis: Axes, items: Sequence[Diffusion]) -> None:
    """Set limits that show all D, bounds and tops of intervals, but not how deep an interval reaches."""
    keys = ('diffusion_coefficient_m2_s', 'upper_bound_m2_s')
    values = [item.results[key] for item in items for key in keys if item.results[key] is not None]
    bounds = [item.results['upper_bound_m2_s'] / 4 for item in items if item.results['upper_bound_m2_s'] is not None]
    tops = [item.results['ci95_m2_s'][1] for item in items if item.results['ci95_m2_s'] is not None]
    axis.set_ylim(min([*values, *bounds]) / 3, max([*values, *tops]) * 2)


def add_temperature_axis(axis: Axes) -> None:
    """Write temperatures in K above an axis of 1000/T."""
    top = axis.secondary_xaxis('top')
    low, high = (1000 / value for value in reversed(axis.get_xlim()))
    ticks = [value for value in MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= value <= high]
    top.set_xticks([1000 / value for value in ticks], [f'{value:g}' for value in ticks])
    top.set_xlabel('T (K)')


def draw_activation_energies(study: Study) -> Figure:
    """Return activation energies with 95 % intervals beside that of the experiment."""
    styles = styles_of(study.potentials)
    figure, axes = new_figure(1.3 + 0.36 * len(study.arrhenius))
    axis = axes[0, 0]
    label = f'experiment, {EXPERIMENT_EV} eV (Nishimura et al. 1999)'
    axis.axvline(EXPERIMENT_EV, color=GUIDE, linestyle=(0, (6, 2, 1, 2)), linewidth=1.4, zorder=1, label=label)
    for place, fit in enumerate(study.arrhenius):
        style, value = styles[fit.label], fit.results['activation_energy_ev']
        errors = [[value - fit.results['ci95_ev'][0]], [fit.results['ci95_ev'][1] - value]]
        axis.errorbar(value, place, xerr=errors, color=style.colour, marker=style.marker, markersize=6, zorder=3)
        offset = {'xytext': (0, 6), 'textcoords': 'offset points', 'ha': 'center', 'path_effects': [HALO]}
        axis.annotate(f'{value:.3f} eV', (value, place), **offset)
    axis.set_yticks(range(len(study.arrhenius)), [fit.series for fit in study.arrhenius])
    axis.set_ylim(len(study.arrhenius) - 0.5, -0.75)
    axis.margins(x=0.08)
    axis.grid(axis='y', visible=False)
    axis.set(xlabel='activation energy (eV)')
    figure.legend(*axis.get_legend_handles_labels(), loc='outside lower center')
    return figure
