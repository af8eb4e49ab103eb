from __future__ import annotations

import numpy as np
import pytest
from program_runs import chgnet_file, example_arrays, mixed_indices, run_program

from aiida_mghdiff.formats.frames import frames_from_arrays
from aiida_mghdiff.programs import job, training
from aiida_mghdiff.programs.chgnet import train as chgnet_train
from aiida_mghdiff.workflows.train import TrainWorkChain

CHGNET = {'architecture': 'chgnet', 'elements': ['H', 'Mg'], 'head': None, 'dtype': 'float32'}


def parameters(**changes):
    return TrainWorkChain.get_parameters('chgnet', 'fine-tune', 'smoke') | {'batch_size': 2} | changes


@pytest.fixture(scope='module')
def datasets():
    return {'training': example_arrays(mixed_indices(4)), 'validation': example_arrays(mixed_indices(3, start=2))}


def own_errors(path, arrays):
    """Return the errors according to CHGNet's own calculator, in the units of the results."""
    from chgnet.model.dynamics import CHGNetCalculator
    from chgnet.model.model import CHGNet

    calculator = CHGNetCalculator(CHGNet.from_file(str(path)), use_device='cpu')
    errors = {'energy': [], 'force': [], 'stress': []}
    for atoms in frames_from_arrays(arrays):
        labels, atoms.calc = atoms.calc.results, calculator
        errors['energy'].append((atoms.get_potential_energy() - labels['energy']) / len(atoms))
        errors['force'] += list(atoms.get_forces() - labels['forces'])
        stress = atoms.get_stress(voigt=False)
        errors['stress'].append(stress - frames_stress(labels['stress']))
    return {key: 1e3 * np.sqrt(np.mean(np.square(values))) for key, values in errors.items()}


def frames_stress(voigt):
    from ase.stress import voigt_6_to_full_3x3_stress

    return voigt_6_to_full_3x3_stress(voigt)


def test_fine_tuning(tmp_path, datasets):
    results = run_program(
        tmp_path, 'chgnet.train', datasets, (chgnet_file(), CHGNET), parameters=parameters(max_num_epochs=3)
    )
    assert results['completed']
    assert results['e0s_rank'] == 2
    assert results['n_training_per_epoch'] == results['n_training'] == len(datasets['training']['natoms'])
    first, best = results['validation_initial'], results['validation']
    assert best['force_rmse_mev_per_angstrom'] < first['force_rmse_mev_per_angstrom']
    found = own_errors(tmp_path / 'trained.model', datasets['validation'])
    assert found['energy'] == pytest.approx(best['energy_rmse_mev_per_atom'], rel=1e-3)
    assert found['force'] == pytest.approx(best['force_rmse_mev_per_angstrom'], rel=1e-3)
    assert found['stress'] == pytest.approx(best['stress_rmse_mev_per_angstrom3'], rel=1e-3)
    rates = np.load(tmp_path / 'learning_curves.npz')['learning_rate_train']
    assert rates[-1] == pytest.approx(0.01 * 0.01, rel=1e-6)


def test_offsets_are_fitted_before_the_first_step(tmp_path, datasets):
    shift = {'H': 2.0, 'Mg': -0.5}
    shifted = {name: dict(arrays) for name, arrays in datasets.items()}
    for arrays in shifted.values():
        arrays['energies'] = arrays['energies'] + training.element_counts(arrays, [1, 12]) @ list(shift.values())
    results = run_program(tmp_path, 'chgnet.train', shifted, (chgnet_file(), CHGNET), parameters=parameters())
    assert results['validation_initial']['energy_rmse_mev_per_atom'] < 30


def test_asked_offsets_are_in_the_model(tmp_path, datasets):
    from chgnet.model.model import CHGNet

    asked = {'H': -3.3, 'Mg': -1.7}
    run_program(tmp_path, 'chgnet.train', datasets, (chgnet_file(), CHGNET), parameters=parameters(E0s=asked))
    weights = CHGNet.from_file(str(tmp_path / 'trained.model')).composition_model.fc.weight[0]
    assert weights[[0, 11]].tolist() == pytest.approx([-3.3, -1.7])


