"""Training of a potential, continued after every failure that can be cured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import (
    CalcJob,
    ProcessBuilder,
    ProcessHandlerReport,
    ProcessSpec,
    process_handler,
    while_,
)

from aiida_mghdiff.calculations.chgnet.train import KEYS as CHGNET_KEYS
from aiida_mghdiff.calculations.exit_codes import JOB_REFUSALS, define_exit_codes, exit_codes
from aiida_mghdiff.calculations.mace.train import KEYS as MACE_KEYS
from aiida_mghdiff.calculations.validation import keys_help, without
from aiida_mghdiff.data.dataset import DatasetData, converged_message
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.workflows.engines import options_message, trainer, training_job
from aiida_mghdiff.workflows.jobs import Options, define_jobs, job_options, options_inputs
from aiida_mghdiff.workflows.protocol import (
    checked,
    checks_arguments,
    has_protocols,
    merge,
    protocol_inputs,
    refuse_unchosen,
)
from aiida_mghdiff.workflows.restart_loops import RestartWorkChain, report_of_refused

DATASETS = ('training', 'validation', 'replay')
#: Ends of a training that differs from the request.
TRAINING_FAILURES = ('E0S_IGNORED', 'FINETUNING_MODE_CHANGED', 'STRUCTURES_REPLACED', 'TRAINING_DIVERGED')
JOB_INPUTS = (*DATASETS, 'potential', 'parameters')


def validate_architecture(node: orm.Str, _: Any = None) -> str | None:
    """Return a message about an unknown architecture, or None."""
    try:
        trainer(node.value)
    except ValueError as error:
        return str(error)
    return None


def validate_training(inputs: Mapping[str, Any], _: Any = None) -> str | None:
    """Return why the training job would refuse the inputs, or None."""
    architecture = inputs['architecture'].value
    ports = trainer(architecture).spec().inputs
    if 'replay' in inputs and 'replay' not in ports:
        return f'replay is not for {architecture}: leave it out.'
    if ports['potential'].required and 'potential' not in inputs:
        return f'potential is missing: {architecture} is fine-tuned here, not trained from scratch.'
    return ports.validator(inputs, ports)


def validate_jobs(inputs: Mapping[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the inputs, including code and options, or None."""
    return validate_training(inputs) or code_message(inputs)


def code_message(inputs: Mapping[str, Any]) -> str | None:
    """Return a message about a fault in the code of the training, or in the options of its jobs, or None."""
    architecture = inputs['architecture'].value
    job = training_job(architecture)
    if job.key(architecture, inputs.get('codes', {})) not in inputs.get('codes', {}):
        return f'codes.{job.role} is missing: it trains {architecture}; `aiida-mghdiff setup` makes the code.'
    return options_message(inputs, 'train', job, architecture)


def has_stresses(*datasets: DatasetData) -> bool:
    """Return whether all configurations of the datasets have a stress."""
    return all(dataset.base.attributes.get('has_stress') for dataset in datasets)


