from __future__ import annotations

import numpy as np
import pytest
from ase.io import read
from models import make_tiny_mace
from program_runs import example_arrays, mixed_indices, reset_torch, run_program

from aiida_mghdiff.formats.frames import frames_from_arrays
from aiida_mghdiff.programs import job, training
from aiida_mghdiff.programs.mace import train as mace_train
from aiida_mghdiff.workflows.train import TrainWorkChain

TINY = {'architecture': 'mace', 'elements': ['H', 'Mg'], 'head': None, 'dtype': 'float64'}


def parameters(kind, **changes):
    """Return parameters of a training of seconds, in float64."""
    values = TrainWorkChain.get_parameters('mace', kind, 'smoke')
    values |= {'default_dtype': 'float64', 'lr': 1e-3, 'max_num_epochs': 2 if kind == 'scratch' else 1}
    if kind == 'scratch':
        values['architecture'] |= {'num_channels': 4, 'max_ell': 1, 'correlation': 2, 'r_max': 4.0}
    return values | changes


@pytest.fixture(scope='module')
def datasets():
    return {'training': example_arrays(mixed_indices(4)), 'validation': example_arrays(mixed_indices(3, start=2))}


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    path = make_tiny_mace(tmp_path_factory.mktemp('tiny') / 'tiny.model', channels=4, r_max=4.0, max_ell=1)
    return path, TINY


@pytest.fixture(scope='module')
def trained(tmp_path_factory, datasets):
    folder = tmp_path_factory.mktemp('trained')
    run_program(folder, 'mace.train', datasets, parameters=parameters('scratch', max_num_epochs=1))
    return folder / 'trained.model', TINY


def calculator(path):
    from mace.calculators import MACECalculator

    return MACECalculator(model_paths=str(path), device='cpu', default_dtype='float64')


def model_e0s(path):
    model = calculator(path).models[0]
    return dict(zip(('H', 'Mg'), model.atomic_energies_fn.atomic_energies.numpy().ravel(), strict=True))


def force_rmse(path, arrays):
    calc = calculator(path)
    errors = []
    for atoms in frames_from_arrays(arrays):
        labels, atoms.calc = atoms.get_forces(), calc
        errors.append(atoms.get_forces() - labels)
    return np.sqrt(np.mean(np.concatenate(errors) ** 2))


def assert_same_weights(first, second):
    weights = [calculator(path).models[0].state_dict() for path in (first, second)]
    assert all((value == weights[1][name]).all() for name, value in weights[0].items())


def test_scratch(tmp_path, datasets):
    results = run_program(tmp_path, 'mace.train', datasets, parameters=parameters('scratch'))
    assert results['mode'] == 'scratch'
    assert results['completed']
    assert (results['n_training'], results['n_validation'], results['n_training_per_epoch']) == (4, 3, 4)
    assert results['e0s_rank'] == 2
    assert model_e0s(tmp_path / 'trained.model') == pytest.approx(results['e0s_ev'])
    errors = results['validation']['force_rmse_mev_per_angstrom']
    assert 1e3 * force_rmse(tmp_path / 'trained.model', datasets['validation']) == pytest.approx(errors, rel=1e-5)
    curves = np.load(tmp_path / 'learning_curves.npz')
    assert curves['epoch'].tolist() == [0, 1]
    assert {'loss_train', 'force_rmse_valid', 'stress_rmse_train', 'learning_rate_train'} <= set(curves)
    assert {'mace-torch', 'torch', 'python'} <= set(results['versions'])


def test_same_inputs_give_the_same_model(tmp_path, datasets):
    for name in ('one', 'two'):
        run_program(tmp_path / name, 'mace.train', datasets, parameters=parameters('scratch', max_num_epochs=1))
    assert_same_weights(tmp_path / 'one' / 'trained.model', tmp_path / 'two' / 'trained.model')


