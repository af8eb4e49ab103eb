"""Kinds of steps of a study and the data flow between them, read from the provenance graph."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from aiida import orm

from aiida_mghdiff import queries
from aiida_mghdiff.data.architectures import architectures
from aiida_mghdiff.report.study import Call, Study

#: Titles of the steps of a study by entry point. Processes without a title only prepare inputs of others.
TITLES = {
    'dataset_from_extxyz': 'Read configurations',
    'dataset_from_mlab': 'Read configurations',
    'vasp.mlff': 'Learn on the fly',
    'split_dataset': 'Split the dataset',
    'evaluate': 'Predict',
    'vasp.evaluate': 'Predict',
    'error_metrics': 'Compare with labels',
    'sample_frames': 'Sample frames',
    'gpaw.singlepoint': 'Label by DFT',
    'vasp.singlepoint': 'Label by DFT',
    'ase.neb': 'Find barriers',
    'vasp.neb': 'Find barriers',
    'ase.vibrations': 'Vibrations',
    'supercell': 'Place tracers',
    'hop': 'Rates of hops',
    'barrier_diffusion': 'D from barriers',
    'diffusion_coefficient': 'Fit D',
    'arrhenius_fit': 'Fit Ea',
    'site_statistics': 'Sites and jumps',
    'jump_diffusion': 'D from jumps',
    'radial_distributions': 'Structure',
    'tracer_pairs': 'Structure',
    'tracer_density': 'Structure',
}
ENSEMBLES = {
    'npt': 'NPT: mean volume',
    'nvt': 'NVT: starts',
    'nve': 'NVE: trajectories',
}
GIVEN = 'Given potentials'


@dataclass(frozen=True)
class Step:
    """A kind of step, with the number of its processes or given nodes by entry point or architecture."""

    title: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class WorkflowGraph:
    """Steps by title, sorted such that arrows lead forward, and arrows between titles."""

    steps: dict[str, Step]
    arrows: set[tuple[str, str]]


def read_workflow_graph(study: Study) -> WorkflowGraph:
    """Return the steps of a study, and an arrow from step a to step b if b used a node that a made.

    Arrows skip steps without a title. An arrow that other arrows imply is left out.
    """
    calls = {pk_of(call.node): call for call in study.calls if isinstance(call.node, orm.CalculationNode)}
    origins = [Call((), node) for dataset in datasets_of(study) for node in queries.lineage(dataset).processes]
    calls |= {pk_of(call.node): call for call in origins}
    given = {pk_of(node): node for name, node in study.inputs.items() if name.startswith('potentials__')}
    titles = {pk: title_of(call) for pk, call in calls.items()} | dict.fromkeys(given, GIVEN)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for pk, title in sorted(titles.items()):
        if title is not None:
            counts[title][calls[pk].kind if pk in calls else given[pk].architecture] += 1
    known = [*calls, -1]  # no node has this PK; AiiDA refuses an empty list
    arrows = through(links_of(known) | inputs_of([*given, -1], known), titles)
    order, forward = ordered(arrows, counts)
    return WorkflowGraph({title: Step(title, counts[title]) for title in order}, reduced(forward, order))


def datasets_of(study: Study) -> list[orm.Data]:
    """Return the dataset among the inputs of a study, if there is one."""
    return [node for name, node in study.inputs.items() if name == 'dataset']


def title_of(call: Call) -> str | None:
    """Return the title of a process; None for a process that only prepares inputs of others."""
    if call.kind.endswith('.md'):
        return ENSEMBLES[call.node.inputs.parameters['ensemble']]
    trained = architectures().get(call.kind.removesuffix('.train'))
    return f'Train {trained.title}' if trained else TITLES.get(call.kind)


def pk_of(node: orm.Node) -> int:
    """Return the number of a stored node."""
    assert node.pk is not None
    return node.pk


def links_of(pks: list[int]) -> set[tuple[int, int]]:
    """Return pairs of calculations such that the second used a node that the first made."""
    query = orm.QueryBuilder().append(orm.CalculationNode, filters={'id': {'in': pks}}, tag='maker', project='id')
    query.append(orm.Data, with_incoming='maker', tag='data')
    query.append(orm.CalculationNode, with_incoming='data', filters={'id': {'in': pks}}, project='id')
    return {tuple(row) for row in query.distinct().all()}


def inputs_of(data: list[int], pks: list[int]) -> set[tuple[int, int]]:
    """Return pairs of a node and a calculation that used it."""
    query = orm.QueryBuilder().append(orm.Data, filters={'id': {'in': data}}, tag='data', project='id')
    query.append(orm.CalculationNode, with_incoming='data', filters={'id': {'in': pks}}, project='id')
    return {tuple(row) for row in query.distinct().all()}


def through(links: set[tuple[int, int]], titles: Mapping[int, str | None]) -> set[tuple[str, str]]:
    """Return links between titles; a chain over processes without a title becomes one link."""
    following = defaultdict(set)
    for first, second in links:
        following[first].add(second)
    reached: dict[int, set[str]] = {}
    for pk in sorted(titles, reverse=True):  # later steps have larger PKs
        ahead = [(titles[other], reached.get(other, set())) for other in following[pk]]
        reached[pk] = {name for title, beyond in ahead for name in (beyond if title is None else {title})}
    links_between = {(titles[pk], name) for pk, names in reached.items() for name in names}
    return {(first, second) for first, second in links_between if first is not None and first != second}


def ordered(arrows: set[tuple[str, str]], titles: Iterable[str]) -> tuple[list[str], set[tuple[str, str]]]:
    """Return titles sorted such that arrows lead forward, and the arrows, with one removed from each cycle."""
    tails = {title: sorted(a for a, b in arrows if b == title) for title in titles}
    try:
        return list(TopologicalSorter(tails).static_order()), arrows
    except CycleError as error:
        first, second, *_ = error.args[1]
        return ordered(arrows - {(first, second), (second, first)}, titles)


def reduced(arrows: set[tuple[str, str]], order: Sequence[str]) -> set[tuple[str, str]]:
    """Return the arrows that no chain of other arrows implies.

    :param order: titles, sorted such that arrows lead forward.
    """
    beyond: dict[str, set[str]] = {}
    for title in reversed(order):
        heads = {b for a, b in arrows if a == title}
        beyond[title] = heads.union(*(beyond[head] for head in heads))
    return arrows - {(a, c) for a, b in arrows for c in beyond[b]}
