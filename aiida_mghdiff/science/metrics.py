"""Errors of predicted energies, forces and stresses against labels.

Energies are compared in eV/atom, raw and after the constant shift of each composition is removed. Codes and settings
shift total energies of the same atoms; this shift is no error of a potential, and does not move an atom. The shift is
the mean deviation of the configurations of one composition. A single configuration of its composition would always have
an error of zero, so it is left out of the shifted errors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def errors(predicted: np.ndarray, reference: np.ndarray) -> dict[str, float | None]:
    """Return rmse, mae and r2 of arrays of the same shape; None for empty arrays, r2 also for a constant reference.

    r2 is the coefficient of determination, 1 - sum of squared deviations / sum of squares about the mean.
    """
    deviations = np.asarray(predicted, float) - np.asarray(reference, float)
    if not deviations.size:
        return {'rmse': None, 'mae': None, 'r2': None}
    spread = float(np.square(reference - np.mean(reference)).sum())
    return {
        'rmse': float(np.sqrt(np.square(deviations).mean())),
        'mae': float(np.abs(deviations).mean()),
        'r2': 1 - float(np.square(deviations).sum()) / spread if spread > 0 else None,
    }


def have_company(compositions: Sequence[str]) -> np.ndarray:
    """Return for each configuration [n] whether another configuration has the same composition."""
    _, which, counts = np.unique(compositions, return_inverse=True, return_counts=True)
    return counts[which] > 1


def composition_shifts(deviations: np.ndarray, compositions: Sequence[str]) -> dict[str, float]:
    """Return the mean deviation of each composition.

    :param deviations: predicted less reference energies per atom [n].
    :param compositions: formula of each configuration [n].
    """
    names = np.asarray(compositions)
    return {str(name): float(deviations[names == name].mean()) for name in np.unique(names)}


def remove_shifts(values: np.ndarray, compositions: Sequence[str], shifts: dict[str, float]) -> np.ndarray:
    """Return values [n] less the shift of their composition."""
    return values - np.array([shifts[name] for name in compositions])
