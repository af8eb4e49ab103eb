"""Rates by transition-state theory: textbook limits, isotopes, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_mghdiff.science.transition_state import (
    NoSaddleError,
    attempt_frequency,
    classical_rate,
    quantum_rate,
    zero_point_energy,
)

K_EV, H_EV_PS = 8.617333262e-5, 4.135667696e-3  # CODATA 2018
MINIMUM, SADDLE, BARRIER = np.array([20.0, 30.0, 25.0]), np.array([50.0, -12.0, 30.0]), 0.2


def test_vineyard():
    assert attempt_frequency(MINIMUM, SADDLE) == pytest.approx(20 * 30 * 25 / (50 * 30))
    expected = 10 * np.exp(-BARRIER / (K_EV * 500))
    assert classical_rate(BARRIER, MINIMUM, SADDLE, 500.0) == pytest.approx(expected, rel=1e-6)


def test_zero_point_energy_leaves_the_imaginary_mode_out():
    assert zero_point_energy(SADDLE) == pytest.approx(H_EV_PS * 80 / 2)


def test_quantum_rate_is_classical_when_hot():
    hot = 1e5
    assert quantum_rate(BARRIER, MINIMUM, SADDLE, hot) == pytest.approx(
        classical_rate(BARRIER, MINIMUM, SADDLE, hot), rel=1e-3
    )


def test_quantum_rate_has_the_zero_point_barrier_when_cold():
    cold = 20.0
    barrier = BARRIER + zero_point_energy(SADDLE) - zero_point_energy(MINIMUM)
    expected = np.log(K_EV * cold / H_EV_PS) - barrier / (K_EV * cold)
    assert np.log(quantum_rate(BARRIER, MINIMUM, SADDLE, cold)) == pytest.approx(expected, rel=1e-6)


def test_classical_isotopes_differ_by_the_root_of_their_masses():
    heavy = [values / np.sqrt(2) for values in (MINIMUM, SADDLE)]
    assert classical_rate(BARRIER, *heavy, 400.0) / classical_rate(BARRIER, MINIMUM, SADDLE, 400.0) == pytest.approx(
        1 / np.sqrt(2)
    )


def test_quantum_isotopes_change_their_order_with_temperature():
    """A stiff saddle point raises the barrier of the lighter isotope, so it is faster only when hot."""
    saddle = np.array([-12.0, 60.0, 60.0])
    deuterium = [values / np.sqrt(2) for values in (MINIMUM, saddle)]

    def ratio(temperature):
        return quantum_rate(BARRIER, *deuterium, temperature) / quantum_rate(BARRIER, MINIMUM, saddle, temperature)

    assert ratio(1000.0) < 1 < ratio(200.0)


@pytest.mark.parametrize('saddle', [[50.0, 12.0, 30.0], [-50.0, -12.0, 30.0], [-12.0, 30.0]])
def test_refuses_what_is_no_saddle_point(saddle):
    for function in (attempt_frequency, lambda *modes: quantum_rate(0.2, *modes, 300.0)):
        with pytest.raises(NoSaddleError, match='saddle point'):
            function([20.0, 30.0, 25.0], saddle)
