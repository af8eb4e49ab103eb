"""One rule chooses the head of a MACE model in every program, and each program names the head."""

from __future__ import annotations

import numpy as np
import pytest
from models import make_multihead_mace
from program_runs import example_arrays, mixed_indices, run_program

from aiida_mghdiff.formats.frames import frames_from_arrays
from aiida_mghdiff.programs import training
from aiida_mghdiff.programs.calculators.loading import load_calculator
from aiida_mghdiff.programs.job import ProgramError
from aiida_mghdiff.workflows.protocol import protocol_inputs
from aiida_mghdiff.workflows.train import TrainWorkChain

#: Energies of isolated H and Mg, a row for each head; no mixture of the rows looks like one of them.
E0S = [[-10.0, -20.0], [-1.0, -2.0]]


def described(head):
    return {'architecture': 'mace', 'elements': ['H', 'Mg'], 'head': head, 'dtype': 'float64'}


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """Return model files by name, each with two heads."""
    folder = tmp_path_factory.mktemp('models')
    names = {'tuned': ['pt_head', 'Default'], 'two': ['A', 'B']}
    return {name: make_multihead_mace(folder / f'{name}.model', heads, E0S) for name, heads in names.items()}


@pytest.fixture(scope='module')
def datasets():
    return {'training': example_arrays(mixed_indices(4)), 'validation': example_arrays(mixed_indices(3, start=2))}


def atoms_as_json():
    atoms = frames_from_arrays(example_arrays(mixed_indices(2)))[1]
    return {'numbers': atoms.numbers.tolist(), 'cell': atoms.cell.tolist(), 'positions': atoms.positions.tolist()}


def evaluate(folder, potential):
    dataset = example_arrays(mixed_indices(1))
    return run_program(
        folder, 'evaluate', {'dataset': dataset}, potential, parameters={'dtype': 'float64', 'device': 'cpu'}
    )


def run_md(folder, potential):
    parameters = {'ensemble': 'nve', 'temperature_k': 10.0, 'time_step_fs': 0.1, 'steps': 2, 'first_step': 0, 'seed': 1}
    parameters |= {'tracer_element': 'H', 'tracer_stride': 1, 'thermo_stride': 1, 'frame_stride': 1}
    parameters |= {'dtype': 'float64', 'evaluator': 'torch'}
    return run_program(folder, 'ase.md', {}, potential, parameters=parameters, structure=atoms_as_json())


def find_vibrations(folder, potential):
    parameters = protocol_inputs('vibrations')['parameters']
    parameters |= {'dtype': 'float64', 'expected_imaginary_modes': 0, 'imaginary_threshold_mev': 1e6}
    return run_program(folder, 'ase.vibrations', {}, potential, parameters=parameters, structure=atoms_as_json())


def find_path(folder, potential):
    parameters = protocol_inputs('neb', 'demo')['parameters'] | {'dtype': 'float64'}
    initial, final = atoms_as_json(), atoms_as_json()
    final['positions'][-1][0] += 1.0
    return run_program(folder, 'ase.neb', {}, potential, parameters=parameters, initial=initial, final=final)


def fine_tune(folder, potential, datasets, kind='naive', **changes):
    parameters = TrainWorkChain.get_parameters('mace', kind, 'smoke')
    parameters |= {'default_dtype': 'float64', 'lr': 1e-6, 'max_num_epochs': 1, 'E0s': 'foundation'} | changes
    return run_program(folder, 'mace.train', datasets, potential, parameters=parameters)


def test_evaluation_takes_the_chosen_head(tmp_path, models):
    energies = {}
    for name, head in (('tuned', None), ('tuned', 'pt_head'), ('two', 'A'), ('two', 'B')):
        folder = tmp_path / f'{name}_{head}'
        results = evaluate(folder, (models[name], described(head)))
        assert results['head'] == (head or 'Default')
        energies[name, results['head']] = np.load(folder / 'predictions.npz')['energies'][0]
    assert energies['two', 'A'] == pytest.approx(energies['tuned', 'pt_head'])
    assert energies['two', 'B'] == pytest.approx(energies['tuned', 'Default'])
    assert abs(energies['two', 'A'] - energies['two', 'B']) > 100


