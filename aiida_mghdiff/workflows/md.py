"""Molecular dynamics of any length in one ensemble, as segments of a fixed number of steps."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ProcessSpec, ToContext, WorkChain, append_, while_
from aiida_vasp.data.potcar import PotcarData

from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.functions.parameters import segment_parameters
from aiida_mghdiff.calculations.md import INCAR
from aiida_mghdiff.calculations.validation import at_least
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.science.units import PS_IN_FS
from aiida_mghdiff.workflows.engines import with_dtype
from aiida_mghdiff.workflows.jobs import Options, options_inputs
from aiida_mghdiff.workflows.protocol import ProtocolMixin, checked, checks_arguments, merge, refuse_unchosen
from aiida_mghdiff.workflows.restart_loops import RESTART, define_restarts, loop_inputs
from aiida_mghdiff.workflows.segment import PARTS, MdSegmentWorkChain, parts_of
from aiida_mghdiff.workflows.setting_checks import without_null
from aiida_mghdiff.workflows.survival import SurvivalMixin

#: Keys of the protocol in physical time, and the corresponding keys of the parameters in steps; unit in fs.
TIMES = {
    'duration_ps': ('steps', PS_IN_FS),
    'tracer_interval_fs': ('tracer_stride', 1.0),
    'thermo_interval_fs': ('thermo_stride', 1.0),
    'frame_interval_fs': ('frame_stride', 1.0),
}


class MolecularDynamicsWorkChain(ProtocolMixin, SurvivalMixin, WorkChain):
    """Runs MD in one ensemble; each segment continues exactly from the end of the last one."""

    _PROTOCOL_FILE = 'md'

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(MdSegmentWorkChain, exclude=(*RESTART, 'metadata'))
        spec.expose_outputs(MdSegmentWorkChain)
        define_restarts(spec, md=MdSegmentWorkChain)
        spec.input(
            'segment_steps',
            valid_type=orm.Int,
            serializer=orm.to_aiida_type,
            validator=at_least('segment_steps', 1),  # with segments of no step a run would never end
            help='Largest number of steps of one job.',
        )
        spec.outline(
            cls.setup,
            while_(cls.has_steps_left)(cls.run_segment, cls.inspect_segment),
            cls.results,
        )
        define_exit_codes(spec, 'SEGMENT_FAILED')

    def setup(self) -> None:
        """Start with the first segment."""
        self.ctx.segments = []

    def has_steps_left(self) -> bool:
        """Return whether the run has steps left."""
        parameters = self.inputs.parameters
        end = parameters['first_step'] + parameters['steps']
        state = self.last_state()
        return state is None or state.step < end

    def last_state(self) -> MdStateData | None:
        """Return the final state of the last segment."""
        return self.ctx.segments[-1].outputs.state if self.ctx.segments else None

    def run_segment(self) -> ToContext:
        """Launch the next segment."""
        inputs = {**self.exposed_inputs(MdSegmentWorkChain), **loop_inputs(self.inputs, 'md')}
        inputs['parameters'] = self.next_parameters()
        if (state := self.last_state()) is not None:
            inputs = {name: node for name, node in inputs.items() if name != 'structure'} | {'state': state}
        label = f'seg{len(self.ctx.segments):03d}'
        node = self.submit(MdSegmentWorkChain, **inputs, metadata={'call_link_label': label})
        return ToContext(segments=append_(node))

    def next_parameters(self) -> orm.Dict:
        """Return the parameters of the next segment; a single segment has the parameters of the run."""
        parameters, segment_steps = self.inputs.parameters, self.inputs.segment_steps
        if parameters['steps'] <= segment_steps.value:
            return parameters
        state = self.last_state()
        label = {'call_link_label': f'seg{len(self.ctx.segments):03d}_parameters'}
        start = {} if state is None else {'state': state}
        return segment_parameters(parameters, segment_steps, **start, metadata=label)

    def inspect_segment(self) -> ExitCode | None:
        """Stop if a segment failed finally."""
        node = self.ctx.segments[-1]
        if node.is_finished_ok:
            return None
        index = len(self.ctx.segments) - 1
        return self.exit_codes.ERROR_SEGMENT_FAILED.format(name=index, message=node.exit_message)

    def results(self) -> None:
        """Return the outputs of all parts of all segments; they are not joined into a copy."""
        for name in PARTS:
            self.out(name, parts_of(self.ctx.segments, name))
        self.out('state', self.last_state())

    @classmethod
    def get_md_parameters(
        cls,
        architecture: str,
        ensemble: str,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        *,
        stage: dict[str, Any] | None = None,
        stage_overrides: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the MD parameters of a protocol, without temperature, seed and first step.

        Times of the protocol become steps. The time step and dtype of an architecture have priority over any protocol;
        only the user's overrides have priority over them.

        :param overrides: overrides of the protocol file: ``parameters``, ``ensembles``, ``architectures``.
        :param stage: keys of ``parameters`` that the protocol of an outer process sets for this stage;
            ``stage_overrides``: keys that the user sets for it.
        """
        inputs, own = cls.get_protocol_inputs(protocol), checked('md', overrides or {})
        values = inputs['parameters'] | inputs['ensembles'][ensemble] | (stage or {})
        values = with_dtype(architecture, values | inputs['architectures'].get(architecture, {}))
        of_ensemble, of_architecture = own.get('ensembles', {}), own.get('architectures', {})
        for changes in (own.get('parameters'), of_ensemble.get(ensemble), of_architecture.get(architecture)):
            values = merge(values, changes or {})
        values = merge(values, stage_overrides or {})
        for key, (target, femtoseconds) in TIMES.items():
            values[target] = max(1, round(values.pop(key) * femtoseconds / values['time_step_fs']))
        tags = {INCAR: without_null(values[INCAR])} if INCAR in values else {}
        return values | tags | {'ensemble': ensemble}

    @classmethod
    @checks_arguments
    def get_builder_from_protocol(
        cls,
        codes: dict[str, orm.AbstractCode],
        potential: PotentialData,
        start: orm.StructureData | MdStateData,
        *,
        ensemble: str,
        temperature_k: float,
        seed: int,
        potcars: dict[str, PotcarData] | None = None,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: Options | None = None,
    ) -> ProcessBuilder:
        """Return a builder.

        :param codes: ``lammps`` (with ``convert``, for your own ``lmp``), ``python`` or ``vasp``, as the potential
            needs.
        :param potcars: POTCARs by element, for VASP.
        :param start: a structure, whose velocities are drawn, or a state.
        :param overrides: overrides of the protocol file: ``parameters`` (for example ``duration_ps``), ``ensembles``,
            ``architectures``, ``segment_steps``, ``clean_workdir``.
        :param options: ``metadata.options`` for all jobs (``default``), and for MD jobs (``md``).
        :raises ValueError: for an unknown protocol, for keys of the overrides that the protocol file does not have, and
            for overrides of another ensemble or architecture.
        """
        inputs = cls.get_protocol_inputs(protocol, overrides)
        refuse_unchosen(overrides, ensemble, 'ensembles')
        refuse_unchosen(overrides, potential.architecture, 'architectures')
        parameters = cls.get_md_parameters(potential.architecture, ensemble, protocol, overrides)
        is_state = isinstance(start, MdStateData)
        run = {'temperature_k': temperature_k, 'seed': seed, 'first_step': start.step if is_state else 0}
        builder = cls.get_builder()
        builder.codes = codes
        builder.potential = potential
        builder.potcars = potcars or {}
        builder['state' if is_state else 'structure'] = start
        builder.parameters = orm.Dict(parameters | run)
        builder.segment_steps = orm.Int(inputs['segment_steps'])
        builder.options = options_inputs(options, default=inputs['options'])
        builder.clean_workdir = orm.Bool(inputs['clean_workdir'])
        return builder
