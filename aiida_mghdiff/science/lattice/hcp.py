"""The interstitial sites of an hcp crystal as a whole: kinds, unit cell, classes of jumps, and the host in a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aiida_mghdiff.science.lattice.geometry import LatticeError, hcp_paths, interstitial_sites, neighbour_distance
from aiida_mghdiff.science.lattice.hops import HOPS, OTHER
from aiida_mghdiff.science.lattice.sites import Jumps

#: Classes of jumps.
CLASSES = (*HOPS, OTHER)
#: Limit between the longest jump of a class and the next longer vector, divided by the distance of neighbours.
_SHARED_FACE, _SHARED_EDGE, _NEAREST_O_T, _NEAREST_O_O = 0.5, 0.85, 0.72, 1.2
#: Largest rms displacement of host atoms from lattice sites, divided by the distance of neighbours: crystals melt at
#: 0.1 to 0.15 (Lindemann, Phys. Z. 11, 609 (1910)).
_MOLTEN = 0.2
#: Fractional coordinates of the same site differ by less than this; different sites differ by 0.25 or more.
_SAME = 0.1


@dataclass(frozen=True)
class HcpSites:
    """The interstitial sites of an hcp host of n atoms: n octahedral, then 2n tetrahedral sites."""

    cell: np.ndarray  # [3,3] Å
    host: np.ndarray  # [n,3] Å
    positions: np.ndarray  # [3n,3] Å
    unit_cell: np.ndarray  # [3,3] Å: a1 and a2 at 120 degrees, c

    @classmethod
    def from_host(cls, cell: np.ndarray, host: np.ndarray) -> HcpSites:
        """Return the sites of an ideal host [n,3] in a cell, both in Å.

        :raises LatticeError: if the host is no hcp crystal.
        """
        return cls(cell, host, np.concatenate(interstitial_sites(cell, host)), unit_cell(cell, host))

    @property
    def is_octahedral(self) -> np.ndarray:
        """Return for each site [3n] whether it is octahedral."""
        return np.arange(len(self.positions)) < len(self.host)

    def fold(self, points: np.ndarray) -> np.ndarray:
        """Return fractional coordinates [...,3] in the unit cell, from 0 to 1; an octahedral site is at the origin."""
        return ((points - self.positions[0]) @ np.linalg.inv(self.unit_cell)) % 1.0

    def distinct(self, points: np.ndarray) -> np.ndarray:
        """Return the fractional coordinates [k,3] in the unit cell of the points that differ by no lattice vector."""
        folded = self.fold(points)
        kept: list[np.ndarray] = []
        for point in folded:
            if all(np.abs((point - other + 0.5) % 1.0 - 0.5).max() > _SAME for other in kept):
                kept.append(point)
        return np.array(kept)

    def classify(self, jumps: Jumps) -> np.ndarray:
        """Return the index in ``CLASSES`` [j] of each jump."""
        from_o, to_o = self.is_octahedral[jumps.origins], self.is_octahedral[jumps.targets]
        lengths = np.linalg.norm(jumps.vectors, axis=1)
        cosine = np.abs(jumps.vectors @ self.unit_cell[2]) / (lengths * np.linalg.norm(self.unit_cell[2]))
        reduced = lengths / neighbour_distance(self.cell, len(self.host))
        o_o, t_t = from_o & to_o & (reduced < _NEAREST_O_O), ~from_o & ~to_o
        conditions = {
            'O-O c': o_o & (cosine > 0.9),
            'O-O ab': o_o & (cosine < 0.1),
            'O-T': from_o & ~to_o & (reduced < _NEAREST_O_T),
            'T-O': ~from_o & to_o & (reduced < _NEAREST_O_T),
            'T-T': t_t & (reduced < _SHARED_FACE),
            'T-T edge': t_t & (reduced >= _SHARED_FACE) & (reduced < _SHARED_EDGE),
        }
        return np.select([conditions[name] for name in HOPS], range(len(HOPS)), CLASSES.index(OTHER))


def unit_cell(cell: np.ndarray, host: np.ndarray) -> np.ndarray:
    """Return the lattice vectors [3,3] in Å of the hcp unit cell that an ideal host [n,3] repeats.

    Rows are a1, a2 at 120 degrees to a1, and c, right-handed; a strain of the supercell strains them, too.

    :raises LatticeError: if the host is no hcp crystal.
    """
    paths = hcp_paths(cell, host)
    a, half_c = (np.subtract(*paths[name][::-1]) for name in ('O-O ab', 'O-O c'))
    axis = half_c / np.linalg.norm(half_c)
    ideal = np.array([a, -a / 2 + np.sqrt(3) / 2 * np.cross(axis, a), 2 * half_c])
    repeats = np.round(cell @ np.linalg.inv(ideal))
    if round(abs(np.linalg.det(repeats))) != len(host) / 2:
        raise LatticeError('the cell does not repeat a unit cell of hcp: give an ideal supercell without defects.')
    return np.linalg.solve(repeats, cell)


def host_origin(frames: np.ndarray, centres: np.ndarray, sites: HcpSites) -> np.ndarray:
    """Return the host's centre [3] in Å in the frame of the sites.

    To move a point into this frame, subtract the centre of the host at the same time and add this centre. The centre is
    measured, not taken from the ideal host, since host atoms may be recorded in other images of the cell.

    :param frames: host atoms [f,n,3] in Å, in the order of the host of the sites, wrapped or not.
    :param centres: centre of the host [f,3] in Å of the same frames, as recorded.
    :raises LatticeError: if atoms have left their lattice sites, as in a melt.
    """
    shifts = _host_shifts(frames, sites)
    inverse = np.linalg.inv(sites.cell)
    origins = centres - shifts
    offsets = origins - origins[0]
    return origins[0] + (offsets - np.round(offsets @ inverse) @ sites.cell).mean(axis=0)


def host_displacement(frames: np.ndarray, sites: HcpSites) -> float:
    """Return the rms distance in Å of host atoms [f,n,3] from their lattice sites."""
    fractional, shifts = _host_fractions(frames, sites)
    displacements = (fractional - shifts[:, None] + 0.5) % 1.0 - 0.5
    return float(np.sqrt(np.square(displacements @ sites.cell).sum(axis=-1).mean()))


def _host_fractions(frames: np.ndarray, sites: HcpSites) -> tuple[np.ndarray, np.ndarray]:
    """Return the displacements [f,n,3] of host atoms and their means [f,3] in fractional coordinates, modulo 1."""
    fractional = (frames - sites.host) @ np.linalg.inv(sites.cell)
    centre = np.angle(np.exp(2j * np.pi * fractional).mean(axis=1)) / (2 * np.pi)
    about = (fractional - centre[:, None] + 0.5) % 1.0 - 0.5
    return fractional, centre + about.mean(axis=1)


def _host_shifts(frames: np.ndarray, sites: HcpSites) -> np.ndarray:
    """Return the shifts [f,3] in Å of the host of each frame from the host of the sites, modulo the cell."""
    rms, limit = host_displacement(frames, sites), _MOLTEN * neighbour_distance(sites.cell, len(sites.host))
    if rms > limit:
        raise LatticeError(
            f'its atoms are {rms:.2f} Å (rms) from the sites of the ideal crystal, in a solid less than {limit:.2f} Å: '
            'it melted, its planes glide (as in a small cell), or its atoms are in another order.'
        )
    return _host_fractions(frames, sites)[1] @ sites.cell
