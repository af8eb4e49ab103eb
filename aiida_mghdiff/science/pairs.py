"""Numbers of tracer pairs closer than a cut-off, compared with chance.

Chance is defined in two ways. Poisson: independent points anywhere. Random sites: the tracers of a frame on octahedral
and tetrahedral sites are put on random sites of the same kind, at most one on each, with measured offsets from the
sites (vibration). Tracers on lattice sites have neighbours at the distances of sites even without an interaction, so an
attraction must be compared with random sites.

Frames are correlated: a chi-squared test that takes them as independent nearly always rejects the truth. For the number
of pairs, and for the indicator of each value, the statistical inefficiency g is the number of frames that count as one
independent frame (Chodera et al., J. Chem. Theory Comput. 3, 26 (2007), doi:10.1021/ct0502864),

    g = 1 + 2 sum_t C(t),

where C is the autocorrelation of all runs about their common mean, summed up to the first t of at least 5 g (Sokal's
window). Pearson's statistic is divided by the mean design effect of its K cells,

    sum_k (1 - p_k) g_k / (K - 1)

(Rao and Scott, J. Am. Stat. Assoc. 76, 221 (1981)), and compared with F(K - 1, n), where n is the number of independent
frames, less one degree of freedom for a fitted mean. Cells in which chance expects fewer than five independent frames
are merged with a neighbour. With fewer than 20 independent frames there is no test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, stats

from aiida_mghdiff.science.compiled import compiled
from aiida_mghdiff.science.lattice.hcp import HcpSites

LEAST_SAMPLES = 20
_LEAST_EXPECTED = 5


@dataclass(frozen=True)
class ChanceTest:
    """A test of the hypothesis that the numbers of pairs are due to chance."""

    statistic: float
    degrees_of_freedom: int
    p_value: float


def random_arrangements(
    sites: HcpSites,
    octahedral: np.ndarray,
    offsets: tuple[np.ndarray, np.ndarray],
    tracers: int,
    count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return positions [count,n,3] in Å of tracers on random sites, at most one on each.

    :param octahedral: numbers of tracers [m] on octahedral sites, from which each arrangement draws one.
    :param offsets: measured vectors [k,3] in Å from octahedral and from tetrahedral sites, drawn at random; empty for a
        kind of site without tracers.
    """
    drawn = rng.choice(octahedral, count)
    n_sites = len(sites.host)
    on_octahedral = np.arange(tracers) < drawn[:, None]
    tetrahedral = n_sites + _distinct(rng, count, 2 * n_sites, tracers)
    chosen = np.where(on_octahedral, _distinct(rng, count, n_sites, tracers), tetrahedral[:, ::-1])
    positions = sites.positions[chosen]
    for is_kind, pool in zip((on_octahedral, ~on_octahedral), offsets, strict=True):
        positions[is_kind] += pool[rng.integers(len(pool), size=is_kind.sum())] if len(pool) else 0.0
    return positions


@compiled
def _distinct(rng: np.random.Generator, rows: int, items: int, chosen: int) -> np.ndarray:
    """Return rows of distinct items [rows,chosen], every ordered choice equally likely (shuffle of Fisher and Yates).

    If there are fewer items than chosen, the rest of each row is zero.
    """
    pool, drawn = np.arange(items), np.zeros((rows, chosen), np.int64)
    for row in range(rows):
        for column in range(min(chosen, items)):
            other = rng.integers(column, items)
            pool[column], pool[other] = pool[other], pool[column]
            drawn[row, column] = pool[column]
    return drawn


def statistical_inefficiency(series: Sequence[np.ndarray]) -> float:
    """Return the number of frames that count as one independent frame; at least 1, infinite for constant series.

    :param series: one number per frame [f], for each run.
    """
    mean = np.concatenate(series).mean()
    longest = max(map(len, series))
    length = fft.next_fast_len(2 * longest - 1, real=True)
    sums, pairs = np.zeros(longest), np.zeros(longest)
    for values in series:
        spectrum = fft.rfft(values - mean, length)
        sums += fft.irfft(np.square(spectrum.real) + np.square(spectrum.imag), length)[:longest]
        pairs += np.maximum(len(values) - np.arange(longest), 0)
    if not sums[0] > 0:
        return np.inf
    correlation = (sums / pairs) / (sums[0] / pairs[0])
    inefficiency = 2 * np.cumsum(correlation) - 1
    window = np.flatnonzero(np.arange(longest) >= 5 * inefficiency)
    return max(1.0, float(inefficiency[window[0] if len(window) else -1]))


def poisson_probabilities(mean: float, most: int) -> np.ndarray:
    """Return the Poisson probabilities [most + 1] of 0 to ``most`` pairs; the last includes larger numbers."""
    probabilities = stats.poisson.pmf(np.arange(most + 1), mean)
    probabilities[-1] = stats.poisson.sf(most - 1, mean)
    return probabilities


def chance_test(counts: Sequence[np.ndarray], probabilities: np.ndarray, fitted: int = 0) -> ChanceTest | None:
    """Return the test of numbers of pairs against their probabilities by chance; None if the runs are too short.

    :param counts: numbers of pairs [f] of each run.
    :param probabilities: [K] of 0 to K - 1 pairs; the last includes all higher numbers.
    :param fitted: number of parameters of the probabilities that were fitted to the counts.
    """
    frames = sum(map(len, counts))
    samples = frames / statistical_inefficiency(counts)
    if samples < LEAST_SAMPLES:
        return None
    cells = _merge_cells(probabilities, _LEAST_EXPECTED / samples)
    freedom = cells.max() - fitted
    if freedom < 1:
        return None
    expected = np.bincount(cells, probabilities)
    members = [cells[np.minimum(run, len(cells) - 1)] for run in counts]
    observed = np.bincount(np.concatenate(members), minlength=len(expected)) / frames
    inefficiencies = [
        statistical_inefficiency([(run == cell) * 1.0 for run in members]) for cell in range(len(expected))
    ]
    design = np.sum((1 - expected) * np.minimum(inefficiencies, frames)) / (len(expected) - 1)
    statistic = float(frames / design * np.sum(np.square(observed - expected) / expected))
    return ChanceTest(statistic, int(freedom), float(stats.f.sf(statistic / freedom, freedom, samples)))


def _merge_cells(probabilities: np.ndarray, least: float) -> np.ndarray:
    """Return the cell [K] of each number, so that each cell has at least some probability; neighbours are merged."""
    cells, cell, total = np.empty(len(probabilities), int), 0, 0.0
    for number, probability in enumerate(probabilities):
        cells[number] = cell
        total += probability
        if total >= least and probabilities[number + 1 :].sum() >= least:
            cell, total = cell + 1, 0.0
    return cells
