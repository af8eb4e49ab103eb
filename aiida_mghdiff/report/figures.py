"""The figures of a study, as PNG and PDF.

Each figure exists only where there is something to draw. Points and lines that need more than the stored numbers (fits,
bands) are computed by ``science`` from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from aiida import orm
from ase.data import atomic_numbers, chemical_symbols
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from aiida_mghdiff.report.results import directions
from aiida_mghdiff.report.study import Barrier, Diffusion, Errors, Study
from aiida_mghdiff.report.style import (
    ELEMENT_COLOURS,
    ELEMENT_MARKERS,
    GUIDE,
    INK,
    RC,
    SHADE,
    Style,
    lightened,
    styles_of,
)
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K, EV_IN_MEV

#: Activation energy of Nishimura, Komaki and Amano, J. Alloys Compd. 293-295, 329 (1999), between 474 and 493 K.
EXPERIMENT_EV = 0.25
WIDTH = 7.2
MOST_POINTS = 4000


def write_figures(study: Study, folder: Path) -> dict[str, Path]:
    """Write each figure as PNG and PDF; return the PNG files by the name of the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    with mpl.rc_context(RC):
        for name, figure in draw_figures(study).items():
            paths[name] = folder / f'{name}.png'
            figure.savefig(paths[name])
            figure.savefig(folder / f'{name}.pdf', metadata={'CreationDate': None})
    return paths


def draw_figures(study: Study) -> dict[str, Figure]:
    """Return the figures of a study by name."""
    makers: dict[str, tuple[Callable[[Study], Figure], Sequence[Any]]] = {
        'rmse': (draw_errors, study.errors),
        'parity': (draw_parity, study.errors),
        'learning_curves': (draw_learning_curves, study.trainings),
        'barriers': (draw_barriers, study.barriers),
        'paths': (draw_paths, study.barriers),
        'msd': (draw_displacements, study.diffusion),
        'arrhenius': (draw_arrhenius, study.diffusion),
        'activation_energies': (draw_activation_energies, study.arrhenius),
    }
    return {name: make(study) for name, (make, items) in makers.items() if items}


