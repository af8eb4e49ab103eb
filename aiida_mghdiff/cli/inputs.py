"""The inputs of a study on the example data: codes, dataset, potentials, host."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiida import orm
from aiida.common.exceptions import NotExistent
from click import ClickException

from aiida_mghdiff.calculations.functions.dataset import dataset_from_extxyz
from aiida_mghdiff.calculations.functions.supercell import build_hcp, build_supercell
from aiida_mghdiff.cli.potentials import find_chgnet, import_potential
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import PotentialData

EXAMPLE = Path('examples/data/mgh_pbe.extxyz')
#: How the example data are labelled (their README).
EXAMPLE_SETTINGS = {'labels': 'gpaw', 'energy_kind': 'free', 'group_key': 'trajectory'}
#: Of another file nothing is known.
OTHER_SETTINGS = {'labels': 'unknown'}
#: Lattice constants in Å.
MAGNESIUM = {'element': 'Mg', 'a': 3.20, 'c': 5.19}


def load_codes(computer: str) -> dict[str, orm.AbstractCode]:
    """Return the codes that ``aiida-mghdiff setup`` made on a computer.

    :raises ClickException: where there are none.
    """
    try:
        return {'python': orm.load_code(f'python@{computer}'), 'lammps': orm.load_code(f'mghdiff-lmp@{computer}')}
    except NotExistent:
        raise ClickException(
            f'there are no codes python and mghdiff-lmp on computer {computer}: `aiida-mghdiff setup` makes them.'
        ) from None


def load_dataset(path: Path = EXAMPLE) -> DatasetData:
    """Return the dataset of an extxyz file; the same file gives the same node, and stays in the graph.

    :raises ValueError: where the file cannot be read as labelled configurations; nothing of it is stored then.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    query = orm.QueryBuilder().append(orm.SinglefileData, filters={'extras.sha256': digest}, tag='file')
    query.append(orm.CalcFunctionNode, with_incoming='file', tag='reader').append(DatasetData, with_incoming='reader')
    if (known := query.first(flat=True)) is not None:
        return known
    file = orm.SinglefileData(path.resolve())
    settings = orm.Dict(EXAMPLE_SETTINGS if path.name == EXAMPLE.name else OTHER_SETTINGS)
    _, trial = dataset_from_extxyz.run_get_node(file, settings, metadata={'store_provenance': False})
    if not trial.is_finished_ok:
        raise ValueError(trial.exit_message)
    dataset = dataset_from_extxyz(file, settings)
    file.base.extras.set('sha256', digest)
    return dataset


def load_potential(path: Path | None) -> PotentialData:
    """Return a MACE model file as a node, or the weights that CHGNet brings where none is given."""
    return import_potential(path, 'mace') if path else import_potential(find_chgnet(), 'chgnet')


def make_start(repeats: list[int]) -> orm.StructureData:
    """Return the cell that on-the-fly learning starts from: the host with one H on an interstitial site."""
    tracers = {'tracer_element': 'H', 'tracer_count': 1, 'seed': 1, 'minimum_distance': 2.6}
    return build_supercell(make_host(repeats), orm.Dict(tracers))


def make_host(repeats: list[int]) -> orm.StructureData:
    """Return a supercell of hcp magnesium, at the lattice constants of the example data."""
    return build_hcp(orm.Dict(MAGNESIUM | {'repeats': repeats}))
