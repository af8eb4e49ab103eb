"""The path of one tracer through the host, for the static and the rotatable figure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from aiida import orm
from ase.data import atomic_masses, atomic_numbers
from scipy.spatial import cKDTree

from aiida_mghdiff.calculations.functions.replicas import Replica
from aiida_mghdiff.report.study import Diffusion, NveRun, Study
from aiida_mghdiff.science.msd import remove_drift

LONGEST_PS = 100.0
MOST_POINTS = 2000
#: Host atoms within this distance of the path in Å are shown: the corners of the visited sites.
NEAR = 2.3


@dataclass(frozen=True)
class Track:
    """The unwrapped path of one tracer relative to the host, and the mean positions of the nearby host atoms."""

    diffusion: Diffusion
    run: NveRun
    tracer: int
    times_ps: np.ndarray  # [f]
    positions: np.ndarray  # [f,3] Å
    host: np.ndarray  # [m,3] Å
    nodes: list[orm.ArrayData]  # source nodes


def read_track(study: Study) -> Track | None:
    """Return the path of the most typical tracer in the showcase's first run; None without trajectories.

    The mean squared displacement of this tracer, over the shown time, is nearest to the median of all tracers.
    """
    if study.showcase is None:
        return None
    runs = [run for run in study.runs_of(study.showcase) if run.outputs('tracers') and run.outputs('trajectory')]
    if not runs:
        return None
    replica = Replica(runs[0].outputs('tracers'), runs[0].outputs('trajectory'))
    times, positions = replica.times_ps, replica.drift_free_positions
    frames = np.flatnonzero(times - times[0] <= LONGEST_PS)
    times, positions = times[frames] - times[0], positions[frames]
    tracer = typical_tracer(positions)
    every = -(-len(times) // MOST_POINTS)
    path = positions[::every, tracer]
    host = nearby(mean_host(replica), replica.cell, path)
    nodes = [*replica.segments, *replica.trajectories]
    return Track(study.showcase, runs[0], tracer, times[::every], path, host, nodes)


def typical_tracer(positions: np.ndarray) -> int:
    """Return the index of the tracer with a mean squared distance from its start nearest to the median.

    :param positions: [f,n,3] in Å.
    """
    distances = np.square(positions - positions[0]).sum(axis=-1).mean(axis=0)
    return int(np.argmin(abs(distances - np.median(distances))))


def mean_host(replica: Replica) -> np.ndarray:
    """Return the mean positions [m,3] in Å of the host atoms relative to their centre of mass."""
    host = np.flatnonzero(replica.symbols != replica.tracer_element)
    masses = atomic_masses[[atomic_numbers[symbol] for symbol in replica.symbols[host]]]
    positions = replica.frames[:, host]
    return remove_drift(positions, np.average(positions, axis=1, weights=masses)).mean(axis=0)


def nearby(host: np.ndarray, cell: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Return the host atoms [m,3], with periodic images, near a path [f,3]."""
    inverse = np.linalg.inv(cell)
    low, high = (limit(path @ inverse, axis=0) for limit in (np.min, np.max))
    low, high = np.floor(low - 1).astype(int), np.ceil(high + 1).astype(int)
    shifts = np.array(list(product(*(range(a, b + 1) for a, b in zip(low, high, strict=True)))))
    images = (host + (shifts @ cell)[:, None]).reshape(-1, 3)
    return images[cKDTree(path).query(images)[0] < NEAR]
