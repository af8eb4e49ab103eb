"""Codes and options of jobs: two namespaces, the same in every WorkChain.

``options`` has the keys of AiiDA's ``metadata.options``, for all jobs (``default``) and for each kind of job. The keys
of a kind have priority over ``default``, and each value is replaced as a whole, including ``resources``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import PurePath
from typing import Any

from aiida import orm
from aiida.engine import CalcJob, ProcessSpec
from aiida.engine.processes.ports import PortNamespace
from aiida.plugins import SchedulerFactory
from aiida.plugins.entry_point import get_entry_point_names
from plumpy.ports import Port

from aiida_mghdiff.calculations.mpi import MAIN, MpiJob
from aiida_mghdiff.calculations.program import ProgramCalculation
from aiida_mghdiff.calculations.validation import IS_COUNT, Check, optional, unknown_message
from aiida_mghdiff.data.architectures import architectures
from aiida_mghdiff.workflows.setting_checks import Keys, plain, settings_message

#: Argument of builders: ``metadata.options`` by ``default`` and kind of job.
Options = Mapping[str, Mapping[str, Any]]

CODES = {
    'python': 'Python interpreter of an environment with the engines',
    'lammps': '``lmp`` or ``mghdiff-lmp``',
    'convert': '``mace_create_lammps_model``, for an ``lmp`` built with MACE',
    'vasp': 'VASP or ``mghdiff-vasp-standin``',
    'vasp_neb': 'a VASP with VTST, for barriers, if ``vasp`` has no VTST',
    'reduce': 'Python interpreter on the machine of VASP, which reduces trajectories there',
    'gpaw': 'Python interpreter with GPAW',
}
DEFAULT = 'default'
KINDS = {
    'learn': 'on-the-fly learning and refits',
    'label': 'single points',
    'train': 'trainings',
    'evaluate': 'evaluations of potentials',
    'md': 'molecular dynamics',
    'barrier': 'relaxations of end points and searches for barriers',
    'vibrations': 'vibrations',
}
#: Roles of a code by the engine of its default plugin.
_ROLES = {'vasp': ('vasp', 'vasp_neb'), 'lammps': ('lammps',)}
_COMPILED = ('lammps', 'vasp', 'vasp_neb')


_TYPES = {bool: 'true or false', int: 'a whole number', str: 'a text', dict: 'a dictionary', list: 'a list'}
_COUNTS = (
    'num_machines',
    'num_mpiprocs_per_machine',
    'tot_num_mpiprocs',
    'num_cores_per_machine',
    'num_cores_per_mpiproc',
)


@cache
def _resources() -> set[str]:
    """Return the further keys of ``resources`` that any installed scheduler knows."""
    schedulers = map(SchedulerFactory, get_entry_point_names('aiida.schedulers'))
    return {key for each in schedulers for key in each.job_resource_class.get_valid_keys()} - set(_COUNTS)


def _port_schema(port: Port | PortNamespace) -> Any:
    """Return the schema of a port of ``metadata.options``."""
    if isinstance(port, PortNamespace):
        return {name: _port_schema(below) for name, below in port.items()}
    classes = port.valid_type if isinstance(port.valid_type, tuple) else (port.valid_type,)
    words = ' or '.join(_TYPES[each] for each in classes if each in _TYPES)
    words = 'a value that AiiDA accepts' if port.validator else words
    return Check(words, lambda value: port.validate(value) is None)


_OF_JOB: dict[str, Any] = _port_schema(CalcJob.spec().inputs['metadata']['options'])
#: AiiDA takes these unseen, and true and false for numbers.
_OF_JOB |= dict.fromkeys(('max_wallclock_seconds', 'max_memory_kb'), optional(IS_COUNT))
#: A key that no scheduler knows is refused for all kinds. :func:`job_message` asks the schedulers of the jobs that run.
_OF_JOB['resources'] = Keys(
    dict.fromkeys(_COUNTS, optional(IS_COUNT)),
    Check('a resource of an installed scheduler', lambda key: key in _resources()),
    '<resource>',
    near=_resources,
)
#: Schema of ``options``.
OPTIONS: dict[str, Any] = dict.fromkeys((DEFAULT, *KINDS), _OF_JOB)


def define_jobs(spec: ProcessSpec) -> None:
    """Define the namespaces ``codes`` and ``options``."""
    words = ', '.join(f'``{role}`` ({meaning})' for role, meaning in CODES.items())
    spec.input_namespace(
        'codes',
        valid_type=orm.AbstractCode,
        dynamic=True,
        validator=codes_message,
        help=f'Codes by role: {words}; or by architecture its own Python interpreter.',
    )
    spec.input_namespace(
        'options',
        dynamic=True,
        validator=options_message,
        help='``metadata.options`` of the jobs: ``default``, and by kind of job the differences.',
    )
    for name, meaning in {DEFAULT: 'all jobs', **KINDS}.items():
        spec.input(
            f'options.{name}',
            valid_type=orm.Dict,
            serializer=orm.to_aiida_type,
            required=False,
            help=f'``metadata.options`` of {meaning}.',
        )


def codes_message(codes: Mapping[str, orm.AbstractCode], _: Any = None) -> str | None:
    """Return a message about an unknown role, or a code of another engine, or None."""
    own = [name for name in architectures() if name.isidentifier()]
    return unknown_message(codes, [*CODES, *own], 'codes') or next(_swapped(codes), None)


def _swapped(codes: Mapping[str, orm.AbstractCode]) -> Iterator[str]:
    for role, code in codes.items():
        engine = (code.default_calc_job_plugin or '').removeprefix('mghdiff.').partition('.')[0]
        if role not in _ROLES.get(engine, (role,)):
            yield f'codes.{role} is {code.full_label}, a code of {engine}: did you mean codes.{engine}?'
        elif role in _COMPILED and PurePath(code.get_executable()).name.startswith('python'):
            yield f'codes.{role} is {code.full_label}, a Python interpreter: did you mean codes.python?'


def options_message(options: Mapping[str, Any], _: Any = None) -> str | None:
    """Return a message about an unknown kind of job or key, or a value of a wrong type, or None."""
    return settings_message(plain(options), OPTIONS, 'options')


def asked(inputs: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the user's options for a kind of job."""
    options = inputs.get('options', {})
    return {key: value for name in (DEFAULT, kind) if name in options for key, value in dict(options[name]).items()}


