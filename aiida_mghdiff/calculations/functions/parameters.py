"""Derived parameters of MD runs: of a segment, and of all runs behind one diffusion coefficient."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.exit_codes import refusing
from aiida_mghdiff.calculations.functions.diffusion import FIT_SETTINGS
from aiida_mghdiff.calculations.functions.lattice import STRUCTURE_SETTINGS
from aiida_mghdiff.calculations.functions.starts import STARTS_SETTINGS
from aiida_mghdiff.calculations.functions.supercell import TRACER_SETTINGS
from aiida_mghdiff.calculations.functions.volume import VOLUME_SETTINGS
from aiida_mghdiff.calculations.md import ENSEMBLE_KEYS, INCAR
from aiida_mghdiff.calculations.validation import (
    IS_BOOL,
    IS_COUNT,
    IS_POSITIVE,
    IS_STEP,
    Schema,
    complete_message,
    optional,
    without,
)
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.science.lattice.geometry import LatticeError
from aiida_mghdiff.science.lattice.hcp import unit_cell
from aiida_mghdiff.science.lattice.hops import cage_lengths
from aiida_mghdiff.science.precision import count_looks, growth
from aiida_mghdiff.science.units import PS_IN_FS

#: Settings of the runs behind one diffusion coefficient.
DIFFUSION_SETTINGS: Schema = {
    'seed': IS_STEP,
    'n_replicas': IS_COUNT,
    'independent_replicas': IS_BOOL,
    'target_relative_interval': optional(IS_POSITIVE),
    'max_time_ps': optional(IS_POSITIVE),
    'supercell': without(TRACER_SETTINGS, 'seed'),
    **{stage: without(keys, 'temperature_k', 'first_step', 'seed') for stage, keys in ENSEMBLE_KEYS.items()},
    'volume': VOLUME_SETTINGS,
    'starts': STARTS_SETTINGS,
    'fit': {
        **without(FIT_SETTINGS, 'start_spacing_ps', 'target_relative_interval', 'looks'),
        'jump_threshold': optional(IS_POSITIVE),
        'jump_length': optional(IS_POSITIVE),
    },
    'structure': without(STRUCTURE_SETTINGS, 'seed'),
}


@refusing()
@calcfunction
def segment_parameters(
    parameters: orm.Dict, segment_steps: orm.Int | None = None, state: MdStateData | None = None
) -> orm.Dict:
    """Return the parameters of the next segment of a run.

    :param parameters: parameters of the whole run.
    :param segment_steps: largest number of steps of a segment; None for all remaining steps.
    :param state: end of the last segment; None for the first segment.
    """
    values = steps_left(parameters, state)
    if segment_steps is not None:
        values['steps'] = min(segment_steps.value, values['steps'])
    return orm.Dict(values)


@refusing()
@calcfunction
def block_parameters(parameters: orm.Dict, state: MdStateData | None = None) -> orm.Dict:
    """Return the parameters of the next job of a run in VASP, which ends at a written step.

    :param parameters: parameters of the whole run.
    :param state: final state of the last job; None for the first job.
    """
    values = steps_left(parameters, state)
    return orm.Dict(values | {'steps': steps_of_block(values)})


def steps_left(parameters: orm.Dict, state: MdStateData | None) -> dict[str, Any]:
    """Return the parameters of the remaining run."""
    values = parameters.get_dict()
    first = values['first_step'] if state is None else state.step
    return values | {'first_step': first, 'steps': values['first_step'] + values['steps'] - first}


def steps_of_block(parameters: Mapping[str, Any]) -> int:
    """Return the number of steps of the next job of a run in VASP.

    VASP counts written steps from the start of a job. So all jobs except short ones begin and end at a written step.
    Otherwise a job must write every step, gigabytes of data, to include the wanted steps.
    """
    left = parameters['steps']
    if parameters['ensemble'] == 'nvt':
        return left
    block = gcd(*(parameters[key] for key in ('tracer_stride', 'thermo_stride', 'frame_stride')))
    return min(-parameters['first_step'] % block, left) or left - left % block or left


@refusing()
@calcfunction
def vibration_parameters(vibrations: orm.Dict, path: orm.Dict) -> dict[str, orm.Dict]:
    """Return the parameters of the vibrations of the tracer at a ``minimum`` and at the ``saddle`` point of a path.

    :param vibrations: parameters that both points share.
    :param path: ``tracer_element``, and the name of the path.
    """
    modes = {'minimum': 0, 'saddle': 1}
    values = vibrations.get_dict() | {'tracer_element': path['tracer_element']}
    return {name: orm.Dict(values | {'expected_imaginary_modes': count}) for name, count in modes.items()}


@refusing(LatticeError)
@calcfunction
def plan_diffusion(settings: orm.Dict, temperature: orm.Float, host: orm.StructureData) -> dict[str, orm.Dict]:
    """Return the parameters of all runs behind one diffusion coefficient, each with its own seed.

    :param settings: ``seed``, ``n_replicas``, ``independent_replicas``, ``target_relative_interval`` and
        ``max_time_ps`` (both null for one look), ``supercell`` (of ``build_supercell``, without seed), and ``npt``,
        ``nvt``, ``nve`` (MD parameters without temperature, seed and first step),
        and ``volume``, ``starts``, ``fit``, ``structure`` (settings of the analyses).
    :param host: ideal hcp supercell; ``jump_threshold`` and ``jump_length`` of ``fit`` come from its lattice if they
        are null.
    :returns: ``npt``, ``supercell_<i>`` and ``nvt_<i>`` for each placement of tracers, ``nve_<i>`` for each replica and
        ``nve_<i>_look<k>`` for its continuation at a later look; the settings of the analyses; and ``looks``, the names
        of the ``runs`` of each look. See ``science.precision``.
    """
    values = settings.get_dict()
    looks = [runs_of_look(values, look) for look in range(looks_of(values))]
    names = ['npt', *(name for look in looks for name in look)]
    plan = {name: orm.Dict(plan_run(values, temperature.value, name, looks)) for name in names}
    for index in range(sum(name.startswith('nvt_') for name in names)):
        seed = derive_seed(values['seed'], temperature.value, 'supercell', index)
        plan[f'supercell_{index}'] = orm.Dict(values['supercell'] | {'seed': seed})
    seed = derive_seed(values['seed'], temperature.value, 'structure', 0)
    plan['structure'] = orm.Dict(values['structure'] | {'seed': seed})
    plan['fit'] = orm.Dict(
        with_jump_lengths(values['fit'], host)
        | {
            'start_spacing_ps': None if values['independent_replicas'] else values['starts']['minimum_spacing_ps'],
            'target_relative_interval': values['target_relative_interval'],
            'looks': len(looks),
        }
    )
    plan['looks'] = orm.Dict({'runs': looks})
    return plan | {name: orm.Dict(values[name]) for name in ('volume', 'starts')}


def with_jump_lengths(fit: Mapping[str, Any], host: orm.StructureData) -> dict[str, Any]:
    """Return settings of the fit with the lengths of jumps in the lattice of the host in place of null."""
    if None not in (fit['jump_threshold'], fit['jump_length']):
        return dict(fit)
    atoms = host.get_ase()
    a, _, c = np.linalg.norm(unit_cell(atoms.cell.array, atoms.positions), axis=1)
    lengths = dict(zip(('jump_threshold', 'jump_length'), cage_lengths(a, c), strict=True))
    return {name: lengths.get(name) if value is None else value for name, value in fit.items()}


def diffusion_settings_message(settings: Mapping[str, Any]) -> str | None:
    """Return a message about a fault in the settings, or None; the engine checks the user's INCAR tags."""
    own = {
        stage: without(settings[stage], INCAR) for stage in ENSEMBLE_KEYS if isinstance(settings.get(stage), Mapping)
    }
    return complete_message(dict(settings) | own, DIFFUSION_SETTINGS, 'settings')


