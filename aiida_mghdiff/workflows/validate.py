"""Errors of potentials on frames of runs, labelled from first principles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode, ProcessBuilder, ProcessSpec, ToContext, WorkChain, if_
from aiida_vasp.data.potcar import PotcarData

from aiida_mghdiff.calculations.exit_codes import MismatchError, define_exit_codes
from aiida_mghdiff.calculations.functions.metrics import error_metrics
from aiida_mghdiff.calculations.functions.sampling import SAMPLING_SETTINGS, check_runs, sample_frames
from aiida_mghdiff.calculations.validation import complete_message, joined, keys_help
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.science.sampling import TooFewFramesError, sample_evenly
from aiida_mghdiff.workflows.cleaning import CleaningMixin
from aiida_mghdiff.workflows.engines import (
    PYTHON,
    engines_of,
    evaluation,
    evaluation_help,
    evaluation_parameters,
    options_message,
)
from aiida_mghdiff.workflows.jobs import Options, options_inputs
from aiida_mghdiff.workflows.label import ENGINES, LabelWorkChain, validate_label
from aiida_mghdiff.workflows.protocol import ProtocolMixin, checks_arguments, refuse_unchosen
from aiida_mghdiff.workflows.survival import SurvivalMixin, ending

DIFFUSION = 'aiida.workflows:mghdiff.diffusion'


def validate_validation(inputs: Mapping[str, Any], _: Any = None) -> str | None:
    """Return a message about all faults of the inputs, or None: potentials, frames, their evaluation and labels."""
    if not inputs.get('potentials'):
        return 'there is no potential: give the potentials to evaluate, by label.'
    if not inputs.get('trajectories') or not all(inputs['trajectories'].values()):
        return 'there are no frames: give trajectories of runs, {run: {nve_0: TrajectoryData}}.'
    messages = [message for item in inputs['potentials'].items() for message in _potential_messages(inputs, *item)]
    return joined([*messages, *_sampling_messages(inputs), _label_message(inputs)])


def _sampling_messages(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield messages about runs with too few frames to sample, or with frames that do not fit together."""
    if 'sampling' not in inputs or validate_sampling(inputs['sampling']):
        return
    for run, parts in inputs['trajectories'].items():
        nodes = list(parts.values())
        try:
            check_runs(nodes)
            sample_evenly(sum(node.numsteps for node in nodes), **inputs['sampling'].get_dict())
        except (MismatchError, TooFewFramesError) as error:
            yield f'trajectories.{run}: {error}'


def _potential_messages(inputs: Mapping[str, Any], label: str, potential: PotentialData) -> Iterator[str | None]:
    """Yield why a potential cannot be evaluated: its elements, code, settings or POTCARs."""
    symbols = {symbol for node in _frames(inputs).values() for symbol in node.symbols}
    if unknown := sorted(symbols - set(potential.elements)):
        yield f'potentials.{label} does not know {", ".join(unknown)}, which the frames contain: leave it out.'
    name, codes = potential.architecture, inputs.get('codes', {})
    try:
        job = engines_of(name).evaluation
    except ValueError as error:
        yield f'potentials.{label}: {error}'
        return
    if job.key(name, codes) not in codes:
        yield f'codes.{job.role} is missing: it evaluates {label}; `aiida-mghdiff setup` makes the code.'
    if job.role == PYTHON and name not in inputs.get('evaluation', {}):
        yield f'evaluation has no parameters for {name} potentials, such as {label}.'
    yield job.message(inputs, sorted(potential.elements)) or options_message(inputs, 'evaluate', job, name)


def _frames(inputs: Mapping[str, Any]) -> dict[str, orm.TrajectoryData]:
    """Return the full frames of all runs by run and key."""
    runs = inputs['trajectories'].items()
    return {f'{run}__{key}': node for run, parts in runs for key, node in parts.items()}


def _label_message(inputs: Mapping[str, Any]) -> str | None:
    """Return why the frames cannot be labelled, or None."""
    shared = {name: inputs.get(name, {}) for name in ('codes', 'options', 'potcars')}
    message = validate_label({**inputs.get('label', {}), **shared, 'structures': _frames(inputs)})
    return message and f'label: {message}'


