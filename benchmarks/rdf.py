"""Radial distribution functions: this package beside freud and matscipy, in one interleaved run.

All count the pairs of all atoms of hcp Mg with H in it, frame by frame, on one core. All three reach half the width of
the cell; beyond it freud refuses. A difference sums the differences of all bins and divides by the number of pairs.
freud computes in float32, so a pair at the edge of a bin may fall into the next one. The benchmark fails if this
package is slower than freud, or counts other pairs than matscipy.
Run it with ``OMP_NUM_THREADS=1 python benchmarks/rdf.py``.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from side_by_side import compare, installed, report

from aiida_mghdiff.science.lattice.geometry import hcp_supercell, interstitial_sites
from aiida_mghdiff.science.rdf import pair_histogram

BINS = 200


def make_frames(frames: int, tracers: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions [f,n,3] of 128 vibrating Mg atoms with H on their sites, and their cell."""
    rng = np.random.default_rng(1)
    cell, host = hcp_supercell(3.20, 5.19, (4, 4, 4))
    sites = np.concatenate(interstitial_sites(cell, host))
    atoms = np.concatenate([host, sites[rng.choice(len(sites), tracers, replace=False)]])
    return atoms + rng.normal(scale=0.15, size=(frames, *atoms.shape)), cell


def by_this_package(frames: np.ndarray, cell: np.ndarray, r_max: float) -> np.ndarray:
    """Return the numbers of pairs [b]."""
    everything = np.arange(frames.shape[1])
    return pair_histogram(frames, cell, (everything, everything), r_max, BINS)[0]


def by_freud(frames: np.ndarray, cell: np.ndarray, r_max: float) -> np.ndarray:
    """Return the numbers of pairs [b]."""
    import freud

    freud.parallel.set_num_threads(1)
    rdf, box = freud.density.RDF(BINS, r_max), freud.box.Box.from_matrix(cell.T)
    for frame in frames:
        rdf.compute((box, box.wrap(frame)), reset=False)
    return rdf.bin_counts


def by_matscipy(frames: np.ndarray, cell: np.ndarray, r_max: float) -> np.ndarray:
    """Return the numbers of pairs [b]."""
    from matscipy.neighbours import neighbour_list

    counts = np.zeros(BINS, int)
    for frame in frames:
        distances = neighbour_list('d', positions=frame, cell=cell, pbc=[True] * 3, cutoff=r_max)
        counts += np.bincount((distances * (BINS / r_max)).astype(int), minlength=BINS)[:BINS]
    return counts


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the sum of the differences of all bins over the number of pairs."""
    return float(np.abs(found.astype(float) - expected).sum() / expected.sum())


def main() -> int:
    """Print the tables within half the cell and beyond it; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--frames', type=int, default=200)
    parser.add_argument('--rounds', type=int, default=5)
    options = parser.parse_args()
    frames, cell = make_frames(options.frames)
    peers = {'this package': ('aiida_mghdiff', by_this_package), 'matscipy': ('matscipy', by_matscipy)}
    missed: list[str] = []
    for r_max, more in ((5.5, {'freud': ('freud', by_freud)}), (10.0, {})):
        contestants = {
            name: (library, lambda count=count, r_max=r_max: count(frames, cell, r_max))
            for name, (library, count) in (peers | more).items()
        }
        title = f'{options.frames} frames of {frames.shape[1]} atoms, up to {r_max:g} Å'
        contest = compare(title, installed(contestants), relative_difference, options.rounds)
        missed += contest.check_difference(0.0, 'matscipy') + (contest.check_speed(1.0, *more) if more else [])
    return report(missed)


if __name__ == '__main__':
    sys.exit(main())