def test_naive_fine_tuning_corrects_the_reference_energies(tmp_path, datasets, tiny):
    shift = {'H': 2.0, 'Mg': -0.5}
    shifted = {name: dict(arrays) for name, arrays in datasets.items()}
    for arrays in shifted.values():
        arrays['energies'] = arrays['energies'] + training.element_counts(arrays, [1, 12]) @ list(shift.values())
    results = run_program(tmp_path, 'mace.train', shifted, tiny, parameters=parameters('naive', lr=1e-6))
    assert results['mode'] == 'naive'
    assert results['validation_initial']['energy_rmse_mev_per_atom'] < 30
    before = model_e0s(tiny[0])
    assert all(abs(results['e0s_ev'][symbol] - before[symbol] - shift[symbol]) < 0.5 for symbol in shift)


def test_e0s_hold_where_mace_would_take_those_of_the_potential(tmp_path, datasets, trained):
    asked = {'H': -3.3, 'Mg': -1.7}
    results = run_program(tmp_path, 'mace.train', datasets, trained, parameters=parameters('naive', E0s=asked))
    assert results['e0s_restored']
    assert model_e0s(tmp_path / 'trained.model') == pytest.approx(asked)


def test_ignored_e0s_are_noticed(tmp_path, datasets, trained, monkeypatch):
    monkeypatch.setattr(mace_train.MaceTrainer, 'set_e0s', lambda *_: False)
    with pytest.raises(job.ProgramError) as error:
        run_program(
            tmp_path, 'mace.train', datasets, trained, parameters=parameters('naive', E0s={'H': -3.3, 'Mg': -1.7})
        )
    assert error.value.name == 'E0S_IGNORED'


def test_multihead_gives_the_fine_tuned_head(tmp_path, datasets, tiny):
    replay = example_arrays(mixed_indices(6, start=4))
    chosen = parameters('multihead', lr=1e-3, ema_decay=0.5, E0s={'H': -3.3, 'Mg': -1.7})
    results = run_program(tmp_path, 'mace.train', datasets | {'replay': replay}, tiny, parameters=chosen)
    assert results['mode'] == 'multihead'
    assert results['n_replay'] == 5
    assert results['n_training_per_epoch'] == 9
    assert calculator(tmp_path / 'trained.model').models[0].heads == ['Default']
    assert model_e0s(tmp_path / 'trained.model') == pytest.approx(results['e0s_ev'])
    errors = results['validation']['force_rmse_mev_per_angstrom']
    assert 1e3 * force_rmse(tmp_path / 'trained.model', datasets['validation']) == pytest.approx(errors, rel=1e-5)


def test_weight_of_the_replay_set_reaches_the_loss(tmp_path, datasets, monkeypatch):
    from mace.data import KeySpecification, config_from_atoms_list, update_keyspec_from_kwargs
    from mace.tools.default_keys import DefaultKeys

    monkeypatch.chdir(tmp_path)
    mace_train.write_frames('replay', datasets['training'], weight=0.25)
    keys = update_keyspec_from_kwargs(KeySpecification(), DefaultKeys.keydict())
    for config in config_from_atoms_list(read('replay.extxyz', ':'), keys):
        assert [config.property_weights[name] for name in ('energy', 'forces', 'stress')] == [0.25] * 3


def test_changed_fine_tuning_mode_is_noticed(tmp_path, datasets, tiny, monkeypatch):
    monkeypatch.setattr(mace_train, '_replay_options', lambda *_: {'force_mh_ft_lr': True})
    replay = example_arrays(mixed_indices(6, start=4))
    with pytest.raises(job.ProgramError, match='multiheads_finetuning') as error:
        run_program(tmp_path, 'mace.train', datasets | {'replay': replay}, tiny, parameters=parameters('multihead'))
    assert error.value.name == 'FINETUNING_MODE_CHANGED'


