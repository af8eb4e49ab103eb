"""The energy barrier of a tracer along a named path between interstitial sites."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ProcessSpec, ToContext, WorkChain, if_, while_

from aiida_mghdiff.calculations.ase.neb import AseNebCalculation
from aiida_mghdiff.calculations.ase.vibrations import AseVibrationsCalculation
from aiida_mghdiff.calculations.functions.paths import path_endpoints
from aiida_mghdiff.calculations.md import elements_message
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.workflows.protocol import ProtocolMixin, merge, protocol_inputs

#: Structures of a path whose vibrations are asked, and the imaginary modes that each must have.
STATIONARY = {'initial': 'initial_relaxed', 'saddle': 'saddle', 'final': 'final_relaxed'}


def validate_barrier(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return what is wrong with the inputs: elements, or the code."""
    if not {'potential', 'host', 'path'} <= set(inputs):
        return None
    if 'python' not in inputs.get('codes', {}):
        return 'codes.python is missing: barriers run in ASE; `aiida-mghdiff setup` makes the code.'
    tracer = inputs['path']['tracer_element']
    symbols = [*inputs['host'].get_ase().get_chemical_symbols(), tracer]
    return elements_message(inputs['potential'], symbols, tracer)


class BarrierWorkChain(ProtocolMixin, WorkChain):
    """Places the tracer on the two sites of a path, relaxes both, and finds the saddle point between them by ciNEB."""

    _PROTOCOL_FILE = 'neb'

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input_namespace('codes', valid_type=orm.AbstractCode, dynamic=True, help='``python``: the engine ASE.')
        spec.input('potential', valid_type=PotentialData, help='The potential that gives the forces.')
        spec.input('host', valid_type=orm.StructureData, help='Supercell of the host, without tracers.')
        spec.input('path', valid_type=orm.Dict, serializer=orm.to_aiida_type, help='``tracer_element`` and ``path``.')
        spec.input('parameters', valid_type=orm.Dict, serializer=orm.to_aiida_type, help='Complete ciNEB parameters.')
        spec.input('vibrations', valid_type=orm.Dict, required=False, help='Parameters of vibrations, where asked.')
        spec.input(
            'options', valid_type=orm.Dict, serializer=orm.to_aiida_type, help='``metadata.options`` of the jobs.'
        )
        spec.input('clean_workdir', valid_type=orm.Bool, default=lambda: orm.Bool(False), help='Empty scratch folders.')
        spec.inputs.validator = validate_barrier
        spec.outline(
            cls.setup,
            while_(cls.should_run_neb)(cls.run_neb, cls.inspect_neb),
            if_(cls.wants_vibrations)(cls.run_vibrations, cls.inspect_vibrations),
            cls.results,
        )
        spec.output('barrier', valid_type=orm.Dict, help='Barriers both ways, energies along the path.')
        spec.output('images', valid_type=orm.TrajectoryData, help='Images of the path, end points included.')
        spec.output('saddle', valid_type=orm.StructureData, required=False, help='The saddle point.')
        spec.output_namespace('vibrations', valid_type=orm.Dict, dynamic=True, help='Vibrations at stationary points.')
        spec.exit_code(450, 'ERROR_ENDPOINTS_FAILED', message='The end points cannot be placed: {message}')
        spec.exit_code(451, 'ERROR_NEB_FAILED', message='The ciNEB run failed: {message}')
        spec.exit_code(452, 'ERROR_VIBRATIONS_FAILED', message='Vibrations of {name} failed: {message}')

    def setup(self) -> ExitCode | None:
        """Place the tracer on the two sites of the path."""
        ends, node = path_endpoints.run_get_node(
            self.inputs.host, self.inputs.path, metadata={'call_link_label': 'endpoints'}
        )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_ENDPOINTS_FAILED.format(message=node.exit_message)
        self.ctx.inputs = {'initial': ends['initial'], 'final': ends['final']}
        self.ctx.neb = None
        return None

    def should_run_neb(self) -> bool:
        """Return whether the path is still to be found, or to be continued after a stop before the wall time."""
        return self.ctx.neb is None or self.ctx.neb.exit_status == 400

    def run_neb(self) -> ToContext:
        """Launch the ciNEB job."""
        return ToContext(neb=self.submit(AseNebCalculation, **self.job_inputs('neb'), **self.ctx.inputs))

    def job_inputs(self, label: str) -> dict[str, Any]:
        """Return the inputs that all jobs on this path share."""
        return {
            'code': self.inputs.codes['python'],
            'potential': self.inputs.potential,
            'parameters': self.inputs.parameters,
            'metadata': {'call_link_label': label, 'options': self.inputs.options.get_dict()},
        }

    def inspect_neb(self) -> ExitCode | None:
        """Continue a run that stopped before its wall time; stop at any other failure."""
        node = self.ctx.neb
        if node.is_finished_ok:
            return None
        if node.exit_status == 400 and 'path' in node.outputs:
            self.report(f'{node.process_label}<{node.pk}> stopped before its wall time; continuing from its images')
            self.ctx.inputs['restart'] = node.outputs.path
            return None
        return self.exit_codes.ERROR_NEB_FAILED.format(message=node.exit_message or node.process_state.value)

    def wants_vibrations(self) -> bool:
        """Return whether vibrations are asked."""
        return 'vibrations' in self.inputs

    def run_vibrations(self) -> ToContext:
        """Launch the vibrations at both minima and the saddle point."""
        nodes = {}
        for name, output in STATIONARY.items():
            inputs = self.job_inputs(f'vibrations_{name}') | {'structure': self.ctx.neb.outputs[output]}
            inputs['parameters'] = self.vibration_parameters(name)
            nodes[f'vibrations_{name}'] = self.submit(AseVibrationsCalculation, **inputs)
        return ToContext(**nodes)

    def vibration_parameters(self, name: str) -> dict[str, Any]:
        """Return the parameters of the vibrations: one imaginary mode is due at the saddle point."""
        return self.inputs.vibrations.get_dict() | {'expected_imaginary_modes': int(name == 'saddle')}

    def inspect_vibrations(self) -> ExitCode | None:
        """Stop where vibrations failed."""
        for name in STATIONARY:
            node = self.ctx[f'vibrations_{name}']
            if not node.is_finished_ok:
                return self.exit_codes.ERROR_VIBRATIONS_FAILED.format(name=name, message=node.exit_message)
        return None

    def results(self) -> None:
        """Give the barrier, the path and, where asked, the vibrations."""
        self.out('barrier', self.ctx.neb.outputs.results)
        self.out('images', self.ctx.neb.outputs.path)
        self.out('saddle', self.ctx.neb.outputs.saddle)
        if self.wants_vibrations():
            self.out('vibrations', {name: self.ctx[f'vibrations_{name}'].outputs.results for name in STATIONARY})

    def on_terminated(self) -> None:
        """Empty the scratch folders where asked."""
        super().on_terminated()
        if self.inputs.clean_workdir:
            for node in self.node.called:
                if isinstance(node, orm.CalcJobNode) and 'remote_folder' in node.outputs:
                    node.outputs.remote_folder._clean()

    @classmethod
    def get_builder_from_protocol(
        cls,
        codes: dict[str, orm.AbstractCode],
        potential: PotentialData,
        host: orm.StructureData,
        *,
        path: str,
        tracer_element: str = 'H',
        vibrations: bool = False,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> ProcessBuilder:
        """Return a builder.

        :param path: one of the named paths of hcp: ``O-O c``, ``O-O ab``, ``O-T``, ``T-T``.
        :param vibrations: whether vibrations at the minima and the saddle point are asked.
        :param overrides: of the protocol file: ``parameters``, ``vibrations``, ``options``, ``clean_workdir``.
        """
        overrides = overrides or {}
        inputs = cls.get_protocol_inputs(protocol, overrides)
        dtype = {'dtype': 'float32'} if potential.architecture == 'chgnet' else {}
        builder = cls.get_builder()
        builder.codes = codes
        builder.potential = potential
        builder.host = host
        builder.path = orm.Dict({'tracer_element': tracer_element, 'path': path})
        builder.parameters = orm.Dict(inputs['parameters'] | dtype)
        builder.options = orm.Dict(merge(inputs['options'], options or {}))
        builder.clean_workdir = orm.Bool(inputs['clean_workdir'])
        if vibrations:
            own = protocol_inputs('vibrations', protocol, inputs['vibrations'])
            builder.vibrations = orm.Dict(own['parameters'] | dtype | {'tracer_element': tracer_element})
        return builder
