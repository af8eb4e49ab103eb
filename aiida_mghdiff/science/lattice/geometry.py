"""The hcp lattice and its interstitial sites.

Sites are found only from the geometry of the host, so strained, rotated, orthogonal or slightly thermal cells are
allowed. With a the distance of nearest neighbours in the close-packed crystal of the same density:

- a tetrahedral site is the centre of four host atoms that are all neighbours of each other (closer than 1.2 a); an
  octahedron has no such four atoms. There are two for each host atom, in pairs that share a face, c/4 apart.
- an octahedral site is the common centre of at least two of the three pairs of second neighbours (about sqrt(2) a
  apart) that are the diagonals of an octahedron. There is one for each host atom.

A host that does not have exactly one octahedral and two tetrahedral sites for each atom is refused. In Mg, random
displacements of 0.1 Å per axis and strains of a few per cent are harmless; a snapshot at high temperature is too
distorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from aiida_mghdiff.science.lattice.hops import PATHS

_NEIGHBOUR = 1.2
_SECOND_NEIGHBOUR = 1.56
_ATTEMPTS = 100


class LatticeError(ValueError):
    """A host is no hcp crystal."""


class PlacementError(ValueError):
    """Tracers cannot be placed as requested."""


class SitesError(ValueError):
    """Sites do not fit the tracers."""


def hcp_supercell(a: float, c: float, repeats: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return cell [3,3] and positions [n,3] in Å of an hcp supercell (P6_3/mmc, Wyckoff position 2c).

    The angle between the first two cell vectors is 120 degrees, the third is the c axis; an octahedral site is at the
    origin.
    """
    primitive = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]])
    basis = np.array([[1 / 3, 2 / 3, 1 / 4], [2 / 3, 1 / 3, 3 / 4]])
    corners = np.array(list(product(*map(range, repeats))), float)
    fractional = (corners[:, None] + basis).reshape(-1, 3)
    return primitive * np.array(repeats, float)[:, None], fractional @ primitive


def cell_heights(cell: np.ndarray) -> np.ndarray:
    """Return the distances [3] in Å between opposite faces of the cell."""
    return 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)


def neighbour_distance(cell: np.ndarray, count: int) -> float:
    """Return the distance of neighbours in Å in the ideal close-packed crystal of the same density."""
    return float(np.cbrt(np.sqrt(2) * abs(np.linalg.det(cell)) / count))


