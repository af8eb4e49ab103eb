"""Drift of the total energy in a run that conserves it.

The slope of the energy over time is fitted to the means of consecutive blocks: fluctuations of the integrator are
correlated over picoseconds, and the error of a fit to single steps would be far too small. Blocks longer than the
correlation time are nearly independent, so that the scatter of their means about the line gives an honest error
(Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989), doi:10.1063/1.457480). A run not much longer than ten
correlation times has too small an error still.
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
    :param blocks: number of blocks; as many as there are samples where these are fewer.
    :returns: two NaN where there are fewer than three samples.
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
