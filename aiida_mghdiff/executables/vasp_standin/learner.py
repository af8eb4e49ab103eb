"""Learning of a force field from labelled configurations, by local reference configurations and regression.

The rows of the design matrix are kept. A new configuration adds rows; a new reference adds columns, so that old
configurations are evaluated only for new references.

A force field depends only on the configurations, their order and the references. An ML_AB file holds all of these, so
that a run that continues from ML_AB starts with the same force field.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from ase import Atoms

from aiida_mghdiff.executables.vasp_standin import regression
from aiida_mghdiff.executables.vasp_standin.force_field import ForceField, Labels
from aiida_mghdiff.executables.vasp_standin.references import References
from aiida_mghdiff.executables.vasp_standin.soap import Descriptor, Soap, design_rows
from aiida_mghdiff.formats.ml_logfile import BayesianErrors, TrainingErrors
from aiida_mghdiff.science.units import KBAR_IN_EV_PER_ANGSTROM3

#: Unit of the labels' noise in eV/atom, eV/Å and eV/Å³; the tags ML_WTOTEN, ML_WTIFOR and ML_WTSIF divide it.
NOISE = (0.005, 0.5, 0.01)
#: Descriptors are kept in memory up to this total size; all others are computed again.
_KEPT_BYTES = 400_000_000


@dataclass(frozen=True)
class Configuration:
    """A labelled configuration of ML_AB: atoms wrapped into the cell, and the threshold in eV/Å at its sampling."""

    atoms: Atoms
    labels: Labels
    ctifor: float


class Learner:
    """Configurations, references and the force field fitted to them."""

    def __init__(
        self, numbers: list[int], max_references: int, weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ) -> None:
        """Start without configurations.

        :param numbers: elements in the order of POSCAR.
        :param weights: ML_WTOTEN, ML_WTIFOR and ML_WTSIF.
        """
        self.numbers, self.max_references = numbers, max_references
        self.soap = Soap(numbers)
        self.configurations: list[Configuration] = []
        self.references = {number: References(self.soap.size) for number in numbers}
        self.force_field: ForceField | None = None
        self.posterior: regression.Posterior  # set by the first fit, as are the errors
        self.training_errors: TrainingErrors
        self._scales = tuple(weight / noise for weight, noise in zip(weights, NOISE, strict=True))
        self._rows: list[dict[int, np.ndarray]] = []
        self._descriptors: dict[int, Descriptor] = {}

    def add(self, configurations: list[Configuration]) -> None:
        """Add labelled configurations, choose references among their atoms, and fit."""
        for configuration in configurations:
            self._append(configuration)
            descriptor = self._descriptor(len(self.configurations) - 1)
            for number, part in descriptor.environments.items():
                origins = [(len(self.configurations) - 1, int(atom)) for atom in part.atoms]
                self.references[number].select(part.spectra, origins, self.max_references)
        self.fit()

    def load(self, configurations: list[Configuration], basis: dict[int, list[tuple[int, int]]]) -> int:
        """Add the content of an ML_AB file with its references, in the order of the file, and fit.

        :param basis: for each element, configuration and atom (from 0) of its references.
        :returns: number of references that repeat others and are left out.
        """
        for configuration in configurations:
            self._append(configuration)
        wanted = {index for origins in basis.values() for index, _ in origins}
        spectra = {index: self._descriptor(index) for index in sorted(wanted)}
        left_out = 0
        for number, origins in basis.items():
            for index, atom in origins:
                part = spectra[index].environments[number]
                row = int(np.flatnonzero(part.atoms == atom)[0])
                left_out += not self.references[number].load(part.spectra[row : row + 1], (index, atom))
        self.fit()
        return left_out

    def _append(self, configuration: Configuration) -> None:
        self.configurations.append(configuration)
        self._rows.append({number: np.empty((7 + 3 * len(configuration.atoms), 0)) for number in self.numbers})

    def _descriptor(self, index: int) -> Descriptor:
        if index in self._descriptors:
            return self._descriptors[index]
        descriptor = self.soap.compute(self.configurations[index].atoms)
        if sum(kept.n_bytes for kept in self._descriptors.values()) + descriptor.n_bytes < _KEPT_BYTES:
            self._descriptors[index] = descriptor
        return descriptor

    def fit(self) -> None:
        """Compute the force field and its errors from all configurations."""
        self._complete_rows()
        offsets = np.cumsum([0, *(7 + 3 * len(item.atoms) for item in self.configurations)])
        energies = self._element_energies()
        scales, labels = np.empty(offsets[-1]), np.empty(offsets[-1])
        design = np.empty((offsets[-1], sum(map(len, self.references.values()))))
        for configuration, rows, (first, last) in zip(self.configurations, self._rows, pairwise(offsets), strict=True):
            scales[first:last] = self._row_scales(len(configuration.atoms))
            labels[first:last] = _label_vector(configuration, energies)
            design[first:last] = np.hstack([rows[number] for number in self.numbers])
        design *= scales[:, None]
        self.posterior = regression.fit(design.copy(order='F'), labels * scales)
        self.training_errors = _errors((design @ self.posterior.mean) / scales - labels, offsets)
        splits = np.cumsum([len(self.references[number]) for number in self.numbers])[:-1]
        parts = np.split(self.posterior.mean, splits)
        self.force_field = ForceField(
            {number: self.references[number].spectra for number in self.numbers},
            dict(zip(self.numbers, parts, strict=True)),
            energies,
            len(self.configurations),
        )

    def _complete_rows(self) -> None:
        """Compute the missing columns of the rows."""
        for index, rows in enumerate(self._rows):
            missing = {
                number: references.spectra[rows[number].shape[1] :]
                for number, references in self.references.items()
                if rows[number].shape[1] < len(references)
            }
            if missing:
                descriptor = self._descriptor(index)
                for number, spectra in missing.items():
                    rows[number] = np.hstack([rows[number], design_rows(descriptor, number, spectra)])

    def _row_scales(self, n_atoms: int) -> np.ndarray:
        energy, force, stress = self._scales
        return np.r_[energy, np.full(3 * n_atoms, force), np.full(6, stress)]

    def _element_energies(self) -> dict[int, float]:
        """Return energies of the elements in eV per atom: the least-squares fit of smallest norm to the labels."""
        counts = np.array(
            [[(item.atoms.numbers == number).sum() for number in self.numbers] for item in self.configurations]
        )
        per_atom = counts / counts.sum(axis=1, keepdims=True)
        labels = np.array([item.labels.energy / len(item.atoms) for item in self.configurations])
        solution = np.linalg.lstsq(per_atom, labels, rcond=1e-8)[0]
        return dict(zip(self.numbers, solution.tolist(), strict=True))

    def predict(self, atoms: Atoms) -> tuple[Labels, BayesianErrors]:
        """Return the labels that the force field predicts for a configuration, and their Bayesian errors."""
        descriptor = self.soap.compute(atoms)
        rows = np.hstack([design_rows(descriptor, number, self.references[number].spectra) for number in self.numbers])
        values = rows @ self.posterior.mean
        assert self.force_field is not None  # callers check this first
        reference = sum(self.force_field.energies[int(number)] for number in atoms.numbers)
        energy = float(values[0] * len(atoms) + reference)
        labels = Labels(energy, energy, values[1:-6].reshape(-1, 3), values[-6:])
        return labels, _bayesian_errors(self.posterior.deviations(rows))

    def basis(self) -> dict[int, np.ndarray]:
        """Return the references of each element as in ML_AB: configuration and atom, counted from 1, [m,2]."""
        return {
            number: np.array(references.origins, dtype=np.int64).reshape(-1, 2) + 1
            for number, references in self.references.items()
        }


def wrapped(atoms: Atoms, labels: Labels, ctifor: float) -> Configuration:
    """Return a configuration with atoms wrapped into the cell."""
    inside = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    inside.wrap(eps=0)
    return Configuration(inside, replace(labels, forces=labels.forces.copy(), stress=labels.stress.copy()), ctifor)


def _label_vector(configuration: Configuration, energies: dict[int, float]) -> np.ndarray:
    atoms, labels = configuration.atoms, configuration.labels
    reference = sum(energies[int(number)] for number in atoms.numbers)
    return np.r_[(labels.energy - reference) / len(atoms), labels.forces.ravel(), labels.stress]


def _errors(residuals: np.ndarray, offsets: np.ndarray) -> TrainingErrors:
    parts = [residuals[first:last] for first, last in pairwise(offsets)]
    squares = [np.concatenate(group) ** 2 for group in zip(*((p[:1], p[1:-6], p[-6:]) for p in parts), strict=True)]
    energy, force, stress = (float(np.sqrt(group.mean())) for group in squares)
    return TrainingErrors(energy, force, stress / KBAR_IN_EV_PER_ANGSTROM3)


def _bayesian_errors(deviations: np.ndarray) -> BayesianErrors:
    forces = np.sqrt((deviations[1:-6].reshape(-1, 3) ** 2).mean(axis=1))
    stresses = deviations[-6:] / KBAR_IN_EV_PER_ANGSTROM3
    values = (deviations[0], forces.max(), forces.mean(), stresses.max(), stresses.mean())
    return BayesianErrors(*map(float, values))
