"""Rates of hops by harmonic transition-state theory.

The rate of a hop over a saddle point is (kT/h) (Z_saddle / Z_minimum) exp(-E / kT), where E is the barrier of the
potential energy and Z are the vibrational partition functions without the unstable mode of the saddle point (Eyring,
J. Chem. Phys. 3, 107 (1935), doi:10.1063/1.1749604). In the harmonic approximation it has two forms:

- classical vibrations, Z = prod kT / (h nu): the rate is nu* exp(-E / kT), where the attempt frequency nu* is the
product of all frequencies at the minimum divided by the product of the real frequencies at the saddle point (Vineyard,
J. Phys. Chem. Solids 3, 121
  (1957), doi:10.1016/0022-3697(57)90059-8). Compare classical molecular dynamics with this form. nu* of a
  tracer in a fixed host goes as one over the square root of its mass.
- quantum vibrations, Z = prod 1 / (2 sinh(h nu / 2 kT)): equals the classical form at high temperature, and
  (kT/h) exp(-(E + ZPE_saddle - ZPE_minimum) / kT) with zero-point energies ZPE at low temperature. Compare
  experiments with light tracers with this form (Wimmer et al., Phys. Rev. B 77, 134305 (2008),
  doi:10.1103/PhysRevB.77.134305, for H, D and T in nickel). Neither form includes tunnelling.
"""

from __future__ import annotations

import numpy as np

from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K, PLANCK_EV_PS


class NoSaddleError(ValueError):
    """Frequencies do not belong to a minimum and a saddle point."""


def attempt_frequency(minimum: np.ndarray, saddle: np.ndarray) -> float:
    """Return the attempt frequency of a hop, in the unit of the frequencies.

    :param minimum: frequencies [3t] at the minimum.
    :param saddle: frequencies [3t] at the saddle point, the imaginary one as a negative number.
    :raises NoSaddleError: if they do not belong to a minimum and a saddle point with the same number of tracers.
    """
    minimum, saddle = stable_modes(minimum, saddle)
    return float(np.exp(np.log(minimum).sum() - np.log(saddle).sum()))


def zero_point_energy(frequencies_thz: np.ndarray) -> float:
    """Return the zero-point energy in eV of all real modes."""
    frequencies = np.asarray(frequencies_thz, float)
    return float(PLANCK_EV_PS * frequencies[frequencies > 0].sum() / 2)


def classical_rate(barrier_ev: float, minimum: np.ndarray, saddle: np.ndarray, temperature_k: float) -> float:
    """Return the rate of a hop in 1/ps with classical vibrations.

    :param minimum: frequencies [3t] at the minimum in THz.
    :param saddle: frequencies [3t] at the saddle point in THz, the imaginary one as a negative number.
    :raises NoSaddleError: if they do not belong to a minimum and a saddle point with the same number of tracers.
    """
    return attempt_frequency(minimum, saddle) * float(np.exp(-barrier_ev / (BOLTZMANN_EV_PER_K * temperature_k)))


def quantum_rate(barrier_ev: float, minimum: np.ndarray, saddle: np.ndarray, temperature_k: float) -> float:
    """Return the rate of a hop in 1/ps with quantum vibrations; parameters as in :func:`classical_rate`."""
    minimum, saddle = stable_modes(minimum, saddle)
    thermal = BOLTZMANN_EV_PER_K * temperature_k
    exponent = _ln_two_sinh(minimum, thermal) - _ln_two_sinh(saddle, thermal) - barrier_ev / thermal
    return float(thermal / PLANCK_EV_PS * np.exp(exponent))


def stable_modes(minimum: np.ndarray, saddle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the frequencies [3t] at the minimum and the real frequencies [3t-1] at the saddle point.

    :raises NoSaddleError: if they do not belong to a minimum and a saddle point with the same number of tracers.
    """
    minimum, saddle = np.sort(minimum), np.sort(saddle)
    if len(minimum) != len(saddle) or minimum[0] <= 0 or saddle[0] >= 0 or (saddle[1:] <= 0).any():
        raise NoSaddleError(
            f'frequencies {_words(minimum)} and {_words(saddle)} do not belong to a minimum and a saddle point: '
            f'{(minimum <= 0).sum()} and {(saddle <= 0).sum()} are imaginary, not 0 and 1.'
        )
    return minimum, saddle[1:]


def _ln_two_sinh(frequencies_thz: np.ndarray, thermal_ev: float) -> float:
    """Return the sum of ln(2 sinh(h nu / 2 kT)), without overflow."""
    x = PLANCK_EV_PS * frequencies_thz / (2 * thermal_ev)
    return float(np.sum(x + np.log1p(-np.exp(-2 * x))))


def _words(frequencies: np.ndarray) -> str:
    return ', '.join(f'{frequency:.2f}' for frequency in frequencies)
