"""Barriers from energies along a path: ends that are no minimum, bands without a saddle point, noise, vibrations."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aiida_mghdiff.science.bands import RESOLUTION_EV, band_results, read_band

NOISE = 0.8 * RESOLUTION_EV


def numbers(energies, **modes):
    band = read_band(energies, modes)
    return band.forward.barrier_ev, band.reverse.barrier_ev, band.saddle_image


@pytest.mark.parametrize(
    ('energies', 'expected'),
    [
        pytest.param([0.0, 0.1, 0.3, 0.2, 0.1], (0.3, 0.2, 2), id='hop'),
        pytest.param([0.0, 0.2, 0.0], (0.2, 0.2, 1), id='symmetric'),
        pytest.param([0.0, 0.1, 0.2, 0.3], (0.3, None, None), id='rises to its final end'),
        pytest.param([0.3, 0.2, 0.1, 0.0], (None, 0.3, None), id='falls from its initial end'),
        pytest.param([0.0, 0.2, 0.3, 0.3 + NOISE, 0.3], (0.3 + NOISE, None, None), id='top beside the end, by noise'),
        pytest.param([0.0, 0.2, 0.32, 0.3], (0.32, 0.02, 2), id='shallow minimum'),
        pytest.param([0.0, 0.25, 0.25], (0.25, None, None), id='image on top of the end'),
        pytest.param([0.2, 0.0, 0.2], (None, None, None), id='valley between two hills'),
        pytest.param([0.0, 0.0, 0.0], (None, None, None), id='flat'),
        pytest.param([0.0, NOISE, 0.0], (None, None, None), id='flat but for noise'),
        pytest.param([0.0, 0.2, 0.05, 0.25, 0.0], (0.25, 0.25, 3), id='minimum between the ends'),
        pytest.param([0.0, 0.2, -0.3, 0.1, 0.0], (None, None, 1), id='minimum below both ends'),
        pytest.param([0.0, 0.4, 0.1, 0.3, 0.2], (0.4, None, 1), id='minimum below the higher end'),
        pytest.param([0.0, 0.2, -NOISE, 0.25, 0.0], (0.25, 0.25, 3), id='minimum as low as the ends, but for noise'),
        pytest.param([0.0, np.nan, 0.2, 0.1], (None, None, None), id='image without an energy'),
        pytest.param([np.inf, 0.3, 0.2], (None, None, None), id='end of infinite energy'),
        pytest.param([0.0, -0.1, -0.2, 0.1, 0.0], (None, 0.1, 3), id='falls before it rises'),
        pytest.param([0.0, 0.2, -0.1, 0.1], (0.2, None, 1), id='rises from a minimum between to its end'),
        pytest.param([0.0, -NOISE, 0.2, 0.1], (0.2, 0.1, 2), id='dip of noise at the start'),
    ],
)
def test_directions(energies, expected):
    assert numbers(energies) == pytest.approx(expected)


def test_a_path_backwards_has_its_directions_exchanged():
    rng = np.random.default_rng(3)
    for energies in rng.normal(scale=0.02, size=(300, 6)):
        band, back = read_band(energies), read_band(energies[::-1])
        assert band.forward.barrier_ev == back.reverse.barrier_ev
        assert band.reverse.barrier_ev == back.forward.barrier_ev
        assert (band.saddle_image is None) == (back.saddle_image is None)


def test_a_barrier_is_never_zero_and_a_missing_one_has_a_reason():
    rng = np.random.default_rng(4)
    for energies in rng.normal(scale=0.01, size=(300, 5)):
        for way in (read_band(energies).forward, read_band(energies).reverse):
            assert way.reason if way.barrier_ev is None else way.barrier_ev > RESOLUTION_EV


def test_reasons_name_the_end_and_the_remedy():
    rising = read_band([0.0, 0.1, 0.2])
    assert rising.reverse.reason == (
        'the final end is no minimum of this potential: the energy falls from it along the path, by 0.100 eV at first; '
        'relax it further or take another path.'
    )
    assert rising.forward.reason == 'the path has no saddle point: this is the energy of its highest image, an end.'
    assert rising.reason == rising.forward.reason
    assert 'initial end is no minimum' in read_band([0.2, 0.1, 0.0]).forward.reason
    assert 'changes by less than 5 meV' in read_band([0.0, 0.0, 0.0]).reason
    assert read_band([0.0, 0.2, 0.0]).reason is None


def test_a_minimum_between_the_ends_is_named_with_its_depth():
    band = read_band([0.1, 0.2, -0.3, 0.1, 0.0])
    assert band.forward.reason == (
        'the path has a minimum at image 2, 0.400 eV below its initial end: it is several hops; relax this '
        'image, and take a path for each hop.'
    )
    assert '0.300 eV below its final end' in band.reverse.reason


def test_an_image_without_a_finite_energy_leaves_no_number():
    results = band_results([np.nan, 0.3, np.inf, 0.1])
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    assert results['energies_ev'] == [None, 0.3, None, 0.1]
    assert results['reaction_energy_ev'] is None
    assert results['forward_barrier_reason'] == 'image 0 has no finite energy: compute the path again.'


def test_vibrations_tell_what_the_energies_hide():
    """An end may be a hill in another direction, and the highest image may be no saddle point."""
    energies = [0.0, 0.3, 0.1]
    assert numbers(energies, initial=0, saddle=1, final=0) == pytest.approx((0.3, 0.2, 1))
    assert numbers(energies, initial=0, saddle=1, final=2) == pytest.approx((0.3, None, 1))
    assert (
        'final end is no minimum of this potential: it has 2 imaginary modes'
        in read_band(energies, {'final': 2}).reason
    )
    for count, words in ((0, 'no imaginary modes'), (2, '2 imaginary modes')):
        band = read_band(energies, {'saddle': count})
        assert band.forward.barrier_ev == pytest.approx(0.3)
        assert f'no saddle point but the highest image, which has {words}, not one' in band.forward.reason


def test_results_of_a_search():
    results = band_results(np.array([0.0, 0.1, 0.2]))
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    assert results['reaction_energy_ev'] == pytest.approx(0.2)
    assert (results['reverse_barrier_ev'], results['saddle_image']) == (None, None)
    assert 'no minimum' in results['reverse_barrier_reason']
    assert band_results([0.0, 0.2, 0.0])['forward_barrier_reason'] is None
