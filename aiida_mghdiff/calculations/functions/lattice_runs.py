"""Replicas of a run on the lattice of their host: what the analyses of structure share."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from aiida import orm

from aiida_mghdiff.calculations.exit_codes import MismatchError, SegmentsError
from aiida_mghdiff.calculations.functions.diffusion import group_segments, run_temperature
from aiida_mghdiff.calculations.validation import IS_COUNT, IS_POSITIVE, IS_SEED, self_diffusion_message
from aiida_mghdiff.data.tracers import TracerTrajectoryData
from aiida_mghdiff.science.lattice.hcp import HcpSites, host_displacement, host_origin
from aiida_mghdiff.science.lattice.sites import Jumps, find_jumps, offsets_from_sites
from aiida_mghdiff.science.msd import remove_drift
from aiida_mghdiff.science.pairs import random_arrangements
from aiida_mghdiff.science.units import PS_IN_FS

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
#: Most measured offsets from sites to draw from.
_OFFSETS = 200_000
_KEY = re.compile(r'r(\d+)_f(\d+)')


@dataclass(frozen=True)
class Run:
    """One replica: the segments of its tracers and of its full frames, in order."""

    segments: list[TracerTrajectoryData]
    trajectories: list[orm.TrajectoryData]

    @cached_property
    def cell(self) -> np.ndarray:
        """Return the cell [3,3] in Å."""
        return self.segments[0].get_array('cell').astype(float)

    @cached_property
    def tracer_positions(self) -> np.ndarray:
        """Return the unwrapped positions [f,n,3] of the tracers in Å."""
        return np.concatenate([node.get_array('tracer_positions') for node in self.segments])

    @cached_property
    def host_centre(self) -> np.ndarray:
        """Return the centre of the host [f,3] in Å."""
        return np.concatenate([node.get_array('host_centre') for node in self.segments]).astype(float)

    @cached_property
    def frames(self) -> np.ndarray:
        """Return the positions [k,N,3] of all atoms in Å in the full frames."""
        return np.concatenate([node.get_positions() for node in self.trajectories])

    @property
    def frame_cells(self) -> np.ndarray:
        """Return the cells [k,3,3] in Å of the full frames."""
        return np.concatenate([node.get_cells() for node in self.trajectories])

    @property
    def symbols(self) -> np.ndarray:
        """Return the symbols [N] of all atoms."""
        return np.array(self.trajectories[0].symbols)

    @property
    def tracer_element(self) -> str:
        """Return the symbol of the tracers."""
        return self.segments[0].base.attributes.get('tracer_element')

    @property
    def frame_interval_ps(self) -> float:
        """Return the time between two frames of the tracers."""
        attributes = self.segments[0].base.attributes
        return attributes.get('stride') * attributes.get('time_step_fs') / PS_IN_FS

    @property
    def temperature_k(self) -> float:
        """Return the mean temperature."""
        return run_temperature(self.segments)

    @property
    def tracer_rows(self) -> np.ndarray:
        """Return for each full frame [k] the row of the tracers' frame at that time, or the nearest one."""
        steps = np.concatenate([node.get_stepids() for node in self.trajectories])
        attributes = self.segments[0].base.attributes
        rows = np.round((steps - attributes.get('first_step')) / attributes.get('stride')).astype(int)
        return np.clip(rows, 0, len(self.host_centre) - 1)


def read_runs(nodes: Mapping[str, orm.Data]) -> list[Run]:
    """Return the replicas of tracers (keys ``r<replica>_s<index>``) and full frames (``r<replica>_f<index>``).

    :raises SegmentsError: as :func:`group_segments` does, and for a replica without full frames.
    :raises MismatchError: where the replicas differ in their cells, atoms or time between frames.
    """
    segments = {key: node for key, node in nodes.items() if isinstance(node, TracerTrajectoryData)}
    trajectories: dict[int, list[orm.TrajectoryData]] = defaultdict(list)
    for key in sorted(set(nodes) - set(segments)):
        if not (match := _KEY.fullmatch(key)):
            raise SegmentsError(f'{key}: keys of full frames must have the form r<replica>_f<index>.')
        trajectories[int(match[1])].append(nodes[key])
    grouped = group_segments(segments)
    if lacking := set(grouped) - set(trajectories):
        raise SegmentsError(f'replica {min(lacking)} has no full frames: record them (frame_interval_fs).')
    runs = [Run(run, trajectories[replica]) for replica, run in grouped.items()]
    _check_alike(runs)
    return runs


def _check_alike(runs: list[Run]) -> None:
    first = runs[0]
    for index, run in enumerate(runs[1:], 1):
        if not np.allclose(run.cell, first.cell, atol=1e-3):
            raise MismatchError(f'the cell of replica {index} is not that of the first: analyse one volume at a time.')
        if list(run.symbols) != list(first.symbols):
            raise MismatchError(f'the atoms of replica {index} are not those of the first.')
        if run.frame_interval_ps != first.frame_interval_ps:
            raise MismatchError(f'replica {index} was recorded at another interval than the first.')


class LatticeRuns:
    """Replicas in the frame of the sites of their host, and the jumps of their tracers."""

    def __init__(self, host: orm.StructureData, runs: list[Run], core_radius: float) -> None:
        """Put the ideal host into the cell of the runs.

        :raises LatticeError: where the host is no hcp crystal, or melted.
        :raises SitesError: where tracers do not sit on its sites.
        :raises MismatchError: where the host has not the atoms of the runs, or holds the tracer's element.
        """
        ideal, tracer, self.runs = host.get_ase(), runs[0].tracer_element, runs
        if message := self_diffusion_message(tracer, ideal.get_chemical_symbols()):
            raise MismatchError(message)
        self.is_host = runs[0].symbols != tracer
        if ideal.get_chemical_symbols() != list(runs[0].symbols[self.is_host]):
            raise MismatchError(f'the host has not the atoms of the runs, {tracer} left out, in their order.')
        self.sites = HcpSites.from_host(runs[0].cell, ideal.get_scaled_positions(wrap=False) @ runs[0].cell)
        self.positions = [self._tracers(run) for run in runs]
        self.jumps: list[Jumps] = [
            find_jumps(positions, self.sites.positions, self.sites.cell, core_radius) for positions in self.positions
        ]

    def _tracers(self, run: Run) -> np.ndarray:
        """Return the positions [f,n,3] of tracers in the frame of the sites."""
        origin = host_origin(run.frames[:, self.is_host], run.host_centre[run.tracer_rows], self.sites)
        return remove_drift(run.tracer_positions, run.host_centre) + origin

    @property
    def host_displacement(self) -> float:
        """Return the rms distance of host atoms from their sites in Å."""
        frames = np.concatenate([run.frames[:, self.is_host] for run in self.runs])
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
        """Return positions [count,n,3] in Å of tracers put on sites at random, with their occupancy and vibrations."""
        tracers, rng = self.positions[0].shape[1], np.random.default_rng(seed)
        return random_arrangements(self.sites, self.on_octahedral, self.offsets(), tracers, count, rng)
