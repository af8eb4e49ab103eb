"""Barriers, and the energy along the paths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aiida_mghdiff.report.figures.canvas import all_handles, draw_bars, new_grid
from aiida_mghdiff.report.references import Reference
from aiida_mghdiff.report.results import BarrierRow, barrier_rows
from aiida_mghdiff.report.study import Barrier, Study
from aiida_mghdiff.report.style import INK

NO_ROW: BarrierRow = {'potential': '', 'path': '', 'barrier_ev': None, 'reason': None, 'uuid': ''}


def barrier_groups(barriers: Iterable[Barrier]) -> dict[str, dict[str, BarrierRow]]:
    """Return the barriers by direction and potential; a path between equal sites has one direction."""
    groups: dict[str, dict[str, BarrierRow]] = {}
    for barrier in barriers:
        for row in reversed(barrier_rows(barrier)):
            groups.setdefault(row['path'], {})[barrier.label] = row
    return dict(sorted(groups.items()))


def draw_barriers(study: Study) -> Figure:
    """Return bars of the barriers, a group for each direction of a path."""
    styles, groups = study.styles, barrier_groups(study.barriers)
    labels = [label for label in styles if any(label in group for group in groups.values())]
    figure, axes = new_grid(len(groups), 2, 0.75 + 0.3 * len(labels), sharex=True, sharey=True)
    for axis, (direction, group) in zip(axes, groups.items(), strict=True):
        rows = [group.get(label, NO_ROW) for label in labels]
        values, marks = [row['barrier_ev'] for row in rows], ['*' if row['reason'] else '' for row in rows]
        draw_bars(axis, values, [styles[label] for label in labels], '.3f', marks=marks)
        for place in (place for place, row in enumerate(rows) if row['reason'] and row['barrier_ev'] is None):
            axis.annotate('none', (0, place), xytext=(4, 0), textcoords='offset points', va='center')
        draw_published(axis, [value for value in study.published('barrier_ev') if value.path == direction])
        axis.set_title(direction.replace('->', ' → '))
        axis.set_yticks(range(len(labels)), labels)
    axes[0].invert_yaxis()
    found = [row['barrier_ev'] for group in groups.values() for row in group.values() if row['barrier_ev'] is not None]
    published = [value.value for value in study.published('barrier_ev')]
    axes[0].set_xlim(0, 1.2 * max([*found, *published], default=1.0))
    figure.supxlabel('barrier (eV)')
    handles, names = all_handles(axes)
    if names:
        figure.legend(handles, names, loc='outside upper right', ncols=3)
    return figure


def draw_published(axis: Axes, references: Sequence[Reference]) -> None:
    """Draw published barriers of one direction as upright lines."""
    for reference, line in zip(references, cycle(('-', '--', ':', '-.')), strict=False):
        name = f'{reference.label}, {reference.short}'
        axis.axvline(reference.value, color=INK, linestyle=line, linewidth=1.2, label=name, zorder=4)


def draw_paths(study: Study) -> Figure:
    """Return the energy along each path, relative to its start, one panel a path."""
    styles = study.styles
    paths = sorted({barrier.path for barrier in study.barriers})
    figure, axes = new_grid(len(paths), 2, 2.9)
    for axis, path in zip(axes, paths, strict=True):
        for barrier in (item for item in study.barriers if item.path == path):
            style, energies = styles[barrier.label], np.array(barrier.results['energies_ev'], float)
            options = {'color': style.colour, 'linestyle': style.line, 'marker': style.marker, 'linewidth': 1.2}
            x = barrier.results['reaction_coordinate_angstrom']
            axis.plot(x, energies - energies[0], label=barrier.label, **options)
        axis.set(title=path, xlabel='length along the path (Å)', ylabel='energy (eV)')
    side = {'loc': 'outside right center'} if len(paths) == 1 else {'loc': 'outside lower center', 'ncols': 5}
    figure.legend(*all_handles(axes), **side)
    return figure
