"""Mean squared displacements, the lines that give D, and D against the window of the fit."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aiida_mghdiff.report.figures.canvas import new_grid, scientific, scientific_interval
from aiida_mghdiff.report.study import Diffusion, Study
from aiida_mghdiff.report.style import INK, SHADE, Style, lightened
from aiida_mghdiff.science.units import ANGSTROM2_PER_PS_IN_M2_PER_S

#: 1e-9 m²/s, the unit of D on a linear axis.
NM2_PER_NS = 1e-9
#: Largest distance of a shown interval above the curve of D, as a factor.
HIGHEST_TOP = 3
#: Standard error of ln D beyond which D is unknown.
LARGEST_EXPONENT = 10


def draw_displacements(study: Study) -> Figure:
    """Return mean squared displacements: each replica, its fit, and the window of the fit."""
    items = [diffusion for group in study.series.values() for diffusion in group]
    figure, axes = new_grid(len(items), 3, 2.1)
    for axis, diffusion in zip(axes, items, strict=True):
        draw_displacement(axis, diffusion, study.series_styles[diffusion.series])
    figure.supxlabel('lag time (ps)')
    figure.supylabel('mean squared displacement (Å²)')
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside upper center', ncols=3)
    return figure


def draw_displacement(axis: Axes, diffusion: Diffusion, style: Style) -> None:
    """Draw the replicas of one temperature."""
    lags, displacements = (diffusion.msd.get_array(name) for name in ('lag_times_ps', 'msd'))
    slopes, intercepts = (diffusion.msd.get_array(name).sum(axis=-1) for name in ('slopes', 'intercepts'))
    window = np.array(diffusion.results['fit_window_ps'])
    axis.axvspan(*window, color=SHADE, linewidth=0, zorder=0, label='window of the fit')
    for values, slope, intercept in zip(displacements.sum(axis=-1), slopes, intercepts, strict=True):
        axis.plot(lags, values, color=lightened(style.colour, 0.25), linewidth=1.2, label='replica')
        axis.plot(window, slope * window + intercept, color=INK, linestyle=(0, (4, 2)), linewidth=1.2, label='fit')
    handles, labels = axis.get_legend_handles_labels()
    for handle, label in list(zip(handles, labels, strict=True))[3:]:
        handle.set_label(f'_{label}')
    axis.set_title(f'{diffusion.series}, {diffusion.target_temperature_k:g} K')
    axis.text(0.04, 0.95, fit_text(diffusion), transform=axis.transAxes, va='top')
    axis.set_xlim(0, lags[-1])
    axis.set_ylim(0, 1.45 * displacements.sum(axis=-1).max())


def fit_text(diffusion: Diffusion) -> str:
    """Return D with its interval, or its upper bound, and the number of jumps as text, each in a line."""
    results = diffusion.results
    jumps = f'{results["jump_count"]} jumps'
    if results['diffusing']:
        limits = f'\n95 %: {scientific_interval(results["ci95_m2_s"])}' if results['ci95_m2_s'] else ''
        return f'D = {scientific(results["diffusion_coefficient_m2_s"])} m²/s{limits}\n{jumps}'
    return f'D < {scientific(results["upper_bound_m2_s"])} m²/s\n{jumps}: not diffusing'


def draw_windows(study: Study) -> Figure | None:
    """Return D against the end of its window of fit, with the 95 % interval of the reported D."""
    items = [item for item in study.diffusion if item.results['diffusing'] and has_windows(item)]
    if not items:
        return None
    figure, axes = new_grid(len(items), 3, 2.0)
    for axis, item in zip(axes, items, strict=True):
        draw_window(axis, item, study.series_styles[item.series])
    figure.supxlabel('end of the window (ps)')
    figure.supylabel('D (10⁻⁹ m²/s)')
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside upper center', ncols=len(labels))
    return figure


def has_windows(item: Diffusion) -> bool:
    """Return whether D over windows was stored."""
    return 'window_ends_ps' in item.msd.get_arraynames()


def draw_window(axis: Axes, item: Diffusion, style: Style) -> None:
    """Draw D of one temperature against the window, with one standard error of ln D over the tracers as a band."""
    names = ('window_ends_ps', 'window_coefficients', 'window_errors')
    ends, values, errors = (item.msd.get_array(name) for name in names)
    values, errors = (ANGSTROM2_PER_PS_IN_M2_PER_S / NM2_PER_NS * each for each in (values, errors))
    band = lightened(style.colour, 0.75)
    positive = np.where(values > 0, values, np.nan)
    factors = np.exp(np.minimum(errors / positive, LARGEST_EXPONENT))
    axis.fill_between(ends, values / factors, values * factors, color=band, linewidth=0, label='standard error')
    axis.plot(ends, values, color=style.colour, marker=style.marker, markersize=3, linewidth=1, label='D up to here')
    value, interval = (item.results[key] for key in ('diffusion_coefficient_m2_s', 'ci95_m2_s'))
    end = item.results['fit_window_ps'][1]
    value, low, high = np.array([value, *(interval or (value, value))]) / NM2_PER_NS
    options = {'color': INK, 'elinewidth': 1, 'marker': 'D', 'markerfacecolor': 'white', 'zorder': 4}
    axis.errorbar(end, value, [[value - low], [high - value]], label='reported D, 95 %', **options)
    axis.set_xlim(0, 1.05 * ends[-1])
    shown = (values + errors)[ends <= 2 * end].max(initial=value)
    axis.set_ylim(min(0, 1.1 * low), 1.1 * max(shown, min(high, HIGHEST_TOP * shown)))
    axis.set_title(f'{item.series}, {item.target_temperature_k:g} K')
