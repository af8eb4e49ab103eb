"""Coverage, bias and scatter of the estimators of D over many runs with a known answer, like MD output.

Each ensemble has three replicas of 8 H for 1 ns, with a frame every 0.5 ps, wrapped into a triclinic cell of 128 Mg
that drifts. Run ``pytest -m slow -s tests/science/test_ensembles.py`` to see the tables. Intervals of the coverage are
exact (binomial). ``make intervals`` measures the intervals of 3, 5 and 10 replicas over 2000 ensembles each.
"""

from __future__ import annotations

import hops
import intervals
import numpy as np
import pytest
from ensembles import gain, summarise
from scipy import stats

from aiida_mghdiff.science.diffusion import METHODS, estimate_diffusion
from aiida_mghdiff.science.whittle import automatic_fit

REPLICAS = 3
#: Largest root mean square error of the default in per cent.
DEFAULT_LIMITS = {0.5: 8.0, 0.05: 9.0, 0.005: 16.0}
GLS_LIMITS = {0.5: 5.0, 0.05: 6.5, 0.005: 16.0}
#: Allowed coverage of a 95 % interval in per cent.
COVERAGE = (93, 97)
#: Networks on which the automatic estimate fails without a check, by rates T-T, T-O, O-T, O-O.
RATTLING, FLAT = (200.0, 1.0, 1.0, 0.5), (4.0, 1.0, 1.0, 0.0)
OTHERS = [(RATTLING, 0.01), (RATTLING, 0.005), (FLAT, 0.01), (FLAT, 0.005), ((8.0, 1.0, 1.0, 0.5), 0.01)]


def measure(coefficient, seeds, options=None):
    """Return rows of (D, lower limit, upper limit) over the true D for each estimator, and two shares for gls.

    The shares count the ensembles in which gls warns of its lag, and in which it gives way.
    """
    rows, warned, gave_way = {name: [] for name in (*METHODS, 'least-squares, tracers')}, 0, 0
    for seed in seeds:
        replicas = intervals.make_replicas(coefficient, seed, REPLICAS)
        for method in METHODS:
            result = estimate_diffusion(
                replicas, intervals.INTERVAL, method=method, lag_ps=intervals.LAG, **(options or {})
            )
            rows[method].append((result.value, *result.interval))
            warned += bool(result.lag_warnings)
            gave_way += method == 'gls' and result.method != 'gls'
            if method == 'least-squares':
                half = stats.t.ppf(0.975, len(result.tracers) - 1) * result.relative_error * result.value
                rows['least-squares, tracers'].append((result.value, result.value - half, result.value + half))
    shares = warned / len(seeds), gave_way / len(seeds)
    return {name: np.array(values) / coefficient for name, values in rows.items()}, shares


@pytest.mark.slow
@pytest.mark.parametrize('coefficient', [0.5, 0.05, 0.005])
def test_estimators_over_400_ensembles(coefficient):
    rows, (warned, gave_way) = measure(coefficient, range(400))
    print(f'\nD = {coefficient} Å²/ps; gls warns of its lag in {warned:.0%}, gives way in {gave_way:.0%}')
    found = {name: summarise(name, values) for name, values in rows.items()}
    for name in ('least-squares', 'least-squares, tracers'):
        _, scatter, coverage = found[name]
        assert 92 <= coverage <= 99
        assert scatter <= DEFAULT_LIMITS[coefficient]
    assert found['gls'][1] <= GLS_LIMITS[coefficient]
    assert 92 <= found['gls'][2] <= 99
    assert warned < 0.3
    assert gave_way > 0.99 if coefficient == 0.005 else gave_way < 0.02
    assert 92 <= found['automatic'][2] <= 97
    _, least, _ = gain('automatic', rows['automatic'], 'least-squares', rows['least-squares'])
    assert least > 0


