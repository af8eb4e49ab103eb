from __future__ import annotations

import json

import numpy as np
import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine import run_get_node
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from training_inputs import mace_inputs, make_chgnet, make_dataset

from aiida_mghdiff.calculations.mace.train import MaceTrainCalculation, validate_inputs
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.frames import arrays_from_frames

STAGE_TWO = {
    'start_stage_two': 5,
    'stage_two_lr': 1e-3,
    'stage_two_energy_weight': 1.0,
    'stage_two_forces_weight': 1.0,
    'stage_two_stress_weight': 1.0,
}


@pytest.fixture
def code(codes):
    return codes['python']


@pytest.mark.parametrize('kind', ['scratch', 'naive', 'multihead'])
def test_protocol_parameters_are_valid(code, tiny_potential, kind):
    inputs = mace_inputs(code, kind)
    if kind != 'scratch':
        inputs['potential'] = tiny_potential
    if kind == 'multihead':
        inputs['replay'] = make_dataset(4, start=2)
    assert validate_inputs(inputs) is None


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'lr': 0}, 'lr = 0 is not a positive number'),
        ({'epochs': 3}, 'parameters.epochs: no such key'),
        ({'loss': 'forces_only'}, "loss = 'forces_only'"),
        ({'E0s': 'estimated'}, 'needs a potential'),
        ({'E0s': {'H': 'much'}}, 'E0s'),
        ({'E0s': {'H': -1.0}}, 'E0s has no energy of Mg: add it'),
        ({'architecture': None}, 'architecture is null'),
        ({'architecture': {'max_L': 0}}, 'parameters.architecture lack'),
        ({'multihead': {}}, 'needs a potential'),
        ({'stage_two': STAGE_TWO}, 'never start'),
        ({'stage_two': {'start_stage_two': 1}}, 'parameters.stage_two lack'),
        ({'batch_size': 5}, 'batch_size = 5 is larger than the training set (4)'),
        ({'seed': 0}, 'seed'),
    ],
)
def test_refuses_parameters(code, changes, words):
    assert words in validate_inputs(mace_inputs(code, **changes))


def test_refuses_isolated_atoms_only(code):
    atoms = Atoms('H', cell=[12, 12, 12], pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((1, 3)), stress=np.zeros(6))
    lone = DatasetData.from_arrays(arrays_from_frames([atoms]), energy_kind='free', labelled_by='gpaw')
    assert 'validation has isolated atoms only: merge' in validate_inputs(mace_inputs(code) | {'validation': lone})


def test_refuses_a_replay_set_that_cannot_be_split(code, tiny_potential):
    inputs = mace_inputs(code, 'multihead') | {'potential': tiny_potential, 'replay': make_dataset(1)}
    assert 'replay: 1 frames cannot be split' in validate_inputs(inputs)


def test_refuses_missing_parameters(code):
    inputs = mace_inputs(code)
    values = inputs['parameters'].get_dict()
    del values['lr'], values['seed']
    assert 'lack lr, seed' in validate_inputs(inputs | {'parameters': orm.Dict(values)})


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'architecture': {}}, 'must be null'),
        ({'E0s': 'average'}, 'would break'),
        ({'multihead': {}}, 'go together'),
    ],
)
def test_refuses_parameters_of_fine_tuning(code, tiny_potential, changes, words):
    inputs = mace_inputs(code, 'naive', **changes) | {'potential': tiny_potential}
    assert words in validate_inputs(inputs)


def test_refuses_another_loss_with_a_replay_set(code, tiny_potential):
    inputs = mace_inputs(code, 'multihead', loss='stress') | {'potential': tiny_potential, 'replay': make_dataset(3)}
    assert 'always uses universal' in validate_inputs(inputs)


def test_refuses_a_potential_of_another_architecture_or_without_an_element(code, tiny_potential):
    inputs = mace_inputs(code, 'naive')
    assert 'chgnet' in validate_inputs(inputs | {'potential': make_chgnet()})
    tiny_potential.base.attributes.set('elements', ['Mg'])
    assert 'does not know H' in validate_inputs(inputs | {'potential': tiny_potential})


def test_refuses_to_train_stresses_that_are_not_there(code):
    inputs = mace_inputs(code)
    inputs['training'] = make_dataset(4, stresses=np.full((4, 6), np.nan))
    assert 'training lacks stresses' in validate_inputs(inputs)
    values = inputs['parameters'].get_dict() | {'stress_weight': 0.0}
    assert validate_inputs(inputs | {'parameters': orm.Dict(values)}) is None


