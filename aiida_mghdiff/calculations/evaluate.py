"""Evaluation of a potential on a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mghdiff.calculations.calculator import CalculatorCalculation
from aiida_mghdiff.calculations.program import array_files
from aiida_mghdiff.calculations.validation import one_of
from aiida_mghdiff.data.dataset import DatasetData, converged_message
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.job_files import DATASET_FOLDER, PREDICTIONS_FILE

KEYS = {'dtype': one_of('float64', 'float32'), 'device': one_of('cpu', 'cuda', 'mps')}


def validate_inputs(inputs: Mapping[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the inputs, or None."""
    potential = inputs['potential']
    parameters = inputs['parameters'].get_dict()
    message = EvaluateCalculation.parameters_message(parameters, potential.architecture)
    return message or potential.unknown_message(inputs['dataset'].elements)


def define_predictions(spec: CalcJobProcessSpec) -> None:
    """Define the inputs and outputs of an evaluation, the same for every engine."""
    spec.input('potential', valid_type=PotentialData, help='Potential to evaluate.')
    words = 'Configurations on which the potential is evaluated.'
    spec.input('dataset', valid_type=DatasetData, validator=converged_message, help=words)
    spec.output(
        'predictions',
        valid_type=orm.ArrayData,
        required=False,
        help='energies [n] eV, forces [N,3] eV/Å, stresses [n,6] eV/Å³ (ASE sign and order), as in the dataset.',
    )


class EvaluateCalculation(CalculatorCalculation):
    """Predicts energies, forces and stresses of a dataset."""

    CACHE_VERSION = 2
    _PROGRAM = 'evaluate'
    _PARAMETERS = KEYS
    _TEMPORARY_FILES = (PREDICTIONS_FILE,)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs and outputs."""
        super().define(spec)
        define_predictions(spec)
        spec.inputs.validator = validate_inputs

    def input_files(self) -> list[tuple[str, str, str]]:
        """Return the dataset and the potential."""
        return [*array_files(self.inputs.dataset, DATASET_FOLDER), *super().input_files()]
