"""`aiida-mghdiff demo`: run the whole study at the size of a laptop, in its own profile."""

from __future__ import annotations

import fcntl
import logging
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_mghdiff.cli.option_names import READING

if TYPE_CHECKING:
    from aiida import orm
    from aiida.engine import ProcessBuilder

    from aiida_mghdiff.calculations.hosts import Subject
    from aiida_mghdiff.data.dataset import DatasetData
    from aiida_mghdiff.data.potential import PotentialData

#: The extra that held the key of a study in earlier versions.
STUDY_KEY = 'mghdiff_demo'
SLOTS = 2
#: Folder beside the checkout that may contain a foundation model.
FOUNDATIONS = Path('../shared/data/mace')


@dataclass(frozen=True)
class Choices:
    """The choices of the user; without a file of labelled configurations the study learns on the fly."""

    protocol: str
    dataset_file: Path | None = None
    foundation: Path | None = None
    head: str | None = None
    host: str | None = None
    tracer: str | None = None
    reading: Mapping[str, str | bool | None] = field(default_factory=dict)  # settings of the reader of the file


@dataclass(frozen=True)
class Plan:
    """Subject of a study: its choices, its dataset, its host and tracer, and the potentials by label."""

    choices: Choices
    dataset: DatasetData | None
    subject: Subject
    potentials: dict[str, PotentialData]

    @property
    def allow_implausible(self) -> bool:
        """Return whether implausible labels and energies per element are accepted."""
        return bool(self.choices.reading.get('allow_implausible'))


@click.command()
@click.option('--directory', type=click.Path(path_type=Path, file_okay=False), default='demo', show_default=True)
@click.option('--protocol', default='demo', show_default=True, help='Protocol of the study.')
@click.option(
    '--foundation', type=click.Path(path_type=Path, dir_okay=False), help='MACE foundation model to fine-tune.'
)
@click.option(
    '--dataset',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Labelled configurations (extxyz).  [default: the example data]',
)
@click.option(
    '--from',
    'origin',
    type=click.Choice(['dataset', 'otf']),
    default='dataset',
    show_default=True,
    help='Begin from the dataset, or from nothing: then the stand-in for VASP learns on the fly and labels a dataset.',
)
@click.option(
    '--allow-implausible',
    is_flag=True,
    help='Accept implausible labels and energies per element instead of refusing them.',
)
@click.option('--energy-key', help='Key of the energies of the file.  [default: REF_energy]')
@click.option('--forces-key', help='Key of the forces of the file.  [default: REF_forces]')
@click.option('--stress-key', help='Key of the stresses of the file.  [default: REF_stress]')
@click.option('--group-key', help='Key that is equal in all frames of one trajectory; no split cuts a trajectory.')
@click.option('--head', help='Head of the foundation model, if it has several.')
@click.option('--host', help='Element of the host.  [default: found in the dataset]')
@click.option('--tracer', help='Element that diffuses.  [default: found in the dataset]')
def demo(
    directory: Path,
    protocol: str,
    foundation: Path | None,
    dataset: Path | None,
    origin: str,
    head: str | None,
    host: str | None,
    tracer: str | None,
    **reading: str | bool | None,
) -> None:
    """Run the whole study on a laptop: potentials, errors, barriers, diffusion, and a report.

    Everything lives in DIRECTORY: the AiiDA profile, the jobs, the results. After an interruption, call the same
    command again to continue. For a finished study the command only writes the report again.
    """
    from aiida_mghdiff.cli.environment import check_place
    from aiida_mghdiff.cli.inputs import EXAMPLE

    check_choices(protocol, foundation, dataset, origin)
    check_reading(origin, foundation, head, reading)
    check_elements(origin, host, tracer)
    file = (dataset or EXAMPLE) if origin == 'dataset' else None
    check_place(directory)
    with only_one(directory):
        run(directory, Choices(protocol, file, foundation, head, host, tracer, reading))


def check_reading(origin: str, foundation: Path | None, head: str | None, reading: Mapping[str, Any]) -> None:
    """Refuse options of a file that the study does not read.

    :raises ClickException: says what is wrong and what to do.
    """
    given = [READING[key] for key, value in reading.items() if value and key.endswith('_key')]
    if given and origin == 'otf':
        raise click.ClickException(f'{given[0]} names a key of a dataset, but a study --from otf reads no dataset.')
    if head is not None and foundation is None:
        raise click.ClickException(f'--head {head} names a head of a model: name its file with --foundation.')


