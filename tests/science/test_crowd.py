"""Interacting tracers: D of one, D of all together, and errors over tracers that are not independent.

24 H on the 48 sites of 16 Mg exclude each other and interact. The way back is free more often than the way forward, so
a tracer is slower than the crowd. A run of 100 ns is the reference. See ``tests/helpers/hops.py``.
"""

from __future__ import annotations

import functools

import hops
import numpy as np
import pytest
from ensembles import summarise
from scipy import stats

from aiida_mghdiff.science.diffusion import estimate_diffusion
from aiida_mghdiff.science.intervals import Mean, mean_of_replicas
from aiida_mghdiff.science.least_squares import einstein_fit
from aiida_mghdiff.science.msd import (
    average_mean_squared_displacement,
    collective_mean_squared_displacement,
    haven_ratio,
)

TRACERS = 24
#: Reach in Å and energy over kT of pairs: T-T across a shared face; T-O; O-O along c and the next T-T.
SHELLS = [(1.5, 1.0), (2.0, 0.3), (2.7, -0.1)]


@functools.cache
def system():
    network = hops.Network(hops.regime(0.5), (2, 2, 2))
    return network, hops.pair_energies(network, SHELLS)


def run(rng, frames, interval=1.0, tracers=TRACERS):
    return hops.crowd(*system(), rng, frames, interval, tracers)


def coefficients(positions, window):
    """Return D [3] of the tracers and of the crowd on each axis, by least squares; frames are 1 ps apart."""
    times = np.arange(len(positions), dtype=float)
    displacements = average_mean_squared_displacement(positions), collective_mean_squared_displacement(positions)
    return [einstein_fit(times, msd, window)[0] / 2 for msd in displacements]


def test_a_tracer_is_slower_than_the_crowd():
    parts = np.split(run(np.random.default_rng(1), 16_000), 16)
    ratio, error = haven_ratio(*np.swapaxes([coefficients(part, (10, 60)) for part in parts], 0, 1))
    assert 0.7 < ratio < 1 - 3 * error


def test_few_tracers_hardly_see_each_other():
    parts = np.split(run(np.random.default_rng(2), 16_000, tracers=1), 16)
    ratio, _ = haven_ratio(*np.swapaxes([coefficients(part, (10, 60)) for part in parts], 0, 1))
    assert ratio == pytest.approx(1)


@pytest.mark.slow
def test_intervals_cover_where_tracers_are_correlated():
    reference = run(np.random.default_rng(3), 100_000)
    tracer, crowd = coefficients(reference, (10, 60))
    truth, true_ratio = tracer.mean(), tracer.mean() / crowd.mean()
    names = ('least-squares', 'least-squares, tracers', 'automatic', 'collective', 'Haven ratio')
    rows = {name: [] for name in names}
    for seed in range(150):
        rng = np.random.default_rng(100 + seed)
        replicas = [run(rng, 1001) + hops.vibrations(rng, 1001, TRACERS, 1.0) for _ in range(3)]
        for method in ('least-squares', 'automatic'):
            result = estimate_diffusion(replicas, 1.0, method=method, jumps=10**6)
            rows[method].append(np.array([result.value, *result.interval]) / truth)
            if method == 'least-squares':
                half = stats.t.ppf(0.975, len(result.tracers) - 1) * result.relative_error
                rows['least-squares, tracers'].append(result.value / truth * np.array([1, 1 - half, 1 + half]))
        along_axes = np.swapaxes([coefficients(one, (0, 100)) for one in replicas], 0, 1)
        together, ratio = mean_of_replicas([along_axes[1].ravel()], 0.0), Mean(*haven_ratio(*along_axes), 8, 'replicas')
        rows['collective'].append(np.array([together.value, *together.interval()]) / crowd.mean())
        rows['Haven ratio'].append(np.array([ratio.value, *ratio.interval()]) / true_ratio)
    print(f'\nD of a tracer {truth:.4f}, of the crowd {crowd.mean():.4f} Å²/ps, Haven ratio {true_ratio:.3f}')
    found = {name: summarise(name, np.array(values)) for name, values in rows.items()}
    assert all(coverage >= 90 for _, _, coverage in found.values())
    assert all(abs(bias) < 3 for name, (bias, _, _) in found.items() if name != 'collective')
    assert abs(found['collective'][0]) < 4 * found['collective'][1] / np.sqrt(150)
    assert found['automatic'][1] < found['least-squares'][1] / 2
