"""Parameters of MD runs that follow from others: of a segment, and of all runs behind one diffusion coefficient."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.functions.refusals import refusing
from aiida_mghdiff.data.md_state import MdStateData


@refusing()
@calcfunction
def segment_parameters(parameters: orm.Dict, segment_steps: orm.Int, state: MdStateData | None = None) -> orm.Dict:
    """Return the parameters of the next segment of a run.

    :param parameters: those of the whole run.
    :param segment_steps: the most steps that a segment makes.
    :param state: where the last segment ended; None for the first.
    """
    values = parameters.get_dict()
    end = values['first_step'] + values['steps']
    values['first_step'] = values['first_step'] if state is None else state.step
    values['steps'] = min(segment_steps.value, end - values['first_step'])
    return orm.Dict(values)


@refusing()
@calcfunction
def plan_diffusion(settings: orm.Dict, temperature: orm.Float) -> dict[str, orm.Dict]:
    """Return the parameters of all runs behind one diffusion coefficient, each with a seed of its own.

    :param settings: ``seed``, ``n_replicas``, ``independent_replicas``, ``supercell`` (of ``build_supercell``, without
        seed), and ``npt``, ``nvt``, ``nve`` (MD parameters without temperature, seed and first step).
        and ``volume``, ``starts``, ``fit``, ``structure`` (settings of the analyses).
    :returns: ``npt``, ``supercell_<i>`` and ``nvt_<i>`` for each placement of tracers, ``nve_<i>`` for each replica,
        and the settings of the analyses.
    """
    values = settings.get_dict()
    placements = values['n_replicas'] if values['independent_replicas'] else 1
    runs = {'npt': 0, **{f'nvt_{index}': index for index in range(placements)}}
    runs |= {f'nve_{index}': index for index in range(values['n_replicas'])}
    plan = {}
    for name, index in runs.items():
        stage = name.partition('_')[0]
        seed = derive_seed(values['seed'], temperature.value, stage, index)
        common = {'temperature_k': temperature.value, 'seed': seed, 'first_step': 0, 'ensemble': stage}
        plan[name] = orm.Dict(values[stage] | common)
    for index in range(placements):
        seed = derive_seed(values['seed'], temperature.value, 'supercell', index)
        plan[f'supercell_{index}'] = orm.Dict(values['supercell'] | {'seed': seed})
    spacing = None if values['independent_replicas'] else values['starts']['minimum_spacing_ps']
    seed = derive_seed(values['seed'], temperature.value, 'structure', 0)
    plan['structure'] = orm.Dict(values['structure'] | {'seed': seed})
    plan['fit'] = orm.Dict(values['fit'] | {'start_spacing_ps': spacing})
    return plan | {name: orm.Dict(values[name]) for name in ('volume', 'starts')}


def derive_seed(seed: int, temperature_k: float, stage: str, index: int) -> int:
    """Return a seed below 900 million that belongs to one run alone, always the same for the same run."""
    words: list[Any] = [seed, round(temperature_k * 1000), *stage.encode(), index]
    return int(np.random.SeedSequence(words).generate_state(1)[0]) % 899_999_999 + 1
