"""What the example scripts share: codes, dataset, potential and host of the profile that ``verdi run`` has loaded."""

from __future__ import annotations

from pathlib import Path

from aiida import orm

from aiida_mghdiff.calculations.functions.dataset import dataset_from_extxyz
from aiida_mghdiff.calculations.functions.supercell import build_hcp
from aiida_mghdiff.cli.potentials import find_chgnet, import_potential
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import PotentialData

DATASET = Path(__file__).parent / 'data' / 'mgh_pbe.extxyz'


def load_codes(computer: str) -> dict[str, orm.AbstractCode]:
    """Return the codes that ``aiida-mghdiff setup`` made on a computer."""
    return {'python': orm.load_code(f'python@{computer}'), 'lammps': orm.load_code(f'mghdiff-lmp@{computer}')}


def load_dataset(path: Path = DATASET) -> DatasetData:
    """Return the labelled configurations of an extxyz file; the raw file stays in the graph."""
    settings = orm.Dict({'labels': 'gpaw', 'energy_kind': 'free', 'group_key': 'trajectory'})
    return dataset_from_extxyz(orm.SinglefileData(path.resolve()), settings)


def load_potential(path: Path | None) -> PotentialData:
    """Return a MACE model file as a node, or the weights that CHGNet brings where none is given."""
    return import_potential(path, 'mace') if path else import_potential(find_chgnet(), 'chgnet')


def make_host(repeats: int) -> orm.StructureData:
    """Return a cell of hcp magnesium, repeated in all directions."""
    return build_hcp(orm.Dict({'element': 'Mg', 'a': 3.20, 'c': 5.19, 'repeats': [repeats] * 3}))