def test_files(code, generate_workchain, tiny_potential):
    checkpoint = orm.SinglefileData.from_string('weights', 'other.pt').store()
    inputs = mace_inputs(code, 'naive') | {'potential': tiny_potential, 'checkpoint': checkpoint}
    process = generate_workchain(MaceTrainCalculation, inputs)
    with SandboxFolder() as folder:
        calcinfo = process.prepare_for_submission(folder)
        with folder.open('input.json') as handle:
            content = json.load(handle)
        assert set(folder.get_content_list()) == {'input.json', 'mghdiff.pyz'}
    assert content['potential']['architecture'] == 'mace'
    assert content['parameters'] == inputs['parameters'].get_dict()
    targets = {target for _, _, target in calcinfo.local_copy_list}
    assert {'training/natoms.npy', 'validation/forces.npy', 'potential.model', 'checkpoint.pt'} <= targets
    assert {'trained.model', 'checkpoint.pt', 'learning_curves.npz'} <= set(calcinfo.retrieve_temporary_list)


@pytest.mark.slow
def test_trains_from_scratch_and_goes_on_after_the_walltime(code):
    inputs = mace_inputs(code, max_num_epochs=100_000, patience=100_000)
    inputs['metadata'] = {'options': {'max_wallclock_seconds': 30}}
    _, node = run_get_node(MaceTrainCalculation, **inputs)
    assert node.exit_status == MaceTrainCalculation.exit_codes.ERROR_OUT_OF_WALLTIME.status, node.exit_message
    assert 'potential' not in node.outputs
    done = node.outputs.results['n_epochs']
    assert len(node.outputs.learning_curves.get_array('epoch')) == done
    inputs['checkpoint'] = node.outputs.checkpoint
    inputs['parameters'] = orm.Dict(inputs['parameters'].get_dict() | {'max_num_epochs': done + 1})
    outputs, node = run_get_node(MaceTrainCalculation, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert outputs['potential'].origin == 'scratch'
    assert outputs['potential'].elements == ['H', 'Mg']
    assert outputs['learning_curves'].get_array('epoch').tolist() == list(range(done + 1))
    assert 'checkpoint' not in outputs


@pytest.mark.slow
def test_same_inputs_give_the_same_potential(code):
    potentials = [run_get_node(MaceTrainCalculation, **mace_inputs(code))[0]['potential'] for _ in range(2)]
    assert potentials[0].uuid != potentials[1].uuid
    assert potentials[0].base.caching.get_hash() == potentials[1].base.caching.get_hash()


@pytest.mark.parametrize(
    ('isolated', 'changes', 'words'),
    [
        ({'H': 200.0}, {}, 'the E0 of H is 200 eV, but a fit to the configurations gives'),
        ({'Mg': -0.25}, {'E0s': {'H': 200.0}}, 'the E0 of H is 200 eV'),
        ({}, {'E0s': {'H': -200.0, 'Mg': -1.5}}, 'the E0 of H is -200 eV'),
        ({'H': -1.0, 'Mg': -0.25}, {'E0s': {'H': -2.0, 'Mg': -0.25}}, 'E0s gives H -2 eV, but the isolated H'),
        ({'H': -1.0, 'Mg': 1e6}, {}, '1e+06 eV, but a fit to the configurations gives'),
        ({}, {'E0s': {'H': -1.0, 'Mg': -1e6}}, '1e+06 eV, but a fit to the configurations gives'),
    ],
)
def test_refuses_energies_of_elements_that_cannot_be(code, isolated, changes, words):
    inputs = mace_inputs(code, **changes)
    dataset = inputs['training']
    inputs['training'] = DatasetData.from_arrays(
        dataset.get_arrays(), energy_kind='free', labelled_by='gpaw', isolated_atoms=isolated
    )
    assert words in validate_inputs(inputs)


def test_refuses_one_composition_that_tells_nothing_of_the_elements(code):
    inputs = mace_inputs(code)
    one = [index for index, formula in enumerate(inputs['training'].get_formulas()) if formula == 'HMg16']
    inputs |= {'training': inputs['training'].select(one)}
    inputs['parameters']['batch_size'] = 1
    assert 'leave open how' in validate_inputs(inputs)
    arrays, options = inputs['training'].get_arrays(), {'energy_kind': 'free', 'labelled_by': 'gpaw'}
    told = DatasetData.from_arrays(arrays, isolated_atoms={'H': -1.0}, **options)
    assert validate_inputs(inputs | {'training': told}) is None
    wrong = DatasetData.from_arrays(arrays, isolated_atoms={'H': -400.0}, **options)
    assert 'the E0 of Mg is ' in validate_inputs(inputs | {'training': wrong})
    inputs['parameters']['allow_implausible'] = True
    assert validate_inputs(inputs) is None


@pytest.mark.parametrize('isolated', [{'H': -1.0, 'Mg': -0.25}, {'H': -1.0}])
def test_isolated_atoms_reach_the_program(code, isolated):
    inputs = mace_inputs(code)
    inputs['training'] = DatasetData.from_arrays(
        inputs['training'].get_arrays(), energy_kind='free', labelled_by='gpaw', isolated_atoms=isolated
    )
    assert validate_inputs(inputs) is None
    assert MaceTrainCalculation(inputs).program_inputs()['isolated_atoms'] == isolated