def test_left_out_structures_are_noticed(tmp_path, datasets, monkeypatch):
    write = mace_train.write_frames
    monkeypatch.setattr(
        mace_train, 'write_frames', lambda name, arrays: write(name, training.select_frames(arrays, [0, 1]))
    )
    with pytest.raises(job.ProgramError, match='2 of 4') as error:
        run_program(tmp_path, 'mace.train', datasets, parameters=parameters('scratch'))
    assert error.value.name == 'STRUCTURES_REPLACED'


def test_restart_equals_continuing(tmp_path, datasets, monkeypatch):
    chosen = parameters(
        'scratch',
        max_num_epochs=4,
        stage_two={
            'start_stage_two': 2,
            'stage_two_lr': 1e-3,
            'stage_two_energy_weight': 100.0,
            'stage_two_forces_weight': 1.0,
            'stage_two_stress_weight': 1.0,
        },
    )
    run_program(tmp_path / 'whole', 'mace.train', datasets, parameters=chosen)
    epochs = training._one_epoch

    def slow_epoch(trainer, progress, total):
        epochs(trainer, progress, total)
        if progress.next_epoch in (1, 3):
            trainer.batches.clock.limit = 0.0

    monkeypatch.setattr(training, '_one_epoch', slow_epoch)
    for _ in range(2):
        with pytest.raises(job.ProgramError) as error:
            run_program(tmp_path / 'parts', 'mace.train', datasets, parameters=chosen, max_wallclock_seconds=1000)
        assert error.value.name == 'OUT_OF_WALLTIME'
    monkeypatch.undo()
    run_program(tmp_path / 'parts', 'mace.train', datasets, parameters=chosen)
    whole, parts = (np.load(tmp_path / name / 'learning_curves.npz') for name in ('whole', 'parts'))
    assert parts['epoch'].tolist() == [0, 1, 2, 3]
    assert parts['stage'].tolist() == [0, 0, 1, 1]
    for name in whole:
        assert np.array_equal(whole[name], parts[name], equal_nan=True), name
    assert_same_weights(tmp_path / 'whole' / 'trained.model', tmp_path / 'parts' / 'trained.model')


def test_diverging_training(tmp_path, datasets):
    with pytest.raises(job.ProgramError) as error:
        run_program(
            tmp_path, 'mace.train', datasets, parameters=parameters('scratch', lr=1e30, loss='stress', clip_grad=1e30)
        )
    assert error.value.name == 'TRAINING_DIVERGED'


def test_corrupt_potential(tmp_path, datasets, tmp_path_factory):
    path = tmp_path_factory.mktemp('corrupt') / 'corrupt.model'
    path.write_bytes(b'this is no model')
    with pytest.raises(job.ProgramError) as error:
        run_program(tmp_path, 'mace.train', datasets, (path, TINY), parameters=parameters('naive'))
    assert error.value.name == 'POTENTIAL_UNREADABLE'


def test_unknown_element(tmp_path, datasets, tiny):
    arrays = {name: dict(values) for name, values in datasets.items()}
    arrays['training']['numbers'] = np.where(arrays['training']['numbers'] == 1, 8, 12)
    with pytest.raises(job.ProgramError, match='does not know O') as error:
        run_program(tmp_path, 'mace.train', arrays, tiny, parameters=parameters('naive'))
    assert error.value.name == 'ELEMENT_UNKNOWN'


def test_an_epoch_leaves_the_last_incomplete_batch_out(tmp_path, datasets, monkeypatch):
    seen = []
    evaluate = mace_train._RecordedLoss.__call__
    monkeypatch.setattr(
        mace_train._RecordedLoss,
        '__call__',
        lambda self, pred, ref, ddp=None: seen.append(len(ref['energy'])) or evaluate(self, pred, ref, ddp),
    )
    chosen = parameters('scratch', batch_size=3, max_num_epochs=1)
    results = run_program(tmp_path, 'mace.train', datasets, parameters=chosen)
    assert (results['n_training'], results['n_training_per_epoch'], sum(seen)) == (4, 3, 3)


@pytest.fixture(autouse=True)
def torch_as_it_was():
    yield
    reset_torch()


