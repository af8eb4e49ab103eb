"""Choice of starts against exhaustive search."""

from itertools import combinations

import numpy as np
import pytest

from aiida_mghdiff.science.sampling import TooFewFramesError, sample_evenly, select_starts


def exhaustive(times, energies, count, spacing, first):
    deviations = np.abs(energies - energies[first:].mean())
    sets = [
        chosen
        for chosen in combinations(range(first, len(times)), count)
        if all(b - a >= spacing - 1e-9 for a, b in zip(times[list(chosen)], times[list(chosen[1:])], strict=False))
    ]
    return min(sets, key=lambda chosen: deviations[list(chosen)].sum())


@pytest.mark.parametrize('seed', range(10))
@pytest.mark.parametrize(('count', 'spacing'), [(1, 10.0), (2, 3.0), (3, 10.0), (3, 0.0)])
def test_matches_exhaustive_search(seed, count, spacing):
    rng = np.random.default_rng(seed)
    times, energies = np.arange(40) * 1.0, rng.normal(size=40)
    found = select_starts(times, energies, count, spacing, 0.2)
    assert tuple(found) == exhaustive(times, energies, count, spacing, 8)


def test_paper_settings():
    times = np.arange(1, 101) * 1.0
    energies = -500 + np.random.default_rng(1).normal(size=100)
    chosen = select_starts(times, energies, 3, 10.0, 0.2)
    assert np.diff(times[chosen]).min() >= 10
    assert chosen.min() >= 20
    assert np.abs(energies[chosen] - energies[20:].mean()).max() < 0.2


def test_frames_exactly_at_the_spacing_are_allowed():
    times = np.array([0.1, 0.2, 0.30000000000000004])
    np.testing.assert_array_equal(select_starts(times, np.zeros(3), 3, 0.1, 0.0), [0, 1, 2])


def test_shift_and_sign_of_the_energy_do_not_matter():
    times, energies = np.arange(50.0), np.random.default_rng(2).normal(size=50)
    first = select_starts(times, energies, 3, 5.0, 0.1)
    np.testing.assert_array_equal(first, select_starts(times + 7, -energies + 100, 3, 5.0, 0.1))


@pytest.mark.parametrize(('frames', 'count', 'spacing'), [(0, 1, 1.0), (10, 3, 6.0), (2, 3, 0.0)])
def test_impossible_choices(frames, count, spacing):
    with pytest.raises(TooFewFramesError, match='run longer'):
        select_starts(np.arange(float(frames)), np.zeros(frames), count, spacing, 0.0)


def test_samples_are_evenly_apart_and_seeded():
    chosen = sample_evenly(1000, 40, seed=3)
    np.testing.assert_array_equal(np.diff(chosen), 25)
    np.testing.assert_array_equal(chosen, sample_evenly(1000, 40, seed=3))
    assert len({tuple(sample_evenly(1000, 40, seed=seed)) for seed in range(20)}) > 10


def test_every_frame_has_the_same_chance():
    counts = np.zeros(10)
    for seed in range(3000):
        chosen = sample_evenly(10, 4, seed)
        assert len(set(chosen)) == 4
        counts[chosen] += 1
    np.testing.assert_allclose(counts, 1200, atol=130)


def test_all_frames_can_be_asked():
    np.testing.assert_array_equal(sample_evenly(7, 7, seed=1), np.arange(7))
    with pytest.raises(TooFewFramesError, match='8 frames are requested, but there are 7'):
        sample_evenly(7, 8, seed=1)