def test_ignored_offsets_are_noticed(tmp_path, datasets, monkeypatch):
    monkeypatch.setattr(chgnet_train.ChgnetTrainer, 'set_e0s', lambda *_: None)
    with pytest.raises(job.ProgramError) as error:
        run_program(tmp_path, 'chgnet.train', datasets, (chgnet_file(), CHGNET), parameters=parameters())
    assert error.value.name == 'E0S_IGNORED'


def test_replaced_structures_are_noticed(tmp_path, datasets):
    arrays = {name: dict(values) for name, values in datasets.items()}
    spread = arrays['training']['cells'].copy()
    spread[1] *= 20  # atoms without neighbours: CHGNet makes no graph
    ends = np.cumsum(arrays['training']['natoms'])
    positions = arrays['training']['positions'].copy()
    positions[ends[0] : ends[1]] *= 20
    arrays['training'] |= {'cells': spread, 'positions': positions}
    with pytest.raises(job.ProgramError, match=r'1 \(') as error:
        run_program(tmp_path, 'chgnet.train', arrays, (chgnet_file(), CHGNET), parameters=parameters(E0s='foundation'))
    assert error.value.name == 'STRUCTURES_REPLACED'


def test_frozen_layers(tmp_path, datasets):
    frozen = TrainWorkChain.get_parameters('chgnet', 'fine-tune', 'paper')['frozen_layers']
    results = run_program(
        tmp_path, 'chgnet.train', datasets, (chgnet_file(), CHGNET), parameters=parameters(frozen_layers=frozen)
    )
    assert results['n_parameters'] == 54_082


def test_restart_equals_continuing(tmp_path, datasets, monkeypatch):
    chosen = {'parameters': parameters(max_num_epochs=3)}
    run_program(tmp_path / 'whole', 'chgnet.train', datasets, (chgnet_file(), CHGNET), **chosen)
    epochs = training._one_epoch

    def last_epoch(trainer, progress, total):
        epochs(trainer, progress, total)
        trainer.batches.clock.limit = 0.0

    monkeypatch.setattr(training, '_one_epoch', last_epoch)
    with pytest.raises(job.ProgramError) as error:
        run_program(
            tmp_path / 'parts', 'chgnet.train', datasets, (chgnet_file(), CHGNET), max_wallclock_seconds=1e4, **chosen
        )
    assert error.value.name == 'OUT_OF_WALLTIME'
    monkeypatch.undo()
    run_program(tmp_path / 'parts', 'chgnet.train', datasets, (chgnet_file(), CHGNET), **chosen)
    whole, parts = ((tmp_path / name / 'trained.model').read_bytes() for name in ('whole', 'parts'))
    assert whole == parts


def test_diverging_training(tmp_path, datasets):
    with pytest.raises(job.ProgramError) as error:
        run_program(
            tmp_path, 'chgnet.train', datasets, (chgnet_file(), CHGNET), parameters=parameters(learning_rate=1e30)
        )
    assert error.value.name == 'TRAINING_DIVERGED'


def test_corrupt_potential(tmp_path, datasets, tmp_path_factory):
    path = tmp_path_factory.mktemp('corrupt') / 'corrupt.model'
    path.write_bytes(b'this is no model')
    with pytest.raises(job.ProgramError) as error:
        run_program(tmp_path, 'chgnet.train', datasets, (path, CHGNET), parameters=parameters())
    assert error.value.name == 'POTENTIAL_UNREADABLE'


def test_isolated_atoms_are_left_alone_and_wrong_offsets_refused(tmp_path, datasets):
    isolated = {'H': -1.0, 'Mg': -0.25}
    potential = (chgnet_file(), CHGNET)
    results = run_program(
        tmp_path / 'one', 'chgnet.train', datasets, potential, parameters=parameters(), isolated_atoms=isolated
    )
    assert 'isolated atoms of the training set are not used' in results['warnings'][0]
    with pytest.raises(job.ProgramError, match='but a fit to the configurations gives') as error:
        run_program(
            tmp_path / 'two',
            'chgnet.train',
            datasets,
            potential,
            parameters=parameters(E0s={'H': -3.3, 'Mg': 1e6}),
        )
    assert error.value.name == 'INPUT_REFUSED'
