"""The results of a study, read once from the graph for tables, figures and the page.

All results come from the processes below the study, not from its outputs, so that a failed child or an unfinished study
hides no other result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.queries import LEARNED
from aiida_mghdiff.report.references import Reference, load_references
from aiida_mghdiff.report.style import DFT_STYLE, ORIGINS, Style, place_of, styles_of, styles_of_series
from aiida_mghdiff.science.bands import Band, read_band

#: Origin of errors on the configurations that a study kept from training.
HELD_OUT = 'held-out'
#: Label of barriers without a potential.
DFT = 'DFT'
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


class ForeignNodeError(ValueError):
    """A validation or barrier that does not belong to the study."""


@dataclass(frozen=True)
class Errors:
    """Errors of a potential on labelled configurations."""

    label: str
    metrics: orm.Dict
    dataset: DatasetData
    predictions: orm.ArrayData
    source: str = HELD_OUT

    @property
    def name(self) -> str:
        """Return the label and, if not the held-out configurations, the validation of the errors."""
        return self.label if self.source == HELD_OUT else f'{self.label}, {self.source}'


@dataclass(frozen=True)
class Barrier:
    """Barriers along a path in both directions."""

    label: str
    call: Call
    path: str
    results: orm.Dict

    @property
    def band(self) -> Band:
        """Return the barriers from the energies along the path and, if present, the vibrations.

        Nodes of earlier versions hold a barrier of 0.0 for an end that is not a minimum.
        """
        vibrations = output(self.call, 'vibrations') or {}
        modes = {name: vibrations[name]['n_imaginary_modes'] for name in vibrations}
        return read_band(self.results['energies_ev'], modes)


@dataclass(frozen=True)
class Diffusion:
    """Diffusion at one temperature."""

    label: str
    series: str  # name of the coefficients that differ in temperature only
    call: Call
    target_temperature_k: float
    results: orm.Dict
    msd: orm.ArrayData
    tracer_element: str
    time_step_fs: float
    host: str  # formula
    n_atoms: int

    @property
    def tracer_count(self) -> int:
        """Return the number of tracers in the cell."""
        return self.results['tracer_count']


@dataclass(frozen=True)
class Arrhenius:
    """Arrhenius fit of one series of diffusion coefficients."""

    label: str
    series: str
    call: Call
    results: orm.Dict
    tracer_count: int
    time_step_fs: float


@dataclass(frozen=True)
class RateDiffusion:
    """Diffusion coefficients from rates of hops: from barriers and vibrations, or from counted jumps."""

    label: str
    series: str | None  # series in which the jumps were counted; None for barriers
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
        """Return the target temperature."""
        return self.jobs[0].target_temperature_k

    @property
    def time_step_fs(self) -> float:
        """Return the time step."""
        return self.jobs[0].parameters['time_step_fs']

    def outputs(self, name: str) -> list[Any]:
        """Return an output of all jobs, without the jobs that lack it."""
        found = [output(job.call, name) for job in self.jobs]
        return [node for node in found if node is not None]


class Study:
    """All results of a study for its report, each with its node."""

    def __init__(
        self,
        node: orm.WorkChainNode,
        references: Sequence[Path] = (),
        validations: Sequence[orm.Node] = (),
        barriers: Sequence[orm.Node] = (),
    ) -> None:
        """Read the results of a study.

        :param references: the user's files of published values; see ``references``.
        :param validations: finished processes of ``mghdiff.validate`` for potentials of this study.
        :param barriers: finished processes of ``mghdiff.neb`` for potentials of this study or DFT.
        :raises ForeignNodeError: for a process that does not belong to the study.
        """
        self.node = node
        self.all_references = load_references(*references)
        self.validations = [errors for other in validations for errors in self.read_validation(other)]
        self.other_barriers = [self.read_barrier(other) for other in barriers]

    @cached_property
    def systems(self) -> list[str]:
        """Return the systems of diffusion runs and barriers, such as ``H in Mg``."""
        found = {
            (call.node.inputs.settings['supercell']['tracer_element'], call.node.inputs.host)
            for call in self.of_kind('diffusion')
        }
        found |= {(call.node.inputs.path['tracer_element'], call.node.inputs.host) for call in self.of_kind('neb')}
        return sorted({f'{tracer} in {host.get_formula("hill_compact")}' for tracer, host in found})

    @cached_property
    def references(self) -> list[Reference]:
        """Return the published values for the systems of the study."""
        return [value for value in self.all_references if value.system is None or value.system in self.systems]

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
        links = self.node.base.links.get_incoming(link_type=LinkType.INPUT_WORK)
        return {link.link_label: link.node for link in links if isinstance(link.node, orm.Data)}

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

    def label_in(self, process: orm.ProcessNode, potential: PotentialData) -> str:
        """Return the label of the potential of a process outside the study.

        :raises ForeignNodeError: if the potential is not in this study.
        """
        known = {node.uuid: label for label, node in self.potentials.items()}
        if potential.uuid not in known:
            own = ', '.join(f'{label}<{node.pk}>' for label, node in self.potentials.items()) or 'none'
            raise ForeignNodeError(
                f'{name_of(process)} ran with potential<{potential.pk}>, which is not in the study: it has {own}.'
            )
        return known[potential.uuid]

    def read_validation(self, node: orm.Node) -> list[Errors]:
        """Return the errors of all evaluated potentials on the frames of a validation."""
        process = finished_process(node, 'validate', 'metrics')
        source = node.label or f'validation {node.pk}'
        return [
            Errors(
                self.label_in(process, process.inputs.potentials[key]),
                process.outputs.metrics[key],
                process.outputs.dataset,
                process.outputs.predictions[key],
                source,
            )
            for key in process.outputs.metrics
        ]

    def read_barrier(self, node: orm.Node) -> Barrier:
        """Return a barrier from a process outside the study."""
        process = finished_process(node, 'neb', 'barrier')
        label = self.label_in(process, process.inputs.potential) if 'potential' in process.inputs else DFT
        return Barrier(label, Call((name_of(node),), process), process.inputs.path['path'], process.outputs.barrier)

    @cached_property
    def errors(self) -> list[Errors]:
        """Return the errors of the potentials: on held-out configurations, then on validations."""
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
        return self.in_order(found + self.validations)

    @cached_property
    def barriers(self) -> list[Barrier]:
        """Return the barriers, by potential, DFT last.

        :raises ForeignNodeError: for two barriers of the same path and potential.
        """
        calls = [call for call in self.of_kind('neb') if output(call, 'barrier') is not None]
        found = [
            Barrier(self.label_of_call(call), call, call.node.inputs.path['path'], output(call, 'barrier'))
            for call in calls
        ]
        known = {(barrier.label, barrier.path) for barrier in found}
        for barrier in self.other_barriers:
            if (barrier.label, barrier.path) in known:
                raise ForeignNodeError(
                    f'{name_of(barrier.call.node)}: there is already a barrier of {barrier.label} along {barrier.path}.'
                )
            known.add((barrier.label, barrier.path))
        return self.in_order(found + self.other_barriers)

    @cached_property
    def diffusion(self) -> list[Diffusion]:
        """Return the diffusion coefficients, by potential and temperature."""
        calls = [call for call in self.of_kind('diffusion') if output(call, 'diffusion') is not None]
        found = [
            Diffusion(
                label=self.label_of_call(call),
                series=self.series_of(call),
                call=call,
                target_temperature_k=call.node.inputs.temperature.value,
                results=call.node.outputs.diffusion,
                msd=call.node.outputs.msd,
                tracer_element=call.node.inputs.settings['supercell']['tracer_element'],
                time_step_fs=call.node.inputs.settings['nve']['time_step_fs'],
                host=call.node.inputs.host.get_formula('hill_compact'),
                n_atoms=len(call.node.inputs.host.sites) + call.node.outputs.diffusion['tracer_count'],
            )
            for call in calls
        ]
        return self.in_order(sorted(found, key=lambda item: item.target_temperature_k))

    @cached_property
    def series(self) -> dict[str, list[Diffusion]]:
        """Return the diffusion coefficients by series; coefficients of a series differ in temperature only."""
        return by_series(self.diffusion)

    def series_of(self, call: Call) -> str:
        """Return the name of the series of a run, such as ``mace_ft, 8 H, 0.5 fs``.

        The name has the time step if the potential ran with several at this number of tracers.
        """
        name, step = self.content_of(call), call.node.inputs.settings['nve']['time_step_fs']
        return f'{name}, {step:g} fs' if len(self.time_steps[name]) > 1 else name

    def content_of(self, call: Call) -> str:
        """Return the potential and the number of tracers of a run, such as ``mace_ft, 8 H``."""
        supercell = call.node.inputs.settings['supercell']
        return f'{self.label_of_call(call)}, {supercell["tracer_count"]} {supercell["tracer_element"]}'

    @cached_property
    def time_steps(self) -> dict[str, set[float]]:
        """Return the time steps in fs of each potential and number of tracers."""
        steps: dict[str, set[float]] = {}
        for call in self.of_kind('diffusion'):
            steps.setdefault(self.content_of(call), set()).add(call.node.inputs.settings['nve']['time_step_fs'])
        return steps

    @cached_property
    def styles(self) -> dict[str, Style]:
        """Return the styles of all potentials and of DFT."""
        return styles_of(self.potentials) | {DFT: DFT_STYLE}

    @cached_property
    def series_styles(self) -> dict[str, Style]:
        """Return the styles of all series: the potential's style, with a different shade and marker for each series."""
        return styles_of_series({name: items[0].label for name, items in self.series.items()}, self.styles)

    @cached_property
    def arrhenius(self) -> list[Arrhenius]:
        """Return the Arrhenius fits, by potential."""
        calls = [call for call in self.of_kind('arrhenius') if output(call, 'arrhenius') is not None]
        return self.in_order([self.read_arrhenius(call) for call in calls])

    def read_arrhenius(self, call: Call) -> Arrhenius:
        """Return the fit of a call."""
        settings = call.node.inputs.settings
        label, series, results = self.label_of_call(call), self.series_of(call), call.node.outputs.arrhenius
        tracer_count, time_step = settings['supercell']['tracer_count'], settings['nve']['time_step_fs']
        return Arrhenius(label, series, call, results, tracer_count, time_step)

    @cached_property
    def rate_diffusion(self) -> list[RateDiffusion]:
        """Return the diffusion coefficients from rates, by potential: from barriers, then from jumps."""
        found = [
            RateDiffusion(call.path[-1].removeprefix('barrier_diffusion_'), None, output(call, kind))
            for call in filter(is_done, self.of_kind('barrier_diffusion'))
            for kind in ('classical', 'quantum')
        ]
        names = {call.path: (self.label_of_call(call), self.series_of(call)) for call in self.of_kind('arrhenius')}
        for call in filter(is_done, self.of_kind('jump_diffusion')):
            found.append(RateDiffusion(*names[call.path[:-1]], output(call, 'result')))
        return self.in_order(found)

    @cached_property
    def trainings(self) -> list[Training]:
        """Return the successful trainings."""
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
        """Return the NVE runs of a diffusion coefficient."""
        above = diffusion.call.path
        return [run for run in self.runs if run.path[: len(above)] == above]

    @property
    def showcase(self) -> Diffusion | None:
        """Return the diffusion run for pictures: the best potential at its highest temperature."""
        items = [item for item in self.diffusion if item.label == self.best_label] or self.diffusion
        return max(items, key=lambda item: item.target_temperature_k, default=None)

    @property
    def best_label(self) -> str | None:
        """Return the label of the potential with the smallest held-out force error; None without evaluations."""
        return self.best_errors.label if self.best_errors else None

    @property
    def best_errors(self) -> Errors | None:
        """Return the errors with the smallest held-out force error; None without evaluations."""
        held_out = [errors for errors in self.errors if errors.source == HELD_OUT]
        return min(held_out, key=lambda errors: errors.metrics['force_rmse_mev_per_angstrom'], default=None)

    @cached_property
    def failures(self) -> list[Call]:
        """Return the innermost failed processes, without failures from which a process above recovered."""
        ended = [call for call in self.calls if call.node.is_terminated]
        healed = [call for call in ended if is_done(call)]
        failed = [call for call in ended if not is_done(call) and not any(is_below(call, above) for above in healed)]
        return [call for call in failed if not any(is_below(other, call) for other in failed)]

    def label_of_call(self, call: Call) -> str:
        """Return the label of the potential of a process."""
        return self.label_of(call.node.inputs.potential)

    def in_order(self, items: list[Any]) -> list[Any]:
        """Return items in the order of their potentials."""
        labels = [*self.potentials, DFT]
        return sorted(items, key=lambda item: labels.index(item.label))


