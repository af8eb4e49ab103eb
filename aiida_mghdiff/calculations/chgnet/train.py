"""Fine-tuning of CHGNet potentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida.engine import CalcJobProcessSpec

from aiida_mghdiff.calculations.train import (
    COMMON_KEYS,
    IS_DECAY,
    TrainCalculation,
    data_message,
    e0s_check,
    missing_offsets_message,
    offsets_message,
    potential_message,
)
from aiida_mghdiff.calculations.validation import IS_NOT_NEGATIVE, IS_POSITIVE, Check, complete_message, one_of
from aiida_mghdiff.data.architectures import CHGNET

#: Layers that can be frozen, by their names in CHGNet; its documentation recommends to freeze all of them.
LAYERS = (
    'atom_embedding',
    'bond_embedding',
    'angle_embedding',
    'bond_basis_expansion',
    'angle_basis_expansion',
    'atom_conv_layers[:-1]',
    'bond_conv_layers',
    'angle_layers',
)
IS_LAYERS = Check(
    f'a list of some of {", ".join(LAYERS)}',
    lambda value: isinstance(value, list) and all(layer in LAYERS for layer in value),
)

#: Names that ``E0s`` may have instead of energies.
E0S = ('estimated', 'foundation')
#: Settings, with the names of CHGNet's ``Trainer`` if it has them.
KEYS = COMMON_KEYS | {
    'E0s': e0s_check(*E0S),
    'targets': one_of('ef', 'efs'),
    'energy_loss_ratio': IS_NOT_NEGATIVE,
    'force_loss_ratio': IS_NOT_NEGATIVE,
    'stress_loss_ratio': IS_NOT_NEGATIVE,
    'criterion': one_of('MSE', 'MAE', 'Huber'),
    'huber_delta': IS_POSITIVE,
    'optimizer': one_of('Adam', 'AdamW', 'RAdam', 'SGD'),
    'weight_decay': IS_NOT_NEGATIVE,
    'learning_rate': IS_POSITIVE,
    'scheduler': one_of('CosLR', 'ExponentialLR'),
    'decay_fraction': IS_DECAY,
    'gamma': IS_DECAY,
    'frozen_layers': IS_LAYERS,
}


def validate_inputs(inputs: Mapping[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the inputs, or None."""
    parameters = inputs['parameters'].get_dict()
    return (
        complete_message(parameters, KEYS)
        or potential_message(inputs, CHGNET.name)
        or data_message(inputs, 's' in parameters['targets'])
        or missing_offsets_message(inputs)
        or offsets_message(parameters, inputs['training'])
    )


class ChgnetTrainCalculation(TrainCalculation):
    """Fine-tunes a CHGNet potential with CHGNet's ``Trainer``."""

    CACHE_VERSION = 4
    _PROGRAM = 'chgnet.train'
    _PARAMETERS = KEYS

    @classmethod
    def training_kind(cls, has_potential: bool, has_replay: bool) -> str:
        """Return the only kind of training."""
        return 'fine-tune'

    @classmethod
    def without_stress(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the hyper-parameters with only energies and forces as targets."""
        return parameters | {'targets': 'ef'}

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the inputs of CHGNet: the initial potential is required."""
        super().define(spec)
        spec.inputs['potential'].required = True
        spec.inputs.validator = validate_inputs
