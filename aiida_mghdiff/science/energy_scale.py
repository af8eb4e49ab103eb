"""How large changes of energies are, measured by the work of the forces.

Between two cells of the same atoms the energy changes by minus the integral of the forces along the path, plus the
volume times the integral of the stress over the strain. The forces along the path are replaced by the mean of both
ends, which is exact in a harmonic crystal. The estimate is crude for large steps, but units are far apart. Measured on
labels of MACE-MP-0 for seven crystals and molecules (rattled by up to 0.2 Å, strained, in dynamics at 1500 K, relaxed)
and on PBE labels of Mg-H with steps of 1 Å, changes of energies are 0.2 to 1.4 times the work, with correlations of 0.5
to 1.0. Only strong correlations count: pairs of unrelated cells give no estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Beyond this root mean square step of the atoms the estimate is not reliable.
LARGEST_STEP_ANGSTROM = 0.5
#: Five unrelated pairs correlate as strongly by chance once in ten times.
_LEAST_PAIRS = 10
_LEAST_CORRELATION = 0.8
_LEAST_STRAIN, _LARGEST_STRAIN = 1e-4, 0.2
#: Smaller changes are lost in the digits of printed labels, as between two displacements of one crystal by symmetry.
_LEAST_CHANGE_EV = 1e-4


@dataclass(frozen=True)
class Snapshot:
    """One labelled cell of n atoms."""

    cell: np.ndarray  # [3,3] Å
    positions: np.ndarray  # [n,3] Å, in any image
    energy: float  # eV
    forces: np.ndarray  # [n,3] eV/Å
    stress: np.ndarray | None  # [3,3] eV/Å³, tension positive


def energy_scale(pairs: Sequence[tuple[Snapshot, Snapshot]]) -> float | None:
    """Return the ratio of energy changes to the work of the forces: about 1 if both are in one unit.

    :param pairs: cells of the same atoms in the same order, whose numbers of atoms may differ between pairs.
    :returns: a negative number if forces have the wrong sign; None for too few pairs or without a clear correlation.
    """
    changes_of = ((work_of_forces(start, end), end.energy - start.energy) for start, end in pairs)
    known = [(work, change) for work, change in changes_of if work and max(abs(work), abs(change)) > _LEAST_CHANGE_EV]
    if len(known) < _LEAST_PAIRS:
        return None
    works, changes = np.array(known).T
    size = np.linalg.norm(works) * np.linalg.norm(changes)
    if not size or abs(works @ changes / size) < _LEAST_CORRELATION:
        return None
    return float(np.median(changes / works))  # a single long step does not change the median


def work_of_forces(start: Snapshot, end: Snapshot) -> float | None:
    """Return the change of energy in eV that forces and stresses imply; None if a step is too long."""
    cell, forces = (start.cell + end.cell) / 2, (start.forces + end.forces) / 2
    steps = np.linalg.solve(end.cell.T, end.positions.T).T - np.linalg.solve(start.cell.T, start.positions.T).T
    steps = (steps - np.round(steps)) @ cell
    if np.sqrt(np.mean(np.sum(steps**2, axis=1))) > LARGEST_STEP_ANGSTROM:
        return None
    work, strain = -float(np.sum(forces * steps)), np.linalg.solve(cell, end.cell - start.cell)
    if np.abs(strain).max() < _LEAST_STRAIN:
        return work
    if np.abs(strain).max() > _LARGEST_STRAIN or start.stress is None or end.stress is None:
        return None
    return work + abs(np.linalg.det(cell)) * float(np.sum((start.stress + end.stress) / 2 * strain))
