"""Atoms, sites and paths in perspective, drawn from back to front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle

from aiida_mghdiff.report.style import GUIDE, INK

#: Fraction by which the farthest atoms fade into the background.
FADING = 0.55


@dataclass(frozen=True)
class View:
    """A camera: angles in degrees, its target in Å, and its distance from the target in Å."""

    azimuth: float
    elevation: float
    centre: np.ndarray
    distance: float

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return positions in the figure [...,2] in Å, depths [...] in Å (larger is farther) and scales [...].

        :param points: [...,3] in Å.
        """
        turn, tilt = np.radians([self.azimuth, self.elevation])
        toward = np.array([np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt)])
        right = np.array([-np.sin(turn), np.cos(turn), 0.0])
        relative = np.asarray(points, float) - self.centre
        depths = -relative @ toward
        scales = self.distance / (self.distance + depths)
        flat = np.stack([relative @ right, relative @ np.cross(toward, right)], axis=-1)
        return flat * scales[..., None], depths, scales


def view_of(points: np.ndarray, azimuth: float, elevation: float) -> View:
    """Return a camera directed at the middle of points [n,3], at three times their extent."""
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    return View(azimuth, elevation, (low + high) / 2, 3 * float(np.linalg.norm(high - low)))


def radius_of(symbol: str) -> float:
    """Return the drawn radius of an atom in Å."""
    return 0.2 + 0.55 * covalent_radii[atomic_numbers[symbol]]


def draw_spheres(
    axis: Axes, view: View, points: np.ndarray, radii: Sequence[float], colours: Sequence[str], zorder: float = 2
) -> None:
    """Draw spheres with a highlight, paler with distance.

    :param points: [n,3] in Å; ``radii`` [n] in Å.
    """
    places, depths, scales = view.project(points)
    order = np.argsort(-depths)
    fading = FADING * (depths - depths.min()) / max(np.ptp(depths), 1e-9)
    patches, faces, edges = [], [], []
    for index in order:
        radius, pale = radii[index] * scales[index], fading[index]
        patches += [Circle(places[index], radius), Circle(places[index] + 0.3 * radius, 0.22 * radius)]
        faces += [mixed(colours[index], 'white', pale), mixed(colours[index], 'white', 0.5 + 0.5 * pale)]
        edges += [mixed(INK, 'white', pale), 'none']
    axis.add_collection(PatchCollection(patches, facecolors=faces, edgecolors=edges, linewidths=0.6, zorder=zorder))


def draw_segments(axis: Axes, view: View, segments: np.ndarray, **options: object) -> LineCollection:
    """Draw straight lines [n,2,3] in Å; return the collection."""
    lines = LineCollection(view.project(segments)[0], **options)
    axis.add_collection(lines)
    return lines


def draw_cell(axis: Axes, view: View, cell: np.ndarray) -> None:
    """Draw the edges of a cell [3,3] in Å."""
    draw_segments(axis, view, cell_edges(cell), colors=GUIDE, linewidths=0.9, zorder=1)


def cell_edges(cell: np.ndarray) -> np.ndarray:
    """Return the twelve edges [12,2,3] of a cell."""
    corners = np.array(list(product((0, 1), repeat=3)))
    pairs = [(a, b) for a in corners for b in corners if (b - a).sum() == 1 and (b >= a).all()]
    return np.array(pairs) @ cell


def mixed(colour: str, other: str, fraction: float) -> tuple[float, ...]:
    """Return a colour mixed with a fraction of another."""
    return tuple((1 - fraction) * np.array(to_rgb(colour)) + fraction * np.array(to_rgb(other)))


def finish(axis: Axes) -> None:
    """Fit the axes to their content, to scale and without ticks."""
    axis.set_aspect('equal')
    axis.autoscale_view()
    axis.axis('off')
