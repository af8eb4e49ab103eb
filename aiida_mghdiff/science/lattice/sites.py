"""Jumps of tracers between sites, with core hysteresis.

A tracer is on a site from its first frame within the core radius of this site until its first frame within the core of
another site. So vibrations across the border between two sites are not jumps; with the nearest site, 14 % too many
jumps would be counted. Frames before the first core belong to the site of this core. Cores must not overlap: their
radius is less than half the shortest distance of two sites (1.30 Å in Mg).

Sites that do not fit are refused: tracers must be in cores at least twice as often as if evenly distributed over the
cell, and their mean distance from their sites must be less than half the radius.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from aiida_mghdiff.science.compiled import compiled
from aiida_mghdiff.science.lattice.geometry import SitesError, periodic_images
from aiida_mghdiff.science.positions import check_positions

NO_SITE = -1


@dataclass(frozen=True)
class Jumps:
    """The site of each tracer in each frame, and the j jumps, by tracer and then by time."""

    occupied: np.ndarray  # [f,n] index of the site
    frames: np.ndarray  # [j] first frame on the new site
    tracers: np.ndarray  # [j]
    origins: np.ndarray  # [j] index of the site
    targets: np.ndarray  # [j]
    vectors: np.ndarray  # [j,3] Å, from site to site, including images
    in_core: float  # fraction of frames in which a tracer is within the core of its site

    def __len__(self) -> int:
        """Return the number of jumps."""
        return len(self.frames)


def find_jumps(
    tracer_positions: np.ndarray, sites: np.ndarray, cell: np.ndarray, core_radius: float = 0.5, name: str = 'the run'
) -> Jumps:
    """Return the jumps of tracers between sites.

    :param tracer_positions: unwrapped positions [f,n,3] in Å in the frame of the sites, without drift of the host.
    :param sites: all sites of the cell [s,3] in Å.
    :param cell: [3,3] in Å; rows are the lattice vectors.
    :param core_radius: Å.
    :param name: of the run in messages.
    :raises SitesError: for sites that do not fit, or cores that overlap.
    :raises PositionsError: for positions of another shape, not finite, or wrapped.
    """
    sites, cell = (np.ascontiguousarray(array, float) for array in (sites, cell))
    if sites.ndim != 2 or sites.shape[1] != 3 or not len(sites):
        raise SitesError(f'sites have the shape {sites.shape}: give the positions of all sites as [sites, 3].')
    positions = check_positions(tracer_positions, name, cell)
    sites = (sites @ np.linalg.inv(cell) % 1.0) @ cell
    neighbours = _neighbours(sites, cell)
    _check_radius(core_radius, neighbours[2].min())
    occupied = np.empty(positions.shape[:2], np.int32)
    offsets = np.zeros(3)
    inverse = np.linalg.inv(cell)
    count = _follow(positions, sites, cell, inverse, *neighbours, float(core_radius), occupied, offsets)
    _check_fit(occupied, count, offsets, len(sites) / abs(np.linalg.det(cell)), core_radius)
    return _list_jumps(positions, sites, cell, occupied, count / occupied.size)


def offsets_from_sites(positions: np.ndarray, sites: np.ndarray, cell: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    """Return the vectors [...,3] in Å to positions [...,3] from the nearest image of each one's site."""
    vectors = positions - sites[occupied]
    return vectors - np.round(vectors @ np.linalg.inv(cell)) @ cell


def _check_radius(core_radius: float, shortest: float) -> None:
    if not 0 < core_radius < shortest / 2:
        raise SitesError(
            f'the core radius of {core_radius:g} Å must be positive and less than {shortest / 2:.2f} Å, half the '
            'shortest distance of two sites.'
        )


def _check_fit(occupied: np.ndarray, count: int, offsets: np.ndarray, density: float, core_radius: float) -> None:
    lost = np.flatnonzero(occupied[0] == NO_SITE)
    if len(lost):
        raise SitesError(f'tracer {lost[0]} never comes within {core_radius:g} Å of a site: are these its sites?')
    fraction, even = count / occupied.size, density * 4 / 3 * np.pi * core_radius**3
    if fraction < 2 * even:
        raise SitesError(
            f'tracers are within {core_radius:g} Å of sites in {fraction:.1%} of frames, but would be in {even:.1%} if '
            'they were spread evenly: the sites do not fit. Give the sites of the host of this run, in its frame.'
        )
    offset = np.linalg.norm(offsets) / occupied.size
    if offset > core_radius / 2:
        raise SitesError(f'tracers sit {offset:.2f} Å off their sites on average: remove the drift of the host.')


