"""Drift of the total energy in a run that should conserve it.

The slope of the energy over time is fitted to the means of consecutive blocks. Fluctuations of the integrator are
correlated over picoseconds, so the error of a fit to single steps would be far too small. Blocks longer than the
correlation time are nearly independent, so the scatter of their means about the line gives the right error (Flyvbjerg
and Petersen, J. Chem. Phys. 91, 461 (1989), doi:10.1063/1.457480). For a run of about ten correlation times or less,
the error is still too small.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from aiida_mghdiff.science.units import EV_IN_MEV, NS_IN_PS


def energy_drift(
    times_ps: np.ndarray, total_energies_ev: np.ndarray, n_atoms: int, blocks: int = 10
) -> tuple[float, float]:
    """Return the drift and its standard error in meV/atom/ns.

    :param times_ps: times [m], not necessarily evenly spaced.
    :param total_energies_ev: total energies of the cell [m] in eV.
    :param blocks: number of blocks; at most the number of samples.
    :returns: two NaN for fewer than three samples.
    """
    if len(times_ps) < 3:
        return np.nan, np.nan
    blocks = min(blocks, len(times_ps))
    times = _block_means(np.asarray(times_ps, float), blocks)
    energies = _block_means(np.asarray(total_energies_ev, float), blocks)
    fit = stats.linregress(times, energies - energies[0])
    factor = EV_IN_MEV * NS_IN_PS / n_atoms
    return float(fit.slope * factor), float(fit.stderr * factor)


def _block_means(values: np.ndarray, blocks: int) -> np.ndarray:
    return np.array([block.mean() for block in np.array_split(values, blocks)])
