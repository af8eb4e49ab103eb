"""Figures of the runs: a frame, the path of one tracer, temperature and energy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from aiida import orm
from ase.geometry import wrap_positions
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aiida_mghdiff.report.figures.canvas import COLUMN, HEIGHT, new_figure
from aiida_mghdiff.report.figures.scene import draw_cell, draw_segments, draw_spheres, finish, radius_of, view_of
from aiida_mghdiff.report.study import NveRun, Study
from aiida_mghdiff.report.style import ELEMENT_COLOURS, GUIDE, INK, TIME_COLOURS
from aiida_mghdiff.report.tracks import Track, read_track
from aiida_mghdiff.science.units import EV_IN_MEV, FS_IN_PS

MOST_POINTS = 1000


def draw_frame(study: Study) -> Figure | None:
    """Return the last full frame of the showcase's first run, in perspective; None without full frames."""
    item = study.showcase
    runs = [run for run in study.runs_of(item) if run.outputs('trajectory')] if item else []
    if item is None or not runs:
        return None
    trajectory = runs[0].outputs('trajectory')[-1]
    figure, axes = new_figure(3.1, width=COLUMN)
    draw_atoms(axes[0, 0], trajectory)
    temperature, time = runs[0].target_temperature_k, trajectory.get_array('times')[-1]
    axes[0, 0].set_title(f'{item.series}, {temperature:g} K, {time:.3g} ps')
    figure.legend(handles=element_handles(trajectory.symbols), loc='outside lower center', ncols=4)
    return figure


def draw_atoms(axis: Axes, trajectory: orm.TrajectoryData) -> None:
    """Draw the last frame, its atoms wrapped into the cell."""
    cell = trajectory.get_array('cells')[-1]
    positions = wrap_positions(trajectory.get_positions()[-1], cell, eps=1e-3)
    corners = np.concatenate([positions, [[0, 0, 0], cell.sum(axis=0)]])
    view = view_of(corners, azimuth=-68, elevation=14)
    draw_cell(axis, view, cell)
    colours = [ELEMENT_COLOURS.get(symbol, GUIDE) for symbol in trajectory.symbols]
    draw_spheres(axis, view, positions, [radius_of(symbol) for symbol in trajectory.symbols], colours)
    finish(axis)


def element_handles(symbols: Sequence[str]) -> list[Line2D]:
    """Return a legend of the elements."""
    options = {'linestyle': 'none', 'marker': 'o', 'markeredgecolor': INK, 'markeredgewidth': 0.6}
    colours = {symbol: ELEMENT_COLOURS.get(symbol, GUIDE) for symbol in sorted(set(symbols))}
    return [
        Line2D([], [], color=colour, markersize=8 * radius_of(symbol), label=symbol, **options)
        for symbol, colour in colours.items()
    ]


def draw_track(study: Study) -> Figure | None:
    """Return the unwrapped path of one tracer, coloured by time, among the nearby host atoms."""
    track = read_track(study)
    if track is None:
        return None
    figure, axes = new_figure(3.1, width=COLUMN)
    line = draw_path(axes[0, 0], track)
    figure.colorbar(line, ax=axes[0, 0], label='time (ps)', shrink=0.7, aspect=22, pad=0.02)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc='outside lower center', ncols=2)
    item = track.diffusion
    axes[0, 0].set_title(f'One {item.tracer_element}: {item.series}, {item.target_temperature_k:g} K')
    return figure


def draw_path(axis: Axes, track: Track) -> object:
    """Draw a path and its surroundings; return the artist for the colour bar of time."""
    view = view_of(track.host, azimuth=-68, elevation=14)
    symbols = track.run.outputs('tracers')[0].base.attributes.get('host_elements')
    radii = [0.35 * radius_of(symbols[0])] * len(track.host)
    draw_spheres(axis, view, track.host, radii, [ELEMENT_COLOURS.get(symbols[0], GUIDE)] * len(track.host), zorder=1)
    segments = np.stack([track.positions[:-1], track.positions[1:]], axis=1)
    line = draw_segments(axis, view, segments, cmap=TIME_COLOURS, linewidths=0.8, zorder=3)
    line.set_array((track.times_ps[:-1] + track.times_ps[1:]) / 2)
    (start, end), *_ = [view.project(track.positions[[0, -1]])[0]]
    for place, marker, name in ((start, 'o', 'start'), (end, 's', 'end')):
        options = {'color': 'white', 'markeredgecolor': INK, 'markersize': 5, 'zorder': 4, 'linestyle': 'none'}
        axis.plot(*place, marker, label=name, **options)
    finish(axis)
    return line


def draw_conservation(study: Study) -> Figure | None:
    """Return temperature and total energy over the NVE runs, a row for each potential and time step.

    Only the runs at the highest temperature of each potential and time step are shown.
    """
    found = [[(run, *read_thermo(run)) for run in runs if run.outputs('thermo')] for runs in hottest(study.runs)]
    rows = [drawn for drawn in found if drawn]
    if not rows:
        return None
    figure, axes = new_figure(0.4 + min(1.25 * len(rows), HEIGHT), len(rows), 2, sharey='col')
    styles = study.styles
    for (left, right), drawn in zip(axes, rows, strict=True):
        run = drawn[0][0]
        for _, times, temperatures, energies in drawn:
            options = {'color': styles[run.label].colour, 'linewidth': 0.7, 'alpha': 0.8}
            left.plot(times, temperatures, **options)
            right.plot(times, energies, **options)
        left.set_title(f'{run.label}, {run.time_step_fs:g} fs, {run.target_temperature_k:g} K')
        left.axhline(run.target_temperature_k, color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
        left.set_ylabel('T (K)')
        right.set_ylabel('ΔE (meV/atom)')
        for axis in (left, right):
            axis.set_xlim(0, max(times[-1] for _, times, *_ in drawn))
    for axis in axes[-1]:
        axis.set_xlabel('time (ps)')
    return figure


def hottest(runs: Sequence[NveRun]) -> list[list[NveRun]]:
    """Return the runs at the highest temperature of each potential and time step."""
    groups: dict[tuple[str, float], list[NveRun]] = {}
    for run in runs:
        groups.setdefault((run.label, run.time_step_fs), []).append(run)
    highest = [max(run.target_temperature_k for run in group) for group in groups.values()]
    return [
        [run for run in group if run.target_temperature_k == temperature]
        for group, temperature in zip(groups.values(), highest, strict=True)
    ]


def read_thermo(run: NveRun) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times [m] in ps, temperatures [m] in K, and total energies [m] in meV/atom relative to their mean.

    Rows are thinned to the resolution of a line.
    """
    parts = run.outputs('thermo')
    names = ('steps', 'temperature_k', 'potential_energy_ev', 'kinetic_energy_ev')
    columns = [np.concatenate([part.get_array(name) for part in parts]) for name in names]
    every = -(-len(columns[0]) // MOST_POINTS)
    steps, temperatures, potential, kinetic = (column[::every] for column in columns)
    energies = EV_IN_MEV * (potential + kinetic) / run.jobs[0].results['n_atoms']
    return (steps - steps[0]) * run.time_step_fs * FS_IN_PS, temperatures, energies - energies.mean()
