"""VASP's machine-learned force fields: learning on the fly (train) and the modes select, refit and run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from ase import Atoms

from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.md import define_md_outputs
from aiida_mghdiff.calculations.validation import (
    IS_COUNT,
    IS_NUMBER,
    IS_POSITIVE,
    IS_STEP,
    IS_SYMBOL,
    IS_TEXT,
    complete_message,
    keys_help,
    one_of,
    optional,
    self_diffusion_message,
    three_of,
)
from aiida_mghdiff.calculations.vasp.force_field import fast_message, force_field_message
from aiida_mghdiff.calculations.vasp.job import (
    ENGINE,
    LAST_LINES,
    RESERVE_RUN,
    RESERVE_TRAIN,
    RUN_FILES,
    VaspJob,
    integrator_of,
    own_tags_message,
    potcars_message,
    start_atoms,
    symbols_message,
)
from aiida_mghdiff.calculations.vasp.md import reduction_plan
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.frames import concatenate_frames, frames_from_arrays, select_frames
from aiida_mghdiff.formats.iconst import check_iconst, read_iconst
from aiida_mghdiff.formats.job_files import ML_ABN, ML_FFN, ML_LOGFILE
from aiida_mghdiff.formats.mlab import labelled_by_of, read_mlab, read_mlab_header, standin_name, write_mlab
from aiida_mghdiff.science.trajectory_reduction import ReductionPlan

MODES = ('train', 'select', 'refit', 'run')
MOVING_MODES = ('train', 'run')


#: Below this temperature in K, VASP relaxes the structure instead of running MD.
COLDEST_K = 0.1

#: INCAR tags that a mode requires. Their defaults change with the version, the POTCAR or the length of the run, so a
#: job without them may later give another result.
MOVING_TAGS = {
    'ibrion': one_of(0),
    'mdalgo': one_of(0, 1, 2, 3, 4, 5),
    'isif': one_of(0, 1, 2, 3),
    'nsw': IS_COUNT,
    'potim': IS_POSITIVE,
    'tebeg': IS_NUMBER,
    'random_seed': three_of(IS_STEP, 'whole numbers'),
}
LEARNING_TAGS = {'encut': IS_POSITIVE, 'ml_mconf': IS_COUNT}

SETTINGS = {
    'stage': IS_TEXT,
    'first_step': IS_STEP,
    'group_steps': IS_COUNT,
    'tracer_element': optional(IS_SYMBOL),
    'tracer_stride': IS_COUNT,
    'thermo_stride': IS_COUNT,
    'frame_stride': IS_COUNT,
    'spilling_limit': optional(IS_POSITIVE),
}

#: Output files of learning.
LEARNED_FILES = (ML_LOGFILE, ML_ABN, ML_FFN)

#: Failures in addition to the failures of every VASP run.
_FAILURES = (
    'LABELS_DIFFER',
    'SCF_NOT_CONVERGED',
    'MCONF_REACHED',
    'MB_REACHED',
    'SPILLING_FACTOR',
    'FORCE_FIELD_UNLEARNED',
)


def mode_of(tags: Mapping[str, Any]) -> str:
    """Return ML_MODE in lower case."""
    return str(tags.get('ml_mode', '')).lower()


def ensemble_of(tags: Mapping[str, Any]) -> str:
    """Return the ensemble of a run: ``npt`` if the cell moves, ``nve`` without a thermostat, else ``nvt``."""
    if tags['isif'] == 3:
        return 'npt'
    without = (tags['mdalgo'] == 1 and not tags.get('andersen_prob', 0.0)) or (
        tags['mdalgo'] in (0, 2) and tags.get('smass', -3) == -3
    )
    return 'nve' if without else 'nvt'


def md_parameters(tags: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the MD parameters that the outputs of an MD job need; keys as in ``calculations.md``."""
    keys = ('first_step', 'tracer_element', 'tracer_stride', 'thermo_stride', 'frame_stride')
    return {key: settings[key] for key in keys} | {
        'ensemble': ensemble_of(tags),
        'temperature_k': max(tags['tebeg'], tags.get('teend', tags['tebeg'])),
        'time_step_fs': tags['potim'],
        'steps': tags['nsw'],
        'dtype': 'float64',
    }


