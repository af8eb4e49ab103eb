"""Engines of potentials: one record for each architecture, from which code and job are chosen.

Other packages add records by the entry point group ``aiida_mghdiff.architectures``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiida import orm
from aiida.engine import CalcJob
from aiida.plugins import CalculationFactory

from aiida_mghdiff.calculations.evaluate import KEYS as EVALUATION_KEYS
from aiida_mghdiff.calculations.functions.parameters import block_parameters, segment_parameters, steps_of_block
from aiida_mghdiff.calculations.lammps.md import converter_message, needs_converter
from aiida_mghdiff.calculations.md import INCAR
from aiida_mghdiff.calculations.train import TrainCalculation
from aiida_mghdiff.calculations.validation import keys_help
from aiida_mghdiff.calculations.vasp import evaluate, md
from aiida_mghdiff.calculations.vasp.job import potcars_message
from aiida_mghdiff.data.architectures import CHGNET, MACE, VASP_MLFF, Architecture, plugin_records
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.workflows.jobs import job_message, job_options
from aiida_mghdiff.workflows.setting_checks import without_null

Codes = Mapping[str, orm.AbstractCode]
PYTHON = 'python'
#: The second code of a job of two codes, by the role of the main code.
_SECOND = {'lammps': 'convert', 'vasp': 'reduce'}
#: Key of INCAR tags in the parameters of evaluations by architecture: the name of a port contains no hyphen.
VASP_TAGS = 'vasp_mlff'


def nothing(*_: Any) -> dict[str, Any]:
    """Return no further inputs."""
    return {}


def no_message(*_: Any) -> str | None:
    """Return None: there is no fault."""
    return None


def foreign_tags(_: Mapping[str, Any]) -> str:
    """Return a message that the engine has no INCAR."""
    return f'parameters: {INCAR} has tags for VASP, but VASP does not run this potential: leave {INCAR} out.'


@dataclass(frozen=True)
class Job:
    """A kind of job that runs a potential."""

    role: str  # key of its code in ``codes``
    entry_point: str
    extra: Callable[[Mapping[str, Any]], dict[str, Any]] = nothing  # further inputs of this job
    message: Callable[[Mapping[str, Any], Sequence[str]], str | None] = no_message  # fault of these, for symbols
    tags_message: Callable[[Mapping[str, Any]], str | None] = foreign_tags  # fault of the INCAR tags of a run
    in_blocks: bool = False  # whether a run must be divided at steps at which the engine writes a restart

    @property
    def process(self) -> type[CalcJob]:
        """Return the class of the job."""
        process: Any = CalculationFactory(self.entry_point)
        return process

    def key(self, architecture: str, codes: Codes) -> str:
        """Return the key of the job's code: the architecture's own code has priority over ``python``."""
        return architecture if self.role == PYTHON and architecture in codes else self.role

    def code(self, architecture: str, codes: Codes) -> orm.AbstractCode:
        """Return the job's code."""
        return codes[self.key(architecture, codes)]


