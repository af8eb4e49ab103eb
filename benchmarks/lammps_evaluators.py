"""Time per MD step of the launcher's evaluators: torch against symmetrix, in float64 and float32.

    python benchmarks/lammps_evaluators.py [MODEL] [--repeats 2x2x2 3x3x2] [--steps 20]

Both run in one process, step by step in turns, on the same moving atoms. On a noisy machine only their ratio has a
meaning. Set OMP_NUM_THREADS=1 to measure one core. Without a model nothing is timed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from aiida_mghdiff.executables.lmp.evaluators import Evaluator, compare, load_symmetrix, load_torch


def hydride(repeats: tuple[int, ...]) -> Atoms:
    """Return hcp Mg with one H for every 16 Mg."""
    atoms = bulk('Mg', 'hcp', a=3.2, c=5.19).repeat(repeats)
    for host in atoms.positions[::16].copy():
        atoms += Atoms('H', [np.add(host, [1.6, 0.92, 1.3])])
    atoms.rattle(0.03, seed=1)
    return atoms


def milliseconds(evaluators: list[Evaluator], atoms: Atoms, steps: int) -> np.ndarray:
    """Return the median time of each evaluator per step."""
    rng, times = np.random.default_rng(0), np.empty((steps, len(evaluators)))
    for step in range(steps):
        atoms.positions += rng.normal(scale=0.005, size=atoms.positions.shape)
        for column, evaluator in enumerate(evaluators):
            start = time.perf_counter()
            evaluator(atoms)
            times[step, column] = 1e3 * (time.perf_counter() - start)
    return np.median(times, axis=0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', type=Path, nargs='?', help='a MACE model')
    parser.add_argument('--repeats', nargs='+', default=['2x2x2', '3x3x2', '4x4x4'])
    parser.add_argument('--steps', type=int, default=15)
    arguments = parser.parse_args()
    if arguments.model is None:
        print('no model given: the evaluators of the launcher are not timed')
        return
    print('atoms    dtype  torch ms  symmetrix ms  ratio  load s  difference eV/Å')
    for repeats in arguments.repeats:
        for dtype in ('float64', 'float32'):
            atoms = hydride(tuple(int(number) for number in repeats.split('x')))
            options = {'dtype': dtype, 'device': 'cpu'}
            torch = load_torch(str(arguments.model), options)
            start = time.perf_counter()
            symmetrix = load_symmetrix(str(arguments.model), options | {'head': torch.head}, [1, 12], torch.cutoff)
            load = time.perf_counter() - start
            difference = compare(symmetrix, torch, atoms)
            slow, fast = milliseconds([torch, symmetrix], atoms, arguments.steps)
            times = f'{slow:8.1f}  {fast:12.1f}  {slow / fast:5.1f}  {load:6.1f}'
            print(f'{len(atoms):5d}  {dtype}  {times}  {difference:.1e}', flush=True)


if __name__ == '__main__':
    main()
