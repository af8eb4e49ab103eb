"""Diffusion of one tracer on the network of interstitial sites of hcp, from the rates of its hops.

Rates are to one target. O-T and T-O belong together and fix the occupation of the sites by detailed balance; a missing
class does not happen. D is exact for independent hops, including their correlation (from a pair of T sites the way back
is likely): PyPI ``onsager``, Trinkle, Philos. Mag. 96, 2714 (2016), doi:10.1080/14786435.2016.1212175. The exact
position of a site in its cage does not matter, since D depends only on the translations from cell to cell. Other
tracers are neglected: D is for infinite dilution.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aiida_mghdiff.science.lattice.hops import HOPS
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from onsager.OnsagerCalc import Interstitial

#: Classes that link O and T sites; without them the occupation of both is undefined.
NEEDED = ('O-T', 'T-O')

Rates = Mapping[str, float]


class NetworkError(ValueError):
    """Hops do not form a network."""


class Diffusivity(NamedTuple):
    """D in Å²/ps in the basal plane and along c."""

    ab: float
    c: float

    @property
    def mean(self) -> float:
        """Return the mean over directions."""
        return (2 * self.ab + self.c) / 3


def diffusivity(a: float, c: float, rates: Rates) -> Diffusivity:
    """Return D of the network with lattice constants in Å and rates in 1/ps by class.

    :raises NetworkError: if rates are missing, unknown or not positive.
    """
    check_rates(rates)
    classes = tuple(name for name in HOPS if name in rates and name != 'T-O')
    occupation = {'O': 1.0, 'T': rates['O-T'] / rates['T-O']}
    # onsager takes energies over kT of sites and of transitions; exp(-energy) of a transition is occupation times rate
    sites = -np.log([occupation['O'], occupation['T']])
    transitions = -np.log([occupation[name[0]] * rates[name] for name in classes])
    tensor = _diffuser(a, c, classes).diffusivity(np.ones(2), sites, np.ones(len(classes)), transitions)
    return Diffusivity(float(tensor[0, 0] + tensor[1, 1]) / 2, float(tensor[2, 2]))


def sensitivities(a: float, c: float, rates: Rates) -> dict[str, float]:
    """Return d ln D / d ln rate of each class, by central differences; they sum to one."""

    def ln_d(name: str, factor: float) -> float:
        return float(np.log(diffusivity(a, c, {**rates, name: rates[name] * factor}).mean))

    step = 1e-4
    return {name: (ln_d(name, np.exp(step)) - ln_d(name, np.exp(-step))) / (2 * step) for name in rates}


def activation_energy(diffusion: Callable[[float], float], temperature_k: float) -> float:
    """Return -d ln D / d(1/kT) in eV at a temperature, by a central difference over 0.2 %."""
    inverse = np.array([1 - 1e-3, 1 + 1e-3]) / (BOLTZMANN_EV_PER_K * temperature_k)
    low, high = (np.log(diffusion(float(1 / (BOLTZMANN_EV_PER_K * value)))) for value in inverse)
    return float((low - high) / (inverse[1] - inverse[0]))


def check_rates(rates: Rates) -> None:
    """Refuse rates that do not form a network.

    :raises NetworkError: if O-T or T-O is missing, a class is unknown, or a rate is not a positive number.
    """
    if missing := [name for name in NEEDED if name not in rates]:
        raise NetworkError(f'there are no rates of {", ".join(missing)}: O and T sites are linked by these hops.')
    if unknown := sorted(set(rates) - set(HOPS)):
        raise NetworkError(f'hops {", ".join(unknown)} are not known: classes are {", ".join(HOPS)}.')
    if wrong := [f'{name} = {rate}' for name, rate in rates.items() if not (np.isfinite(rate) and rate > 0)]:
        raise NetworkError(
            f'rates {", ".join(wrong)} are not positive numbers: leave out a class that does not happen.'
        )


@functools.lru_cache(maxsize=64)
def _diffuser(a: float, c: float, classes: tuple[str, ...]) -> Interstitial:
    """Return onsager's calculator of the network, its transitions in the order of the classes."""
    from onsager.crystal import Crystal  # this import takes a second
    from onsager.OnsagerCalc import Interstitial

    lattice = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]]).T
    octahedral = [[0, 0, 0], [0, 0, 1 / 2]]
    tetrahedral = [[1 / 3, 2 / 3, 5 / 8], [1 / 3, 2 / 3, 7 / 8], [2 / 3, 1 / 3, 1 / 8], [2 / 3, 1 / 3, 3 / 8]]
    host = [[1 / 3, 2 / 3, 1 / 4], [2 / 3, 1 / 3, 3 / 4]]
    basis = [[np.array(site) for site in sites] for sites in (host, octahedral + tetrahedral)]
    crystal = Crystal(lattice, basis, ['host', 'tracer'])
    lengths = {name: hop.length(a, c) for name, hop in HOPS.items()}
    found = {}
    for jumps in crystal.jumpnetwork(1, 1.01 * max(lengths.values())):
        (start, end), step = jumps[0]
        kinds = '-'.join(sorted('O' if site < len(octahedral) else 'T' for site in (start, end)))
        for name in classes:
            if name.startswith(kinds) and np.isclose(np.linalg.norm(step), lengths[name], rtol=1e-6):
                found[name] = jumps
    return Interstitial(crystal, 1, crystal.sitelist(1), [found[name] for name in classes])
