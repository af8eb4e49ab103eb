"""A learned force field: local reference configurations, weights and the energies of the elements.

It contracts the derivatives of the spectra once and needs no design matrix, so that molecular dynamics is fast. Its
numpy ``npz`` is the payload of the stand-in's ML_FF file.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from scipy.linalg import cholesky, solve_triangular

from aiida_mghdiff.executables.vasp_standin.soap import (
    KERNEL_POWER,
    VOIGT,
    Descriptor,
    Environments,
    GradientBlock,
    Soap,
    kernel,
)

#: Added to the kernel matrix of the references, whose smallest eigenvalues are as small as rounding errors.
JITTER = 1e-10


@dataclass(frozen=True)
class Labels:
    """Energy (free energy, eV), energy at zero smearing (eV), forces (eV/Å) and stress (eV/Å³, ASE's sign)."""

    energy: float
    energy_sigma0: float
    forces: np.ndarray
    stress: np.ndarray


def deciding_labels(learned: Labels | None, first_principles: Labels | None) -> Labels:
    """Return the labels that move the atoms: first principles if present."""
    labels = first_principles or learned
    assert labels is not None  # every step has either
    return labels


class ForceField:
    """Energies, forces and stresses of configurations."""

    def __init__(
        self,
        references: dict[int, np.ndarray],
        weights: dict[int, np.ndarray],
        energies: dict[int, float],
        n_configurations: int,
    ) -> None:
        """Make a force field; all arguments are by element.

        :param references: spectra [m,F].
        :param weights: [m].
        :param energies: energy of an atom in eV.
        """
        self.references, self.weights, self.energies = references, weights, energies
        self.n_configurations = n_configurations
        self.soap = Soap(list(references))

    def evaluate(self, atoms: Atoms) -> Labels:
        """Return the labels of a configuration."""
        return self.evaluate_descriptor(self.soap.compute(atoms), atoms.numbers)

    def evaluate_descriptor(self, descriptor: Descriptor, numbers: np.ndarray) -> Labels:
        """Return the labels of a configuration; if its descriptor has no derivatives by strain, the stress is NaN."""
        energy = sum(self.energies[int(number)] for number in numbers)
        forces, virial = np.zeros((descriptor.n_atoms, 3)), np.zeros(9)
        for number, part in descriptor.environments.items():
            overlaps = part.spectra @ self.references[number].T
            energy += float((overlaps**KERNEL_POWER @ self.weights[number]).sum())
            gradient = self._spectral_gradient(part, overlaps, number)
            for block in part.blocks:
                forces -= _forces(block, gradient, descriptor.n_atoms)
                if block.strain is not None:
                    virial += np.einsum('mabf,mf->ab', block.strain, gradient[block.strained, block.columns]).ravel()
        stress = virial[VOIGT] / descriptor.volume if descriptor.has_stress else np.full(6, np.nan)
        return Labels(energy, energy, forces, stress)

    def _spectral_gradient(self, part: Environments, overlaps: np.ndarray, number: int) -> np.ndarray:
        """Return the derivative [n,F] of the energy by the unnormalised spectra."""
        slopes = KERNEL_POWER * overlaps ** (KERNEL_POWER - 1) * self.weights[number]
        by_spectrum = slopes @ self.references[number]
        along = (by_spectrum * part.spectra).sum(axis=1)
        return (by_spectrum - along[:, None] * part.spectra) / part.norms[:, None]

    def spilling(self, descriptor: Descriptor) -> np.ndarray:
        """Return the spilling factor of every atom: the part of its kernel that the references do not span."""
        spilling = np.ones(descriptor.n_atoms)
        for number, part in descriptor.environments.items():
            if not len(self.references[number]):
                continue
            spanned = solve_triangular(self._factors[number], kernel(self.references[number], part.spectra), lower=True)
            spilling[part.atoms] = 1 - (spanned**2).sum(axis=0)
        return spilling

    @cached_property
    def _factors(self) -> dict[int, np.ndarray]:
        return {
            number: cholesky(kernel(spectra, spectra) + JITTER * np.eye(len(spectra)), lower=True)
            for number, spectra in self.references.items()
            if len(spectra)
        }

    def to_bytes(self) -> bytes:
        """Return the bytes of an ``npz`` file; equal force fields give equal bytes."""
        arrays = {'n_configurations': np.array(self.n_configurations)}
        for number in sorted(self.references):
            arrays[f'references_{number}'] = self.references[number]
            arrays[f'weights_{number}'] = self.weights[number]
            arrays[f'energy_{number}'] = np.array(self.energies[number])
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> ForceField:
        """Return the force field from the bytes of :meth:`to_bytes`.

        :raises ValueError, KeyError, OSError: for damaged content.
        """
        with np.load(io.BytesIO(content)) as arrays:
            numbers = [int(name.split('_')[1]) for name in arrays.files if name.startswith('weights_')]
            return cls(
                {number: arrays[f'references_{number}'] for number in numbers},
                {number: arrays[f'weights_{number}'] for number in numbers},
                {number: float(arrays[f'energy_{number}']) for number in numbers},
                int(arrays['n_configurations']),
            )


def _forces(block: GradientBlock, gradient: np.ndarray, n_atoms: int) -> np.ndarray:
    """Return the derivatives [n,3] of the energy by the positions through one block."""
    pairs = np.matmul(block.positions, gradient[block.centres, block.columns][:, :, None])[:, :, 0]
    return np.stack([np.bincount(block.atoms, pairs[:, axis], n_atoms) for axis in range(3)], axis=1)
