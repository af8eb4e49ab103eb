"""Text of ML_LOGFILE: for each step, the decision and the Bayesian errors."""

from __future__ import annotations

import numpy as np

from aiida_mghdiff.executables.vasp_standin.incar_tags import Learning
from aiida_mghdiff.executables.vasp_standin.learner import BayesianErrors, Errors
from aiida_mghdiff.executables.vasp_standin.sampling import State
from aiida_mghdiff.formats.outcar import standin_mark

_FENCE = '-' * 80
_COLUMNS = {
    'STATUS': 'nstep state is doabin iff nsample ngenff',
    'LCONF': 'nstep el nlrc_old nlrc_new',
    'SPRSC': 'nstep nstr_old nstr_new',
    'ERR': 'nstep rmse_energy rmse_force rmse_stress',
    'BEEF': 'nstep bee_energy bee_max_force bee_ave_force threshold bee_max_stress bee_ave_stress',
    'THRHIST': 'nstep i value',
    'THRUPD': 'nstep ctifor_prev ctifor_new',
    'SFF': 'nstep sfmax sfmin sfmean sfvar threshold',
}


def head(labelled_by: str, learning: Learning, limits: tuple[int, int], n_stored: int, memory_mb: float) -> str:
    """Return the sections before the main loop.

    :param limits: largest numbers of configurations, and of references of an element.
    """
    settings = {
        'Operation mode': (learning.mode, 'ML_MODE'),
        'Threshold of the Bayesian error (eV/Ang)': (learning.ctifor, 'ML_CTIFOR'),
        'Update of the threshold': (learning.criteria, 'ML_ICRITERIA'),
        'Factor of the update': (learning.cx, 'ML_CX'),
        'Length of the history': (learning.history, 'ML_MHIS'),
        'Factor of a critical error': (learning.cdoub, 'ML_CDOUB'),
        'Least interval of samples': (learning.least_interval, 'ML_NMDINT'),
        'Configurations learned together': (learning.new_configurations, 'ML_MCONF_NEW'),
        'Maximum number of configurations': (limits[0], 'ML_MCONF'),
        'Maximum number of local reference configurations': (limits[1], 'ML_MB'),
    }
    lines = [_title('MEMORY INFORMATION'), standin_mark(labelled_by), '']
    lines += [f'Total memory consumption : {memory_mb:12.1f}', '', _title('MACHINE LEARNING SETTINGS'), '']
    lines += [f'{name:50} : {value!s:>12} (I) {tag}' for name, (value, tag) in settings.items()]
    if n_stored:
        lines += ['', _title('AVAILABLE AB INITIO DATA'), '']
        lines += [f'Number of stored (maximum) ab initio structures: {n_stored:8d} ( {limits[0]:8d})']
    lines += ['', _title('MAIN LOOP'), '']
    for key, columns in _COLUMNS.items():
        numbers = ' '.join(map(str, range(2, len(columns.split()) + 2)))
        lines += [f'# {key} {columns}', f'# {key} {numbers}']
    return '\n'.join(lines) + '\n'


def _title(name: str) -> str:
    return f'* {name} '.ljust(100, '*')


def status(step: int, state: State, is_dft: bool, has_force_field: bool, n_waiting: int, n_steps: int) -> str:
    """Return the line of a step; ``n_waiting`` configurations are sampled but not learned yet."""
    flags = ' '.join('T' if flag else 'F' for flag in (is_dft, has_force_field))
    return f'STATUS {step:12d} {state.name.lower():9} {int(state):3d} {flags} {n_waiting:6d} {n_steps:6d}'


def bayesian_errors(step: int, errors: BayesianErrors, threshold: float) -> str:
    """Return the line of the Bayesian errors."""
    values = (errors.energy, errors.max_force, errors.mean_force, threshold)
    return _numbers('BEEF', step, (*values, errors.max_stress_kbar, errors.mean_stress_kbar))


def learned(step: int, errors: Errors, sizes: dict[str, tuple[int, int]], configurations: tuple[int, int]) -> list[str]:
    """Return the lines of a learning step: sizes before and after, errors on all configurations."""
    words = ' '.join(f'{symbol:2} {old:6d} {new:6d}' for symbol, (old, new) in sizes.items())
    return [
        f'LCONF {step:12d} {words}',
        f'SPRSC {step:12d} {configurations[0]:8d} {configurations[1]:8d} {words}',
        _numbers('ERR', step, (errors.energy, errors.force, errors.stress_kbar)),
    ]


def threshold_update(step: int, before: float, after: float, history: list[float]) -> list[str]:
    """Return the lines of a change of the threshold."""
    lines = [f'THRHIST {step:12d} {index:4d} {value:16.8E}' for index, value in enumerate(history, 1)]
    return [*lines, _numbers('THRUPD', step, (before, after))]


def spilling(step: int, factors: np.ndarray) -> str:
    """Return the line of the spilling factors of all atoms; 0.02 is VASP's threshold."""
    return _numbers('SFF', step, (factors.max(), factors.min(), factors.mean(), factors.var(), 0.02))


def block(lines: list[str]) -> str:
    """Return the lines of a step between fences."""
    return '\n'.join([_FENCE, *lines]) + '\n'


def end(seconds: float) -> str:
    """Return the last section."""
    return (
        '\n'.join([_FENCE, _title('TIMING INFORMATION'), '', f'Total time (s) : {seconds:16.3f}', _title('END')]) + '\n'
    )


def _numbers(key: str, step: int, values: tuple[float, ...]) -> str:
    return f'{key} {step:12d} ' + ' '.join(f'{value:16.8E}' for value in values)
