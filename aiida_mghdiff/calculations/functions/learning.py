"""On-the-fly learning: the parameters of its segments, and their history."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_mghdiff.calculations.exit_codes import MismatchError, SettingsError, refusing
from aiida_mghdiff.calculations.functions.parameters import derive_seed
from aiida_mghdiff.calculations.validation import (
    IS_COUNT,
    IS_NUMBER,
    IS_POSITIVE,
    IS_SEED,
    IS_SYMBOL,
    IS_TEMPERATURE,
    IS_TEXT,
    Check,
    complete_message,
    one_of,
    optional,
    three_of,
)
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.stored_keys import stored_value
from aiida_mghdiff.formats.iconst import SHAPES, iconst_text
from aiida_mghdiff.science.units import GPA_IN_KBAR, PS_IN_FS


def _are_stages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(stage, dict) for stage in value)


def _are_tags(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(tag, str) and tag == tag.lower() for tag in value)


ARE_TAGS = Check('INCAR tags in lower case, each with its value', _are_tags)
IS_MESH = three_of(IS_COUNT, 'positive whole numbers')

STAGE_KEYS = {
    'name': IS_TEXT,
    'start_temperature_k': IS_TEMPERATURE,
    'end_temperature_k': IS_TEMPERATURE,
    'duration_ps': IS_POSITIVE,
}
SETTINGS = {
    'seed': IS_SEED,
    'stages': Check('a list of stages', _are_stages),
    'segment_ps': IS_POSITIVE,
    'group_ps': IS_POSITIVE,
    'time_step_fs': IS_POSITIVE,
    'friction_per_ps': IS_POSITIVE,
    'lattice_friction_per_ps': IS_POSITIVE,
    'pressure_gpa': IS_NUMBER,
    'cell_shape': one_of(*SHAPES),
    'tracer_element': optional(IS_SYMBOL),
    'tracer_stride': IS_COUNT,
    'thermo_stride': IS_COUNT,
    'frame_stride': IS_COUNT,
    'electrons': ARE_TAGS,
    'learning': ARE_TAGS,
    'kpoints': IS_MESH,
    'refit': optional(ARE_TAGS),
}
#: A job keeps the plane waves of its first cell: beyond this change of a length they no longer match the cut-off.
LARGEST_LATTICE_CHANGE = 0.1
#: A cell that changes by less than this needs no shorter jobs.
SMALL_LATTICE_CHANGE = LARGEST_LATTICE_CHANGE / 4
ROOM_FACTOR = 1.5
#: VASP's own defaults, if the tags do not set them (VASP wiki, pages ML_MB and NELM).
USUAL_ROOM, USUAL_NELM = 1500, 60
#: Results of a job that enter the history.
HISTORY = (
    'stage',
    'first_step',
    'last_step',
    'mean_temperature_k',
    'n_dft_steps',
    'n_configurations',
    'n_new_configurations',
    'n_unlearned_configurations',
    'n_unconverged_configurations',
    'n_unjudged_configurations',
    'n_implausible_configurations',
    'training_rmse_energy_ev_per_atom',
    'training_rmse_force_ev_per_angstrom',
    'training_rmse_stress_gpa',
    'threshold_ev_per_angstrom',
    'labelled_by',
)
#: Settings that every job of a schedule needs.
RECORDED = ('tracer_element', 'tracer_stride', 'thermo_stride', 'frame_stride')
#: Tags that follow from the other settings of a schedule.
PLANNED = (
    'ibrion',
    'mdalgo',
    'isif',
    'potim',
    'nsw',
    'tebeg',
    'teend',
    'langevin_gamma',
    'langevin_gamma_l',
    'pstress',
    'random_seed',
    'ml_lmlff',
    'ml_mode',
)
#: Tags of learning that a refit does not take over: array sizes (ML_MCONF, ML_MB), set from the number of
#: configurations, and tags of the regression, which have their own defaults for ML_MODE = refit (VASP wiki, ML_MODE).
NOT_OF_REFIT = ('ml_mconf', 'ml_mb', 'ml_lfast', 'ml_ialgo_linreg', 'ml_sigw0', 'ml_sigv0', 'ml_eps_low')


def learning_settings_message(values: Mapping[str, Any]) -> str | None:
    """Return a message about a fault in the settings of a schedule, or None."""
    if message := complete_message(values, SETTINGS, 'settings'):
        return message
    for index, stage in enumerate(values['stages']):
        if message := complete_message(stage, STAGE_KEYS, f'settings.stages[{index}]'):
            return message
    names = [stage['name'] for stage in values['stages']]
    if len(set(names)) < len(names):
        return f'settings: the stages {", ".join(names)} share a name: give each stage its own name.'
    for key in ('electrons', 'learning', 'refit'):
        # the array sizes of a refit follow from the learned configurations; smaller sizes would fail only at the end
        own = (*PLANNED, 'ml_mconf') if key == 'refit' else PLANNED
        if planned := sorted(set(values[key] or {}) & set(own)):
            return f'settings: {key} sets {", ".join(planned)}, which follow from the schedule: leave them out.'
    return None


@refusing(SettingsError)
@calcfunction
def plan_learning(settings: orm.Dict, start: orm.StructureData | MdStateData) -> dict[str, orm.Data]:
    """Return the inputs of all segments of a schedule of on-the-fly learning.

    A stage is divided into segments. If it ramps the temperature, each segment has the temperatures at its own ends.

    :param settings: keys as in ``SETTINGS``; ``electrons`` and ``learning`` are INCAR tags of all segments, ``refit``
        has additional tags of the final refit; null for no refit.
    :param start: ICONST keeps the shape of its cell; steps continue from a state's step.
    :returns: ``seg000_parameters`` (INCAR tags) and ``seg000_settings`` of each segment, ``iconst``, ``kpoints``;
        ``refit_parameters`` and ``refit_settings`` if a refit is requested.
    """
    values = settings.get_dict()
    if message := learning_settings_message(values):
        raise SettingsError(message)
    atoms, step = start_of(start)
    shape = iconst_text(atoms.cell.array, values['cell_shape'])
    plan: dict[str, orm.Data] = {'iconst': orm.SinglefileData(io.StringIO(shape), 'ICONST'), 'kpoints': _mesh(values)}
    for index, (tags, job) in enumerate(segment_inputs(values, atoms, step)):
        plan |= {f'seg{index:03d}_parameters': orm.Dict(tags), f'seg{index:03d}_settings': orm.Dict(job)}
    if values['refit'] is not None:
        plan['refit_parameters'] = orm.Dict(_refit_tags(values))
        plan['refit_settings'] = orm.Dict(_job_settings(values, 'refit', 0))  # nothing moves
    return plan


def start_of(start: orm.StructureData | MdStateData) -> tuple[Atoms, int]:
    """Return atoms and step at the start of a schedule."""
    return (start.get_atoms(), start.step) if isinstance(start, MdStateData) else (start.get_ase(), 0)


def segment_inputs(
    values: Mapping[str, Any], atoms: Atoms, step: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield INCAR tags and job settings of each segment.

    :param values: settings of the schedule; ``atoms`` and ``step`` are its start.
    """
    species = len(set(atoms.get_chemical_symbols()))
    for index, segment in enumerate(_segments(values)):
        yield _segment_tags(values, segment, index, species), _job_settings(values, segment['stage'], step)
        step += segment['steps']


