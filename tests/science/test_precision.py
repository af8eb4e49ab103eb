"""The stopping rule: its looks, and the coverage of the interval when it stops."""

from __future__ import annotations

import hops
import numpy as np
import pytest
from ensembles import summarise
from scipy import stats

from aiida_mghdiff.science.diffusion import estimate_diffusion
from aiida_mghdiff.science.precision import confidence_of_look, count_looks, growth


@pytest.mark.parametrize(('most', 'looks'), [(3.0, 1), (5.9, 1), (6.0, 2), (12.0, 3), (100.0, 6), (1.0, 1)])
def test_looks_at_double_the_time(most, looks):
    assert count_looks(3.0, most) == looks


def test_growth_doubles_the_time_of_all_replicas():
    assert [growth(look, independent=True) for look in range(5)] == [(1, 1), (2, 1), (2, 2), (4, 2), (4, 4)]
    assert [growth(look, independent=False) for look in range(3)] == [(1, 1), (1, 2), (1, 4)]


def stop(measure, looks, target, confidence):
    """Return the first interval (D, low, high) that is narrow enough, or the last."""
    for look in range(looks):
        value, low, high = measure(look, confidence)
        if high - low <= 2 * target * value:
            break
    return value, low, high


def test_interval_covers_where_the_rule_stopped():
    """D scatters by 10 % over replicas; stopping at the first narrow plain interval covers less."""
    rng, looks = np.random.default_rng(1), 4
    samples = rng.normal(1.0, 0.1, size=(4000, 3 * 2 ** (looks - 1)))

    def measure_of(values):
        def measure(look, confidence):
            used = values[: 3 * 2**look]
            half = stats.t.ppf((1 + confidence) / 2, len(used) - 1) * used.std(ddof=1) / np.sqrt(len(used))
            return used.mean(), used.mean() - half, used.mean() + half

        return measure

    covered = {}
    for confidence in (0.95, confidence_of_look(looks)):
        rows = np.array([stop(measure_of(values), looks, 0.1, confidence) for values in samples[:2000]])
        covered[confidence] = np.mean((rows[:, 1] < 1) & (rows[:, 2] > 1))
    assert covered[0.95] < 0.93
    assert covered[confidence_of_look(looks)] > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    ('method', 'coefficient', 'independent', 'target'),
    [
        ('least-squares', 0.5, True, 0.13),
        ('least-squares', 0.5, False, 0.3),
        ('least-squares', 0.05, True, 0.14),
        ('least-squares', 0.05, False, 0.3),
        ('automatic', 0.5, True, 0.03),
        ('automatic', 0.5, False, 0.03),
        ('automatic', 0.05, True, 0.09),
        ('automatic', 0.05, False, 0.09),
    ],
)
def test_interval_of_hops_covers_where_the_rule_stopped(method, coefficient, independent, target):
    """Three replicas of 8 H for 0.5 ns grow to eight times the time; some runs meet the target.

    Replicas that are not independent begin with all H on the same sites.
    """
    looks, frames = count_looks(3 * 500.0, 24 * 500.0), 500
    network = hops.Network(hops.regime(coefficient), (2, 2, 2))
    longest = frames * growth(looks - 1, independent)[1]
    rows, stopped = [], np.zeros(looks, int)
    for seed in range(200):
        rng, runs = np.random.default_rng(seed), []
        for look in range(looks):
            replicas, length = growth(look, independent)
            while len(runs) < 3 * replicas:
                if independent or not runs:
                    starts = rng.choice(len(network.sites), 8, p=network.occupation)
                walks = np.stack([network.walk(rng, longest, 1.0, start)[0] for start in starts], axis=1)
                runs.append(walks + hops.vibrations(rng, longest, 8, 1.0))
            used = [positions[: length * frames] for positions in runs]
            confidence = confidence_of_look(looks)
            result = estimate_diffusion(used, 1.0, method=method, window_ps=(0, 100), confidence=confidence)
            if result.relative_interval <= target:
                break
        rows.append(np.array([result.value, *result.interval]) / coefficient)
        stopped[look] += 1
    starts = 'separate starts' if independent else 'shared starts'
    print(f'\nD = {coefficient}, {starts}, stopped at looks {stopped.tolist()}')
    _, _, coverage = summarise(method, np.array(rows))
    assert coverage >= 93
    assert np.count_nonzero(stopped) >= 2
