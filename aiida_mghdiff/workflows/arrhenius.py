"""Diffusion over several temperatures: activation energy and prefactor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ProcessSpec, while_
from aiida_vasp.data.potcar import PotcarData

from aiida_mghdiff.calculations.exit_codes import define_exit_codes, has_ended_with
from aiida_mghdiff.calculations.functions.arrhenius import arrhenius_fit
from aiida_mghdiff.calculations.functions.hops import EXTRAPOLATION_SETTINGS, jump_diffusion
from aiida_mghdiff.calculations.validation import IS_TEMPERATURE, complete_message, joined, keys_help
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.workflows.diffusion import (
    DiffusionWorkChain,
    define_diffusion_outputs,
    found_outputs,
    validate_diffusion,
)
from aiida_mghdiff.workflows.jobs import Options
from aiida_mghdiff.workflows.protocol import ProtocolMixin, checks_arguments, refuse_unchosen
from aiida_mghdiff.workflows.tasks import TaskWorkChain


def temperature_label(temperature_k: float) -> str:
    """Return the label of a temperature: ``t300k``, ``t672k5``."""
    return f't{temperature_k:g}k'.replace('.', 'k', 1).removesuffix('k' if temperature_k % 1 else '')


def validate_arrhenius(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return all faults of the temperatures and of the runs, or None."""
    return joined([*temperature_messages(inputs), validate_diffusion(inputs)])


def temperature_messages(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield messages about faults of the temperatures."""
    temperatures = [node.value for node in inputs.get('temperatures', {}).values()]
    if len(set(temperatures)) < 2:
        yield f'temperatures are {temperatures}: an activation energy needs at least two different temperatures.'
    for value in temperatures:
        if not IS_TEMPERATURE.holds(value):
            yield f'temperature {value} K is not {IS_TEMPERATURE.words}.'


def validate_extrapolation(node: orm.Dict | None, _: Any = None) -> str | None:
    """Return a message about a fault in the temperatures to which rates are extrapolated, or None."""
    return complete_message(node.get_dict(), EXTRAPOLATION_SETTINGS, 'extrapolation') if node is not None else None


class ArrheniusWorkChain(ProtocolMixin, TaskWorkChain):
    """Runs DiffusionWorkChain at each temperature and fits ln D against 1/T.

    A failed temperature is reported and left out of the fit. If fewer than two temperatures have a D, there are upper
    bounds and no activation energy. The jumps of the runs give D in a second way, class by class, at the temperatures
    of ``extrapolation``, also where plain MD sees no jumps.
    """

    _PROTOCOL_FILE = 'arrhenius'

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(DiffusionWorkChain, exclude=('temperature', 'metadata'))
        spec.input_namespace('temperatures', valid_type=orm.Float, dynamic=True, help='Temperatures in K by label.')
        spec.input(
            'extrapolation',
            valid_type=orm.Dict,
            serializer=orm.to_aiida_type,
            required=False,
            validator=validate_extrapolation,
            help=keys_help(
                'Temperatures at which rates of jumps give D; if left out, rates give no D.', EXTRAPOLATION_SETTINGS
            ),
        )
        spec.inputs.validator = validate_arrhenius
        spec.outline(
            cls.setup,
            while_(cls.has_tasks)(cls.advance),
            cls.return_outputs,
            cls.fit,
            cls.extrapolate,
            cls.results,
        )
        define_diffusion_outputs(spec, 'temperature')
        spec.output('arrhenius', valid_type=orm.Dict, required=False, help='Activation energy and prefactor.')
        spec.output('jump_diffusion', valid_type=orm.Dict, required=False, help='D from the rates of jumps.')
        define_exit_codes(spec, 'FIT_FAILED')

    def setup(self) -> None:
        """Make one task for each temperature."""
        self.set_tasks({label: [] for label in self.inputs.temperatures})

    def launch(self, key: str) -> orm.ProcessNode:
        """Launch the diffusion run of one temperature."""
        inputs = {**self.exposed_inputs(DiffusionWorkChain), 'temperature': self.inputs.temperatures[key]}
        node = self.submit(DiffusionWorkChain, **inputs, metadata={'call_link_label': key})
        self.report(f'launched {key}: {node.process_label}<{node.pk}>')
        return node

    def return_outputs(self) -> None:
        """Return the outputs of the finished temperatures."""
        self.ctx.found = {}
        for key in filter(self.is_done, self.ctx.tasks):
            for name, node in found_outputs(self.child(key)).items():
                self.ctx.found.setdefault(name, {})[key] = node
        for name, nodes in self.ctx.found.items():
            self.out(name, nodes)

    def fit(self) -> ExitCode | None:
        """Fit the finished temperatures."""
        done = self.ctx.found.get('diffusion')
        if not done:
            return self.failure()
        result, node = arrhenius_fit.run_get_node(**done, metadata={'call_link_label': 'arrhenius_fit'})
        if node.is_finished_ok:
            self.out('arrhenius', result)
            return None
        if has_ended_with(node, 'TOO_FEW_TEMPERATURES'):
            self.report(f'there is no activation energy: {node.exit_message}')
            return None
        return self.failure() or self.exit_codes.ERROR_FIT_FAILED.format(message=node.exit_message)

    def extrapolate(self) -> None:
        """Fit the rates of jumps class by class; if there are too few jumps, report this."""
        sites = self.ctx.found.get('sites')
        if not sites or 'extrapolation' not in self.inputs:
            return
        label = {'call_link_label': 'jump_diffusion'}
        result, node = jump_diffusion.run_get_node(self.inputs.extrapolation, **sites, metadata=label)
        if node.is_finished_ok:
            self.out('jump_diffusion', result)
        else:
            self.report(f'the rates of jumps give no D: {node.exit_message}')

    def results(self) -> ExitCode | None:
        """Return the exit code that names the failed temperatures, or None."""
        return self.failure()

    @classmethod
    @checks_arguments
    def get_builder_from_protocol(
        cls,
        codes: dict[str, orm.AbstractCode],
        potential: PotentialData,
        host: orm.StructureData,
        *,
        temperatures_k: Sequence[float] | None = None,
        potcars: dict[str, PotcarData] | None = None,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: Options | None = None,
    ) -> ProcessBuilder:
        """Return a builder.

        :param temperatures_k: temperatures in K; by default from the protocol.
        :param potcars: POTCARs by element, for VASP.
        :param overrides: overrides of the protocol file: ``temperatures_k``, ``extrapolation``, ``max_in_flight``,
            ``diffusion`` (overrides of ``DiffusionWorkChain``).
        :param options: ``metadata.options`` for all jobs (``default``), and for MD jobs (``md``).
        :raises ValueError: for an unknown protocol, and for keys of the overrides that the protocol file does not have.
        """
        inputs = cls.get_protocol_inputs(protocol, overrides)
        builder = cls.get_builder()
        refuse_unchosen(overrides, potential.architecture, 'diffusion.md.architectures')
        overrides = inputs['diffusion']
        DiffusionWorkChain.fill_builder(builder, codes, potential, host, potcars, protocol, overrides, options)
        usual = cls.get_protocol_inputs(protocol)['temperatures_k']
        temperatures = temperatures_k or inputs['temperatures_k'] or usual
        builder.extrapolation = orm.Dict(inputs['extrapolation'])
        builder.temperatures = {temperature_label(value): orm.Float(value) for value in temperatures}
        builder.max_in_flight = orm.Int(inputs['max_in_flight'])
        return builder
