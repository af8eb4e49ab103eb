"""Mean squared displacement: this package beside tidynamics, MDAnalysis, freud and kinisi, in one interleaved run.

All get the same random walk. One table averages over tracers at each lag. Another keeps each tracer (this package also
keeps each axis). A difference is the largest one at lags up to half the length, relative to the largest displacement.
freud computes in float32, MDAnalysis calls tidynamics, and kinisi has no Fourier transform, so it gets a hundred lags.
The benchmark fails if the longest walk misses a target. This package must be 4 times as fast as the fastest peer
averaged over tracers, and 1.8 times per tracer. It must agree with tidynamics, the most accurate peer, within 1e-9.
Run it with ``OMP_NUM_THREADS=1 python benchmarks/msd.py``.
"""

from __future__ import annotations

import argparse
import sys
from types import SimpleNamespace

import numpy as np
from side_by_side import Contest, compare, installed, report

from aiida_mghdiff.science.msd import average_mean_squared_displacement, mean_squared_displacement

KINISI_LAGS = 100
#: Least speed relative to the fastest peer, and largest difference relative to the largest displacement.
AVERAGED_SPEED, EACH_SPEED, MOST_DIFFERENCE = 4.0, 1.8, 1e-9


def by_tidynamics(positions: np.ndarray) -> np.ndarray:
    """Return the displacements [f,n]."""
    import tidynamics

    return np.stack([tidynamics.msd(positions[:, tracer]) for tracer in range(positions.shape[1])], axis=-1)


def by_freud(positions: np.ndarray) -> np.ndarray:
    """Return the displacements [f,n]."""
    import freud

    return freud.msd.MSD(freud.box.Box.cube(1e9), mode='window').compute(positions).particle_msd


def by_mdanalysis(positions: np.ndarray) -> np.ndarray:
    """Return the displacements [f,n]."""
    import MDAnalysis
    from MDAnalysis.analysis.msd import EinsteinMSD

    universe = MDAnalysis.Universe.empty(positions.shape[1], trajectory=True)
    universe.load_new(positions, order='fac')
    return EinsteinMSD(universe, fft=True).run().results.msds_by_particle


def by_kinisi(positions: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Return the average over tracers [l] at a hundred lags."""
    import scipp
    from kinisi.displacement import calculate_msd

    steps = scipp.array(dims=['obs', 'particle', 'dimension'], values=positions[1:] - positions[0], unit='angstrom')
    index = scipp.array(dims=['time interval'], values=lags)
    parser = SimpleNamespace(displacements=steps, dt_index=index, dt=index, dimensionality=3)
    return calculate_msd(parser, progress=False)['da'].values


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference at lags up to half the length, relative to the largest displacement."""
    half = len(expected) // 2
    return float(np.abs(found[:half] - expected[:half]).max() / expected[:half].max())


def run(frames: int, tracers: int, rounds: int) -> tuple[Contest, Contest, Contest]:
    """Print and return the comparisons on one length of the walk: averaged, of each tracer, at a hundred lags."""
    walk = np.random.default_rng(1).normal(size=(frames, tracers, 3)).cumsum(axis=0)
    size = f'{frames} frames, {tracers} tracers'
    peers = {'tidynamics': by_tidynamics, 'freud': by_freud, 'MDAnalysis': by_mdanalysis}
    averaged = {'this package': ('aiida_mghdiff', lambda: average_mean_squared_displacement(walk).sum(axis=-1))}
    averaged |= {name: (name, lambda peer=peer: peer(walk).mean(axis=1)) for name, peer in peers.items()}
    mean = compare(f'averaged over tracers, {size}', installed(averaged), largest_difference, rounds)
    each = {'this package': ('aiida_mghdiff', lambda: mean_squared_displacement(walk).sum(axis=-1))}
    each |= {name: (name, lambda peer=peer: peer(walk)) for name, peer in peers.items()}
    tracer = compare(f'each tracer and axis, {size}', installed(each), largest_difference, rounds)
    lags = np.unique(np.geomspace(1, frames // 2, KINISI_LAGS).astype(int))
    few = {'this package': ('aiida_mghdiff', lambda: average_mean_squared_displacement(walk).sum(axis=-1)[lags])}
    few['kinisi'] = ('kinisi', lambda: by_kinisi(walk, lags))
    title = f'averaged over tracers, {len(lags)} lags, {size}'
    return mean, tracer, compare(title, installed(few), largest_difference, rounds)


def check(mean: Contest, tracer: Contest, few: Contest) -> list[str]:
    """Return the missed targets."""
    peers = ('tidynamics', 'freud', 'MDAnalysis')
    return [
        *mean.check_speed(AVERAGED_SPEED, *peers),
        *few.check_speed(AVERAGED_SPEED, 'kinisi'),
        *tracer.check_speed(EACH_SPEED, *peers),
        *mean.check_difference(MOST_DIFFERENCE, 'tidynamics'),
        *tracer.check_difference(MOST_DIFFERENCE, 'tidynamics'),
    ]


def main() -> int:
    """Run all lengths; return 1 if the longest misses a target."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--frames', type=int, nargs='+', default=[20_000, 200_000])
    parser.add_argument('--tracers', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=3)
    options = parser.parse_args()
    contests = {frames: run(frames, options.tracers, options.rounds) for frames in sorted(options.frames)}
    return report(check(*contests[max(contests)]))


if __name__ == '__main__':
    sys.exit(main())
