"""Errors of potentials: bars, parity plots and learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aiida_mghdiff.report.figures.canvas import HALO, HEIGHT, all_handles, draw_bars, new_figure, plain_log_ticks
from aiida_mghdiff.report.study import HELD_OUT, Errors, Study
from aiida_mghdiff.report.style import ELEMENT_COLOURS, ELEMENT_MARKERS, GUIDE, INK, MARKERS, Style
from aiida_mghdiff.science import metrics
from aiida_mghdiff.science.units import EV_IN_MEV

MOST_POINTS = 4000
#: Panels in a row.
MOST_COLUMNS = 5
COMPOSITION_COLOURS = colormaps['viridis']
#: Keys of the metrics of a composition, and formats of their values.
CONTENT_KEYS = {'energy_rmse_shifted_mev_per_atom': '.2f', 'force_rmse_mev_per_angstrom': '.0f'}


def draw_errors(study: Study) -> Figure:
    """Return bars of the RMSE of energies and forces of each potential, with marks for the forces on each element."""
    styles = [study.styles[errors.label] for errors in study.errors]
    figure, axes = new_figure(1.3 + 0.34 * len(study.errors), 1, 2, sharey=True)
    energies = [errors.metrics['energy_rmse_shifted_mev_per_atom'] for errors in study.errors]
    forces = [errors.metrics['force_rmse_mev_per_angstrom'] for errors in study.errors]
    draw_bars(axes[0, 0], energies, styles, '.2f')
    draw_bars(axes[0, 1], forces, styles, '.0f', draw_element_errors(axes[0, 1], study.errors))
    axes[0, 0].set(title='Energy, shift per composition removed', xlabel='RMSE (meV/atom)')
    axes[0, 1].set(title='Forces', xlabel='RMSE (meV/Å)')
    axes[0, 0].set_yticks(range(len(study.errors)), [errors.name for errors in study.errors])
    axes[0, 0].invert_yaxis()
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower right', ncols=len(labels))
    return figure


def draw_content_errors(study: Study) -> Figure | None:
    """Return bars of the RMSE of each potential, a row of panels for each composition; None for one composition."""
    items = [errors for errors in study.errors if 'by_composition' in errors.metrics.get_dict()]
    found = {(formula, errors.source) for errors in items for formula in errors.metrics['by_composition']}
    contents = sorted(found, key=lambda content: (content_order(content[0]), content[1] != HELD_OUT, content[1]))
    if len(contents) < 2:
        return None
    groups = [[errors for errors in items if errors.source == source] for _, source in contents]
    counts = [0.8 + len(group) for group in groups]
    figure, axes = new_figure(
        0.5 + min(0.28 * sum(counts), HEIGHT), len(contents), 2, sharex='col', height_ratios=counts
    )
    for row, (formula, _), group in zip(axes, contents, groups, strict=True):
        draw_composition(row, group, formula, study.styles)
    for column, key in zip(axes.T, CONTENT_KEYS, strict=True):
        values = [composition_error(errors, formula, key) or 0.0 for errors in items for formula, _ in contents]
        column[0].set_xlim(0, 1.2 * max(values) or 1)
    axes[-1, 0].set_xlabel('RMSE of energies, shift removed (meV/atom)')
    axes[-1, 1].set_xlabel('RMSE of forces (meV/Å)')
    return figure


def draw_composition(row: Sequence[Axes], items: Sequence[Errors], formula: str, styles: dict[str, Style]) -> None:
    """Draw the errors of energies and forces of one composition."""
    for axis, (key, spec) in zip(row, CONTENT_KEYS.items(), strict=True):
        values = [composition_error(errors, formula, key) for errors in items]
        draw_bars(axis, values, [styles[errors.label] for errors in items], spec)
    known = [errors.metrics['by_composition'].get(formula, {}).get('n_configurations', 0) for errors in items]
    row[0].set_title(f'{Formula(formula):metal} ({max(known)} {items[0].source})')
    row[0].set_yticks(range(len(items)), [errors.label for errors in items])
    row[1].set_yticks([])
    for axis in row:
        axis.set_ylim(len(items) - 0.5, -0.5)


def composition_error(errors: Errors, formula: str, key: str) -> float | None:
    """Return an error on one composition; None if undefined, as for a single energy after the shift."""
    found = errors.metrics['by_composition'].get(formula, {})
    return None if 'energy' in key and found.get('n_configurations') == 1 else found.get(key)


def content_order(formula: str) -> tuple[float, str]:
    """Return a sort key of formulas: the fraction of all elements but the most frequent."""
    counts = Formula(formula).count().values()
    return 1 - max(counts) / sum(counts), formula


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


def draw_parity(study: Study) -> Figure:
    """Return parity plots of energies and forces, two panels of equal axes for each potential.

    Energies are relative to the mean of their composition, which removes the shift of the composition.
    """
    blocks = -(-len(study.errors) // MOST_COLUMNS)
    columns = -(-len(study.errors) // blocks)
    height = min(2 * blocks * (0.6 + 6.2 / max(columns, 3)), HEIGHT)
    figure, axes = new_figure(height + 0.3, 2 * blocks, columns)
    shown = {formula for errors in study.errors for formula in errors.dataset.base.attributes.get('formulas')}
    marks = dict(zip(sorted(shown, key=content_order), composition_marks(len(shown)), strict=True))
    energies, forces = list(axes[::2].flat), list(axes[1::2].flat)
    for axis, errors in zip(energies, study.errors, strict=False):
        draw_energy_parity(axis, errors, marks)
    for axis, errors in zip(forces, study.errors, strict=False):
        draw_force_parity(axis, errors)
    for panels, quantity in ((energies, 'energy (meV/atom)'), (forces, 'force (eV/Å)')):
        for axis in panels[len(study.errors) :]:
            axis.remove()
        finish_parity(panels[: len(study.errors)], columns, quantity)
    figure.supxlabel('reference')
    figure.legend(*all_handles(energies + forces), loc='outside upper center', ncols=6)
    return figure


def finish_parity(panels: Sequence[Axes], columns: int, quantity: str) -> None:
    """Give panels equal axes and the line of perfect predictions."""
    found = np.abs([value for axis in panels for value in (*axis.dataLim.min, *axis.dataLim.max)])
    limit = 1.05 * max(found[np.isfinite(found)], default=0.0) or 1.0
    for place, axis in enumerate(panels):
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect='equal')
        axis.axline((0, 0), slope=1, color=INK, linewidth=0.8, zorder=1)
        axis.xaxis.set_major_locator(MaxNLocator(3, symmetric=True))
        axis.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))
        if place % columns:
            axis.tick_params(labelleft=False)
        else:
            axis.set_ylabel(f'predicted {quantity}')


def composition_marks(count: int) -> list[tuple[str, Any]]:
    """Return markers and colours, from dark to light, of compositions."""
    return list(zip(cycle(MARKERS), COMPOSITION_COLOURS(np.linspace(0, 0.8, count)), strict=False))


def draw_energy_parity(axis: Axes, errors: Errors, marks: dict[str, tuple[str, Any]]) -> None:
    """Draw the energies of one potential relative to the mean of their composition, if it has more than one."""
    formulas, natoms = errors.dataset.get_formulas(), errors.dataset.get_array('natoms')
    compositions, kept = np.array(formulas), metrics.have_company(formulas)
    reference, found = (
        EV_IN_MEV * node.get_array('energies') / natoms for node in (errors.dataset, errors.predictions)
    )
    reference, found = (
        metrics.remove_shifts(values, formulas, metrics.composition_shifts(values, formulas))
        for values in (reference, found)
    )
    for formula, (marker, colour) in marks.items():
        frames = kept & (compositions == formula)
        options = {'s': 12, 'marker': marker, 'color': colour, 'alpha': 0.8, 'linewidths': 0, 'rasterized': True}
        if frames.any():
            axis.scatter(reference[frames], found[frames], label=f'{Formula(formula):metal}', zorder=2, **options)
    axis.set_title(errors.name)
    write_worth(axis, metrics.errors(found[kept], reference[kept]), '.2f', 'meV/atom')


def write_worth(axis: Axes, worth: dict[str, float | None], spec: str, unit: str) -> None:
    """Write RMSE and R² into the corner of a panel."""
    r2 = '' if worth['r2'] is None else f'\nR² {worth["r2"]:.4f}'
    text = 'no RMSE' if worth['rmse'] is None else f'RMSE {worth["rmse"]:{spec}}\n{unit}{r2}'
    axis.text(0.04, 0.97, text, transform=axis.transAxes, va='top', fontsize=6.5, path_effects=[HALO], zorder=5)


def draw_force_parity(axis: Axes, errors: Errors) -> None:
    """Draw the force components of one potential."""
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
            marker='o' if number == numbers.min() else 's',
            color=ELEMENT_COLOURS.get(symbol, GUIDE),
            alpha=0.6,
            linewidths=0,
            label=f'forces on {symbol}',
            rasterized=True,
            zorder=2 + (number == numbers.min()),
        )
    keys = {'rmse': 'force_rmse_mev_per_angstrom', 'r2': 'force_r2'}
    write_worth(axis, {name: errors.metrics[key] for name, key in keys.items()}, '.0f', 'meV/Å')


def draw_learning_curves(study: Study) -> Figure:
    """Return the errors on the validation set against the epoch."""
    styles = study.styles
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