class TrainWorkChain(RestartWorkChain):
    """Trains from scratch or fine-tunes; a job that stops before its wall time is continued from its checkpoint."""

    _process_class = CalcJob

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input('architecture', valid_type=orm.Str, serializer=orm.to_aiida_type, validator=validate_architecture)
        define_jobs(spec)
        words = 'Configurations for training.'
        spec.input('training', valid_type=DatasetData, validator=converged_message, help=words)
        words = 'Configurations that choose the best epoch.'
        spec.input('validation', valid_type=DatasetData, validator=converged_message, help=words)
        spec.input('potential', valid_type=PotentialData, required=False, help='Potential to fine-tune.')
        words = 'Replay set of multihead fine-tuning.'
        spec.input('replay', valid_type=DatasetData, validator=converged_message, required=False, help=words)
        words = keys_help(keys_help('Complete hyper-parameters. MACE.', MACE_KEYS) + ' CHGNet.', CHGNET_KEYS)
        spec.input('parameters', valid_type=orm.Dict, serializer=orm.to_aiida_type, help=words)
        spec.inputs.validator = validate_jobs
        spec.inputs['max_iterations'].default = lambda: orm.Int(20)
        spec.inputs['on_unhandled_failure'].default = lambda: orm.Str('restart_once')
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(cls.run_process, cls.inspect_process),
            cls.results,
        )
        spec.output('potential', valid_type=PotentialData, help='The trained potential.')
        spec.output('learning_curves', valid_type=orm.ArrayData, help='Losses and errors of each epoch.')
        spec.output('results', valid_type=orm.Dict, help='Metrics of the best epoch, versions, settings.')
        define_exit_codes(spec, 'NO_PROGRESS')

    @property
    def process_class(self) -> type[CalcJob]:
        """Return the training job of the architecture."""
        return trainer(self.inputs.architecture.value) if self.inputs else CalcJob

    def setup(self) -> None:
        """Collect the inputs of the first job."""
        super().setup()
        self.ctx.inputs = {name: self.inputs[name] for name in JOB_INPUTS if name in self.inputs}
        architecture = self.inputs.architecture.value
        code = training_job(architecture).code(architecture, self.inputs.codes)
        options = job_options(self.inputs, 'train', self.process_class, code)
        self.ctx.inputs |= {'code': code, 'metadata': {'options': options}}
        if not has_stresses(*(self.inputs[name] for name in DATASETS if name in self.inputs)):
            self.report('not all configurations have a stress: only energies and forces are trained')

    @process_handler(priority=500, exit_codes=exit_codes('OUT_OF_WALLTIME'))
    def handle_out_of_walltime(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Continue from the checkpoint."""
        if 'checkpoint' not in node.outputs:
            return ProcessHandlerReport(True, self.exit_codes.ERROR_NO_PROGRESS)
        self.report(f'{node.process_label}<{node.pk}> stopped before its wall time; continuing from its checkpoint')
        self.ctx.inputs['checkpoint'] = node.outputs.checkpoint
        return ProcessHandlerReport(True)

    @process_handler(priority=400, exit_codes=exit_codes(*JOB_REFUSALS, *TRAINING_FAILURES))
    def handle_refused(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Stop if a repetition would end the same way: a refused input, or a training that differs from the request."""
        return report_of_refused(node)

    def results(self) -> None:
        """Return the outputs of the last job, and report its warnings."""
        for warning in self.ctx.children[-1].outputs.results.get('warnings', []):
            self.report(f'warning: {warning}')
        for name in ('potential', 'learning_curves', 'results'):
            self.out(name, self.ctx.children[-1].outputs[name])

    @classmethod
    def get_parameters(
        cls,
        architecture: str,
        kind: str,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        *,
        has_stress: bool = True,
        place: str = '',
    ) -> dict[str, Any]:
        """Return the complete hyper-parameters of a protocol.

        :param kind: ``scratch``, ``naive`` or ``multihead`` for MACE; ``fine-tune`` for CHGNet.
        :param overrides: overrides of the protocol file: ``parameters``, and the differences of a kind.
        :param has_stress: whether all configurations have a stress; otherwise only energies and forces are trained.
        :param place: place of the overrides, as the user writes it.
        """
        job, name = trainer(architecture), f'{architecture}/train'
        if not has_protocols(name):
            raise ValueError(f'trainings of {architecture} have no protocol: give their complete parameters yourself.')
        inputs, own = protocol_inputs(name, protocol), checked(name, overrides or {}, place)
        refuse_unchosen(own, kind, alternatives=without(own, 'parameters'))
        parameters = merge(inputs['parameters'], inputs.get(kind, {}))
        parameters = parameters if has_stress else job.without_stress(parameters)
        return merge(merge(parameters, own.get('parameters', {})), own.get(kind, {}))

    @classmethod
    @checks_arguments
    def get_builder_from_protocol(
        cls,
        codes: Mapping[str, orm.AbstractCode],
        training: DatasetData,
        validation: DatasetData,
        *,
        architecture: str,
        potential: PotentialData | None = None,
        replay: DatasetData | None = None,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: Options | None = None,
    ) -> ProcessBuilder:
        """Return a builder.

        If some configurations have no stress, only energies and forces are trained.

        :param codes: ``python``, or by the name of the architecture its own Python.
        :param architecture: ``mace`` or ``chgnet``.
        :param potential: the potential to fine-tune; None to train from scratch.
        :param overrides: overrides of the protocol file: ``parameters`` (for example ``max_num_epochs``), or for one
            kind of training ``scratch``, ``naive``, ``multihead`` (MACE), ``fine-tune`` (CHGNet).
        :param options: ``metadata.options`` for all jobs (``default``), and for trainings (``train``).
        :raises ValueError: for an unknown protocol, and for keys of the overrides that the protocol file does not have.
        """
        kind = trainer(architecture).training_kind(potential is not None, replay is not None)
        builder = cls.get_builder()
        builder.architecture = orm.Str(architecture)
        builder.codes = dict(codes)
        builder.training, builder.validation = training, validation
        for name, node in {'potential': potential, 'replay': replay}.items():
            if node is not None:
                builder[name] = node
        has_stress = has_stresses(training, validation, *([] if replay is None else [replay]))
        parameters = cls.get_parameters(architecture, kind, protocol, overrides, has_stress=has_stress)
        builder.parameters = orm.Dict(parameters)
        builder.options = options_inputs(options, default=protocol_inputs('md', protocol)['options'])
        return builder


def keeps_elements(parameters: Mapping[str, Any]) -> bool:
    """Return whether a fine-tuned potential knows all elements of its foundation, not only of its dataset."""
    return bool(parameters.get('foundation_model_elements', True) or parameters.get('multihead'))
