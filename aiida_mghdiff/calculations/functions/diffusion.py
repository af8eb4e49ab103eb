"""Diffusion coefficient of the tracers of several runs at one temperature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from scipy import stats

from aiida_mghdiff.calculations.exit_codes import SegmentsError, SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.functions.replicas import Replica, group_segments
from aiida_mghdiff.calculations.validation import IS_COUNT, IS_NOT_NEGATIVE, IS_POSITIVE, one_of, optional
from aiida_mghdiff.data.results import Along, Axes, Collective, DiffusionResults, Estimate, Motion, Precision, Runs
from aiida_mghdiff.data.tracers import TracerTrajectoryData
from aiida_mghdiff.science.cages import count_jumps
from aiida_mghdiff.science.diffusion import METHODS, DiffusionEstimate, estimate_diffusion, upper_bound
from aiida_mghdiff.science.intervals import Mean, interval_warnings, mean_of_replicas
from aiida_mghdiff.science.lattice.crystals import has_cubic_shape
from aiida_mghdiff.science.least_squares import coefficients_by_window, einstein_fit, log_log_slope
from aiida_mghdiff.science.msd import (
    collective_mean_squared_displacement,
    haven_ratio,
    mean_squared_displacement,
)
from aiida_mghdiff.science.positions import PositionsError, TooShortError
from aiida_mghdiff.science.precision import confidence_of_look
from aiida_mghdiff.science.units import ANGSTROM2_PER_PS_IN_M2_PER_S

FIT_SETTINGS = {
    'method': one_of(*METHODS),
    'fit_start_ps': IS_NOT_NEGATIVE,
    'fit_end_ps': IS_POSITIVE,
    'lag_ps': optional(IS_POSITIVE),
    'c_axis': optional(one_of('a', 'b', 'c')),
    'jump_threshold': IS_POSITIVE,
    'jump_length': IS_POSITIVE,
    'jump_averaging_ps': IS_NOT_NEGATIVE,
    'start_spacing_ps': optional(IS_NOT_NEGATIVE),
    'target_relative_interval': optional(IS_POSITIVE),
    'looks': IS_COUNT,
}
STORED_LAGS = 2000
WINDOWS = 20


@dataclass(frozen=True)
class FittedReplica:
    """The displacements of the n tracers of a replica, f frames, and the window of the fit."""

    name: str
    positions: np.ndarray  # [f,n,3] Å, without drift of the host, z along the c axis if it is known
    cell: np.ndarray  # [3,3] Å, in the frame of the positions
    frame_time_ps: float
    window: tuple[float, float]
    jumps: int
    temperature_k: float

    @cached_property
    def msd(self) -> np.ndarray:
        """Return the mean squared displacement [f,n,3] in Å²."""
        return mean_squared_displacement(self.positions)

    @cached_property
    def collective_msd(self) -> np.ndarray:
        """Return the mean squared displacement [f,3] of the sum of all tracers, divided by their number."""
        return collective_mean_squared_displacement(self.positions)

    @cached_property
    def line(self) -> tuple[np.ndarray, np.ndarray]:
        """Return slope [3] in Å²/ps and intercept [3] in Å² of the line through the mean over tracers."""
        return self.fit(self.msd.mean(axis=1))

    def fit(self, msd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return slopes and intercepts of displacements [f,...] in the window."""
        return einstein_fit(self.frame_time_ps * np.arange(len(msd)), msd, self.window)

    @property
    def duration_ps(self) -> float:
        """Return the time from the first to the last frame."""
        return self.frame_time_ps * (len(self.positions) - 1)


