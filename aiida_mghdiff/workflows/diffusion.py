"""The diffusion coefficient of a tracer at one temperature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ProcessSpec, ToContext, WorkChain, while_
from aiida_vasp.data.potcar import PotcarData
from ase import Atom

from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.functions.density import tracer_density
from aiida_mghdiff.calculations.functions.diffusion import diffusion_coefficient
from aiida_mghdiff.calculations.functions.pairs import tracer_pairs
from aiida_mghdiff.calculations.functions.parameters import (
    DIFFUSION_SETTINGS,
    diffusion_settings_message,
    plan_diffusion,
    replicas_message,
)
from aiida_mghdiff.calculations.functions.rdf import radial_distributions
from aiida_mghdiff.calculations.functions.sites import site_statistics
from aiida_mghdiff.calculations.functions.starts import select_starts
from aiida_mghdiff.calculations.functions.supercell import build_supercell
from aiida_mghdiff.calculations.functions.volume import mean_volume, scale_state, scale_structure
from aiida_mghdiff.calculations.hosts import axis_message, host_message, mass_message, placement_message
from aiida_mghdiff.calculations.md import elements_message
from aiida_mghdiff.calculations.validation import (
    IS_COUNT,
    IS_TEMPERATURE,
    joined,
    keys_help,
    self_diffusion_message,
)
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.workflows.diffusion_settings import PLANNED_RUN, STAGES, length_messages
from aiida_mghdiff.workflows.engines import incar_message, md_message, validate_md_codes
from aiida_mghdiff.workflows.jobs import Options, options_inputs
from aiida_mghdiff.workflows.md import MolecularDynamicsWorkChain
from aiida_mghdiff.workflows.protocol import ProtocolMixin, checks_arguments, refuse_unchosen
from aiida_mghdiff.workflows.survival import SurvivalMixin, ending

#: Inputs of the runs that come from the caller.
SHARED = ('codes', 'options', 'potential', 'potcars', 'segment_steps', 'clean_workdir', 'restarts')
#: Outputs at one temperature: type, whether each run has it, help. Series of temperatures and studies return them, too.
OUTPUTS: dict[str, tuple[type[orm.Data], bool, str]] = {
    'diffusion': (orm.Dict, True, 'Diffusion coefficient and its interval.'),
    'msd': (orm.ArrayData, True, 'Mean squared displacements and fits.'),
    'volume': (orm.Float, True, 'Mean volume of the NPT run in Å³.'),
    'rdf': (orm.ArrayData, False, 'Radial distribution functions.'),
    'sites': (orm.Dict, False, 'Jumps, rates, occupancy of interstitial sites.'),
    'pairs': (orm.Dict, False, 'Numbers of tracer pairs compared with chance.'),
    'density': (orm.ArrayData, False, 'Density of tracers in the unit cell.'),
}


def define_diffusion_outputs(spec: ProcessSpec, keys: str) -> None:
    """Define the outputs of several runs, each by the ``keys`` that the help text gives."""
    for name, (node_class, _, words) in OUTPUTS.items():
        spec.output_namespace(name, valid_type=node_class, dynamic=True, help=f'{words} By {keys}.')


def found_outputs(run: orm.WorkChainNode) -> dict[str, orm.Data]:
    """Return the outputs at one temperature that a run has."""
    return {name: run.outputs[name] for name in OUTPUTS if name in run.outputs}


def validate_diffusion(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return a message about all faults of the inputs, or None: settings, host, temperature, elements, codes.

    Without a potential only settings, temperature and host are checked.
    """
    if not {'host', 'settings'} <= set(inputs):
        return None
    if message := diffusion_settings_message(inputs['settings'].get_dict()):
        return message
    return joined([*settings_messages(inputs), *host_messages(inputs), *potential_messages(inputs)])


