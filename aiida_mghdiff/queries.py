"""Queries of the provenance graph: potential, dataset, seeds and versions behind a result, and all results.

Walks go level by level and visit a node once. AiiDA's recursive joins (``with_ancestors``) follow every path instead,
and each segment of a run doubles the number of paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiida import orm

from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import LEARNED as LEARNED
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.data.tracers import TracerTrajectoryData

DATA_LINKS = {'type': {'in': ['create', 'input_calc']}}


@dataclass(frozen=True)
class Lineage:
    """The origin of a result; each list begins with the nearest node."""

    potentials: list[PotentialData]  # the first gave the forces, and was fine-tuned from the others
    datasets: list[DatasetData]  # the last came from the raw files
    raw_files: list[orm.SinglefileData]
    codes: list[orm.AbstractCode]
    processes: list[orm.ProcessNode]
    seeds: dict[str, list[int]]  # by UUID of the process
    versions: dict[str, list[str]]  # by name of the package


def ancestry(node: orm.Node) -> Iterator[list[orm.Node]]:
    """Yield the ancestors of a node, level by level: its creator, the inputs of the creator, and so on."""
    seen, frontier = {node.pk}, [node.pk]
    while frontier:
        query = orm.QueryBuilder().append(orm.Node, filters={'id': {'in': frontier}}, tag='node')
        query.append(orm.Node, with_outgoing='node', edge_filters=DATA_LINKS, project='*')
        found = {parent.pk: parent for parent in query.all(flat=True) if parent.pk not in seen}
        seen |= set(found)
        frontier = sorted(found)
        if frontier:
            yield [found[pk] for pk in frontier]


def potential_of(node: orm.Data) -> PotentialData:
    """Return the potential behind a result: a diffusion coefficient, a barrier, errors, or a fit.

    :raises ValueError: without a potential, or with several equally near potentials.
    """
    if isinstance(node, PotentialData):
        return node
    for level in ancestry(node):
        found = [parent for parent in level if isinstance(parent, PotentialData)]
        if len(found) > 1:
            raise ValueError(f'{node.uuid} came from {len(found)} potentials: {", ".join(p.uuid for p in found)}.')
        if found:
            return found[0]
    raise ValueError(f'{node.uuid} came from no potential.')


def lineage(node: orm.Data) -> Lineage:
    """Return the origin of a result: potentials, datasets, raw files, codes, seeds, versions."""
    nodes = [parent for level in ancestry(node) for parent in level]
    processes = [parent for parent in nodes if isinstance(parent, orm.ProcessNode)]
    return Lineage(
        potentials=[parent for parent in nodes if isinstance(parent, PotentialData)],
        datasets=[parent for parent in nodes if isinstance(parent, DatasetData)],
        raw_files=[parent for parent in nodes if type(parent) is orm.SinglefileData],
        codes=[parent for parent in nodes if isinstance(parent, orm.AbstractCode)],
        processes=processes,
        seeds=seeds_of(processes),
        versions=versions_of(processes),
    )


def seeds_of(processes: Sequence[orm.ProcessNode]) -> dict[str, list[int]]:
    """Return the seeds of processes, by the UUID of the process."""
    has_seed = {'attributes': {'has_key': 'seed'}}
    query = orm.QueryBuilder().append(orm.ProcessNode, filters=among(processes), tag='process', project='uuid')
    query.append(orm.Dict, with_outgoing='process', filters=has_seed, project='attributes.seed')
    seeds: dict[str, set[int]] = {}
    for uuid, seed in query.all():
        seeds.setdefault(uuid, set()).add(seed)
    return {uuid: sorted(values) for uuid, values in seeds.items()}


def versions_of(processes: Sequence[orm.ProcessNode]) -> dict[str, list[str]]:
    """Return the versions that processes recorded: of AiiDA and this package, and of the engines inside the jobs."""
    has_versions = {'attributes': {'has_key': 'versions'}}
    query = orm.QueryBuilder().append(orm.CalcJobNode, filters=among(processes), tag='job')
    query.append(orm.Dict, with_incoming='job', filters=has_versions, project='attributes.versions')
    own = [process.base.attributes.get('version', {}) for process in processes]
    names = {'core': 'aiida-core', 'plugin': 'aiida-mghdiff'}
    recorded = [{names[key]: value for key, value in version.items() if key in names} for version in own]
    versions: dict[str, set[str]] = {}
    for name, version in (item for each in [*recorded, *query.all(flat=True)] for item in each.items()):
        versions.setdefault(name, set()).add(str(version))
    return {name: sorted(values) for name, values in sorted(versions.items())}


def among(nodes: Sequence[orm.Node]) -> dict[str, Any]:
    """Return the filter for these nodes."""
    return {'id': {'in': [node.pk for node in nodes] or [-1]}}  # AiiDA refuses an empty list


def diffusion_coefficients(potential: PotentialData) -> list[orm.Dict]:
    """Return all diffusion coefficients of a potential, the newest last."""
    query = _jobs_with(potential).append(TracerTrajectoryData, with_incoming='job', tag='tracers')
    query.append(orm.CalcFunctionNode, with_incoming='tracers', filters=finished('diffusion_coefficient'), tag='fit')
    query.append(orm.Dict, with_incoming='fit', edge_filters={'label': 'diffusion'}, tag='result', project='*')
    return query.distinct().order_by({'result': 'id'}).all(flat=True)


def activation_energies(potential: PotentialData) -> list[orm.Dict]:
    """Return all Arrhenius fits of a potential, the newest last."""
    query = orm.QueryBuilder().append(orm.Dict, filters=among(diffusion_coefficients(potential)), tag='diffusion')
    query.append(orm.CalcFunctionNode, with_incoming='diffusion', filters=finished('arrhenius_fit'), tag='fit')
    query.append(orm.Dict, with_incoming='fit', tag='result', project='*')
    return query.distinct().order_by({'result': 'id'}).all(flat=True)


def barriers(potential: PotentialData) -> list[orm.Dict]:
    """Return all barriers of a potential, the newest last."""
    query = _jobs_with(potential, {'or': [finished('ase.neb'), finished('vasp.neb')]})
    query.append(orm.Dict, with_incoming='job', edge_filters={'label': 'results'}, tag='result', project='*')
    return query.distinct().order_by({'result': 'id'}).all(flat=True)


def all_rmses() -> list[tuple[PotentialData, DatasetData, orm.Dict]]:
    """Return all evaluations of potentials: potential, dataset and error metrics, the newest last."""
    query = orm.QueryBuilder().append(PotentialData, tag='potential', project='*')
    query.append(orm.CalcJobNode, with_incoming='potential', edge_filters={'label': 'potential'}, tag='job')
    query.append(orm.ArrayData, with_incoming='job', edge_filters={'label': 'predictions'}, tag='predictions')
    query.append(orm.CalcFunctionNode, with_incoming='predictions', filters=finished('error_metrics'), tag='compare')
    query.append(DatasetData, with_outgoing='compare', project='*')
    query.append(orm.Dict, with_incoming='compare', tag='result', project='*')
    return [tuple(row) for row in query.distinct().order_by({'result': 'id'}).all()]


def finished(name: str) -> dict[str, Any]:
    """Return the filter for successful calculations of an entry point of this package."""
    return {'process_type': f'aiida.calculations:mghdiff.{name}', 'attributes.exit_status': 0}


def _jobs_with(potential: PotentialData, filters: dict[str, Any] | None = None) -> orm.QueryBuilder:
    query = orm.QueryBuilder().append(PotentialData, filters={'id': potential.pk}, tag='potential')
    # barriers of VASP stored before version 0.1 have the potential as input force_field
    label = {'label': {'in': ['potential', 'force_field']}}
    return query.append(orm.CalcJobNode, with_incoming='potential', edge_filters=label, filters=filters, tag='job')