def _neighbours(sites: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return index [s,k], vector [s,k,3] and distance [s,k] of the k nearest sites of each, including images.

    k is the largest number of sites within twice the longest distance of nearest neighbours.
    """
    reach, nearest = 0.0, 1.0
    while 2 * nearest > reach:
        reach = 2 * nearest
        images = periodic_images(cell, sites, reach)
        tree = cKDTree(images)
        nearest = tree.query(sites, 2)[0][:, 1].max()
    count = tree.query_ball_point(sites, 2 * nearest, return_length=True).max() - 1
    distances, indices = (array[:, 1:] for array in tree.query(sites, count + 1))
    return indices % len(sites), images[indices] - sites[:, None], np.ascontiguousarray(distances)


@compiled
def _follow(
    positions: np.ndarray,
    sites: np.ndarray,
    cell: np.ndarray,
    inverse: np.ndarray,
    neighbours: np.ndarray,
    vectors: np.ndarray,
    distances: np.ndarray,
    core_radius: float,
    occupied: np.ndarray,
    offsets: np.ndarray,
) -> int:
    """Write the site of each tracer in each frame; add up the offsets and return how often tracers are in cores."""
    frames, tracers, _ = positions.shape
    count, core, far = 0, core_radius**2, distances[:, -1].min() ** 2
    current, home = np.full(tracers, NO_SITE), np.zeros((tracers, 3))  # site of each tracer, and its image
    for frame in range(frames):
        for tracer in range(tracers):
            site = current[tracer]
            u, v, w = positions[frame, tracer, 0], positions[frame, tracer, 1], positions[frame, tracer, 2]
            dx, dy, dz = u - home[tracer, 0], v - home[tracer, 1], w - home[tracer, 2]
            square = dx * dx + dy * dy + dz * dz
            if square > core or site == NO_SITE:
                if site == NO_SITE or square > far:
                    found, dx, dy, dz = _search(u, v, w, dx, dy, dz, sites, cell, inverse, core)
                else:
                    found, dx, dy, dz = _enter(site, dx, dy, dz, neighbours, vectors, distances, core_radius)
                if found != NO_SITE:
                    site, square = found, 0.0
                    current[tracer] = site
                    home[tracer, 0], home[tracer, 1], home[tracer, 2] = u - dx, v - dy, w - dz
            occupied[frame, tracer] = site
            if site != NO_SITE:
                count += square <= core
                offsets[0] += dx
                offsets[1] += dy
                offsets[2] += dz
    for tracer in range(tracers):
        first = 0
        while first < frames - 1 and occupied[first, tracer] == NO_SITE:
            first += 1
        occupied[:first, tracer] = occupied[first, tracer]
    return count


@compiled
def _enter(
    site: int,
    dx: float,
    dy: float,
    dz: float,
    neighbours: np.ndarray,
    vectors: np.ndarray,
    distances: np.ndarray,
    core_radius: float,
) -> tuple[int, float, float, float]:
    """Return the neighbour of a site whose core contains a point, and the offset from it; otherwise the given site."""
    reach = np.sqrt(dx * dx + dy * dy + dz * dz) + core_radius
    for k in range(neighbours.shape[1]):
        if distances[site, k] > reach:
            break
        x, y, z = dx - vectors[site, k, 0], dy - vectors[site, k, 1], dz - vectors[site, k, 2]
        if x * x + y * y + z * z < core_radius * core_radius:
            return neighbours[site, k], x, y, z
    return NO_SITE, dx, dy, dz


@compiled
def _nearest(dx: float, dy: float, dz: float, cell: np.ndarray, inverse: np.ndarray) -> tuple[float, float, float]:
    """Return the image of a vector with fractional coordinates nearest to zero."""
    a = np.round(dx * inverse[0, 0] + dy * inverse[1, 0] + dz * inverse[2, 0])
    b = np.round(dx * inverse[0, 1] + dy * inverse[1, 1] + dz * inverse[2, 1])
    c = np.round(dx * inverse[0, 2] + dy * inverse[1, 2] + dz * inverse[2, 2])
    return (
        dx - a * cell[0, 0] - b * cell[1, 0] - c * cell[2, 0],
        dy - a * cell[0, 1] - b * cell[1, 1] - c * cell[2, 1],
        dz - a * cell[0, 2] - b * cell[1, 2] - c * cell[2, 2],
    )


@compiled
def _search(
    u: float,
    v: float,
    w: float,
    dx: float,
    dy: float,
    dz: float,
    sites: np.ndarray,
    cell: np.ndarray,
    inverse: np.ndarray,
    core: float,
) -> tuple[int, float, float, float]:
    """Return the site whose core contains a point, and the offset from it; otherwise the given site.

    Cores are thinner than the cell, so that rounding finds the image.
    """
    for site in range(len(sites)):
        x, y, z = _nearest(u - sites[site, 0], v - sites[site, 1], w - sites[site, 2], cell, inverse)
        if x * x + y * y + z * z < core:
            return site, x, y, z
    return NO_SITE, dx, dy, dz


def _list_jumps(
    positions: np.ndarray, sites: np.ndarray, cell: np.ndarray, occupied: np.ndarray, in_core: float
) -> Jumps:
    tracers, frames = np.nonzero((occupied[1:] != occupied[:-1]).T)
    frames = frames + 1
    origins, targets = occupied[frames - 1, tracers], occupied[frames, tracers]
    at_jump = positions[frames, tracers]
    # the images of the new site and of the old site, which the previous jump (or the start) gives
    after = at_jump - offsets_from_sites(at_jump, sites, cell, targets)
    before = np.roll(after, 1, axis=0)
    is_first = np.diff(tracers, prepend=-1) > 0
    start = positions[0, tracers[is_first]]
    before[is_first] = start - offsets_from_sites(start, sites, cell, origins[is_first])
    return Jumps(occupied, frames, tracers, origins, targets, after - before, in_core)
