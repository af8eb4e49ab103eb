"""Descriptors, force field and learner: derivatives, references, cached rows, determinism."""

from __future__ import annotations

import numpy as np
import pytest
from standin_runs import hydride

from aiida_mghdiff.executables.vasp_standin import learner as learner_module
from aiida_mghdiff.executables.vasp_standin.force_field import ForceField, Labels
from aiida_mghdiff.executables.vasp_standin.learner import Learner, wrapped
from aiida_mghdiff.executables.vasp_standin.references import TOLERANCE, References
from aiida_mghdiff.executables.vasp_standin.soap import Soap, design_rows, kernel


def configurations(count, atoms=None, seed=0, amplitude=0.1):
    """Return distorted cells, labelled by a pair potential with exact derivatives."""
    from ase.calculators.morse import MorsePotential

    rng, result = np.random.default_rng(seed), []
    for _ in range(count):
        frame = (atoms or hydride()).copy()
        frame.set_cell(frame.cell @ (np.eye(3) + 0.01 * rng.normal(size=(3, 3))), scale_atoms=True)
        frame.positions += amplitude * rng.normal(size=frame.positions.shape)
        frame.calc = MorsePotential(epsilon=0.05, r0=3.2, rho0=4.0, rcut1=4.5, rcut2=5.0)
        labels = Labels(
            frame.get_potential_energy(), frame.get_potential_energy(), frame.get_forces(), frame.get_stress()
        )
        result.append(wrapped(frame, labels, 0.01))
    return result


@pytest.fixture(scope='module')
def fitted():
    learner = Learner([12, 1], 1000)
    learner.add(configurations(12))
    return learner


