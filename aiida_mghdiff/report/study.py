"""What a study holds: read once from the graph, for the tables, figures and the page.

Everything is found by walking down the calls of the study, not in its outputs: a child that failed, or a study that is
not finished, takes nothing else along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_mghdiff.queries import LEARNED, DatasetData, PotentialData
from aiida_mghdiff.report.references import Reference, load_references
from aiida_mghdiff.report.style import COLOURS, ORIGINS

CALLS = (LinkType.CALL_CALC, LinkType.CALL_WORK)


@dataclass(frozen=True)
class Call:
    """A process and the call labels that lead to it from the study."""

    path: tuple[str, ...]
    node: orm.ProcessNode

    @property
    def kind(self) -> str:
        """Return the entry point of the process without the plugin's name, such as ``diffusion`` or ``ase.md``."""
        return (self.node.process_type or '').partition(':mghdiff.')[2]

    @property
    def name(self) -> str:
        """Return the path as text."""
        return ' / '.join(self.path)


@dataclass(frozen=True)
class Errors:
    """Errors of a potential on held-out configurations."""

    label: str
    metrics: orm.Dict
    dataset: DatasetData
    predictions: orm.ArrayData


@dataclass(frozen=True)
class Barrier:
    """Barrier along a path, both ways."""

    label: str
    call: Call
    path: str
    results: orm.Dict


@dataclass(frozen=True)
class Diffusion:
    """Diffusion at one temperature."""

    label: str
    call: Call
    target_temperature_k: float
    results: orm.Dict
    msd: orm.ArrayData
    tracer_element: str
    host: str  # formula
    n_atoms: int

    @property
    def tracer_count(self) -> int:
        """Return the number of tracers in the cell."""
        return self.results['tracer_count']

    @property
    def series(self) -> str:
        """Return the name of what differs from this in temperature alone, such as ``mace_ft, 8 H``."""
        return f'{self.label}, {self.tracer_count} {self.tracer_element}'


@dataclass(frozen=True)
class Arrhenius:
    """Arrhenius fit of one potential at one number of tracers."""

    label: str
    call: Call
    results: orm.Dict
    n_tracers: int
    tracer_element: str

    @property
    def series(self) -> str:
        """Return the name of the diffusion coefficients that it was fitted to, such as ``mace_ft, 8 H``."""
        return f'{self.label}, {self.n_tracers} {self.tracer_element}'


@dataclass(frozen=True)
class RateDiffusion:
    """Diffusion coefficients from rates of hops: of barriers and vibrations, or of jumps that were counted."""

    label: str
    results: orm.Dict


@dataclass(frozen=True)
class Training:
    """Training of a potential."""

    label: str
    curves: orm.ArrayData
    results: orm.Dict
    parameters: orm.Dict


@dataclass(frozen=True)
class EnergyDrift:
    """A job in the NVE ensemble and how well it conserved the energy."""

    label: str
    call: Call
    target_temperature_k: float
    parameters: orm.Dict
    results: orm.Dict


@dataclass(frozen=True)
class NveRun:
    """A run in the NVE ensemble: its jobs, in the order of their steps."""

    path: tuple[str, ...]
    jobs: list[EnergyDrift]

    @property
    def label(self) -> str:
        """Return the label of the potential."""
        return self.jobs[0].label

    @property
    def target_temperature_k(self) -> float:
        """Return the temperature that was asked for."""
        return self.jobs[0].target_temperature_k

    @property
    def time_step_fs(self) -> float:
        """Return the time step."""
        return self.jobs[0].parameters['time_step_fs']

    def outputs(self, name: str) -> list[orm.ArrayData]:
        """Return an output of all jobs that have it."""
        found = [output(job.call, name) for job in self.jobs]
        return [node for node in found if node is not None]


