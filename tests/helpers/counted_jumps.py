"""Jumps that MD counted, made from known rates."""

from __future__ import annotations

import numpy as np
from aiida import orm

from aiida_mghdiff.science.lattice.hops import HOPS
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

A, C = 3.20, 5.19
#: Prefactor in 1/ps and activation energy in eV of each class of jumps.
LAWS = {'O-T': (4.0, 0.17), 'T-O': (6.0, 0.22), 'T-T': (8.0, 0.12)}


def rates_at(temperature):
    """Return the rates in 1/ps to one target."""
    return {name: nu * np.exp(-energy / (BOLTZMANN_EV_PER_K * temperature)) for name, (nu, energy) in LAWS.items()}


def make_sites(temperature, duration=1e6, drop=(), **changes):
    """Return the sites of a run that saw the expected number of jumps."""
    rates = {name: HOPS[name].targets * rate for name, rate in rates_at(temperature).items()}
    counts = {name: round(duration * rate) for name, rate in rates.items()}
    values = {
        'temperature_k': temperature,
        'lattice_a_angstrom': A,
        'lattice_c_angstrom': C,
        'total_times_ps': {'O': duration, 'T': duration},
        'jump_counts': counts | {'O-O c': 0, 'O-O ab': 0, 'T-T edge': 0, 'other': 0},
        'jump_rates_per_ps': rates,
        'jump_rate_errors_per_ps': {name: rates[name] / np.sqrt(max(number, 1)) for name, number in counts.items()},
    }
    return orm.Dict({name: value for name, value in (values | changes).items() if name not in drop})
