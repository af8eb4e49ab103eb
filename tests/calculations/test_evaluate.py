from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from models import write_sealed
from training_inputs import make_chgnet, make_dataset

from aiida_mghdiff.calculations.evaluate import EvaluateCalculation, validate_inputs


@pytest.fixture
def inputs(codes, tiny_potential):
    parameters = orm.Dict({'dtype': 'float64', 'device': 'cpu'})
    return {'code': codes['python'], 'potential': tiny_potential, 'dataset': make_dataset(3), 'parameters': parameters}


def test_refuses(inputs):
    assert validate_inputs(inputs) is None
    assert 'dtype' in validate_inputs(inputs | {'parameters': orm.Dict({'dtype': 'half', 'device': 'cpu'})})
    assert 'float32' in validate_inputs(inputs | {'potential': make_chgnet()})
    inputs['potential'].base.attributes.set('elements', ['Mg'])
    assert 'does not know H' in validate_inputs(inputs)


def test_evaluates(inputs):
    outputs, node = run_get_node(EvaluateCalculation, **inputs)
    assert node.is_finished_ok, node.exit_message
    forces = outputs['predictions'].get_array('forces')
    labels = inputs['dataset'].get_array('forces')
    assert 0 < np.sqrt(np.mean((forces - labels) ** 2)) < 0.3
    assert outputs['predictions'].get_array('energies').shape == (3,)
    assert outputs['predictions'].get_array('stresses').shape == (3, 6)
    assert outputs['results']['versions']['mace-torch']


def test_environment_without_mace(inputs, tmp_path, aiida_code_installed):
    """If the interpreter lacks one package, the exit code says so; the message names it and the remedy."""
    hidden = tmp_path / 'hidden' / 'mace'
    hidden.mkdir(parents=True)
    (hidden / '__init__.py').write_text('raise ModuleNotFoundError("No module named \'mace\'", name="mace")\n')
    python = tmp_path / 'python'
    interpreter = inputs['code'].filepath_executable
    python.write_text(f'#!/bin/sh\nPYTHONPATH={hidden.parent} exec {interpreter} "$@"\n')
    python.chmod(0o755)
    inputs['code'] = aiida_code_installed(label='without-mace', filepath_executable=str(python))
    outputs, node = run_get_node(EvaluateCalculation, **inputs)
    assert node.exit_status == EvaluateCalculation.exit_codes.ERROR_ENGINE_MISSING.status == 210
    assert "has no package 'mace-torch': install aiida-mghdiff[engines] there" in node.exit_message
    assert 'predictions' not in outputs


def test_corrupt_model(inputs, tmp_path):
    write_sealed(tmp_path / 'corrupt.model')
    attributes = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    inputs['potential'] = type(inputs['potential']).from_file(tmp_path / 'corrupt.model', **attributes)
    _, node = run_get_node(EvaluateCalculation, **inputs)
    assert node.exit_status == EvaluateCalculation.exit_codes.ERROR_POTENTIAL_UNREADABLE.status
    assert 'potential.model cannot be loaded' in node.exit_message