def test_forces_are_the_derivatives_of_the_energy(fitted):
    atoms = configurations(1, seed=3)[0].atoms
    forces = fitted.force_field.evaluate(atoms).forces
    for atom, axis in ((2, 0), (9, 1), (16, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * 1e-4
            energies.append(fitted.force_field.evaluate(moved).energy)
        assert -(energies[0] - energies[1]) / 2e-4 == pytest.approx(forces[atom, axis], abs=1e-6)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-10)


def test_stress_is_the_derivative_by_the_strain(fitted):
    atoms = configurations(1, seed=4)[0].atoms
    stress = fitted.force_field.evaluate(atoms).stress
    for index, (row, column) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[row, column] += sign * 5e-5
            strain[column, row] += sign * 5e-5
            strained = atoms.copy()
            strained.set_cell(atoms.cell @ strain, scale_atoms=True)
            energies.append(fitted.force_field.evaluate(strained).energy)
        assert (energies[0] - energies[1]) / 2e-4 / atoms.get_volume() == pytest.approx(stress[index], abs=1e-7)


def test_features_that_repeat_are_left_out_without_a_loss():
    atoms = hydride()
    atoms.rattle(0.1, seed=1)
    soap = Soap([1, 12])
    spectra = soap.compute(atoms).environments[12].spectra
    full = soap._calculator.compute(atoms).keys_to_samples('center_type')
    full = full.keys_to_properties(['neighbor_1_type', 'neighbor_2_type']).block()
    values = full.values[np.asarray(full.samples['center_type']) == 12]
    values = values / np.linalg.norm(values, axis=1)[:, None]
    np.testing.assert_allclose(spectra @ spectra.T, values @ values.T, atol=1e-12)
    assert spectra.shape[1] < values.shape[1]


def test_descriptor_does_not_feel_periodic_images_of_atoms():
    atoms = hydride()
    atoms.rattle(0.1, seed=1)
    far = atoms.copy()
    far.positions[-1] += 30 * atoms.cell[0] - 20 * atoms.cell[2]
    soap = Soap([1, 12])
    near, moved = (soap.compute(item).environments[1].spectra for item in (atoms, far))
    np.testing.assert_allclose(near, moved, atol=1e-12)


def test_prediction_is_that_of_the_force_field(fitted):
    atoms = configurations(1, seed=5)[0].atoms
    predicted, _ = fitted.predict(atoms)
    evaluated = fitted.force_field.evaluate(atoms)
    assert predicted.energy == pytest.approx(evaluated.energy, abs=1e-9)
    np.testing.assert_allclose(predicted.forces, evaluated.forces, atol=1e-10)
    np.testing.assert_allclose(predicted.stress, evaluated.stress, atol=1e-12)


def test_learns(fitted):
    """Labels come from a pair potential within the cutoff; errors of new configurations are small beside forces."""
    errors, forces, expected = [], [], []
    for item in configurations(6, seed=99):
        labels, bayesian = fitted.predict(item.atoms)
        errors.append(labels.forces - item.labels.forces)
        forces.append(item.labels.forces)
        expected.append(bayesian.max_force)
    assert np.std(errors) < 0.15 * np.std(forces)
    assert 0.1 * np.std(errors) < np.mean(expected) < 10 * np.std(errors)


def test_bayesian_error_grows_away_from_the_data(fitted):
    near = fitted.predict(fitted.configurations[0].atoms)[1].max_force
    usual = np.mean([fitted.predict(item.atoms)[1].max_force for item in configurations(3, seed=8)])
    far = np.mean([fitted.predict(item.atoms)[1].max_force for item in configurations(3, seed=8, amplitude=0.4)])
    assert near < usual < far


def test_spilling_factor(fitted):
    field = fitted.force_field
    seen = field.spilling(field.soap.compute(fitted.configurations[3].atoms))
    assert seen.max() < 2 * TOLERANCE
    far = configurations(1, seed=1, amplitude=0.5)[0].atoms
    assert field.spilling(field.soap.compute(far)).max() > 0.02


def test_old_configurations_are_not_looked_at_again(monkeypatch):
    """Old rows stay; old configurations only get columns for new references."""
    learner = Learner([12, 1], 1000)
    learner.add(configurations(4))
    rows = [{number: part.copy() for number, part in item.items()} for item in learner._rows]
    asked = []
    monkeypatch.setattr(
        learner_module, 'design_rows', lambda *arguments: asked.append(arguments[2].shape[0]) or design_rows(*arguments)
    )
    learner.add(configurations(1, seed=50))
    for before, after in zip(rows, learner._rows, strict=False):
        for number, part in before.items():
            np.testing.assert_array_equal(after[number][:, : part.shape[1]], part)
    new = [len(learner.references[number]) - rows[0][number].shape[1] for number in (12, 1)]
    assert set(asked[: 2 * 4]) <= set(new)


def test_rows_without_cached_descriptors(monkeypatch, fitted):
    """Memory for descriptors is limited; recomputed descriptors give the same force field."""
    monkeypatch.setattr(learner_module, '_KEPT_BYTES', 0)
    learner = Learner([12, 1], 1000)
    learner.add(fitted.configurations)
    np.testing.assert_allclose(learner.force_field.weights[12], fitted.force_field.weights[12], rtol=1e-6)


def test_force_field_follows_from_configurations_and_references(fitted):
    """Learning step by step gives the force field of a refit, for any number of steps."""
    stepwise = Learner([12, 1], 1000)
    for start in range(0, 12, 3):
        stepwise.add(fitted.configurations[start : start + 3])
    again = Learner([12, 1], 1000)
    basis = {number: [tuple(row) for row in rows - 1] for number, rows in stepwise.basis().items()}
    assert again.load(stepwise.configurations, basis) == 0
    atoms = configurations(1, seed=7)[0].atoms
    first, second = (item.force_field.evaluate(atoms) for item in (stepwise, again))
    np.testing.assert_allclose(first.forces, second.forces, atol=1e-8)
    assert first.energy == pytest.approx(second.energy, abs=1e-8)


def test_round_trip_of_a_force_field(fitted):
    content = fitted.force_field.to_bytes()
    again = ForceField.from_bytes(content)
    assert again.to_bytes() == content
    atoms = configurations(1)[0].atoms
    np.testing.assert_array_equal(again.evaluate(atoms).forces, fitted.force_field.evaluate(atoms).forces)


def test_limit_of_references():
    learner = Learner([12, 1], 10)
    learner.add(configurations(3))
    assert len(learner.references[12]) == 10


def test_selected_references_span_the_rest():
    rng = np.random.default_rng(0)
    spectra = rng.normal(size=(200, 5))
    spectra /= np.linalg.norm(spectra, axis=1)[:, None]
    references = References(5)
    references.select(spectra, [(0, index) for index in range(200)], 500)
    assert len(references) < 100
    found = 1 - (references._span(spectra) ** 2).sum(axis=0)
    assert found.max() <= TOLERANCE * 1.01
    full = kernel(references.spectra, references.spectra)
    shared = kernel(references.spectra, spectra)
    residuals = 1 - np.einsum('in,in->n', shared, np.linalg.solve(full, shared))
    np.testing.assert_allclose(residuals, found, atol=1e-7)


def test_repeated_reference_is_left_out(fitted):
    again = Learner([12, 1], 1000)
    basis = {12: [(0, 0), (0, 0), (1, 0)], 1: [(0, 16)]}
    assert again.load(fitted.configurations, basis) == 1
    assert [len(again.references[number]) for number in (12, 1)] == [2, 1]


def test_element_energies_of_several_compositions():
    both = configurations(4) + configurations(4, hydride()[:-1])
    learner = Learner([12, 1], 1000)
    learner.add(both)
    for item in both:
        predicted = learner.force_field.evaluate(item.atoms).energy
        assert predicted == pytest.approx(item.labels.energy, abs=0.01 * len(item.atoms))
