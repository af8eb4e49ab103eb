"""Figures of the tracers' positions: radial distributions, pairs of tracers, density in the unit cell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from aiida import orm
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import map_coordinates

from aiida_mghdiff.report.figures.canvas import HEIGHT, PAGE, all_handles, new_figure, new_grid
from aiida_mghdiff.report.study import Diffusion, Study, by_series, output
from aiida_mghdiff.report.style import GUIDE, INK, SITE_STYLES, Style

RESOLUTION = 160
#: Height in inches of the panel with the mean numbers of pairs.
MEANS_HEIGHT = 1.9
#: Smallest coloured density as a fraction of the largest density.
DEPTH = 1e-3


def draw_radial_distributions(study: Study) -> Figure | None:
    """Return g(r): a row for each pair of elements, a column for each temperature, a line for each series."""
    items = [item for item in study.diffusion if output(item.call, 'rdf') is not None]
    if not items:
        return None
    pairs = sorted({name for item in items for name in pair_names(output(item.call, 'rdf'))}, key=pair_order)
    temperatures = sorted({item.target_temperature_k for item in items})
    figure, axes = new_figure(0.7 + 1.25 * len(pairs), len(pairs), len(temperatures), sharex=True, sharey='row')
    styles = study.series_styles
    for (row, pair), (column, temperature) in product(enumerate(pairs), enumerate(temperatures)):
        axis = axes[row, column]
        drawn = [item for item in items if item.target_temperature_k == temperature]
        draw_distributions(axis, drawn, pair, styles)
        if not row:
            axis.set_title(f'{temperature:g} K')
    for row, pair in enumerate(pairs):
        axes[row, 0].set_ylabel(f'g(r) {pair.replace("_", "–")}')
        axes[row, 0].set_ylim(bottom=0)
    figure.supxlabel('distance (Å)')
    figure.legend(*all_handles(axes.flat), loc='outside upper center', ncols=4)
    return figure


def pair_names(rdf: orm.ArrayData) -> list[str]:
    """Return the names of the pairs of elements, such as ``Mg_H``."""
    return [name for name in rdf.get_arraynames() if name.count('_') == 1 and 'coordination' not in name]


def pair_order(name: str) -> tuple[bool, str]:
    """Return a sort key of pairs: pairs of different elements first."""
    first, second = name.split('_')
    return first == second, name


def draw_distributions(axis: Axes, items: Sequence[Diffusion], pair: str, styles: dict[str, Style]) -> None:
    """Draw g(r) of one pair at one temperature."""
    axis.axhline(1, color=GUIDE, linewidth=0.6, zorder=1)
    for place, item in enumerate(items):
        rdf, style = output(item.call, 'rdf'), styles[item.series]
        if pair in rdf.get_arraynames():
            options = {'color': style.colour, 'linestyle': style.line, 'linewidth': 1.1}
            options |= {'marker': style.marker, 'markersize': 3, 'markevery': (0.02 * place, 0.15)}
            axis.plot(rdf.get_array('distances'), rdf.get_array(pair), label=item.series, **options)


def draw_site_distributions(study: Study) -> Figure | None:
    """Return g(r) of the showcase by the site of the tracer, and of pairs of tracers compared with random sites."""
    item = study.showcase
    rdf = output(item.call, 'rdf') if item else None
    if item is None or rdf is None:
        return None
    tracer, host = item.tracer_element, item.host
    near, pair = f'{host}_{tracer}', f'{tracer}_{tracer}'
    panels = [
        (near, {near: 'all', f'{near}_octahedral': 'octahedral', f'{near}_tetrahedral': 'tetrahedral'}),
        (pair, {pair: 'measured', f'{pair}_random_sites': 'random sites'}),
    ]
    known = rdf.get_arraynames()
    panels = [(pair, lines) for pair, lines in panels if len(known & lines.keys()) > 1]
    if not panels:
        return None
    figure, axes = new_grid(len(panels), 2, 2.3)
    for axis, (pair, lines) in zip(axes, panels, strict=True):
        axis.axhline(1, color=GUIDE, linewidth=0.6, zorder=1)
        for (name, label), line in zip(lines.items(), ('-', (0, (4, 1.5)), (0, (1, 1.2))), strict=False):
            if name in known:
                colour = INK if line == '-' else SITE_STYLES.get(label[0].upper(), (GUIDE, ''))[0]
                axis.plot(rdf.get_array('distances'), rdf.get_array(name), color=colour, linestyle=line, label=label)
        axis.set(title=pair.replace('_', '–'), xlabel='distance (Å)', ylabel='g(r)', ylim=(0, None))
        axis.legend(loc='best')
    return figure


def draw_pairs(study: Study) -> Figure | None:
    """Return the distribution of the number of tracer pairs with Poisson's law, and its mean against temperature."""
    items = [item for item in study.diffusion if output(item.call, 'pairs') is not None]
    if not items:
        return None
    rows = len(by_series(items))
    height = min(1.5, (HEIGHT - MEANS_HEIGHT) / rows)
    figure = Figure(figsize=(PAGE, height * rows + MEANS_HEIGHT + 0.3), layout='constrained')
    above, below = figure.subfigures(2, 1, height_ratios=[height * rows, MEANS_HEIGHT], squeeze=False)[:, 0]
    draw_pair_grid(above, items, study.series_styles)
    draw_mean_pairs(below.subplots(), items, study.series_styles)
    below.legend(*below.axes[0].get_legend_handles_labels(), loc='outside right center')
    return figure


