"""Radial distribution functions and coordination numbers.

All pairs within r_max are counted, including periodic images. The fractional coordinates of a vector shorter than r_max
are at most r_max divided by the distance of the cell's opposite faces, which limits the images to check. So any cell is
allowed, however skewed or thin, and r_max may exceed half its width, where the nearest image alone would miss pairs.

g(r) is the number of pairs in a shell, divided by the number in an ideal gas of the same density. An atom is not its
own partner, so the ideal gas has N_a N_b pairs in a cell, less the number of atoms in both groups: g of independent
atoms is 1 at every distance, also for few atoms.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from aiida_mghdiff.science.compiled import compiled


def pair_histogram(
    frames: np.ndarray,
    cells: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    r_max: float,
    n_bins: int,
    own_images: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of pairs [n_bins] in all frames and in an ideal gas; their ratio is g(r).

    A pair of two atoms in both groups counts twice, once from each.

    :param frames: positions [f,N,3] in Å, wrapped or not.
    :param cells: [f,3,3], or [3,3] if all frames have the same cell, in Å; rows are the lattice vectors.
    :param pairs: indices of the atoms of both groups; these may be the same or overlap.
    :param r_max: outer edge of the last bin in Å; may exceed half the cell, since images are counted.
    :param own_images: whether an atom and its own images are pairs. They give spikes at the lengths of the cell's
        lattice vectors, which contain no information on the structure.
    :raises ValueError: for shapes that do not fit, numbers that are not finite, a cell without volume, or nothing to
        count.
    """
    frames = np.asarray(frames, float)
    first, second = (np.unique(np.asarray(group)) for group in pairs)
    _check(frames, cells := np.asarray(cells, float), first, second, r_max, n_bins)
    cells = cells.reshape(-1, 3, 3)
    counts = np.zeros((1, n_bins), np.int64)
    _count(frames, cells, (first, second), r_max, own_images, counts)
    n_pairs = len(first) * len(second) - len(np.intersect1d(first, second))
    density = n_pairs * np.mean(1 / np.abs(np.linalg.det(cells)))
    return counts[0], len(frames) * density * shell_volumes(r_max, n_bins)


def bin_centres(r_max: float, n_bins: int) -> np.ndarray:
    """Return the centres [n_bins] in Å of the bins from 0 to r_max."""
    return (np.arange(n_bins) + 0.5) * r_max / n_bins


def shell_volumes(r_max: float, n_bins: int) -> np.ndarray:
    """Return the volumes [n_bins] in Å³ of the shells of the bins from 0 to r_max."""
    return 4 / 3 * np.pi * np.diff(np.linspace(0, r_max, n_bins + 1) ** 3)


