"""Labels whose SCF may not have converged: nothing learns from them or compares with them."""

from __future__ import annotations

from importlib.metadata import entry_points

import numpy as np
import pytest
from aiida import orm
from aiida.engine.processes.ports import InputPort
from aiida.plugins import CalculationFactory, WorkflowFactory
from vasp_md_runs import learned_dataset

from aiida_mghdiff.calculations.functions.dataset import split_dataset
from aiida_mghdiff.calculations.functions.merge import merge_datasets
from aiida_mghdiff.calculations.functions.metrics import error_metrics
from aiida_mghdiff.data.dataset import DatasetData

FACTORIES = {'aiida.calculations': CalculationFactory, 'aiida.workflows': WorkflowFactory}
#: Processes that take the atoms of a dataset, not its labels.
OF_ATOMS = ('mghdiff.build_host', 'mghdiff.label')
#: Calcfunctions have no validators of ports: they refuse when they run.
FUNCTIONS = ('mghdiff.error_metrics', 'mghdiff.split_dataset')
ALL = {entry.name: FACTORIES[group] for group in FACTORIES for entry in entry_points(group=group)}
REFUSAL = r'the SCF of 2 of its 3 configurations is not known to have converged: leave these out with'


def takes_a_dataset(port):
    return isinstance(port, InputPort) and DatasetData in np.atleast_1d(port.valid_type)


def dataset_ports():
    """Yield process and name of each port for one dataset."""
    for name, factory in ALL.items():
        if name.startswith('mghdiff.') and name not in OF_ATOMS:
            yield from ((name, key) for key, port in factory(name).spec().inputs.items() if takes_a_dataset(port))


PORTS = sorted(set(dataset_ports()))


@pytest.fixture
def dataset(aiida_profile):
    return learned_dataset(count=3, converged=[1, 0, -1])


def test_ports_are_found():
    found = {name for name, _ in PORTS}
    assert found >= {'mghdiff.mace.train', 'mghdiff.chgnet.train', 'mghdiff.evaluate', 'mghdiff.vasp.evaluate'}
    assert found >= {'mghdiff.train', 'mghdiff.study', *FUNCTIONS}


@pytest.mark.parametrize(('process', 'name'), [port for port in PORTS if port[0] not in FUNCTIONS])
def test_every_port_for_labels_refuses_them(dataset, process, name):
    port = ALL[process](process).spec().inputs[name]
    assert REFUSAL in port.validate(dataset).message
    assert port.validate(merge_datasets(all=dataset)) is None


def test_split_refuses_them(dataset):
    settings = orm.Dict({'indices': {'training': [0], 'test': [1]}})
    _, node = split_dataset.run_get_node(dataset, settings)
    assert node.is_failed
    assert REFUSAL in node.exit_message


def test_errors_are_not_taken_of_them(dataset):
    arrays = dataset.get_arrays()
    predictions = orm.ArrayData({name: arrays[name] for name in ('energies', 'forces', 'stresses')})
    _, node = error_metrics.run_get_node(dataset, predictions)
    assert node.is_failed
    assert REFUSAL in node.exit_message


def test_datasets_that_tell_of_none_are_taken_as_they_are(dataset):
    arrays = {name: array for name, array in dataset.get_arrays().items() if name != 'converged'}
    made = DatasetData.from_arrays(arrays, energy_kind='free', labelled_by='vasp', **dataset.names)
    assert np.all(made.are_converged)