@refusing(SettingsError, SegmentsError, TooShortError, PositionsError)
@calcfunction
def diffusion_coefficient(settings: orm.Dict, **segments: TracerTrajectoryData) -> dict[str, orm.Data]:
    """Return ``diffusion`` (Dict) and ``msd`` (arrays) of all replicas together; see ``science.diffusion``.

    ``method`` of the result is the estimator of D. If runs are too short for the automatic estimate, or if it is known
    to be wrong, least squares gives D, and ``warnings`` say so. ``estimates`` has D by all methods for which the runs
    are long enough. Without jumps, D, its errors and its interval are null, and the result has an upper bound. D along
    an axis and D of all tracers together are null if the fit is not positive. Both limits of an interval of D are
    positive (``science.intervals``).

    Arrays of ``msd``, for r replicas: ``lag_times_ps`` [l], ``msd`` [r,l,3] in Å² (mean over tracers, along each axis),
    ``collective_msd`` [r,l,3] in Å² (of the sum of all tracers, divided by their number), ``slopes`` [r,3] in Å²/ps and
    ``intercepts`` [r,3] in Å². Lags reach to half the shortest run, or to the end of the fit, with at most 2000 lags.
    D by least squares against the end of the window: ``window_ends_ps``, ``window_coefficients`` and their errors over
    tracers ``window_errors`` [w] in Å²/ps.

    :param settings: ``method`` (of ``science.diffusion``); ``fit_start_ps`` and ``fit_end_ps``, first and last lag of
        the fit by least squares; ``lag_ps`` of generalised least squares, null without this method; ``c_axis``, the
        cell vector along the c axis of a hexagonal host, null for other hosts; ``jump_threshold`` in Å between the
        longest hop within a cage and the shortest hop out of it; ``jump_length`` in Å for the upper bound;
        ``jump_averaging_ps``, time over which positions are averaged to remove vibrations before jumps are counted;
        ``start_spacing_ps``, time between the starts of replicas from one run, null if each replica has a separate
        start; ``target_relative_interval``, wanted half width of the interval divided by D, or null; ``looks``, largest
        number of looks at the interval: each look has a confidence such that the last one covers 95 %
        (``science.precision``).
    :param segments: by keys ``r<replica>_s<index>``; the segments of a replica follow each other without gaps.
    """
    values = read_fit_settings(settings)
    axis_warnings = leave_out_axis(values, segments)
    replicas = fit_replicas(segments, values)
    estimates = estimate_all(replicas, values)
    results: DiffusionResults = {
        **estimate_results(estimates[values['method']]),
        **run_results(replicas, estimates[values['method']], values['jump_length']),
        **motion_results(replicas, estimates[values['method']].diffusing),
        **precision_results(estimates[values['method']], values),
        **axis_results(estimates[values['method']], values['c_axis']),
        'estimates': {
            method: estimate_results(estimate) for method, estimate in estimates.items() if estimate.diffusing
        },
        'fit_window_ps': [values['fit_start_ps'], values['fit_end_ps']],
        'lag_ps': values['lag_ps'],
    }
    spacing, residence = values['start_spacing_ps'], results['residence_time_ps']
    results['warnings'] += interval_warnings(without_interval(results)) + axis_warnings
    results['warnings'] += shared_start_warnings(spacing, residence, len(replicas))
    return {'diffusion': orm.Dict(dict(results)), 'msd': orm.ArrayData(msd_arrays(replicas))}


def read_fit_settings(settings: orm.Dict) -> dict[str, Any]:
    """Return the settings.

    :raises SettingsError: for a missing, unknown or invalid key, a window that ends before it starts, or a missing lag.
    """
    values = read_settings(settings, FIT_SETTINGS)
    if values['fit_start_ps'] >= values['fit_end_ps']:
        raise SettingsError('fit_start_ps must be less than fit_end_ps.')
    if values['method'] == 'gls' and values['lag_ps'] is None:
        raise SettingsError('lag_ps is null, but the method gls needs a lag.')
    return values


def leave_out_axis(settings: dict[str, Any], segments: Mapping[str, TracerTrajectoryData]) -> list[str]:
    """Set ``c_axis`` of the settings to null if the host is cubic; return a warning about this."""
    cells = [node.get_array('cell') for node in segments.values() if 'cell' in node.get_arraynames()]
    if settings['c_axis'] is None or not any(map(has_cubic_shape, cells)):
        return []
    settings['c_axis'] = None
    return ['the cell is of a cubic host without a c axis: D along a and along c is left out (set c_axis to null).']


