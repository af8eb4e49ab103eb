"""The interstitial sites of the host, and the named paths between them."""

from __future__ import annotations

from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from aiida_mghdiff.report.figures.canvas import COLUMN, new_figure
from aiida_mghdiff.report.figures.scene import View, draw_segments, draw_spheres, finish, radius_of, view_of
from aiida_mghdiff.report.study import Barrier, Study, output
from aiida_mghdiff.report.style import ELEMENT_COLOURS, GUIDE, INK, PATH_STYLES, SITE_STYLES
from aiida_mghdiff.science.lattice.geometry import LatticeError, hcp_paths, interstitial_sites, neighbour_distance

Paths = dict[str, tuple[np.ndarray, np.ndarray]]


def draw_sites(study: Study) -> Figure | None:
    """Return the sites and named paths of the host of the barriers, with the bands of the best potential.

    None if the host is not an hcp crystal.
    """
    host = study.barriers[0].call.node.inputs.host.get_ase()
    cell, spacing = host.cell.array, neighbour_distance(host.cell.array, len(host))
    try:
        paths = hcp_paths(cell, host.positions)
        sites = interstitial_sites(cell, host.positions)
    except LatticeError:
        return None
    drawn = paths | {'T-T': gathered(paths, sites[1], cell)}
    ends = np.concatenate([np.stack(path) for path in drawn.values()])
    atoms = near(ends, host.positions, cell, 0.75 * spacing)
    figure, axes = new_figure(3.8, width=COLUMN)
    axis, view = axes[0, 0], view_of(atoms, azimuth=-85, elevation=14)
    draw_host(axis, view, atoms, host.get_chemical_symbols()[0], 1.2 * spacing)
    for kind, points in zip('OT', sites, strict=True):
        draw_kind(axis, view, near(ends, points, cell, 0.1), kind)
    for name, path in drawn.items():
        draw_named(axis, view, name, path)
    for barrier in (item for item in study.barriers if item.label == study.best_label):
        draw_band(axis, view, barrier, paths[barrier.path][0], drawn[barrier.path][0], cell)
    finish(axis)
    figure.legend(*axis.get_legend_handles_labels(), loc='outside lower center', ncols=3)
    return figure


def gathered(paths: Paths, tetrahedral: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the path ``T-T``, moved to start from the equivalent site [3] nearest to the end of ``O-T``."""
    start, end = paths['T-T']
    target, step = paths['O-T'][1], end - start
    sites = near(target[None], tetrahedral, cell, 2 * float(np.linalg.norm(paths['O-T'][1] - paths['O-T'][0])))
    equal = sites[cKDTree(sites).query(sites + step)[0] < 0.1]
    nearest = equal[np.argmin(np.linalg.norm(equal - target, axis=1))]
    return nearest, nearest + step


def near(ends: np.ndarray, points: np.ndarray, cell: np.ndarray, reach: float) -> np.ndarray:
    """Return the points [m,3], periodic images included, within a distance of any of the ends [k,3]."""
    shifts = np.array(list(product((-2, -1, 0, 1, 2), repeat=3))) @ cell
    images = (points + shifts[:, None]).reshape(-1, 3)
    return images[cKDTree(ends).query(images)[0] < reach]


def draw_host(axis: Axes, view: View, atoms: np.ndarray, symbol: str, reach: float) -> None:
    """Draw host atoms [m,3] and lines between neighbours."""
    pairs = cKDTree(atoms).query_pairs(reach, output_type='ndarray')
    draw_segments(axis, view, atoms[pairs], colors=GUIDE, linewidths=0.6, alpha=0.5, zorder=1)
    colour = ELEMENT_COLOURS.get(symbol, GUIDE)
    draw_spheres(axis, view, atoms, [0.35 * radius_of(symbol)] * len(atoms), [colour] * len(atoms))
    axis.plot([], [], 'o', color=colour, markeredgecolor=INK, markersize=7, label=symbol)


def draw_kind(axis: Axes, view: View, points: np.ndarray, kind: str) -> None:
    """Draw the sites of one kind."""
    colour, marker = SITE_STYLES[kind]
    options = {'markerfacecolor': 'white', 'markeredgecolor': colour, 'markersize': 5, 'linestyle': 'none', 'zorder': 5}
    axis.plot(*view.project(points)[0].T, marker, label={'O': 'octahedral', 'T': 'tetrahedral'}[kind], **options)


def draw_named(axis: Axes, view: View, name: str, path: tuple[np.ndarray, np.ndarray]) -> None:
    """Draw a path as an arrow."""
    colour, line = PATH_STYLES[name]
    (start, end), *_ = view.project(np.stack(path))
    options = {'arrowstyle': '-|>', 'color': colour, 'linestyle': line, 'linewidth': 1.6, 'shrinkA': 3, 'shrinkB': 3}
    axis.annotate('', end, start, arrowprops=options, zorder=4)
    axis.plot([], [], color=colour, linestyle=line, linewidth=1.6, label=name)


def draw_band(axis: Axes, view: View, barrier: Barrier, start: np.ndarray, drawn: np.ndarray, cell: np.ndarray) -> None:
    """Draw the positions of the tracer in the images of a band.

    :param start: site [3] at which the path starts; ``drawn``: equivalent site from which it is drawn.
    """
    images = output(barrier.call, 'images').get_positions()[:, -1]
    images = images + np.round((start - images[0]) @ np.linalg.inv(cell)) @ cell + drawn - start
    axis.plot(*view.project(images)[0].T, '.', color=INK, markersize=3.5, zorder=6, label=f'band of {barrier.label}')
