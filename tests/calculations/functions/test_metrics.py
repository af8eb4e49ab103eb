"""Errors of predictions on a dataset node."""

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mghdiff.calculations.functions.metrics import error_metrics
from aiida_mghdiff.data.dataset import DatasetData


def make_dataset(stress=True):
    rng = np.random.default_rng(1)
    frames = []
    for symbols in ('Mg2H', 'Mg2H', 'Mg2', 'Mg2'):
        atoms = Atoms(symbols, rng.normal(size=(len(Atoms(symbols)), 3)), cell=np.eye(3) * 5, pbc=True)
        labels = {'energy': rng.normal(), 'forces': rng.normal(size=(len(atoms), 3))}
        labels |= {'stress': rng.normal(size=6)} if stress else {}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return DatasetData.from_frames(frames, labelled_by='vasp', allow_implausible=True)


def predict(dataset, energies=0.0, forces=0.0, stresses=0.0):
    labels = dataset.get_arrays()
    return orm.ArrayData(
        {
            'energies': labels['energies'] + energies,
            'forces': labels['forces'] + forces,
            'stresses': np.nan_to_num(labels['stresses']) + stresses,
        }
    )


def test_perfect_predictions():
    dataset = make_dataset()
    values = error_metrics(dataset, predict(dataset)).get_dict()
    assert values['n_configurations'] == 4
    assert values['energy_rmse_mev_per_atom'] == values['force_rmse_mev_per_angstrom'] == values['stress_rmse_gpa'] == 0
    assert values['energy_r2'] == values['force_r2'] == 1


def test_errors_of_energies_raw_and_shifted():
    dataset = make_dataset()
    deviations = np.array([3.03, 2.97, 1.0, 1.0])  # eV of the cells of 3, 3, 2, 2 atoms
    values = error_metrics(dataset, predict(dataset, energies=deviations)).get_dict()
    per_atom = 1e3 * deviations / [3, 3, 2, 2]
    assert values['energy_rmse_mev_per_atom'] == pytest.approx(np.sqrt(np.mean(per_atom**2)))
    assert values['energy_mae_mev_per_atom'] == pytest.approx(np.abs(per_atom).mean())
    assert values['energy_rmse_shifted_mev_per_atom'] == pytest.approx(10 / np.sqrt(2))
    assert values['energy_shifts_mev_per_atom'] == pytest.approx({'HMg2': 1000, 'Mg2': 500})
    assert set(values['energy_shifts_mev_per_atom']) == set(dataset.base.attributes.get('formulas'))


def test_errors_of_forces_over_all_and_each_element():
    dataset = make_dataset()
    forces = np.where(dataset.get_array('numbers') == 1, 0.2, 0.1)[:, None]
    values = error_metrics(dataset, predict(dataset, forces=forces)).get_dict()
    assert values['by_element']['H']['force_rmse_mev_per_angstrom'] == pytest.approx(200)
    assert values['by_element']['Mg']['force_mae_mev_per_angstrom'] == pytest.approx(100)
    assert values['force_rmse_mev_per_angstrom'] == pytest.approx(1e3 * np.sqrt((2 * 0.04 + 8 * 0.01) / 10))


def test_errors_of_each_composition():
    dataset = make_dataset()
    deviations = np.array([3.03, 2.97, 1.0, 1.0])  # eV of the cells of 3, 3, 2, 2 atoms
    forces = np.repeat([0.3, 0.1], [6, 4])[:, None]
    found = error_metrics(dataset, predict(dataset, energies=deviations, forces=forces))['by_composition']
    assert set(found) == set(dataset.base.attributes.get('formulas')) == {'HMg2', 'Mg2'}
    assert [found[name]['n_configurations'] for name in ('HMg2', 'Mg2')] == [2, 2]
    assert found['HMg2']['energy_rmse_shifted_mev_per_atom'] == pytest.approx(10)
    assert found['Mg2']['energy_rmse_shifted_mev_per_atom'] == pytest.approx(0, abs=1e-9)
    assert found['HMg2']['force_rmse_mev_per_angstrom'] == pytest.approx(300)
    assert found['Mg2']['force_mae_mev_per_angstrom'] == pytest.approx(100)
    labels = dataset.get_array('forces')[:6]
    assert found['HMg2']['force_r2'] == pytest.approx(1 - 0.09 / np.var(labels))


def test_single_configuration_of_a_composition_has_no_error_of_energy():
    dataset = make_dataset().select([0, 2, 3])
    found = error_metrics(dataset, predict(dataset))['by_composition']
    assert 'energy_rmse_shifted_mev_per_atom' not in found['HMg2']
    assert found['HMg2']['force_rmse_mev_per_angstrom'] == 0
    assert found['Mg2']['energy_r2_shifted'] == 1


def test_configurations_that_stand_alone_have_no_shifted_error():
    """If a composition occurs once, the shift would make its error zero, which says nothing."""
    dataset = make_dataset()
    keys = ('energy_rmse_shifted_mev_per_atom', 'energy_mae_shifted_mev_per_atom', 'energy_r2_shifted')
    alone = dataset.select([0, 2])
    values = error_metrics(alone, predict(alone, energies=np.array([0.3, 0.1]))).get_dict()
    assert [values[key] for key in keys] == [None, None, None]
    assert values['energy_rmse_mev_per_atom'] > 50
    mixed = dataset.select([0, 2, 3])
    values = error_metrics(mixed, predict(mixed, energies=np.array([9.0, 0.02, -0.02]))).get_dict()
    assert values['energy_rmse_shifted_mev_per_atom'] == pytest.approx(10)


def test_errors_of_stresses():
    dataset = make_dataset()
    values = error_metrics(dataset, predict(dataset, stresses=0.01)).get_dict()
    assert values['stress_rmse_gpa'] == pytest.approx(1.602176634)


def test_dataset_without_stresses():
    dataset = make_dataset(stress=False)
    assert not any('stress' in key for key in error_metrics(dataset, predict(dataset)).get_dict())


def test_predictions_of_another_dataset():
    dataset = make_dataset()
    other = orm.ArrayData({name: predict(dataset).get_array(name)[:-1] for name in ('energies', 'forces', 'stresses')})
    _, node = error_metrics.run_get_node(dataset, other)
    assert node.exit_status == 228
    assert 'the same dataset' in node.exit_message


def test_predictions_that_are_not_finite():
    dataset = make_dataset()
    _, node = error_metrics.run_get_node(dataset, predict(dataset, energies=np.nan))
    assert node.exit_status == 221
    assert 'energies has 4 of 4' in node.exit_message
