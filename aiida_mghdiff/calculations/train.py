"""Ports, files, outputs and exit codes that the training jobs of all architectures share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from aiida import orm
from aiida.engine import CalcJobProcessSpec
from ase.data import chemical_symbols

from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.program import ProgramCalculation, array_files
from aiida_mghdiff.calculations.validation import (
    IS_BOOL,
    IS_COUNT,
    IS_NUMBER,
    IS_SEED,
    Check,
    complete_message,
    one_of,
)
from aiida_mghdiff.data.dataset import DatasetData, converged_message
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.job_files import CHECKPOINT_FILE, CURVES_FILE, MODEL_FILE
from aiida_mghdiff.science.energy_offsets import (
    OffsetError,
    check_determined,
    check_each,
    check_offsets,
    element_counts,
    fit_offsets,
)

IS_DECAY = Check('a number between 0 and 1', lambda value: IS_NUMBER.holds(value) and 0 < value <= 1)
IS_SHARE = Check('a number above 0 and below 1', lambda value: IS_NUMBER.holds(value) and 0 < value < 1)

#: Largest difference in eV of equal energies.
_SAME_EV = 1e-3

#: Parameters that every architecture has.
COMMON_KEYS = {
    'batch_size': IS_COUNT,
    'valid_batch_size': IS_COUNT,
    'max_num_epochs': IS_COUNT,
    'patience': IS_COUNT,
    'allow_implausible': IS_BOOL,
    'seed': IS_SEED,
    'device': one_of('cpu', 'cuda', 'mps'),
}


def e0s_check(*names: str) -> Check:
    """Return the check of ``E0s``: one of the names, or energies in eV by symbol."""

    def holds(value: Any) -> bool:
        return value in names if isinstance(value, str) else _are_energies(value)

    return Check(f'one of {", ".join(names)} or a dictionary of energies in eV by symbol', holds)


def _are_energies(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(IS_NUMBER.holds(energy) for energy in value.values())


def section_message(parameters: Mapping[str, Any], section: str, keys: Mapping[str, Check]) -> str | None:
    """Return a message about a fault in a section, a dictionary within the parameters."""
    return complete_message(parameters[section], keys, f'parameters.{section}')


def data_message(inputs: Mapping[str, Any], uses_stress: bool) -> str | None:
    """Return a message about a fault in the datasets for these parameters, or None."""
    parameters = inputs['parameters'].get_dict()
    names = [name for name in ('training', 'validation', 'replay') if name in inputs]
    without = [name for name in names if not inputs[name].base.attributes.get('has_stress')]
    if uses_stress and without:
        return f'{" and ".join(without)} lacks stresses: set stress_weight = 0 (MACE) or targets = ef (CHGNet).'
    if alone := [name for name in names if inputs[name].has_only_isolated_atoms]:
        return f'{" and ".join(alone)} has isolated atoms only: merge it with other configurations (merge_datasets).'
    count = inputs['training'].base.attributes.get('n_configurations')
    if parameters['batch_size'] > count:
        return (
            f'parameters: batch_size = {parameters["batch_size"]} is larger than the training set ({count}): lower it, '
            'or give more configurations.'
        )
    return None


def offsets_message(
    parameters: Mapping[str, Any], dataset: DatasetData, isolated: Mapping[str, float] | None = None
) -> str | None:
    """Return a message about a fault in the E0s of a training set that is visible without the potential, or None.

    :param isolated: energies in eV by symbol, which have priority over the parameters.
    """
    kind, known = parameters['E0s'], dict(isolated or {})
    if isinstance(kind, Mapping):
        known = {**kind, **known}
    if parameters['allow_implausible'] or not (known or kind == 'average'):
        return None
    arrays = dataset.get_arrays()
    numbers = np.unique(arrays['numbers'])
    symbols = [chemical_symbols[number] for number in numbers]
    counts = element_counts(arrays['natoms'], arrays['numbers'], numbers)
    try:
        if kind == 'average' and not set(symbols) <= set(known):
            left = arrays['energies'] - counts @ [known.get(symbol, 0.0) for symbol in symbols]
            check_determined(counts, left, symbols, known)
            values = np.array([known.get(symbol, np.nan) for symbol in symbols])
            known = dict(zip(symbols, fit_offsets(counts, arrays['energies'], values)[0].tolist(), strict=True))
        if set(symbols) <= set(known):
            check_offsets(counts, arrays['energies'], {symbol: known[symbol] for symbol in symbols})
        else:
            check_each(counts, arrays['energies'], symbols, known)
    except OffsetError as error:
        return f'training: {error}; to train anyway, set allow_implausible.'
    return None


def missing_offsets_message(inputs: Mapping[str, Any], known: Iterable[str] = ()) -> str | None:
    """Return a message with the elements whose E0 the parameters lack, if they give energies, or None.

    :param known: symbols whose E0s are known without the parameters.
    """
    kind = inputs['parameters']['E0s']
    if not isinstance(kind, Mapping):
        return None
    if missing := sorted(elements_of(inputs) - set(kind) - set(known)):
        return f'parameters: E0s has no energy of {", ".join(missing)}: add it.'
    return None


def isolated_atoms_message(parameters: Mapping[str, Any], dataset: DatasetData) -> str | None:
    """Return why the isolated atoms of a training set cannot be its E0s, or None."""
    isolated, kind = dataset.isolated_atoms, parameters['E0s']
    given = kind if isinstance(kind, Mapping) else {}
    for symbol in sorted(set(isolated) & set(given)):
        if abs(isolated[symbol] - given[symbol]) > _SAME_EV:
            return (
                f'parameters: E0s gives {symbol} {given[symbol]:g} eV, but the isolated {symbol} of the training set '
                f'has {isolated[symbol]:g} eV: leave out one of them.'
            )
    return offsets_message(parameters, dataset, isolated)


def potential_message(inputs: Mapping[str, Any], architecture: str) -> str | None:
    """Return a message about a fault in the potential to fine-tune."""
    potential = inputs['potential']
    if potential.architecture != architecture:
        return f'the potential is a {potential.architecture} potential: this job trains {architecture}.'
    return potential.unknown_message(elements_of(inputs))


def elements_of(inputs: Mapping[str, Any]) -> set[str]:
    """Return the symbols of the elements in the training and validation set."""
    return {symbol for name in ('training', 'validation') if name in inputs for symbol in inputs[name].elements}


class TrainCalculation(ProgramCalculation):
    """Trains a potential with one of the training programs."""

    CONTINUED_FROM = 'checkpoint'
    _TEMPORARY_FILES: ClassVar[tuple[str, ...]] = (MODEL_FILE, CURVES_FILE, CHECKPOINT_FILE)
    _DATASETS: ClassVar[tuple[str, ...]] = ('training', 'validation')

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports and exit codes that all trainings share."""
        super().define(spec)
        words = 'Configurations for training.'
        spec.input('training', valid_type=DatasetData, validator=converged_message, help=words)
        spec.input(
            'validation',
            valid_type=DatasetData,
            validator=converged_message,
            help='Configurations that choose the best epoch.',
        )
        spec.input('potential', valid_type=PotentialData, required=False, help='Potential to fine-tune.')
        spec.input(
            'checkpoint',
            valid_type=orm.SinglefileData,
            required=False,
            help='Output of a job with the same inputs that ran out of wall time, from which training continues.',
        )
        spec.output('potential', valid_type=PotentialData, required=False, help='The weights of the best epoch.')
        spec.output(
            'learning_curves',
            valid_type=orm.ArrayData,
            required=False,
            help='For each epoch: epoch, stage, learning_rate, and loss, energy_rmse (eV/atom), force_rmse (eV/Å) and '
            'stress_rmse (eV/Å³), each with the suffix _train (running means) and _valid.',
        )
        spec.output('checkpoint', valid_type=orm.SinglefileData, required=False, help='State that a restart continues.')
        define_exit_codes(spec, 'E0S_IGNORED', 'STRUCTURES_REPLACED', 'TRAINING_DIVERGED')

    @classmethod
    def training_kind(cls, has_potential: bool, has_replay: bool) -> str:
        """Return the kind of a training, as the protocols call it."""
        raise NotImplementedError

    @classmethod
    def without_stress(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the hyper-parameters with only energies and forces as targets."""
        raise NotImplementedError

    def program_inputs(self) -> dict[str, Any]:
        """Return the description of the potential, and the energies of isolated atoms."""
        has_potential = 'potential' in self.inputs
        return {
            'potential': self.inputs.potential.description_for_program if has_potential else None,
            'isolated_atoms': self.inputs.training.isolated_atoms,
        }

    def input_files(self) -> list[tuple[str, str, str]]:
        """Return the datasets, the potential and the checkpoint."""
        files = [
            entry for name in self._DATASETS if name in self.inputs for entry in array_files(self.inputs[name], name)
        ]
        if 'potential' in self.inputs:
            files.append(self.inputs.potential.copy_entry())
        if 'checkpoint' in self.inputs:
            checkpoint = self.inputs.checkpoint
            files.append((checkpoint.uuid, checkpoint.filename, CHECKPOINT_FILE))
        return files