def new_figure(height: float, rows: int = 1, columns: int = 1, **kwargs: Any) -> tuple[Figure, np.ndarray]:
    """Return a figure of the common width and its axes [rows, columns]."""
    figure = Figure(figsize=(WIDTH, height), layout='constrained')
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def new_grid(count: int, columns: int, height: float, **kwargs: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels; places that are left over stay empty."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = new_figure(height * rows + 0.3, rows, columns, **kwargs)
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, list(axes.flat[:count])


def draw_errors(study: Study) -> Figure:
    """Return bars of the RMSE of energies and forces of each potential, with marks for the forces on each element."""
    styles = [styles_of(study.potentials)[errors.label] for errors in study.errors]
    figure, axes = new_figure(1.3 + 0.34 * len(study.errors), 1, 2, sharey=True)
    energies = [errors.metrics['energy_rmse_shifted_mev_per_atom'] for errors in study.errors]
    forces = [errors.metrics['force_rmse_mev_per_angstrom'] for errors in study.errors]
    draw_bars(axes[0, 0], energies, styles, '.2f')
    draw_bars(axes[0, 1], forces, styles, '.0f', draw_element_errors(axes[0, 1], study.errors))
    axes[0, 0].set(title='Energy, shift per composition removed', xlabel='RMSE (meV/atom)')
    axes[0, 1].set(title='Forces', xlabel='RMSE (meV/Å)')
    axes[0, 0].set_yticks(range(len(study.errors)), [errors.label for errors in study.errors])
    axes[0, 0].invert_yaxis()
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower right', ncols=len(labels))
    return figure


def draw_element_errors(axis: Axes, items: Sequence[Errors]) -> list[float]:
    """Draw the force errors on each element as marks; return the largest of each potential."""
    symbols = sorted({symbol for errors in items for symbol in errors.metrics['by_element']})
    largest = [0.0] * len(items)
    for symbol, marker in zip(symbols, ELEMENT_MARKERS, strict=False):
        found = [errors.metrics['by_element'].get(symbol, {}) for errors in items]
        values = [each.get('force_rmse_mev_per_angstrom', np.nan) for each in found]
        options = {'markerfacecolor': 'white', 'markeredgecolor': INK, 'linestyle': 'none', 'zorder': 4}
        axis.plot(values, range(len(items)), marker, label=f'on {symbol} alone', **options)
        largest = np.fmax(largest, values).tolist()
    return largest


def draw_bars(
    axis: Axes,
    values: Sequence[float | None],
    styles: Sequence[Style],
    spec: str,
    reach: Sequence[float] | None = None,
) -> None:
    """Draw horizontal bars with their values behind them; none where there is no value.

    :param reach: what else is drawn along each bar, so that the value is written behind it.
    """
    ends = [max(value or 0.0, far) for value, far in zip(values, reach or [0.0] * len(values), strict=True)]
    for place, (value, style, end) in enumerate(zip(values, styles, ends, strict=True)):
        if value is None:
            continue
        axis.barh(place, value, 0.62, color=style.fill, edgecolor=INK, hatch=style.hatch, linewidth=0.7)
        offset = {'xytext': (4 if end == value else 7, 0), 'textcoords': 'offset points', 'va': 'center'}
        axis.annotate(format(value, spec), (end, place), fontsize=8.5, **offset)
    axis.set_xlim(0, 1.2 * max(ends))
    axis.grid(axis='y', visible=False)
    axis.tick_params(axis='y', length=0)


def draw_parity(study: Study) -> Figure:
    """Return predicted against reference force components, one panel a potential, all with the same axes."""
    figure, axes = new_grid(len(study.errors), 3, 2.5, sharex=True, sharey=True)
    limit = 0.0
    for axis, errors in zip(axes, study.errors, strict=True):
        limit = max(limit, draw_parity_panel(axis, errors))
    for axis in axes:
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect='equal')
        axis.axline((0, 0), slope=1, color=INK, linewidth=0.8, zorder=1)
        axis.xaxis.set_major_locator(MaxNLocator(4, symmetric=True))
        axis.yaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    figure.supxlabel('force component, reference (eV/Å)', fontsize=9)
    figure.supylabel('predicted (eV/Å)', fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside upper right', ncols=len(labels), markerscale=2)
    return figure


def draw_parity_panel(axis: Axes, errors: Errors) -> float:
    """Draw the forces of one potential; return the largest of them."""
    numbers = errors.dataset.get_array('numbers')
    reference, predicted = errors.dataset.get_array('forces'), errors.predictions.get_array('forces')
    for number in sorted(np.unique(numbers), reverse=True):
        symbol = chemical_symbols[number]
        atoms = np.flatnonzero(numbers == number)
        atoms = atoms[:: max(1, len(atoms) * 3 // MOST_POINTS)]
        axis.scatter(
            reference[atoms].ravel(),
            predicted[atoms].ravel(),
            s=5,
            marker='o' if number == atomic_numbers['H'] else 's',
            color=ELEMENT_COLOURS.get(symbol, GUIDE),
            alpha=0.6,
            linewidths=0,
            label=symbol,
            rasterized=True,
            zorder=2 + (number == atomic_numbers['H']),
        )
    axis.set_title(errors.label)
    text = f'RMSE {errors.metrics["force_rmse_mev_per_angstrom"]:.0f} meV/Å'
    axis.text(0.04, 0.96, text, transform=axis.transAxes, va='top', fontsize=8)
    return 1.05 * float(max(abs(reference).max(), abs(predicted).max()))


def draw_learning_curves(study: Study) -> Figure:
    """Return the errors on the validation set against the epoch."""
    styles = styles_of(study.potentials)
    figure, axes = new_figure(2.9, 1, 2)
    panels = [
        (axes[0, 0], 'energy_rmse_valid', 'Energy', 'meV/atom'),
        (axes[0, 1], 'force_rmse_valid', 'Forces', 'meV/Å'),
    ]
    for axis, key, title, unit in panels:
        for training in study.trainings:
            style = styles[training.label]
            epochs, values = (training.curves.get_array(name) for name in ('epoch', key))
            options = {'color': style.colour, 'linestyle': style.line, 'marker': style.marker, 'markersize': 4}
            every = max(1, len(epochs) // 8)
            axis.semilogy(epochs + 1, EV_IN_MEV * values, markevery=every, label=training.label, **options)
        axis.set(title=title, xlabel='epoch', ylabel=f'RMSE on validation ({unit})')
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain_log_ticks(axis)
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=min(len(labels), 5))
    return figure


def plain_log_ticks(axis: Axes) -> None:
    """Write 0.5, 20, 300 beside a logarithmic axis instead of powers of ten."""
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    low, high = axis.get_ylim()
    within_a_decade = high / low < 15
    text = FuncFormatter(lambda value, _: f'{value:g}' if f'{value:e}'[0] in '25' else '')
    axis.yaxis.set_minor_formatter(text if within_a_decade else NullFormatter())


def barrier_groups(barriers: Iterable[Barrier]) -> dict[str, dict[str, float]]:
    """Return the barriers by direction and potential; both directions of a path between equal sites are one."""
    groups: dict[str, dict[str, float]] = {}
    for barrier in barriers:
        keys = ('forward_barrier_ev', 'reverse_barrier_ev')
        for name, key in reversed(list(zip(directions(barrier.path), keys, strict=True))):
            groups.setdefault(name, {})[barrier.label] = barrier.results[key]
    return dict(sorted(groups.items()))


def draw_barriers(study: Study) -> Figure:
    """Return bars of the barriers, a group for each direction of a path."""
    styles, groups = styles_of(study.potentials), barrier_groups(study.barriers)
    labels = [label for label in study.potentials if any(label in group for group in groups.values())]
    figure, axes = new_grid(len(groups), 2, 0.75 + 0.3 * len(labels), sharex=True, sharey=True)
    for axis, (direction, group) in zip(axes, groups.items(), strict=True):
        draw_bars(axis, [group.get(label) for label in labels], [styles[label] for label in labels], '.3f')
        axis.set_title(direction.replace('->', ' → '))
        axis.set_yticks(range(len(labels)), labels)
    axes[0].invert_yaxis()
    axes[0].set_xlim(0, 1.2 * max(value for group in groups.values() for value in group.values()))
    figure.supxlabel('barrier (eV)', fontsize=9)
    return figure


def draw_paths(study: Study) -> Figure:
    """Return the energy along each path, relative to its start, one panel a path."""
    styles = styles_of(study.potentials)
    paths = sorted({barrier.path for barrier in study.barriers})
    figure, axes = new_grid(len(paths), 2, 2.9)
    for axis, path in zip(axes, paths, strict=True):
        for barrier in (item for item in study.barriers if item.path == path):
            style, energies = styles[barrier.label], np.array(barrier.results['energies_ev'])
            options = {'color': style.colour, 'linestyle': style.line, 'marker': style.marker, 'linewidth': 1.2}
            x = barrier.results['reaction_coordinate_angstrom']
            axis.plot(x, energies - energies[0], label=barrier.label, **options)
        axis.set(title=path, xlabel='length along the path (Å)', ylabel='energy (eV)')
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    side = {'loc': 'outside right center'} if len(paths) == 1 else {'loc': 'outside lower center', 'ncols': 5}
    figure.legend(handles.values(), handles.keys(), **side)
    return figure


def series_of(study: Study) -> dict[str, list[Diffusion]]:
    """Return the diffusion coefficients by series: a potential and a number of tracers, such as ``mace_ft, 8 H``."""
    series: dict[str, list[Diffusion]] = {}
    for diffusion in study.diffusion:
        series.setdefault(diffusion.series, []).append(diffusion)
    return series


def draw_displacements(study: Study) -> Figure:
    """Return mean squared displacements: each replica, its fit, and the window of the fit."""
    items = [diffusion for group in series_of(study).values() for diffusion in group]
    figure, axes = new_grid(len(items), 3, 2.45)
    styles = styles_of(study.potentials)
    for axis, diffusion in zip(axes, items, strict=True):
        draw_displacement(axis, diffusion, styles[diffusion.label])
    figure.supxlabel('lag time (ps)', fontsize=9)
    figure.supylabel('mean squared displacement (Å²)', fontsize=9)
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
    axis.set_title(f'{diffusion.label}, {diffusion.target_temperature_k:g} K', fontsize=8.5)
    axis.text(0.04, 0.95, describe(diffusion), transform=axis.transAxes, va='top', fontsize=8)
    axis.set_xlim(0, lags[-1])
    axis.set_ylim(0, 1.35 * displacements.sum(axis=-1).max())


def describe(diffusion: Diffusion) -> str:
    """Return D, or its upper bound, and the number of jumps as text of two lines."""
    results = diffusion.results
    jumps = f'{results["jump_count"]} jumps'
    if results['diffusing']:
        return f'D = {scientific(results["diffusion_coefficient_m2_s"])} m²/s\n{jumps}'
    return f'D < {scientific(results["upper_bound_m2_s"])} m²/s\n{jumps}: not diffusing'


def scientific(value: float) -> str:
    """Return a number as ``2.3×10⁻⁹``."""
    digits, exponent = f'{value:.1e}'.split('e')
    return f'{digits}×10{str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))}'


def draw_arrhenius(study: Study) -> Figure:
    """Return D against inverse temperature with 95 % intervals, fits and their bands; upper bounds are arrows.

    The slope of the experiment is a guide through the hottest point of the first fit: its height means nothing.
    """
    styles, series = styles_of(study.potentials), series_of(study)
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
        offset = {'xytext': (0, 6), 'textcoords': 'offset points', 'ha': 'center'}
        axis.annotate(f'{value:.3f} eV', (value, place), fontsize=8.5, **offset)
    axis.set_yticks(range(len(study.arrhenius)), [fit.series for fit in study.arrhenius])
    axis.set_ylim(len(study.arrhenius) - 0.5, -0.75)
    axis.margins(x=0.08)
    axis.grid(axis='y', visible=False)
    axis.set(xlabel='activation energy (eV)')
    figure.legend(*axis.get_legend_handles_labels(), loc='outside lower center')
    return figure
