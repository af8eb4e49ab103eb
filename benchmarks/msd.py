"""Mean squared displacement: this package beside tidynamics, in one interleaved run.

Both get the same random walk and give the displacement of each tracer; the times are medians over rounds in which the
two take turns, so that a busy machine slows both. Run it with ``OMP_NUM_THREADS=1 python benchmarks/msd.py``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import tidynamics

from aiida_mghdiff.science.msd import mean_squared_displacement


def ours(positions: np.ndarray) -> np.ndarray:
    """Return the displacements [f,n] by this package."""
    return mean_squared_displacement(positions).sum(axis=-1)


def reference(positions: np.ndarray) -> np.ndarray:
    """Return the displacements [f,n] by tidynamics."""
    return np.stack([tidynamics.msd(positions[:, tracer]) for tracer in range(positions.shape[1])], axis=-1)


def measure(functions: list[Callable[[np.ndarray], np.ndarray]], positions: np.ndarray, rounds: int) -> np.ndarray:
    """Return the median time of each function in seconds."""
    times = np.empty((rounds, len(functions)))
    for row in times:
        for index, function in enumerate(functions):
            start = time.perf_counter()
            function(positions)
            row[index] = time.perf_counter() - start
    return np.median(times, axis=0)


def main() -> None:
    """Print times, their ratio and the largest relative difference for each number of frames."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--frames', type=int, nargs='+', default=[20_000, 200_000])
    parser.add_argument('--tracers', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=5)
    options = parser.parse_args()
    for frames in options.frames:
        walk = np.random.default_rng(1).normal(size=(frames, options.tracers, 3)).cumsum(axis=0)
        difference = np.max(np.abs(ours(walk) - reference(walk))[1:] / reference(walk)[1:])
        fast, slow = measure([ours, reference], walk, options.rounds)
        print(
            f'{frames} frames, {options.tracers} tracers: {1e3 * fast:.1f} ms, tidynamics {1e3 * slow:.1f} ms, '
            f'ratio {slow / fast:.2f}, largest relative difference {difference:.1e}'
        )


if __name__ == '__main__':
    main()
