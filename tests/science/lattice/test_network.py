"""D of the hcp network against the master equation of a periodic cell, closed formulas and limits."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from aiida_mghdiff.science.lattice import geometry
from aiida_mghdiff.science.lattice.hops import HOPS
from aiida_mghdiff.science.lattice.network import NetworkError, activation_energy, diffusivity, sensitivities
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

A, C = 3.20, 5.19
RATES = {'O-T': 0.3, 'T-O': 1.1, 'T-T': 4.0, 'T-T edge': 0.07, 'O-O c': 0.2, 'O-O ab': 0.05}


def solve_master_equation(rates, a=A, c=C, repeats=(2, 2, 2)):
    """Return D_ab, D_c and the number of targets of each class, only from the sites of a periodic cell."""
    cell, host = geometry.hcp_supercell(a, c, repeats)
    octahedral, tetrahedral = geometry.interstitial_sites(cell, host)
    sites, kinds = np.concatenate([octahedral, tetrahedral]), ['O'] * len(octahedral) + ['T'] * len(tetrahedral)
    shifts = np.array(list(product((-1, 0, 1), repeat=3))) @ cell
    lengths = {name: hop.length(a, c) for name, hop in HOPS.items()}
    count, found = len(sites), dict.fromkeys(HOPS, 0)
    matrix, bias, square = np.zeros((count, count)), np.zeros((count, 3)), np.zeros((count, 3))
    for start, site in enumerate(sites):
        steps = sites[:, None] + shifts - site
        for name, rate in rates.items():
            for end, shift in np.argwhere(abs(np.linalg.norm(steps, axis=-1) - lengths[name]) < 1e-3):
                if name[:3] == f'{kinds[start]}-{kinds[end]}':
                    found[name] += 1
                    matrix[start, end] += rate
                    matrix[start, start] -= rate
                    bias[start] += rate * steps[end, shift]
                    square[start] += rate * steps[end, shift] ** 2
    weights = np.where(np.array(kinds) == 'O', 1.0, rates['O-T'] / rates['T-O'])
    weights /= weights.sum()
    values = weights @ square / 2 + np.sum(weights[:, None] * bias * (np.linalg.pinv(matrix) @ bias), axis=0)
    number = {'O': len(octahedral), 'T': len(tetrahedral)}
    return (values[0], values[2]), {name: n / number[name[0]] for name, n in found.items() if name in rates}


@pytest.mark.parametrize('left_out', [(), ('T-T edge', 'O-O ab'), ('T-T edge', 'O-O ab', 'O-O c'), ('T-T', 'T-T edge')])
def test_master_equation(left_out):
    rates = {name: rate for name, rate in RATES.items() if name not in left_out}
    expected, _ = solve_master_equation(rates)
    np.testing.assert_allclose(diffusivity(A, C, rates), expected, rtol=1e-9)


def test_numbers_of_targets():
    assert solve_master_equation(RATES)[1] == {name: hop.targets for name, hop in HOPS.items()}


def test_another_crystal():
    expected, _ = solve_master_equation(RATES, 2.95, 4.68)
    np.testing.assert_allclose(diffusivity(2.95, 4.68, RATES), expected, rtol=1e-9)


def test_octahedral_walk_has_the_textbook_d():
    """Tracers almost never visit T sites, so uncorrelated O-O hops remain."""
    found = diffusivity(A, C, {'O-T': 1e-12, 'T-O': 1e-3, 'O-O c': 0.2, 'O-O ab': 0.05})
    np.testing.assert_allclose(found, [6 * 0.05 * A**2 / 4, 2 * 0.2 * (C / 2) ** 2 / 2], rtol=1e-6)


def test_rattling_in_pairs_does_not_matter():
    slow, fast = ({**RATES, 'T-T': rate} for rate in (1e6, 1e9))
    np.testing.assert_allclose(diffusivity(A, C, slow), diffusivity(A, C, fast), rtol=1e-5)


def test_nothing_goes_along_c_without_a_hop_that_does():
    found = diffusivity(A, C, {'O-T': 0.3, 'T-O': 1.1})
    assert found.ab > 0
    assert found.c == pytest.approx(0, abs=1e-12)


def test_d_is_linear_in_time_and_quadratic_in_length():
    base = np.array(diffusivity(A, C, RATES))
    np.testing.assert_allclose(diffusivity(A, C, {name: 3 * rate for name, rate in RATES.items()}), 3 * base)
    np.testing.assert_allclose(diffusivity(2 * A, 2 * C, RATES), 4 * base)


def test_sensitivities_sum_to_one():
    found = sensitivities(A, C, RATES)
    assert set(found) == set(RATES)
    assert sum(found.values()) == pytest.approx(1, abs=1e-6)
    bigger = {**RATES, 'O-T': 1.01 * RATES['O-T']}
    change = np.log(diffusivity(A, C, bigger).mean / diffusivity(A, C, RATES).mean)
    assert change / np.log(1.01) == pytest.approx(found['O-T'], abs=0.005)


def test_activation_energy_of_an_arrhenius_law():
    found = activation_energy(lambda temperature: 7 * np.exp(-0.23 / (BOLTZMANN_EV_PER_K * temperature)), 350.0)
    assert found == pytest.approx(0.23, rel=1e-9)


@pytest.mark.parametrize(
    ('rates', 'message'),
    [
        ({'O-T': 1.0, 'T-T': 1.0}, 'no rates of T-O'),
        ({'O-T': 1.0, 'T-O': 1.0, 'O-X': 1.0}, 'O-X are not known'),
        ({'O-T': 1.0, 'T-O': 0.0}, 'T-O = 0.0 are not positive'),
        ({'O-T': np.nan, 'T-O': 1.0}, 'O-T = nan are not positive'),
    ],
)
def test_refusals(rates, message):
    with pytest.raises(NetworkError, match=message):
        diffusivity(A, C, rates)