def coordination_numbers(g: np.ndarray, r_max: float, density: float) -> np.ndarray:
    """Return the mean number [n_bins] of atoms around an atom, up to the outer edge of each bin.

    :param g: radial distribution function [n_bins] from 0 to r_max.
    :param density: number density in 1/Å³ of the counted atoms, without the central atom.
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
        raise ValueError('positions or cells contain numbers that are not finite; look at the run that made them.')
    if not np.abs(np.linalg.det(cells)).min() > 1e-6:
        raise ValueError('a cell has no volume: a density needs three independent lattice vectors.')
    if not (0 < r_max < np.inf and n_bins >= 1):
        raise ValueError(f'r_max = {r_max} Å in {n_bins} bins: both must be positive and finite.')
    atoms = frames.shape[1]
    for group in (first, second):
        if group.dtype.kind not in 'iu' or not len(group) or group[0] < 0 or group[-1] >= atoms:
            raise ValueError(f'pairs: each group must be indices of atoms, at least one, from 0 to {atoms - 1}.')
    if len(first) == len(second) == 1 and first[0] == second[0]:
        raise ValueError('pairs: both groups are the same single atom, which has no partner.')


def count_close_pairs(frames: np.ndarray, cell: np.ndarray, cutoff: float) -> np.ndarray:
    """Return for each frame the number of pairs [f] of atoms closer than a cut-off; each image counts.

    An atom and its own images are no pairs.

    :param frames: positions [f,N,3] in Å, wrapped or not.
    :param cell: [3,3] in Å.
    :param cutoff: Å.
    :raises ValueError: see :func:`pair_histogram`.
    """
    frames, cell = np.asarray(frames, float), np.asarray(cell, float)
    atoms = np.arange(frames.shape[1])
    _check(frames, cell, atoms, atoms, cutoff, 1)
    counts = np.zeros((len(frames), 1), np.int64)
    _count(frames, cell[None], (atoms, atoms), cutoff, False, counts)
    return counts[:, 0] // 2


def _count(
    frames: np.ndarray,
    cells: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    r_max: float,
    own_images: bool,
    counts: np.ndarray,
) -> None:
    shifts = _image_shifts(cells, r_max)
    inverses = np.ascontiguousarray(np.linalg.inv(cells))
    _count_pairs(np.ascontiguousarray(frames), cells, inverses, shifts, *pairs, float(r_max), own_images, counts)


def _image_shifts(cells: np.ndarray, r_max: float) -> np.ndarray:
    """Return the images [s,3] of the cell that may contain partners within r_max, in fractional coordinates.

    A vector is first brought to fractional coordinates between -1/2 and 1/2, so its length is at most half the cell's
    longest diagonal. A lattice vector longer than r_max plus this length does not bring it within r_max.

    :param cells: [c,3,3], all different cells.
    """
    reach = r_max * np.linalg.norm(np.linalg.inv(cells), axis=1).max(axis=0)
    shifts = np.array(list(product(*(range(-most, most + 1) for most in (reach + 0.5).astype(int)))), float)
    half_diagonals = np.array(list(product((-0.5, 0.5), repeat=3))) @ cells
    longest = r_max + np.linalg.norm(half_diagonals, axis=-1).max(axis=1)
    return shifts[(np.linalg.norm(shifts @ cells, axis=-1) <= longest[:, None]).any(axis=0)]


@compiled
def _count_pairs(
    frames: np.ndarray,
    cells: np.ndarray,
    inverses: np.ndarray,
    shifts: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    r_max: float,
    own_images: bool,
    counts: np.ndarray,
) -> None:
    """Add the pairs of each frame to a row of the counts [f,bins], or all to the only row of [1,bins].

    A single cell [1,3,3] belongs to all frames. The distances of one atom to all others are a separate loop, which the
    compiler turns into vector instructions.
    """
    same = len(first) == len(second) and np.all(first == second)
    a, b = np.empty((3, len(first))), np.empty((3, len(second)))
    vectors, squares = np.empty((3, len(second))), np.empty(len(second))
    for frame in range(len(frames)):
        cell, inverse = cells[frame % len(cells)], inverses[frame % len(cells)]
        row = counts[frame % len(counts)]
        _to_fractional(frames[frame], first, inverse, a)
        _to_fractional(frames[frame], second, inverse, b)
        for i in range(len(first)):
            start = i if same else 0
            _nearest_images(a[:, i], b, start, cell, vectors)
            for shift in shifts:
                _squares(vectors, shift, start, cell, squares)
                is_home = shift[0] == 0 and shift[1] == 0 and shift[2] == 0
                for j in range(start, len(second)):
                    if squares[j] < r_max * r_max:
                        if first[i] != second[j]:
                            _add(row, squares[j], r_max, 2 if same else 1)
                        elif own_images and not is_home:
                            _add(row, squares[j], r_max, 1)


@compiled
def _to_fractional(positions: np.ndarray, indices: np.ndarray, inverse: np.ndarray, out: np.ndarray) -> None:
    for column in range(len(indices)):
        x, y, z = positions[indices[column]]
        for axis in range(3):
            out[axis, column] = x * inverse[0, axis] + y * inverse[1, axis] + z * inverse[2, axis]


@compiled
def _nearest_images(origin: np.ndarray, points: np.ndarray, start: int, cell: np.ndarray, out: np.ndarray) -> None:
    """Write the Cartesian vectors [3,n] to points from an origin, with fractional coordinates of -1/2 to 1/2."""
    for j in range(start, points.shape[1]):
        u, v, w = points[0, j] - origin[0], points[1, j] - origin[1], points[2, j] - origin[2]
        u, v, w = u - np.floor(u + 0.5), v - np.floor(v + 0.5), w - np.floor(w + 0.5)
        for axis in range(3):
            out[axis, j] = u * cell[0, axis] + v * cell[1, axis] + w * cell[2, axis]


@compiled
def _squares(vectors: np.ndarray, shift: np.ndarray, start: int, cell: np.ndarray, out: np.ndarray) -> None:
    """Write the squared lengths [n] of vectors to an image."""
    x = shift[0] * cell[0, 0] + shift[1] * cell[1, 0] + shift[2] * cell[2, 0]
    y = shift[0] * cell[0, 1] + shift[1] * cell[1, 1] + shift[2] * cell[2, 1]
    z = shift[0] * cell[0, 2] + shift[1] * cell[1, 2] + shift[2] * cell[2, 2]
    for j in range(start, len(out)):
        out[j] = (vectors[0, j] + x) ** 2 + (vectors[1, j] + y) ** 2 + (vectors[2, j] + z) ** 2


@compiled
def _add(counts: np.ndarray, square: float, r_max: float, weight: int) -> None:
    counts[min(int(np.sqrt(square) * (len(counts) / r_max)), len(counts) - 1)] += weight