@pytest.mark.parametrize('program', [run_md, find_vibrations, find_path])
def test_programs_say_which_head(tmp_path, models, program):
    assert program(tmp_path, (models['tuned'], described(None)))['head'] == 'Default'


@pytest.mark.parametrize('program', [evaluate, run_md, find_vibrations, find_path])
@pytest.mark.parametrize(
    ('name', 'head', 'message'),
    [
        ('two', 'nosuch', "no head 'nosuch': its heads are A and B"),
        ('tuned', 'A', "no head 'A': its heads are pt_head and Default"),
        ('two', None, 'the heads A and B and none is named'),
    ],
)
def test_programs_refuse(tmp_path, models, program, name, head, message):
    with pytest.raises(ProgramError, match=message) as error:
        program(tmp_path, (models[name], described(head)))
    assert error.value.name == 'INPUT_REFUSED'


@pytest.mark.parametrize(
    ('name', 'head', 'chosen', 'e0s'),
    [('tuned', None, 'Default', E0S[1]), ('tuned', 'pt_head', 'pt_head', E0S[0]), ('two', 'A', 'A', E0S[0])],
)
def test_weights_and_e0s_come_from_one_head(tmp_path, models, datasets, name, head, chosen, e0s):
    results = fine_tune(tmp_path, (models[name], described(head)), datasets)
    assert (results['head'], results['heads']) == (chosen, ['Default'])
    assert list(results['e0s_ev'].values()) == e0s
    before = load_calculator(described(chosen), str(models[name]), 'float64')
    after = load_calculator(described(None), str(tmp_path / 'trained.model'), 'float64')
    for atoms in frames_from_arrays(datasets['validation']):
        energies = [calculator.get_potential_energy(atoms) for calculator in (before, after)]
        assert energies[1] == pytest.approx(energies[0], abs=1e-2)


def test_estimated_e0s_are_of_one_head(tmp_path, models, datasets):
    """The labels are the head's, shifted, so the estimate is the head's E0s plus the shift."""
    calculator = load_calculator(described('Default'), str(models['tuned']), 'float64')
    shifted = {name: dict(arrays) for name, arrays in datasets.items()}
    for arrays in shifted.values():
        energies = [calculator.get_potential_energy(atoms) for atoms in frames_from_arrays(arrays)]
        arrays['energies'] = np.array(energies) + training.element_counts(arrays, [1, 12]) @ [0.5, -0.25]
    results = fine_tune(tmp_path, (models['tuned'], described(None)), shifted, E0s='estimated')
    assert results['e0s_ev'] == pytest.approx({'H': -0.5, 'Mg': -2.25})
    assert results['validation_initial']['energy_rmse_mev_per_atom'] < 1e-3


def test_replay_starts_from_the_chosen_head(tmp_path, models, datasets):
    replay = example_arrays(mixed_indices(6, start=4))
    potential = models['tuned'], described(None)
    results = fine_tune(tmp_path, potential, datasets | {'replay': replay}, 'multihead')
    assert (results['mode'], results['head']) == ('multihead', 'Default')
    assert list(results['e0s_ev'].values()) == E0S[1]


@pytest.mark.parametrize('e0s', ['foundation', 'estimated', {'H': -1.0, 'Mg': -2.0}])
@pytest.mark.parametrize(('head', 'message'), [('nosuch', "no head 'nosuch'"), (None, 'none is named')])
def test_training_refuses(tmp_path, models, datasets, e0s, head, message):
    with pytest.raises(ProgramError, match=message) as error:
        fine_tune(tmp_path, (models['two'], described(head)), datasets, E0s=e0s)
    assert error.value.name == 'INPUT_REFUSED'
