"""Training of MACE potentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from aiida.engine import CalcJobProcessSpec

from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.train import (
    COMMON_KEYS,
    IS_DECAY,
    IS_SHARE,
    TrainCalculation,
    data_message,
    e0s_check,
    isolated_atoms_message,
    missing_offsets_message,
    offsets_message,
    potential_message,
    section_message,
)
from aiida_mghdiff.calculations.validation import (
    IS_BOOL,
    IS_COUNT,
    IS_NOT_NEGATIVE,
    IS_POSITIVE,
    IS_STEP,
    IS_TEXT,
    Check,
    complete_message,
    one_of,
)
from aiida_mghdiff.data.architectures import MACE
from aiida_mghdiff.data.dataset import DatasetData, converged_message
from aiida_mghdiff.formats.mace_loss import LOSSES_WITH_STRESS, trained_labels
from aiida_mghdiff.science.splits import SplitError, hold_out

IS_SECTION = Check('a dictionary or null', lambda value: value is None or isinstance(value, Mapping))
IS_FREEZE = Check('a whole number from 0 (nothing) to 7 (all)', lambda value: IS_STEP.holds(value) and value <= 7)

#: Names that ``E0s`` may have instead of energies.
E0S = ('estimated', 'foundation', 'average')
#: Names as in ``mace_run_train``.
KEYS = COMMON_KEYS | {
    'architecture': IS_SECTION,
    'E0s': e0s_check(*E0S),
    'loss': one_of(*LOSSES_WITH_STRESS, 'weighted'),
    'energy_weight': IS_NOT_NEGATIVE,
    'forces_weight': IS_NOT_NEGATIVE,
    'stress_weight': IS_NOT_NEGATIVE,
    'huber_delta': IS_POSITIVE,
    'optimizer': one_of('adam', 'adamw'),
    'amsgrad': IS_BOOL,
    'weight_decay': IS_NOT_NEGATIVE,
    'beta': IS_DECAY,
    'lr': IS_POSITIVE,
    'ema': IS_BOOL,
    'ema_decay': IS_DECAY,
    'clip_grad': IS_POSITIVE,
    'freeze': IS_FREEZE,
    'scheduler': one_of('ReduceLROnPlateau', 'ExponentialLR'),
    'lr_factor': IS_DECAY,
    'scheduler_patience': IS_COUNT,
    'lr_scheduler_gamma': IS_DECAY,
    'stage_two': IS_SECTION,
    'multihead': IS_SECTION,
    'foundation_model_elements': IS_BOOL,
    'default_dtype': one_of('float64', 'float32'),
}
ARCHITECTURE_KEYS = {
    'num_channels': IS_COUNT,
    'max_L': IS_STEP,
    'r_max': IS_POSITIVE,
    'num_interactions': IS_COUNT,
    'correlation': IS_COUNT,
    'max_ell': IS_STEP,
    'num_radial_basis': IS_COUNT,
    'num_cutoff_basis': IS_COUNT,
    'radial_MLP': IS_TEXT,
    'MLP_irreps': IS_TEXT,
    'interaction_first': IS_TEXT,
    'interaction': IS_TEXT,
    'scaling': one_of('rms_forces_scaling', 'std_scaling', 'no_scaling'),
    'pair_repulsion': IS_BOOL,
}
STAGE_TWO_KEYS = {
    'start_stage_two': IS_COUNT,
    'stage_two_lr': IS_POSITIVE,
    'stage_two_energy_weight': IS_NOT_NEGATIVE,
    'stage_two_forces_weight': IS_NOT_NEGATIVE,
    'stage_two_stress_weight': IS_NOT_NEGATIVE,
}
MULTIHEAD_KEYS = {
    'weight_pt_head': IS_POSITIVE,
    'real_pt_data_ratio_threshold': IS_NOT_NEGATIVE,
    'validation_fraction': IS_SHARE,
}


def validate_inputs(inputs: Mapping[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the inputs, or None."""
    parameters = inputs['parameters'].get_dict()
    return (
        complete_message(parameters, KEYS)
        or _mode_message(parameters, inputs)
        or _stage_two_message(parameters)
        or data_message(inputs, 'stress' in trained_labels(parameters))
        or missing_offsets_message(inputs, inputs['training'].isolated_atoms)
        or e0s_message(parameters, inputs['training'])
    )


