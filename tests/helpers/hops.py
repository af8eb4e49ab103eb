"""Truth models of the tests: continuous-time hops of H on the interstitial network of hcp Mg, with a known D.

1. :class:`Network`: independent tracers. Its D is exact, from the master equation of the periodic cell.
   ``tests/science/test_truth_models.py`` finds the same D with PyPI ``onsager``, which knows only the crystal.
2. :func:`crowd`: tracers that never share a site and interact in pairs. Rates obey detailed balance: other tracers
   change the energy of a site, but not of a saddle point. D has no closed form; a long run is the reference.

Both are lattice gases. :func:`vibrations` and :func:`disguise` turn them into the output of a molecular dynamics code,
with autocorrelated vibrations, a drifting host, and coordinates wrapped into a triclinic cell.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numba import njit
from scipy.signal import lfilter

from aiida_mghdiff.science.lattice import geometry

T_T, T_O, O_T, O_O = 'T-T', 'T-O', 'O-T', 'O-O'  # T-T: through the shared face; O-O: along c
A, C = 3.20, 5.19
LENGTHS = {T_T: 1.2975, T_O: 1.9581, O_T: 1.9581, O_O: 2.5950}  # Å at a = 3.20 Å, c = 5.19 Å
RATTLING = {T_T: 2.0}


class Network:
    """Sites of a periodic cell and the rates of their hops in 1/ps."""

    def __init__(self, rates, repeats=(3, 3, 2)):
        self.rates = rates
        self.cell, host = geometry.hcp_supercell(A, C, repeats)
        octahedral, tetrahedral = geometry.interstitial_sites(self.cell, host)
        self.sites = np.concatenate([octahedral, tetrahedral])
        kinds = np.array(['O'] * len(octahedral) + ['T'] * len(tetrahedral))
        hops = [self._hops_from(site, kind, kinds) for site, kind in zip(self.sites, kinds, strict=True)]
        width = max(map(len, hops))
        self.targets = np.zeros((len(hops), width), int)
        self.steps, self.hop_rates = np.zeros((len(hops), width, 3)), np.zeros((len(hops), width))
        for site, found in enumerate(hops):
            for index, (target, step, rate) in enumerate(found):
                self.targets[site, index], self.steps[site, index], self.hop_rates[site, index] = target, step, rate
        weights = np.where(kinds == 'O', rates.get(T_O, 1.0) / rates.get(O_T, 1.0), 1.0)  # detailed balance
        self.occupation = weights / weights.sum()
        self.kinds = kinds

    def _hops_from(self, site, kind, kinds):
        shifts = np.array(list(product((-1, 0, 1), repeat=3))) @ self.cell
        steps = self.sites[:, None] + shifts - site
        lengths = np.linalg.norm(steps, axis=-1)
        return [
            (target, steps[target, shift], rate)
            for name, rate in self.rates.items()
            for target, shift in np.argwhere(abs(lengths - LENGTHS[name]) < 1e-3)
            if name == f'{kind}-{kinds[target]}'
        ]

    def generator(self):
        """Return the matrix [s,s] of the master equation, dp/dt = p W, in 1/ps."""
        matrix = np.zeros((len(self.sites),) * 2)
        np.add.at(matrix, (np.arange(len(self.sites))[:, None], self.targets), self.hop_rates)
        return matrix - np.diag(self.hop_rates.sum(axis=1))

    def diffusion_tensor(self):
        """Return the exact D [3,3] in Å²/ps from the master equation: uncorrelated hops and their correlation."""
        bias = np.einsum('sz,sza->sa', self.hop_rates, self.steps)
        square = np.einsum('s,sz,sza,szb->ab', self.occupation, self.hop_rates, self.steps, self.steps)
        return square / 2 + (self.occupation[:, None] * bias).T @ (np.linalg.pinv(self.generator()) @ bias)

    def diffusion_coefficient(self):
        """Return the exact D in Å²/ps, averaged over axes."""
        return np.trace(self.diffusion_tensor()) / 3

    def displacement(self, times):
        """Return the exact mean squared displacement [t,3] in Å² without vibrations.

        2 D t, plus 2 b² (1 - exp(-r t)) / r² for each mode of the master equation with rate r and bias b. The hops are
        reversible, so the matrix is symmetric in the metric of the occupation.
        """
        root = np.sqrt(self.occupation)
        rates, modes = np.linalg.eigh(-root[:, None] * self.generator() / root)
        bias = modes.T @ (root[:, None] * np.einsum('sz,sza->sa', self.hop_rates, self.steps))
        moving = rates > 1e-9 * rates.max()
        amplitudes = 2 * np.square(bias[moving] / rates[moving, None])
        relaxed = 1 - np.exp(-np.asarray(times)[:, None] * rates[moving])
        return 2 * np.asarray(times)[:, None] * np.diag(self.diffusion_tensor()) + relaxed @ amplitudes

    def walk(self, rng, frames, interval, site):
        """Return positions [f,3] at regular intervals (ps) and the number of hops between cages."""
        cumulative = np.cumsum(self.hop_rates, axis=1)
        return _walk(rng, cumulative, self.targets, self.steps, site, self.sites[site], frames, interval)

    def walks(self, rng, frames, interval, tracers):
        """Return positions [f,n,3] of tracers that start in equilibrium."""
        starts = rng.choice(len(self.sites), tracers, p=self.occupation)
        return np.stack([self.walk(rng, frames, interval, start)[0] for start in starts], axis=1)


@njit(cache=True)
def _walk(rng, cumulative, targets, steps, site, start, frames, interval):
    positions, position = np.empty((frames, 3)), start.copy()
    time, filled, jumps = 0.0, 0, 0
    while filled < frames:
        total = cumulative[site, -1]
        time = time + rng.standard_exponential() / total if total > 0 else np.inf
        while filled < frames and filled * interval < time:
            positions[filled] = position
            filled += 1
        if filled < frames:
            hop = np.searchsorted(cumulative[site], rng.random() * total)
            position += steps[site, hop]
            jumps += np.sum(np.square(steps[site, hop])) > 1.5**2
            site = targets[site, hop]
    return positions, jumps


def regime(coefficient, proportions=None):
    """Return the rates of a network with this D in Å²/ps, in fixed proportions."""
    proportions = proportions or {T_T: 8.0, T_O: 1.0, O_T: 1.0, O_O: 0.5}
    scale = coefficient / Network(proportions, (1, 1, 1)).diffusion_coefficient()
    return {name: scale * rate for name, rate in proportions.items()}


def vibrations(rng, frames, tracers, interval, fast=0.25, slow=0.15):
    """Return displacements [f,n,3] in Å on each axis: vibrations of the tracer (20 fs) and of its cage (200 fs)."""
    total = np.zeros((frames, tracers, 3))
    for sigma, time in ((fast, 0.02), (slow, 0.2)):
        memory = np.exp(-interval / time)
        noise = rng.normal(size=(frames, tracers, 3)) * sigma
        noise[1:] *= np.sqrt(1 - memory**2)
        total += noise if memory < 1e-6 else lfilter([1], [1, -memory], noise, axis=0)
    return total


def trajectory(rates, frames, interval, tracers, seed, repeats=(3, 3, 2), kind=None, **amplitudes):
    """Return positions [f,n,3] of independent tracers and the number [n] of their hops between cages.

    `kind`: start on 'O' or 'T' sites only.
    """
    rng, network = np.random.default_rng(seed), Network(rates, repeats)
    weights = network.occupation * (network.kinds == kind if kind else 1)
    starts = rng.choice(len(weights), tracers, p=weights / weights.sum())
    walks = [network.walk(rng, frames, interval, start) for start in starts]
    positions = np.stack([path for path, _ in walks], axis=1)
    return positions + vibrations(rng, frames, tracers, interval, **amplitudes), np.array([jumps for _, jumps in walks])


def drift(rng, frames, interval, velocity=(0.02, -0.01, 0.005), diffusion=0.01):
    """Return the motion [f,3] in Å of a host that drifts at a velocity (Å/ps) and diffuses (Å²/ps) as a whole."""
    steps = rng.normal(scale=np.sqrt(2 * diffusion * interval), size=(frames, 3))
    return np.cumsum(steps + np.array(velocity) * interval, axis=0)


def disguise(rng, positions, interval, cell):
    """Return wrapped positions of tracers [f,n,3] and of the host's centre [f,3], both with the host's drift."""
    host = drift(rng, len(positions), interval)
    return wrap(positions + host[:, None], cell), wrap(host, cell)


def wrap(positions, cell):
    """Return positions inside the cell."""
    return (positions @ np.linalg.inv(cell) % 1.0) @ cell


def unwrap(positions, cell):
    """Return a path [f,...,3] in which no step exceeds half the cell along any cell vector."""
    fractional = positions @ np.linalg.inv(cell)
    steps = np.diff(fractional, axis=0)
    return np.concatenate([fractional[:1], fractional[0] + np.cumsum(steps - np.round(steps), axis=0)]) @ cell


def crowd(network, energies, rng, frames, interval, tracers):
    """Return positions [f,n,3] of interacting tracers, by rejection-free kinetic Monte Carlo.

    No two tracers share a site. A tracer leaves its site at the rate of the network times exp(E / kT), where E / kT is
    the sum of its pair energies. Extra frames, a tenth of the run, come first and are dropped: tracers equilibrate.

    :param energies: E / kT [s,s] of a pair at two sites, see :func:`pair_energies`.
    """
    starts = rng.choice(len(network.sites), tracers, replace=False)
    lead = frames // 10
    paths = _crowd(
        rng, network.hop_rates, network.targets, network.steps, energies, starts, network.sites[starts], frames + lead,
        interval,
    )  # fmt: skip
    return paths[lead:]


def pair_energies(network, shells):
    """Return the pair energy over kT [s,s] of tracers at two sites, by shells (reach in Å, energy), nearest first."""
    steps = (network.sites[:, None] - network.sites) @ np.linalg.inv(network.cell)
    steps -= np.round(steps)
    shifts = np.array(list(product((-1, 0, 1), repeat=3)))
    distances = np.min([np.linalg.norm((steps + shift) @ network.cell, axis=-1) for shift in shifts], axis=0)
    energies = np.zeros_like(distances)
    for reach, energy in reversed(shells):
        energies[distances < reach] = energy
    np.fill_diagonal(energies, 0.0)
    return energies


@njit(cache=True)
def _crowd(rng, rates, targets, steps, energies, sites, starts, frames, interval):
    n, width = len(sites), rates.shape[1]
    path, positions = np.empty((frames, n, 3)), starts.copy()
    sites, taken = sites.copy(), np.zeros(len(rates), np.bool_)
    taken[sites] = True
    open_rates = np.empty((n, width))
    time, filled = 0.0, 0
    while filled < frames:
        total = 0.0
        for i in range(n):
            energy = 0.0
            for j in range(n):
                energy += energies[sites[i], sites[j]]
            factor = np.exp(energy)
            for hop in range(width):
                free = rates[sites[i], hop] > 0 and not taken[targets[sites[i], hop]]
                open_rates[i, hop] = rates[sites[i], hop] * factor if free else 0.0
                total += open_rates[i, hop]
        time += rng.standard_exponential() / total
        while filled < frames and filled * interval < time:
            path[filled] = positions
            filled += 1
        left = rng.random() * total
        index = 0
        while index < n * width - 1 and left >= open_rates[index // width, index % width]:
            left -= open_rates[index // width, index % width]
            index += 1
        i, hop = index // width, index % width
        positions[i] += steps[sites[i], hop]
        taken[sites[i]] = False
        sites[i] = targets[sites[i], hop]
        taken[sites[i]] = True
    return path
