"""Merge datasets of several jobs."""

from __future__ import annotations

import numpy as np
from aiida.engine import Process, calcfunction

from aiida_mghdiff.calculations.exit_codes import MismatchError, refusing
from aiida_mghdiff.data.dataset import NAMED, DatasetData
from aiida_mghdiff.formats.frames import concatenate_frames, select_frames
from aiida_mghdiff.formats.isolated_atoms import join_energies
from aiida_mghdiff.formats.plausibility import within_bounds


@refusing(MismatchError)
@calcfunction
def merge_datasets(**datasets: DatasetData) -> DatasetData:
    """Return configurations as one dataset, in the order of the keys.

    From datasets that were learned on the fly, some labels are left out: their SCF is not known to have converged, or
    they are implausibly large. The report gives the number. Groups and stages of the same name become one, and so do
    isolated atoms of one element.

    Datasets cannot be merged if only some have groups, if only some know the origin of their configurations, or if two
    energies of an isolated atom of one element differ.
    """
    nodes = [datasets[key] for key in sorted(datasets)]
    origins = {node.labelled_by for node in nodes}
    kinds = {node.base.attributes.get('energy_kind') for node in nodes}
    if len(origins) > 1 or len(kinds) > 1:
        raise MismatchError(f'labels of {", ".join(sorted(origins))} ({", ".join(sorted(kinds))}) cannot be merged.')
    arrays = [node.get_arrays() for node in nodes]
    if len({tuple(sorted(part)) for part in arrays}) > 1 or 'groups' not in arrays[0]:
        raise MismatchError(
            'all datasets must have groups, and all or none must have the origin of their configurations.'
        )
    names = {attribute: _join_names(nodes, arrays, array, attribute) for array, attribute in NAMED.items()}
    merged = concatenate_frames(arrays)
    good = np.flatnonzero(np.concatenate([_are_good(key, datasets[key]) for key in sorted(datasets)]))
    if not len(good):
        raise MismatchError('no configuration has a converged SCF and plausible labels.')
    try:
        return DatasetData.from_arrays(
            select_frames(merged, good.tolist()),
            energy_kind=kinds.pop(),
            labelled_by=origins.pop(),
            isolated_atoms=join_energies((key, node.isolated_atoms) for key, node in sorted(datasets.items())),
            **names,
        )
    except ValueError as error:
        raise MismatchError(f'{error}.') from error


def _are_good(key: str, part: DatasetData) -> np.ndarray:
    """Return which configurations [n] of a dataset are kept; report the number of others.

    Only on-the-fly learning in VASP accepts labels of any size. In other datasets the reader or the user accepted them.
    """
    converged = part.are_converged
    if 'converged' not in part.get_arraynames():
        return converged
    good = converged & within_bounds(part.get_arrays())
    if left_out := int((~good).sum()):
        Process.current().report(
            f'{key}: {left_out} of {len(good)} configurations are left out: the SCF of '
            f'{int((~converged).sum())} is not known to have converged, the other labels are too large.'
        )
    return good


def _join_names(
    nodes: list[DatasetData], arrays: list[dict[str, np.ndarray]], array: str, attribute: str
) -> list[str] | None:
    """Let the indices of all datasets refer to the same names; return these names, or None without names."""
    if array not in arrays[0]:
        return None
    names = list(dict.fromkeys(name for node in nodes for name in node.base.attributes.get(attribute)))
    for part, node in zip(arrays, nodes, strict=True):
        own = [names.index(name) for name in node.base.attributes.get(attribute)]
        part[array] = np.array(own)[part[array]]
    return names