@pytest.mark.slow
@pytest.mark.parametrize('coefficient', [0.5, 0.05, 0.005])
def test_intervals_of_3_5_and_10_replicas_cover(coefficient, tmp_path):
    """A short ``make intervals``: the 99 % interval of each coverage overlaps 93 to 97 %."""
    ensembles = 120
    intervals.simulate(coefficient, ensembles, tmp_path)
    for method in METHODS:
        for size in intervals.GROUPS:
            rows, scatter = intervals.measure_cell(coefficient, size, method, 40 * intervals.BATCH // size, tmp_path)
            found, low, high = intervals.coverage(rows, 1, 2, 0.99)
            print(f'{method}, {size} replicas of D = {coefficient}: {found:.1f} ({low:.1f} to {high:.1f}) %')
            assert low <= COVERAGE[1]
            assert high >= COVERAGE[0]
            assert rows[:, 1].min() > 0
            widths = (rows[:, 2] - rows[:, 1]).mean(), (rows[:, 4] - rows[:, 3]).mean()
            if scatter < 0.15:
                assert widths[0] < 1.03 * widths[1]


def test_estimators_over_a_few_ensembles():
    rows, _ = measure(0.05, range(1000, 1020))
    found = {name: summarise(name, values) for name, values in rows.items()}
    assert all(coverage >= 75 for _, _, coverage in found.values())  # true for 99.7 % of 95 % intervals
    assert all(abs(bias) < 4 * scatter / np.sqrt(20) for bias, scatter, _ in found.values())
    assert found['automatic'][1] < found['gls'][1] < found['least-squares'][1]


@pytest.mark.parametrize('tracers', [3, 1])
def test_intervals_of_short_runs_cover_where_symmetric_ones_would_reach_below_zero(tracers):
    """400 ensembles of three replicas of 10 ps, as in a demo."""
    network, rows = hops.Network(hops.regime(0.3), (2, 2, 2)), []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        walks = [
            network.walks(rng, 501, 0.02, tracers) + hops.vibrations(rng, 501, tracers, 0.02, 0.12, 0.08)
            for _ in range(REPLICAS)
        ]
        result = estimate_diffusion(walks, 0.02, window_ps=(0.5, 2.5), jumps=100)
        rows.append((result.value, *result.interval, *intervals.symmetric_interval(result)))
    rows = np.array(rows) / 0.3
    found, low, high = intervals.coverage(rows, 1, 2, 0.99)
    below = np.mean(rows[:, 3] < 0)
    print(f'\n{tracers} H: {found:.1f} ({low:.1f} to {high:.1f}) %, symmetric below zero: {100 * below:.0f} %')
    assert rows[:, 1].min() > 0
    assert low <= COVERAGE[1]
    assert high >= COVERAGE[0]
    assert below > 0.3


def replicas_of(rates, coefficient, seed, interval=1.0):
    """Return three replicas of 8 H for 1 ns on a network with these proportions of rates; the interval is in ps."""
    proportions = dict(zip((hops.T_T, hops.T_O, hops.O_T, hops.O_O), rates, strict=True))
    network = hops.Network(hops.regime(coefficient, {name: rate for name, rate in proportions.items() if rate}))
    rng = np.random.default_rng(seed)
    frames = round(1000 / interval) + 1
    return [
        network.walks(rng, frames, interval, 8) + hops.vibrations(rng, frames, 8, interval) for _ in range(REPLICAS)
    ]


@pytest.mark.parametrize(
    ('rates', 'coefficient', 'interval', 'words'),
    [
        (RATTLING, 0.01, 0.1, 'rattle much faster'),
        (RATTLING, 0.005, 0.1, 'rattle much faster'),
        (RATTLING, 0.005, 0.5, 'rattle much faster'),
        (FLAT, 0.01, 0.5, 'tracers stay for'),
    ],
)
def test_automatic_estimate_gives_way_where_it_is_known_to_fail(rates, coefficient, interval, words):
    for seed in range(2):
        replicas = replicas_of(rates, coefficient, seed, interval)
        result = estimate_diffusion(replicas, interval, method='automatic')
        least = estimate_diffusion(replicas, interval, method='least-squares')
        assert (result.method, result.value, result.interval) == ('least-squares', least.value, least.interval)
        assert words in result.warnings[0]
        assert result.warnings[0].endswith('Least squares gives D instead.')
    short = estimate_diffusion(replicas, interval, method='automatic', window_ps=(0, 2000))
    assert (short.method, short.warnings[0]) == ('automatic', short.doubts[0])
    assert 'too short for least squares' in short.doubts[0]


@pytest.mark.parametrize(('coefficient', 'interval'), [(0.5, 0.5), (0.05, 0.5), (0.005, 0.5), (0.005, 0.1)])
def test_automatic_estimate_stands_where_it_was_measured(coefficient, interval):
    found = [
        estimate_diffusion(replicas_of((8.0, 1.0, 1.0, 0.5), coefficient, seed, interval), interval, method='automatic')
        for seed in range(5)
    ]
    assert sum(result.method == 'automatic' for result in found) >= 4


@pytest.mark.slow
@pytest.mark.parametrize(('rates', 'coefficient'), OTHERS)
def test_automatic_interval_covers_on_other_networks(rates, coefficient):
    rows, alone, fallen = [], [], 0
    for seed in range(200):
        replicas = replicas_of(rates, coefficient, seed, intervals.INTERVAL)
        result = estimate_diffusion(replicas, intervals.INTERVAL, method='automatic')
        without = intervals.estimate_of('automatic', automatic_fit(replicas, intervals.INTERVAL)[0])
        rows.append((result.value, *result.interval))
        alone.append((without.value, *without.interval))
        fallen += result.method == 'least-squares'
    rows, name = np.array(rows) / coefficient, f'{rates}, D = {coefficient}'
    print(f'\n{name}: {fallen / 2:.0f} % by least squares')
    summarise('with its fallback', rows)
    summarise('without', np.array(alone) / coefficient)
    _, low, high = intervals.coverage(rows, 1, 2, 0.99)
    assert low <= COVERAGE[1]
    assert high >= COVERAGE[0]
