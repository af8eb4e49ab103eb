"""Datasets from files, and their splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_mghdiff.calculations.exit_codes import SettingsError, refusing
from aiida_mghdiff.calculations.validation import (
    IS_BOOL,
    IS_SEED,
    IS_TEXT,
    Check,
    complete_message,
    one_of,
    optional,
    unknown_message,
)
from aiida_mghdiff.data.dataset import ENERGY_KINDS, DatasetData, converged_message
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.formats.frames import index_groups
from aiida_mghdiff.formats.mlab import labelled_by_of, read_mlab
from aiida_mghdiff.science.splits import SplitError, check_indices, split_by_group

SETS = ('training', 'validation', 'test')
IS_KEY = Check('a key of the file', lambda value: isinstance(value, str) and value != '')
IS_FRACTIONS = Check(f'a fraction for each of {", ".join(SETS)}, which sum to one', lambda value: _are_fractions(value))
ARE_INDICES = Check(f'a list of indices for {", ".join(SETS)}', lambda value: _are_indices(value))
#: The two ways to split a dataset.
FRACTIONS_SETTINGS = {'fractions': IS_FRACTIONS, 'seed': IS_SEED}
INDICES_SETTINGS = {'indices': ARE_INDICES}

# Each setting has a default, because most files follow conventions.
MLAB_SETTINGS = {'labelled_by': (None, optional(IS_TEXT)), 'allow_implausible': (False, IS_BOOL)}
EXTXYZ_SETTINGS = {
    'labelled_by': (None, IS_TEXT),
    'energy_kind': ('free', one_of(*ENERGY_KINDS)),
    'energy_key': ('REF_energy', IS_KEY),
    'forces_key': ('REF_forces', IS_KEY),
    'stress_key': ('REF_stress', optional(IS_KEY)),
    'group_key': (None, optional(IS_KEY)),
    'allow_implausible': (False, IS_BOOL),
}


@refusing(SettingsError, FormatError)
@calcfunction
def dataset_from_mlab(file: orm.SinglefileData, settings: orm.Dict) -> DatasetData:
    """Return the configurations of VASP's ML_AB or ML_ABN as a dataset. Its energies are free energies.

    :param settings: ``labelled_by``, the origin of the labels; null (the default) means the origin in the file:
        ``standin:<labeller>`` for labels that the stand-in for VASP marked, and no other origin is accepted for these;
        else ``vasp``. ``allow_implausible`` (default false): accept implausible labels (``formats.plausibility``).
    """
    values = _with_defaults(settings, MLAB_SETTINGS)
    with file.as_path() as path, _NamedFile(file):
        frames = read_mlab(path, values['allow_implausible']).frames
    labelled_by = _labelled_by(frames, values['labelled_by'])
    # the reader has already checked implausible labels, because it knows the place in the file
    return DatasetData.from_frames(frames, energy_kind='free', labelled_by=labelled_by, allow_implausible=True)


@refusing(SettingsError, FormatError)
@calcfunction
def dataset_from_extxyz(file: orm.SinglefileData, settings: orm.Dict) -> DatasetData:
    """Return the labelled configurations of an extended XYZ file as a dataset.

    Frames of isolated atoms become the attribute ``isolated_atoms``: the E0s of a training of MACE.

    :param settings: ``labelled_by``, the origin of the labels, must be given. Defaults: ``energy_kind`` ``free``;
        ``energy_key`` ``REF_energy``; ``forces_key`` ``REF_forces``; ``stress_key`` ``REF_stress`` (null: no
        stresses); ``group_key`` null, or a key that is equal in correlated frames (one trajectory);
        ``allow_implausible`` false: implausible labels (``formats.plausibility``) are refused.
    """
    values = _with_defaults(settings, EXTXYZ_SETTINGS)
    options = {key: value for key, value in values.items() if key.endswith('_key') or key == 'allow_implausible'}
    with file.as_path() as path, _NamedFile(file):
        content = read_extxyz(path, **options)
    groups, names = (None, None) if content.groups is None else index_groups(content.groups)
    return DatasetData.from_frames(
        content.frames,
        energy_kind=values['energy_kind'],
        labelled_by=values['labelled_by'],
        groups=None if groups is None else groups.tolist(),
        group_names=names,
        isolated_atoms=content.isolated_atoms,
        allow_implausible=True,  # the reader has checked
    )


@refusing(SettingsError, SplitError)
@calcfunction
def split_dataset(dataset: DatasetData, settings: orm.Dict) -> dict[str, DatasetData]:
    """Return ``training``, ``validation`` and ``test``; a set that is not requested or has fraction 0 is left out.

    A group of correlated configurations is never cut. If there are enough groups, the training set contains each
    composition; for on-the-fly learning, each composition in every stage of the run. Configurations keep their order.

    :param settings: ``fractions`` of the sets, which sum to one, and ``seed``; or ``indices`` of the sets.
    """
    return split(dataset, settings.get_dict())


def split(dataset: DatasetData, values: Mapping[str, Any]) -> dict[str, DatasetData]:
    """Return the unstored datasets that ``split_dataset`` makes with these settings.

    :raises SettingsError: for settings that are incomplete or wrong.
    :raises SplitError: if the dataset cannot be split in this way, or the SCF of some labels may not have converged.
    """
    sets_of_settings(values)
    if message := converged_message(dataset):
        raise SplitError(message)
    arrays = dataset.get_arrays()
    groups = dataset.groups.tolist()
    if 'indices' in values:
        chosen = _chosen_sets(values)
        check_indices(chosen, groups)
        sets: Mapping[str, Iterable[int]] = chosen
    else:
        sets = split_by_group(groups, _strata(arrays), **values)
    return {name: dataset.select([int(index) for index in indices]) for name, indices in sets.items()}


def sets_of_settings(values: Mapping[str, Any], place: str = 'settings') -> set[str]:
    """Return the names of the sets that ``split_dataset`` makes with these settings.

    :param place: where the settings are, as the user writes it.
    :raises SettingsError: for settings that are incomplete or wrong.
    """
    if 'indices' in values:
        return set(_chosen_sets(values, place))
    _require(_unknown_set(values, 'fractions', place) or complete_message(values, FRACTIONS_SETTINGS, place))
    return {name for name, share in values['fractions'].items() if share > 0}


def _labelled_by(frames: list[Atoms], said: str | None) -> str:
    """Return the origin of the labels of frames of ML_AB.

    :param said: origin in the settings, or None.
    """
    found = {labelled_by_of(frame) for frame in frames}
    if found == {'vasp'}:
        return said or 'vasp'
    if len(found | {said or min(found)}) > 1:
        other = f', settings.labelled_by is {said}' if said else ''
        raise SettingsError(f'the file is labelled by {", ".join(sorted(found))}{other}: give labels of one origin.')
    return found.pop()


class _NamedFile:
    """Replaces the temporary path in the error of a reader by the file's own name."""

    def __init__(self, file: orm.SinglefileData) -> None:
        self.name = file.filename

    def __enter__(self) -> None: ...

    def __exit__(self, _: type | None, error: BaseException | None, __: object) -> None:
        if isinstance(error, FormatError):
            raise FormatError(self.name, error.place, error.reason) from error


