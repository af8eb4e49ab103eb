"""Errors of potentials: bars, parity, and the way there in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.formula import Formula
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aiida_mghdiff.report.figures.canvas import HEIGHT, draw_bars, new_figure, new_grid, plain_log_ticks
from aiida_mghdiff.report.study import Errors, Study
from aiida_mghdiff.report.style import ELEMENT_COLOURS, ELEMENT_MARKERS, GUIDE, INK, Style, styles_of
from aiida_mghdiff.science.units import EV_IN_MEV

MOST_POINTS = 4000
#: Keys of the metrics of a composition, and how their values are written.
CONTENT_KEYS = {'energy_rmse_shifted_mev_per_atom': '.2f', 'force_rmse_mev_per_angstrom': '.0f'}


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


def draw_content_errors(study: Study) -> Figure | None:
    """Return bars of the RMSE of each potential, a row of panels for each composition; None where there is only one."""
    items = [errors for errors in study.errors if 'by_composition' in errors.metrics.get_dict()]
    formulas = sorted({formula for errors in items for formula in errors.metrics['by_composition']}, key=content_order)
    if len(formulas) < 2:
        return None
    height = min(0.4 + 0.2 * len(items), HEIGHT / len(formulas))
    figure, axes = new_figure(0.5 + height * len(formulas), len(formulas), 2, sharey=True, sharex='col')
    styles = styles_of(study.potentials)
    for row, formula in zip(axes, formulas, strict=True):
        draw_composition(row, items, formula, styles)
    for column, key in zip(axes.T, CONTENT_KEYS, strict=True):
        values = [composition_error(errors, formula, key) or 0.0 for errors in items for formula in formulas]
        column[0].set_xlim(0, 1.2 * max(values))
    axes[0, 0].invert_yaxis()
    axes[-1, 0].set_xlabel('RMSE of energies, shift removed (meV/atom)')
    axes[-1, 1].set_xlabel('RMSE of forces (meV/Å)')
    return figure


def draw_composition(row: Sequence[Axes], items: Sequence[Errors], formula: str, styles: dict[str, Style]) -> None:
    """Draw the errors of energies and forces of one composition."""
    for axis, (key, spec) in zip(row, CONTENT_KEYS.items(), strict=True):
        values = [composition_error(errors, formula, key) for errors in items]
        draw_bars(axis, values, [styles[errors.label] for errors in items], spec)
    known = [errors.metrics['by_composition'].get(formula, {}).get('n_configurations', 0) for errors in items]
    row[0].set_title(f'{Formula(formula):metal} ({max(known)} configurations)')
    row[0].set_yticks(range(len(items)), [errors.label for errors in items])


def composition_error(errors: Errors, formula: str, key: str) -> float | None:
    """Return an error on one composition; None where there is none, as that of one energy whose shift is removed."""
    found = errors.metrics['by_composition'].get(formula, {})
    return None if 'energy' in key and found.get('n_configurations') == 1 else found.get(key)


def content_order(formula: str) -> tuple[float, str]:
    """Return what sorts formulas: the share of all elements but the commonest."""
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
    figure.supxlabel('force component, reference (eV/Å)')
    figure.supylabel('predicted (eV/Å)')
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
    axis.text(0.04, 0.96, text, transform=axis.transAxes, va='top')
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