def validate_sampling(node: orm.Dict, _: Any = None) -> str | None:
    """Return a message about a fault in the settings of ``sample_frames``, or None."""
    return complete_message(node.get_dict(), SAMPLING_SETTINGS, 'sampling')


def run_trajectories(run: orm.WorkChainNode) -> dict[str, orm.TrajectoryData]:
    """Return the full frames of the NVE runs of a ``DiffusionWorkChain``, by run and segment.

    :raises ValueError: for another process, or a process without frames.
    """
    if run.process_type != DIFFUSION:
        raise ValueError(f'{run.process_label}<{run.pk}> is no DiffusionWorkChain, so it has no NVE runs.')
    links = run.base.links.get_outgoing(link_type=LinkType.CALL_WORK, link_label_filter='nve%').all()
    found = {
        f'{link.link_label}_{key}': trajectory
        for link in links
        if 'trajectory' in link.node.outputs
        for key, trajectory in link.node.outputs.trajectory.items()
    }
    if not found:
        raise ValueError(f'{run.process_label}<{run.pk}> has no frames of NVE runs: is it finished?')
    return found


class ValidationWorkChain(ProtocolMixin, CleaningMixin, SurvivalMixin, WorkChain):
    """Samples frames of runs evenly in time, labels them from first principles, and evaluates every potential on them.

    Frames without a label are left out; the exit code says so, and the errors on all other frames are returned.
    """

    _PROTOCOL_FILE = 'validate'

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(LabelWorkChain, include=('codes', 'options', 'potcars', 'clean_workdir'))
        spec.input_namespace('potentials', valid_type=PotentialData, dynamic=True, help='By label.')
        spec.input_namespace('trajectories', dynamic=True, help='By run: full frames of its segments by any keys.')
        spec.input(
            'sampling',
            valid_type=orm.Dict,
            serializer=orm.to_aiida_type,
            validator=validate_sampling,
            help=keys_help('Sampling of frames of each run.', SAMPLING_SETTINGS),
        )
        spec.input_namespace('evaluation', valid_type=orm.Dict, dynamic=True, help=evaluation_help())
        spec.expose_inputs(
            LabelWorkChain,
            namespace='label',
            exclude=('dataset', 'structures', 'codes', 'options', 'potcars', 'clean_workdir'),
            namespace_options={'validator': None, 'help': 'Labelling of the frames.'},
        )
        spec.inputs.validator = validate_validation
        spec.outline(
            cls.sample,
            cls.label,
            cls.inspect_labels,
            cls.evaluate,
            if_(cls.has_crashed)(cls.repeat_crashed),
            cls.results,
        )
        spec.output(
            'dataset', valid_type=DatasetData, required=False, help='The labelled frames, a group for each run.'
        )
        spec.output_namespace('predictions', valid_type=orm.ArrayData, dynamic=True, help='By label of the potential.')
        spec.output_namespace('metrics', valid_type=orm.Dict, dynamic=True, help='By label of the potential.')
        define_exit_codes(spec, 'SAMPLING_FAILED', 'LABELS_FAILED', 'EVALUATIONS_FAILED')

    def sample(self) -> ExitCode | None:
        """Sample each run."""
        self.ctx.frames = {}
        for run, parts in self.inputs.trajectories.items():
            metadata = {'call_link_label': f'sample_{run}'}
            frames, node = sample_frames.run_get_node(self.inputs.sampling, **parts, metadata=metadata)
            if not node.is_finished_ok:
                return self.exit_codes.ERROR_SAMPLING_FAILED.format(run=run, message=node.exit_message)
            self.ctx.frames[run] = frames
        return None

    def label(self) -> ToContext:
        """Launch the labelling of all frames."""
        inputs = dict(self.exposed_inputs(LabelWorkChain, 'label'))  # includes codes, options and POTCARs of this level
        inputs |= {'structures': self.ctx.frames, 'metadata': {'call_link_label': 'label'}}
        return ToContext(label=self.submit(LabelWorkChain, **inputs))

    def inspect_labels(self) -> ExitCode | None:
        """Continue with the labelled frames; stop if no frame has a label."""
        node = self.ctx.label
        if 'dataset' not in node.outputs:
            return self.exit_codes.ERROR_LABELS_FAILED.format(message=ending(node))
        self.out('dataset', node.outputs.dataset)
        return None

    def evaluate(self) -> ToContext:
        """Launch the evaluation of every potential."""
        nodes = {}
        for label, potential in self.inputs.potentials.items():
            process, inputs = evaluation(potential, self.inputs)
            inputs |= {'potential': potential, 'dataset': self.ctx.label.outputs.dataset}
            inputs['metadata'] |= {'call_link_label': f'evaluate_{label}'}
            nodes[f'evaluate_{label}'] = self.submit(process, **inputs)
        return ToContext(**nodes)

    def results(self) -> ExitCode | None:
        """Return the errors of each potential; name the failures."""
        nodes = {label: self.ctx[f'evaluate_{label}'] for label in self.inputs.potentials}
        done = {label: node.outputs.predictions for label, node in nodes.items() if node.is_finished_ok}
        self.out('predictions', done)
        dataset = self.ctx.label.outputs.dataset
        self.out(
            'metrics',
            {
                label: error_metrics(dataset, predictions, metadata={'call_link_label': f'metrics_{label}'})
                for label, predictions in done.items()
            },
        )
        if failed := [f'{label} ({node.exit_message})' for label, node in nodes.items() if label not in done]:
            return self.exit_codes.ERROR_EVALUATIONS_FAILED.format(failed=', '.join(failed))
        if not self.ctx.label.is_finished_ok:
            return ExitCode(self.ctx.label.exit_status, self.ctx.label.exit_message)
        return None

    @classmethod
    @checks_arguments
    def get_builder_from_protocol(
        cls,
        codes: dict[str, orm.AbstractCode],
        potentials: dict[str, PotentialData],
        runs: Mapping[str, orm.WorkChainNode | Mapping[str, orm.TrajectoryData]],
        *,
        engine: str,
        potcars: dict[str, PotcarData] | None = None,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: Options | None = None,
    ) -> ProcessBuilder:
        """Return a builder.

        :param codes: the code of the engine; ``python`` (or an architecture's own), ``vasp``: codes of the evaluations.
        :param potentials: potentials by label.
        :param runs: by any keys (they become the groups of the dataset): processes of ``mghdiff.diffusion``, whose NVE
            runs are sampled, or the full frames of a run by any keys.
        :param engine: engine that labels the frames: ``vasp`` or ``gpaw``.
        :param potcars: POTCARs by element, for VASP.
        :param overrides: overrides of the protocol file: ``sampling``, ``evaluation``, ``clean_workdir``, and
            ``label`` (``protocol``, ``overrides`` of ``LabelWorkChain``).
        :param options: ``metadata.options`` for all jobs (``default``), for labels (``label``), and for evaluations
            (``evaluate``).
        :raises ValueError: for a run without frames, an unknown protocol or key of the overrides, and what
            ``LabelWorkChain`` refuses.
        """
        inputs = cls.get_protocol_inputs(protocol, overrides)
        if engine in ENGINES:
            refuse_unchosen(overrides, engine, 'label.overrides', ENGINES)
        trajectories = {
            key: run_trajectories(run) if isinstance(run, orm.ProcessNode) else dict(run) for key, run in runs.items()
        }
        flat = {f'{key}__{name}': node for key, parts in trajectories.items() for name, node in parts.items()}
        label = LabelWorkChain.get_builder_from_protocol(codes, flat, engine=engine, potcars=potcars, **inputs['label'])
        builder = cls.get_builder()
        builder.codes = codes
        builder.potentials = potentials
        builder.potcars = potcars or {}
        builder.trajectories = trajectories
        builder.sampling = orm.Dict(inputs['sampling'])
        parameters = evaluation_parameters(inputs['evaluation'])
        builder.evaluation = {name: orm.Dict(values) for name, values in parameters.items()}
        own = label._inputs(prune=True)
        protocols = {'default': inputs['options'], 'label': own['options']['default'].get_dict()}
        builder.options = options_inputs(options, **protocols)
        builder.clean_workdir = orm.Bool(inputs['clean_workdir'])
        shared = ('structures', 'codes', 'options', 'potcars', 'clean_workdir')
        builder.label = {key: node for key, node in own.items() if key not in shared}
        return builder
