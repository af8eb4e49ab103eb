"""Errors of a potential on a labelled dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase.data import chemical_symbols

from aiida_mghdiff.calculations.exit_codes import MismatchError, NotFiniteError, refusing, require_finite
from aiida_mghdiff.data.dataset import DatasetData, formulas_of
from aiida_mghdiff.science import metrics
from aiida_mghdiff.science.units import EV_IN_MEV, EV_PER_ANGSTROM3_IN_GPA

Arrays = dict[str, np.ndarray]


@refusing(MismatchError, NotFiniteError)
@calcfunction
def error_metrics(dataset: DatasetData, predictions: orm.ArrayData) -> orm.Dict:
    """Return RMSE, MAE and R² of energies, forces, and stresses where every configuration has one.

    ``energy_*`` is per atom and raw, ``energy_*_shifted`` after the constant shift of each composition is removed: of
    compositions with several configurations, null where there is none;
    ``by_element`` has the errors of forces on each element, ``by_composition`` those of energies (shifted) and forces
    of each composition.

    :param predictions: arrays ``energies`` [n] in eV, ``forces`` [N,3] in eV/Å, ``stresses`` [n,6] in eV/Å³, in the
        order of the dataset.
    """
    labels = dataset.get_arrays()
    names = ('energies', 'forces', 'stresses') if dataset.base.attributes.get('has_stress') else ('energies', 'forces')
    predicted = {name: predictions.get_array(name) for name in names}
    for name, values in predicted.items():
        if values.shape != labels[name].shape:
            raise MismatchError(
                f'predicted {name} have shape {values.shape}, those of the dataset {labels[name].shape}: evaluate the '
                'potential on this very dataset.'
            )
    require_finite(**predicted)
    results: dict[str, Any] = {'n_configurations': len(labels['natoms'])}
    results |= energy_metrics(labels, predicted) | force_metrics(labels, predicted)
    results['by_composition'] = composition_metrics(labels, predicted)
    return orm.Dict(results | stress_metrics(labels, predicted) if 'stresses' in predicted else results)


def energy_metrics(labels: Arrays, predicted: Arrays) -> dict[str, Any]:
    """Return the errors of the energies per atom, raw and shifted, and the shifts, in meV/atom."""
    reference, found = energies_per_atom(labels, predicted)
    compositions = formulas_of(labels)
    shifts = metrics.composition_shifts(found - reference, compositions)
    shifted, kept = metrics.remove_shifts(found, compositions, shifts), metrics.have_company(compositions)
    return (
        named(metrics.errors(found, reference), 'energy', 'mev_per_atom')
        | named(metrics.errors(shifted[kept], reference[kept]), 'energy', 'mev_per_atom', '_shifted')
        | {'energy_shifts_mev_per_atom': shifts}
    )


def energies_per_atom(labels: Arrays, predicted: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Return the energies [n] of the labels and the predicted ones in meV/atom."""
    energies, found = (EV_IN_MEV * arrays['energies'] / labels['natoms'] for arrays in (labels, predicted))
    return energies, found


def composition_metrics(labels: Arrays, predicted: Arrays) -> dict[str, dict[str, Any]]:
    """Return the errors of the configurations of each composition; a single one has no error of energy."""
    reference, found = energies_per_atom(labels, predicted)
    compositions = np.array(formulas_of(labels))
    of_atoms = np.repeat(compositions, labels['natoms'])
    results: dict[str, dict[str, Any]] = {}
    for name in np.unique(compositions):
        frames, atoms = compositions == name, of_atoms == name
        forces = (EV_IN_MEV * arrays['forces'][atoms] for arrays in (predicted, labels))
        results[str(name)] = {'n_configurations': int(frames.sum())}
        results[str(name)] |= named(metrics.errors(*forces), 'force', 'mev_per_angstrom')
        if frames.sum() > 1:
            shifted = found[frames] - (found - reference)[frames].mean()
            results[str(name)] |= named(
                metrics.errors(shifted, reference[frames]), 'energy', 'mev_per_atom', '_shifted'
            )
    return results


def force_metrics(labels: Arrays, predicted: Arrays) -> dict[str, Any]:
    """Return the errors of the force components in meV/Å, over all atoms and for each element."""
    reference, found = EV_IN_MEV * labels['forces'], EV_IN_MEV * predicted['forces']
    by_element = {
        chemical_symbols[number]: named(metrics.errors(found[atoms], reference[atoms]), 'force', 'mev_per_angstrom')
        for number in np.unique(labels['numbers'])
        for atoms in [labels['numbers'] == number]
    }
    return named(metrics.errors(found, reference), 'force', 'mev_per_angstrom') | {'by_element': by_element}


def stress_metrics(labels: Arrays, predicted: Arrays) -> dict[str, Any]:
    """Return the errors of the stress components in GPa."""
    reference, found = (EV_PER_ANGSTROM3_IN_GPA * arrays['stresses'] for arrays in (labels, predicted))
    return named(metrics.errors(found, reference), 'stress', 'gpa')


def named(errors: dict[str, float | None], quantity: str, unit: str, suffix: str = '') -> dict[str, float | None]:
    """Return errors by names that say what they are of, and in which unit."""
    return {
        f'{quantity}_rmse{suffix}_{unit}': errors['rmse'],
        f'{quantity}_mae{suffix}_{unit}': errors['mae'],
        f'{quantity}_r2{suffix}': errors['r2'],
    }