def check_elements(origin: str, host: str | None, tracer: str | None) -> None:
    """Refuse a host or tracer that is no element, or that is given without a dataset.

    :raises ClickException: says what is wrong and what to do.
    """
    from aiida_mghdiff.calculations.validation import IS_SYMBOL, self_diffusion_message

    for option, value in {'--host': host, '--tracer': tracer}.items():
        if value is None:
            continue
        if origin == 'otf':
            raise click.ClickException(f'{option} chooses an element of a dataset, but --from otf studies H in Mg.')
        if not IS_SYMBOL.holds(value):
            advice = IS_SYMBOL.advice(value) or ': name an element, such as Ti'
            raise click.ClickException(f'{option} {value} is not {IS_SYMBOL.words}{advice}.')
    if host and tracer and (message := self_diffusion_message(tracer, [host])):
        raise click.ClickException(message)


def check_choices(protocol: str, foundation: Path | None, dataset: Path | None, origin: str) -> None:
    """Refuse choices that cannot work before anything is made.

    :raises ClickException: says what is wrong and what to do.
    """
    from aiida_mghdiff.cli.inputs import EXAMPLE
    from aiida_mghdiff.workflows.protocol import protocol_inputs

    if origin == 'otf' and dataset is not None:
        raise click.ClickException(
            f'{dataset} would not be used, for a study --from otf labels its own dataset. Leave out one of the two.'
        )
    if origin == 'dataset' and not (dataset or EXAMPLE).is_file():
        raise click.ClickException(
            f'there is no file {dataset or EXAMPLE}: name one with --dataset, or begin --from otf.'
        )
    if foundation is not None and not foundation.is_file():
        raise click.ClickException(f'there is no model file {foundation}: leave out --foundation, or name another.')
    try:
        protocol_inputs('study', protocol)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Refuse a second demo in a directory while one runs: the first to end would stop the daemon of both.

    :raises ClickException: if another demo runs in the directory.
    """
    with (directory / 'lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.ClickException(
                f'another demo runs in {directory}: wait until it ends, or choose another folder with --directory.'
            ) from None
        yield


def run(directory: Path, choices: Choices) -> None:
    """Run the study with these choices to its end, and write its report."""
    from aiida.engine.daemon.client import DaemonException

    from aiida_mghdiff.cli import environment
    from aiida_mghdiff.cli.inputs import InputsError
    from aiida_mghdiff.cli.potentials import PotentialError
    from aiida_mghdiff.cli.unexpected import watch

    watch(folder=directory)
    environment.open_storage(environment.make_profile(directory))
    try:
        codes = environment.setup_codes(slots=SLOTS, threads=1)
        environment.enable_caching()
        if lost := environment.start_daemon():
            click.echo(environment.lost_words(lost))
        study = find_or_submit(codes, choices)
        follow_study(study, directory)
    except (environment.SetupError, InputsError, PotentialError, DaemonException) as error:
        raise click.ClickException(f'{error}{environment.waiting_words(directory)}') from None
    except KeyboardInterrupt:
        raise click.ClickException(
            'interrupted. Running jobs continue to their end, but no new job begins. Call the same command to continue.'
        ) from None
    finally:
        environment.stop_daemon()
    finish(study, directory)


def find_or_submit(codes: dict[str, orm.InstalledCode], choices: Choices) -> orm.WorkChainNode:
    """Return the running or finished study with these choices, or submit it.

    Without a file, the study learns on the fly. A study that failed, or that another version left unfinished, is
    submitted again: its finished jobs come from the cache. A study that cannot work is refused before the dataset, the
    hosts and the study are stored.

    :raises InputsError: lists all faults of the dataset, its host, its tracer and the potentials.
    """
    from aiida.engine import submit

    from aiida_mghdiff.cli.inputs import read_dataset, store_dataset
    from aiida_mghdiff.cli.unexpected import watch
    from aiida_mghdiff.workflows.study import StudyWorkChain
    from aiida_mghdiff.workflows.survival import version_message

    file, reading = choices.dataset_file, choices.reading
    plan = make_plan(choices, read_dataset(file, **reading) if file else None)
    study_builder(codes, plan, store=False)  # refuses a study that cannot work
    if file is not None and plan.dataset is not None and not plan.dataset.is_stored:
        plan = replace(plan, dataset=store_dataset(file, **reading))
    key = study_key(plan)
    known = find_study(key)
    if known is not None and not known.is_terminated and (message := version_message(known, StudyWorkChain)):
        click.echo(message)
        known = None
    if known is not None and (not known.is_terminated or known.is_finished_ok):
        watch(study=known)
        click.echo(f'{"Report of" if known.is_terminated else "Going on with"} study {known.uuid}.')
        return known
    builder = study_builder(codes, plan, store=True)
    builder['metadata'].description = description_of(key)
    study: Any = submit(builder)
    watch(study=study)
    about, labels = f'{plan.subject.tracer} in {plan.subject.host}', ', '.join(plan.potentials)
    click.echo(f'Submitted study {study.uuid}: {about}; {labels}; protocol {choices.protocol}.')
    return study


def make_plan(choices: Choices, dataset: DatasetData | None) -> Plan:
    """Return the subject of a study with these choices.

    :raises InputsError: if the user must choose because the dataset is ambiguous.
    """
    subject = find_subject(choices, dataset)
    elements = {subject.host, subject.tracer} | set(dataset.elements if dataset else ())
    return Plan(choices, dataset, subject, load_potentials(choices.foundation, elements, choices.head))


def description_of(key: str) -> str:
    """Return the description of the study with a key; the node is stored with it, so no study lacks its key."""
    return f'aiida-mghdiff demo, key {key}'


def find_study(key: str) -> orm.WorkChainNode | None:
    """Return the last study with a key, or None. If its submission was killed, it is ended."""
    from aiida.orm import QueryBuilder, WorkChainNode

    from aiida_mghdiff.workflows.survival import end_half_made

    of_key = {'or': [{'description': description_of(key)}, {f'extras.{STUDY_KEY}': key}]}
    query = QueryBuilder().append(WorkChainNode, filters=of_key, tag='study')
    study = query.order_by({'study': {'ctime': 'desc'}}).first(flat=True)
    if study is not None:
        end_half_made(study)
    return study


def find_subject(choices: Choices, dataset: DatasetData | None) -> Subject:
    """Return host and tracer, from the user or else from the dataset; without a dataset, H in Mg.

    :raises InputsError: if the user must choose because the dataset is ambiguous.
    """
    from aiida_mghdiff.calculations.hosts import Subject, SubjectError, subject_of
    from aiida_mghdiff.cli.inputs import FROM_NOTHING, InputsError

    if dataset is None or choices.dataset_file is None:
        return Subject(**FROM_NOTHING)
    name, options = choices.dataset_file.name, ('--host', '--tracer')
    try:
        return subject_of(dataset, choices.host, choices.tracer, name=name, choices=options)
    except SubjectError as error:
        raise InputsError(str(error)) from None


def study_key(plan: Plan) -> str:
    """Return the key that identifies a study of this command: the choices, and the protocols as they are now."""
    import hashlib

    from aiida_mghdiff.workflows.protocol import FOLDER

    words = [
        plan.choices.protocol,
        plan.dataset.uuid if plan.dataset else 'otf',
        f'{plan.subject.tracer} in {plan.subject.host}',
        *(['allow implausible'] if plan.allow_implausible else []),
        *(f'{label}={node.uuid}' for label, node in sorted(plan.potentials.items())),
    ]
    words += [path.read_text() for path in sorted(FOLDER.rglob('*.yaml'))]
    return hashlib.sha256('\n'.join(words).encode()).hexdigest()


def load_potentials(foundation: Path | None, elements: set[str], head: str | None) -> dict[str, PotentialData]:
    """Return the pre-trained potentials by label: CHGNet's own weights, and a MACE foundation model.

    The user may name the model. Otherwise the first model is taken that is found and knows the elements, if any.
    """
    from aiida_mghdiff.cli.inputs import load_potential
    from aiida_mghdiff.cli.potentials import find_mace

    mace = load_potential(foundation, head) if foundation else find_mace([FOUNDATIONS], elements, click.echo)
    if mace is None:
        click.echo(
            'No MACE foundation model to fine-tune: name a model with --foundation. MACE is only trained from scratch.'
        )
    return {'chgnet_mp': load_potential(None)} | ({'mace_mp': mace} if mace else {})


def study_builder(codes: dict[str, orm.InstalledCode], plan: Plan, *, store: bool) -> ProcessBuilder:
    """Return the builder of a study that begins from a dataset, or from nothing.

    :param store: if False, nothing is stored in the profile; the builder is only checked.
    :raises InputsError: lists all reasons to refuse the study.
    """
    from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
    from aiida_mghdiff.cli.inputs import InputsError, make_start
    from aiida_mghdiff.workflows.study import StudyWorkChain, validate_study

    protocol, subject = plan.choices.protocol, plan.subject
    inputs = StudyWorkChain.get_protocol_inputs(protocol)
    hosts = make_hosts(inputs['repeats'], plan, store=store)
    engines: dict[str, orm.AbstractCode] = {name: codes[name] for name in ('python', 'lammps')}
    potcars = None
    if plan.dataset is None:
        engines |= {'vasp': codes['vasp'], 'reduce': codes['python']}
        potcars = placeholder_potcars([subject.host, subject.tracer])
    builder = StudyWorkChain.get_builder_from_protocol(
        engines,
        make_start(inputs['repeats']['neb_host'], store=store) if plan.dataset is None else plan.dataset,
        hosts['host'],
        hosts['neb_host'],
        tracer_element=subject.tracer,
        potentials=plan.potentials,
        potcars=potcars,
        protocol=protocol,
        overrides=permissive(inputs['training']) if plan.allow_implausible else None,
    )
    builder['metadata'].label = f'Diffusion of {subject.tracer} in {subject.host}, {protocol}'
    if message := validate_study(builder._inputs(prune=True)):
        raise InputsError(message)
    return builder


def permissive(trainings: dict[str, Any]) -> dict[str, Any]:
    """Return overrides that make the trainings accept implausible energies per element."""
    return {'training': {label: {'parameters': {'allow_implausible': True}} for label in trainings}}


def make_hosts(repeats: dict[str, list[int]], plan: Plan, *, store: bool) -> dict[str, orm.StructureData]:
    """Return the supercells of the host by name, each with its numbers of repeats.

    :raises InputsError: if the workflows cannot treat the host of the dataset; lists all other faults, too.
    """
    from aiida_mghdiff.calculations.validation import joined
    from aiida_mghdiff.cli.inputs import InputsError, make_host, make_host_of
    from aiida_mghdiff.workflows.study import elements_messages

    dataset, file = plan.dataset, plan.choices.dataset_file
    if dataset is None or file is None:
        return {name: make_host(cells, store=store) for name, cells in repeats.items()}
    try:
        return {name: make_host_of(dataset, plan.subject, cells, file, store=store) for name, cells in repeats.items()}
    except InputsError as error:
        others = elements_messages({'dataset': dataset, 'potentials': plan.potentials})
        raise InputsError(joined([str(error), *others]) or str(error)) from None


def follow_study(study: orm.WorkChainNode, directory: Path) -> None:
    """Show the study until it ends."""
    from aiida_mghdiff.cli.environment import DaemonKeeper
    from aiida_mghdiff.cli.progress import follow

    click.echo(f'Two jobs run at a time. For more, call in another terminal: {verdi(directory, "status -c", study)}')
    follow(study, SLOTS, DaemonKeeper().keep)


def verdi(directory: Path, command: str, study: orm.WorkChainNode) -> str:
    """Return the command line of `verdi` about a study, valid in the working folder of this process."""
    program, here = Path(sys.executable).with_name('verdi'), Path.cwd()
    program = program.relative_to(here) if program.is_relative_to(here) else program
    return f'AIIDA_PATH={shlex.quote(str(directory))} {shlex.quote(str(program))} process {command} {study.pk}'


def finish(study: orm.WorkChainNode, directory: Path) -> None:
    """Write report and archive; print the results and the paths of the files."""
    from aiida_mghdiff.cli.unexpected import state_of
    from aiida_mghdiff.report import result_table, write_report

    click.echo(result_table(write_report(study, directory)))
    archive = directory / 'study.aiida'
    is_written = write_archive(study, archive)
    for path in (directory / 'results.json', directory / 'report.html', *([archive] if is_written else [])):
        click.echo(path.resolve())
    if not study.is_finished_ok:
        raise click.ClickException(f'the study {state_of(study).rstrip(".")}. See: {verdi(directory, "report", study)}')


def write_archive(study: orm.WorkChainNode, archive: Path) -> bool:
    """Write the archive of a study; return whether this was possible.

    It is impossible while jobs of the study run on, as they do after an exception of the study.
    """
    from aiida.tools.archive import create_archive
    from aiida.tools.archive.exceptions import ExportValidationError

    logging.getLogger('aiida.export').setLevel(logging.WARNING)
    try:
        create_archive([study], filename=archive, overwrite=True)
    except ExportValidationError as error:
        click.echo(f'{archive} is not written, because processes of the study still run: {error}')
        return False
    return True
