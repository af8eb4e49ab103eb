"""Find the lattice of vibrating host atoms, and the interstitial elements, from configurations alone.

Lattice: adaptive common-neighbour analysis (Stukowski, Modelling Simul. Mater. Sci. Eng. 20, 045021 (2012),
doi:10.1088/0965-0393/20/4/045021). The bonds among the nearest neighbours of an atom distinguish hcp, fcc and bcc. An
atom whose neighbours vibrate too much has no lattice, so many atoms vote.

Interstitial elements: an interstitial atom is closer to host atoms than these are to each other (sqrt(1/2) times in an
octahedron, sqrt(3/8) in a tetrahedron of close-packed hosts; 0.70 and 0.65 in bcc). An atom on a lattice site is
equally close. The ratio needs no lattice, no density and no unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.spatial import cKDTree

from aiida_mghdiff.science.lattice.geometry import LatticeError, neighbour_distance, periodic_images, wrap

LATTICES = ('hcp', 'fcc', 'bcc')
#: Bonds of an atom by their common neighbours: their number, the bonds among them, the most bonds of one of them.
_421, _422, _444, _666 = (4, 2, 1), (4, 2, 2), (4, 4, 2), (6, 6, 2)
_CLOSE_PACKED, _BCC = 12, 14
#: Largest relative difference of two heights of the unit cell, from layers and from the volume. A slab with vacuum has
#: a larger difference, a warm crystal a smaller one.
_LARGEST_MISFIT = 0.1
#: Border between the first and the second shell, divided by the mean distance of the first.
_CUT = (1 + np.sqrt(2)) / 2
#: At least this fraction of the atoms must have a lattice, and more than half of these the same lattice.
_LEAST_SHARE = 0.1
#: Number of nearest neighbours that define the distance of an atom from an element: the corners of a tetrahedron.
_NEAREST = 4
#: Limit between the ratios of interstitial atoms (at most 0.71, higher in a soft host) and of atoms on lattice sites.
_INTERSTITIAL = 0.85
#: Largest number of examined configurations: more configurations of one dataset do not change the result.
_ENOUGH = 200

Item = TypeVar('Item')


#: Elements of gases and molecules: no hosts, although Mg lies between the H atoms of MgH2.
_MOLECULAR = (1, 2, 7, 8, 9, 10, 17, 18, 35, 36, 53, 54, 86)
#: Largest numbers of repeats of a cubic cell along two of its vectors; hcp cells have no such ratio (sqrt(3) to 0.1 %).
_REPEATS = 12


def has_cubic_shape(cell: np.ndarray) -> bool:
    """Return whether a supercell [3,3] repeats a conventional or a primitive cell of a cubic crystal.

    Its vectors form equal angles, and their lengths have ratios of small whole numbers.
    """
    lengths = np.linalg.norm(cell, axis=1)
    cosines = (cell @ cell.T / np.outer(lengths, lengths))[np.triu_indices(3, 1)]
    return bool(np.ptp(cosines) < 1e-3) and all(map(_are_commensurate, lengths, np.roll(lengths, 1)))


def _are_commensurate(one: float, other: float) -> bool:
    repeats = np.arange(1, _REPEATS + 1)
    return bool((np.abs(np.outer(1 / repeats, repeats) * other / one - 1) < 1e-3).any())


class Configuration(NamedTuple):
    """One arrangement of atoms."""

    cell: np.ndarray  # [3,3] Å
    positions: np.ndarray  # [n,3] Å
    numbers: np.ndarray  # [n]

    def of(self, number: int) -> np.ndarray:
        """Return the positions [m,3] in Å of the atoms of an element."""
        return self.positions[self.numbers == number]


def interstitial_pairs(configurations: Sequence[Configuration]) -> list[tuple[int, int]]:
    """Return the possible pairs of atomic numbers (host, tracer) of the configurations.

    In such a pair the tracer is interstitial in the host and has fewer atoms, over all configurations with both; the
    host is interstitial in no other element, and forms no molecules.
    """
    elements = np.unique(np.concatenate([one.numbers for one in configurations])).tolist()
    pairs = [pair for pair in permutations(elements, 2) if pair[0] not in _MOLECULAR]
    found = [pair for pair in pairs if _is_interstitial(configurations, *pair)]
    interstitial = {tracer for _, tracer in found}
    return [(host, tracer) for host, tracer in found if host not in interstitial]


def _is_interstitial(configurations: Sequence[Configuration], host: int, tracer: int) -> bool:
    counts = np.array([[np.sum(one.numbers == number) for number in (host, tracer)] for one in configurations])
    both = np.flatnonzero(counts.all(axis=1))
    hosts, tracers = counts[both].sum(axis=0)
    if not len(both) or tracers >= hosts:
        return False
    ratios = [_distance_ratio(configurations[index], host, tracer) for index in thinned(both.tolist())]
    return bool(np.median(ratios) < _INTERSTITIAL)


def _distance_ratio(configuration: Configuration, host: int, tracer: int) -> float:
    """Return the distance of tracers from host atoms, divided by the distance of host atoms from each other."""
    atoms, tracers = (wrap(configuration.cell, configuration.of(number)) for number in (host, tracer))
    images = atoms + _lattice_vectors(configuration.cell)[:, None]
    tree = cKDTree(images.reshape(-1, 3))
    to_host = tree.query(tracers, _NEAREST)[0]
    return float(to_host.mean() / tree.query(atoms, _NEAREST + 1)[0][:, 1:].mean())


def _lattice_vectors(cell: np.ndarray) -> np.ndarray:
    """Return the vectors [27,3] to the cell and its touching images."""
    return np.stack(np.meshgrid(*[(0, -1, 1)] * 3), axis=-1).reshape(-1, 3) @ cell


def thinned(items: Sequence[Item]) -> Sequence[Item]:
    """Return all items, or about a hundred evenly spaced ones if there are more."""
    return items[:: -(-len(items) // _ENOUGH)] if len(items) else items


def lattice_of(hosts: Iterable[tuple[np.ndarray, np.ndarray]]) -> str | None:
    """Return the lattice of most atoms: ``hcp``, ``fcc``, ``bcc`` or None.

    :param hosts: cell [3,3] and positions [n,3] in Å of each configuration of the host.
    """
    lattices = np.concatenate([np.empty(0, int), *(lattices_of(cell, positions) for cell, positions in hosts)])
    votes = [int(np.sum(lattices == index)) for index in range(len(LATTICES))]
    if max(votes) <= sum(votes) / 2 or sum(votes) < _LEAST_SHARE * len(lattices):
        return None
    return LATTICES[int(np.argmax(votes))]


def lattices_of(cell: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the index in ``LATTICES`` [n] of each atom; -1 if its neighbours fit none of these.

    :param positions: [n,3] in Å, of one or several elements on one lattice.
    """
    _, close_packed = _close_packed_bonds(cell, positions)
    body_centred = _bcc_bonds(cell, positions)
    conditions = [
        (_count(close_packed, _421) == 6) & (_count(close_packed, _422) == 6),
        _count(close_packed, _421) == _CLOSE_PACKED,
        (_count(body_centred, _666) == 8) & (_count(body_centred, _444) == 6),
    ]
    return np.select(conditions, range(len(LATTICES)), -1)