class Study:
    """All that a report says of a study, each with its node; an empty list where there is nothing."""

    def __init__(self, node: orm.WorkChainNode, references: Sequence[Path] = ()) -> None:
        """Read the study of the node.

        :param references: files of published values beside those that come with this package; see ``references``.
        """
        self.node = node
        self.references = load_references(*references)

    def published(self, quantity: str) -> list[Reference]:
        """Return the published values of a quantity."""
        return [reference for reference in self.references if reference.quantity == quantity]

    @cached_property
    def calls(self) -> list[Call]:
        """Return all processes below the study, parents before their children."""
        return list(descend(self.node))

    def of_kind(self, *kinds: str) -> list[Call]:
        """Return the calls of some entry points."""
        return [call for call in self.calls if call.kind in kinds]

    @cached_property
    def inputs(self) -> dict[str, orm.Data]:
        """Return the inputs by link label, such as ``potentials__mace_mp``."""
        return {link.link_label: link.node for link in self.node.base.links.get_incoming(link_type=LinkType.INPUT_WORK)}

    @cached_property
    def potentials(self) -> dict[str, PotentialData]:
        """Return the potentials by label: given, trained and learned ones, by architecture and origin."""
        given = {
            name.removeprefix('potentials__'): node for name, node in self.inputs.items() if 'potentials__' in name
        }
        trained = {call.path[-1].removeprefix('train_'): output(call, 'potential') for call in self.of_kind('train')}
        learned = {LEARNED: next((output(call, 'force_field') for call in self.of_kind('otf')), None)}
        known = {label: node for label, node in (given | trained | learned).items() if node is not None}
        return dict(sorted(known.items(), key=lambda item: rank(*item)))

    def label_of(self, potential: PotentialData) -> str:
        """Return the label of a potential."""
        return next(label for label, node in self.potentials.items() if node.uuid == potential.uuid)

    @cached_property
    def errors(self) -> list[Errors]:
        """Return the errors of the potentials, in their order."""
        evaluations = {
            call.node.outputs.predictions.uuid: call
            for call in self.of_kind('evaluate', 'vasp.evaluate')
            if is_done(call)
        }
        found = []
        for call in filter(is_done, self.of_kind('error_metrics')):
            inputs, metrics = call.node.inputs, call.node.outputs.result
            evaluation = evaluations[inputs.predictions.uuid]
            label = self.label_of(evaluation.node.inputs.potential)
            found.append(Errors(label, metrics, inputs.dataset, inputs.predictions))
        return self.in_order(found)

    @cached_property
    def barriers(self) -> list[Barrier]:
        """Return the barriers, by potential."""
        calls = [call for call in self.of_kind('neb') if output(call, 'barrier') is not None]
        return self.in_order(
            [
                Barrier(self.label_of_call(call), call, call.node.inputs.path['path'], output(call, 'barrier'))
                for call in calls
            ]
        )

    @cached_property
    def diffusion(self) -> list[Diffusion]:
        """Return the diffusion coefficients, by potential and temperature."""
        calls = [call for call in self.of_kind('diffusion') if output(call, 'diffusion') is not None]
        found = [
            Diffusion(
                label=self.label_of_call(call),
                call=call,
                target_temperature_k=call.node.inputs.temperature.value,
                results=call.node.outputs.diffusion,
                msd=call.node.outputs.msd,
                tracer_element=call.node.inputs.settings['supercell']['tracer_element'],
                host=call.node.inputs.host.get_formula('hill_compact'),
                n_atoms=len(call.node.inputs.host.sites) + call.node.outputs.diffusion['tracer_count'],
            )
            for call in calls
        ]
        return self.in_order(sorted(found, key=lambda item: item.target_temperature_k))

    @property
    def series(self) -> dict[str, list[Diffusion]]:
        """Return the diffusion coefficients by series: those that differ in temperature alone."""
        series: dict[str, list[Diffusion]] = {}
        for item in self.diffusion:
            series.setdefault(item.series, []).append(item)
        return series

    @cached_property
    def arrhenius(self) -> list[Arrhenius]:
        """Return the Arrhenius fits, by potential."""
        calls = [call for call in self.of_kind('arrhenius') if output(call, 'arrhenius') is not None]
        return self.in_order([self.read_arrhenius(call) for call in calls])

    def read_arrhenius(self, call: Call) -> Arrhenius:
        """Return the fit of a call."""
        supercell = call.node.inputs.settings['supercell']
        tracers = supercell['tracer_count'], supercell['tracer_element']
        return Arrhenius(self.label_of_call(call), call, call.node.outputs.arrhenius, *tracers)

    @cached_property
    def rate_diffusion(self) -> list[RateDiffusion]:
        """Return the diffusion coefficients from rates, by potential: of barriers, then of jumps."""
        found = [
            RateDiffusion(call.path[-1].removeprefix('barrier_diffusion_'), output(call, kind))
            for call in filter(is_done, self.of_kind('barrier_diffusion'))
            for kind in ('classical', 'quantum')
        ]
        labels = {call.path: self.label_of_call(call) for call in self.of_kind('arrhenius')}
        for call in filter(is_done, self.of_kind('jump_diffusion')):
            found.append(RateDiffusion(labels[call.path[:-1]], output(call, 'result')))
        return self.in_order(found)

    @cached_property
    def trainings(self) -> list[Training]:
        """Return the trainings that gave a potential."""
        calls = [call for call in self.of_kind('train') if output(call, 'potential') is not None]
        return self.in_order(
            [
                Training(
                    call.path[-1].removeprefix('train_'),
                    call.node.outputs.learning_curves,
                    call.node.outputs.results,
                    call.node.inputs.parameters,
                )
                for call in calls
            ]
        )

    @cached_property
    def energy_drifts(self) -> list[EnergyDrift]:
        """Return the NVE jobs, by potential and temperature."""
        found = []
        for call in self.of_kind('lammps.md', 'ase.md', 'vasp.md'):
            results = output(call, 'results')
            if results is not None and results.get('ensemble') == 'nve':
                inputs = call.node.inputs
                label, parameters = self.label_of_call(call), inputs.parameters
                found.append(EnergyDrift(label, call, parameters['temperature_k'], parameters, results))
        return self.in_order(sorted(found, key=lambda item: (item.target_temperature_k, item.call.path)))

    @cached_property
    def runs(self) -> list[NveRun]:
        """Return the NVE runs, by potential and temperature."""
        jobs: dict[tuple[str, ...], list[EnergyDrift]] = {}
        for drift in self.energy_drifts:
            jobs.setdefault(drift.call.path[:-2], []).append(drift)
        first_step = lambda drift: drift.results['first_step']  # noqa: E731
        return [NveRun(path, sorted(drifts, key=first_step)) for path, drifts in jobs.items()]

    def runs_of(self, diffusion: Diffusion) -> list[NveRun]:
        """Return the NVE runs that gave a diffusion coefficient."""
        above = diffusion.call.path
        return [run for run in self.runs if run.path[: len(above)] == above]

    @property
    def showcase(self) -> Diffusion | None:
        """Return what pictures are made of: the best potential that diffused, at its highest temperature."""
        items = [item for item in self.diffusion if item.label == self.best_label] or self.diffusion
        return max(items, key=lambda item: item.target_temperature_k, default=None)

    @property
    def best_label(self) -> str | None:
        """Return the label of the potential with the smallest held-out force error; None where none was evaluated."""
        best = min(self.errors, key=lambda errors: errors.metrics['force_rmse_mev_per_angstrom'], default=None)
        return best.label if best else None

    @cached_property
    def failures(self) -> list[Call]:
        """Return the processes that failed: the innermost ones, and none that a process above it made good."""
        ended = [call for call in self.calls if call.node.is_terminated]
        healed = [call for call in ended if is_done(call)]
        failed = [call for call in ended if not is_done(call) and not any(is_below(call, above) for above in healed)]
        return [call for call in failed if not any(is_below(other, call) for other in failed)]

    def label_of_call(self, call: Call) -> str:
        """Return the label of the potential that a process ran with."""
        return self.label_of(call.node.inputs.potential)

    def in_order(self, items: list[Any]) -> list[Any]:
        """Return items in the order of their potentials."""
        labels = list(self.potentials)
        return sorted(items, key=lambda item: labels.index(item.label))


def descend(node: orm.ProcessNode, path: tuple[str, ...] = ()) -> Iterator[Call]:
    """Yield all processes that a process called, parents before their children, in the order of their calls."""
    links = node.base.links.get_outgoing(link_type=CALLS).all()
    for link in sorted(links, key=lambda link: link.node.pk):
        call = Call((*path, link.link_label), link.node)
        yield call
        yield from descend(call.node, call.path)


def rank(label: str, potential: PotentialData) -> tuple[int, int, str]:
    """Return the place of a potential: by architecture, origin, label."""
    return list(COLOURS).index(potential.architecture), list(ORIGINS).index(potential.origin), label


def output(call: Call, name: str) -> Any:
    """Return an output of a process; None where it has none."""
    return getattr(call.node.outputs, name, None)


def is_done(call: Call) -> bool:
    """Return whether a process finished well."""
    return call.node.is_finished_ok


def is_below(call: Call, other: Call) -> bool:
    """Return whether a process was called, directly or not, by another."""
    return len(call.path) > len(other.path) and call.path[: len(other.path)] == other.path