def fit_replicas(segments: Mapping[str, TracerTrajectoryData], settings: dict[str, Any]) -> list[FittedReplica]:
    """Return the runs, each joined from its segments.

    :raises SegmentsError: for segments that do not form runs recorded in the same way.
    """
    runs = group_segments(segments)
    replicas = [fit_replica(Replica(run, number=number), settings) for number, run in runs.items()]
    if len({replica.frame_time_ps for replica in replicas}) > 1:
        raise SegmentsError('the replicas differ in the time between frames: record all at the same interval.')
    return replicas


def estimate_all(replicas: list[FittedReplica], settings: dict[str, Any]) -> dict[str, DiffusionEstimate]:
    """Return the estimates by method for which the runs are long enough; the requested method is required.

    If the runs are too short for the automatic estimate, least squares replaces it.

    :raises TooShortError: if the runs are too short for the window or the requested method.
    """
    jumps = sum(replica.jumps for replica in replicas)
    estimates: dict[str, DiffusionEstimate] = {}
    for method in METHODS if settings['lag_ps'] else ('least-squares', 'automatic'):
        try:
            estimates[method] = estimate_diffusion(
                [replica.positions for replica in replicas],
                replicas[0].frame_time_ps,
                method=method,
                window_ps=(settings['fit_start_ps'], settings['fit_end_ps']),
                lag_ps=settings['lag_ps'],
                jumps=jumps,
                confidence=confidence_of_look(settings['looks']),
                cells=[replica.cell for replica in replicas],
                names=[replica.name for replica in replicas],
            )
        except TooShortError as error:
            if method == 'least-squares' or method == settings['method'] == 'gls':
                raise
            if method == settings['method']:
                doubts = (f'{error} Least squares gives D instead.',)
                estimates[method] = replace(estimates['least-squares'], doubts=doubts)
    return estimates


def without_interval(results: DiffusionResults) -> list[str]:
    """Return the keys of positive results without an interval; estimates warn about their own D themselves."""
    keys = {'d_ab_m2_s': 'd_ab_ci95_m2_s', 'haven_ratio': 'haven_ratio_ci95'}
    keys |= {'collective_diffusion_coefficient_m2_s': 'collective_ci95_m2_s'}
    values: Mapping[str, Any] = results
    return [key for key, limits in keys.items() if values[key] is not None and values[limits] is None]


def shared_start_warnings(spacing_ps: float | None, residence: float | None, replicas: int) -> list[str]:
    """Return a warning if replicas share one arrangement of tracers, because their starts are too close in time.

    :param spacing_ps: time between the starts; None if each replica has a separate start.
    :param residence: mean time between jumps of a tracer in ps, None without jumps.
    """
    if spacing_ps is None or replicas == 1 or (residence is not None and spacing_ps >= residence):
        return []
    time = 'longer than the runs' if residence is None else f'{residence:.3g} ps'
    return [
        f'the replicas start {spacing_ps:g} ps apart in one run, but the residence time is {time}: they share one '
        'arrangement of tracers, which no interval includes. Give each replica its own (independent_replicas).'
    ]


def fit_replica(run: Replica, settings: dict[str, Any]) -> FittedReplica:
    """Return the displacements of one replica, with z along the c axis if there is one."""
    positions, axis = run.drift_free_positions, settings['c_axis']
    block = max(1, round(settings['jump_averaging_ps'] / run.frame_interval_ps))
    rotation = np.eye(3) if axis is None else frame_along(run.cell, axis)
    return FittedReplica(
        name=run.name,
        positions=positions @ rotation,
        cell=run.cell @ rotation,
        frame_time_ps=run.frame_interval_ps,
        window=(settings['fit_start_ps'], settings['fit_end_ps']),
        jumps=int(count_jumps(positions, settings['jump_threshold'], block).sum()),
        temperature_k=run.temperature_k,
    )


