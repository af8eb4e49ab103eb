"""Radial distribution functions and coordination numbers.

All pairs within r_max are counted, periodic images included: a vector shorter than r_max has fractional coordinates of
at most r_max over the distance of the cell's opposite faces, which bounds the images to look at for each pair. So any
cell will do, however skewed or thin, and r_max may exceed half its width, where the nearest image alone misses pairs.

g(r) is the number of pairs in a shell over that of an ideal gas of the same density. An atom is no partner of itself,
so that the ideal gas has N_a N_b pairs in a cell, less the number of atoms that are in both groups: g of independent
atoms is 1 at every distance, also where there are few of them.
"""

from __future__ import annotations

import numpy as np
from numba import njit


def radial_distribution(
    frames: np.ndarray, cells: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], r_max: float, n_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres r [n_bins] in Å of the bins, and g(r) [n_bins].

    :param frames: positions [f,N,3] in Å, wrapped or not.
    :param cells: [f,3,3], or [3,3] where all frames have the same, in Å; rows are the lattice vectors.
    :param pairs: indices of the atoms of both groups; these may be the same or overlap.
    :param r_max: outer edge of the last bin in Å; more than half the cell is fine, images are counted.
    :raises ValueError: for shapes that do not fit, numbers that are not finite, a cell without volume, or nothing to
        count.
    """
    counts, ideal = pair_histogram(frames, cells, pairs, r_max, n_bins)
    return bin_centres(r_max, n_bins), counts / ideal


def pair_histogram(
    frames: np.ndarray,
    cells: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    r_max: float,
    n_bins: int,
    own_images: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of pairs [n_bins] of all frames, and that of an ideal gas; the ratio of both is g(r).

    A pair of two atoms in both groups counts twice, once from each. Parameters: see :func:`radial_distribution`.

    :param own_images: whether an atom and its own images are pairs. These are spikes at the lengths of the cell's
        lattice vectors, which say nothing of the structure.
    """
    frames = np.asarray(frames, float)
    first, second = (np.unique(np.asarray(group)) for group in pairs)
    _check(frames, cells := np.asarray(cells, float), first, second, r_max, n_bins)
    cells, inverses = _cells_of_frames(cells, len(frames))
    counts = np.zeros((1, n_bins), np.int64)
    _count_pairs(frames, cells, inverses, first, second, float(r_max), own_images, counts)
    n_pairs = len(first) * len(second) - len(np.intersect1d(first, second))
    return counts[0], n_pairs * np.sum(1 / np.abs(np.linalg.det(cells))) * shell_volumes(r_max, n_bins)


def bin_centres(r_max: float, n_bins: int) -> np.ndarray:
    """Return the centres [n_bins] in Å of the bins from 0 to r_max."""
    return (np.arange(n_bins) + 0.5) * r_max / n_bins


def shell_volumes(r_max: float, n_bins: int) -> np.ndarray:
    """Return the volumes [n_bins] in Å³ of the shells of the bins from 0 to r_max."""
    return 4 / 3 * np.pi * np.diff(np.linspace(0, r_max, n_bins + 1) ** 3)


def coordination_numbers(g: np.ndarray, r_max: float, density: float) -> np.ndarray:
    """Return the mean number [n_bins] of atoms around one, up to the outer edge of each bin.

    :param g: radial distribution function [n_bins] from 0 to r_max.
    :param density: number density in 1/Å³ of the atoms that are counted, the one in the centre left out.
    """
    return density * np.cumsum(g * shell_volumes(r_max, len(g)))


def _check(
    frames: np.ndarray, cells: np.ndarray, first: np.ndarray, second: np.ndarray, r_max: float, n_bins: int
) -> None:
    if frames.ndim != 3 or frames.shape[2] != 3 or not len(frames):
        raise ValueError(f'frames have the shape {frames.shape}, not [f,N,3] with at least one frame.')
    if cells.shape not in ((3, 3), (len(frames), 3, 3)):
        raise ValueError(f'cells have the shape {cells.shape}, not (3, 3) or {(len(frames), 3, 3)}.')
    if not (np.isfinite(frames).all() and np.isfinite(cells).all()):
        raise ValueError('positions or cells hold numbers that are not finite; look at the run that made them.')
    if not np.abs(np.linalg.det(cells)).min() > 1e-6:
        raise ValueError('a cell has no volume: a density needs three independent lattice vectors.')
    if not (0 < r_max < np.inf and n_bins >= 1):
        raise ValueError(f'r_max = {r_max} Å in {n_bins} bins: both must be positive and finite.')
    atoms = frames.shape[1]
    if not all(len(group) and group[0] >= 0 and group[-1] < atoms for group in (first, second)):
        raise ValueError(f'pairs: each group must have at least one index, from 0 to {atoms - 1}.')
    if len(first) == len(second) == 1 and first[0] == second[0]:
        raise ValueError('pairs: both groups are the same single atom, which has no partner.')


