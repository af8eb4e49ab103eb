"""Intervals of positive means: their scale, the error from the scatter, and coverage if replicas differ."""

import numpy as np
import pytest
from scipy import stats

from aiida_mghdiff.science.arrhenius import fit_arrhenius
from aiida_mghdiff.science.diffusion import QUICK, STRICT, upper_bound
from aiida_mghdiff.science.intervals import ConfidenceError, Mean, interval_warnings, log_interval, mean_of_replicas
from aiida_mghdiff.science.precision import confidence_of_look


def test_interval_is_that_of_the_logarithm():
    assert log_interval(2.0, np.log(3)) == pytest.approx((2 / 3, 6.0))
    low, high = log_interval(1.0, 0.01)
    assert (low, high) == pytest.approx((0.99, 1.01), abs=1e-4)
    low, high = log_interval(1e-8, 5000.0)
    assert 0 < low < 1e-100
    assert np.isfinite(high)


def test_mean_that_is_not_positive_has_no_interval():
    assert mean_of_replicas([np.array([-1.0, 0.5])], 0.0).interval() is None


def test_mean_that_is_zero_within_its_error_has_no_interval():
    assert Mean(1.0, 3.3, 23, 'tracers').interval()[1] == pytest.approx(np.exp(3.3 * stats.t.ppf(0.975, 23)))
    assert Mean(1.0, 3.4, 23, 'tracers').interval() is None
    assert interval_warnings([]) == []
    (warning,) = interval_warnings(['D', 'D along z'])
    assert warning.startswith('no interval of D, D along z: zero within the error')


@pytest.mark.parametrize('confidence', [95, 0, 1, np.nan])
def test_every_confidence_is_a_fraction(confidence):
    line = fit_arrhenius(np.array([300.0, 400.0, 500.0]), np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.1, 0.1]))
    for refused in (
        mean_of_replicas([np.array([1.0, 2.0])], 0.0).interval,
        mean_of_replicas([np.array([-1.0, 0.5])], 0.0).interval,
        line.interval,
        lambda value: line.predict(350.0, value),
        lambda value: upper_bound(0, 1.0, 1.0, value),
        lambda value: confidence_of_look(4, value),
    ):
        with pytest.raises(ConfidenceError, match=f'confidence = {confidence}: give a fraction'):
            refused(confidence)


def test_scatter_is_pooled_unless_replicas_differ():
    rng = np.random.default_rng(1)
    alike = rng.normal(5.0, 1.0, (3, 8))
    found = mean_of_replicas(list(alike), QUICK)
    assert (found.error_from, found.degrees_of_freedom) == ('tracers', 23)
    assert found.standard_error == pytest.approx(stats.sem(alike, axis=None))
    different = alike + np.array([[0.0], [3.0], [-2.0]])
    for level in (QUICK, STRICT):
        found = mean_of_replicas(list(different), level)
        assert (found.error_from, found.degrees_of_freedom) == ('replicas', 2)
        assert found.standard_error == pytest.approx(stats.sem(different.mean(axis=1)))


def test_level_is_the_probability_of_the_f_test():
    samples = np.random.default_rng(3).normal(5.0, 1.0, (3, 8))
    chance = stats.f_oneway(*samples).pvalue
    assert mean_of_replicas(list(samples), 1.001 * chance).error_from == 'replicas'
    assert mean_of_replicas(list(samples), 0.999 * chance).error_from == 'tracers'


def test_replicas_of_unequal_numbers_of_tracers():
    parts = [np.array([1.0, 2.0, 3.0]), np.array([9.0])]
    found = mean_of_replicas(parts, 1.0)
    assert found.value == pytest.approx(3.75)
    assert found.standard_error == pytest.approx(np.sqrt((3 * 1.75**2 + 5.25**2) / 4))
    assert found.error_from == 'replicas'


@pytest.mark.parametrize('level', [QUICK, STRICT])
def test_one_tracer_in_each_replica_and_tracers_that_move_as_one(level):
    single = mean_of_replicas([np.array([value]) for value in (1.0, 2.0, 4.0)], level)
    assert (single.error_from, single.degrees_of_freedom) == ('replicas', 2)
    assert single.interval()[0] > 0
    together = mean_of_replicas([np.full(8, value) for value in (1.0, 2.0, 4.0)], level)
    assert (together.error_from, together.interval()) == ('replicas', pytest.approx(single.interval()))
    same = mean_of_replicas([np.full(8, 2.0)] * 3, level)
    assert same.interval() == (2.0, 2.0)


def coverage(ratio, replicas, level, count=2000):
    """Return how often the interval contains the truth if replicas differ.

    :param ratio: variance between replicas over the variance of the mean of 8 independent tracers.
    """
    rng = np.random.default_rng(5)
    shifts = rng.normal(scale=0.1 * np.sqrt(ratio), size=(count, replicas, 1))
    samples = 1 + rng.normal(scale=0.1 * np.sqrt(8), size=(count, replicas, 8)) + shifts
    limits = np.array([mean_of_replicas(list(one), level).interval() for one in samples])
    return np.mean((limits[:, 0] < 1) & (limits[:, 1] > 1))


@pytest.mark.parametrize('replicas', [3, 5, 10])
def test_interval_covers_where_tracers_of_a_replica_are_correlated(replicas):
    """Replicas vary by 0, 1, 4 and 10 times the share of tracers; ``-s`` prints the numbers."""
    quick, strict, pooled = (
        np.array([coverage(ratio, replicas, level) for ratio in (0, 1, 4, 10)]) for level in (QUICK, STRICT, 0.0)
    )
    print(f'\n{replicas} replicas, in per cent:', *(np.round(100 * each) for each in (quick, strict, pooled)))
    assert quick[0] == pytest.approx(0.96, abs=0.015)
    assert strict[0] == pytest.approx(0.95, abs=0.015)
    assert quick.min() > 0.88
    assert np.all(strict >= pooled)
    assert pooled[-1] < 0.65 < strict[-1]