def job_options(inputs: Mapping[str, Any], kind: str, job: type[CalcJob], code: orm.AbstractCode) -> dict[str, Any]:
    """Return ``metadata.options`` of a job.

    Programs of this package are one process, so ``withmpi`` of all jobs does not apply to them; :func:`job_message`
    refuses ``withmpi`` of their own kind.

    :param inputs: inputs of the WorkChain.
    :param code: the main code.
    """
    values = asked(inputs, kind)
    users = values.pop('withmpi', None)
    said = users if code.with_mpi is None else code.with_mpi
    if said is None or issubclass(job, ProgramCalculation):
        return values
    return values | {MAIN if issubclass(job, MpiJob) else 'withmpi': said}


def job_message(
    inputs: Mapping[str, Any],
    kind: str,
    job: type[CalcJob],
    code: orm.AbstractCode,
    second: orm.AbstractCode | None = None,
) -> str | None:
    """Return why AiiDA would refuse a submitted job with these options (resources or MPI), or None.

    :param inputs: inputs of the WorkChain, with valid ``options``.
    :param second: the second code of a job of two codes.
    """
    values = asked(inputs, kind)
    own = dict(inputs.get('options', {}).get(kind, {}))
    places = {key: f'options.{kind if key in own else DEFAULT}.{key}' for key in ('resources', 'withmpi')}
    messages = (_own_mpi_message(own, kind, job), _mpi_message(values, places['withmpi'], job, code, second))
    return _resources_message(values, places['resources'], code) or next(filter(None, messages), None)


def _resources_message(values: Mapping[str, Any], place: str, code: orm.AbstractCode) -> str | None:
    if 'resources' not in values or code.computer is None:
        return None
    scheduler, resources = code.computer.get_scheduler(), dict(values['resources'])
    if message := unknown_message(resources, scheduler.job_resource_class.get_valid_keys(), place):
        return message
    scheduler.preprocess_resources(resources, code.computer.get_default_mpiprocs_per_machine())
    try:
        scheduler.validate_resources(**resources)
    except ValueError as error:
        return f'{place} = {values["resources"]}: {error} (scheduler {code.computer.scheduler_type})'
    return None


def _own_mpi_message(own: Mapping[str, Any], kind: str, job: type[CalcJob]) -> str | None:
    if not own.get('withmpi') or not issubclass(job, ProgramCalculation):
        return None
    return (
        f'options.{kind}.withmpi = True, but {job.__name__} runs a program of one process: leave withmpi out; for VASP '
        'and LAMMPS you can set with_mpi of their codes instead.'
    )


def _mpi_message(
    values: Mapping[str, Any],
    place: str,
    job: type[CalcJob],
    code: orm.AbstractCode,
    second: orm.AbstractCode | None,
) -> str | None:
    for each in (code, second):
        is_program = each is second or issubclass(job, ProgramCalculation)
        if each is not None and each.with_mpi and is_program:
            return f'code {each.full_label} has with_mpi = True, but its program is one process: drop with_mpi.'
    users = values.get('withmpi')
    if users is None or code.with_mpi in (None, users) or issubclass(job, ProgramCalculation):
        return None
    return f'{place} = {users}, but code {code.full_label} has with_mpi = {code.with_mpi}: drop one.'


def options_inputs(users: Options | None, **protocols: Mapping[str, Any]) -> dict[str, orm.Dict]:
    """Return the namespace ``options`` of a builder.

    :param users: the user's options by ``default`` and kind of job; they have priority over all options of protocols.
    :param protocols: options of protocols by ``default`` and kind of job.
    :raises ValueError: for an unknown kind of job or key; gives the nearest known name.
    """
    users = users or {}
    if message := options_message(users):
        raise ValueError(message)
    every = users.get(DEFAULT, {})
    values = {name: {**protocol, **every, **users.get(name, {})} for name, protocol in protocols.items()}
    return {name: orm.Dict(dict(value)) for name, value in {**users, **values}.items()}