def frame_along(cell: np.ndarray, name: str) -> np.ndarray:
    """Return the rotation [3,3] that, multiplied from the right, turns the named cell vector along z.

    The other axes, and signs, follow from the other cell vectors; signs do not matter for squared displacements.
    """
    order = np.roll(cell, -'abc'.index(name), axis=0)
    return np.linalg.qr(order.T)[0][:, [1, 2, 0]]


def estimate_results(estimate: DiffusionEstimate) -> Estimate:
    """Return one estimate as plain values, D in m²/s."""
    return {
        'method': estimate.method,
        'diffusing': estimate.diffusing,
        'diffusion_coefficient_m2_s': in_si(estimate.value),
        'sem_m2_s': in_si(estimate.standard_error),
        'ci95_m2_s': interval_in_si(estimate.interval),
        'ci95_from': estimate.interval_from,
        'ci95_degrees_of_freedom': estimate.degrees_of_freedom,
        'relative_error': estimate.relative_error,
        'relative_error_degrees_of_freedom': len(estimate.tracers) - 1,
        'per_axis_m2_s': in_si(estimate.per_axis),
        'per_axis_ci95_m2_s': (
            [along_axes(estimate, axis)['ci95_m2_s'] for axis in range(3)] if estimate.diffusing else None
        ),
        'per_axis_errors_m2_s': in_si(estimate.per_axis_errors),
        'warnings': estimate.warnings,
    }


def along_axes(estimate: DiffusionEstimate, *axes: int) -> Along:
    """Return D along some of the axes with its interval and error; null if the fitted value is not positive."""
    mean = estimate.mean_along(*axes)
    known = estimate.diffusing and mean.value > 0
    return {
        'm2_s': in_si(mean.value) if known else None,
        'ci95_m2_s': interval_in_si(mean.interval(estimate.confidence)) if known else None,
        'error_m2_s': in_si(mean.standard_error) if known else None,
    }


def precision_results(estimate: DiffusionEstimate, settings: dict[str, Any]) -> Precision:
    """Return the relative width of the interval, and whether it reaches the target; null without D."""
    target, reached = settings['target_relative_interval'], estimate.relative_interval
    return {
        'reached_relative_interval': reached,
        'target_relative_interval': target,
        'target_reached': None if target is None else reached is not None and reached <= target,
        'looks': settings['looks'],
    }


def axis_results(estimate: DiffusionEstimate, c_axis: str | None) -> Axes:
    """Return D in the basal plane and along c with their intervals and errors, each a number or null."""
    ab = c = Along(m2_s=None, ci95_m2_s=None, error_m2_s=None)
    if c_axis is not None:
        ab, c = along_axes(estimate, 0, 1), along_axes(estimate, 2)
    return {
        'd_ab_m2_s': ab['m2_s'],
        'd_ab_ci95_m2_s': ab['ci95_m2_s'],
        'd_ab_error_m2_s': ab['error_m2_s'],
        'd_c_m2_s': c['m2_s'],
        'd_c_ci95_m2_s': c['ci95_m2_s'],
        'd_c_error_m2_s': c['error_m2_s'],
    }


def run_results(replicas: list[FittedReplica], estimate: DiffusionEstimate, jump_length: float) -> Runs:
    """Return the size of the runs, their jumps, and D of each.

    :param jump_length: jump length in Å of the upper bound.
    """
    temperatures = [replica.temperature_k for replica in replicas]
    jumps, tracer_time = estimate.jumps, estimate.tracer_time_ps
    return {
        'n_replicas': len(replicas),
        'tracer_count': replicas[0].positions.shape[1],
        'total_time_ps': sum(replica.duration_ps for replica in replicas),
        'temperature_k': float(np.mean(temperatures)),
        'replica_temperatures_k': temperatures,
        'replica_diffusion_coefficients_m2_s': [
            in_si(one.mean()) if estimate.diffusing and one.mean() > 0 else None for one in estimate.coefficients
        ],
        'replica_ci95_m2_s': [interval_in_si(limits) for limits in estimate.replica_intervals()],
        'replica_jump_counts': [replica.jumps for replica in replicas],
        'jump_count': jumps,
        'residence_time_ps': tracer_time / jumps if jumps else None,
        'upper_bound_m2_s': None if estimate.diffusing else in_si(upper_bound(jumps, jump_length, tracer_time)),
    }


