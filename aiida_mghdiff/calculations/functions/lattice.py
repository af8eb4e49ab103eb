"""Replicas on the lattice of their host, the common basis of the analyses of structure."""

from __future__ import annotations

import numpy as np
from aiida import orm

from aiida_mghdiff.calculations.exit_codes import MismatchError
from aiida_mghdiff.calculations.functions.replicas import Replica
from aiida_mghdiff.calculations.validation import IS_COUNT, IS_POSITIVE, IS_SEED, self_diffusion_message
from aiida_mghdiff.science.lattice.hcp import HcpSites, host_displacement, host_origin
from aiida_mghdiff.science.lattice.sites import Jumps, find_jumps, offsets_from_sites
from aiida_mghdiff.science.pairs import random_arrangements

#: Settings of all analyses of structure.
STRUCTURE_SETTINGS = {
    'maximum_distance': IS_POSITIVE,
    'bin_width': IS_POSITIVE,
    'core_radius': IS_POSITIVE,
    'pair_cutoff': IS_POSITIVE,
    'density_spacing': IS_POSITIVE,
    'random_arrangements': IS_COUNT,
    'seed': IS_SEED,
}
#: Largest number of measured offsets from sites from which to draw.
_OFFSETS = 200_000


class LatticeReplicas:
    """Replicas in the frame of the sites of their host, and the jumps of their tracers."""

    def __init__(self, host: orm.StructureData, replicas: list[Replica], core_radius: float) -> None:
        """Put the ideal host into the cell of the runs.

        :raises LatticeError: if the host is no hcp crystal, or melted.
        :raises SitesError: if tracers do not sit on its sites.
        :raises MismatchError: if the atoms of host and runs differ, or the host contains the tracer's element.
        """
        ideal, tracer, self.replicas = host.get_ase(), replicas[0].tracer_element, replicas
        if message := self_diffusion_message(tracer, ideal.get_chemical_symbols()):
            raise MismatchError(message)
        self.is_host = replicas[0].symbols != tracer
        if ideal.get_chemical_symbols() != list(replicas[0].symbols[self.is_host]):
            raise MismatchError(f'the host must have the atoms of the runs without {tracer}, in the same order.')
        self.sites = HcpSites.from_host(replicas[0].cell, ideal.get_scaled_positions(wrap=False) @ replicas[0].cell)
        self.positions = [self._tracers(run) for run in replicas]
        self.jumps: list[Jumps] = [
            find_jumps(positions, self.sites.positions, self.sites.cell, core_radius, run.name)
            for run, positions in zip(replicas, self.positions, strict=True)
        ]

    def _tracers(self, run: Replica) -> np.ndarray:
        """Return the positions [f,n,3] of tracers in the frame of the sites."""
        origin = host_origin(run.frames[:, self.is_host], run.host_centre[run.tracer_rows], self.sites)
        return run.drift_free_positions + origin

    @property
    def host_displacement(self) -> float:
        """Return the rms distance of host atoms from their sites in Å."""
        frames = np.concatenate([run.frames[:, self.is_host] for run in self.replicas])
        return host_displacement(frames, self.sites)

    @property
    def on_octahedral(self) -> np.ndarray:
        """Return the number of tracers [f] on octahedral sites in each frame of all replicas."""
        return np.concatenate([self.sites.is_octahedral[jumps.occupied].sum(axis=1) for jumps in self.jumps])

    def offsets(self) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors [m,3] in Å from octahedral and from tetrahedral sites to tracers on them."""
        stride = max(1, sum(jumps.occupied.size for jumps in self.jumps) // _OFFSETS)
        positions = np.concatenate([run.reshape(-1, 3)[::stride] for run in self.positions])
        occupied = np.concatenate([jumps.occupied.ravel()[::stride] for jumps in self.jumps])
        vectors = offsets_from_sites(positions, self.sites.positions, self.sites.cell, occupied)
        is_octahedral = self.sites.is_octahedral[occupied]
        return vectors[is_octahedral], vectors[~is_octahedral]

    def random_tracers(self, count: int, seed: int) -> np.ndarray:
        """Return positions [count,n,3] in Å of tracers on random sites, with the measured occupancy and vibrations."""
        tracers, rng = self.positions[0].shape[1], np.random.default_rng(seed)
        return random_arrangements(self.sites, self.on_octahedral, self.offsets(), tracers, count, rng)
