"""Hops along named paths: rates in both directions, multiplicities, errors of energies."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_mghdiff.science.lattice.barriers import Hop, is_elementary, network_rates, relative_error
from aiida_mghdiff.science.lattice.network import NetworkError, diffusivity, sensitivities
from aiida_mghdiff.science.transition_state import NoSaddleError, classical_rate, quantum_rate
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K, PLANCK_EV_PS

A, C = 3.20, 5.19
O_SITE, T_SITE, SADDLE = np.array([12.0, 13.0, 14.0]), np.array([30.0, 31.0, 40.0]), np.array([-15.0, 33.0, 45.0])


def make_hop(path, forward, reverse, shift=0.0):
    kinds = {'O': O_SITE, 'T': T_SITE}
    return Hop(path, forward + shift, reverse + shift, kinds[path[0]], SADDLE, kinds[path[2]])


HOPS = {
    hop.path: hop for hop in (make_hop('O-T', 0.20, 0.26), make_hop('T-T', 0.10, 0.12), make_hop('O-O c', 0.30, 0.30))
}


def test_rates_obey_detailed_balance():
    """The rates of O-T and T-O have the ratio of the sites' partition functions."""
    temperature = 400.0
    thermal = BOLTZMANN_EV_PER_K * temperature
    rates = network_rates(HOPS, temperature, classical_rate)
    assert rates['O-T'] / rates['T-O'] == pytest.approx(np.prod(O_SITE) / np.prod(T_SITE) * np.exp(0.06 / thermal))
    rates = network_rates(HOPS, temperature, quantum_rate)
    partition = [np.prod(1 / (2 * np.sinh(PLANCK_EV_PS * site / (2 * thermal)))) for site in (T_SITE, O_SITE)]
    assert rates['O-T'] / rates['T-O'] == pytest.approx(partition[0] / partition[1] * np.exp(0.06 / thermal))


def test_symmetric_path_has_one_rate():
    rates = network_rates(HOPS, 400.0, classical_rate)
    assert set(rates) == {'O-T', 'T-O', 'T-T', 'O-O c'}
    assert rates['T-T'] == pytest.approx(classical_rate(0.11, T_SITE, SADDLE, 400.0))


def test_zero_point_barriers():
    forward, reverse = HOPS['O-T'].zero_point_barriers
    assert forward == pytest.approx(0.20 + PLANCK_EV_PS * (33 + 45 - 12 - 13 - 14) / 2)
    assert reverse == pytest.approx(0.26 + PLANCK_EV_PS * (33 + 45 - 30 - 31 - 40) / 2)


@pytest.mark.parametrize(
    ('energies', 'elementary'),
    [
        ([0, 0.1, 0.2, 0.1, 0], True),
        ([0, 0.2, 0.05, 0.2, 0], False),
        ([0, 0.1, 0.3, 0.1, 0.2, 0.05], False),
        ([0, 0.1, 0.096, 0.2, 0.15], True),
        ([0, -0.005, -0.008, 0.001, 0], False),
        ([0.0, 0.2], True),
    ],
)
def test_path_with_a_minimum_of_its_own(energies, elementary):
    assert is_elementary(np.array(energies)) is elementary


def test_error_of_energies_is_that_of_a_small_change():
    """Each stationary point moves alone; the squares of the changes of ln D add up."""
    temperature, error = 350.0, 0.01
    step = 1e-6

    def ln_d(changes):
        site = {kind: changes.get(kind, 0.0) for kind in 'OT'}
        shift = {path: changes.get(path, 0.0) for path in HOPS}
        moved = {
            path: Hop(
                path,
                hop.forward_barrier + shift[path] - site[path[0]],
                hop.reverse_barrier + shift[path] - site[path[2]],
                hop.initial,
                hop.saddle,
                hop.final,
            )
            for path, hop in HOPS.items()
        }
        return np.log(diffusivity(A, C, network_rates(moved, temperature, classical_rate)).mean)

    slopes = [(ln_d({name: step}) - ln_d({name: -step})) / (2 * step) for name in ('O', 'T', *HOPS)]
    found = relative_error(sensitivities(A, C, network_rates(HOPS, temperature, classical_rate)), error, temperature)
    assert found == pytest.approx(error * np.linalg.norm(slopes), rel=1e-4)


def test_refuses_missing_paths():
    with pytest.raises(NetworkError, match='no hop along T-T: D needs at least O-T and T-T'):
        network_rates({'O-T': HOPS['O-T']}, 400.0, classical_rate)


def test_refuses_what_is_no_saddle_point():
    bad = Hop('T-T', 0.1, 0.1, T_SITE, np.array([-15.0, -3.0, 45.0]), T_SITE)
    with pytest.raises(NoSaddleError, match='saddle point'):
        network_rates(HOPS | {'T-T': bad}, 400.0, classical_rate)
