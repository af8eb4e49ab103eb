"""The inputs of a study: codes, dataset, potentials, hosts."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path

from aiida import orm
from aiida.common.exceptions import NotExistent
from click import ClickException

from aiida_mghdiff.calculations.functions.dataset import dataset_from_extxyz
from aiida_mghdiff.calculations.functions.supercell import build_hcp, build_host, build_supercell
from aiida_mghdiff.calculations.hosts import Subject
from aiida_mghdiff.cli.option_names import as_options, telling_warnings
from aiida_mghdiff.cli.potentials import find_chgnet, import_potential
from aiida_mghdiff.data.architectures import CHGNET, MACE
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.plausibility import ImplausibleWarning

EXAMPLE = Path('examples/data/mgh_pbe.extxyz')
EXAMPLE_SHA256 = '2d77ddfe2c6afc1e65e188a3fa3b6a25415125365336e95b6fc325f4dd6a9f57'
#: Origin of the labels of the example data, from their README.
EXAMPLE_SETTINGS = {'labelled_by': 'gpaw', 'energy_kind': 'free', 'group_key': 'trajectory'}
#: Origin of the labels of any other file.
OTHER_SETTINGS = {'labelled_by': 'unknown'}
#: The host of the example data, and their lattice constants in Å, from their README.
MAGNESIUM = {'element': 'Mg', 'a': 3.20, 'c': 5.19}
#: Host and tracer of a study without a dataset.
FROM_NOTHING = {'host': 'Mg', 'tracer': 'H'}


def load_codes(computer: str) -> dict[str, orm.AbstractCode]:
    """Return the codes that ``aiida-mghdiff setup`` made on a computer.

    :raises ClickException: if there are no such codes.
    """
    try:
        return {'python': orm.load_code(f'python@{computer}'), 'lammps': orm.load_code(f'mghdiff-lmp@{computer}')}
    except NotExistent:
        raise ClickException(
            f'computer {computer} has no codes python and mghdiff-lmp: make them with `aiida-mghdiff setup`.'
        ) from None


class InputsError(ValueError):
    """Invalid inputs of a study; the message names the remedy, in the options of the command."""

    def __init__(self, message: str) -> None:
        super().__init__(as_options(message))


def load_dataset(path: Path = EXAMPLE, **reading: str | bool | None) -> DatasetData:
    """Return the stored dataset of an extxyz file; the same file gives the same node.

    :param reading: settings of ``dataset_from_extxyz`` that a user chose; None and False mean the default.
    :raises InputsError: if the file cannot be read as labelled configurations; then nothing is stored.
    """
    dataset = read_dataset(path, **reading)
    return dataset if dataset.is_stored else store_dataset(path, **reading)


def read_dataset(path: Path, **reading: str | bool | None) -> DatasetData:
    """Return the dataset of an extxyz file: the stored node if the file was read before, otherwise an unstored node.

    :raises InputsError: if the file cannot be read as labelled configurations.
    """
    settings = orm.Dict(settings_of(path, reading))
    query = orm.QueryBuilder().append(orm.SinglefileData, filters={'extras.sha256': digest_of(path)}, tag='file')
    query.append(orm.CalcFunctionNode, with_incoming='file', tag='reader').append(DatasetData, with_incoming='reader')
    for (known,) in query.all():
        if known.creator.inputs.settings.get_dict() == settings.get_dict():
            return known
    file = orm.SinglefileData(path.resolve())
    with telling_warnings():
        dataset, trial = dataset_from_extxyz.run_get_node(file, settings, metadata={'store_provenance': False})
    if not trial.is_finished_ok:
        raise InputsError(trial.exit_message)
    return dataset


def store_dataset(path: Path, **reading: str | bool | None) -> DatasetData:
    """Return the stored dataset of an extxyz file; ``read_dataset`` has already shown its warnings."""
    file = orm.SinglefileData(path.resolve())
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ImplausibleWarning)
        dataset = dataset_from_extxyz(file, orm.Dict(settings_of(path, reading)))
    file.base.extras.set('sha256', digest_of(path))
    return dataset


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def settings_of(path: Path, reading: Mapping[str, str | bool | None]) -> dict[str, str | bool]:
    """Return the settings with which a file is read."""
    settings = EXAMPLE_SETTINGS if digest_of(path) == EXAMPLE_SHA256 else OTHER_SETTINGS
    return {**settings, **{key: value for key, value in reading.items() if value}}


def load_potential(path: Path | None, head: str | None = None) -> PotentialData:
    """Return a MACE model file as a node; without a file, the weights of CHGNet's package."""
    return import_potential(path, MACE.name, head) if path else import_potential(find_chgnet(), CHGNET.name)


def make_start(repeats: list[int], *, store: bool = True) -> orm.StructureData:
    """Return the first cell of on-the-fly learning: the host with one H on an interstitial site."""
    tracers = {'tracer_element': FROM_NOTHING['tracer'], 'tracer_count': 1, 'seed': 1, 'minimum_distance': 2.6}
    host = make_host(repeats, store=store)
    return build_supercell(host, orm.Dict(tracers), metadata={'store_provenance': store})


def make_host(repeats: list[int], *, store: bool = True) -> orm.StructureData:
    """Return a supercell of hcp magnesium with the lattice constants of the example data.

    :param store: if False, nothing is stored in the profile.
    """
    return build_hcp(orm.Dict(MAGNESIUM | {'repeats': repeats}), metadata={'store_provenance': store})


def make_host_of(
    dataset: DatasetData, subject: Subject, repeats: list[int], path: Path, *, store: bool = True
) -> orm.StructureData:
    """Return a supercell of the host of a dataset from a file, with the lattice constants of these data.

    :param store: if False, nothing is stored in the profile.
    :raises InputsError: if the workflows cannot treat the host.
    """
    if subject.host == MAGNESIUM['element'] and digest_of(path) == EXAMPLE_SHA256:
        return make_host(repeats, store=store)
    settings = {'element': subject.host, 'tracer_element': subject.tracer, 'repeats': repeats}
    host, node = build_host.run_get_node(dataset, orm.Dict(settings), metadata={'store_provenance': store})
    if not node.is_finished_ok:
        raise InputsError(node.exit_message)
    return host