def replicas_message(settings: dict[str, Any]) -> str | None:
    """Return a message about a fault in the number of replicas or the requested precision, or None."""
    starts = 1 if settings['independent_replicas'] else settings['n_replicas']
    if settings['starts']['count'] != starts:
        return (
            f'settings: starts: count = {settings["starts"]["count"]}, but each NVT run starts {starts} of the '
            f'{settings["n_replicas"]} replicas (independent_replicas).'
        )
    target, most = settings['target_relative_interval'], settings['max_time_ps']
    if (target is None) != (most is None):
        return 'settings: target_relative_interval and max_time_ps go together: give both or neither.'
    if target is None:
        return None
    if most < first_time_ps(settings) * (1 - 1e-9):
        return f'settings: max_time_ps = {most}: the first look takes {first_time_ps(settings):g} ps of all replicas.'
    return None


def looks_of(settings: dict[str, Any]) -> int:
    """Return the largest number of looks at D."""
    most = settings['max_time_ps']
    return 1 if most is None else count_looks(first_time_ps(settings), most)


def first_time_ps(settings: dict[str, Any]) -> float:
    """Return the time of all replicas together at the first look."""
    return settings['n_replicas'] * settings['nve']['steps'] * settings['nve']['time_step_fs'] / PS_IN_FS


def runs_of_look(settings: dict[str, Any], look: int) -> list[str]:
    """Return the names of the NVT and NVE runs that a look adds to earlier looks."""
    independent = settings['independent_replicas']
    replicas, length = growth(look, independent)
    before, length_before = growth(look - 1, independent) if look else (0, 1)
    new = range(settings['n_replicas'] * before, settings['n_replicas'] * replicas)
    nvt = [f'nvt_{index}' for index in new] if independent else ['nvt_0'] * (look == 0)
    longer = [f'nve_{index}_look{look}' for index in range(settings['n_replicas'] * before) if length > length_before]
    return [*nvt, *(f'nve_{index}' for index in new), *longer]


def plan_run(settings: dict[str, Any], temperature_k: float, name: str, looks: list[list[str]]) -> dict[str, Any]:
    """Return the MD parameters of a run, by its name."""
    stage, _, number = name.partition('_')
    index, _, look = number.partition('_look')
    seed = derive_seed(settings['seed'], temperature_k, stage, int(index or 0), *map(int, [look] if look else []))
    parameters = settings[stage] | {'temperature_k': temperature_k, 'seed': seed, 'first_step': 0, 'ensemble': stage}
    if stage == 'nve':
        parameters |= steps_of_look(settings, next(k for k, names in enumerate(looks) if name in names), bool(look))
    return parameters


def steps_of_look(settings: dict[str, Any], look: int, longer: bool) -> dict[str, int]:
    """Return first step and number of steps of a replica that begins or continues at a look."""
    steps, independent = settings['nve']['steps'], settings['independent_replicas']
    first = growth(look - 1, independent)[1] * steps if longer else 0
    return {'first_step': first, 'steps': growth(look, independent)[1] * steps - first}


def derive_seed(seed: int, temperature_k: float, stage: str, *indices: int) -> int:
    """Return a seed below 900 million for one run; the same run always gets the same seed."""
    words: list[Any] = [seed, round(temperature_k * 1000), *stage.encode(), *indices]
    return int(np.random.SeedSequence(words).generate_state(1)[0]) % 899_999_999 + 1
