"""Continuous-time hops on the network of interstitial sites of hcp Mg, with vibrations: known answers for the tests."""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.signal import lfilter

from aiida_mghdiff.science import lattice

T_T, T_O, O_T, O_O = 'T-T', 'T-O', 'O-T', 'O-O'  # T-T: through the shared face; O-O: along c
LENGTHS = {T_T: 1.2975, T_O: 1.9581, O_T: 1.9581, O_O: 2.5950}  # Å at a = 3.20 Å, c = 5.19 Å
RATTLING = {T_T: 2.0}


class Network:
    """Sites of a periodic cell and the rates of their hops in 1/ps."""

    def __init__(self, rates, repeats=(3, 3, 2)):
        self.cell, host = lattice.hcp_supercell(3.20, 5.19, repeats)
        octahedral, tetrahedral = lattice.interstitial_sites(self.cell, host)
        self.sites = np.concatenate([octahedral, tetrahedral])
        kinds = np.array(['O'] * len(octahedral) + ['T'] * len(tetrahedral))
        shifts = np.array(list(product((-1, 0, 1), repeat=3))) @ self.cell
        self.hops = []
        for kind, site in zip(kinds, self.sites, strict=True):
            steps = self.sites[:, None] + shifts - site
            lengths = np.linalg.norm(steps, axis=-1)
            found = [
                (target, steps[target, shift], rate)
                for name, rate in rates.items()
                for target, shift in np.argwhere(abs(lengths - LENGTHS[name]) < 1e-3)
                if name == f'{kind}-{kinds[target]}'
            ]
            self.hops.append(found)

    def diffusion_coefficient(self):
        """Return the exact D in Å²/ps from the master equation: uncorrelated hops and their correlation."""
        n = len(self.sites)
        matrix, bias, square = np.zeros((n, n)), np.zeros((n, 3)), np.zeros(n)
        for site, hops in enumerate(self.hops):
            for target, step, rate in hops:
                matrix[site, target] += rate
                matrix[site, site] -= rate
                bias[site] += rate * step
                square[site] += rate * step @ step
        occupation = np.linalg.svd(matrix.T)[2][-1]
        occupation /= occupation.sum()
        correction = np.sum(occupation[:, None] * bias * (np.linalg.pinv(matrix) @ bias))
        return occupation @ square / 6 + correction / 3

    def walk(self, rng, frames, interval, site):
        """Return positions [f,3] at regular intervals (ps) and the number of hops between cages."""
        positions, position = np.empty((frames, 3)), self.sites[site].copy()
        time, filled, jumps = 0.0, 0, 0
        while filled < frames:
            hops = self.hops[site]
            rates = np.cumsum([rate for _, _, rate in hops])
            time = time + rng.exponential(1 / rates[-1]) if hops else np.inf
            reached = int(np.ceil(min(time / interval, frames)))
            positions[filled:reached] = position
            filled = max(filled, reached)
            if filled < frames:
                site, step, _ = hops[np.searchsorted(rates, rng.uniform(0, rates[-1]))]
                position = position + step
                jumps += np.linalg.norm(step) > 1.5
        return positions, jumps


def vibrations(rng, frames, tracers, interval, fast=0.25, slow=0.15):
    """Return displacements [f,n,3]: the tracer's own vibration (20 fs) and that of its cage (200 fs), in Å an axis."""
    total = np.zeros((frames, tracers, 3))
    for sigma, time in ((fast, 0.02), (slow, 0.2)):
        memory = np.exp(-interval / time)
        noise = rng.normal(size=(frames + 200, tracers, 3)) * sigma * np.sqrt(1 - memory**2)
        total += lfilter([1], [1, -memory], noise, axis=0)[200:]
    return total


def trajectory(rates, frames, interval, tracers, seed, repeats=(3, 3, 2), kind=None, **amplitudes):
    """Return positions [f,n,3] of independent tracers and the number [n] of their hops between cages.

    `kind` 'O' or 'T': the sites that tracers start from.
    """
    rng, network = np.random.default_rng(seed), Network(rates, repeats)
    count = len(network.sites)
    low, high = {None: (0, count), 'O': (0, count // 3), 'T': (count // 3, count)}[kind]
    walks = [network.walk(rng, frames, interval, rng.integers(low, high)) for _ in range(tracers)]
    positions = np.stack([path for path, _ in walks], axis=1)
    return positions + vibrations(rng, frames, tracers, interval, **amplitudes), np.array([jumps for _, jumps in walks])
