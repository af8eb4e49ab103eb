"""SOAP power spectra of atomic environments (featomic) and what a kernel on them needs.

A force field is a sum over atoms of kernels between the atom's normalised power spectrum x and those of local reference
configurations of its element, k = (x·x_b)^4 (Bartók et al., Phys. Rev. B 87, 184115 (2013),
doi:10.1103/PhysRevB.87.184115). Energies, forces and stresses are linear in the weights: their coefficients are the
rows of the design matrix, one column a local reference configuration.

Of the radial channels n, n' of two neighbours of one element only n ≤ n' is kept, times √2 where they differ: the rest
repeats it and leaves all scalar products as they are.
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
_VOIGT = [0, 4, 8, 5, 2, 1]


@dataclass(frozen=True)
class GradientBlock:
    """Derivatives of the features of one pair of neighbour elements, for the centres of one element.

    Only pairs of centre and moved atom that are within reach are stored: ``centres`` and ``atoms`` [k] (``centres``
    counts the atoms of the element), ``positions`` [k,3,f] by the position of ``atoms`` in 1/Å; ``strained`` [m] are
    centres, ``strain`` [m,3,3,f] derivatives by the strain.
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
    """The atoms of one element in one configuration: their indices, spectra of length one [n,F] and what they lost."""

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
        """Return whether derivatives by the strain are there."""
        return all(block.strain is not None for part in self.environments.values() for block in part.blocks)

    @property
    def n_bytes(self) -> int:
        """Return the size of the derivatives, which take nearly all memory."""
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

    def compute(self, atoms: Atoms, forces: bool = True, stress: bool = True) -> Descriptor:
        """Return the descriptor of a periodic configuration, with the derivatives that are asked for."""
        gradients = ['positions'] * forces + ['strain'] * (forces and stress)
        spectrum = self._calculator.compute(atoms, gradients=gradients, use_native_system=True)
        parts = {number: _Part(atoms, number, self.size) for number in self.numbers}
        for key, block in spectrum.items():
            centre, first, second = (int(value) for value in key.values)
            if centre in parts and (first, second) in self._slices and len(block.samples):
                self._add(parts[centre], (first, second), block, forces, stress)
        environments = {number: part.finish() for number, part in parts.items() if len(part.atoms)}
        return Descriptor(len(atoms), atoms.get_volume(), environments)

    def _add(self, part: _Part, pair: tuple[int, int], block: Any, forces: bool, stress: bool) -> None:
        columns, factors = self._columns[pair]
        rows = part.row_of[np.asarray(block.samples['atom'])]
        part.spectra[rows, self._slices[pair]] = block.values[:, columns] * factors
        if not forces:
            return
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
    """Return which columns (l, n, n') of a block are kept and their factors."""
    _, first, second = np.unravel_index(np.arange(angular * radial**2), (angular, radial, radial))
    kept = np.flatnonzero(first <= second) if same else np.arange(angular * radial**2)
    factors = np.where(same & (first != second), np.sqrt(2), 1.0)[kept]
    return kept, factors


def kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the kernel [n,m] of spectra [n,F] and [m,F]."""
    return (first @ second.T) ** KERNEL_POWER


def design_rows(descriptor: Descriptor, number: int, references: np.ndarray) -> np.ndarray:
    """Return what each reference of an element adds to energy per atom, forces and stress, for a weight of one.

    :param references: spectra [m,F].
    :returns: [1+3n+6, m]: energy per atom, forces atom by atom, stress (ASE's sign and order).
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
        flat = block.strain.reshape(len(block.strained), 9, -1)
        by_strain = _projected(flat, block.strained, own, spectra, overlaps)
        virial += (by_strain * slopes[block.strained][:, None]).sum(axis=0)
    rows[1 : 1 + 3 * n] = forces.reshape(3 * n, m)
    rows[1 + 3 * n :] = virial[_VOIGT] / descriptor.volume
    return rows


def _projected(
    gradient: np.ndarray, centres: np.ndarray, references: np.ndarray, spectra: np.ndarray, overlaps: np.ndarray
) -> np.ndarray:
    """Return the derivatives [k,d,m] of the overlaps, times the norm: only what turns a spectrum counts."""
    k, d, f = gradient.shape
    lengthening = np.einsum('kdf,kf->kd', gradient, spectra[centres])
    turned = (gradient.reshape(k * d, f) @ references).reshape(k, d, -1)
    return turned - lengthening[:, :, None] * overlaps[centres][:, None, :]