def _with_defaults(settings: orm.Dict, known: Mapping[str, tuple[Any, Check]]) -> dict[str, Any]:
    values = {key: default for key, (default, _) in known.items()} | settings.get_dict()
    _require(complete_message(values, {key: check for key, (_, check) in known.items()}, 'settings'))
    return values


def _require(problem: str | None) -> None:
    if problem is not None:
        raise SettingsError(problem)


def _are_fractions(value: Any) -> bool:
    """Return whether these are fractions of known sets that sum to one, with some training set."""
    if not isinstance(value, dict) or not set(value) <= set(SETS) or not value.get('training'):
        return False
    numbers = [share for share in value.values() if isinstance(share, int | float) and 0 <= share <= 1]
    return len(numbers) == len(value) and abs(sum(numbers) - 1) < 1e-6


def _unknown_set(values: Mapping[str, Any], key: str, place: str) -> str | None:
    sets = values.get(key)
    return unknown_message(sets, SETS, f'{place}.{key}') if isinstance(sets, Mapping) else None


def _chosen_sets(values: Mapping[str, Any], place: str = 'settings') -> dict[str, list[int]]:
    _require(_unknown_set(values, 'indices', place) or complete_message(values, INDICES_SETTINGS, place))
    return {name: values['indices'][name] for name in SETS if name in values['indices']}


def _are_indices(value: Any) -> bool:
    """Return whether these are non-empty lists of whole numbers for known sets, including training."""
    if not isinstance(value, dict) or not set(value) <= set(SETS) or 'training' not in value:
        return False
    return all(isinstance(each, list) and each and all(type(index) is int for index in each) for each in value.values())


def _strata(arrays: Mapping[str, np.ndarray]) -> list[tuple[int, ...]]:
    """Return the stratum of each configuration, which all sets should contain: composition and, if known, stage."""
    ends = np.cumsum(arrays['natoms'])
    stages = arrays.get('stages', np.zeros(len(ends), dtype=int)).tolist()
    compositions = np.split(arrays['numbers'], ends[:-1])
    return [(stage, *sorted(numbers)) for stage, numbers in zip(stages, compositions, strict=True)]
