"""SOAP power spectra of atomic environments (by featomic), their kernels, and the rows of the design matrix.

A force field sums, over atoms, the kernels k = (x·x_b)^4 between the atom's normalised power spectrum x and the spectra
x_b of local reference configurations of its element (Bartók et al., Phys. Rev. B 87, 184115 (2013),
doi:10.1103/PhysRevB.87.184115). Energies, forces and stresses are linear in the weights. Their coefficients are the
rows of the design matrix, with one column for each local reference configuration.

For two neighbours of the same element, radial channels (n, n') and (n', n) are equal. Only n ≤ n' is kept, times √2 for
n < n', so that scalar products do not change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from scipy.sparse import csr_matrix

CUTOFF_ANGSTROM = 5.0
DENSITY_WIDTH_ANGSTROM = 0.4
RADIAL_FUNCTIONS = 6
MAX_ANGULAR = 3
KERNEL_POWER = 4

#: Rows of a 3x3 tensor that make the Voigt order xx, yy, zz, yz, xz, xy.
VOIGT = [0, 4, 8, 5, 2, 1]


@dataclass(frozen=True)
class GradientBlock:
    """Derivatives of the features of one pair of neighbour elements, for the centres of one element.

    Only pairs of centre and moved atom within the cutoff are stored: ``centres`` [k] (index among the atoms of the
    element), ``atoms`` [k], and ``positions`` [k,3,f], the derivatives by the position of ``atoms`` in 1/Å. ``strain``
    [m,3,3,f] has the derivatives by the strain for the centres ``strained`` [m].
    """

    columns: slice
    centres: np.ndarray
    atoms: np.ndarray
    positions: np.ndarray
    strained: np.ndarray
    strain: np.ndarray | None

    def scatter(self, n_atoms: int) -> csr_matrix:
        """Return the matrix [n,k] that sums over the pairs of each moved atom."""
        k = len(self.atoms)
        return csr_matrix((np.ones(k), (self.atoms, np.arange(k))), shape=(n_atoms, k))


@dataclass(frozen=True)
class Environments:
    """Atoms of one element in one configuration: indices [n], normalised spectra [n,F], and their norms [n]
    before normalisation."""

    atoms: np.ndarray
    spectra: np.ndarray
    norms: np.ndarray
    blocks: list[GradientBlock] = field(default_factory=list)


@dataclass(frozen=True)
class Descriptor:
    """Environments of a configuration by atomic number."""

    n_atoms: int
    volume: float
    environments: dict[int, Environments]

    @property
    def has_stress(self) -> bool:
        """Return whether all blocks have derivatives by the strain."""
        return all(block.strain is not None for part in self.environments.values() for block in part.blocks)

    @property
    def n_bytes(self) -> int:
        """Return the size of the derivatives, which use nearly all of the memory."""
        blocks = [block for part in self.environments.values() for block in part.blocks]
        return sum(block.positions.nbytes + (0 if block.strain is None else block.strain.nbytes) for block in blocks)


class Soap:
    """Computes descriptors of configurations of given elements."""

    def __init__(self, numbers: list[int]) -> None:
        """:param numbers: atomic numbers of the elements."""
        self.numbers = sorted(numbers)
        pairs = [(a, b) for index, a in enumerate(self.numbers) for b in self.numbers[index:]]
        radial, self._columns, self._slices = RADIAL_FUNCTIONS, {}, {}
        offset = 0
        for pair in pairs:
            columns, factors = _kept_columns(pair[0] == pair[1], radial, MAX_ANGULAR + 1)
            self._columns[pair] = (columns, factors)
            self._slices[pair] = slice(offset, offset + len(columns))
            offset += len(columns)
        self.size = offset

    @cached_property
    def _calculator(self) -> Any:
        from featomic import SoapPowerSpectrum

        return SoapPowerSpectrum(
            cutoff={'radius': CUTOFF_ANGSTROM, 'smoothing': {'type': 'ShiftedCosine', 'width': 0.5}},
            density={'type': 'Gaussian', 'width': DENSITY_WIDTH_ANGSTROM},
            basis={
                'type': 'TensorProduct',
                'max_angular': MAX_ANGULAR,
                'radial': {'type': 'Gto', 'max_radial': RADIAL_FUNCTIONS - 1},
            },
        )

    def compute(self, atoms: Atoms, stress: bool = True) -> Descriptor:
        """Return the descriptor of a periodic configuration, with derivatives for forces and, if requested, stress."""
        gradients = ['positions'] + ['strain'] * stress
        spectrum = self._calculator.compute(atoms, gradients=gradients, use_native_system=True)
        parts = {number: _Part(atoms, number, self.size) for number in self.numbers}
        for key, block in spectrum.items():
            centre, first, second = (int(value) for value in key.values)
            if centre in parts and (first, second) in self._slices and len(block.samples):
                self._add(parts[centre], (first, second), block, stress)
        environments = {number: part.finish() for number, part in parts.items() if len(part.atoms)}
        return Descriptor(len(atoms), atoms.get_volume(), environments)

    def _add(self, part: _Part, pair: tuple[int, int], block: Any, stress: bool) -> None:
        columns, factors = self._columns[pair]
        rows = part.row_of[np.asarray(block.samples['atom'])]
        part.spectra[rows, self._slices[pair]] = block.values[:, columns] * factors
        gradient = block.gradient('positions')
        strain, strained = None, np.empty(0, int)
        if stress:
            by_strain = block.gradient('strain')
            strained = rows[np.asarray(by_strain.samples['sample'])]
            strain = by_strain.values[..., columns] * factors
        part.blocks.append(
            GradientBlock(
                self._slices[pair],
                rows[np.asarray(gradient.samples['sample'])],
                np.asarray(gradient.samples['atom']),
                gradient.values[..., columns] * factors,
                strained,
                strain,
            )
        )


class _Part:
    """Environments of one element while they are collected."""

    def __init__(self, atoms: Atoms, number: int, size: int) -> None:
        self.atoms = np.flatnonzero(atoms.numbers == number)
        self.row_of = np.full(len(atoms), -1)
        self.row_of[self.atoms] = np.arange(len(self.atoms))
        self.spectra = np.zeros((len(self.atoms), size))
        self.blocks: list[GradientBlock] = []

    def finish(self) -> Environments:
        norms = np.linalg.norm(self.spectra, axis=1)
        return Environments(self.atoms, self.spectra / norms[:, None], norms, self.blocks)


def _kept_columns(same: bool, radial: int, angular: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the kept columns (l, n, n') of a block, and their factors."""
    _, first, second = np.unravel_index(np.arange(angular * radial**2), (angular, radial, radial))
    kept = np.flatnonzero(first <= second) if same else np.arange(angular * radial**2)
    factors = np.where(same & (first != second), np.sqrt(2), 1.0)[kept]
    return kept, factors


def kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the kernel [n,m] of spectra [n,F] and [m,F]."""
    return (first @ second.T) ** KERNEL_POWER


def design_rows(descriptor: Descriptor, number: int, references: np.ndarray) -> np.ndarray:
    """Return the contribution of each reference of an element to energy per atom, forces and stress at weight one.

    :param references: spectra [m,F].
    :returns: [1+3n+6, m]: energy per atom, forces of all atoms, stress (ASE's sign and order).
    """
    n, m = descriptor.n_atoms, len(references)
    rows = np.zeros((7 + 3 * n, m))
    part = descriptor.environments.get(number)
    if part is None or m == 0:
        return rows
    overlaps = part.spectra @ references.T
    rows[0] = (overlaps**KERNEL_POWER).sum(axis=0) / n
    slopes = KERNEL_POWER * overlaps ** (KERNEL_POWER - 1) / part.norms[:, None]
    forces, virial = np.zeros((n, 3, m)), np.zeros((9, m))
    for block in part.blocks:
        own = references[:, block.columns].T
        spectra = part.spectra[:, block.columns]
        change = _projected(block.positions, block.centres, own, spectra, overlaps) * slopes[block.centres][:, None]
        forces -= (block.scatter(n) @ change.reshape(len(change), -1)).reshape(n, 3, m)
        assert block.strain is not None  # descriptors for learning include the strain
        flat = block.strain.reshape(len(block.strained), 9, -1)
        by_strain = _projected(flat, block.strained, own, spectra, overlaps)
        virial += (by_strain * slopes[block.strained][:, None]).sum(axis=0)
    rows[1 : 1 + 3 * n] = forces.reshape(3 * n, m)
    rows[1 + 3 * n :] = virial[VOIGT] / descriptor.volume
    return rows


def _projected(
    gradient: np.ndarray, centres: np.ndarray, references: np.ndarray, spectra: np.ndarray, overlaps: np.ndarray
) -> np.ndarray:
    """Return the derivatives [k,d,m] of the overlaps, times the norm; changes of a spectrum's length cancel."""
    k, d, f = gradient.shape
    lengthening = np.einsum('kdf,kf->kd', gradient, spectra[centres])
    turned = (gradient.reshape(k * d, f) @ references).reshape(k, d, -1)
    return turned - lengthening[:, :, None] * overlaps[centres][:, None, :]
