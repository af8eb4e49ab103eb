"""Check settings of a diffusion run before the first job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from aiida import orm

from aiida_mghdiff.calculations.exit_codes import SettingsError
from aiida_mghdiff.calculations.functions.diffusion import read_fit_settings
from aiida_mghdiff.data.architectures import architectures
from aiida_mghdiff.science.least_squares import lags_inside
from aiida_mghdiff.science.positions import TooShortError
from aiida_mghdiff.science.sampling import TooFewFramesError, select_starts
from aiida_mghdiff.science.units import PS_IN_FS

STAGES = ('npt', 'nvt', 'nve')
#: Keys that the plan of a run adds to the settings of the fit and to the parameters of each MD run, and lengths that it
#: takes from the host.
PLANNED_FIT = {
    'start_spacing_ps': None,
    'target_relative_interval': None,
    'looks': 1,
    'jump_threshold': 1.0,
    'jump_length': 1.0,
}
PLANNED_RUN = {'temperature_k': 300.0, 'seed': 1, 'first_step': 0}


def length_messages(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield messages about runs that are too short for their analyses."""
    starts, fit = settings['starts'], settings['fit']
    times = times_of(settings['nvt'], 'frame_stride')
    try:
        select_starts(times, np.zeros(len(times)), **starts)
    except TooFewFramesError as error:
        yield f'settings: nvt: {error}'
    try:
        read_fit_settings(orm.Dict(fit | PLANNED_FIT))
        lags_inside(times_of(settings['nve'], 'tracer_stride'), (fit['fit_start_ps'], fit['fit_end_ps']))
    except SettingsError as error:
        yield f'settings: fit: {error}'
    except TooShortError as error:
        yield f'settings: nve: {error}'


def dtype_messages(settings: Mapping[str, Any], architecture: str | None) -> Iterator[str]:
    """Yield messages about runs with a floating-point type in which no potential of an architecture computes."""
    known = architectures().get(architecture or '')
    if known is None:
        return
    for stage in STAGES:
        if message := known.dtype_message(settings[stage]['dtype']):
            yield message.replace('parameters', f'settings: {stage}', 1)


def times_of(parameters: Mapping[str, Any], stride: str) -> np.ndarray:
    """Return the times [f] in ps at which a run records frames or values."""
    return np.arange(0, parameters['steps'] + 1, parameters[stride]) * parameters['time_step_fs'] / PS_IN_FS
