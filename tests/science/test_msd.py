"""Mean squared displacement against tidynamics, a direct sum, and invariances."""

import numpy as np
import pytest
import tidynamics
from scipy.spatial.transform import Rotation

from aiida_mghdiff.science.msd import (
    average_mean_squared_displacement,
    collective_mean_squared_displacement,
    haven_ratio,
    mean_squared_displacement,
    remove_drift,
)


@pytest.fixture
def walk():
    return np.random.default_rng(3).normal(size=(500, 4, 3)).cumsum(axis=0)


def test_matches_tidynamics(walk):
    msd = mean_squared_displacement(walk).sum(axis=-1)
    reference = np.stack([tidynamics.msd(walk[:, tracer]) for tracer in range(4)], axis=-1)
    np.testing.assert_allclose(msd, reference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('frames', [1, 2, 3, 17])
def test_matches_direct_sum(walk, frames):
    short = walk[:frames]
    direct = np.array([np.square(short[lag:] - short[: frames - lag]).mean(axis=0) for lag in range(frames)])
    np.testing.assert_allclose(mean_squared_displacement(short), direct, atol=1e-10)


def test_ballistic_motion_is_exact():
    velocity = np.array([[0.3, -0.2, 0.1]])
    msd = mean_squared_displacement(np.arange(100.0)[:, None, None] * velocity)
    np.testing.assert_allclose(msd, np.arange(100.0)[:, None, None] ** 2 * velocity**2, atol=1e-9)


def test_random_walk_grows_by_the_variance_of_its_steps():
    steps = np.random.default_rng(4).normal(scale=0.5, size=(2000, 200, 3))
    msd = mean_squared_displacement(steps.cumsum(axis=0)).mean(axis=(1, 2))
    np.testing.assert_allclose(msd[1:20], 0.25 * np.arange(1, 20), rtol=0.02)


def test_translation_does_not_matter_even_far_from_the_origin(walk):
    np.testing.assert_allclose(
        mean_squared_displacement(walk + 1e6), mean_squared_displacement(walk), rtol=1e-6, atol=1e-6
    )


def test_rotation_keeps_the_sum_over_axes(walk):
    rotated = walk @ Rotation.random(rng=5).as_matrix().T
    np.testing.assert_allclose(
        mean_squared_displacement(rotated).sum(-1), mean_squared_displacement(walk).sum(-1), atol=1e-8
    )


def test_relabelling_permutes(walk):
    order = [2, 0, 3, 1]
    np.testing.assert_array_equal(mean_squared_displacement(walk[:, order]), mean_squared_displacement(walk)[:, order])


def test_drift_of_the_host_is_removed(walk):
    drift = np.random.default_rng(6).normal(size=(500, 3)).cumsum(axis=0) + np.arange(500)[:, None]
    np.testing.assert_allclose(remove_drift(walk + drift[:, None], drift), walk, atol=1e-9)


@pytest.mark.parametrize('frames', [1, 2, 17, 500])
def test_average_is_the_mean_over_tracers(walk, frames):
    short = walk[:frames] + 1e3
    expected = mean_squared_displacement(short).mean(axis=1)
    np.testing.assert_allclose(average_mean_squared_displacement(short), expected, rtol=1e-9, atol=1e-9)


def test_average_matches_tidynamics_to_half_the_length():
    walk = np.random.default_rng(7).normal(size=(20_000, 8, 3)).cumsum(axis=0)
    found = average_mean_squared_displacement(walk).sum(axis=-1)[:10_000]
    reference = np.mean([tidynamics.msd(walk[:, tracer]) for tracer in range(8)], axis=0)[:10_000]
    assert np.abs(found - reference).max() < 1e-9 * reference.max()


def test_collective_displacement_is_that_of_the_sum(walk):
    total = walk.sum(axis=1)
    direct = np.array([np.square(total[lag:] - total[: 500 - lag]).mean(axis=0) / 4 for lag in range(500)])
    np.testing.assert_allclose(collective_mean_squared_displacement(walk), direct, atol=1e-8)


def test_tracers_that_move_as_one_have_the_haven_ratio_of_their_number():
    walk = np.random.default_rng(8).normal(size=(300, 1, 3)).cumsum(axis=0)
    together = np.repeat(walk, 4, axis=1)
    tracer, collective = average_mean_squared_displacement(together), collective_mean_squared_displacement(together)
    np.testing.assert_allclose(4 * tracer, collective, atol=1e-8)
    assert haven_ratio(tracer[10:11], collective[10:11])[0] == pytest.approx(1 / 4)


def test_haven_ratio_and_its_error():
    rng = np.random.default_rng(9)
    tracer, collective = 1 + 0.05 * rng.normal(size=(2000, 3, 3)), 2 + 0.3 * rng.normal(size=(2000, 3, 3))
    found = np.array([haven_ratio(*pair) for pair in zip(tracer, collective, strict=True)])
    assert found[:, 0].mean() == pytest.approx(0.5, rel=0.01)
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.05)
