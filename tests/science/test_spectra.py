"""Weighted fits of spectra: exact cases, the maximised likelihood, and parameters that tracers share."""

import numpy as np
import pytest

from aiida_mghdiff.science.spectra import fit_spectra

K = np.arange(1, 201) / 201
DESIGN = np.stack([np.ones(200), 4 * np.sin(np.pi * K / 2) ** 2], axis=1)


def test_exact_spectrum_is_found():
    power = np.broadcast_to((DESIGN @ [0.3, 2.0])[:, None, None], (200, 4, 3))
    found = fit_spectra([power, power[:, :2]], [DESIGN, DESIGN])
    assert [amplitudes.shape for amplitudes in found] == [(2, 4, 3), (2, 2, 3)]
    np.testing.assert_allclose(found[0], np.broadcast_to([[[0.3]], [[2.0]]], (2, 4, 3)))


def test_mean_is_the_maximum_of_the_likelihood():
    spectrum = DESIGN @ [0.3, 2.0]
    power = spectrum[:, None, None] * np.random.default_rng(1).chisquare(1, size=(200, 5, 3))
    mean = power.mean(axis=(1, 2))
    best = fit_spectra([power], [DESIGN])[0].mean(axis=(1, 2))

    def likelihood(amplitudes):
        model = DESIGN @ amplitudes
        return -np.sum(np.log(model) + mean / model)

    for step in np.vstack([np.eye(2), -np.eye(2), [[1, -1], [-1, 1]]]) * 1e-3:
        assert likelihood(best + step) < likelihood(best)


def test_fit_is_unbiased_and_as_good_as_can_be():
    spectrum, rng = DESIGN @ [0.3, 2.0], np.random.default_rng(2)
    found = [
        fit_spectra([spectrum[:, None, None] * rng.chisquare(1, size=(200, 8, 3))], [DESIGN])[0][0].mean()
        for _ in range(300)
    ]
    weighted = DESIGN / spectrum[:, None]
    bound = np.sqrt(np.linalg.inv(weighted.T @ weighted)[0, 0] * 2 / 24)  # Cramér-Rao bound
    assert np.mean(found) == pytest.approx(0.3, abs=4 * bound / np.sqrt(300))
    assert np.std(found) == pytest.approx(bound, rel=0.12)


def test_multiplicity_counts():
    power = np.random.default_rng(3).chisquare(1, size=(200, 2, 3))
    twice = [np.concatenate([power, power]), np.concatenate([DESIGN, DESIGN])]
    found = fit_spectra([power], [DESIGN], [np.full(200, 2.0)])[0]
    np.testing.assert_allclose(found, fit_spectra([twice[0]], [twice[1]])[0])