def converter(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the code that converts models for a LAMMPS built with MACE."""
    codes = inputs['codes']
    return {'convert_code': codes['convert']} if needs_converter(codes['lammps']) else {}


def missing_converter_message(inputs: Mapping[str, Any], _: Sequence[str]) -> str | None:
    """Return a message if such a LAMMPS has no converter, or None."""
    code = inputs['codes']['lammps']
    if not needs_converter(code) or 'convert' in inputs['codes']:
        return None
    return f'codes.convert is missing: {converter_message(code)}'


def potcars(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the POTCARs, which VASP needs even with a force field."""
    return {'potcars': dict(inputs['potcars'])}


def missing_potcars_message(inputs: Mapping[str, Any], symbols: Sequence[str]) -> str | None:
    """Return a message with the elements without a POTCAR, or None."""
    return potcars_message(symbols, inputs.get('potcars', {}))


def md_in_vasp(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the POTCARs, and the code that reduces trajectories on VASP's machine."""
    codes = inputs['codes']
    return potcars(inputs) | ({'reduce_code': codes['reduce']} if 'reduce' in codes else {})


def evaluation_in_vasp(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the POTCARs, and the user's own INCAR tags."""
    tags = inputs.get('evaluation', {}).get(VASP_TAGS)
    return potcars(inputs) | ({} if tags is None else {'parameters': tags})


def evaluation_in_vasp_message(inputs: Mapping[str, Any], symbols: Sequence[str]) -> str | None:
    """Return a message with the elements without a POTCAR or about faulty INCAR tags, or None."""
    if message := missing_potcars_message(inputs, symbols):
        return message
    tags = inputs.get('evaluation', {}).get(VASP_TAGS)
    message = None if tags is None else evaluate.tags_message(tags)
    return message and message.replace('parameters', f'evaluation.{VASP_TAGS}', 1)


ASE_MD = Job(PYTHON, 'mghdiff.ase.md')
ASE_NEB = Job(PYTHON, 'mghdiff.ase.neb')
EVALUATE = Job(PYTHON, 'mghdiff.evaluate')
LAMMPS_MD = Job('lammps', 'mghdiff.lammps.md', converter, missing_converter_message)
VASP_MD = Job('vasp', 'mghdiff.vasp.md', md_in_vasp, missing_potcars_message, md.incar_message, in_blocks=True)
VASP_NEB = Job('vasp', 'mghdiff.vasp.neb', potcars, missing_potcars_message)
#: The band, which may have its own VASP that was built with VTST.
VTST_NEB = Job('vasp_neb', 'mghdiff.vasp.neb')
ASE_VIBRATIONS = Job(PYTHON, 'mghdiff.ase.vibrations')
VASP_EVALUATE = Job('vasp', 'mghdiff.vasp.evaluate', evaluation_in_vasp, evaluation_in_vasp_message)


@dataclass(frozen=True)
class Engines:
    """Jobs for the potentials of an architecture; by default the jobs that any ASE calculator can do."""

    architecture: Architecture
    md: tuple[Job, ...] = (ASE_MD,)  # the preferred job first
    barrier: Job = ASE_NEB
    evaluation: Job = EVALUATE
    training: Job | None = None  # a TrainCalculation; None if nothing here trains the architecture
    device: str = 'cpu'  # device of evaluations, if the user names none


_OURS = {
    record.architecture.name: record
    for record in (
        Engines(MACE, md=(LAMMPS_MD, ASE_MD), training=Job(PYTHON, 'mghdiff.mace.train')),
        Engines(CHGNET, training=Job(PYTHON, 'mghdiff.chgnet.train')),
        Engines(VASP_MLFF, md=(VASP_MD,), barrier=VASP_NEB, evaluation=VASP_EVALUATE),
    )
}


def table() -> dict[str, Engines]:
    """Return all records by architecture, ours first."""
    return _OURS | plugin_records()


def engines_of(architecture: str) -> Engines:
    """Return the record of an architecture.

    :raises ValueError: if there is no record.
    """
    if architecture not in table():
        raise ValueError(f'nothing here runs {architecture} potentials: install the package that brings them.')
    return table()[architecture]


def jobs_with_code(jobs: Sequence[Job], architecture: str, codes: Codes) -> list[Job]:
    """Return the jobs that have a code."""
    return [job for job in jobs if job.key(architecture, codes) in codes]


def md_engine(potential: PotentialData, codes: Codes) -> tuple[Job, orm.AbstractCode]:
    """Return the MD job that runs a potential, and its code: the preferred job with a code.

    :raises ValueError: if no code fits.
    """
    name = potential.architecture
    jobs = table()[name].md if name in table() else ()
    for job in jobs_with_code(jobs, name, codes):
        return job, job.code(name, codes)
    wanted = ' or '.join(f'codes.{job.role}' for job in jobs) or 'an engine that this version lacks'
    raise ValueError(f'a {name} potential needs {wanted} for MD: `aiida-mghdiff setup` makes the codes.')


def validate_md_codes(inputs: Mapping[str, Any], symbols: Sequence[str]) -> str | None:
    """Return a message about faults of codes and extra inputs of a process that runs MD with one potential, or None.

    :param symbols: symbols of the moving atoms.
    """
    if 'potential' not in inputs:
        return None
    try:
        job, _ = md_engine(inputs['potential'], inputs.get('codes', {}))
    except ValueError as error:
        return str(error)
    return job.message(inputs, symbols) or options_message(inputs, 'md', job, inputs['potential'].architecture)


def options_message(inputs: Mapping[str, Any], kind: str, job: Job, architecture: str) -> str | None:
    """Return why AiiDA would refuse the options of a job; None also without a code, which other messages report.

    :param inputs: inputs of a WorkChain.
    :param kind: kind of job, a key of ``options``.
    """
    codes = inputs.get('codes', {})
    if (key := job.key(architecture, codes)) not in codes:
        return None
    return job_message(inputs, kind, job.process, codes[key], codes.get(_SECOND.get(job.role)))


def incar_message(inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> str | None:
    """Return a message about a fault in the INCAR tags of MD parameters, or None; only VASP reads the tags.

    :param inputs: inputs of a process that runs MD with one potential, with valid codes.
    """
    if INCAR not in parameters:
        return None
    job, _ = md_engine(inputs['potential'], inputs['codes'])
    return job.tags_message(parameters)


def md_message(inputs: Mapping[str, Any], structure: orm.StructureData, parameters: Mapping[str, Any]) -> str | None:
    """Return why the job of an MD run would be refused, or None.

    :param inputs: inputs of a process that runs MD with one potential, with valid codes.
    """
    job, code = md_engine(inputs['potential'], inputs['codes'])
    given = {'code': code, 'potential': inputs['potential'], 'structure': structure, 'parameters': orm.Dict(parameters)}
    ports = job.process.spec().inputs
    return ports.validator(given | job.extra(inputs), ports)


def job_parameters(job: Job, parameters: orm.Dict, state: MdStateData | None, label: str) -> orm.Dict:
    """Return the parameters of the next job of a run; for a single job these are the parameters of the run.

    :param state: end of the last job, None for the first job.
    :param label: call link label of the calcfunction that derives the parameters.
    """
    steps = steps_of_block(parameters.get_dict()) if job.in_blocks else parameters['steps']
    if state is None and steps == parameters['steps']:
        return parameters
    derive = block_parameters if job.in_blocks else segment_parameters
    start = {} if state is None else {'state': state}
    return derive(parameters, **start, metadata={'call_link_label': label})


def is_evaluated(architecture: str | None, inputs: Mapping[str, Any]) -> bool:
    """Return whether a process evaluates an architecture: Python needs settings for it, VASP only needs its code.

    :param inputs: ``codes``, and ``evaluation``: parameters by architecture.
    """
    if architecture not in table():
        return False
    job = engines_of(architecture).evaluation
    return architecture in inputs.get('evaluation', {}) if job.role == PYTHON else job.role in inputs.get('codes', {})


def evaluation(potential: PotentialData, inputs: Mapping[str, Any]) -> tuple[type[CalcJob], dict[str, Any]]:
    """Return the job that evaluates a potential, and its inputs except potential and dataset.

    :param inputs: ``codes``, ``options``, ``potcars``, and ``evaluation``: parameters by architecture.
    """
    name = potential.architecture
    job = engines_of(name).evaluation
    parameters = {'parameters': inputs['evaluation'][name]} if job.role == PYTHON else {}
    code = job.code(name, inputs['codes'])
    options = job_options(inputs, 'evaluate', job.process, code)
    return job.process, {'code': code, 'metadata': {'options': options}, **parameters, **job.extra(inputs)}


def evaluation_parameters(overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the parameters of evaluations in Python, by architecture.

    :param overrides: the user's settings, by architecture.
    """
    records = {name: table()[name] for name in evaluated_architectures()}
    defaults = {
        name: {'dtype': record.architecture.dtypes[0], 'device': record.device} for name, record in records.items()
    }
    values = {name: {**defaults.get(name, {}), **overrides.get(name, {})} for name in {**defaults, **overrides}}
    return {name: without_null(parameters) for name, parameters in values.items()}


def evaluation_help() -> str:
    """Return the help of the namespace ``evaluation``: parameters for Python, and INCAR tags for VASP."""
    words = keys_help('Parameters by architecture.', EVALUATION_KEYS)
    return f'{words} ``{VASP_TAGS}`` has your own INCAR tags instead.'


def of_python(parameters: Mapping[str, orm.Dict]) -> dict[str, orm.Dict]:
    """Return the parameters by architecture, without the INCAR tags of evaluations in VASP."""
    return {name: node for name, node in parameters.items() if name != VASP_TAGS}


def with_dtype(architecture: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with a ``dtype`` of the architecture: its usual one if the given one does not work."""
    dtypes = engines_of(architecture).architecture.dtypes
    return dict(parameters) | ({} if parameters['dtype'] in dtypes else {'dtype': dtypes[0]})


def barrier_job(potential: PotentialData | None) -> Job:
    """Return the job that finds barriers with a potential, or with DFT without a potential.

    :raises ValueError: if nothing runs the potential.
    """
    return VASP_NEB if potential is None else engines_of(potential.architecture).barrier


def barrier_architectures() -> list[str]:
    """Return the architectures whose barriers are found in Python."""
    return [name for name, record in table().items() if record.barrier.role == PYTHON]


def evaluated_architectures() -> list[str]:
    """Return the architectures that are evaluated in Python."""
    return [name for name, record in table().items() if record.evaluation.role == PYTHON]


def trained_architectures() -> list[str]:
    """Return the architectures that can be trained here."""
    return [name for name, record in table().items() if record.training]


def training_job(architecture: str) -> Job:
    """Return the job that trains an architecture.

    :raises ValueError: if there is no such job.
    """
    job = table()[architecture].training if architecture in table() else None
    if job is None:
        known = ', '.join(trained_architectures())
        raise ValueError(f'architecture {architecture!r} cannot be trained here: choose one of {known}.')
    return job


def trainer(architecture: str) -> type[TrainCalculation]:
    """Return the class of the job that trains an architecture.

    :raises ValueError: if there is no such job.
    """
    process: Any = training_job(architecture).process
    return process
