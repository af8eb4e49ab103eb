"""Table of D (potentials and temperatures), and D against the content of tracers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from aiida_mghdiff.report.figures.arrhenius import experiment
from aiida_mghdiff.report.figures.baseline import Baseline, read_baseline
from aiida_mghdiff.report.figures.canvas import (
    COLUMN,
    PAGE,
    all_handles,
    error_bars,
    new_figure,
    scientific,
    shared_exponent,
)
from aiida_mghdiff.report.references import Reference
from aiida_mghdiff.report.study import Arrhenius, Diffusion, Study
from aiida_mghdiff.report.style import GUIDE, INK, MARKERS, SEQUENCE
from aiida_mghdiff.report.tables import with_error

#: Deviation in decades with the darkest colour.
DECADES = 1.0


def draw_coefficients(study: Study) -> Figure:
    """Return D of each series at each temperature and its activation energy as a table, coloured by the deviation."""
    baseline, temperatures = read_baseline(study), sorted({item.target_temperature_k for item in study.diffusion})
    rows, columns = len(study.series), len(temperatures) + bool(study.arrhenius)
    width = min(PAGE, 2.0 + 1.25 * columns)
    figure, axes = new_figure(1.1 + 0.42 * rows, width=width)
    axis = axes[0, 0]
    for row, (name, items) in enumerate(study.series.items()):
        for item in items:
            draw_cell(axis, row, temperatures.index(item.target_temperature_k), item, baseline)
        for fit in (fit for fit in study.arrhenius if fit.series == name):
            draw_energy(axis, row, columns - 1, fit)
    energy = ['Ea (eV)'] if study.arrhenius else []
    axis.set_xticks(range(columns), [*(f'{value:g} K' for value in temperatures), *energy])
    axis.set_yticks(range(rows), list(study.series))
    axis.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axis.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.set_title('D (m²/s)', pad=18)
    colours = ScalarMappable(Normalize(0, DECADES), SEQUENCE)
    if baseline is not None:
        options = {'location': 'bottom', 'extend': 'max', 'aspect': 40, 'shrink': 0.6, 'pad': 0.03}
        figure.colorbar(colours, ax=axis, label=f'|log₁₀ D/D₀|, D₀: {baseline.name}', **options)
    return figure


def draw_cell(axis: Axes, row: int, column: int, item: Diffusion, baseline: Baseline | None) -> None:
    """Write one D with its 95 % interval and its ratio to the baseline."""
    text, deviation = coefficient_text(item), None
    if baseline is not None and item.results['diffusing']:
        deviation = baseline.deviation(item)
    if deviation is not None:
        text += f'\n{f"{10**deviation:#.2g}".rstrip(".")} D₀'
    colour = SEQUENCE(abs(deviation) / DECADES) if deviation is not None else 'white'
    axis.add_patch(Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=colour, edgecolor=GUIDE, linewidth=0.5))
    dark = np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.5 if deviation is not None else False
    axis.text(column, row, text, ha='center', va='center', color='white' if dark else INK)


def coefficient_text(item: Diffusion) -> str:
    """Return D with its 95 % interval in a second line, or its upper bound, as text."""
    results = item.results
    value, limits = results['diffusion_coefficient_m2_s'], results['ci95_m2_s']
    if value is None:
        return f'< {scientific(results["upper_bound_m2_s"])}'
    return scientific(value) + ('' if limits is None else f'\n{shared_exponent(value, limits)}')


def draw_energy(axis: Axes, row: int, column: int, fit: Arrhenius) -> None:
    """Write an activation energy with its standard error."""
    value, error = (fit.results[key] for key in ('activation_energy_ev', 'activation_energy_error_ev'))
    axis.text(column, row, with_error(value, error, '.2f'), ha='center', va='center')


def draw_contents(study: Study) -> Figure | None:
    """Return D and the activation energy against the content of tracers, for the best potential with several contents.

    Runs with another time step are left out, so that only the content differs.
    """
    groups: dict[tuple[str, float], list[Diffusion]] = {}
    for item in study.diffusion:
        groups.setdefault((item.label, item.time_step_fs), []).append(item)
    several = [key for key, items in groups.items() if len({content(item) for item in items}) > 1]
    if not several:
        return None
    label, step = next((key for key in several if key[0] == study.best_label), several[0])
    items, one = groups[label, step], groups[label, step][0]
    fits = [fit for fit in study.arrhenius if (fit.label, fit.time_step_fs) == (label, step)]
    figure, axes = new_figure(3.9 if fits else 2.4, 2 if fits else 1, width=COLUMN, sharex=True)
    draw_content_coefficients(axes[0, 0], items)
    if fits:
        draw_content_energies(axes[1, 0], fits, one.n_atoms - one.tracer_count, experiment(study))
    axes[0, 0].set_title(f'{label}, {step:g} fs' if len({key for key in groups if key[0] == label}) > 1 else label)
    axes[-1, 0].set_xlabel(f'{one.tracer_element} per {one.host}')
    figure.legend(*all_handles(axes.flat), loc='outside lower center', ncols=2)
    return figure


def content(item: Diffusion) -> float:
    """Return the number of tracers per host atom."""
    return item.tracer_count / (item.n_atoms - item.tracer_count)


def draw_content_coefficients(axis: Axes, items: Sequence[Diffusion]) -> None:
    """Draw D against content, a line for each temperature."""
    temperatures = sorted({item.target_temperature_k for item in items})
    shades = SEQUENCE(np.linspace(0.45, 1, len(temperatures)))
    for temperature, colour, marker in zip(temperatures, shades, MARKERS, strict=False):
        drawn = [item for item in items if item.target_temperature_k == temperature and item.results['diffusing']]
        drawn = sorted(drawn, key=content)
        values = np.array([item.results['diffusion_coefficient_m2_s'] for item in drawn])
        intervals = np.array([item.results['ci95_m2_s'] or (np.nan, np.nan) for item in drawn]).reshape(-1, 2)
        errors = error_bars(values, intervals)
        options = {'color': colour, 'marker': marker, 'linewidth': 1}
        axis.errorbar([content(item) for item in drawn], values, errors, label=f'{temperature:g} K', **options)
    axis.set_yscale('log')
    axis.set_ylabel('D (m²/s)')


def draw_content_energies(axis: Axes, fits: Sequence[Arrhenius], host_atoms: int, measured: Reference | None) -> None:
    """Draw activation energies with 95 % intervals against content, and the experiment's energy."""
    if measured is not None:
        options = {'color': GUIDE, 'linestyle': (0, (6, 2, 1, 2)), 'linewidth': 1.4, 'zorder': 1}
        axis.axhline(measured.value, label=f'{measured.label}, {measured.short}', **options)
    fits = sorted(fits, key=lambda fit: fit.tracer_count)
    values = np.array([fit.results['activation_energy_ev'] for fit in fits])
    limits = np.array([fit.results['ci95_ev'] for fit in fits])
    errors = [values - limits[:, 0], limits[:, 1] - values]
    contents = [fit.tracer_count / host_atoms for fit in fits]
    axis.errorbar(contents, values, errors, color=INK, marker='o', linewidth=1)
    axis.set_ylabel('Ea (eV)')
    axis.yaxis.set_major_locator(MaxNLocator(5))
