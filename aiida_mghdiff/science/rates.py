"""Hopping rates from harmonic vibrations.

Harmonic transition-state theory: a tracer leaves its minimum with the rate nu* exp(-E / kT), where the attempt
frequency nu* is the product of all frequencies at the minimum over that of the real ones at the saddle point (Vineyard,
J. Phys. Chem. Solids 3, 121 (1957), doi:10.1016/0022-3697(57)90059-8), and E the barrier of the classical tracer.
"""

from __future__ import annotations

import numpy as np


def attempt_frequency(minimum: np.ndarray, saddle: np.ndarray) -> float:
    """Return the attempt frequency of a hop, in the unit of the frequencies.

    :param minimum: frequencies [3t] at the minimum.
    :param saddle: frequencies [3t] at the saddle point, the imaginary one as a negative number.
    :raises ValueError: where these are not a minimum and a saddle point of as many tracers.
    """
    minimum, saddle = np.sort(minimum), np.sort(saddle)
    if len(minimum) != len(saddle) or minimum[0] <= 0 or saddle[0] >= 0 or (saddle[1:] <= 0).any():
        raise ValueError(
            f'frequencies {_words(minimum)} and {_words(saddle)} are not those of a minimum and of a saddle point.'
        )
    return float(np.exp(np.log(minimum).sum() - np.log(saddle[1:]).sum()))


def _words(frequencies: np.ndarray) -> str:
    return ', '.join(f'{frequency:.2f}' for frequency in frequencies)
