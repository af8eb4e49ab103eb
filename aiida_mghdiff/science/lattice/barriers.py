"""Rates of the hops on the hcp network from barriers and vibrations along its named paths.

A path gives the rates in both directions, by transition-state theory (:mod:`aiida_mghdiff.science.transition_state`).
Both ends of ``T-T``, ``O-O c`` and ``O-O ab`` are sites of one kind, which differ only by numerical errors: their rate
is the geometric mean. The two barriers of ``O-T`` give the energy of a T site above an O site, and so the occupation.

A path with a minimum between its ends is not one hop but several: ``O-O ab`` may slide down to the T site between its
ends. Its barrier then equals the barrier of ``O-T`` and would be counted twice.

Errors: if the error of an energy is known (from a potential on held-out frames), each stationary point has this error
independently of the others. A class changes ln D by d ln D / d ln k over kT with the energy of the site that it leaves,
and by the opposite with the energy of its saddle point, which O-T and T-O share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from aiida_mghdiff.science.bands import RESOLUTION_EV
from aiida_mghdiff.science.lattice.network import NetworkError
from aiida_mghdiff.science.transition_state import zero_point_energy
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

#: Paths that the network needs: between O and T sites, and between the T sites along c.
NEEDED_PATHS = ('O-T', 'T-T')

Rate = Callable[[float, np.ndarray, np.ndarray, float], float]


@dataclass(frozen=True)
class Hop:
    """A path between two sites: barriers of the potential energy in both directions in eV, frequencies [3t] in THz."""

    path: str
    forward_barrier: float
    reverse_barrier: float
    initial: np.ndarray
    saddle: np.ndarray
    final: np.ndarray

    @property
    def zero_point_barriers(self) -> tuple[float, float]:
        """Return both barriers, including the zero-point energies of saddle point and minimum."""
        top = zero_point_energy(self.saddle)
        return (
            self.forward_barrier + top - zero_point_energy(self.initial),
            self.reverse_barrier + top - zero_point_energy(self.final),
        )

    def rates(self, temperature_k: float, rate: Rate) -> dict[str, float]:
        """Return the rates in 1/ps of the classes of hops along the path.

        :param rate: ``classical_rate`` or ``quantum_rate``.
        :raises NoSaddleError: if the frequencies do not belong to minima and a saddle point.
        """
        forward = rate(self.forward_barrier, self.initial, self.saddle, temperature_k)
        reverse = rate(self.reverse_barrier, self.final, self.saddle, temperature_k)
        if self.path == 'O-T':
            return {'O-T': forward, 'T-O': reverse}
        return {self.path: float(np.sqrt(forward * reverse))}


def is_elementary(energies_ev: np.ndarray) -> bool:
    """Return whether the energies [i] in eV along a path rise to one maximum and fall from there."""
    energies = np.asarray(energies_ev, float)
    top = int(np.argmax(energies))
    rising = np.maximum.accumulate(energies[: top + 1]) - energies[: top + 1]
    falling = np.maximum.accumulate(energies[top:][::-1]) - energies[top:][::-1]
    return bool(max(rising.max(), falling.max()) < RESOLUTION_EV)


def check_paths(hops: Mapping[str, Hop], faults: Mapping[str, str] | None = None) -> None:
    """Check that the hops form a network.

    :param hops: hops by path.
    :param faults: reasons why other paths have no hop, by path.
    :raises NetworkError: if a path of ``NEEDED_PATHS`` is missing.
    """
    if missing := [path for path in NEEDED_PATHS if path not in hops]:
        reasons = [f'{path}: {fault}' for path, fault in (faults or {}).items() if path in missing]
        message = f'there is no hop along {", ".join(missing)}: D needs at least {" and ".join(NEEDED_PATHS)}.'
        raise NetworkError(' '.join([message, *reasons]))


def network_rates(hops: Mapping[str, Hop], temperature_k: float, rate: Rate) -> dict[str, float]:
    """Return the rates in 1/ps of all classes of hops.

    :param hops: hops by path; see :func:`check_paths`.
    :raises NetworkError: if a path of ``NEEDED_PATHS`` is missing.
    :raises NoSaddleError: if the frequencies do not belong to minima and a saddle point.
    """
    check_paths(hops)
    return {name: value for hop in hops.values() for name, value in hop.rates(temperature_k, rate).items()}


def relative_error(sensitivities: Mapping[str, float], energy_error_ev: float, temperature_k: float) -> float:
    """Return the standard error of ln D from the standard error of the energy of each stationary point.

    :param sensitivities: d ln D / d ln rate by class.
    """
    weights: dict[str, float] = defaultdict(float)
    for name, value in sensitivities.items():
        weights[name[0]] += value
        weights['saddle O-T' if name == 'T-O' else f'saddle {name}'] -= value
    norm = np.sqrt(sum(value**2 for value in weights.values()))
    return float(norm * energy_error_ev / (BOLTZMANN_EV_PER_K * temperature_k))
