"""Jumps between the cages of hcp: this package beside gemdat, in one interleaved run.

Both get the same hops on the hcp network, with vibrations, the same sites and the same cores. gemdat's sites nearly
touch. Only jumps between cages are counted, because vibrations lead from one site of a tetrahedral pair to the other.
The difference is relative to the known number of hops. The benchmark fails if this package is not 100 times as fast.
Run it with ``OMP_NUM_THREADS=1 python benchmarks/jumps.py``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from side_by_side import compare, installed, report

from aiida_mghdiff.science.lattice.sites import find_jumps

sys.path.append(str(Path(__file__).parents[1] / 'tests' / 'helpers'))
import hops

RATES = {hops.T_O: 0.02, hops.O_T: 0.01, hops.O_O: 0.02}
INTERVAL = 0.02
CORE_RADIUS, SITE_RADIUS = 0.5, 0.64
LEAST_SPEED = 100.0


def count_between_cages(origins: np.ndarray, targets: np.ndarray, sites: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return the number [1] of jumps between sites that do not form a tetrahedral pair."""
    steps = sites[targets] - sites[origins]
    steps -= np.round(steps @ np.linalg.inv(cell)) @ cell
    return np.array([np.sum(np.linalg.norm(steps, axis=1) > 1.5)])


def by_this_package(positions: np.ndarray, sites: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return the number of jumps between cages [1]."""
    jumps = find_jumps(positions, sites, cell, CORE_RADIUS)
    return count_between_cages(jumps.origins, jumps.targets, sites, cell)


def by_gemdat(positions: np.ndarray, sites: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return the number of jumps between cages [1]."""
    from gemdat import Jumps, Trajectory
    from pymatgen.core import Element, Structure

    fractional = positions @ np.linalg.inv(cell)
    trajectory = Trajectory(
        species=[Element('H')] * positions.shape[1],
        coords=fractional % 1.0,
        lattice=cell,
        time_step=INTERVAL * 1e-12,
        metadata={'temperature': 600},
        constant_lattice=True,
    )
    structure = Structure(cell, ['H'] * len(sites), sites, coords_are_cartesian=True, labels=['site'] * len(sites))
    transitions = trajectory.transitions_between_sites(
        sites=structure,
        floating_specie='H',
        site_radius=SITE_RADIUS,
        site_inner_fraction=CORE_RADIUS / SITE_RADIUS,
    )
    ends = Jumps(transitions).data[['start site', 'destination site']].to_numpy(int)
    return count_between_cages(*ends.T, sites, cell)


def main() -> int:
    """Print the table; return 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--frames', type=int, default=50_000)
    parser.add_argument('--tracers', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=3)
    options = parser.parse_args()
    network = hops.Network(RATES)
    positions, known = hops.trajectory(RATES, options.frames, INTERVAL, options.tracers, seed=1)
    arguments = positions, network.sites, network.cell
    contestants = {
        'this package': ('aiida_mghdiff', lambda: by_this_package(*arguments)),
        'gemdat': ('gemdat', lambda: by_gemdat(*arguments)),
    }
    print(f'{known.sum()} hops between cages, this package finds {by_this_package(*arguments)[0]}')
    contest = compare(
        f'{options.frames} frames, {options.tracers} tracers',
        installed(contestants),
        lambda found, _: float(found[0] / known.sum() - 1),
        options.rounds,
    )
    return report(contest.check_speed(LEAST_SPEED, 'gemdat'))


if __name__ == '__main__':
    sys.exit(main())
