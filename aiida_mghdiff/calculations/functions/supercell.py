"""Supercells of the host, and tracers in them."""

from __future__ import annotations

from collections.abc import Sequence

from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_mghdiff.calculations.exit_codes import SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.hosts import Subject, hcp_lattice_of
from aiida_mghdiff.calculations.validation import (
    IS_COUNT,
    IS_NOT_NEGATIVE,
    IS_POSITIVE,
    IS_STEP,
    IS_SYMBOL,
    Check,
    self_diffusion_message,
    three_of,
)
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.science.lattice.geometry import LatticeError, PlacementError, hcp_supercell, place_tracers

_ARE_REPEATS = three_of(IS_COUNT, 'positive whole numbers')
HCP_SETTINGS = {
    'element': IS_SYMBOL,
    'a': IS_POSITIVE,
    'c': IS_POSITIVE,
    'repeats': _ARE_REPEATS,
}
HOST_SETTINGS = {'element': IS_SYMBOL, 'tracer_element': IS_SYMBOL, 'repeats': _ARE_REPEATS}
TRACER_SETTINGS = {
    'tracer_element': IS_SYMBOL,
    'tracer_count': Check('a whole number', lambda value: isinstance(value, int) and not isinstance(value, bool)),
    'seed': IS_STEP,
    'minimum_distance': IS_NOT_NEGATIVE,
}


@refusing(SettingsError)
@calcfunction
def build_hcp(settings: orm.Dict) -> orm.StructureData:
    """Return a supercell of an hcp crystal.

    :param settings: ``element``, ``a`` and ``c`` in Å, ``repeats`` along the three cell vectors.
    """
    values = read_settings(settings, HCP_SETTINGS)
    return _hcp(values['element'], values['a'], values['c'], values['repeats'])


@refusing(SettingsError, LatticeError)
@calcfunction
def build_host(dataset: DatasetData, settings: orm.Dict) -> orm.StructureData:
    """Return a supercell of the hcp host of a dataset, at the mean lattice parameters of its configurations.

    Only configurations of the host and interstitial atoms count, also warm and strained ones.

    :param settings: ``element`` of the host, ``tracer_element``, ``repeats`` along the three cell vectors.
    """
    values = read_settings(settings, HOST_SETTINGS)
    if message := self_diffusion_message(values['tracer_element'], [values['element']]):
        raise SettingsError(message)
    subject = Subject(values['element'], values['tracer_element'])
    return _hcp(subject.host, *hcp_lattice_of(dataset, subject), values['repeats'])


def _hcp(element: str, a: float, c: float, repeats: Sequence[int]) -> orm.StructureData:
    cell, positions = hcp_supercell(a, c, repeats)
    return orm.StructureData(ase=Atoms([element] * len(positions), positions, cell=cell, pbc=True))


@refusing(SettingsError, LatticeError, PlacementError)
@calcfunction
def build_supercell(host: orm.StructureData, settings: orm.Dict) -> orm.StructureData:
    """Return the host with tracers on random interstitial sites, octahedral or tetrahedral, after the host atoms.

    :param host: hcp supercell without tracers.
    :param settings: ``tracer_element``, ``tracer_count``, ``seed``, ``minimum_distance`` between tracers in Å.
    """
    values = read_settings(settings, TRACER_SETTINGS)
    atoms = host.get_ase()
    if message := self_diffusion_message(values['tracer_element'], atoms.get_chemical_symbols()):
        raise SettingsError(message)
    names = ('tracer_count', 'seed', 'minimum_distance')
    sites = place_tracers(atoms.cell.array, atoms.positions, *(values[name] for name in names))
    tracers = Atoms([values['tracer_element']] * len(sites), sites)
    return orm.StructureData(ase=atoms + tracers)