def draw_pair_grid(figure: SubFigure, items: Sequence[Diffusion], styles: dict[str, Style]) -> None:
    """Draw the distributions of the numbers of pairs, a row for each series, a column for each temperature."""
    series, temperatures = by_series(items), sorted({item.target_temperature_k for item in items})
    axes = figure.subplots(len(series), len(temperatures), squeeze=False, sharex=True, sharey='row')
    places = {(item.series, item.target_temperature_k): item for item in items}
    for (row, name), (column, temperature) in product(enumerate(series), enumerate(temperatures)):
        if (name, temperature) in places:
            draw_pair_counts(axes[row, column], places[name, temperature], styles[name])
        else:
            axes[row, column].text(0.5, 0.5, 'no run', transform=axes[row, column].transAxes, ha='center')
    for row, name in zip(axes, series, strict=True):
        row[0].set_ylabel(name.replace(', ', '\n', 1))
        row[0].set_ylim(0, 1.3 * row[0].get_ylim()[1])  # room for λ above the bars
    for axis, temperature in zip(axes[0], temperatures, strict=True):
        axis.set_title(f'{temperature:g} K')
    cutoffs = sorted({output(item.call, 'pairs')['cutoff_angstrom'] for item in items})
    figure.supxlabel(f'pairs within {" or ".join(f"{value:g}" for value in cutoffs)} Å')
    figure.supylabel('fraction of frames')
    figure.legend(*all_handles(axes.flat), loc='outside upper center', ncols=3)


def draw_pair_counts(axis: Axes, item: Diffusion, style: Style) -> None:
    """Draw the distribution of the number of pairs of one run."""
    pairs = output(item.call, 'pairs')
    numbers = pairs['numbers_of_pairs']
    axis.bar(
        numbers,
        pairs['observed'],
        0.8,
        color=style.fill,
        edgecolor=INK,
        hatch=style.hatch,
        linewidth=0.6,
        label='measured',
    )
    axis.plot(numbers, pairs['poisson'], 'o--', color=INK, markersize=3.5, linewidth=0.9, label='Poisson')
    if pairs['random_sites'] is not None:
        options = {'color': GUIDE, 'markersize': 3.5, 'linewidth': 0.9, 'markerfacecolor': 'white'}
        axis.plot(numbers, pairs['random_sites'], 'D:', label='random sites', **options)
    axis.text(0.97, 0.94, f'λ = {pairs["mean_pairs"]:.2f}', transform=axis.transAxes, ha='right', va='top')
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def draw_mean_pairs(axis: Axes, items: Sequence[Diffusion], styles: dict[str, Style]) -> None:
    """Draw the mean number of pairs of each series against temperature."""
    for name, group in by_series(items).items():
        style, found = styles[name], [output(item.call, 'pairs') for item in group]
        temperatures = [pairs['temperature_k'] for pairs in found]
        values, errors = ([pairs[key] for pairs in found] for key in ('mean_pairs', 'mean_pairs_error'))
        errors = [np.nan if error is None else error for error in errors]
        options = {'color': style.colour, 'marker': style.marker, 'linestyle': style.line, 'linewidth': 1}
        axis.errorbar(temperatures, values, errors, label=name, markersize=4, **options)
        chance = [pairs['mean_pairs_random_sites'] for pairs in found]
        chance = [np.nan if value is None else value for value in chance]
        axis.plot(temperatures, chance, ':', color=GUIDE, marker='D', markerfacecolor='white', markersize=3.5)
    axis.set(title='Mean number of pairs', xlabel='T (K)', ylabel='λ')
    axis.set_ylim(bottom=0)
    axis.margins(x=0.1)