def _refit_tags(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the INCAR tags of the refit, with the descriptors and weights of learning."""
    learning = {
        tag: value for tag, value in values['learning'].items() if tag.startswith('ml_') and tag not in NOT_OF_REFIT
    }
    return values['electrons'] | learning | values['refit'] | _mode('refit')


def _segments(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield stage, number of steps and temperatures of each segment."""
    most = max(1, round(values['segment_ps'] * PS_IN_FS / values['time_step_fs']))
    for stage in values['stages']:
        steps = max(1, round(stage['duration_ps'] * PS_IN_FS / values['time_step_fs']))
        start, end = stage['start_temperature_k'], stage['end_temperature_k']
        for first in range(0, steps, most):
            length = min(most, steps - first)
            shares = (first / steps, (first + length) / steps)
            temperatures = [start + (end - start) * share for share in shares]
            yield {'stage': stage['name'], 'steps': length, 'temperatures_k': temperatures}


def _segment_tags(values: Mapping[str, Any], segment: Mapping[str, Any], index: int, species: int) -> dict[str, Any]:
    """Return the INCAR tags of a segment: NPT with Langevin friction (MDALGO = 3, ISIF = 3), learning on the fly."""
    start, end = segment['temperatures_k']
    motion = {
        'ibrion': 0,
        'mdalgo': 3,
        'isif': 3,
        'potim': values['time_step_fs'],
        'nsw': segment['steps'],
        'tebeg': start,
        'teend': end,
        'langevin_gamma': [values['friction_per_ps']] * species,
        'langevin_gamma_l': values['lattice_friction_per_ps'],
        'pstress': values['pressure_gpa'] * GPA_IN_KBAR,
        'random_seed': [derive_seed(values['seed'], start, 'learning', index), 0, 0],
    }
    return values['electrons'] | values['learning'] | motion | _mode('train')


def _mode(name: str) -> dict[str, Any]:
    return {'ml_lmlff': True, 'ml_mode': name}


def _mesh(values: Mapping[str, Any]) -> orm.KpointsData:
    """Return the k-point mesh, centred at Γ."""
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh(values['kpoints'])
    return kpoints


def _job_settings(values: Mapping[str, Any], stage: str, first_step: int) -> dict[str, Any]:
    return {name: values[name] for name in RECORDED} | {
        'stage': stage,
        'first_step': first_step,
        'group_steps': max(1, round(values['group_ps'] * PS_IN_FS / values['time_step_fs'])),
        'spilling_limit': None,
    }


@calcfunction
def piece_of_segment(
    parameters: orm.Dict,
    settings: orm.Dict,
    job_parameters: orm.Dict,
    job_settings: orm.Dict,
    job_results: orm.Dict | None = None,
    state: MdStateData | None = None,
    learned: orm.Dict | None = None,
) -> dict[str, orm.Dict]:
    """Return ``parameters`` and ``settings`` of the next job of a segment, which runs a piece of it.

    :param parameters: INCAR tags of the segment; ``settings``: settings of its jobs.
    :param job_parameters: INCAR tags of the last job; ``job_settings``, ``job_results``: its settings and results.
    :param state: start of the next job, where the ramp of temperatures continues; None to repeat the last job's start.
    :param learned: results of the last job that learned something; the next job begins with its threshold.
    """
    tags, values = parameters.get_dict(), settings.get_dict()
    first_step = job_settings['first_step'] if state is None else state.step
    done = first_step - values['first_step']
    results = {} if job_results is None else job_results.get_dict()
    steps = min(tags['nsw'] - done, _most_steps(tags['nsw'], job_parameters['nsw'], results))
    start, end = tags['tebeg'], tags['teend']
    ramp = [start + (end - start) * step / tags['nsw'] for step in (done, done + steps)]
    seed = derive_seed(tags['random_seed'][0], ramp[0], 'learning', done)
    tags |= {'tebeg': ramp[0], 'teend': ramp[1], 'nsw': steps, 'random_seed': [seed, 0, 0]}
    tags |= {} if learned is None else _threshold(tags, learned)
    return {'parameters': orm.Dict(tags), 'settings': orm.Dict(values | {'first_step': first_step})}


def _most_steps(all_steps: int, job_steps: int, results: Mapping[str, Any]) -> int:
    """Return the largest number of steps of the next job: fewer if the cell changes, more if it is stable.

    :param all_steps: steps of the segment; ``job_steps``: planned steps of the last job; ``results``: its results.
    """
    change = results.get('lattice_change', SMALL_LATTICE_CHANGE)
    if change > LARGEST_LATTICE_CHANGE:
        return (results['last_step'] - results['first_step']) // 2
    return min(2 * job_steps, all_steps) if change < SMALL_LATTICE_CHANGE else job_steps


#: Tags that a segment changes to continue, and that the next segment needs as well.
CARRIED = ('ml_mconf', 'ml_mb', 'nelm', 'algo')


@calcfunction
def carry_on(parameters: orm.Dict, before: orm.Dict, results: orm.Dict) -> orm.Dict:
    """Return INCAR tags with the changes of the previous segment: array sizes, steps of the SCF, threshold.

    :param before: INCAR tags of its last job; ``results``: the results of this job.
    """
    tags = parameters.get_dict()
    tags |= {tag: value for tag, value in before.get_dict().items() if tag in CARRIED}
    return orm.Dict(tags | _threshold(tags, results))


def _threshold(tags: Mapping[str, Any], results: orm.Dict) -> dict[str, float]:
    """Return the last threshold of a job as a tag, or no tag.

    VASP begins each job at ML_CTIFOR, and too small a value causes needless labels at the start of every job. With
    ML_ICRITERIA = 0 the threshold is constant, so it is not changed.
    """
    threshold = results.get('threshold_ev_per_angstrom')
    return {'ml_ctifor': threshold} if tags.get('ml_icriteria', 1) != 0 and threshold else {}


@calcfunction
def more_electronic_steps(parameters: orm.Dict) -> orm.Dict:
    """Return INCAR tags with twice as many SCF steps and the most robust algorithm."""
    tags = parameters.get_dict()
    return orm.Dict(tags | {'nelm': 2 * (tags.get('nelm') or USUAL_NELM), 'algo': 'Normal'})


@calcfunction
def more_configurations(parameters: orm.Dict) -> orm.Dict:
    """Return INCAR tags with larger arrays for configurations."""
    return orm.Dict(_with_room(parameters.get_dict(), 'ml_mconf'))


@calcfunction
def more_references(parameters: orm.Dict) -> orm.Dict:
    """Return INCAR tags with larger arrays for local reference configurations."""
    return orm.Dict(_with_room(parameters.get_dict(), 'ml_mb'))


def _with_room(tags: dict[str, Any], tag: str) -> dict[str, Any]:
    return tags | {tag: int((tags.get(tag) or USUAL_ROOM) * ROOM_FACTOR) + 1}


@refusing(MismatchError)
@calcfunction
def forget_unconverged(learning_state: orm.ArrayData, **configurations: DatasetData) -> orm.ArrayData:
    """Return a learning state without the configurations whose SCF did not converge; ML_AB will lack them.

    Configurations with unknown convergence are left out, too. The function refuses a state without any remaining
    configuration, or without a reference configuration of an element.

    :param configurations: the configurations of the state, part after part in the order of the keys.
    """
    converged = np.concatenate([configurations[key].are_converged for key in sorted(configurations)])
    kept = converged[learning_state.get_array('order')]
    place = np.cumsum(kept)  # number of a kept configuration, counted from 1 as in ML_AB
    arrays = {name: learning_state.get_array(name) for name in learning_state.get_arraynames()}
    for name, rows in arrays.items():
        if name.startswith('basis_'):
            rows = rows[kept[rows[:, 0] - 1]]
            arrays[name] = np.column_stack([place[rows[:, 0] - 1], rows[:, 1]])
        else:
            arrays[name] = rows[kept]
    if empty := [name for name, rows in arrays.items() if not len(rows)]:
        raise MismatchError(f'without labels of an unconverged SCF {", ".join(empty)} would be empty.')
    state, names = orm.ArrayData(arrays), ('types', 'reference_energies', 'masses', 'version')
    state.base.attributes.set_many({name: learning_state.base.attributes.get(name) for name in names})
    return state


@calcfunction
def learning_history(**results: orm.Dict) -> orm.Dict:
    """Return the history of a schedule: totals, and for each job its stage, steps, counts and errors.

    :param results: ``results`` of the jobs, which sort by their keys.
    """
    rows = [{'job': key} | {name: stored_value(results[key], name) for name in HISTORY} for key in sorted(results)]
    # a job whose files show no steps made none
    steps = sum(row['last_step'] - row['first_step'] for row in rows if row['last_step'] is not None)
    n_dft = sum(row['n_dft_steps'] for row in rows)
    return orm.Dict(
        {
            'n_steps': steps,
            'n_dft_steps': n_dft,
            'dft_share': n_dft / steps if steps else None,
            'n_unlearned_configurations': sum(row['n_unlearned_configurations'] for row in rows),
            'n_unconverged_configurations': sum(row['n_unconverged_configurations'] for row in rows),
            'n_unjudged_configurations': sum(row['n_unjudged_configurations'] or 0 for row in rows),
            'n_implausible_configurations': sum(row['n_implausible_configurations'] or 0 for row in rows),
            'labelled_by': rows[-1]['labelled_by'],
            'jobs': rows,
        }
    )
