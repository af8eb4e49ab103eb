"""On-the-fly learning: a schedule of temperatures that gives a dataset and a force field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ProcessSpec, ToContext, WorkChain, append_, if_, while_
from aiida_vasp.data.potcar import PotcarData

from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.functions.learning import (
    SETTINGS,
    carry_on,
    learning_history,
    learning_settings_message,
    plan_learning,
    segment_inputs,
    start_of,
)
from aiida_mghdiff.calculations.functions.merge import merge_datasets
from aiida_mghdiff.calculations.validation import keys_help
from aiida_mghdiff.calculations.vasp.mlff import VaspMlffCalculation
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.workflows.cleaning import CleaningMixin
from aiida_mghdiff.workflows.jobs import Options, options_inputs
from aiida_mghdiff.workflows.learning_segment import (
    PARTS,
    START,
    LearningSegmentWorkChain,
    learning_options,
    validate_learning,
    validate_segment,
)
from aiida_mghdiff.workflows.protocol import ProtocolMixin, checks_arguments
from aiida_mghdiff.workflows.restart_loops import define_restarts, loop_inputs
from aiida_mghdiff.workflows.segment import parts_of
from aiida_mghdiff.workflows.setting_checks import without_null
from aiida_mghdiff.workflows.survival import SurvivalMixin, ending

#: Why the dataset lacks some labels of a job: see `merge_datasets`.
LEFT_OUT = 'their SCF did not converge, its convergence is unknown, or a force or stress is implausibly large'


def validate_schedule(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the inputs (start, code, POTCARs, settings, first segment), or None."""
    if message := validate_learning(inputs):
        return message
    if 'settings' not in inputs:
        return None
    values = inputs['settings'].get_dict()
    if message := learning_settings_message(values):
        return message
    tags, job = next(segment_inputs(values, *start_of(start_node(inputs))))
    message = validate_segment({**inputs, 'parameters': orm.Dict(tags), 'settings': orm.Dict(job)})
    return message and f'the first segment is refused: {message}'


def start_node(inputs: Any) -> orm.StructureData | MdStateData:
    """Return the start of the schedule."""
    return inputs['structure'] if 'structure' in inputs else inputs['state']