def draw_density(study: Study) -> Figure | None:
    """Return the density of the tracer in the plane that contains c and all sites, a panel for each temperature."""
    series = study.series[study.showcase.series] if study.showcase else []
    items = [item for item in series if output(item.call, 'density') is not None]
    if not items:
        return None
    maps = [output(item.call, 'density') for item in items]
    highest = max(node.get_array('density').max() for node in maps)
    norm = LogNorm(DEPTH * highest, highest)
    figure, axes = new_figure(2.6, 1, len(items), width=min(PAGE, 1.2 + 2.0 * len(items)), sharey=True)
    for axis, item, node in zip(axes[0], items, maps, strict=True):
        image = draw_section(axis, node, norm)
        axis.set_title(f'{item.target_temperature_k:g} K', pad=9)
        axis.set_xlabel('along [120] (Å)')
    axes[0, 0].set_ylabel('along c (Å)')
    name = f'density of {items[0].tracer_element} (1/Å³)'
    figure.colorbar(image, ax=axes[0].tolist(), label=name, aspect=30, extend='min')
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=3)
    return figure


def draw_section(axis: Axes, node: orm.ArrayData, norm: LogNorm) -> object:
    """Draw the density in the plane through octahedral sites, tetrahedral sites and host atoms, and mark these."""
    density, cell = node.get_array('density'), node.get_array('cell')
    origin, along = node.get_array('octahedral')[0], cell[0] + 2 * cell[1]
    length, height = np.linalg.norm(along), np.linalg.norm(cell[2])
    x, y = np.linspace(0, 1, RESOLUTION), np.linspace(0, 1, RESOLUTION)
    points = origin + x[:, None, None] * along + y[None, :, None] * cell[2]
    indices = np.moveaxis(points @ np.linalg.inv(cell) * density.shape - 0.5, -1, 0)
    values = np.maximum(map_coordinates(density, indices, order=1, mode='grid-wrap'), norm.vmin or 0.0)
    image = axis.pcolormesh(
        x * length, y * height, values.T, norm=norm, cmap='Blues', rasterized=True, shading='gouraud'
    )
    for kind, name in (('O', 'octahedral'), ('T', 'tetrahedral'), ('host', 'host_positions')):
        places = in_plane(node.get_array(name), origin, along, cell)
        colour, marker = SITE_STYLES[kind]
        options = {'markeredgecolor': colour, 'markerfacecolor': 'none', 'linestyle': 'none', 'markersize': 6}
        axis.plot(*places.T, marker, label=name.removesuffix('_positions'), clip_on=False, **options)
    axis.set(xlim=(0, length), ylim=(0, height), aspect='equal')
    axis.grid(visible=False)
    return image


def in_plane(points: np.ndarray, origin: np.ndarray, along: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return the positions [m,2] in Å of points [n,3] and their images in the plane, including its edges."""
    shifts = np.array(list(product((-1, 0, 1, 2), repeat=3))) @ cell
    relative = (points + shifts[:, None]).reshape(-1, 3) - origin
    x, y = relative @ along / (along @ along), relative @ cell[2] / (cell[2] @ cell[2])
    off = np.linalg.norm(relative - np.outer(x, along) - np.outer(y, cell[2]), axis=1)
    inside = (off < 0.1) & (x > -1e-3) & (x < 1.001) & (y > -1e-3) & (y < 1.001)
    return np.stack([x, y], axis=1)[inside] * [np.linalg.norm(along), np.linalg.norm(cell[2])]