def single_composition():
    """Return datasets of cells with one hydrogen atom."""
    frames = [index for index in mixed_indices(12) if example_arrays([index])['natoms'][0] == 17]
    return {'training': example_arrays(frames[:3]), 'validation': example_arrays(frames[3:])}


def test_isolated_atoms_are_the_e0s(tmp_path, datasets):
    isolated = {'H': -1.0, 'Mg': -0.25}
    chosen = parameters('scratch', max_num_epochs=1)
    results = run_program(tmp_path, 'mace.train', datasets, parameters=chosen, isolated_atoms=isolated)
    assert results['e0s_from_isolated_atoms']
    assert model_e0s(tmp_path / 'trained.model') == pytest.approx(isolated)


def test_isolated_atoms_of_some_elements_are_their_e0s(tmp_path, datasets, trained):
    """For other elements the parameter decides: a fit, given energies, or the potential's E0s."""
    isolated, options = {'H': -1.0}, {'max_num_epochs': 1}
    chosen = parameters('scratch', **options)
    fitted = run_program(tmp_path / 'all', 'mace.train', datasets, parameters=chosen)['e0s_ev']
    results = run_program(tmp_path / 'some', 'mace.train', datasets, parameters=chosen, isolated_atoms=isolated)
    assert results['e0s_ev'] == pytest.approx({'H': -1.0, 'Mg': fitted['Mg']})
    assert model_e0s(tmp_path / 'some' / 'trained.model') == pytest.approx(results['e0s_ev'])
    assert results['e0s_rank'] == 2
    assert not any('least norm' in warning for warning in results['warnings'])
    chosen = parameters('scratch', E0s={'Mg': -1.4}, **options)
    results = run_program(tmp_path / 'given', 'mace.train', datasets, parameters=chosen, isolated_atoms=isolated)
    assert results['e0s_ev'] == {'H': -1.0, 'Mg': -1.4}
    own, given = model_e0s(trained[0]), {'isolated_atoms': isolated}
    for kind in ('estimated', 'foundation'):
        chosen = parameters('naive', E0s=kind, **options)
        e0s = run_program(tmp_path / kind, 'mace.train', datasets, trained, parameters=chosen, **given)['e0s_ev']
        assert e0s['H'] == pytest.approx(-1.0)
        assert (e0s['Mg'] == pytest.approx(own['Mg'], abs=1e-6)) == (kind == 'foundation')


@pytest.mark.parametrize('energy', [200.0, -200.0])
def test_e0_of_a_minority_element_far_from_the_energies_is_refused(tmp_path, datasets, energy):
    with pytest.raises(job.ProgramError, match=f'the E0 of H is {energy:g} eV, but a fit'):
        run_program(tmp_path, 'mace.train', datasets, parameters=parameters('scratch', E0s={'H': energy, 'Mg': -1.5}))


@pytest.mark.parametrize('energy', [1e6, -1e6])
def test_e0s_far_from_the_energies_are_refused(tmp_path, datasets, energy):
    with pytest.raises(job.ProgramError, match='but a fit to the configurations gives') as error:
        run_program(tmp_path, 'mace.train', datasets, parameters=parameters('scratch', E0s={'H': energy, 'Mg': -1.5}))
    assert error.value.name == 'INPUT_REFUSED'


def test_e0s_of_one_composition_are_refused_or_warned_of(tmp_path):
    with pytest.raises(job.ProgramError, match=r'leave open how .* divide between H, Mg') as error:
        run_program(tmp_path / 'refused', 'mace.train', single_composition(), parameters=parameters('scratch'))
    assert error.value.name == 'INPUT_REFUSED'
    chosen = parameters('scratch', allow_implausible=True, max_num_epochs=1)
    results = run_program(tmp_path / 'allowed', 'mace.train', single_composition(), parameters=chosen)
    assert results['e0s_rank'] == 1
    assert 'only at these compositions' in results['warnings'][0]