def _count(bonds: np.ndarray, kind: tuple[int, int, int]) -> np.ndarray:
    return np.sum((bonds == kind).all(axis=-1), axis=1)


def hcp_unit_cell(cell: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the lattice vectors [3,3] in Å of the hcp unit cell that a cell of vibrating atoms [n,3] repeats.

    Rows are as in ``hcp.unit_cell``. The bonds 422 of an hcp atom lie in the basal plane: they give the directions and,
    with the volume, a first estimate of the lengths; the cell then gives the lattice vectors.

    :raises LatticeError: if no atom is on hcp, the cell has vacuum, or it does not repeat a unit cell of hcp.
    """
    vectors, bonds = _close_packed_bonds(cell, positions)
    on_hcp = lattices_of(cell, positions) == LATTICES.index('hcp')
    is_in_plane = (bonds[on_hcp] == _422).all(axis=-1)
    in_plane, between = vectors[on_hcp][is_in_plane], vectors[on_hcp][~is_in_plane]
    if not len(in_plane):
        raise LatticeError('none of its atoms has the neighbours of an hcp crystal.')
    axis = np.linalg.svd(in_plane, full_matrices=False)[2][2]
    along = in_plane @ in_plane[0] / np.linalg.norm(in_plane, axis=1) / np.linalg.norm(in_plane[0])
    near = np.abs(along) > np.cos(np.pi / 6)
    a = np.mean(in_plane[near] * np.sign(along[near])[:, None], axis=0)
    b = -a / 2 + np.sqrt(3) / 2 * np.cross(axis, a)
    height = 2 * abs(np.linalg.det(cell)) / len(positions) / np.linalg.norm(np.cross(a, b))
    if abs(2 * np.abs(between @ axis).mean() / height - 1) > _LARGEST_MISFIT:
        raise LatticeError('the layers of the cell are too close for its volume: it has vacuum, or lacks atoms.')
    repeats = np.round(cell @ np.linalg.inv([a, b, height * axis]))
    if round(abs(np.linalg.det(repeats))) != len(positions) / 2:
        raise LatticeError('the cell does not repeat a unit cell of hcp.')
    return np.linalg.solve(repeats, cell)


def _close_packed_bonds(cell: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors [n,12,3] in Å to the neighbours, and the result of ``_bonds`` [n,12,3] for each."""
    vectors = _neighbours(cell, positions, _CLOSE_PACKED)
    return vectors, _bonds(vectors, np.linalg.norm(vectors, axis=-1).mean(axis=1))


def _bcc_bonds(cell: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the result of ``_bonds`` [n,14,3] for both shells of bcc, whose distances differ by 2 / sqrt(3)."""
    vectors = _neighbours(cell, positions, _BCC)
    lengths = np.linalg.norm(vectors, axis=-1)
    return _bonds(vectors, (2 / np.sqrt(3) * lengths[:, :8].mean(axis=1) + lengths[:, 8:].mean(axis=1)) / 2)


def _neighbours(cell: np.ndarray, positions: np.ndarray, count: int) -> np.ndarray:
    """Return the vectors [n,count,3] in Å to the nearest neighbours, nearest first."""
    inside = wrap(cell, positions)
    images = periodic_images(cell, inside, 2 * neighbour_distance(cell, len(inside)))
    nearest = cKDTree(images).query(inside, count + 1)[1][:, 1:]
    return images[nearest] - inside[:, None]


def _bonds(vectors: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return for each bond the number of common neighbours, the bonds among them, and the most bonds of one [n,m,3].

    :param scales: distance [n] by which ``_CUT`` is multiplied, so that the longest bond lies between two shells.
    """
    apart = np.linalg.norm(vectors[:, :, None] - vectors[:, None], axis=-1)
    bonded = ((apart < _CUT * scales[:, None, None]) & (apart > 0)).astype(int)
    degrees = bonded * (bonded @ bonded)
    return np.stack([bonded.sum(axis=-1), degrees.sum(axis=-1) // 2, degrees.max(axis=-1)], axis=-1)
