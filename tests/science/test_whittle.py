"""The automatic estimate: its expected periodograms against dense algebra, and the effect of modes and blocks."""

import hops
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_mghdiff.science.positions import TooShortError
from aiida_mghdiff.science.whittle import (
    _design,
    _fit,
    _fit_cages,
    _fit_paths,
    _multiplicity,
    _periodogram,
    automatic_fit,
    relaxation_times,
)


def dense_periodogram(displacement, blocks, block):
    """Return the expected periodogram of increments of block means, from the displacement [f] of single frames."""
    frames = np.arange(blocks * block)
    semivariance = -displacement[np.abs(frames[:, None] - frames)] / 2
    average = np.kron(np.eye(blocks), np.full(block, 1 / block))
    increments = np.diff(np.eye(blocks), axis=0) @ average
    covariance = increments @ semivariance @ increments.T
    count = blocks - 1
    waves = np.exp(-2j * np.pi * np.outer(np.arange(count // 2 + 1), np.arange(count)) / count)
    return np.einsum('ki,ij,kj->k', waves, covariance, waves.conj()).real / count


@pytest.mark.parametrize('blocks', [24, 25])
@pytest.mark.parametrize('block', [1, 2, 5])
def test_expected_periodograms_are_exact(blocks, block):
    interval, times = 0.2, [0.05, 0.7, 30.0]
    lags = np.arange(blocks * block)
    displacements = [2 * interval * lags, np.where(lags, 2.0 * block, 0.0)]
    displacements += [1 - np.exp(-interval * lags / time) for time in times]
    expected = np.stack([dense_periodogram(one, blocks, block) for one in displacements], axis=1)
    np.testing.assert_allclose(_design(blocks - 1, block, interval, times), expected, atol=1e-9)


def test_periodogram_has_the_expected_mean():
    rng, interval = np.random.default_rng(1), 0.5
    steps = rng.normal(scale=np.sqrt(2 * 0.1 * interval), size=(400, 500, 3)).cumsum(axis=0)
    noisy = steps + rng.normal(scale=0.3, size=steps.shape)
    means = noisy.reshape(200, 2, 500, 3).mean(axis=1)
    found = _periodogram(np.diff(means, axis=0)).mean(axis=(1, 2))
    expected = _design(199, 2, interval, []) @ [0.1, 0.09 / 2]
    np.testing.assert_allclose(found, expected, rtol=0.2)
    assert np.mean(found / expected) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(('increments', 'total'), [(8, 4.0), (9, 4.5)])
def test_multiplicities_are_half_the_increments(increments, total):
    assert _multiplicity(increments).sum() == total


def test_relaxation_times_follow_the_time_that_a_tracer_stays():
    staying = 1.96**2 / (6 * 0.005)
    assert relaxation_times(0.005, 1.0, 2000) == pytest.approx(0.3 * staying * np.array([1, 0.2, 0.04]))
    assert relaxation_times(0.5, 1.0, 2000) == [0.5]  # no mode slower than half a block
    assert relaxation_times(0.0, 1.0, 1000)[0] == pytest.approx(50)  # a twentieth of the run
    assert relaxation_times(-0.1, 1.0, 1000)[0] == pytest.approx(50)


@pytest.mark.parametrize('interval', [0.05, 0.5, 2.0])
def test_interval_of_the_frames_does_not_matter(interval):
    network, rng = hops.Network(hops.regime(0.05), (2, 2, 2)), np.random.default_rng(2)
    frames = round(400 / interval)
    positions = network.walks(rng, frames, interval, 40) + hops.vibrations(rng, frames, 40, interval)
    coefficients = automatic_fit([positions], interval)[0][0].mean(axis=1)
    assert coefficients.mean() == pytest.approx(0.05, abs=4 * coefficients.std() / np.sqrt(40))
    assert coefficients.std() / np.sqrt(40) < 0.1 * 0.05


def test_rattling_is_no_diffusion():
    """Rattling inside pairs of T sites changes D by less than its error, at any speed."""
    for rate in (0.02, 0.3, 5.0):
        network = hops.Network({hops.T_T: rate, hops.T_O: 0.002, hops.O_T: 0.004}, (2, 2, 2))
        rng, exact = np.random.default_rng(4), network.diffusion_coefficient()
        replicas = [network.walks(rng, 1000, 1.0, 40) + hops.vibrations(rng, 1000, 40, 1.0) for _ in range(4)]
        coefficients = np.concatenate(automatic_fit(replicas, 1.0)[0]).mean(axis=1)
        assert coefficients.mean() == pytest.approx(exact, abs=3 * coefficients.std() / np.sqrt(160))


@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0.01, 100))
def test_length_is_scaled_where_relaxation_times_are_given(factor):
    """Blocks and relaxation times have units (ps, Å), but the fit has no length scale."""
    rng = np.random.default_rng(6)
    increments = np.diff(rng.normal(size=(300, 8, 3)).cumsum(axis=0) + rng.normal(size=(300, 8, 3)), axis=0)
    (found,), (expected,) = (_fit([one], 2, 0.5, [0.7, 30.0]) for one in (factor * increments, increments))
    np.testing.assert_allclose(found / factor**2, expected, rtol=1e-6, atol=1e-9)


def test_cages_are_followed_where_tracers_stay_long():
    """Each cage becomes one point, so fast, large rattling does not matter; D comes from steps between cages."""
    network = hops.Network({hops.T_T: 0.5, hops.T_O: 0.0015, hops.O_T: 0.0015}, (2, 2, 2))
    rng, exact = np.random.default_rng(7), network.diffusion_coefficient()
    errors = []
    for _ in range(20):
        replica = network.walks(rng, 1000, 1.0, 24) + hops.vibrations(rng, 1000, 24, 1.0)
        errors.append(
            [np.mean(one) / exact - 1 for one in (_fit_paths([replica], 1, 1.0), automatic_fit([replica], 1.0)[0])]
        )
    modes, followed = np.sqrt(np.mean(np.square(errors), axis=0))
    assert followed < 0.9 * modes
    assert abs(np.mean(errors, axis=0)[1]) < 0.05


def test_tracers_that_never_leave_their_cages_give_no_more_than_their_modes():
    rattling = np.random.default_rng(8).normal(scale=0.2, size=(2000, 4, 3))
    assert np.all(_fit_cages([rattling], 1.0, 1000.0)[0] == 0)
    assert np.all(np.isfinite(automatic_fit([rattling], 1.0)[0]))


def test_run_of_too_few_blocks():
    with pytest.raises(TooShortError, match='99 blocks of 1 ps'):
        automatic_fit([np.zeros((990, 2, 3))], 0.1)
