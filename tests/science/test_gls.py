"""Generalised least squares: the covariance, the efficiency, and the diagnosis of the lag."""

import hops
import numpy as np
import pytest
from scipy import fft
from scipy.linalg import toeplitz
from scipy.signal import lfilter

from aiida_mghdiff.science.diffusion import estimate_diffusion
from aiida_mghdiff.science.gls import _design, generalised_least_squares, lag_difference
from aiida_mghdiff.science.positions import TooShortError


def brownian(rng, frames, tracers, coefficient, interval, noise):
    steps = rng.normal(scale=np.sqrt(2 * coefficient * interval), size=(frames, tracers, 3))
    return steps.cumsum(axis=0) + rng.normal(scale=noise, size=steps.shape)


def test_sines_make_the_increments_uncorrelated():
    lag, coefficient, variance = 2.0, 0.3, 0.5
    covariance = toeplitz([2 * coefficient * lag + 2 * variance, -variance, *np.zeros(28)])
    basis = fft.dst(np.eye(30), type=1, axis=0, norm='ortho')
    np.testing.assert_allclose(
        basis @ covariance @ basis.T, np.diag(_design(30, lag) @ [coefficient, variance]), atol=1e-12
    )


@pytest.mark.parametrize('stride', [1, 5])
def test_brownian_motion_with_noise(stride):
    """D is unbiased, with the error of the Cramér-Rao bound if each frame counts."""
    rng, interval = np.random.default_rng(1), 0.5
    found = [
        np.mean(generalised_least_squares([brownian(rng, 500, 8, 0.1, interval, 0.3)], interval, stride * interval))
        for _ in range(200)
    ]
    design = _design(499, interval)
    weighted = design / (design @ [0.1, 0.09])[:, None]
    bound = np.sqrt(np.linalg.inv(weighted.T @ weighted)[0, 0] * 2 / 24)
    assert np.mean(found) == pytest.approx(0.1, abs=4 * np.std(found) / np.sqrt(200))
    assert np.std(found) > 0.85 * bound
    if stride == 1:
        assert np.std(found) < 1.15 * bound


def test_replicas_of_several_lengths():
    rng = np.random.default_rng(2)
    replicas = [brownian(rng, frames, 20, 0.1, 0.5, 0.3) for frames in (2000, 900)]
    found = generalised_least_squares(replicas, 0.5, 2.0)
    assert [coefficients.shape for coefficients in found] == [(20, 3), (20, 3)]
    for coefficients in found:
        assert coefficients.mean() == pytest.approx(0.1, rel=0.1)


def test_gls_gives_way_where_rattling_is_slower_than_the_lag():
    """A tracer rattles in a pair of T sites every 50 ps and leaves it every 1000 ps."""
    network = hops.Network({hops.T_T: 0.02, hops.T_O: 0.0005, hops.O_T: 0.005}, (2, 2, 2))
    rng, exact = np.random.default_rng(3), network.diffusion_coefficient()
    replicas = [network.walks(rng, 4000, 1.0, 40) + hops.vibrations(rng, 4000, 40, 1.0) for _ in range(2)]
    found = [np.mean(generalised_least_squares(replicas, 1.0, lag)) for lag in (10, 200)]
    assert found[0] > 1.2 * exact
    assert found[1] == pytest.approx(exact, rel=0.15)
    short = estimate_diffusion(replicas, 1.0, method='gls', lag_ps=10)
    least = estimate_diffusion(replicas, 1.0)
    assert (short.method, short.value, short.interval) == ('least-squares', least.value, least.interval)
    assert 'a lag of 10 ps is less than half of that' in short.warnings[0]
    assert short.warnings[0].endswith('Take a longer lag. Least squares gives D instead.')
    none = estimate_diffusion(replicas, 1.0, method='gls', lag_ps=10, window_ps=(0, 8000))
    assert (none.method, none.warnings[0].endswith('too short for least squares: run longer.')) == ('gls', True)


def test_gls_gives_way_where_d_falls_with_the_lag_though_tracers_stay_for_less():
    """A harmonic well moves by Brownian motion; this is no network of sites."""
    rng = np.random.default_rng(5)
    relaxing = lfilter([1], [1, -0.9], rng.normal(size=(4000, 40, 3)), axis=0)
    replicas = [brownian(rng, 4000, 40, 0.1, 1.0, 0.1) + relaxing]
    found = estimate_diffusion(replicas, 1.0, method='gls', lag_ps=10, jumps=100)
    assert (found.method, found.warnings[0][:23]) == ('least-squares', 'D by gls falls with the')


def test_lag_that_does_not_matter_is_flagged_by_chance_alone():
    rng = np.random.default_rng(4)
    chances = []
    for _ in range(200):
        replica = brownian(rng, 400, 6, 0.1, 0.5, 0.3)
        chances.append(lag_difference(*(generalised_least_squares([replica], 0.5, lag) for lag in (2.0, 8.0))))
    assert np.mean(np.array(chances) < 0.1) == pytest.approx(0.1, abs=0.07)


def test_run_of_too_few_lags():
    with pytest.raises(TooShortError, match=r'8 are needed'):
        generalised_least_squares([np.zeros((40, 2, 3))], 1.0, 5.0)
