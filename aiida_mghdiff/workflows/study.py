"""The whole study: from a labelled dataset to potentials, their errors, barriers and diffusion coefficients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ProcessSpec, ToContext, if_, while_
from aiida_vasp.data.potcar import PotcarData

from aiida_mghdiff.calculations.ase.neb import KEYS as NEB_KEYS
from aiida_mghdiff.calculations.ase.neb import AseNebCalculation
from aiida_mghdiff.calculations.evaluate import EvaluateCalculation
from aiida_mghdiff.calculations.exit_codes import SettingsError, define_exit_codes
from aiida_mghdiff.calculations.functions.dataset import (
    FRACTIONS_SETTINGS,
    INDICES_SETTINGS,
    sets_of_settings,
    split,
    split_dataset,
)
from aiida_mghdiff.calculations.functions.hops import EXTRAPOLATION_SETTINGS, barrier_diffusion
from aiida_mghdiff.calculations.functions.metrics import error_metrics
from aiida_mghdiff.calculations.functions.parameters import diffusion_settings_message
from aiida_mghdiff.calculations.functions.paths import PATH_SETTINGS
from aiida_mghdiff.calculations.functions.select import select_best
from aiida_mghdiff.calculations.hosts import host_message, subject_of
from aiida_mghdiff.calculations.validation import (
    Check,
    complete_message,
    joined,
    keys_help,
    nearest,
    self_diffusion_message,
    unknown_message,
)
from aiida_mghdiff.data.architectures import VASP_MLFF
from aiida_mghdiff.data.dataset import DatasetData, converged_message
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.potential import LEARNED, PotentialData
from aiida_mghdiff.science.splits import SplitError
from aiida_mghdiff.workflows.arrhenius import ArrheniusWorkChain, temperature_label, validate_extrapolation
from aiida_mghdiff.workflows.cleaning import CleaningMixin
from aiida_mghdiff.workflows.diffusion import (
    OUTPUTS,
    DiffusionWorkChain,
    define_diffusion_outputs,
    found_outputs,
    potential_messages,
    room_messages,
    settings_messages,
)
from aiida_mghdiff.workflows.diffusion_settings import dtype_messages
from aiida_mghdiff.workflows.engines import (
    ASE_VIBRATIONS,
    Job,
    barrier_architectures,
    engines_of,
    evaluation,
    evaluation_help,
    evaluation_parameters,
    is_evaluated,
    jobs_with_code,
    of_python,
    options_message,
    table,
    trainer,
    with_dtype,
)
from aiida_mghdiff.workflows.jobs import Options, options_inputs
from aiida_mghdiff.workflows.learning_segment import LearningSegmentWorkChain
from aiida_mghdiff.workflows.md import MolecularDynamicsWorkChain
from aiida_mghdiff.workflows.neb import VIBRATION_SETTINGS, BarrierWorkChain, path_message, vibrations_message
from aiida_mghdiff.workflows.otf import OnTheFlyWorkChain, start_node, validate_schedule
from aiida_mghdiff.workflows.protocol import (
    ProtocolMixin,
    checked,
    checks_arguments,
    merge,
    protocol_inputs,
    refuse_unchosen,
)
from aiida_mghdiff.workflows.restart_loops import define_restarts, loop_inputs, restarts_inputs
from aiida_mghdiff.workflows.segment import MdSegmentWorkChain
from aiida_mghdiff.workflows.setting_checks import is_node
from aiida_mghdiff.workflows.survival import ending, is_repeatable
from aiida_mghdiff.workflows.tasks import TaskWorkChain
from aiida_mghdiff.workflows.train import (
    TrainWorkChain,
    has_stresses,
    keeps_elements,
    validate_architecture,
    validate_training,
)

BEST = 'best:'
#: Required content of the trainings, paths and diffusion runs of a protocol.
NEEDED = {'training': ('architecture',), 'paths': ('path',), 'diffusion': ('potential', 'temperatures_k')}


ARE_TEMPERATURE_NODES = Check(
    'a Float node in K for each label',
    lambda values: isinstance(values, Mapping) and bool(values) and all(map(is_node(orm.Float).holds, values.values())),
)
#: Required and optional inputs of each training and each diffusion run; the study sets all others.
ENTRIES: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {
    'training': (
        {'architecture': is_node(orm.Str), 'parameters': is_node(orm.Dict)},
        {'potential': is_node(PotentialData), 'replay': is_node(DatasetData)},
    ),
    'diffusion': (
        {'potential': is_node(orm.Str), 'settings': is_node(orm.Dict), 'temperatures': ARE_TEMPERATURE_NODES},
        {},
    ),
}
#: Outputs of each barrier: its name there, type, help.
BARRIER_OUTPUTS: dict[str, tuple[str, type[orm.Data], str]] = {
    'barriers': ('barrier', orm.Dict, 'Barriers in both directions, or reasons for none.'),
    'images': ('images', orm.TrajectoryData, 'Images of the path, end points included.'),
    'saddles': ('saddle', orm.StructureData, 'The saddle point, if the path has one.'),
    'vibrations': ('vibrations', orm.Dict, 'Vibrations at stationary points.'),
}


def chosen_architecture(inputs: Mapping[str, Any], choice: str) -> str | None:
    """Return the architecture of a choice: a label, or ``best:<architecture>``; None for an unknown label."""
    if choice.startswith(BEST):
        return choice.removeprefix(BEST)
    if choice in inputs.get('potentials', {}):
        return inputs['potentials'][choice].architecture
    if choice == LEARNED and 'otf' in inputs:
        return VASP_MLFF.name
    training = inputs.get('training', {}).get(choice)
    return training['architecture'].value if training else None


def validate_study(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return a message about all faults of labels, codes, hosts, elements, trainings and runs, or None."""
    if ('dataset' in inputs) == ('otf' in inputs):
        return 'give either a dataset or otf, the inputs of the on-the-fly learning that makes a dataset.'
    if message := joined(entry_messages(inputs)):
        return message
    wrong_settings = [*run_settings_messages(inputs)]
    messages = [*label_messages(inputs), *wrong_settings, learning_message(inputs)]
    if 'otf' in inputs and not {'structure', 'state'} & set(inputs['otf']):
        return joined(messages)
    parts, refusal = try_split(inputs)
    messages += [vasp_message(inputs), *dataset_messages(inputs), *host_messages(inputs)]
    messages += [refusal, *split_messages(inputs), *elements_messages(inputs), *barrier_messages(inputs)]
    messages += [*parameters_messages(inputs), *options_messages(inputs)]
    if not wrong_settings:  # these checks read the settings of the runs
        messages += [*learned_messages(inputs, parts), *run_messages(inputs)]
    return joined(messages)