def output_block_of(tags: Mapping[str, Any]) -> int:
    """Return the number of steps between frames of XDATCAR; VASP itself takes the larger of the two tags."""
    block = tags.get('ml_outblock', 1) if mode_of(tags) == 'run' else 1
    return max(block, tags.get('nblock', 1))


def validate_inputs(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the inputs, or None."""
    if not {'parameters', 'settings'} <= set(inputs):
        return None
    tags, settings = inputs['parameters'].get_dict(), inputs['settings'].get_dict()
    if message := complete_message(settings, SETTINGS, 'settings'):
        return message
    if ('structure' in inputs) == ('state' in inputs):
        return 'give either a structure (velocities are drawn at TEBEG) or a state (velocities are carried over).'
    atoms = start_atoms(inputs)
    return (
        own_tags_message(tags)
        or mode_message(tags)
        or spilling_message(tags, settings)
        or start_message(atoms, inputs, settings)
        or (moving_message(tags, atoms) if mode_of(tags) in MOVING_MODES else None)
        or iconst_message(atoms, inputs)
        or force_field_input_message(tags, atoms, inputs)
        or known_message(tags, atoms, inputs)
    )


def mode_message(tags: Mapping[str, Any]) -> str | None:
    """Return a message about a fault in ML_MODE, or in the tags that its mode requires, or None."""
    mode = mode_of(tags)
    if mode not in MODES or tags.get('ml_lmlff') is not True:
        return f'parameters: ml_lmlff must be true and ml_mode one of {", ".join(MODES)}, not {tags.get("ml_mode")!r}.'
    wanted = (MOVING_TAGS if mode in MOVING_MODES else {}) | (LEARNING_TAGS if mode == 'train' else {})
    missing = [tag for tag in wanted if tags.get(tag) is None]
    if missing:
        return f'parameters lack {", ".join(missing)}: mode {mode} requires them, since their defaults change.'
    wrong = [tag for tag, check in wanted.items() if not check.holds(tags[tag])]
    return f'parameters: {wrong[0]} = {tags[wrong[0]]!r} is not {wanted[wrong[0]].words}.' if wrong else None


def spilling_message(tags: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    """Return a message if VASP computes no spilling factor for the limit, or None."""
    if settings['spilling_limit'] is None:
        return None
    if mode_of(tags) != 'run':
        return 'settings: spilling_limit is only for mode run, since learning has Bayesian errors; set null.'
    interval = tags.get('ml_estblock', tags.get('ml_ierr'))
    if not IS_COUNT.holds(interval):
        return (
            'settings: spilling_limit needs spilling factors: set ml_estblock (ml_ierr before VASP 6.5.1) to the '
            'number of steps between two of them.'
        )
    if interval > tags['nsw']:
        return f'settings: spilling_limit: {tags["nsw"]} steps have no spilling factor: every {interval}th has.'
    return None


def start_message(atoms: Atoms, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    """Return a message about a fault in the start: the order of its species, POTCARs, tracers, its step."""
    symbols, tracer = atoms.get_chemical_symbols(), settings['tracer_element']
    if set(symbols) == {tracer}:
        return self_diffusion_message(tracer, symbols)
    if tracer is not None and tracer not in symbols:
        return f'settings: tracer_element = {tracer}, but the start has {", ".join(sorted(set(symbols)))}; or set null.'
    if 'state' in inputs and settings['first_step'] not in (0, inputs['state'].step):
        return f'settings: first_step = {settings["first_step"]}, but the state is of step {inputs["state"].step}.'
    return symbols_message(symbols) or potcars_message(symbols, inputs.get('potcars', {}))


def moving_message(tags: Mapping[str, Any], atoms: Atoms) -> str | None:
    """Return a message about a fault in MD tags."""
    if not IS_NUMBER.holds(tags.get('teend', 0)):
        return f'parameters: teend = {tags["teend"]!r} is not {IS_NUMBER.words}.'
    if min(tags['tebeg'], tags.get('teend', tags['tebeg'])) < COLDEST_K:
        return (
            f'parameters: tebeg = {tags["tebeg"]}, teend = {tags.get("teend")}: below {COLDEST_K} K VASP relaxes '
            'instead of moving; begin at 1 K.'
        )
    species, gamma = len(set(atoms.get_chemical_symbols())), tags.get('langevin_gamma')
    if tags['mdalgo'] == 3 and (not isinstance(gamma, list) or len(gamma) != species):
        return f'parameters: langevin_gamma = {gamma!r} must be a list of one friction for each of {species} species.'
    return None


def iconst_message(atoms: Atoms, inputs: Mapping[str, Any]) -> str | None:
    """Return a message if ICONST contradicts the start, or None."""
    if 'iconst' not in inputs:
        return None
    try:
        with inputs['iconst'].as_path() as path:
            check_iconst(read_iconst(path), atoms.cell.array, len(atoms))
    except ValueError as error:
        return f'iconst: {error.reason if isinstance(error, FormatError) else error}.'
    return None


def force_field_input_message(tags: Mapping[str, Any], atoms: Atoms, inputs: Mapping[str, Any]) -> str | None:
    """Return a message about a fault in the force field of a run: none given, without fast mode, of other elements."""
    if mode_of(tags) != 'run':
        words = 'a potential is read only in mode run; learning begins from ml_ab or configurations.'
        return words if 'potential' in inputs else None
    if 'potential' not in inputs:
        return 'mode run needs a force field: give a potential, or learn one first (ML_MODE = train, then refit).'
    potential = inputs['potential']
    message = force_field_message(potential)
    if message is None and tags.get('ml_lfast') is not False:
        message = fast_message(potential, ', or set ml_lfast to false: slower')
    message = message or potential.unknown_message(atoms.get_chemical_symbols())
    return message and f'potential: {message}'


def known_message(tags: Mapping[str, Any], atoms: Atoms, inputs: Mapping[str, Any]) -> str | None:
    """Return a message about a fault in the configurations that are known before the run."""
    mode, parts = mode_of(tags), inputs.get('configurations', {})
    if 'ml_ab' in inputs and parts:
        return 'give either ml_ab or configurations, not both.'
    if not parts and 'learning_state' in inputs:
        return 'a learning_state has the order of configurations: give the configurations, too.'
    if 'ml_ab' not in inputs and not parts:
        return (
            f'mode {mode} needs labelled configurations: give ml_ab or configurations.' * (mode in ('select', 'refit'))
            or None
        )
    if mode == 'run':
        return 'mode run reads no configurations: leave out ml_ab and configurations.'
    if len(origins := {part.labelled_by for part in parts.values()}) > 1:
        return f'configurations are labelled by {", ".join(sorted(origins))}: give configurations of one origin.'
    if parts and 'learning_state' not in inputs and mode != 'select':
        return f'mode {mode} needs a learning_state for its configurations: take it from the job that learned them.'
    return _content_message(tags, atoms, inputs)


def _content_message(tags: Mapping[str, Any], atoms: Atoms, inputs: Mapping[str, Any]) -> str | None:
    try:
        count, elements = known_content(inputs)
    except FormatError as error:
        return f'ml_ab, {error.place}: {error.reason}.'
    foreign = sorted(elements - set(atoms.get_chemical_symbols()))
    if foreign:
        return (
            f'the known configurations have {", ".join(foreign)}, which the start lacks: learning continues only '
            'with the same elements. Begin anew or give other configurations.'
        )
    most, room = tags.get('ml_mconf'), int(mode_of(tags) == 'train')
    if most is not None and most < count + room:
        return f'parameters: ml_mconf = {most}, but {count} configurations are known already: raise it.'
    return None


def known_content(inputs: Mapping[str, Any]) -> tuple[int, set[str]]:
    """Return the number and the elements of the configurations in the ML_AB of the job.

    :raises FormatError: for an ``ml_ab`` that is not an ML_AB file.
    """
    if 'ml_ab' in inputs:
        with inputs['ml_ab'].as_path() as path:
            count, types = read_mlab_header(path)
        return count, set(types)
    parts = inputs['configurations'].values()
    elements = {element for part in parts for element in part.elements}
    if 'learning_state' in inputs:
        return len(inputs['learning_state'].get_array('order')), elements
    return sum(part.base.attributes.get('n_configurations') for part in parts), elements


def origin_message(inputs: Mapping[str, Any], labelled_by: str) -> str | None:
    """Return a message if the known configurations have labels of another origin than the job, or None.

    Only a finished job shows whether its code runs VASP or the stand-in, and with which labels.

    :param labelled_by: origin of the job's labels.
    """
    if 'ml_ab' in inputs:
        with inputs['ml_ab'].as_path() as path:
            known = {labelled_by_of(frame) for frame in read_mlab(path, allow_implausible=True).frames}
    else:
        known = {part.labelled_by for part in inputs.get('configurations', {}).values()}
    if known <= {labelled_by}:
        return None
    return f'the known configurations are labelled by {", ".join(sorted(known))}, the job by {labelled_by}.'


def known_arrays(inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the flat arrays of all given configurations, part after part."""
    parts = inputs['configurations']
    return concatenate_frames([parts[name].get_arrays() for name in sorted(parts)])


class VaspMlffCalculation(VaspJob):
    """Learns a force field on the fly, or selects, refits or runs one.

    ``parameters`` are the tags of INCAR. Known configurations are an ``ml_ab`` file, or datasets with a
    ``learning_state``, from which the job writes ML_AB without storing it again.
    ``learning_state``: ``order`` [n], index of each configuration of ML_AB into the given parts, one after the other;
    ``ctifor`` [n] in eV/Å; ``basis_<element>`` [m,2], configuration and atom counted from 1; attributes ``types``,
    ``reference_energies``, ``masses``, ``version``. In the output, an index beyond the given configurations (for
    ``ml_ab``, in the order of the file) continues in the output ``dataset``.
    """

    CACHE_VERSION = 3
    CONTINUED_FROM = 'state'
    _PARSER = 'mghdiff.vasp.mlff'
    _KEPT_OUTPUT = LAST_LINES
    _TEMPORARY_FILES = RUN_FILES
    _REDUCES = True

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define ports and exit codes."""
        super().define(spec)
        cls._define_inputs(spec)
        cls._define_outputs(spec)
        spec.inputs.validator = validate_inputs

    @classmethod
    def _define_inputs(cls, spec: CalcJobProcessSpec) -> None:
        words = keys_help('Stage, first step, strides of records.', SETTINGS)
        spec.input('settings', valid_type=orm.Dict, serializer=orm.to_aiida_type, help=words)
        spec.input('structure', valid_type=orm.StructureData, required=False, help='Start; velocities are drawn.')
        spec.input('state', valid_type=MdStateData, required=False, help='Start, with its velocities.')
        spec.input('ml_ab', valid_type=orm.SinglefileData, required=False, help='Known configurations, as ML_AB.')
        spec.input_namespace(
            'configurations', valid_type=DatasetData, dynamic=True, help='Known configurations: part0000, part0001, ...'
        )
        spec.input('learning_state', valid_type=orm.ArrayData, required=False, help='Order and basis of ML_AB.')
        spec.input('potential', valid_type=PotentialData, required=False, help='Force field of mode run.')
        spec.input('iconst', valid_type=orm.SinglefileData, required=False, help='Constraints of the cell: ICONST.')

    @classmethod
    def _define_outputs(cls, spec: CalcJobProcessSpec) -> None:
        define_md_outputs(spec)
        spec.outputs['results'].help = 'Counts, errors, versions, labelled_by.'
        spec.output('dataset', valid_type=DatasetData, required=False, help='New labelled configurations.')
        spec.output('learning_state', valid_type=orm.ArrayData, required=False, help='Order and basis of ML_ABN.')
        spec.output('force_field', valid_type=PotentialData, required=False, help='ML_FFN.')
        spec.output('learning', valid_type=orm.ArrayData, required=False, help='ML_LOGFILE, step by step.')
        define_exit_codes(spec, *_FAILURES)

    @property
    def mode(self) -> str:
        """Return ML_MODE."""
        return mode_of(self.own_tags())

    def plan(self) -> ReductionPlan | None:
        """Return the plan for reducing the trajectory; None if nothing moves."""
        if self.mode not in MOVING_MODES:
            return None
        tags = self.own_tags()
        parameters = md_parameters(tags, self.inputs.settings.get_dict())
        return reduction_plan(parameters, self.start_atoms(), output_block_of(tags))

    def reserve(self) -> float:
        """Return the fraction of the wall time reserved for the last step, larger if the job learns."""
        return RESERVE_RUN if self.mode == 'run' else RESERVE_TRAIN

    def temporary_files(self) -> list[Any]:
        """Return the temporarily retrieved files, with the files of learning."""
        return [*super().temporary_files(), *(LEARNED_FILES[:1] if self.mode == 'run' else LEARNED_FILES)]

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the files. ML_AB is not stored in the repository, since its configurations are stored already."""
        calcinfo = super().prepare_for_submission(folder)
        calcinfo.provenance_exclude_list.append('ML_AB')
        return calcinfo

    def write_additional(self, folder: Folder, calcinfo: CalcInfo) -> None:
        """Write ML_AB from datasets, or copy the input file."""
        super().write_additional(folder, calcinfo)
        inputs = self.inputs
        if 'ml_ab' in inputs:
            calcinfo.local_copy_list.append((inputs.ml_ab.uuid, inputs.ml_ab.filename, 'ML_AB'))
        if inputs.get('configurations'):
            write_known(str(folder.get_abs_path('ML_AB')), inputs)

    def goes_on(self) -> bool:
        """Return whether to restart from VASP's CONTCAR.

        Its predictor-corrector block is valid only for the same MDALGO, and never for runs without motion.
        """
        state, tags = self.inputs.get('state'), self.own_tags()
        if state is None or not self.inputs.settings['first_step'] or self.mode not in MOVING_MODES:
            return False
        return state.has_restart_of(ENGINE, ensemble_of(tags), integrator_of(tags['mdalgo']))


def write_known(path: str, inputs: Mapping[str, Any]) -> None:
    """Write the given configurations as ML_AB, with the learning state if there is one.

    Configurations with labels of the stand-in are marked.
    """
    arrays, state = known_arrays(inputs), inputs.get('learning_state')
    frames = frames_from_arrays(arrays if state is None else select_frames(arrays, state.get_array('order')))
    labelled_by = next(iter(inputs['configurations'].values())).labelled_by
    if labelled_by.startswith('standin:'):
        for frame in frames:
            frame.info['system_name'] = standin_name(labelled_by.removeprefix('standin:'), str(frame.symbols.formula))
    if state is None:
        write_mlab(path, frames)
        return
    attributes = state.base.attributes
    write_mlab(
        path,
        frames,
        ctifor=state.get_array('ctifor') if 'ctifor' in state.get_arraynames() else None,
        basis={element: state.get_array(f'basis_{element}') for element in attributes.get('types')},
        reference_energies=attributes.get('reference_energies'),
        masses=attributes.get('masses'),
    )
