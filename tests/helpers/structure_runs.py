"""Runs of H in hcp Mg as nodes: tracers hop on the truth model, the host vibrates and drifts, frames are full."""

from __future__ import annotations

import hops
import numpy as np
from aiida import orm
from ase import Atoms
from hops import O_O, O_T, T_O, T_T

from aiida_mghdiff.data.tracers import TracerTrajectoryData
from aiida_mghdiff.science.lattice import geometry

RATES = {T_T: 1.0, T_O: 0.10, O_T: 0.05, O_O: 0.04}
REPEATS, HOST_ATOMS = (3, 3, 2), 36
STRIDE, FRAME_STRIDE = 20, 1000
SETTINGS = {
    'maximum_distance': 8.0,
    'bin_width': 0.05,
    'core_radius': 0.5,
    'pair_cutoff': 3.0,
    'density_spacing': 0.2,
    'random_arrangements': 20000,
    'seed': 1,
}


def make_host(scale=1.0):
    """Return the ideal host as an unstored node; its cell may be larger than in the runs."""
    cell, positions = geometry.hcp_supercell(scale * hops.A, scale * hops.C, REPEATS)
    return orm.StructureData(ase=Atoms('Mg' * len(positions), positions, cell=cell, pbc=True))


def make_walks(frames=5000, tracers=3, seed=1, rates=RATES):
    """Return paths [f,n,3] of tracers without vibrations, a frame every 20 fs."""
    return hops.Network(rates, REPEATS).walks(np.random.default_rng(seed), frames, STRIDE * 1e-3, tracers)


def make_segment(positions, centre, cell, **changes):
    """Return tracers [f,n,3] of H in Mg as an unstored node; by default an NVE run at 600 K with a frame every fs."""
    attributes = {'first_step': 0, 'stride': 1, 'time_step_fs': 1.0, 'tracer_element': 'H', 'host_elements': ['Mg']}
    attributes |= {'ensemble': 'nve', 'mean_temperature_k': 600.0}
    return TracerTrajectoryData.from_arrays(positions, centre, cell=cell, **attributes | changes)


def make_run(walks, replica=0, temperature=600.0, parts=2, melted=False, wrapped_frames=False):
    """Return the segments of tracers and the full frames of one replica, by key."""
    rng = np.random.default_rng(100 + replica)
    frames, tracers, _ = walks.shape
    cell, host = geometry.hcp_supercell(hops.A, hops.C, REPEATS)
    interval = STRIDE * 1e-3
    positions = walks + hops.vibrations(rng, frames, tracers, interval, fast=0.2, slow=0.1)
    drift = hops.drift(rng, frames, interval)
    images = rng.integers(0, 2, size=host.shape) @ cell
    rows = np.arange(0, frames, FRAME_STRIDE // STRIDE)
    vibration = rng.normal(scale=3.0 if melted else 0.12, size=(len(rows), *host.shape))
    vibration -= vibration.mean(axis=1, keepdims=True)
    atoms = (host + images) + drift[rows, None] + vibration
    full = np.concatenate([atoms, positions[rows] + drift[rows, None]], axis=1)
    full = hops.wrap(full, cell) if wrapped_frames else full
    nodes, size = {}, frames // parts
    for part in range(parts):
        first, last = part * size, frames if part == parts - 1 else (part + 1) * size
        nodes[f'r{replica}_s{part:03d}'] = make_segment(
            (positions + drift[:, None])[first:last],
            drift[first:last] + (host + images).mean(axis=0),
            cell,
            first_step=first * STRIDE,
            stride=STRIDE,
            mean_temperature_k=temperature,
        )
        chosen = (rows >= first) & (rows < last)
        nodes[f'r{replica}_f{part:03d}'] = make_frames(rows[chosen], full[chosen], cell)
    return nodes


def make_frames(rows, positions, cell):
    """Return full frames as an unstored node."""
    node = orm.TrajectoryData()
    node.set_trajectory(
        symbols=['Mg'] * HOST_ATOMS + ['H'] * (positions.shape[1] - HOST_ATOMS),
        positions=np.ascontiguousarray(positions),
        stepids=rows * STRIDE,
        cells=np.repeat(cell[None], len(rows), axis=0),
        times=rows * STRIDE * 1e-3,
        pbc=[True] * 3,
    )
    return node


def make_runs(replicas=2, **options):
    """Return the nodes of several replicas, and their paths without vibrations."""
    names = ('frames', 'tracers', 'rates')
    walks = [
        make_walks(seed=replica + 1, **{name: options[name] for name in names if name in options})
        for replica in range(replicas)
    ]
    others = {name: value for name, value in options.items() if name not in names}
    nodes = [make_run(walk, replica, **others) for replica, walk in enumerate(walks)]
    return {key: node for run in nodes for key, node in run.items()}, walks
