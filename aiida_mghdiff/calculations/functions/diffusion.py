"""Diffusion coefficient of the tracers of several runs at one temperature."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.functions.refusals import SegmentsError, SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.validation import IS_NOT_NEGATIVE, IS_POSITIVE, optional
from aiida_mghdiff.data.tracers import TracerTrajectoryData
from aiida_mghdiff.science.diffusion import Diffusion, Replica, TooShortError, analyse_replica, combine_replicas
from aiida_mghdiff.science.lattice import cell_heights
from aiida_mghdiff.science.msd import remove_drift
from aiida_mghdiff.science.units import ANGSTROM2_PER_PS_IN_M2_PER_S, PS_IN_FS

FIT_SETTINGS = {
    'fit_start_ps': IS_NOT_NEGATIVE,
    'fit_end_ps': IS_POSITIVE,
    'jump_threshold': IS_POSITIVE,
    'jump_length': IS_POSITIVE,
    'jump_averaging_ps': IS_NOT_NEGATIVE,
    'start_spacing_ps': optional(IS_NOT_NEGATIVE),
}
STORED_LAGS = 2000
_KEY = re.compile(r'r(\d+)_s(\d+)')


@refusing(SettingsError, SegmentsError, TooShortError)
@calcfunction
def diffusion_coefficient(settings: orm.Dict, **segments: TracerTrajectoryData) -> dict[str, orm.Data]:
    """Return ``diffusion`` (Dict) and ``msd`` (arrays) of all replicas together; see ``science.diffusion``.

    A D that does not exist (no jumps) is null, and so are its errors; then there is an upper bound.

    Arrays of ``msd``, for r replicas: ``lag_times_ps`` [l], ``msd`` [r,l,3] in Å² (mean over tracers, along each axis),
    ``slopes`` [r,3] in Å²/ps and ``intercepts`` [r,3] in Å². Lags reach to half the shortest run, or the end of the
    fit, at most 2000 of them.

    :param settings: ``fit_start_ps`` and ``fit_end_ps``, first and last lag of the fit; ``jump_threshold`` in Å between
        the longest hop within a cage and the shortest out of it; ``jump_length`` in Å for the upper bound;
        ``jump_averaging_ps``, over which vibrations are averaged out before jumps are counted; ``start_spacing_ps``,
        the time between the starts of replicas that one run gave, null where each replica has a start of its own.
    :param segments: by keys ``r<replica>_s<index>``; the segments of a replica follow each other without gaps.
    """
    values = read_settings(settings, FIT_SETTINGS)
    if values['fit_start_ps'] >= values['fit_end_ps']:
        raise SettingsError('fit_start_ps must be less than fit_end_ps.')
    runs = group_segments(segments)
    replicas = [analyse_run(run, values) for run in runs]
    if len({replica.frame_interval_ps for replica in replicas}) > 1:
        raise SegmentsError('the replicas differ in the time between frames: record all at the same interval.')
    temperatures = [run_temperature(run) for run in runs]
    combined = combine_replicas(replicas, values['jump_length'])
    warnings = combined.warnings + shared_start_warnings(values['start_spacing_ps'], combined, len(replicas))
    results = describe(combined, replicas) | {
        'warnings': warnings,
        'replica_temperatures_k': temperatures,
        'temperature_k': float(np.mean(temperatures)),
        'fit_window_ps': [values['fit_start_ps'], values['fit_end_ps']],
    }
    return {'diffusion': orm.Dict(results), 'msd': orm.ArrayData(msd_arrays(replicas, values['fit_end_ps']))}


def shared_start_warnings(spacing_ps: float | None, diffusion: Diffusion, replicas: int) -> list[str]:
    """Return the warning that replicas share one arrangement of tracers, where their starts are too close in time.

    :param spacing_ps: time between the starts, None where each replica has a start of its own.
    """
    residence = diffusion.residence_time_ps
    if spacing_ps is None or replicas == 1 or (residence is not None and spacing_ps >= residence):
        return []
    time = 'longer than the runs' if residence is None else f'{residence:.3g} ps'
    return [
        f'the replicas start {spacing_ps:g} ps apart in one run, but the residence time is {time}: they share one '
        'arrangement of tracers, and no interval knows it. Give each replica its own (independent_replicas).'
    ]


def group_segments(segments: Mapping[str, TracerTrajectoryData]) -> list[list[TracerTrajectoryData]]:
    """Return the segments of each replica in order.

    :raises SegmentsError: for no segment, a key of another form, or segments that do not follow each other.
    """
    runs: dict[int, list[TracerTrajectoryData]] = defaultdict(list)
    if unknown := [key for key in segments if not _KEY.fullmatch(key)]:
        raise SegmentsError(f'{", ".join(unknown)}: keys of segments must have the form r<replica>_s<index>.')
    if not segments:
        raise SegmentsError('there are none: give at least one, by the key r0_s0.')
    for key in sorted(segments, key=lambda key: tuple(map(int, _KEY.fullmatch(key).groups()))):
        runs[int(_KEY.fullmatch(key)[1])].append(segments[key])
    for replica, run in runs.items():
        check_run(replica, run)
    return list(runs.values())


def check_run(replica: int, run: list[TracerTrajectoryData]) -> None:
    """Refuse segments that are not one run at constant volume without gaps.

    :raises SegmentsError: naming the replica.
    """
    names = ('stride', 'time_step_fs', 'n_tracers', 'tracer_element', 'ensemble')
    if any(len({node.base.attributes.get(name) for node in run}) > 1 for name in names):
        raise SegmentsError(f'the segments of replica {replica} differ in one of {", ".join(names)}.')
    if run[0].base.attributes.get('ensemble') == 'npt':
        raise SegmentsError(f'replica {replica} is an npt run, its cell changes: measure diffusion at constant volume.')
    steps = np.concatenate([node.steps for node in run])
    if np.any(np.diff(steps) != run[0].base.attributes.get('stride')):
        raise SegmentsError(f'the segments of replica {replica} leave a gap or overlap: give all of them, in order.')
    if any(seam(before, after) > min(cell_heights(after.get_array('cell'))) / 2 for before, after in pairwise(run)):
        raise SegmentsError(f'tracers of replica {replica} leap between segments: were the positions wrapped?')


def seam(before: TracerTrajectoryData, after: TracerTrajectoryData) -> float:
    """Return the longest displacement of a tracer in Å from the last frame of a segment to the first of the next."""
    ends = [(node.get_array('tracer_positions'), node.get_array('host_centre')) for node in (before, after)]
    (last, last_centre), (first, first_centre) = ends
    return float(np.linalg.norm(first[0] - first_centre[0] - (last[-1] - last_centre[-1]), axis=-1).max())


def analyse_run(run: list[TracerTrajectoryData], settings: dict[str, Any]) -> Replica:
    """Return the analysis of the joined segments of one replica."""
    attributes = run[0].base.attributes
    positions = np.concatenate([node.get_array('tracer_positions') for node in run])
    centre = np.concatenate([node.get_array('host_centre') for node in run])
    return analyse_replica(
        remove_drift(positions, centre),
        attributes.get('stride') * attributes.get('time_step_fs') / PS_IN_FS,
        (settings['fit_start_ps'], settings['fit_end_ps']),
        settings['jump_threshold'],
        settings['jump_averaging_ps'],
    )


def run_temperature(run: list[TracerTrajectoryData]) -> float:
    """Return the mean temperature of all frames of a run in K."""
    temperatures = [node.base.attributes.get('mean_temperature_k') for node in run]
    return float(np.average(temperatures, weights=[node.base.attributes.get('n_frames') for node in run]))


def describe(diffusion: Diffusion, replicas: list[Replica]) -> dict[str, Any]:
    """Return what the replicas say as plain values, D in m²/s."""
    interval = diffusion.interval
    return {
        'diffusion_coefficient_m2_s': in_si(diffusion.coefficient),
        'sem_m2_s': in_si(diffusion.standard_error),
        'ci95_m2_s': None if interval is None else [in_si(limit) for limit in interval],
        'ci95_from': diffusion.interval_from,
        'relative_error': diffusion.relative_error,
        'relative_error_degrees_of_freedom': diffusion.degrees_of_freedom,
        'diffusing': diffusion.diffusing,
        'upper_bound_m2_s': in_si(diffusion.upper_bound),
        'n_replicas': len(replicas),
        'replica_diffusion_coefficients_m2_s': [in_si(replica.coefficient) for replica in replicas],
        'replica_jump_counts': [int(replica.jumps.sum()) for replica in replicas],
        'jump_count': diffusion.jumps,
        'residence_time_ps': diffusion.residence_time_ps,
        'tracer_count': len(replicas[0].jumps),
        'total_time_ps': sum(replica.duration_ps for replica in replicas),
    }


def in_si(coefficient: float | None) -> float | None:
    """Return a diffusion coefficient in Å²/ps, or none, in m²/s."""
    return None if coefficient is None else coefficient * ANGSTROM2_PER_PS_IN_M2_PER_S


def msd_arrays(replicas: list[Replica], fit_end_ps: float) -> dict[str, np.ndarray]:
    """Return the displacements of all replicas on common, thinned lags, and their fits."""
    interval, frames = replicas[0].frame_interval_ps, min(len(replica.msd) for replica in replicas)
    count = min(frames, max(frames // 2, int(np.ceil(fit_end_ps / interval)) + 1))
    lags = np.arange(0, count, -(-count // STORED_LAGS))
    return {
        'lag_times_ps': lags * interval,
        'msd': np.stack([replica.msd[lags] for replica in replicas]),
        'slopes': np.stack([replica.slope for replica in replicas]),
        'intercepts': np.stack([replica.intercept for replica in replicas]),
    }
