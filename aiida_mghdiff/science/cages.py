"""Jumps of tracers between the cages of a lattice, from the tracers' own motion.

In a cage a tracer moves without diffusing. A cage of hcp is an octahedral site, or the *pair* of tetrahedral sites that
share a face (c/4, 1.30 Å apart in Mg), between which a tracer hops hundreds of times before it leaves. To leave a cage,
a tracer moves at least from a tetrahedral to an octahedral site, sqrt(a²/3 + c²/64), 1.96 Å in Mg. So a threshold
between both distances, 1.63 Å, distinguishes jumps from rattling without the positions of the host.

Vibrations (0.2 to 0.4 Å along an axis for H at 300 to 800 K, faster than 0.1 ps) are averaged over short blocks. Then

1. a tracer has left its cage if two successive blocks are farther than the threshold from the mean position of its
   present stay. The new stay begins there. This is a hysteresis: an excursion that returns at once is not a jump;
2. neighbouring stays with mean positions closer than the threshold become one, since the first mean of a stay is
   inaccurate.

Stays shorter than about two blocks are missed, so the count is a lower bound if residence times are near the block
length. The path from cage to cage (``cage_path``) is the mean position of the stay at each block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

#: Å, for hcp Mg.
CAGE = 1.63


class Stay(NamedTuple):
    """A stay of a tracer in one cage."""

    mean: list[float]
    blocks: int
    first: int

    def joined(self, other: Stay) -> Stay:
        """Return the union of this stay and a later one."""
        blocks = self.blocks + other.blocks
        pairs = zip(self.mean, other.mean, strict=True)
        return Stay([(self.blocks * x + other.blocks * y) / blocks for x, y in pairs], blocks, self.first)


def count_jumps(positions: np.ndarray, threshold: float, block: int) -> np.ndarray:
    """Return the number of jumps [n] of each tracer.

    :param positions: unwrapped positions [f,n,3] in Å, evenly spaced, without drift of the host.
    :param threshold: distance in Å between the longest distance in a cage and the shortest distance of two cages.
    :param block: number of frames to average over.
    """
    means = block_means(positions, block)
    return np.array([len(find_stays(means[:, tracer], threshold)) - 1 for tracer in range(means.shape[1])])


def block_means(positions: np.ndarray, block: int) -> np.ndarray:
    """Return the means [f // block, n, 3] of consecutive blocks of frames; the last block includes the rest."""
    starts = np.arange(max(len(positions) // block, 1)) * block
    sizes = np.diff([*starts, len(positions)])
    return np.add.reduceat(np.asarray(positions, float), starts, axis=0) / sizes[:, None, None]


def find_stays(path: np.ndarray, threshold: float) -> list[Stay]:
    """Return the stays along a smoothed path [b,3], one after the other."""
    return _merge(_split(path.tolist(), threshold), threshold)


def cage_path(path: np.ndarray, threshold: float) -> np.ndarray:
    """Return a smoothed path [b,3] without the rattling in cages: the mean position of the stay at each block."""
    stays = find_stays(path, threshold)
    lengths = np.diff([*(stay.first for stay in stays), len(path)])
    return np.repeat([stay.mean for stay in stays], lengths, axis=0)


def _split(path: list[list[float]], threshold: float) -> Iterator[Stay]:
    stay, excursion = Stay(path[0], 1, 0), None
    for index, point in enumerate(path[1:], start=1):
        block = Stay(point, 1, index)
        if math.dist(point, stay.mean) <= threshold:
            stay, excursion = stay.joined(block), None
        elif excursion is None:
            excursion = block
        else:
            yield stay
            stay, excursion = excursion.joined(block), None
    yield stay


def _merge(stays: Iterable[Stay], threshold: float) -> list[Stay]:
    merged: list[Stay] = []
    for stay in stays:
        while merged and math.dist(merged[-1].mean, stay.mean) <= threshold:
            stay = merged.pop().joined(stay)
        merged.append(stay)
    return merged
