"""Errors of a potential on a labelled dataset."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase.data import chemical_symbols

from aiida_mghdiff.calculations.exit_codes import MismatchError, refusing
from aiida_mghdiff.data.arrays import NotFiniteError, require_finite
from aiida_mghdiff.data.dataset import DatasetData, converged_message, formulas_of
from aiida_mghdiff.data.results import CompositionErrors, EnergyErrors, ErrorMetrics, ForceErrors, StressErrors
from aiida_mghdiff.science import metrics
from aiida_mghdiff.science.units import EV_IN_MEV, EV_PER_ANGSTROM3_IN_GPA

Arrays = dict[str, np.ndarray]


@refusing(MismatchError, NotFiniteError)
@calcfunction
def error_metrics(dataset: DatasetData, predictions: orm.ArrayData) -> orm.Dict:
    """Return RMSE, MAE and R² of energies, forces and, if every configuration has a stress, stresses.

    ``energy_*`` is per atom and raw; ``energy_*_shifted`` is after removing the constant shift of each composition,
    over compositions with several configurations (null without such a composition). ``by_element`` has the errors of
    forces on each element, ``by_composition`` the errors of energies (shifted) and forces of each composition.

    :param predictions: arrays ``energies`` [n] in eV, ``forces`` [N,3] in eV/Å, ``stresses`` [n,6] in eV/Å³, in the
        order of the dataset.
    """
    if message := converged_message(dataset):
        raise MismatchError(message)
    labels = dataset.get_arrays()
    names = ('energies', 'forces', 'stresses') if dataset.base.attributes.get('has_stress') else ('energies', 'forces')
    predicted = {name: predictions.get_array(name) for name in names}
    for name, values in predicted.items():
        if values.shape != labels[name].shape:
            raise MismatchError(
                f'predicted {name} have shape {values.shape}, labels have {labels[name].shape}: evaluate the '
                'potential on the same dataset.'
            )
    require_finite(**predicted)
    results: ErrorMetrics = {
        **energy_metrics(labels, predicted),
        **force_errors(predicted['forces'], labels['forces']),
        'n_configurations': len(labels['natoms']),
        'by_element': element_metrics(labels, predicted),
        'by_composition': composition_metrics(labels, predicted),
    }
    return orm.Dict({**results, **(stress_metrics(labels, predicted) if 'stresses' in predicted else {})})


def energy_metrics(labels: Arrays, predicted: Arrays) -> EnergyErrors:
    """Return the errors of the energies per atom, raw and shifted, and the shifts, in meV/atom."""
    reference, found = energies_per_atom(labels, predicted)
    compositions = formulas_of(labels)
    shifts = metrics.composition_shifts(found - reference, compositions)
    shifted, kept = metrics.remove_shifts(found, compositions, shifts), metrics.have_company(compositions)
    raw, less_shifts = metrics.errors(found, reference), metrics.errors(shifted[kept], reference[kept])
    return {
        'energy_rmse_mev_per_atom': raw['rmse'],
        'energy_mae_mev_per_atom': raw['mae'],
        'energy_r2': raw['r2'],
        'energy_rmse_shifted_mev_per_atom': less_shifts['rmse'],
        'energy_mae_shifted_mev_per_atom': less_shifts['mae'],
        'energy_r2_shifted': less_shifts['r2'],
        'energy_shifts_mev_per_atom': shifts,
    }


def energies_per_atom(labels: Arrays, predicted: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Return the energies [n] of labels and predictions in meV/atom."""
    energies, found = (EV_IN_MEV * arrays['energies'] / labels['natoms'] for arrays in (labels, predicted))
    return energies, found


def composition_metrics(labels: Arrays, predicted: Arrays) -> dict[str, CompositionErrors]:
    """Return the errors of the configurations of each composition; a single configuration has no error of energy."""
    reference, found = energies_per_atom(labels, predicted)
    compositions = np.array(formulas_of(labels))
    of_atoms = np.repeat(compositions, labels['natoms'])
    results: dict[str, CompositionErrors] = {}
    for name in np.unique(compositions):
        frames, atoms = compositions == name, of_atoms == name
        errors = force_errors(predicted['forces'][atoms], labels['forces'][atoms])
        results[str(name)] = {
            'n_configurations': int(frames.sum()),
            'force_rmse_mev_per_angstrom': errors['force_rmse_mev_per_angstrom'],
            'force_mae_mev_per_angstrom': errors['force_mae_mev_per_angstrom'],
            'force_r2': errors['force_r2'],
        }
        if frames.sum() > 1:
            shifted = metrics.errors(found[frames] - (found - reference)[frames].mean(), reference[frames])
            results[str(name)]['energy_rmse_shifted_mev_per_atom'] = shifted['rmse']
            results[str(name)]['energy_mae_shifted_mev_per_atom'] = shifted['mae']
            results[str(name)]['energy_r2_shifted'] = shifted['r2']
    return results


def element_metrics(labels: Arrays, predicted: Arrays) -> dict[str, ForceErrors]:
    """Return the errors of the forces on the atoms of each element."""
    return {
        chemical_symbols[number]: force_errors(predicted['forces'][atoms], labels['forces'][atoms])
        for number in np.unique(labels['numbers'])
        for atoms in [labels['numbers'] == number]
    }


def force_errors(found: np.ndarray, reference: np.ndarray) -> ForceErrors:
    """Return the errors of force components, given in eV/Å, in meV/Å."""
    errors = metrics.errors(EV_IN_MEV * found, EV_IN_MEV * reference)
    return {
        'force_rmse_mev_per_angstrom': errors['rmse'],
        'force_mae_mev_per_angstrom': errors['mae'],
        'force_r2': errors['r2'],
    }


def stress_metrics(labels: Arrays, predicted: Arrays) -> StressErrors:
    """Return the errors of the stress components in GPa."""
    reference, found = (EV_PER_ANGSTROM3_IN_GPA * arrays['stresses'] for arrays in (labels, predicted))
    errors = metrics.errors(found, reference)
    return {'stress_rmse_gpa': errors['rmse'], 'stress_mae_gpa': errors['mae'], 'stress_r2': errors['r2']}