def e0s_message(parameters: Mapping[str, Any], dataset: DatasetData) -> str | None:
    """Return a message about a fault in the E0s, from isolated atoms or from the parameters, or None."""
    return (isolated_atoms_message if dataset.isolated_atoms else offsets_message)(parameters, dataset)


def _mode_message(parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> str | None:
    if 'potential' in inputs:
        return _fine_tune_message(parameters, inputs) or potential_message(inputs, MACE.name)
    if 'replay' in inputs or parameters['multihead'] is not None:
        return 'multihead training needs a potential: give one, or neither replay nor parameters.multihead.'
    if parameters['E0s'] in ('estimated', 'foundation'):
        return f'parameters: E0s = {parameters["E0s"]!r} needs a potential: choose average or give the energies.'
    if parameters['architecture'] is None:
        return 'parameters: architecture is null: training from scratch needs it (or give a potential to fine-tune).'
    return section_message(parameters, 'architecture', ARCHITECTURE_KEYS)


def _fine_tune_message(parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> str | None:
    if parameters['architecture'] is not None:
        return 'parameters: architecture must be null: the potential decides it.'
    if parameters['E0s'] == 'average':
        return "parameters: E0s = 'average' would break the potential's energies: choose estimated or foundation."
    if ('replay' in inputs) != (parameters['multihead'] is not None):
        return 'the dataset replay and parameters.multihead go together: give both or neither.'
    if 'replay' not in inputs:
        return None
    if parameters['loss'] != 'universal':
        return f'parameters: loss = {parameters["loss"]!r}: multihead training in MACE always uses universal.'
    return section_message(parameters, 'multihead', MULTIHEAD_KEYS) or _replay_message(parameters, inputs['replay'])


def _replay_message(parameters: Mapping[str, Any], replay: DatasetData) -> str | None:
    try:
        hold_out(replay.groups, parameters['multihead']['validation_fraction'], parameters['seed'])
    except SplitError as error:
        return f'replay: {error}'
    return None


def _stage_two_message(parameters: Mapping[str, Any]) -> str | None:
    if parameters['stage_two'] is None:
        return None
    message = section_message(parameters, 'stage_two', STAGE_TWO_KEYS)
    if message is None and parameters['stage_two']['start_stage_two'] >= parameters['max_num_epochs']:
        return 'parameters.stage_two: start_stage_two is not below max_num_epochs, so stage two would never start.'
    return message


class MaceTrainCalculation(TrainCalculation):
    """Trains a MACE potential with ``mace_run_train`` from scratch, or fine-tunes it, naively or with a replay set."""

    CACHE_VERSION = 4
    _PROGRAM = 'mace.train'
    _PARAMETERS = KEYS
    _DATASETS: ClassVar[tuple[str, ...]] = ('training', 'validation', 'replay')

    @classmethod
    def training_kind(cls, has_potential: bool, has_replay: bool) -> str:
        """Return ``scratch``, or the kind of the fine-tuning."""
        if not has_potential:
            return 'scratch'
        return 'multihead' if has_replay else 'naive'

    @classmethod
    def without_stress(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the hyper-parameters with only energies and forces as targets."""
        stage_two = parameters['stage_two'] and parameters['stage_two'] | {'stage_two_stress_weight': 0.0}
        return parameters | {'stress_weight': 0.0, 'stage_two': stage_two}

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the inputs of MACE."""
        super().define(spec)
        spec.input(
            'replay',
            valid_type=DatasetData,
            validator=converged_message,
            required=False,
            help="Configurations similar to the potential's training set, with the same kind of labels (multihead).",
        )
        spec.inputs.validator = validate_inputs
        define_exit_codes(spec, 'FINETUNING_MODE_CHANGED')
