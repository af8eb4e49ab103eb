"""The energy barrier of a tracer along a named path between interstitial sites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm
from aiida.engine import CalcJob, ExitCode, ProcessBuilder, ProcessSpec, ToContext, WorkChain, if_, while_
from aiida_vasp.data.potcar import PotcarData

from aiida_mghdiff.calculations.ase.neb import KEYS as NEB_KEYS
from aiida_mghdiff.calculations.ase.neb import AseNebCalculation
from aiida_mghdiff.calculations.ase.vibrations import KEYS as VIBRATION_KEYS
from aiida_mghdiff.calculations.ase.vibrations import AseVibrationsCalculation
from aiida_mghdiff.calculations.exit_codes import define_exit_codes, has_ended_with
from aiida_mghdiff.calculations.functions.hops import hop
from aiida_mghdiff.calculations.functions.parameters import vibration_parameters
from aiida_mghdiff.calculations.functions.paths import (
    INTERPOLATION_SETTINGS,
    PATH_SETTINGS,
    interpolate_path,
    path_endpoints,
)
from aiida_mghdiff.calculations.hosts import host_message
from aiida_mghdiff.calculations.md import elements_message
from aiida_mghdiff.calculations.validation import (
    IS_NOT_NEGATIVE,
    complete_message,
    joined,
    keys_help,
    self_diffusion_message,
    without,
)
from aiida_mghdiff.calculations.vasp.ionic import system_message, tags_message
from aiida_mghdiff.calculations.vasp.neb import BAND_TAGS, VaspNebCalculation, ranks_message
from aiida_mghdiff.calculations.vasp.relax import RELAXATION_TAGS, VaspRelaxCalculation
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.workflows.cleaning import CleaningMixin
from aiida_mghdiff.workflows.engines import (
    ASE_VIBRATIONS,
    PYTHON,
    VASP_NEB,
    VTST_NEB,
    Job,
    barrier_job,
    options_message,
    with_dtype,
)
from aiida_mghdiff.workflows.jobs import Options, define_jobs, job_options, options_inputs
from aiida_mghdiff.workflows.ports import expose_job
from aiida_mghdiff.workflows.protocol import ProtocolMixin, checks_arguments, protocol_inputs
from aiida_mghdiff.workflows.setting_checks import without_null
from aiida_mghdiff.workflows.survival import SurvivalMixin, ending

#: Structures of a path whose vibrations can be requested: outputs of the search. Some paths have no saddle point.
STATIONARY = {'initial': 'initial_relaxed', 'saddle': 'saddle', 'final': 'final_relaxed'}
_SHIFT = 'displacement_angstrom'
#: Further inputs of a search in VASP.
OF_VASP = ('relaxation', 'interpolation', _SHIFT, 'kpoints')
#: Parameters that only ASE takes.
OF_ASE = (
    'neb_method',
    'spring_constant_ev_per_angstrom2',
    'climb_below_ev_per_angstrom',
    'optimizer',
    'relax_endpoints',
    'dtype',
)
#: Parameters among these for which VTST has tags, with other values.
OF_VTST = ('spring_constant_ev_per_angstrom2', 'optimizer')
#: Parameters of vibrations that follow from path and structure, with example values.
OF_PATH = {'tracer_element': 'H', 'expected_imaginary_modes': 0}
VIBRATION_SETTINGS = without(VIBRATION_KEYS, *OF_PATH)


def validate_barrier(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return a message about all faults of path, host, elements, code, or the inputs of one engine, or None."""
    if not {'host', 'path'} <= set(inputs):
        return None
    if message := path_message(inputs['path']):
        return message
    own = self_diffusion_message(inputs['path']['tracer_element'], inputs['host'].get_symbols_set())
    return joined([own, host_message(inputs['host']), *_engine_messages(inputs)])


def path_message(path: orm.Dict) -> str | None:
    """Return a message about a fault in a named path, or None."""
    return complete_message(path.get_dict(), PATH_SETTINGS, 'path')


