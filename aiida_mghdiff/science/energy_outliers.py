"""Find energies of cells that are far from the energies of cells of similar composition and density.

A fit of energies per element that outliers do not affect (least absolute deviations) removes the composition. The
remaining energies per atom are compared between cells whose volumes per atom agree within 15 %, so that dimers in a box
are not compared with a crystal. Some cells are outliers if a gap of more than 1 eV/atom separates them from at least
four others, and if the gap is ten times the scatter of these. Differences between hot and cold runs of one material,
defects and phases of one density are smaller. Differences are larger for energies in another unit, energies per atom
instead of per cell, or a wrong state of the SCF.

Structures far from equilibrium, such as random ones, have large forces. A force F costs F²/(2 k) in a harmonic well, so
for cells above it the gap must be wider by this energy; k = 2 eV/Å² is the constant of a soft bond.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

LEAST_GAP_EV_PER_ATOM = 1.0
_GAP_OVER_SCATTER = 10.0
_LEAST_OTHERS = 4
_LN_VOLUME = 0.14
_SOFT_BOND_EV_PER_ANGSTROM2 = 2.0
_ROUNDS = 30
_SMALLEST_DEVIATION_EV = 1e-3
#: Ratio of the standard deviation to the median absolute deviation of normal samples.
_NORMAL = 1.4826


@dataclass(frozen=True)
class Outliers:
    """Some cells, and their energies as expected from similar cells."""

    indices: np.ndarray  # [k], in order
    expected: np.ndarray  # [k] eV a cell


def outlying_energies(
    counts: np.ndarray, energies: np.ndarray, volumes: np.ndarray, forces: np.ndarray
) -> Outliers | None:
    """Return the cells whose energies are far from similar cells, or None.

    :param counts: atoms of each element in each cell [n,m]; ``energies`` [n] in eV and ``volumes`` [n] in Å³ of cells.
    :param forces: root mean square of the lengths of forces in each cell [n] in eV/Å.
    """
    natoms = counts.sum(axis=1)
    shares = counts / natoms[:, None]
    composition = shares @ _fit(shares, energies / natoms)
    left = energies / natoms - composition
    for rows in _alike(volumes / natoms):
        odd, level = _smaller_part(left[rows], forces[rows] ** 2 / (2 * _SOFT_BOND_EV_PER_ANGSTROM2))
        if odd.any():
            indices = rows[odd]
            return Outliers(indices, (composition[indices] + level) * natoms[indices])
    return None


def _fit(shares: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Return energies per element [m] of least absolute deviations, by repeated weighted least squares."""
    weights = np.ones(len(energies))
    for _ in range(_ROUNDS):
        offsets = np.linalg.lstsq(shares * weights[:, None], energies * weights, rcond=None)[0]
        deviations = np.abs(energies - shares @ offsets)
        weights = np.maximum(deviations, _SMALLEST_DEVIATION_EV) ** -0.5
    return offsets


def _alike(volumes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the indices of cells of similar volume per atom, in two sets of bins that separate no similar cells."""
    for shift in (0.0, 0.5):
        bins = np.floor(np.log(volumes) / _LN_VOLUME + shift)
        for each in np.unique(bins):
            yield np.flatnonzero(bins == each)


def _smaller_part(values: np.ndarray, strains: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the values [k] that the largest gap separates from more others (or none), and the median of the others.

    :param strains: allowance by which each value [k] may lie above others.
    """
    order = np.argsort(values)
    odd, gaps = np.zeros(len(values), bool), np.diff(values[order])
    if len(values) <= _LEAST_OTHERS:
        return odd, 0.0
    cut = int(np.argmax(gaps)) + 1
    small, large = (order[:cut], order[cut:]) if 2 * cut < len(values) else (order[cut:], order[:cut])
    level = float(np.median(values[large]))
    scatter = _NORMAL * float(np.median(np.abs(values[large] - level)))
    strain = float(np.median(strains[order[cut:]]))
    far = gaps[cut - 1] > max(LEAST_GAP_EV_PER_ATOM + strain, _GAP_OVER_SCATTER * scatter)
    odd[small] = len(large) >= _LEAST_OTHERS and far
    return odd, level
