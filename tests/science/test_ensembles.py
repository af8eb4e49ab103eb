"""Coverage, bias and scatter of the estimators of D over many runs with a known answer, as MD would have written them.

Three replicas of 8 H and 1 ns each, a frame every 0.5 ps, wrapped into a triclinic cell of 128 Mg that drifts. Run with
``pytest -m slow -s tests/science/test_ensembles.py`` for the tables; intervals of the coverage are exact (binomial).
"""

from __future__ import annotations

import functools

import hops
import numpy as np
import pytest
from ensembles import gain, summarise
from scipy import stats

from aiida_mghdiff.science.diffusion import METHODS, estimate_diffusion
from aiida_mghdiff.science.msd import remove_drift

FRAMES, INTERVAL, TRACERS, REPLICAS = 2001, 0.5, 8, 3
LAG = 20.0
#: Largest error of the default in per cent, root mean square.
DEFAULT_LIMITS = {0.5: 8.0, 0.05: 9.0, 0.005: 16.0}
GLS_LIMITS = {0.5: 5.0, 0.05: 6.5}


@functools.cache
def network_of(coefficient):
    return hops.Network(hops.regime(coefficient), (4, 4, 4))


def make_replicas(coefficient, seed, frames=FRAMES):
    """Return unwrapped positions [f,n,3] of each replica without drift, from what a code would have written."""
    rng, network = np.random.default_rng(seed), network_of(coefficient)
    replicas = []
    for _ in range(REPLICAS):
        positions = network.walks(rng, frames, INTERVAL, TRACERS) + hops.vibrations(rng, frames, TRACERS, INTERVAL)
        tracers, host = hops.disguise(rng, positions, INTERVAL, network.cell)
        replicas.append(remove_drift(hops.unwrap(tracers, network.cell), hops.unwrap(host, network.cell)))
    return replicas


def measure(coefficient, seeds, options=None):
    """Return rows of (D, lower limit, upper limit) over the true D for each estimator, and how many gls flagged."""
    rows, flagged = {name: [] for name in (*METHODS, 'least-squares, tracers')}, 0
    for seed in seeds:
        replicas = make_replicas(coefficient, seed)
        for method in METHODS:
            result = estimate_diffusion(replicas, INTERVAL, method=method, lag_ps=LAG, **(options or {}))
            rows[method].append((result.value, *result.interval))
            flagged += bool(result.lag_warnings)
            if method == 'least-squares':
                half = stats.t.ppf(0.975, len(result.tracers) - 1) * result.relative_error * result.value
                rows['least-squares, tracers'].append((result.value, result.value - half, result.value + half))
    return {name: np.array(values) / coefficient for name, values in rows.items()}, flagged / len(seeds)


@pytest.mark.slow
@pytest.mark.parametrize('coefficient', [0.5, 0.05, 0.005])
def test_estimators_over_400_ensembles(coefficient):
    rows, flagged = measure(coefficient, range(400))
    print(f'\nD = {coefficient} Å²/ps; D depends on the lag in {100 * flagged:.0f} % of ensembles')
    found = {name: summarise(name, values) for name, values in rows.items()}
    for name in ('least-squares', 'least-squares, tracers'):
        _, scatter, coverage = found[name]
        assert 92 <= coverage <= 99
        assert scatter <= DEFAULT_LIMITS[coefficient]
    if coefficient in GLS_LIMITS:
        assert found['gls'][1] <= GLS_LIMITS[coefficient]
        assert found['gls'][2] >= 90
        assert flagged < 0.3
    else:
        assert flagged > 0.6
    assert 92 <= found['automatic'][2] <= 97
    _, least, _ = gain('automatic', rows['automatic'], 'least-squares', rows['least-squares'])
    assert least > 0


def test_estimators_over_a_few_ensembles():
    rows, _ = measure(0.05, range(1000, 1020))
    found = {name: summarise(name, values) for name, values in rows.items()}
    assert all(coverage >= 75 for _, _, coverage in found.values())  # 16 of 20 or more in 99.7 % of cases
    assert all(abs(bias) < 4 * scatter / np.sqrt(20) for bias, scatter, _ in found.values())
    assert found['automatic'][1] < found['gls'][1] < found['least-squares'][1]
