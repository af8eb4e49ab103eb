"""Datasets, potentials and parameters for trainings of seconds, as nodes."""

from __future__ import annotations

from aiida import orm
from program_runs import chgnet_file, example_arrays, mixed_indices

from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.workflows.train import TrainWorkChain


def make_dataset(count, start=0, **changes):
    """Return an unstored dataset of a part of the example data."""
    arrays = {name: array for name, array in example_arrays(mixed_indices(count, start)).items() if name != 'groups'}
    return DatasetData.from_arrays(arrays | changes, energy_kind='free', labelled_by='gpaw')


def make_chgnet(elements=('H', 'Mg')):
    """Return CHGNet 0.3.0 as an unstored node."""
    return PotentialData.from_file(
        chgnet_file(), architecture='chgnet', origin='pretrained', elements=elements, dtype='float32'
    )


def mace_inputs(code, kind='scratch', **changes):
    """Return the inputs of a MACE training, without a potential."""
    parameters = TrainWorkChain.get_parameters('mace', kind, 'smoke') | {'max_num_epochs': 2}
    if kind == 'scratch':
        parameters['architecture'] |= {'num_channels': 4, 'max_ell': 1, 'correlation': 2, 'r_max': 4.0}
    inputs = {'code': code, 'training': make_dataset(4), 'validation': make_dataset(2, start=2)}
    return inputs | {'parameters': orm.Dict(parameters | changes)}


def chgnet_inputs(code, **changes):
    """Return the inputs of a CHGNet training."""
    parameters = TrainWorkChain.get_parameters('chgnet', 'fine-tune', 'smoke') | {'batch_size': 2} | changes
    inputs = {'code': code, 'training': make_dataset(4), 'validation': make_dataset(2, start=2)}
    return inputs | {'potential': make_chgnet(), 'parameters': orm.Dict(parameters)}