def settings_messages(inputs: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield messages about faults of settings of the right shape, and of the temperature."""
    settings = inputs['settings'].get_dict()
    count = settings['supercell']['tracer_count']
    if not IS_COUNT.holds(count):
        yield f'settings: tracer_count = {count} is not {IS_COUNT.words}: at least one tracer must diffuse.'
    tracer = settings['supercell']['tracer_element']
    if 'host' in inputs:
        yield self_diffusion_message(tracer, inputs['host'].get_symbols_set())
        yield mass_message(inputs['host'])
    if 'temperature' in inputs and not IS_TEMPERATURE.holds(inputs['temperature'].value):
        yield f'temperature = {inputs["temperature"].value} K is not {IS_TEMPERATURE.words}.'
    yield replicas_message(settings)
    yield from length_messages(settings)


def host_messages(inputs: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield why the host has no known sites, no room for the tracers, or no c axis along the vector of the settings."""
    if message := host_message(inputs['host']):
        yield message
    else:
        yield from room_messages(inputs)


def room_messages(inputs: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield why an hcp host has no room for the tracers, or no c axis along the vector of the settings."""
    host, settings = inputs['host'], inputs['settings'].get_dict()
    yield axis_message(host, settings['fit']['c_axis'])
    if IS_COUNT.holds(settings['supercell']['tracer_count']):
        yield placement_message(host, settings['supercell'], settings['seed'])


def potential_messages(inputs: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield why the potential cannot run with these elements and codes."""
    tracer = inputs['settings']['supercell']['tracer_element']
    if 'potential' not in inputs:
        return
    symbols = [*inputs['host'].get_ase().get_chemical_symbols(), tracer]
    yield elements_message(inputs['potential'], symbols, tracer)
    if message := validate_md_codes(inputs, symbols):
        yield message
        return
    start = orm.StructureData(ase=inputs['host'].get_ase() + Atom(tracer))
    for stage in STAGES:
        parameters = inputs['settings'][stage] | PLANNED_RUN | {'ensemble': stage}
        message = incar_message(inputs, parameters) or md_message(inputs, start, parameters)
        yield message and message.replace('parameters', f'settings: {stage}', 1)


class DiffusionWorkChain(ProtocolMixin, SurvivalMixin, WorkChain):
    """NPT gives the mean volume, NVT the starts of the replicas, NVE the mean squared displacement.

    With ``independent_replicas`` each replica has its own placement of tracers, NVT run and seeds. Otherwise all
    replicas start from one NVT run, as in the paper. If a precision is requested, replicas are added and continued
    until D is known precisely enough, or the time limit is reached (``science.precision``).
    """

    _PROTOCOL_FILE = 'diffusion'

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(MolecularDynamicsWorkChain, include=SHARED)
        spec.input('host', valid_type=orm.StructureData, help='Supercell of the host, without tracers.')
        words = keys_help('Complete settings, see protocols.', DIFFUSION_SETTINGS)
        spec.input('settings', valid_type=orm.Dict, serializer=orm.to_aiida_type, help=words)
        spec.input('temperature', valid_type=orm.Float, serializer=orm.to_aiida_type, help='Target temperature in K.')
        spec.inputs.validator = validate_diffusion
        spec.outline(
            cls.setup,
            cls.run_npt,
            cls.inspect_npt,
            while_(cls.should_look)(
                cls.run_nvt,
                cls.inspect_nvt,
                cls.run_nve,
                cls.inspect_nve,
            ),
            cls.results,
            cls.analyse_structure,
        )
        for name, (node_class, required, words) in OUTPUTS.items():
            spec.output(name, valid_type=node_class, required=required, help=words)
        define_exit_codes(spec, 'RUN_FAILED', 'ANALYSIS_FAILED')

    def setup(self) -> None:
        """Plan the parameters and seeds of all runs."""
        label = {'call_link_label': 'plan'}
        inputs = self.inputs
        self.ctx.plan = dict(plan_diffusion(inputs.settings, inputs.temperature, inputs.host, metadata=label))
        self.ctx.looks = self.ctx.plan['looks']['runs']
        self.ctx.look, self.ctx.starts = 0, []

    def run_npt(self) -> ToContext | ExitCode:
        """Launch the run that gives the mean volume of all other runs."""
        structure = self.build_structure(0)
        if isinstance(structure, ExitCode):
            return structure
        return ToContext(npt=self.submit_md('npt', structure=structure))

    def build_structure(self, index: int) -> orm.StructureData | ExitCode:
        """Return the supercell for a placement of tracers."""
        name = f'structure_{index}'
        if name not in self.ctx:
            supercell = self.ctx.plan[f'supercell_{index}']
            self.ctx[name] = self.derive(f'supercell{index}', build_supercell, self.inputs.host, supercell)
        return self.ctx[name]

    def inspect_npt(self) -> ExitCode | None:
        """Read the mean volume."""
        if code := self.failed_run('npt', self.ctx.npt):
            return code
        volume = self.derive('mean_volume', mean_volume, self.ctx.plan['volume'], **self.ctx.npt.outputs.thermo)
        self.ctx.volume = volume
        return volume if isinstance(volume, ExitCode) else None

    def should_look(self) -> bool:
        """Return whether D must be measured, or measured more precisely while there is time left."""
        if self.ctx.look == 0:
            return True
        reached = self.ctx.analysis['diffusion']['target_reached']
        return reached is False and self.ctx.look < len(self.ctx.looks)

    def names(self, stage: str) -> list[str]:
        """Return the names of the runs of a stage that the present look adds."""
        return [name for name in self.ctx.looks[self.ctx.look] if name.startswith(f'{stage}_')]

    def run_nvt(self) -> ToContext | ExitCode:
        """Launch an NVT run for each new placement of tracers, at the mean volume."""
        nodes = {}
        for name in self.names('nvt'):
            start = self.derive_start(int(name.removeprefix('nvt_')))
            if isinstance(start, ExitCode):
                return start
            nodes[name] = self.submit_md(name, **start)
        return ToContext(**nodes)

    def derive_start(self, index: int) -> dict[str, orm.Data] | ExitCode:
        """Return the start of an NVT run: the end of the NPT run, or its own placement of tracers."""
        if not self.inputs.settings['independent_replicas']:
            key, start = 'state', self.derive('scale_state', scale_state, self.ctx.npt.outputs.state, self.ctx.volume)
        else:
            key, start = 'structure', self.build_structure(index)
            if not isinstance(start, ExitCode):
                start = self.derive(f'scale_structure{index}', scale_structure, start, self.ctx.volume)
        return start if isinstance(start, ExitCode) else {key: start}

    def inspect_nvt(self) -> ExitCode | None:
        """Select the starts of the new replicas, with energies near the mean of their NVT run."""
        for name in self.names('nvt'):
            node = self.ctx[name]
            if code := self.failed_run(name, node):
                return code
            label = name.replace('nvt_', 'select_starts')
            starts = self.derive(label, select_starts, self.ctx.plan['starts'], **node.outputs.trajectory)
            if isinstance(starts, ExitCode):
                return starts
            self.ctx.starts += [starts[name] for name in sorted(starts)]
        return None

    def run_nve(self) -> ToContext:
        """Launch the new replicas, and continue earlier replicas."""
        nodes = {}
        for name in self.names('nve'):
            index = int(name.split('_')[1])
            before = self.runs_of(index)
            nodes[name] = self.submit_md(name, state=before[-1].outputs.state if before else self.ctx.starts[index])
        return ToContext(**nodes)

    def runs_of(self, index: int) -> list[orm.WorkChainNode]:
        """Return the NVE runs of a replica in order."""
        names = [f'nve_{index}', *(f'nve_{index}_look{look}' for look in range(len(self.ctx.looks)))]
        return [self.ctx[name] for name in names if name in self.ctx]

    def inspect_nve(self) -> ExitCode | None:
        """Estimate the diffusion coefficient over all replicas."""
        for name in self.names('nve'):
            if code := self.failed_run(name, self.ctx[name]):
                return code
        segments = self.ctx.segments = {}
        for index in range(len(self.ctx.starts)):
            parts = [part for run in self.runs_of(index) for part in run.outputs.tracers.values()]
            parts.sort(key=lambda part: part.base.attributes.get('first_step'))
            segments |= {f'r{index}_s{number:03d}': part for number, part in enumerate(parts)}
        label = 'diffusion_coefficient' + (f'_look{self.ctx.look}' if self.ctx.look else '')
        outputs = self.ctx.analysis = self.derive(label, diffusion_coefficient, self.ctx.plan['fit'], **segments)
        self.ctx.look += 1
        return outputs if isinstance(outputs, ExitCode) else None

    def results(self) -> None:
        """Return the diffusion coefficient, and report its limits."""
        self.out('volume', self.ctx.volume)
        self.out('diffusion', self.ctx.analysis['diffusion'])
        self.out('msd', self.ctx.analysis['msd'])
        self.report_warnings(self.ctx.analysis['diffusion'])

    def analyse_structure(self) -> None:
        """Return radial distributions, pairs, sites and density, as far as the runs allow them.

        A host that melted has no sites. Then D, and all results without sites, are returned.
        """
        runs = self.ctx.segments | self.full_frames()
        host = {'host': self.inputs.host}
        if self.analyse('sites', site_statistics, host | runs) is None:
            host = {}
        self.analyse('rdf', radial_distributions, host | runs)
        if self.inputs.settings['supercell']['tracer_count'] > 1:
            self.analyse('pairs', tracer_pairs, host | runs)
        if host:
            self.analyse('density', tracer_density, host | runs)

    def full_frames(self) -> dict[str, orm.TrajectoryData]:
        """Return the full frames of the replicas by key."""
        frames: dict[str, orm.TrajectoryData] = {}
        for index in range(len(self.ctx.starts)):
            outputs = [run.outputs for run in self.runs_of(index)]
            parts = [part for one in outputs if 'trajectory' in one for part in one.trajectory.values()]
            frames |= {f'r{index}_f{number:03d}': part for number, part in enumerate(parts)}
        return frames

    def analyse(self, output: str, function: Any, inputs: dict[str, orm.Data]) -> orm.Data | None:
        """Return the output of an analysis of structure; if it failed, report the reason and return None."""
        found = self.derive(function.__name__, function, self.ctx.plan['structure'], **inputs)
        if isinstance(found, ExitCode):
            self.report(f'warning: no output {output}: {found.message}')
            return None
        self.out(output, found)
        self.report_warnings(found)
        return found

    def report_warnings(self, result: orm.Data) -> None:
        """Report the warnings of a result about its limits."""
        for warning in result.get_dict().get('warnings', []) if isinstance(result, orm.Dict) else []:
            self.report(f'warning: {warning}')

    def derive(self, label: str, function: Any, *args: orm.Data, **kwargs: orm.Data) -> Any:
        """Run a calcfunction; return its result, or the exit code with the reason of its failure."""
        result, node = function.run_get_node(*args, **kwargs, metadata={'call_link_label': label})
        if node.is_finished_ok:
            return result
        return self.exit_codes.ERROR_ANALYSIS_FAILED.format(name=label, message=node.exit_message)

    def submit_md(self, name: str, **start: orm.Data) -> orm.WorkChainNode:
        """Launch the MD run with a name in the plan."""
        inputs = {**self.exposed_inputs(MolecularDynamicsWorkChain), **start}
        label = name.replace('_', '')
        return self.submit(
            MolecularDynamicsWorkChain, **inputs, parameters=self.ctx.plan[name], metadata={'call_link_label': label}
        )

    def failed_run(self, name: str, node: orm.WorkChainNode) -> ExitCode | None:
        """Return the exit code that names a failed run; None for a finished run."""
        if node.is_finished_ok:
            return None
        return self.exit_codes.ERROR_RUN_FAILED.format(name=name, message=ending(node))

    @classmethod
    def get_settings(
        cls, architecture: str, protocol: str | None = None, overrides: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the complete settings of a protocol; the architecture's time step has priority over the protocol's."""
        stages = cls.get_protocol_inputs(protocol)['settings']
        inputs = cls.get_protocol_inputs(protocol, overrides)
        settings, own = inputs['settings'], (overrides or {}).get('settings', {})
        for stage in STAGES:
            parameters = MolecularDynamicsWorkChain.get_md_parameters(
                architecture, stage, protocol, inputs['md'], stage=stages[stage], stage_overrides=own.get(stage)
            )
            settings[stage] = parameters | {'tracer_element': settings['supercell']['tracer_element']}
        return settings

    @classmethod
    def fill_builder(
        cls,
        builder: ProcessBuilder,
        codes: dict[str, orm.AbstractCode],
        potential: PotentialData,
        host: orm.StructureData,
        potcars: dict[str, PotcarData] | None,
        protocol: str | None,
        overrides: dict[str, Any] | None,
        options: Options | None,
    ) -> ProcessBuilder:
        """Fill in the inputs that diffusion at one temperature and at several share."""
        own = cls.get_protocol_inputs(protocol, overrides)['md']
        md = MolecularDynamicsWorkChain.get_protocol_inputs(protocol, own)
        builder.codes = codes
        builder.potential = potential
        builder.potcars = potcars or {}
        builder.host = host
        builder.settings = orm.Dict(cls.get_settings(potential.architecture, protocol, overrides))
        builder.segment_steps = orm.Int(md['segment_steps'])
        builder.options = options_inputs(options, default=md['options'])
        builder.clean_workdir = orm.Bool(md['clean_workdir'])
        return builder

    @classmethod
    @checks_arguments
    def get_builder_from_protocol(
        cls,
        codes: dict[str, orm.AbstractCode],
        potential: PotentialData,
        host: orm.StructureData,
        *,
        temperature_k: float,
        potcars: dict[str, PotcarData] | None = None,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: Options | None = None,
    ) -> ProcessBuilder:
        """Return a builder.

        :param codes: ``lammps``, ``python`` or ``vasp``, as the potential needs.
        :param host: supercell of the host without tracers.
        :param potcars: POTCARs by element, for VASP.
        :param overrides: overrides of the protocol file: ``settings`` (for example ``supercell: {tracer_count: 6}``,
            ``seed``, ``nve: {duration_ps: 500}``), and ``md`` (overrides of ``MolecularDynamicsWorkChain``).
        :param options: ``metadata.options`` for all jobs (``default``), and for MD jobs (``md``).
        :raises ValueError: for an unknown protocol, and for keys of the overrides that the protocol file does not have.
        """
        builder = cls.get_builder()
        cls.fill_builder(builder, codes, potential, host, potcars, protocol, overrides, options)
        refuse_unchosen(overrides, potential.architecture, 'md.architectures')
        builder.temperature = orm.Float(temperature_k)
        return builder