def count_close_pairs(frames: np.ndarray, cell: np.ndarray, cutoff: float) -> np.ndarray:
    """Return for each frame the number of pairs [f] of atoms that are closer than a cut-off, other images counted as well.

    An atom and its own images are no pairs.

    :param frames: positions [f,N,3] in Å, wrapped or not.
    :param cell: [3,3] in Å.
    :param cutoff: Å.
    :raises ValueError: as :func:`radial_distribution` does.
    """
    frames, cell = np.asarray(frames, float), np.asarray(cell, float)
    atoms = np.arange(frames.shape[1])
    _check(frames, cell, atoms, atoms, cutoff, 1)
    counts = np.zeros((len(frames), 1), np.int64)
    _count_pairs(frames, *_cells_of_frames(cell, len(frames)), atoms, atoms, float(cutoff), False, counts)
    return counts[:, 0] // 2


def _cells_of_frames(cells: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells [f,3,3] and their inverses."""
    return tuple(np.array(np.broadcast_to(matrix, (frames, 3, 3))) for matrix in (cells, np.linalg.inv(cells)))


@njit(cache=True)
def _count_pairs(
    frames: np.ndarray,
    cells: np.ndarray,
    inverses: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    r_max: float,
    own_images: bool,
    counts: np.ndarray,
) -> None:
    """Add the pairs of each frame to a row of the counts [f,bins], or all to the only row of [1,bins]."""
    same = len(first) == len(second) and np.all(first == second)
    a, b, reach = np.empty((len(first), 3)), np.empty((len(second), 3)), np.empty(3)
    for frame in range(len(frames)):
        cell, inverse = cells[frame], inverses[frame]
        for axis in range(3):
            reach[axis] = r_max * np.sqrt(inverse[0, axis] ** 2 + inverse[1, axis] ** 2 + inverse[2, axis] ** 2)
        _to_fractional(frames[frame], first, inverse, a)
        _to_fractional(frames[frame], second, inverse, b)
        row = counts[frame if len(counts) > 1 else 0]
        for i in range(len(first)):
            for j in range(i if same else 0, len(second)):
                if first[i] == second[j] and not own_images:
                    continue
                weight = 2 if same and j > i else 1
                u, v, w = b[j, 0] - a[i, 0], b[j, 1] - a[i, 1], b[j, 2] - a[i, 2]
                _count_images(u, v, w, first[i] == second[j], cell, reach, r_max, weight, row)


@njit(cache=True)
def _to_fractional(positions: np.ndarray, indices: np.ndarray, inverse: np.ndarray, out: np.ndarray) -> None:
    for row in range(len(indices)):
        x, y, z = positions[indices[row]]
        for axis in range(3):
            out[row, axis] = x * inverse[0, axis] + y * inverse[1, axis] + z * inverse[2, axis]


@njit(cache=True)
def _count_images(
    u: float,
    v: float,
    w: float,
    is_itself: bool,
    cell: np.ndarray,
    reach: np.ndarray,
    r_max: float,
    weight: int,
    counts: np.ndarray,
) -> None:
    """Count the images of a vector (u, v, w in fractional coordinates) that are shorter than r_max."""
    scale, last, limit = len(counts) / r_max, len(counts) - 1, r_max * r_max
    for k in range(int(np.ceil(-reach[0] - u)), int(np.floor(reach[0] - u)) + 1):
        for l in range(int(np.ceil(-reach[1] - v)), int(np.floor(reach[1] - v)) + 1):  # noqa: E741
            for m in range(int(np.ceil(-reach[2] - w)), int(np.floor(reach[2] - w)) + 1):
                x = (u + k) * cell[0, 0] + (v + l) * cell[1, 0] + (w + m) * cell[2, 0]
                y = (u + k) * cell[0, 1] + (v + l) * cell[1, 1] + (w + m) * cell[2, 1]
                z = (u + k) * cell[0, 2] + (v + l) * cell[1, 2] + (w + m) * cell[2, 2]
                square = x * x + y * y + z * z
                if square < limit and not (is_itself and k == 0 and l == 0 and m == 0):
                    counts[min(int(np.sqrt(square) * scale), last)] += weight
