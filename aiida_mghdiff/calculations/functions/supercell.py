"""Supercells of the host, and tracers in them."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_mghdiff.calculations.functions.refusals import SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.validation import IS_COUNT, IS_NOT_NEGATIVE, IS_POSITIVE, IS_STEP, IS_SYMBOL, Check
from aiida_mghdiff.science.lattice import LatticeError, PlacementError, hcp_supercell, place_tracers


def _are_repeats(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(map(IS_COUNT.holds, value))


HCP_SETTINGS = {
    'element': IS_SYMBOL,
    'a': IS_POSITIVE,
    'c': IS_POSITIVE,
    'repeats': Check('a list of three positive whole numbers', _are_repeats),
}
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
    cell, positions = hcp_supercell(values['a'], values['c'], tuple(values['repeats']))
    return orm.StructureData(ase=Atoms([values['element']] * len(positions), positions, cell=cell, pbc=True))


@refusing(SettingsError, LatticeError, PlacementError)
@calcfunction
def build_supercell(host: orm.StructureData, settings: orm.Dict) -> orm.StructureData:
    """Return the host with tracers on random interstitial sites, octahedral or tetrahedral, behind the host atoms.

    :param host: hcp supercell without tracers.
    :param settings: ``tracer_element``, ``tracer_count``, ``seed``, ``minimum_distance`` between tracers in Å.
    """
    values = read_settings(settings, TRACER_SETTINGS)
    atoms = host.get_ase()
    names = ('tracer_count', 'seed', 'minimum_distance')
    sites = place_tracers(atoms.cell.array, atoms.positions, *(values[name] for name in names))
    tracers = Atoms([values['tracer_element']] * len(sites), sites)
    return orm.StructureData(ase=atoms + tracers)