def _engine_messages(inputs: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield why the potential, or DFT, cannot run with these elements and codes."""
    tracer = inputs['path']['tracer_element']
    symbols = [*inputs['host'].get_ase().get_chemical_symbols(), tracer]
    try:
        job = barrier_job(inputs.get('potential'))
    except ValueError as error:
        yield str(error)
        return
    message = _code_message(job, inputs)
    yield message
    if 'potential' in inputs:
        yield elements_message(inputs['potential'], symbols, tracer)
    if message is None:
        messages = [_ase_message(inputs) if job.role == PYTHON else _vasp_message(symbols, inputs)]
        messages.append(_options_message(inputs, job))
        yield from messages
        if job.role != PYTHON and not any(messages):
            yield _ranks_message(inputs)


def _options_message(inputs: Mapping[str, Any], job: Job) -> str | None:
    """Return why AiiDA would refuse the options of the jobs, or None."""
    architecture = inputs['potential'].architecture if 'potential' in inputs else ''
    jobs = {'barrier': [job, *([VTST_NEB] if job is VASP_NEB else [])]}
    jobs |= {'vibrations': [ASE_VIBRATIONS]} if 'vibrations' in inputs else {}
    messages = [options_message(inputs, kind, each, architecture) for kind, some in jobs.items() for each in some]
    return joined(messages)


def _code_message(job: Job, inputs: Mapping[str, Any]) -> str | None:
    codes = inputs.get('codes', {})
    if 'potential' not in inputs:
        needs = 'give a potential, or for DFT potcars and codes.vasp: without a potential, barriers run in VASP.'
        return None if job.role in codes else needs
    architecture = inputs['potential'].architecture
    if job.key(architecture, codes) in codes:
        return None
    name = 'ASE' if job.role == PYTHON else 'VASP'
    return (
        f'codes.{job.role} is missing: barriers of {architecture} potentials run in {name}; `aiida-mghdiff setup` '
        'makes the code.'
    )


def _ase_message(inputs: Mapping[str, Any]) -> str | None:
    architecture = inputs['potential'].architecture
    if given := [name for name in OF_VASP if name in inputs]:
        return f'{", ".join(given)}: only VASP takes these, and barriers of {architecture} run in ASE: leave them out.'
    if message := AseNebCalculation.parameters_message(inputs['parameters'].get_dict(), architecture):
        return message
    message = vibrations_message(inputs['vibrations'].get_dict(), architecture) if 'vibrations' in inputs else None
    return message and f'vibrations: {message}'


def vibrations_message(settings: Mapping[str, Any], architecture: str) -> str | None:
    """Return a message about a fault in the vibration parameters that all tracers share, or None."""
    return AseVibrationsCalculation.parameters_message({**settings, **OF_PATH}, architecture)


def _vasp_message(symbols: list[str], inputs: Mapping[str, Any]) -> str | None:
    if missing := [name for name in OF_VASP if name not in inputs]:
        return f'inputs lack {", ".join(missing)}, which VASP needs: get_builder_from_protocol fills them in.'
    if 'vibrations' in inputs:
        return 'vibrations run in ASE: leave them out of a barrier in VASP.'
    for name, checks in {'relaxation': RELAXATION_TAGS, 'parameters': BAND_TAGS}.items():
        if message := tags_message({**inputs, 'parameters': inputs[name]}, checks):
            return message.replace('parameters', name, 1)
    return (
        system_message(symbols, inputs)
        or complete_message(inputs['interpolation'].get_dict(), INTERPOLATION_SETTINGS, 'interpolation')
        or complete_message({_SHIFT: inputs[_SHIFT].value}, {_SHIFT: IS_NOT_NEGATIVE}, 'inputs')
        or _band_message(inputs)
    )


def _band_message(inputs: Mapping[str, Any]) -> str | None:
    """Return why VASP's band would be refused after the relaxations of its end points, or None."""
    band, relaxation = inputs['parameters'], inputs['relaxation']
    if (n_images := inputs['interpolation']['n_images']) != band['images']:
        return f'interpolation.n_images = {n_images}, but parameters.images = {band["images"]}: give one number.'
    if relaxation['ediffg'] < band['ediffg']:
        return (
            f'relaxation.ediffg = {relaxation["ediffg"]:g} allows larger forces at the end points than the band with '
            f'parameters.ediffg = {band["ediffg"]:g}: set endpoint_tolerance_ev_per_angstrom to at most '
            'force_tolerance_ev_per_angstrom.'
        )
    return None


def _ranks_message(inputs: Mapping[str, Any]) -> str | None:
    """Return why the MPI ranks cannot be divided equally among the images of VASP's band, or None."""
    code = _vasp_code(VaspNebCalculation, inputs['codes'])
    default = VaspNebCalculation.spec().inputs['metadata']['options']['resources'].default
    options = {'resources': default, **job_options(inputs, 'barrier', VaspNebCalculation, code)}
    message = ranks_message(code, options, inputs['parameters']['images'])
    return message and f'options.barrier.resources: {message}'


def _vasp_code(process: type[CalcJob], codes: Mapping[str, orm.AbstractCode]) -> orm.AbstractCode:
    """Return the code of a job of VASP: only the band needs a VASP with VTST, which may be a second code."""
    return codes['vasp_neb'] if process is VaspNebCalculation and 'vasp_neb' in codes else codes['vasp']


class BarrierWorkChain(ProtocolMixin, CleaningMixin, SurvivalMixin, WorkChain):
    """Places the tracer on the two sites of a path, relaxes both, and finds the saddle point between them by ciNEB.

    VASP runs its own force fields, ASE runs all other potentials; without a potential VASP runs DFT.
    """

    _PROTOCOL_FILE = 'neb'

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        define_jobs(spec)
        for job in (VaspRelaxCalculation, VaspNebCalculation):
            expose_job(spec, job, 'potential', 'potcars', 'kpoints')
        # Ports of the WorkChain's own: jobs in ASE may be an architecture's own, whose inputs are not known here.
        spec.input('potential', valid_type=PotentialData, required=False, help='Gives the forces; DFT without it.')
        spec.input('host', valid_type=orm.StructureData, help='Supercell of the host, without tracers.')
        words = keys_help('Tracer and named path.', PATH_SETTINGS)
        spec.input('path', valid_type=orm.Dict, serializer=orm.to_aiida_type, help=words)
        words = keys_help('ciNEB in ASE; INCAR tags in VASP.', NEB_KEYS)
        spec.input('parameters', valid_type=orm.Dict, serializer=orm.to_aiida_type, help=words)
        spec.input('relaxation', valid_type=orm.Dict, required=False, help='VASP: INCAR tags for the end points.')
        words = keys_help('VASP: images between the end points.', INTERPOLATION_SETTINGS)
        spec.input('interpolation', valid_type=orm.Dict, required=False, help=words)
        spec.input('displacement_angstrom', valid_type=orm.Float, required=False, help='VASP: shift of the ends.')
        spec.input('kpoints', valid_type=orm.KpointsData, required=False, help='VASP: k-point mesh.')
        words = keys_help('Vibrations, if requested.', VIBRATION_SETTINGS)
        spec.input('vibrations', valid_type=orm.Dict, required=False, help=words)
        spec.input('clean_workdir', valid_type=orm.Bool, default=lambda: orm.Bool(False), help='Empty scratch folders.')
        spec.inputs.validator = validate_barrier
        repetition = if_(cls.has_crashed)(cls.repeat_crashed)
        spec.outline(
            cls.setup,
            if_(cls.runs_in_vasp)(
                while_(cls.should_relax_ends)(cls.relax_ends, repetition, cls.inspect_ends),
                cls.interpolate,
            ),
            while_(cls.should_run_neb)(cls.run_neb, repetition, cls.inspect_neb),
            cls.results,
            if_(cls.wants_vibrations)(cls.run_vibrations, repetition, cls.inspect_vibrations, cls.make_hop),
        )
        spec.output('barrier', valid_type=orm.Dict, help='Barriers in both directions, or reasons for none; energies.')
        spec.output('images', valid_type=orm.TrajectoryData, help='Images of the path, end points included.')
        spec.output(
            'saddle', valid_type=orm.StructureData, required=False, help='The saddle point, if the path has one.'
        )
        spec.output_namespace('vibrations', valid_type=orm.Dict, dynamic=True, help='Vibrations at stationary points.')
        spec.output('hop', valid_type=orm.Dict, required=False, help='Barriers and frequencies in both directions.')
        define_exit_codes(spec, 'ENDPOINTS_FAILED', 'ENDS_NOT_RELAXED', 'NEB_FAILED', 'VIBRATIONS_FAILED')

    def setup(self) -> ExitCode | None:
        """Place the tracer on the two sites of the path."""
        shift = {'displacement_angstrom': self.inputs.displacement_angstrom} if self.runs_in_vasp() else {}
        ends, node = path_endpoints.run_get_node(
            self.inputs.host, self.inputs.path, **shift, metadata={'call_link_label': 'endpoints'}
        )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_ENDPOINTS_FAILED.format(message=node.exit_message)
        self.ctx.inputs = {'initial': ends['initial'], 'final': ends['final']}
        self.ctx.unrelaxed = list(self.ctx.inputs)
        self.ctx.neb = None
        return None

    @property
    def job(self) -> Job:
        """Return the job that finds the path."""
        return barrier_job(self.inputs.get('potential'))

    def runs_in_vasp(self) -> bool:
        """Return whether VASP finds the path; ASE relaxes and interpolates by itself."""
        return self.job.role != PYTHON

    def should_relax_ends(self) -> bool:
        """Return whether an end point must be relaxed, or continued after a stop before the wall time."""
        return bool(self.ctx.unrelaxed)

    def relax_ends(self) -> ToContext:
        """Launch the relaxations of the end points that are not relaxed yet."""
        nodes = {}
        for name in self.ctx.unrelaxed:
            inputs = self.vasp_inputs(VaspRelaxCalculation, f'relax_{name}') | {'structure': self.ctx.inputs[name]}
            nodes[name] = self.submit(VaspRelaxCalculation, parameters=self.inputs.relaxation, **inputs)
        return ToContext(**nodes)

    def inspect_ends(self) -> ExitCode | None:
        """Continue relaxations that stopped before their wall time; stop at any other failure."""
        for name in self.ctx.unrelaxed:
            node = self.ctx[name]
            if not node.is_finished_ok and not self.can_continue(node, 'structure'):
                message = f'{name}: {ending(node)}'
                return self.exit_codes.ERROR_ENDS_NOT_RELAXED.format(message=message)
            self.ctx.inputs[name] = node.outputs.structure
        self.ctx.unrelaxed = [name for name in self.ctx.unrelaxed if not self.ctx[name].is_finished_ok]
        return None

    def interpolate(self) -> ExitCode | None:
        """Interpolate images between the relaxed end points."""
        ends = {name: self.ctx.inputs[name] for name in ('initial', 'final')}
        path, node = interpolate_path.run_get_node(
            **ends, settings=self.inputs.interpolation, metadata={'call_link_label': 'interpolate'}
        )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_ENDS_NOT_RELAXED.format(message=node.exit_message)
        self.ctx.inputs = {f'{name}_results': self.ctx[name].outputs.results for name in ends}
        self.ctx.inputs['images'] = path['images']
        return None

    def should_run_neb(self) -> bool:
        """Return whether the path must be found, or continued after a stop before the wall time."""
        return self.ctx.neb is None or has_ended_with(self.ctx.neb, 'OUT_OF_WALLTIME')

    def run_neb(self) -> ToContext:
        """Launch the ciNEB job."""
        if self.runs_in_vasp():
            inputs = self.vasp_inputs(VaspNebCalculation, 'neb') | {'parameters': self.inputs.parameters}
            return ToContext(neb=self.submit(VaspNebCalculation, **inputs, **self.ctx.inputs))
        inputs = self.job_inputs('barrier', self.job.process, 'neb')
        return ToContext(neb=self.submit(self.job.process, **inputs, **self.ctx.inputs))

    def job_inputs(self, kind: str, process: type[CalcJob], label: str) -> dict[str, Any]:
        """Return the inputs that all jobs of ASE on this path share."""
        code = self.job.code(self.inputs.potential.architecture, self.inputs.codes)
        return {
            'code': code,
            'potential': self.inputs.potential,
            'parameters': self.inputs.parameters,
            'metadata': {'call_link_label': label, 'options': job_options(self.inputs, kind, process, code)},
        }

    def vasp_inputs(self, process: type[CalcJob], label: str) -> dict[str, Any]:
        """Return the inputs that all jobs of VASP on this path share."""
        code = _vasp_code(process, self.inputs.codes)
        return {
            **self.exposed_inputs(process),
            'code': code,
            'metadata': {'call_link_label': label, 'options': job_options(self.inputs, 'barrier', process, code)},
        }

    def inspect_neb(self) -> ExitCode | None:
        """Continue a run that stopped before its wall time; stop at any other failure."""
        node = self.ctx.neb
        if node.is_finished_ok:
            return None
        if self.can_continue(node, 'path'):
            self.ctx.inputs['images' if self.runs_in_vasp() else 'restart'] = node.outputs.path
            return None
        return self.exit_codes.ERROR_NEB_FAILED.format(message=ending(node))

    def can_continue(self, node: orm.CalcJobNode, output: str) -> bool:
        """Return whether a job stopped before its wall time and returned the output to continue from."""
        stopped = has_ended_with(node, 'OUT_OF_WALLTIME') and output in node.outputs
        if stopped:
            self.report(f'{node.process_label}<{node.pk}> stopped before its wall time; continuing from its {output}')
        return stopped

    def wants_vibrations(self) -> bool:
        """Return whether vibrations are requested."""
        return 'vibrations' in self.inputs

    def stationary(self) -> list[str]:
        """Return the names of the points for which vibrations are requested."""
        return [name for name, output in STATIONARY.items() if output in self.ctx.neb.outputs]

    def run_vibrations(self) -> ToContext:
        """Launch the vibrations at both ends and, if the path has one, at the saddle point."""
        label = {'call_link_label': 'vibration_parameters'}
        parameters = vibration_parameters(self.inputs.vibrations, self.inputs.path, metadata=label)
        nodes = {}
        for name in self.stationary():
            structure = self.ctx.neb.outputs[STATIONARY[name]]
            inputs = self.job_inputs('vibrations', AseVibrationsCalculation, f'vibrations_{name}')
            inputs |= {'structure': structure}
            inputs['parameters'] = parameters['saddle' if name == 'saddle' else 'minimum']
            nodes[f'vibrations_{name}'] = self.submit(AseVibrationsCalculation, **inputs)
        return ToContext(**nodes)

    def inspect_vibrations(self) -> ExitCode | None:
        """Stop if vibrations failed; vibrations at a point of the wrong kind are a result."""
        for name in self.stationary():
            node = self.ctx[f'vibrations_{name}']
            if not (node.is_finished_ok or has_ended_with(node, 'WRONG_NUMBER_OF_IMAGINARY_MODES')):
                return self.exit_codes.ERROR_VIBRATIONS_FAILED.format(name=name, message=node.exit_message)
        self.ctx.vibrations = {name: self.ctx[f'vibrations_{name}'].outputs.results for name in self.stationary()}
        self.out('vibrations', dict(self.ctx.vibrations))
        return None

    def make_hop(self) -> None:
        """Return the properties that determine the rates of the hop, if it has a saddle point of first order."""
        if 'saddle' not in self.ctx.vibrations:
            self.report(f'the path {self.inputs.path["path"]} has no saddle point, so it is no hop')
            return
        result, node = hop.run_get_node(
            self.inputs.path, self.ctx.neb.outputs.results, **self.ctx.vibrations, metadata={'call_link_label': 'hop'}
        )
        if node.is_finished_ok:
            self.out('hop', result)
        else:
            self.report(f'the path {self.inputs.path["path"]} is no hop: {node.exit_message}')

    def results(self) -> None:
        """Return the barrier and the path, also if the vibrations failed."""
        self.out('barrier', self.ctx.neb.outputs.results)
        self.out('images', self.ctx.neb.outputs.path)
        if 'saddle' in self.ctx.neb.outputs:
            self.out('saddle', self.ctx.neb.outputs.saddle)

    @classmethod
    @checks_arguments
    def get_builder_from_protocol(
        cls,
        codes: dict[str, orm.AbstractCode],
        potential: PotentialData | None,
        host: orm.StructureData,
        *,
        path: str,
        tracer_element: str = 'H',
        vibrations: bool = False,
        potcars: dict[str, PotcarData] | None = None,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: Options | None = None,
    ) -> ProcessBuilder:
        """Return a builder.

        :param potential: potential for the forces; None for DFT in VASP.
        :param path: one of the named paths of hcp: ``O-O c``, ``O-O ab``, ``O-T``, ``T-T``.
        :param vibrations: whether vibrations at the minima and the saddle point are requested.
        :param potcars: POTCARs by element, for VASP.
        :param overrides: overrides of the protocol file: ``parameters``, ``vasp``, ``vibrations``, ``clean_workdir``.
        :param options: ``metadata.options`` for all jobs (``default``), for relaxations and
            searches (``barrier``), and for vibrations (``vibrations``).
        :raises ValueError: for an unknown protocol, and for keys of the overrides that the protocol file does not have,
            or that the engine of the potential does not take.
        """
        inputs = cls.get_protocol_inputs(protocol, overrides)
        if message := joined(unused_messages(overrides or {}, potential, vibrations)):
            raise ValueError(message)
        builder = cls.get_builder()
        builder.codes = codes
        builder.host = host
        builder.path = orm.Dict({'tracer_element': tracer_element, 'path': path})
        builder.parameters = orm.Dict(parameters_for(potential, inputs['parameters']))
        builder.options = options_inputs(options, default=inputs['options'])
        builder.clean_workdir = orm.Bool(inputs['clean_workdir'])
        if potential is not None:
            builder.potential = potential
        if barrier_job(potential).role != PYTHON:
            builder.potcars = potcars or {}
            for name, node in vasp_inputs_of_protocol(inputs, potential).items():
                setattr(builder, name, node)
        if vibrations:
            own = protocol_inputs('vibrations', protocol, inputs['vibrations'])
            builder.vibrations = orm.Dict(parameters_for(potential, own['parameters']))
        return builder


def unused_messages(overrides: Mapping[str, Any], potential: PotentialData | None, vibrations: bool) -> Iterator[str]:
    """Yield which overrides would be taken and not used: settings of another engine, or of vibrations not asked for."""
    if overrides.get('vibrations') and not vibrations:
        yield 'vibrations: set the argument vibrations to true, which asks for them, or leave these out.'
    own = overrides.get('vasp', {})
    if barrier_job(potential).role == PYTHON:
        if own:
            yield f'vasp: barriers of {potential and potential.architecture} potentials run in ASE: leave vasp out.'
        return
    used, other = ('dft', 'force_field') if potential is None else ('force_field', 'dft')
    if other in own:
        yield f'vasp.{other}: this barrier takes vasp.{used}: set it there.'
    for key in OF_ASE:
        if key in overrides.get('parameters', {}):
            remedy = 'set tags in vasp.band instead' if key in OF_VTST else 'leave it out'
            yield f'parameters.{key}: only ASE takes it, and this barrier runs in VASP: {remedy}.'


def parameters_for(potential: PotentialData | None, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with a ``dtype`` of the potential; unchanged for DFT."""
    return parameters if potential is None else with_dtype(potential.architecture, parameters)


def vasp_inputs_of_protocol(inputs: dict[str, Any], potential: PotentialData | None) -> dict[str, orm.Data]:
    """Return the inputs of a search in VASP: the settings of the protocol as VASP's tags.

    :param inputs: inputs of the protocol; ``parameters`` are for every engine, ``vasp`` adds tags of VASP.
    """
    settings, vasp = inputs['parameters'], inputs['vasp']
    method = vasp['dft' if potential is None else 'force_field']
    relaxation = {
        'ediffg': -settings['endpoint_tolerance_ev_per_angstrom'],
        'nsw': settings['endpoint_max_steps'],
    }
    band = {
        'images': settings['n_images'],
        'lclimb': settings['climb'],
        'ediffg': -settings['force_tolerance_ev_per_angstrom'],
        'nsw': settings['max_steps'],
    }
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh(method['mesh'])
    return {
        'relaxation': orm.Dict(without_null(method['parameters'] | vasp['relaxation'] | relaxation)),
        'parameters': orm.Dict(without_null(method['parameters'] | vasp['band'] | band)),
        'interpolation': orm.Dict({name: settings[name] for name in INTERPOLATION_SETTINGS}),
        'displacement_angstrom': orm.Float(settings['endpoint_displacement_angstrom']),
        'kpoints': kpoints,
    }