def entry_messages(inputs: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield messages about inputs of a training or diffusion run that are unknown, missing or of another type."""
    for name, (needed, others) in ENTRIES.items():
        for label, values in inputs.get(name, {}).items():
            place, given = f'{name}.{label}', values if isinstance(values, Mapping) else {}
            wanted = needed | {key: check for key, check in others.items() if key in given}
            message = unknown_message(given, needed | others, place)
            yield message or complete_message(values, wanted, place, 'each entry needs its own')


def label_messages(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield messages about faulty labels of potentials, and about a missing ``codes.python``."""
    given, trained = inputs.get('potentials', {}), inputs.get('training', {})
    if twice := sorted(set(given) & set(trained)):
        yield f'labels {", ".join(twice)} name a given and a trained potential: give each its own label.'
    if not given and not trained:
        yield 'there is no potential: give pre-trained ones (potentials) or train some (training).'
    codes = inputs.get('codes', {})
    if not all({'python', chosen_architecture(inputs, label)} & set(codes) for label in [*given, *trained]):
        yield 'codes.python is missing: `aiida-mghdiff setup` makes it.'


def parameters_messages(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield messages about faulty parameters of evaluations, barriers and vibrations by architecture."""
    checks = {
        'evaluation': EvaluateCalculation.parameters_message,
        'neb': AseNebCalculation.parameters_message,
        'vibrations': vibrations_message,
    }
    for namespace, check in checks.items():
        for architecture, node in of_python(inputs.get(namespace, {})).items():
            if message := check(node.get_dict(), architecture):
                yield f'{namespace}.{architecture}: {message}'


def options_messages(inputs: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield why AiiDA would refuse the options of jobs, also of potentials that will be trained."""
    for label in labels_of(inputs):
        if (name := chosen_architecture(inputs, label)) not in table():
            continue
        engines = engines_of(name)
        md = jobs_with_code(engines.md, name, inputs.get('codes', {})) if inputs.get('diffusion', {}) else []
        jobs: dict[str, list[Job]] = {
            'train': [engines.training] if engines.training and label in inputs.get('training', {}) else [],
            'evaluate': [engines.evaluation] if is_evaluated(name, inputs) else [],
            'barrier': [engines.barrier] if inputs.get('paths', {}) and name in inputs.get('neb', {}) else [],
            'vibrations': [ASE_VIBRATIONS] if inputs.get('paths', {}) and name in inputs.get('vibrations', {}) else [],
            'md': md[:1],
        }
        yield from (options_message(inputs, kind, job, name) for kind, some in jobs.items() for job in some)


def learning_message(inputs: dict[str, Any]) -> str | None:
    """Return why on-the-fly learning would be refused, or None."""
    message = validate_schedule(learning_inputs(inputs)) if 'otf' in inputs else None
    return message and f'otf: {message}'


def learning_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of the on-the-fly learning: its own inputs, and the codes and POTCARs of the study."""
    shared = {name: inputs.get(name, {}) for name in ('codes', 'options', 'potcars')}
    return dict(inputs['otf']) | shared | restarts_inputs(inputs, 'learn')


def vasp_message(inputs: dict[str, Any]) -> str | None:
    """Return a message with the elements without a POTCAR, if VASP runs a given force field, or None."""
    messages = [
        engines_of(node.architecture).evaluation.message(inputs, sorted(node.elements))
        for node in inputs.get('potentials', {}).values()
        if is_evaluated(node.architecture, inputs)
    ]
    return joined(messages)


def known_elements(inputs: Mapping[str, Any]) -> list[str]:
    """Return the elements of the dataset, or of the structure from which learning starts."""
    if 'dataset' in inputs:
        return inputs['dataset'].elements
    start = start_node(inputs['otf'])
    atoms = start.get_atoms() if isinstance(start, MdStateData) else start.get_ase()
    return sorted(set(atoms.get_chemical_symbols()))


def dataset_messages(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield messages about hosts that the dataset, or the structure from which learning starts, does not contain."""
    elements = known_elements(inputs)
    what = 'the dataset' if 'dataset' in inputs else 'the start of otf'
    for name in ('host', 'neb_host'):
        if missing := sorted(inputs[name].get_symbols_set() - set(elements) if name in inputs else []):
            yield (
                f'{name} is of {", ".join(missing)}, which {what} does not contain: it has {", ".join(elements)}. '
                'Give both with the same host.'
            )


def barrier_symbols(inputs: Mapping[str, Any]) -> set[str]:
    """Return the elements of host and tracers of the barriers; an empty set without barriers."""
    if 'neb_host' not in inputs or not inputs.get('paths', {}):
        return set()
    tracers = {path['tracer_element'] for path in inputs['paths'].values() if 'tracer_element' in path.get_dict()}
    return set(inputs['neb_host'].get_symbols_set()) | tracers


def elements_messages(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield messages about elements of dataset or barriers that a potential does not know."""
    barriers = barrier_symbols(inputs)
    symbols = barriers | set(inputs['dataset'].elements if 'dataset' in inputs else ())
    for label, potential in inputs.get('potentials', {}).items():
        if unknown := sorted(symbols - set(potential.elements)):
            yield f'potentials.{label} does not know {", ".join(unknown)}: leave it out, or give a potential that does.'


def learned_messages(inputs: Mapping[str, Any], parts: Mapping[str, DatasetData]) -> Iterator[str]:
    """Yield messages about trainings that would be refused, and about elements that they would not learn.

    :param parts: sets of the dataset; empty for a dataset that is not made yet.
    """
    if parts:
        yield from training_messages(inputs, parts)
    for label, training in inputs.get('training', {}).items():
        known = set(elements_after(inputs, training, parts))
        if unknown := sorted(needed_elements(inputs, label) - known):
            yield (
                f'training.{label} has no configurations with {", ".join(unknown)}, but its barriers or diffusion runs '
                'need them: train it with a dataset that has them.'
            )
        held_out = set(parts['test'].elements) if 'test' in parts and label in evaluated(inputs) else set()
        if unknown := sorted(held_out - known):
            yield (
                f'training.{label} has no configurations with {", ".join(unknown)}, but the test set of the dataset '
                'has: give more configurations with these elements, or name the sets by indices.'
            )


def needed_elements(inputs: Mapping[str, Any], label: str) -> set[str]:
    """Return the elements of the barriers and the tracers of the diffusion runs of a trained potential."""
    architecture = inputs['training'][label]['architecture'].value
    searched = barrier_symbols(inputs) if architecture in inputs.get('neb', {}) else set()
    runs = [
        run for run in inputs.get('diffusion', {}).values() if label in candidates_of(inputs, run['potential'].value)
    ]
    return searched | {run['settings']['supercell']['tracer_element'] for run in runs}


def elements_after(
    inputs: Mapping[str, Any], training: Mapping[str, Any], parts: Mapping[str, DatasetData]
) -> list[str]:
    """Return the elements that a potential will know after its training on sets of the dataset."""
    if 'potential' in training and keeps_elements(training['parameters'].get_dict()):
        return training['potential'].elements
    used = [parts[name] for name in ('training', 'validation') if name in parts]
    return sorted({symbol for part in used for symbol in part.elements}) if used else known_elements(inputs)


def host_messages(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield messages about hosts that are missing or have no known sites; an equal reason for both is given once."""
    reasons: dict[str, list[str]] = {}
    for name, users in {'host': 'diffusion', 'neb_host': 'paths'}.items():
        if not inputs.get(users, {}):
            continue
        if name not in inputs:
            yield f'{name} is missing: {users} needs this supercell of the host.'
        elif message := host_message(inputs[name], '{name}'):
            reasons.setdefault(message, []).append(name)
    yield from (message.replace('{name}', ', '.join(names)) for message, names in reasons.items())


def barrier_messages(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield messages about unknown paths."""
    for key, path in inputs.get('paths', {}).items():
        message = path_message(path)
        if message is None and 'neb_host' in inputs:
            message = self_diffusion_message(path['tracer_element'], inputs['neb_host'].get_symbols_set())
        if message:
            yield f'paths.{key}: {message}'


def try_split(inputs: Mapping[str, Any]) -> tuple[dict[str, DatasetData], str | None]:
    """Return the sets of the dataset, and the reason if it cannot be split.

    If it cannot be split, the whole dataset replaces each set, so that other faults are found, too. A dataset that is
    not made yet has no sets.
    """
    settings = inputs['split'].get_dict()
    whole = dict.fromkeys(('training', 'validation'), inputs['dataset']) if 'dataset' in inputs else {}
    try:
        sets_of_settings(settings, 'split')
        return split(inputs['dataset'], settings) if whole else {}, None
    except SettingsError as error:
        return whole, str(error)
    except SplitError as error:
        return whole, f'split: {error}'


def split_messages(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield messages about sets of the dataset that are needed but not requested."""
    try:
        asked = sets_of_settings(inputs['split'].get_dict())
    except SettingsError:
        return
    if inputs.get('training', {}) and 'validation' not in asked:
        yield 'split: there is no validation set, which chooses the best epoch of a training: give it a fraction.'
    if 'test' not in asked and evaluated(inputs):
        yield 'split: there is no test set, on which the potentials are evaluated: give it a fraction.'


def training_messages(inputs: Mapping[str, Any], parts: Mapping[str, DatasetData]) -> list[str]:
    """Return messages about trainings that would be refused with these sets of the dataset."""
    used = {name: parts.get(name, parts['training']) for name in ('training', 'validation')}
    messages = {
        label: validate_architecture(training['architecture']) or validate_training(dict(training) | used)
        for label, training in inputs.get('training', {}).items()
    }
    return [f'training.{label}: {message}' for label, message in messages.items() if message]


def run_settings_messages(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield messages about faults of the settings of each diffusion run by itself."""
    for key, run in inputs.get('diffusion', {}).items():
        if message := diffusion_settings_message(run['settings'].get_dict()):
            yield f'diffusion.{key}: {message}'


def run_messages(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield messages about faults of the diffusion runs, except their host."""
    for key, run in inputs.get('diffusion', {}).items():
        if message := choice_message(inputs, key, run['potential'].value):
            yield message
            continue
        yield from (f'diffusion.{key}: {message}' for message in inputs_messages(inputs, run) if message)


def inputs_messages(inputs: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield the reasons for which ``DiffusionWorkChain`` would refuse a run, except its host."""
    choice = run['potential'].value
    shared = {name: inputs[name] for name in ('host', 'codes', 'options', 'potcars') if name in inputs}
    shared |= {'potential': inputs['potentials'][choice]} if choice in inputs.get('potentials', {}) else {}
    shared |= {'settings': run['settings']}
    for temperature in run['temperatures'].values():
        yield from settings_messages(shared | {'temperature': temperature})
    if 'host' in inputs:
        yield from room_messages(shared) if host_message(inputs['host']) is None else ()
        yield from potential_messages(shared)
    yield from dtype_messages(run['settings'].get_dict(), chosen_architecture(inputs, choice))


def choice_message(inputs: Mapping[str, Any], key: str, choice: str) -> str | None:
    """Return a message about a fault in the potential that a diffusion run names, or None."""
    architecture = chosen_architecture(inputs, choice)
    if architecture is None:
        return f'diffusion.{key} asks for potential {choice!r}, which is neither given nor trained.'
    if not candidates_of(inputs, choice):
        return f'diffusion.{key} asks for {choice!r}, but no {architecture} potential is given or trained.'
    if choice.startswith(BEST) and architecture not in inputs.get('evaluation', {}):
        return f'diffusion.{key} asks for {choice!r}, but {architecture} potentials are not evaluated: name a label.'
    return None


def candidates_of(inputs: Mapping[str, Any], choice: str) -> list[str]:
    """Return the labels from which a choice picks: trained ones of the architecture or, without any, given ones."""
    if not choice.startswith(BEST):
        return [choice]
    architecture = choice.removeprefix(BEST)
    trained = [label for label, item in inputs.get('training', {}).items() if item['architecture'] == architecture]
    given = [label for label, node in inputs.get('potentials', {}).items() if node.architecture == architecture]
    return trained or given


def labels_of(inputs: Mapping[str, Any]) -> list[str]:
    """Return the labels of all potentials, trained, given and learned."""
    return [*inputs.get('training', {}), *inputs.get('potentials', {}), *([LEARNED] if 'otf' in inputs else [])]


def with_settings(inputs: Mapping[str, Any], namespace: str) -> list[str]:
    """Return the labels of potentials whose architecture has settings, without which they cannot be evaluated."""
    return [label for label in labels_of(inputs) if chosen_architecture(inputs, label) in inputs.get(namespace, {})]


def evaluated(inputs: Mapping[str, Any]) -> list[str]:
    """Return the labels of potentials that can be evaluated; VASP's force fields only need VASP."""
    return [label for label in labels_of(inputs) if is_evaluated(chosen_architecture(inputs, label), inputs)]


class StudyWorkChain(ProtocolMixin, CleaningMixin, TaskWorkChain):
    """Trains potentials, evaluates all of them on held-out frames, finds barriers, and runs diffusion.

    It begins from a dataset, or from nothing (``otf``): VASP then learns on the fly and labels the dataset, and its
    force field is one more potential, ``vasp_mlff``.

    A potential is given (``potentials``) or trained (``training``), each with a label. A diffusion run names a
    potential by its label, or the potential of an architecture with the smallest force error: ``best:mace``. If a child
    fails, only the children that depend on it are left out.
    """

    _PROTOCOL_FILE = 'study'

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(BarrierWorkChain, include=('codes', 'options', 'clean_workdir'))
        spec.expose_inputs(TrainWorkChain, include=('codes', 'options', 'clean_workdir'))
        spec.expose_inputs(
            DiffusionWorkChain, include=('codes', 'options', 'potcars', 'segment_steps', 'clean_workdir')
        )
        words = 'Labelled configurations.'
        spec.input('dataset', valid_type=DatasetData, validator=converged_message, required=False, help=words)
        spec.expose_inputs(
            OnTheFlyWorkChain,
            namespace='otf',
            exclude=('codes', 'options', 'potcars', 'clean_workdir', 'restarts'),
            namespace_options={
                'required': False,
                'populate_defaults': False,
                'validator': None,
                'help': 'On-the-fly learning that makes the dataset.',
            },
        )
        words = keys_help(keys_help('By fractions.', FRACTIONS_SETTINGS) + ' Or by indices.', INDICES_SETTINGS)
        spec.input('split', valid_type=orm.Dict, serializer=orm.to_aiida_type, help=words)
        spec.input_namespace('potentials', valid_type=PotentialData, dynamic=True, help='Given potentials by label.')
        needed, others = ENTRIES['training']
        words = keys_help('By label; ``potential`` and ``replay`` may be left out.', needed | others)
        spec.input_namespace('training', dynamic=True, help=words)
        spec.input_namespace('evaluation', valid_type=orm.Dict, dynamic=True, help=evaluation_help())
        spec.input('neb_host', valid_type=orm.StructureData, required=False, help='Host of the barriers.')
        words = keys_help('Named paths by any key.', PATH_SETTINGS)
        spec.input_namespace('paths', valid_type=orm.Dict, dynamic=True, help=words)
        words = keys_help('ciNEB parameters by architecture.', NEB_KEYS)
        spec.input_namespace('neb', valid_type=orm.Dict, dynamic=True, help=words)
        words = keys_help('Parameters by architecture.', VIBRATION_SETTINGS)
        spec.input_namespace('vibrations', valid_type=orm.Dict, dynamic=True, help=words)
        spec.input(
            'extrapolation',
            valid_type=orm.Dict,
            required=False,
            validator=validate_extrapolation,
            help=keys_help('Temperatures at which rates of hops and of jumps give D.', EXTRAPOLATION_SETTINGS),
        )
        spec.input('host', valid_type=orm.StructureData, required=False, help='Host of the diffusion runs.')
        words = keys_help('By any key; ``potential`` is a label or best:...', ENTRIES['diffusion'][0])
        spec.input_namespace('diffusion', dynamic=True, help=words)
        define_restarts(spec, learn=LearningSegmentWorkChain, train=TrainWorkChain, md=MdSegmentWorkChain)
        spec.inputs.validator = validate_study
        spec.outline(
            if_(cls.begins_from_nothing)(cls.learn, cls.inspect_learning),
            cls.setup,
            while_(cls.has_tasks)(cls.advance, cls.forget_crashed, cls.collect),
            cls.join_hops,
            cls.results,
        )
        spec.output_namespace('datasets', valid_type=DatasetData, dynamic=True, help='Training, validation, test.')
        spec.output_namespace('potentials', valid_type=PotentialData, dynamic=True, help='Trained potentials by label.')
        spec.output_namespace('metrics', valid_type=orm.Dict, dynamic=True, help='Errors on the test set by label.')
        for name, (_, node_class, words) in BARRIER_OUTPUTS.items():
            spec.output_namespace(name, valid_type=node_class, dynamic=True, help=f'{words} By label and path.')
        spec.output_namespace('hops', valid_type=orm.Dict, dynamic=True, help='By label and path.')
        spec.output_namespace(
            'barrier_diffusion', valid_type=orm.Dict, dynamic=True, help='D from hops by label: classical and quantum.'
        )
        define_diffusion_outputs(spec, 'key and temperature')
        spec.output_namespace('arrhenius', valid_type=orm.Dict, dynamic=True, help='By key.')
        spec.output_namespace('jump_diffusion', valid_type=orm.Dict, dynamic=True, help='D from jumps by key.')
        spec.output('learned_dataset', valid_type=DatasetData, required=False, help='The dataset that VASP labelled.')
        spec.output(
            'learned_force_field', valid_type=PotentialData, required=False, help='Force field of VASP: ``vasp_mlff``.'
        )
        define_exit_codes(spec, 'LEARNING_FAILED', 'SPLIT_FAILED', 'TRAINING_REFUSED')

    def begins_from_nothing(self) -> bool:
        """Return whether the dataset must be made first."""
        return 'otf' in self.inputs

    def learn(self) -> ToContext:
        """Launch on-the-fly learning."""
        own = {'clean_workdir': self.inputs.clean_workdir, 'metadata': {'call_link_label': 'otf'}}
        return ToContext(otf=self.submit(OnTheFlyWorkChain, **learning_inputs(self.inputs) | own))

    def inspect_learning(self) -> ExitCode | None:
        """Continue with the learned dataset and force field."""
        node = self.ctx.otf
        for name in ('dataset', 'force_field'):
            if name in node.outputs:
                self.out(f'learned_{name}', node.outputs[name])
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_LEARNING_FAILED.format(message=ending(node))
        return None

    def setup(self) -> ExitCode | None:
        """Split the dataset, and plan the tasks and their order."""
        dataset = self.ctx.otf.outputs.dataset if self.begins_from_nothing() else self.inputs.dataset
        parts, node = split_dataset.run_get_node(dataset, self.inputs.split, metadata={'call_link_label': 'split'})
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_SPLIT_FAILED.format(message=node.exit_message)
        self.out('datasets', dict(parts))
        if message := joined(learned_messages(self.inputs, parts)):
            return self.exit_codes.ERROR_TRAINING_REFUSED.format(message=message)
        self.ctx.datasets = dict(parts)
        self.ctx.metrics, self.ctx.repeated = {}, {}
        self.set_tasks(self.plan_tasks())
        return None

    def plan_tasks(self) -> dict[str, list[str]]:
        """Return each task with its prerequisites, the longest tasks first."""
        trained = {label: f'train_{label}' for label in self.inputs.get('training', {})}
        needs = {label: [trained[label]] if label in trained else [] for label in labels_of(self.inputs)}
        tasks: dict[str, list[str]] = {task: [] for task in trained.values()}
        for key, run in self.inputs.get('diffusion', {}).items():
            choice = run['potential'].value
            candidates = candidates_of(self.inputs, choice)
            single = [need for label in candidates for need in needs[label]]
            tasks[f'diffusion_{key}'] = [f'evaluate_{label}' for label in candidates] if BEST in choice else single
        tasks = {f'evaluate_{label}': needs[label] for label in evaluated(self.inputs)} | tasks
        self.ctx.barriers = {
            f'barrier_{label}_{key}': [label, key]
            for label in with_settings(self.inputs, 'neb')
            for key in self.inputs.get('paths', {})
        }
        barriers = {task: needs[label] for task, (label, _) in self.ctx.barriers.items()}
        return order(tasks | barriers)

    def launch(self, key: str) -> orm.ProcessNode:
        """Launch the task with a key."""
        kind, _, name = key.partition('_')
        if key in self.ctx.repeated:
            return self.repeat(self.ctx.repeated[key])
        node = getattr(self, f'launch_{kind}')(name, {'call_link_label': key})
        self.report(f'launched {key}: {node.process_label}<{node.pk}>')
        return node

    def launch_train(self, label: str, metadata: dict[str, Any]) -> orm.ProcessNode:
        """Launch a training."""
        inputs = {**self.exposed_inputs(TrainWorkChain), **self.inputs.training[label]}
        inputs |= {name: self.ctx.datasets[name] for name in ('training', 'validation')}
        inputs |= loop_inputs(self.inputs, 'train')
        return self.submit(TrainWorkChain, **inputs, metadata=metadata)

    def launch_evaluate(self, label: str, metadata: dict[str, Any]) -> orm.ProcessNode:
        """Launch the evaluation of a potential on the held-out configurations."""
        potential = self.potential(label)
        process, inputs = evaluation(potential, self.inputs)
        inputs |= {'potential': potential, 'dataset': self.ctx.datasets['test']}
        inputs['metadata'] |= metadata
        return self.submit(process, **inputs)

    def launch_barrier(self, name: str, metadata: dict[str, Any]) -> orm.ProcessNode:
        """Launch a barrier."""
        label, path = self.ctx.barriers[f'barrier_{name}']
        potential = self.potential(label)
        known = self.inputs.get('vibrations', {})
        vibrations = {'vibrations': known[potential.architecture]} if potential.architecture in known else {}
        return self.submit(
            BarrierWorkChain,
            **self.exposed_inputs(BarrierWorkChain),
            **vibrations,
            potential=potential,
            host=self.inputs.neb_host,
            path=self.inputs.paths[path],
            parameters=self.inputs.neb[potential.architecture],
            metadata=metadata,
        )

    def launch_diffusion(self, key: str, metadata: dict[str, Any]) -> orm.ProcessNode:
        """Launch diffusion at one temperature, or at several with the Arrhenius fit."""
        run = self.inputs.diffusion[key]
        inputs = {**self.exposed_inputs(DiffusionWorkChain), 'host': self.inputs.host, 'settings': run['settings']}
        inputs |= {'potential': self.chosen(run['potential'].value), 'metadata': metadata}
        inputs |= restarts_inputs(self.inputs, 'md')
        if len(run['temperatures']) == 1:
            (temperature,) = run['temperatures'].values()
            return self.submit(DiffusionWorkChain, **inputs, temperature=temperature)
        inputs |= {name: self.inputs[name] for name in ('extrapolation', 'max_in_flight') if name in self.inputs}
        return self.submit(ArrheniusWorkChain, **inputs, temperatures=dict(run['temperatures']))

    def potential(self, label: str) -> PotentialData:
        """Return a given or a trained potential."""
        if label in self.inputs.get('potentials', {}):
            return self.inputs.potentials[label]
        if label == LEARNED:
            return self.ctx.otf.outputs.force_field
        return self.child(f'train_{label}').outputs.potential

    def chosen(self, choice: str) -> PotentialData:
        """Return the potential that a diffusion run names."""
        if not choice.startswith(BEST):
            return self.potential(choice)
        metrics = {label: self.ctx.metrics[label] for label in candidates_of(self.inputs, choice)}
        return self.potential(select_best(**metrics, metadata={'call_link_label': 'select_best'}).value)

    def forget_crashed(self) -> None:
        """Let crashed evaluations start once more; all other children have their own restart loops."""
        for key in [key for key in self.ctx.children if is_repeatable(self.child(key))]:
            self.ctx.repeated[key] = self.ctx.children.pop(key)

    def collect(self) -> None:
        """Turn the predictions of each ended evaluation into error metrics."""
        for key in self.ctx.children:
            kind, _, label = key.partition('_')
            if kind == 'evaluate' and self.is_done(key) and label not in self.ctx.metrics:
                predictions = self.child(key).outputs.predictions
                self.ctx.metrics[label] = error_metrics(
                    self.ctx.datasets['test'], predictions, metadata={'call_link_label': f'metrics_{label}'}
                )

    def join_hops(self) -> None:
        """Compute D from the hops of each potential; if they form no network, report this."""
        self.ctx.hops, self.ctx.barrier_diffusion = {}, {}
        for key, (label, path) in self.ctx.barriers.items():
            if (node := self.child(key)) is not None and 'hop' in node.outputs:
                self.ctx.hops.setdefault(label, {})[path] = node.outputs.hop
        for label, hops in self.ctx.hops.items() if 'extrapolation' in self.inputs else ():
            metrics = {'metrics': self.ctx.metrics[label]} if label in self.ctx.metrics else {}
            metadata = {'call_link_label': f'barrier_diffusion_{label}'}
            results, node = barrier_diffusion.run_get_node(
                self.inputs.neb_host, self.inputs.extrapolation, **metrics, **hops, metadata=metadata
            )
            if node.is_finished_ok:
                self.ctx.barrier_diffusion[label] = dict(results)
            else:
                self.report(f'the hops of {label} give no D: {node.exit_message}')

    def results(self) -> ExitCode | None:
        """Return all outputs, and the exit code that names failed children, if any."""
        outputs: dict[str, Any] = {name: dict(self.ctx[name]) for name in ('metrics', 'hops', 'barrier_diffusion')}
        for key in self.ctx.children:
            kind, _, name = key.partition('_')
            for namespace, value in child_outputs(kind, self.child(key)).items():
                outputs.setdefault(namespace, {})[name] = value
        for key in filter(self.is_done, self.ctx.barriers):
            label, path = self.ctx.barriers[key]
            for namespace, value in barrier_outputs(self.child(key)).items():
                outputs.setdefault(namespace, {}).setdefault(label, {})[path] = value
        for namespace, values in outputs.items():
            self.out(namespace, values)
        return self.failure()

    @classmethod
    @checks_arguments
    def get_builder_from_protocol(
        cls,
        codes: dict[str, orm.AbstractCode],
        dataset: DatasetData | orm.StructureData,
        host: orm.StructureData,
        neb_host: orm.StructureData,
        *,
        tracer_element: str | None = None,
        potentials: dict[str, PotentialData] | None = None,
        potcars: dict[str, PotcarData] | None = None,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: Options | None = None,
    ) -> ProcessBuilder:
        """Return a builder.

        The protocol defines the trainings, paths and diffusion runs. A training is left out if the potential to
        fine-tune is not given, and a run is left out if its potential is missing. If some configurations have no
        stress, no training uses stresses.

        :param codes: ``python``, or by the name of an architecture its own Python; ``lammps`` for MD with MACE in
            LAMMPS, with ``convert`` for your own ``lmp``; ``vasp`` and ``reduce`` for VASP.
        :param dataset: labelled configurations, or a structure with tracers from which on-the-fly learning starts.
        :param host: supercell of the host for diffusion, see ``build_host``; ``neb_host``: supercell for the barriers.
        :param tracer_element: element that diffuses; by default the only element that is interstitial in the host.
        :param potentials: given potentials by label, such as ``mace_mp`` and ``chgnet_mp``.
        :param potcars: POTCARs by element, for VASP.
        :param overrides: overrides of the protocol file.
        :param options: ``metadata.options`` for all jobs (``default``), and for each kind (``learn``, ``train``,
            ``evaluate``, ``md``, ``barrier``, ``vibrations``).
        :raises ValueError: if there is no tracer, or several, which are named; for an unknown protocol, and for keys of
            the overrides that the protocol file does not have; for a training or run of the overrides whose potential
            is missing.
        """
        potentials = potentials or {}
        own = checked('study', overrides or {})
        tracer = tracer_element or tracer_of(dataset, host)
        known = cls.get_protocol_inputs(protocol)
        if isinstance(dataset, DatasetData):
            inputs = merge(known, own)
        else:
            known = merge(known, known['from_nothing'])
            inputs = merge(merge(known, own), own.get('from_nothing', {}))
        require_complete(inputs, known)
        require_known('training', 'foundation', inputs, known, potentials)
        md = MolecularDynamicsWorkChain.get_protocol_inputs(protocol, inputs['md'])
        protocols = {'default': md['options']}
        builder = cls.get_builder()
        builder.codes = codes
        if isinstance(dataset, DatasetData):
            builder.dataset = dataset
        else:
            changes = merge({'settings': {'tracer_element': tracer}}, inputs['otf'])
            own = OnTheFlyWorkChain.get_protocol_inputs(protocol, changes)
            builder.otf = {'structure': dataset, 'settings': orm.Dict(own['settings'])}
            protocols['learn'] = own['options']
        builder.split = orm.Dict(inputs['split'])
        builder.potentials = potentials
        builder.potcars = potcars or {}
        has_stress = not isinstance(dataset, DatasetData) or has_stresses(dataset)
        builder.training = training_inputs(inputs['training'], potentials, protocol, has_stress)
        parameters = evaluation_parameters(inputs['evaluation'])
        builder.evaluation = {name: orm.Dict(values) for name, values in parameters.items()}
        builder.neb_host, builder.host = neb_host, host
        paths = {key: path for key, path in inputs['paths'].items() if path}
        builder.paths = {key: orm.Dict({'tracer_element': tracer} | path) for key, path in paths.items()}
        neb = protocol_inputs('neb', protocol, inputs['neb'])['parameters']
        builder.neb = {name: orm.Dict(with_dtype(name, neb)) for name in barrier_architectures()}
        builder.vibrations = vibration_inputs(inputs['vibrations'], protocol, inputs['neb'].get('vibrations'))
        series = ArrheniusWorkChain.get_protocol_inputs(protocol, inputs['arrhenius'])
        builder.extrapolation = orm.Dict(series['extrapolation'])
        learned = {} if 'dataset' in builder else {LEARNED: VASP_MLFF.name}
        labels = architectures(potentials, builder['training']) | learned
        require_known('diffusion', 'potential', inputs, known, [*labels, *(f'{BEST}{name}' for name in table())])
        shared = {'settings': {'supercell': {'tracer_element': tracer}}, 'md': inputs['md']}
        builder.diffusion = diffusion_inputs(inputs['diffusion'], labels, shared, protocol)
        builder.segment_steps = orm.Int(md['segment_steps'])
        builder.options = options_inputs(options, **protocols)
        builder.clean_workdir = orm.Bool(md['clean_workdir'])
        builder.max_in_flight = orm.Int(inputs['max_in_flight'])
        return builder


def require_complete(inputs: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse incomplete trainings, paths and runs: their label may be a misspelling of a known label.

    :raises ValueError: names the label and the nearest known label.
    """
    for name, needed in NEEDED.items():
        for label, values in inputs[name].items():
            missing = [key for key in needed if key not in (values or {})]
            if missing and not (values is None and label in known[name]):
                near = nearest(label, known[name])
                raise ValueError(f'{name}.{label} lacks {", ".join(missing)}, which a new entry needs; {near}')


def require_known(
    name: str, key: str, inputs: Mapping[str, Any], protocols: Mapping[str, Any], labels: Iterable[str]
) -> None:
    """Refuse a missing potential that the user names: only entries of a protocol are left out silently.

    :param name: ``training``, whose ``key`` is ``foundation``; or ``diffusion``, whose key is ``potential``.
    :param protocols: the inputs without the user's overrides.
    :param labels: allowed values of the key.
    :raises ValueError: names the label and the nearest known potential.
    """
    labels = list(labels)
    for label, values in inputs[name].items():
        choice = (values or {}).get(key)
        if choice not in (None, (protocols[name].get(label) or {}).get(key), *labels):
            near = nearest(str(choice), labels) if labels else 'give potentials.'
            raise ValueError(f'{name}.{label}: {key} = {choice!r} is neither given nor trained here; {near}')


def tracer_of(dataset: DatasetData | orm.StructureData, host: orm.StructureData) -> str:
    """Return the only element that diffuses in the host.

    :raises ValueError: if the dataset, or the structure from which learning starts, has no tracer or several.
    """
    symbols = host.get_symbols_set()
    if isinstance(dataset, DatasetData):
        known = symbols & set(dataset.elements)
        return subject_of(dataset, known.pop() if len(known) == 1 else None).tracer
    others = sorted(dataset.get_symbols_set() - symbols)
    if len(others) == 1:
        return others[0]
    found = f'{", ".join(others)} as possible tracers' if others else 'no tracers'
    raise ValueError(f'the structure from which learning starts has {found}: name the tracer with tracer_element.')


def order(tasks: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the tasks in their order of start: trainings, then evaluations, diffusion, barriers."""
    kinds = ('train', 'evaluate', 'diffusion', 'barrier')
    return dict(sorted(tasks.items(), key=lambda item: kinds.index(item[0].partition('_')[0])))


def child_outputs(kind: str, node: Any) -> dict[str, Any]:
    """Return the outputs of a child that the study returns, by namespace, also of a failed child."""
    if kind == 'train' and node.is_finished_ok:
        return {'potentials': node.outputs.potential}
    if kind != 'diffusion' or 'diffusion' not in node.outputs:
        return {}
    if 'temperature' in node.inputs:
        label = temperature_label(node.inputs.temperature.value)
        return {name: {label: output} for name, output in found_outputs(node).items()}
    outputs = {name: dict(node.outputs[name]) for name in OUTPUTS if name in node.outputs}
    return outputs | {name: node.outputs[name] for name in ('arrhenius', 'jump_diffusion') if name in node.outputs}


def barrier_outputs(node: orm.WorkChainNode) -> dict[str, Any]:
    """Return the outputs of a barrier that the study returns, by namespace."""
    found = {name: node.outputs[output] for name, (output, *_) in BARRIER_OUTPUTS.items() if output in node.outputs}
    return {name: output if isinstance(output, orm.Data) else dict(output) for name, output in found.items()}


def training_inputs(
    trainings: dict[str, Any], potentials: dict[str, PotentialData], protocol: str | None, has_stress: bool
) -> dict[str, Any]:
    """Return the namespace ``training`` of a builder, without trainings that are null or lack their foundation.

    :param has_stress: whether all configurations of the dataset have a stress.
    """
    inputs = {}
    for label, values in trainings.items():
        foundation = values and values.get('foundation')
        if values is None or (foundation is not None and foundation not in potentials):
            continue
        architecture = values['architecture']
        kind = trainer(architecture).training_kind(foundation is not None, False)
        own = {'parameters': values.get('parameters', {})}
        place = f'training.{label}'
        parameters = TrainWorkChain.get_parameters(
            architecture, kind, protocol, own, has_stress=has_stress, place=place
        )
        inputs[label] = {'architecture': orm.Str(architecture), 'parameters': orm.Dict(parameters)}
        if foundation is not None:
            inputs[label]['potential'] = potentials[foundation]
    return inputs


def vibration_inputs(
    names: list[str], protocol: str | None, overrides: dict[str, Any] | None = None
) -> dict[str, orm.Dict]:
    """Return the namespace ``vibrations`` of a builder: the parameters of each architecture named."""
    parameters = protocol_inputs('vibrations', protocol, overrides)['parameters']
    return {name: orm.Dict(with_dtype(name, parameters)) for name in names}


def diffusion_inputs(
    runs: dict[str, Any], known: dict[str, str], shared: dict[str, Any], protocol: str | None
) -> dict[str, Any]:
    """Return the namespace ``diffusion`` of a builder, without runs that are null or lack their potential.

    :param known: the architecture of each given, trained or learned potential, by its label.
    :param shared: overrides of all runs; the overrides of a run have priority.
    """
    inputs = {}
    for key, values in runs.items():
        if values is None:
            continue
        choice = values['potential']
        architecture = choice.removeprefix(BEST) if choice.startswith(BEST) else known.get(choice)
        if architecture is None:
            continue
        refuse_unchosen({'diffusion': runs}, architecture, f'diffusion.{key}.overrides.md.architectures')
        overrides = merge(shared, values.get('overrides', {}))
        settings = DiffusionWorkChain.get_settings(architecture, protocol, overrides)
        inputs[key] = {
            'potential': orm.Str(choice),
            'settings': orm.Dict(settings),
            'temperatures': {temperature_label(value): orm.Float(value) for value in values['temperatures_k']},
        }
    return inputs


def architectures(potentials: dict[str, PotentialData], trainings: dict[str, Any]) -> dict[str, str]:
    """Return the architecture of each given and each trained potential by its label."""
    given = {label: node.architecture for label, node in potentials.items()}
    return given | {label: item['architecture'].value for label, item in trainings.items()}
