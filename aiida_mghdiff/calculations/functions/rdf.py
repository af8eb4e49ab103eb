"""Radial distribution functions of all pairs of elements, of tracers by their site, and of tracers on random sites."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.exit_codes import MismatchError, SegmentsError, SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.functions.lattice import STRUCTURE_SETTINGS, LatticeReplicas
from aiida_mghdiff.calculations.functions.replicas import Replica, read_replicas
from aiida_mghdiff.science.lattice.geometry import LatticeError, SitesError
from aiida_mghdiff.science.positions import PositionsError
from aiida_mghdiff.science.rdf import bin_centres, coordination_numbers, pair_histogram


class Histograms:
    """Sums of pair numbers by name, measured and in an ideal gas."""

    def __init__(self, r_max: float, n_bins: int) -> None:
        """Start without pairs."""
        self.r_max, self.n_bins = r_max, n_bins
        self.sums: dict[str, Any] = {}

    def add(self, name: str, frames: np.ndarray, cells: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
        """Count the pairs of two groups of atoms in frames; without a frame or a pair, do nothing."""
        if not len(frames) or len(np.union1d(first, second)) < 2:
            return
        found = np.array(pair_histogram(frames, cells, (first, second), self.r_max, self.n_bins, own_images=False))
        self.sums[name] = self.sums.get(name, 0) + found

    def distribution(self, name: str) -> np.ndarray:
        """Return g(r) [b]."""
        return np.divide(*self.sums[name])

    def add_numbers(self, arrays: dict[str, np.ndarray], name: str, density: float) -> None:
        """Add g(r) and the coordination numbers up to r, for the density in 1/Å³ of the counted atoms."""
        arrays[name] = self.distribution(name)
        arrays[f'{name}_coordination'] = coordination_numbers(arrays[name], self.r_max, density)


@refusing(SettingsError, SegmentsError, MismatchError, LatticeError, SitesError, PositionsError)
@calcfunction
def radial_distributions(
    settings: orm.Dict, host: orm.StructureData | None = None, **runs: orm.ArrayData
) -> orm.ArrayData:
    """Return the radial distribution functions of all replicas together; see ``science.rdf``.

    Arrays: ``distances`` [b], the centres of the bins in Å; g(r) [b] of each pair of elements, ``Mg_Mg``, ``Mg_H``,
    ``H_H`` (host first; tracers from all their frames, other atoms from the full frames). Each has a
    ``<name>_coordination`` [b], the mean number of atoms of the first element around an atom of the second, up to the
    bin's outer edge. With a host there are also ``Mg_H_octahedral`` and ``Mg_H_tetrahedral``, for tracers on such a
    site; ``H_H_random_sites``, for tracers on random sites with the measured occupancy and vibrations; and the ratio
    ``H_H_over_random_sites`` (NaN if the denominator is zero).

    :param settings: ``maximum_distance`` and ``bin_width`` in Å; ``core_radius`` of sites in Å;
        ``random_arrangements``, their number, and their ``seed``; and settings of the other analyses of structure.
    :param host: ideal hcp supercell without tracers; without a host, there are no results by site.
    :param runs: segments of tracers by keys ``r<replica>_s<index>``, full frames by ``r<replica>_f<index>``.
    """
    values, replicas = read_settings(settings, STRUCTURE_SETTINGS), read_replicas(runs)
    n_bins = max(1, round(values['maximum_distance'] / values['bin_width']))
    histograms = Histograms(values['maximum_distance'], n_bins)
    for run in replicas:
        count_elements(histograms, run)
    lattice = None if host is None else LatticeReplicas(host, replicas, values['core_radius'])
    if lattice is not None:
        count_by_site(histograms, lattice, values)
    return orm.ArrayData(rdf_arrays(histograms, replicas[0], with_sites=lattice is not None))


def count_elements(histograms: Histograms, run: Replica) -> None:
    """Count the pairs of all elements of a replica."""
    groups = element_groups(run)
    for first, second in combinations_with_replacement(groups, 2):
        if first == second == run.tracer_element:
            everyone = np.arange(run.tracer_positions.shape[1])
            histograms.add(f'{first}_{second}', run.tracer_positions, run.cell, everyone, everyone)
        else:
            histograms.add(f'{first}_{second}', run.frames, run.frame_cells, groups[first], groups[second])


def element_groups(run: Replica) -> dict[str, np.ndarray]:
    """Return the indices of the atoms of each element, the tracers last."""
    elements = [*sorted(set(run.symbols) - {run.tracer_element}), run.tracer_element]
    return {element: np.flatnonzero(run.symbols == element) for element in elements}


def count_by_site(histograms: Histograms, lattice: LatticeReplicas, values: dict[str, Any]) -> None:
    """Count the pairs of host atoms with tracers on each kind of site, and the pairs of tracers on random sites."""
    for run, jumps in zip(lattice.replicas, lattice.jumps, strict=True):
        groups = element_groups(run)
        tracers = groups.pop(run.tracer_element)
        is_octahedral = lattice.sites.is_octahedral[jumps.occupied[run.tracer_rows]]
        for column, tracer in enumerate(tracers):
            for kind, rows in (('octahedral', is_octahedral[:, column]), ('tetrahedral', ~is_octahedral[:, column])):
                for element, atoms in groups.items():
                    name = f'{element}_{run.tracer_element}_{kind}'
                    histograms.add(name, run.frames[rows], run.frame_cells[rows], atoms, np.array([tracer]))
    tracer, everyone = lattice.replicas[0].tracer_element, np.arange(lattice.positions[0].shape[1])
    random = lattice.random_tracers(values['random_arrangements'], values['seed'])
    histograms.add(f'{tracer}_{tracer}_random_sites', random, lattice.sites.cell, everyone, everyone)


def rdf_arrays(histograms: Histograms, run: Replica, with_sites: bool) -> dict[str, np.ndarray]:
    """Return the arrays of the result."""
    arrays = {'distances': bin_centres(histograms.r_max, histograms.n_bins)}
    volume = abs(np.linalg.det(run.cell))
    for name in histograms.sums:
        first, second, *_ = name.split('_')
        histograms.add_numbers(arrays, name, (np.sum(run.symbols == first) - (first == second)) / volume)
    pair = f'{run.tracer_element}_{run.tracer_element}'
    if with_sites and pair in arrays:
        null = arrays[f'{pair}_random_sites']
        ratio = np.divide(arrays[pair], null, out=np.full_like(null, np.nan), where=null > 0)
        arrays[f'{pair}_over_random_sites'] = ratio
    return arrays
