"""Density of tracers in the unit cell of hcp."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiida_mghdiff.science.lattice.hcp import HcpSites

#: Points that are folded at once; folding a long run at once would take several times its memory.
_CHUNK = 200_000


def unit_cell_density(runs: Sequence[np.ndarray], sites: HcpSites, spacing: float) -> np.ndarray:
    """Return the probability density [x,y,z] in 1/Å³ of a tracer, with all unit cells folded into one.

    The element [i,j,k] is the mean over the bin that begins at i/x, j/y, k/z in fractional coordinates of
    ``sites.unit_cell``, in which an octahedral site is at the origin. Its integral over the unit cell is 1.

    :param runs: positions [f,n,3] in Å of each run, in the frame of the sites.
    :param spacing: upper limit of the width of a bin in Å along each cell vector.
    :raises ValueError: for a spacing that is not positive.
    """
    if not spacing > 0:
        raise ValueError(f'a spacing of {spacing} Å is not positive.')
    shape = np.ceil(np.linalg.norm(sites.unit_cell, axis=1) / spacing - 1e-9).astype(int)
    counts = np.zeros(shape.prod(), int)
    for run in runs:
        points = run.reshape(-1, 3)
        for start in range(0, len(points), _CHUNK):
            bins = np.minimum((sites.fold(points[start : start + _CHUNK]) * shape).astype(int), shape - 1)
            counts += np.bincount(np.ravel_multi_index(bins.T, shape), minlength=len(counts))
    voxel = abs(np.linalg.det(sites.unit_cell)) / shape.prod()
    return counts.reshape(shape) / (counts.sum() * voxel)
