"""Check the magnitude of stresses by the forces on the atoms.

A pair potential is fitted to the forces of some cells: for each pair of elements a sum of Gaussians of the distance,
linear in their weights. Its virial is an independent estimate of the stresses. The traceless parts are compared, since
pairs do not describe the pressure of an electron gas.

The potential is crude, but units differ by large factors. For labels of CHGNet for 22 structures (metals, ionic and
covalent crystals, hydrides, a slab, graphene, molecules in boxes; at zero pressure, expanded, and compressed by up to
45 % in volume; two cells or eight), the ratio of labelled to estimated stresses is below 7.4 if the unit is right. It
is above 0.06 in crystals and above 0.02 in layers in vacuum, which is too low to detect a unit larger than eV/Å³, such
as Ha/bohr³. The sign is wrong in one case of 15, most of them covalent and ionic crystals whose atoms move little: the
correlation is -0.92 in compressed silicon with atoms in their places, -0.98 in diamond, and -0.99 in magnesium oxide
with atoms 0.01 Å off. If forces vanish by symmetry there is no estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CUTOFF_ANGSTROM = 6.0
_N_GAUSSIANS = 10
_SHORTEST_ANGSTROM = 1.0
_RIDGE = 1e-3
#: Smaller root mean square forces are noise or vanish by symmetry.
_LEAST_FORCE_EV_PER_ANGSTROM = 0.1
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class Cell:
    """One labelled cell and its pairs of atoms within :data:`CUTOFF_ANGSTROM`, each pair in both directions."""

    first: np.ndarray  # [p] index of the first atom of the pair
    kinds: np.ndarray  # [p] index of the pair of elements, from 0
    vectors: np.ndarray  # [p, 3] Å, from the first atom to the second
    volume: float  # Å³
    forces: np.ndarray  # [n, 3] eV/Å
    stress: np.ndarray  # [6] eV/Å³, xx yy zz yz xz xy, tension positive


@dataclass(frozen=True)
class StressScale:
    """Comparison of stresses with estimates from forces: ratio of magnitudes, and correlation (-1 to 1)."""

    ratio: float
    correlation: float


def stress_scale(cells: Sequence[Cell]) -> StressScale | None:
    """Compare the stresses of the cells with estimates from their forces; return None without an estimate."""
    n_kinds = max((int(cell.kinds.max()) + 1 for cell in cells if len(cell.kinds)), default=0)
    forces = np.concatenate([cell.forces.ravel() for cell in cells])
    if not n_kinds or np.sqrt(np.mean(forces**2)) < _LEAST_FORCE_EV_PER_ANGSTROM:
        return None
    responses = [_responses(cell, n_kinds) for cell in cells]
    design = np.concatenate([of_forces for of_forces, _ in responses])
    normal = design.T @ design
    ridge = _RIDGE * np.trace(normal) / len(normal)
    weights = np.linalg.solve(normal + ridge * np.eye(len(normal)), design.T @ forces)
    implied = _traceless(np.array([of_stress @ weights for _, of_stress in responses]))
    given = _traceless(np.array([cell.stress for cell in cells]))
    norms = np.linalg.norm(implied), np.linalg.norm(given)
    if min(norms) == 0:
        return None
    return StressScale(float(norms[1] / norms[0]), float(np.sum(implied * given) / (norms[0] * norms[1])))


def pair_forces(cell: Cell) -> np.ndarray:
    """Return the force of each Gaussian of unit weight on each atom ``[3n, m]``; by symmetry all may vanish."""
    return _responses(cell, int(cell.kinds.max(initial=0)) + 1)[0]


def _responses(cell: Cell, n_kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the forces ``[3n, m]`` in eV/Å and the stress ``[6, m]`` in eV/Å³ of each Gaussian of unit weight."""
    distances = np.linalg.norm(cell.vectors, axis=1)[:, None]
    centres = np.linspace(_SHORTEST_ANGSTROM, CUTOFF_ANGSTROM, _N_GAUSSIANS)
    width = centres[1] - centres[0]
    pushes = np.exp(-0.5 * ((distances - centres) / width) ** 2) * (1 - (distances / CUTOFF_ANGSTROM) ** 2) ** 2
    directions = cell.vectors / distances
    columns = cell.kinds[:, None] * _N_GAUSSIANS + np.arange(_N_GAUSSIANS)
    of_forces = np.zeros((len(cell.forces), 3, n_kinds * _N_GAUSSIANS))
    of_stress = np.zeros((6, n_kinds * _N_GAUSSIANS))
    for axis in range(3):
        np.add.at(of_forces[:, axis], (cell.first[:, None], columns), -directions[:, axis, None] * pushes)
    for row, (one, other) in enumerate(_VOIGT):
        products = (directions[:, one] * cell.vectors[:, other])[:, None]
        np.add.at(of_stress[row], columns, -products * pushes / (2 * cell.volume))
    return of_forces.reshape(-1, n_kinds * _N_GAUSSIANS), of_stress


def _traceless(stresses: np.ndarray) -> np.ndarray:
    """Return stresses ``[n, 6]`` without their mean normal part."""
    result = stresses.copy()
    result[:, :3] -= stresses[:, :3].mean(axis=1, keepdims=True)
    return result
