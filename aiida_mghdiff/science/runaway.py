"""Runs whose temperature runs away, because the potential is used outside its range or the time step is too long."""

from __future__ import annotations

#: A run ends if its temperature exceeds both this factor times the target temperature, and the floor in K.
_FACTOR, _FLOOR_K = 10.0, 3000.0


def runaway_limit(temperature_k: float) -> float:
    """Return the temperature in K above which a run with a target temperature has run away."""
    return max(_FACTOR * temperature_k, _FLOOR_K)
