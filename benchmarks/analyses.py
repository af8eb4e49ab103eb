"""Time and memory of all analyses of a run of 1 ns: 200,000 frames of 8 tracers, 2,000 full frames of 136 atoms.

Each analysis is the body of its calcfunction, with nodes as input and output. It runs in a process forked with the
nodes. The peak memory is the whole memory of this process, with AiiDA and the libraries, as in a worker. The benchmark
fails if an analysis takes more than 5 s or 500 MB.
Run it with ``OMP_NUM_THREADS=1 python benchmarks/analyses.py``.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from aiida import load_profile, orm
from aiida.storage.sqlite_temp import SqliteTempBackend
from ase import Atoms
from side_by_side import peak_memory

from aiida_mghdiff.calculations.functions.density import tracer_density
from aiida_mghdiff.calculations.functions.diffusion import diffusion_coefficient
from aiida_mghdiff.calculations.functions.pairs import tracer_pairs
from aiida_mghdiff.calculations.functions.parameters import plan_diffusion
from aiida_mghdiff.calculations.functions.rdf import radial_distributions
from aiida_mghdiff.calculations.functions.sites import site_statistics
from aiida_mghdiff.data.tracers import TracerTrajectoryData
from aiida_mghdiff.science.lattice.geometry import hcp_supercell
from aiida_mghdiff.workflows.diffusion import DiffusionWorkChain

sys.path.append(str(Path(__file__).parents[1] / 'tests' / 'helpers'))
import hops

REPEATS, INTERVAL_PS, STRIDE, TEMPERATURE_K = (4, 4, 4), 0.005, 5, 600.0
RATES = {hops.T_T: 5.0, hops.T_O: 0.1, hops.O_T: 0.1, hops.O_O: 0.05}
LAG_PS = 20.0  # long enough for all estimators of D, also for generalised least squares at three lags
MOST_SECONDS, MOST_BYTES = 5.0, 500e6


def make_run(frames: int, full_frames: int, tracers: int) -> tuple[orm.StructureData, TracerTrajectoryData, orm.Data]:
    """Return the ideal host, the tracers and the full frames of a run, stored."""
    rng = np.random.default_rng(1)
    cell, host = hcp_supercell(hops.A, hops.C, REPEATS)
    walks = hops.Network(RATES, REPEATS).walks(rng, frames, INTERVAL_PS, tracers)
    drift = hops.drift(rng, frames, INTERVAL_PS)
    positions = walks + hops.vibrations(rng, frames, tracers, INTERVAL_PS) + drift[:, None]
    segment = TracerTrajectoryData.from_arrays(
        positions,
        drift + host.mean(axis=0),
        cell=cell,
        first_step=0,
        stride=STRIDE,
        time_step_fs=1e3 * INTERVAL_PS / STRIDE,
        tracer_element='H',
        host_elements=['Mg'],
        ensemble='nve',
        mean_temperature_k=TEMPERATURE_K,
    )
    rows = np.arange(0, frames, frames // full_frames)
    atoms = host + drift[rows, None] + rng.normal(scale=0.15, size=(len(rows), *host.shape))
    full = orm.TrajectoryData()
    full.set_trajectory(
        symbols=['Mg'] * len(host) + ['H'] * tracers,
        positions=np.concatenate([atoms, positions[rows]], axis=1),
        stepids=rows * STRIDE,
        cells=np.repeat(cell[None], len(rows), axis=0),
        times=rows * INTERVAL_PS,
        pbc=[True] * 3,
    )
    structure = orm.StructureData(ase=Atoms(['Mg'] * len(host), host, cell=cell, pbc=True))
    return structure.store(), segment.store(), full.store()


def make_analyses(frames: int, full_frames: int, tracers: int) -> dict[str, Callable[[], object]]:
    """Return the analyses of a run by name."""
    host, segment, full = make_run(frames, full_frames, tracers)
    settings = DiffusionWorkChain.get_settings('mace', overrides={'settings': {'fit': {'lag_ps': LAG_PS}}})
    plan = inspect.unwrap(plan_diffusion)(orm.Dict(settings), orm.Float(TEMPERATURE_K), host)
    nodes = {'r0_s000': segment, 'r0_f000': full}
    analyses = {'diffusion_coefficient': partial(inspect.unwrap(diffusion_coefficient), plan['fit'], r0_s000=segment)}
    for function in (radial_distributions, site_statistics, tracer_pairs, tracer_density):
        analyses[function.__name__] = partial(inspect.unwrap(function), plan['structure'], host=host, **nodes)
    return analyses


def main() -> int:
    """Print time and memory of each analysis; return 1 if one exceeds its limits."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--frames', type=int, default=200_000)
    parser.add_argument('--full-frames', type=int, default=2_000)
    parser.add_argument('--tracers', type=int, default=8)
    options = parser.parse_args()
    load_profile(SqliteTempBackend.create_profile('benchmark', debug=False))
    analyses = make_analyses(options.frames, options.full_frames, options.tracers)
    gc.collect()
    exceeded = False
    print(f'{options.frames} frames of {options.tracers} tracers, {options.full_frames} full frames')
    for name, analysis in analyses.items():
        analysis()  # compile first: a worker finds the compiled code in numba's cache
        start = time.perf_counter()
        analysis()
        seconds, memory = time.perf_counter() - start, peak_memory(analysis, whole=True)
        exceeded |= seconds > MOST_SECONDS or memory > MOST_BYTES
        print(f'{name:24s}{seconds:8.2f} s{memory / 1e6:8.0f} MB')
    return int(exceeded)


if __name__ == '__main__':
    sys.exit(main())
