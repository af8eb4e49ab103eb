"""Find host and tracer of a dataset, and check before the first job whether workflows can treat the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from aiida_mghdiff.calculations.validation import IS_SYMBOL, self_diffusion_message
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.science.lattice.crystals import Configuration, hcp_unit_cell, interstitial_pairs, lattice_of, thinned
from aiida_mghdiff.science.lattice.geometry import LatticeError, PlacementError, place_tracers
from aiida_mghdiff.science.lattice.hcp import unit_cell

#: Names of host and tracer for Python users.
PARAMETERS = ('the element of host', 'tracer_element')
_CELL_VECTORS = 'abc'
#: Smallest allowed cosine of the angle between the c axis of the host and a cell vector along it.
_PARALLEL = 0.99
#: Limits in u of the masses of D and T. (Atoms of other elements keep masses from before a substitution.)
_HEAVY_HYDROGEN = (1.5, 3.5)


class SubjectError(ValueError):
    """The dataset does not determine host and tracer."""


@dataclass(frozen=True)
class Subject:
    """Host and tracer, as chemical symbols."""

    host: str
    tracer: str


def subject_of(
    dataset: DatasetData,
    host: str | None = None,
    tracer: str | None = None,
    *,
    name: str = 'the dataset',
    choices: tuple[str, str] = PARAMETERS,
) -> Subject:
    """Return the host and the tracer of a dataset; given elements are not searched.

    The tracer is the element on interstitial sites of the host, which has more atoms (``science.lattice.crystals``).

    :param name: name of the dataset; ``choices`` are the user's names of host and tracer, for messages.
    :raises SubjectError: if the dataset has no candidate or several; the message names them.
    """
    elements = dataset.elements
    if tracer is not None and not IS_SYMBOL.holds(tracer):
        raise SubjectError(f'{choices[1]} = {tracer!r} is not {IS_SYMBOL.words}{IS_SYMBOL.advice(tracer)}.')
    atoms_of_host = [host] if host else elements if len(elements) == 1 else []
    if tracer is not None and (message := self_diffusion_message(tracer, atoms_of_host)):
        raise SubjectError(message)
    if host is not None and host not in elements:
        raise SubjectError(f'{name} has no {host}: its elements are {", ".join(elements)}.')
    if host is not None and tracer is not None:
        return Subject(host, tracer)
    pairs = pairs_of(dataset)
    found = [pair for pair in pairs if host in (None, pair.host) and tracer in (None, pair.tracer)]
    if not found and host is None and tracer in [pair.host for pair in pairs]:
        raise SubjectError(self_diffusion_message(tracer, [tracer]))
    hosts = {pair.host for pair in found} or set(elements) - {tracer}
    if not found and tracer is not None and len(hosts) == 1:
        return Subject(hosts.pop(), tracer)
    if len(found) == 1:
        return found[0]
    if tracer is not None and tracer not in elements:
        raise SubjectError(
            f'{name} has no {tracer}: its elements are {", ".join(elements)}. Choose the tracer among these with '
            f'{choices[1]}, or name the host of {tracer} with {choices[0]}.'
        )
    if pairs and not found:
        raise SubjectError(
            f'{name} looks like {_words(pairs)}, not like {tracer or "a tracer"} in {host or "a host"}: if it is, name '
            f'both with {" and ".join(choices)}.'
        )
    asked = [choice for choice, known in zip(choices, (host or len(hosts) == 1, tracer), strict=True) if not known]
    raise SubjectError(_candidates_message(name, elements, found, ' and '.join(asked)))


def _candidates_message(name: str, elements: Sequence[str], found: Sequence[Subject], asked: str) -> str:
    if found:
        return f'{name} may be about {_words(found)}: choose with {asked}.'
    if len(elements) == 1:
        return f'{name} has only {elements[0]} atoms, so the tracer is unknown: name it with {asked}.'
    return (
        f'no element of {name} ({", ".join(elements)}) is found to be interstitial in another: name host '
        f'and tracer with {asked}.'
    )


def _words(pairs: Sequence[Subject]) -> str:
    return ' or '.join(f'{pair.tracer} in {pair.host}' for pair in pairs)


def pairs_of(dataset: DatasetData) -> list[Subject]:
    """Return the candidates of host and tracer, from the composition and geometry of the dataset."""
    pairs = interstitial_pairs(configurations_of(dataset))
    return [Subject(*(chemical_symbols[number] for number in pair)) for pair in pairs]


def configurations_of(dataset: DatasetData) -> list[Configuration]:
    """Return the structures of a dataset."""
    ends = np.cumsum(dataset.get_array('natoms'))[:-1]
    positions, numbers = (np.split(dataset.get_array(name), ends) for name in ('positions', 'numbers'))
    return [Configuration(*arrays) for arrays in zip(dataset.get_array('cells'), positions, numbers, strict=True)]


def hcp_lattice_of(dataset: DatasetData, subject: Subject) -> tuple[float, float]:
    """Return the lattice parameters a and c in Å of the hcp host: means over its configurations.

    Only configurations of the host and of interstitial elements count.

    :raises LatticeError: if there are none, or the host is not hcp.
    """
    interstitial = {subject.tracer} | {pair.tracer for pair in pairs_of(dataset) if pair.host == subject.host}
    known = [atomic_numbers[symbol] for symbol in (subject.host, *interstitial)]
    host = atomic_numbers[subject.host]
    pure = [one for one in configurations_of(dataset) if host in one.numbers and np.isin(one.numbers, known).all()]
    if not pure:
        raise LatticeError(
            f'no configuration of the dataset consists of {subject.host} and interstitial atoms only: '
            'hosts of several elements are not supported yet.'
        )
    atoms = [(one.cell, one.of(host)) for one in thinned(pure)]
    lattice = lattice_of(atoms)
    if lattice != 'hcp':
        raise LatticeError(not_hcp(f'{subject.host}, the host of the dataset,', lattice))
    lengths = np.array(
        [np.linalg.norm(vectors, axis=1) for vectors in map(_unit_cell_or_none, atoms) if vectors is not None]
    )
    if not len(lengths):
        raise LatticeError(
            f'no cell of {subject.host} in the dataset repeats the unit cell of hcp: '
            'atoms are missing, or the cells have vacuum.'
        )
    return round(float(lengths[:, :2].mean()), 3), round(float(lengths[:, 2].mean()), 3)


def _unit_cell_or_none(atoms: tuple[np.ndarray, np.ndarray]) -> np.ndarray | None:
    try:
        return hcp_unit_cell(*atoms)
    except LatticeError:  # the cell is too warm, or has a vacancy
        return None


def not_hcp(what: str, lattice: str | None) -> str:
    """Return the message that refuses a host of another or unknown lattice."""
    found = f'is {lattice}' if lattice else 'has an unknown lattice (not hcp, fcc or bcc)'
    return f'{what} {found}, which is not supported yet: interstitial sites and paths are known only for hcp hosts.'


def host_message(host: orm.StructureData, name: str = 'host') -> str | None:
    """Return why interstitial sites and paths of a host are unknown, or None."""
    atoms = host.get_ase()
    try:
        unit_cell(atoms.cell.array, atoms.positions)
    except LatticeError as error:
        lattice = lattice_of([(atoms.cell.array, atoms.positions)])
        if lattice in ('fcc', 'bcc'):
            return not_hcp(f'{host.get_formula("hill_compact")} ({name})', lattice)
        return f'{name}: {error}'
    return None


def mass_message(structure: orm.StructureData) -> str | None:
    """Return a message if hydrogen atoms have the mass of D or T: all engines here use natural masses."""
    for kind in structure.kinds:
        if kind.symbol == 'H' and _HEAVY_HYDROGEN[0] < kind.mass < _HEAVY_HYDROGEN[1]:
            return (
                f'H atoms of the structure have a mass of {kind.mass:.3f} u: isotopes are not supported: runs '
                f'use the natural mass, {atomic_masses[1]:.3f} u; build the structure with this mass.'
            )
    return None


def axis_message(host: orm.StructureData, c_axis: str | None) -> str | None:
    """Return why this setting cannot separate D along a from D along c in an hcp host, or None."""
    if c_axis is None:
        return None
    atoms = host.get_ase()
    axis = unit_cell(atoms.cell.array, atoms.positions)[2]
    vectors = atoms.cell.array
    cosines = np.abs(vectors @ axis) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(axis)
    along = [name for name, cosine in zip(_CELL_VECTORS, cosines, strict=True) if cosine > _PARALLEL]
    if c_axis in along:
        return None
    right = f'{along[0]} is: set c_axis: {along[0]}' if along else 'none is: set c_axis: null'
    return f'settings: fit: c_axis = {c_axis}, but this cell vector of host is not along its c axis; {right}.'


def placement_message(host: orm.StructureData, supercell: Mapping[str, Any], seed: int) -> str | None:
    """Return why tracers cannot be placed in an hcp host as requested, or None."""
    atoms = host.get_ase()
    count, distance = supercell['tracer_count'], supercell['minimum_distance']
    try:
        place_tracers(atoms.cell.array, atoms.positions, count, seed, distance)
    except PlacementError as error:
        return f'settings: supercell: {error}'
    return None