class OnTheFlyWorkChain(ProtocolMixin, CleaningMixin, SurvivalMixin, WorkChain):
    """Heats a cell and holds its temperature in several segments while VASP learns its force field, then refits.

    Each segment continues from the end of the last one: positions, velocities, thermostat, and force field. The dataset
    has every labelled configuration, with its stage, step and temperature.
    """

    _PROTOCOL_FILE = 'otf'

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        shared = (*START, 'codes', 'options', 'potcars', 'clean_workdir')
        spec.expose_inputs(LearningSegmentWorkChain, include=shared)
        spec.expose_outputs(LearningSegmentWorkChain, exclude=('last_parameters', 'datasets'))
        define_restarts(spec, learn=LearningSegmentWorkChain)
        words = keys_help('Complete settings.', SETTINGS)
        spec.input('settings', valid_type=orm.Dict, serializer=orm.to_aiida_type, help=words)
        spec.input('clean_workdir', valid_type=orm.Bool, default=lambda: orm.Bool(False), help='Empty scratch folders.')
        spec.inputs.validator = validate_schedule
        spec.outline(
            cls.setup,
            while_(cls.has_segments_left)(cls.run_segment, cls.inspect_segment),
            if_(cls.wants_refit)(cls.run_refit, if_(cls.has_crashed)(cls.repeat_crashed), cls.inspect_refit),
            cls.results,
        )
        spec.output('dataset', valid_type=DatasetData, help='All labelled configurations with their origin.')
        spec.output('history', valid_type=orm.Dict, help='Steps, labels and errors, job by job.')
        define_exit_codes(spec, 'SEGMENT_FAILED', 'REFIT_FAILED', 'NOTHING_LEARNED')

    def setup(self) -> None:
        """Plan all segments."""
        plan = plan_learning(self.inputs.settings, start_node(self.inputs), metadata={'call_link_label': 'plan'})
        self.ctx.plan = dict(plan)
        self.ctx.labels = sorted(key.partition('_')[0] for key in plan if key.startswith('seg') and 'param' in key)
        self.ctx.segments, self.ctx.refit = [], None
        exposed = self.exposed_inputs(LearningSegmentWorkChain)
        self.ctx.learned = {'configurations': {}} | {name: exposed[name] for name in START if name in exposed}

    def has_segments_left(self) -> bool:
        """Return whether the schedule has segments left."""
        return len(self.ctx.segments) < len(self.ctx.labels)

    def run_segment(self) -> ToContext:
        """Launch the next segment from the end of the last one."""
        label, plan = self.ctx.labels[len(self.ctx.segments)], self.ctx.plan
        exposed = self.exposed_inputs(LearningSegmentWorkChain)
        inputs = {name: value for name, value in exposed.items() if name not in START}
        inputs |= self.ctx.learned | loop_inputs(self.inputs, 'learn')
        inputs |= {name: plan[f'{label}_{name}'] for name in ('parameters', 'settings')}
        inputs |= {name: plan[name] for name in ('kpoints', 'iconst')}
        if self.ctx.segments:
            before = self.ctx.segments[-1].outputs
            label_of_call = {'call_link_label': f'{label}_carried'}
            last = max(before.results.items())[1]
            inputs['parameters'] = carry_on(  # type: ignore[call-arg]  # AiiDA accepts the label of the call, too
                inputs['parameters'], before.last_parameters, last, metadata=label_of_call
            )
        node = self.submit(LearningSegmentWorkChain, **inputs, metadata={'call_link_label': label})
        return ToContext(segments=append_(node))

    def inspect_segment(self) -> ExitCode | None:
        """Take over the output of the segment; if it failed finally, stop with the results from before."""
        node = self.ctx.segments[-1]
        self.take_over(node)
        if node.is_finished_ok:
            return None
        label = self.ctx.labels[len(self.ctx.segments) - 1]
        self.give_learned()
        return self.exit_codes.ERROR_SEGMENT_FAILED.format(name=label, message=ending(node))

    def take_over(self, segment: orm.WorkChainNode) -> None:
        """Let the next segment begin with the learned configurations and the end of this segment."""
        outputs, learned = segment.outputs, self.ctx.learned
        if 'state' in outputs:
            self.ctx.learned = learned = {name: node for name, node in learned.items() if name != 'structure'}
        for name in ('state', 'learning_state'):
            if name in outputs:
                learned[name] = outputs[name]
        if 'configurations' in outputs:
            learned['configurations'] = dict(outputs.configurations)

    def wants_refit(self) -> bool:
        """Return whether a refit is requested and possible."""
        return 'refit_parameters' in self.ctx.plan and 'learning_state' in self.ctx.learned

    def run_refit(self) -> ToContext:
        """Launch the refit of all configurations in fast mode."""
        plan, learned = self.ctx.plan, self.ctx.learned
        inputs = {
            'code': self.inputs.codes['vasp'],
            'potcars': dict(self.inputs.potcars),
            'state': learned['state'],
            'configurations': learned['configurations'],
            'learning_state': learned['learning_state'],
            'kpoints': plan['kpoints'],
            'parameters': plan['refit_parameters'],
            'settings': plan['refit_settings'],
            'metadata': {'call_link_label': 'refit', 'options': learning_options(self.inputs)},
        }
        return ToContext(refit=self.submit(VaspMlffCalculation, **inputs))

    def inspect_refit(self) -> ExitCode | None:
        """Stop if the refit failed, with the results from before."""
        if self.ctx.refit.is_finished_ok:
            return None
        self.give_learned()
        return self.exit_codes.ERROR_REFIT_FAILED.format(message=ending(self.ctx.refit))

    def results(self) -> ExitCode | None:
        """Return the dataset, the force field and the history."""
        self.give_learned()
        if 'dataset' in self.outputs:
            return None
        reason = f'{LEFT_OUT}.' if self.datasets() else 'there are no labels; lower ML_CTIFOR.'
        return self.exit_codes.ERROR_NOTHING_LEARNED.format(message=reason)

    def datasets(self) -> dict[str, DatasetData]:
        """Return the labelled configurations of each job of the schedule."""
        return parts_of(self.ctx.segments, 'datasets')

    def give_learned(self) -> None:
        """Return all available results, so that labels from before a failure are not lost."""
        for name in PARTS:
            self.out(name, parts_of(self.ctx.segments, name))
        for name in ('state', 'learning_state'):
            if name in self.ctx.learned:
                self.out(name, self.ctx.learned[name])
        self.out('configurations', self.ctx.learned['configurations'])
        if datasets := self.datasets():
            merged, call = merge_datasets.run_get_node(**datasets, metadata={'call_link_label': 'merge'})
            if call.is_finished_ok:
                self.out('dataset', merged)
                self.report_left_out(datasets.values(), merged)
        if results := parts_of(self.ctx.segments, 'results'):
            self.out('history', learning_history(**results, metadata={'call_link_label': 'history'}))  # type: ignore[arg-type]
        learned = [node for node in (*self.ctx.segments, self.ctx.refit) if node and 'force_field' in node.outputs]
        if learned:
            self.out('force_field', learned[-1].outputs.force_field)

    def report_left_out(self, datasets: Iterable[DatasetData], merged: DatasetData) -> None:
        """Report the number of labelled configurations that are not in the dataset."""
        name = 'n_configurations'
        total = sum(node.base.attributes.get(name) for node in datasets)
        if left_out := total - merged.base.attributes.get(name):
            self.report(f'{left_out} of {total} configurations are left out of the dataset: {LEFT_OUT}')

    @classmethod
    def get_protocol_inputs(cls, protocol: str | None = None, overrides: dict | None = None) -> dict[str, Any]:
        """Return the settings of a protocol, updated by the overrides, without tags that are null."""
        inputs = super().get_protocol_inputs(protocol, overrides)
        tags = {name: inputs['settings'][name] for name in ('electrons', 'learning', 'refit')}
        inputs['settings'] |= {name: values and without_null(values) for name, values in tags.items()}
        return inputs

    @classmethod
    @checks_arguments
    def get_builder_from_protocol(
        cls,
        codes: dict[str, orm.AbstractCode],
        potcars: dict[str, PotcarData],
        start: orm.StructureData | MdStateData,
        *,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: Options | None = None,
    ) -> ProcessBuilder:
        """Return a builder.

        :param codes: ``vasp``; ``reduce``: a Python interpreter on its machine, to reduce trajectories there.
        :param potcars: POTCARs by element.
        :param start: a structure with tracers, with atoms grouped by element, or a state to continue from.
        :param overrides: overrides of the protocol file: ``settings``, ``clean_workdir``.
        :param options: ``metadata.options`` for all jobs (``default``), and for learning (``learn``).
        :raises ValueError: for an unknown protocol, and for keys of the overrides that the protocol file does not have.
        """
        inputs = cls.get_protocol_inputs(protocol, overrides)
        builder = cls.get_builder()
        builder.codes = codes
        builder.potcars = potcars
        builder['state' if isinstance(start, MdStateData) else 'structure'] = start
        builder.settings = orm.Dict(inputs['settings'])
        builder.options = options_inputs(options, default=inputs['options'])
        builder.clean_workdir = orm.Bool(inputs['clean_workdir'])
        return builder