def motion_results(replicas: list[FittedReplica], diffusing: bool) -> Motion:
    """Return growth of the displacement and collective motion of tracers; the latter is None without diffusion."""
    slopes = [
        log_log_slope(replica.msd.mean(axis=1).sum(axis=-1), replica.frame_time_ps, replica.window)
        for replica in replicas
    ]
    return {
        'log_log_slope': float(np.mean(slopes)),
        'log_log_slope_error': float(stats.sem(slopes)) if len(slopes) > 1 else None,
        **collective_results(replicas, diffusing),
    }


def collective_results(replicas: list[FittedReplica], diffusing: bool) -> Collective:
    """Return D of all tracers together and the Haven ratio with their intervals; null if D is not positive.

    The samples are the axes of the replicas: displacements along them are uncorrelated.
    """
    tracer = np.stack([replica.line[0] for replica in replicas]) / 2
    collective = np.stack([replica.fit(replica.collective_msd)[0] for replica in replicas]) / 2
    mean = mean_of_replicas([collective.ravel()], 0.0)
    ratio = error = limits = None
    known = diffusing and mean.value > 0
    if known and replicas[0].positions.shape[1] > 1 and tracer.mean() > 0:
        ratio, error = haven_ratio(tracer, collective)
        limits = Mean(ratio, error, collective.size - 1, 'replicas').interval()
    return {
        'collective_diffusion_coefficient_m2_s': in_si(mean.value) if known else None,
        'collective_ci95_m2_s': interval_in_si(mean.interval()) if known else None,
        'haven_ratio': ratio,
        'haven_ratio_ci95': limits and list(limits),
        'haven_ratio_error': error,
    }


def in_si(coefficient: Any) -> Any:
    """Return a diffusion coefficient in Å²/ps, an array of them or None, in m²/s; nan becomes None."""
    if isinstance(coefficient, np.ndarray):
        return [in_si(None if np.isnan(value) else value) for value in coefficient]
    return None if coefficient is None else float(coefficient * ANGSTROM2_PER_PS_IN_M2_PER_S)


def interval_in_si(limits: tuple[float, float] | None) -> list[float] | None:
    """Return an interval in Å²/ps, or None, in m²/s."""
    return None if limits is None else [in_si(limit) for limit in limits]


def msd_arrays(replicas: list[FittedReplica]) -> dict[str, np.ndarray]:
    """Return the displacements of all replicas on common, thinned lags, their fits, and D against the window."""
    frame_time, (start, end) = replicas[0].frame_time_ps, replicas[0].window
    frames = min(len(replica.positions) for replica in replicas)
    count = min(frames, max(frames // 2, int(np.ceil(end / frame_time)) + 1))
    lags = np.arange(0, count, -(-count // STORED_LAGS))
    ends = window_ends(start, (count - 1) * frame_time, frame_time)
    values, errors = coefficients_by_window([replica.msd for replica in replicas], frame_time, start, ends)
    return {
        'lag_times_ps': lags * frame_time,
        'msd': np.stack([replica.msd[lags].mean(axis=1) for replica in replicas]),
        'collective_msd': np.stack([replica.collective_msd[lags] for replica in replicas]),
        'slopes': np.stack([replica.line[0] for replica in replicas]),
        'intercepts': np.stack([replica.line[1] for replica in replicas]),
        'window_ends_ps': ends,
        'window_coefficients': values,
        'window_errors': errors,
    }


def window_ends(start_ps: float, last_ps: float, frame_time_ps: float) -> np.ndarray:
    """Return ends of the fit window in ps, evenly spaced on a logarithmic scale, each some frames after the start."""
    first = min(start_ps + max(5 * frame_time_ps, last_ps / 100), last_ps)
    return np.unique(np.round(np.geomspace(first, last_ps, WINDOWS) / frame_time_ps)) * frame_time_ps