def descend(node: orm.ProcessNode, path: tuple[str, ...] = ()) -> Iterator[Call]:
    """Yield all processes that a process called, parents before their children, in the order of their calls."""
    links = node.base.links.get_outgoing(link_type=CALLS).all()
    for link in sorted(links, key=attrgetter('node.pk')):
        if isinstance(link.node, orm.ProcessNode):
            call = Call((*path, link.link_label), link.node)
            yield call
            yield from descend(call.node, call.path)


def by_series(items: Iterable[Diffusion]) -> dict[str, list[Diffusion]]:
    """Return diffusion coefficients by series, in the given order."""
    series: dict[str, list[Diffusion]] = {}
    for item in items:
        series.setdefault(item.series, []).append(item)
    return series


def rank(label: str, potential: PotentialData) -> tuple[int, int, str]:
    """Return the sort key of a potential: architecture, origin, label."""
    return place_of(potential.architecture), list(ORIGINS).index(potential.origin), label


def output(call: Call, name: str) -> Any:
    """Return an output of a process, or None."""
    return getattr(call.node.outputs, name, None)


def name_of(node: orm.Node) -> str:
    """Return the type and PK of a node."""
    return f'{getattr(node, "process_label", None) or type(node).__name__}<{node.pk}>'


def finished_process(node: orm.Node, kind: str, result: str) -> orm.ProcessNode:
    """Check that a node is a finished process of a kind and has a result.

    :raises ForeignNodeError: for any other node.
    """
    if not isinstance(node, orm.ProcessNode) or node.process_type != f'aiida.workflows:mghdiff.{kind}':
        raise ForeignNodeError(f'{name_of(node)} is not a process of mghdiff.{kind}.')
    if not node.is_finished or result not in node.outputs:
        message = node.exit_message or getattr(node.process_state, 'value', 'not begun')
        raise ForeignNodeError(f'{name_of(node)} has no {result}: {message}.')
    return node


def is_done(call: Call) -> bool:
    """Return whether a process finished successfully."""
    return call.node.is_finished_ok


def is_below(call: Call, other: Call) -> bool:
    """Return whether a process was called, directly or not, by another."""
    return len(call.path) > len(other.path) and call.path[: len(other.path)] == other.path