def interstitial_sites(cell: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the octahedral [n,3] and tetrahedral [2n,3] sites in Å of an hcp host of n atoms, inside the cell.

    :param positions: host atoms [n,3] in Å, wrapped or not.
    :raises LatticeError: if the numbers of sites do not match a close-packed crystal.
    """
    n, a = len(positions), neighbour_distance(cell, len(positions))
    wrapped = wrap(cell, positions)
    images = periodic_images(cell, wrapped, _SECOND_NEIGHBOUR * a)
    octahedral = _merge(cell, _diagonal_centres(wrapped, images, a), 0.25 * a, least=3)
    tetrahedral = _merge(cell, _tetrahedron_centres(wrapped, images, a), 1e-3 * a)
    if len(octahedral) != n or len(tetrahedral) != 2 * n:
        raise LatticeError(
            f'the host of {n} atoms has {len(octahedral)} octahedral and {len(tetrahedral)} tetrahedral sites, a '
            f'close-packed crystal has {n} and {2 * n}: give an ideal, relaxed or averaged hcp crystal without tracers.'
        )
    return octahedral, tetrahedral


def hcp_paths(cell: np.ndarray, positions: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return for each of ``PATHS`` two neighbouring sites [3] in Å; the straight line between them is the path.

    ``O-O c`` leads along c (c/2 long), ``O-O ab`` in the plane (a), ``O-T`` to the nearest tetrahedral site and ``T-T``
    through the shared face of two tetrahedra (c/4). The second site may lie outside the cell.

    :raises LatticeError: if the host is no hcp crystal.
    """
    octahedral, tetrahedral = interstitial_sites(cell, positions)
    a = neighbour_distance(cell, len(positions))
    o_to_o = _vectors(cell, octahedral, octahedral[0], _NEIGHBOUR * a)
    o_to_t = _vectors(cell, tetrahedral, octahedral[0], _NEIGHBOUR * a)
    t_to_t = _vectors(cell, tetrahedral, tetrahedral[0], _NEIGHBOUR * a)
    step = _shortest(t_to_t)
    if np.linalg.norm(step) > 0.5 * a:
        raise LatticeError('tetrahedral sites of the host share no faces: it is close-packed, but not hcp.')
    along_c = np.abs(o_to_o @ step) / np.linalg.norm(o_to_o, axis=1)
    steps = {
        'O-O c': o_to_o[np.argmax(along_c.round(6))],
        'O-O ab': o_to_o[np.argmin(along_c.round(6))],
        'O-T': _shortest(o_to_t),
        'T-T': step,
    }
    starts = {name: (tetrahedral if name == 'T-T' else octahedral)[0] for name in PATHS}
    return {name: (starts[name], starts[name] + steps[name]) for name in PATHS}


def place_tracers(
    cell: np.ndarray, positions: np.ndarray, count: int, seed: int, minimum_distance: float
) -> np.ndarray:
    """Return ``count`` positions [count,3] in Å drawn from all interstitial sites with equal probability.

    Sites closer than ``minimum_distance`` (Å, including periodic images) to a taken site are skipped; a draw without
    enough sites is repeated. The same seed gives the same sites.

    :raises LatticeError: if the host is no hcp crystal.
    :raises PlacementError: if so many tracers, or tracers so far apart, do not fit.
    """
    sites = np.concatenate(interstitial_sites(cell, positions))
    if not 1 <= count <= len(sites):
        raise PlacementError(f'{count} tracers are requested: the host has room for 1 to {len(sites)}.')
    if min(cell_heights(cell)) < minimum_distance:
        raise PlacementError(
            f'the cell is {min(cell_heights(cell)):.2f} Å thin: a tracer would be closer than the minimum distance of '
            f'{minimum_distance:g} Å to its own image; repeat the host more often.'
        )
    rng = np.random.default_rng(seed)
    for _ in range(_ATTEMPTS):
        chosen = _draw(cell, sites, rng.permutation(len(sites)), count, minimum_distance)
        if len(chosen) == count:
            return sites[chosen]
    raise PlacementError(
        f'{count} tracers do not fit into {len(sites)} sites {minimum_distance:g} Å or more apart ({_ATTEMPTS} draws): '
        'lower the number or the distance, or repeat the host more often.'
    )


def _draw(cell: np.ndarray, sites: np.ndarray, order: np.ndarray, count: int, distance: float) -> list[int]:
    chosen: list[int] = []
    free = np.ones(len(sites), bool)
    for index in order:
        if free[index] and len(chosen) < count:
            chosen.append(int(index))
            free &= _periodic_distances(cell, sites - sites[index]) >= distance
            free[index] = False
    return chosen


def wrap(cell: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return points [n,3] as their images inside the cell."""
    fractional = np.linalg.solve(cell.T, np.asarray(points, float).T).T
    return ((fractional + 1e-9) % 1.0 - 1e-9) @ cell


def _shifts(cell: np.ndarray, reach: float) -> np.ndarray:
    """Return the lattice vectors [s,3] of all images within ``reach`` of the cell, zero first."""
    counts = np.ceil(reach / cell_heights(cell)).astype(int)
    shifts = sorted(product(*(range(-count, count + 1) for count in counts)), key=lambda shift: any(shift))
    return np.array(shifts) @ cell


def periodic_images(cell: np.ndarray, points: np.ndarray, reach: float) -> np.ndarray:
    """Return points [n,3] of the cell, followed by their images; the index modulo n is the original."""
    return (points + _shifts(cell, reach)[:, None]).reshape(-1, 3)


def _periodic_distances(cell: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    nearest = vectors - np.linalg.solve(cell.T, vectors.T).T.round() @ cell
    shifts = np.array(list(product((-1, 0, 1), repeat=3))) @ cell
    return np.min([np.linalg.norm(nearest + shift, axis=1) for shift in shifts], axis=0)


def _vectors(cell: np.ndarray, points: np.ndarray, origin: np.ndarray, reach: float) -> np.ndarray:
    """Return the vectors [m,3] from the origin to all other points and images within reach."""
    vectors = periodic_images(cell, points, reach) - origin
    lengths = np.linalg.norm(vectors, axis=1)
    return vectors[(lengths > 1e-6) & (lengths < reach)]


def _shortest(vectors: np.ndarray) -> np.ndarray:
    return vectors[np.argmin(np.linalg.norm(vectors, axis=1).round(6))]


def _diagonal_centres(points: np.ndarray, images: np.ndarray, a: float) -> np.ndarray:
    first, second = _pairs(points, images, _SECOND_NEIGHBOUR * a)
    lengths = np.linalg.norm(images[second] - points[first], axis=1)
    diagonal = lengths > _NEIGHBOUR * a
    return (points[first[diagonal]] + images[second[diagonal]]) / 2


def _tetrahedron_centres(points: np.ndarray, images: np.ndarray, a: float) -> np.ndarray:
    centres = [np.empty((0, 3))]
    tree = cKDTree(images)
    for index, point in enumerate(points):
        shell = np.array([j for j in tree.query_ball_point(point, _NEIGHBOUR * a) if j != index])
        corners = images[np.array(list(combinations(shell, 3)), int).reshape(-1, 3)]
        sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1)
        closed = corners[(sides < _NEIGHBOUR * a).all(axis=1)]
        centres.append((point + closed.sum(axis=1)) / 4)
    return np.concatenate(centres)


def _pairs(points: np.ndarray, images: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of points and of their images within reach, without the points themselves."""
    found = cKDTree(points).query_ball_tree(cKDTree(images), reach)
    pairs = [(i, j) for i, near in enumerate(found) for j in near if i != j]
    first, second = np.array(pairs, int).reshape(-1, 2).T
    return first, second


def _merge(cell: np.ndarray, points: np.ndarray, radius: float, least: int = 1) -> np.ndarray:
    """Return the means of groups of points within a radius of each other, sorted by fractional coordinates.

    :param least: groups of fewer points are left out; a pair of host atoms gives two points.
    """
    if not len(points):
        return points
    points = wrap(cell, points)
    images = periodic_images(cell, points, radius)
    first, second = _pairs(points, images, radius)
    graph = coo_array((np.ones(len(first)), (first, second % len(points))), shape=(len(points), len(points)))
    count, labels = connected_components(graph, directed=False)
    representatives = points[[np.argmax(labels == label) for label in range(count)]]
    offsets = points - representatives[labels]
    offsets -= np.linalg.solve(cell.T, offsets.T).T.round() @ cell
    sums = np.zeros((count, 3))
    np.add.at(sums, labels, offsets)
    sizes = np.bincount(labels)
    merged = wrap(cell, representatives + sums / sizes[:, None])[sizes >= least]
    return merged[np.lexsort(np.linalg.solve(cell.T, merged.T).round(4)[::-1])]
