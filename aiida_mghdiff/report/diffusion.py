"""Sections of the report on diffusion coefficients, activation energies and their limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from scipy import stats

from aiida_mghdiff.report.figures.canvas import scientific, scientific_interval, scientific_with_error
from aiida_mghdiff.report.study import Arrhenius, Diffusion, Study, is_done, output
from aiida_mghdiff.report.tables import (
    DASH,
    NAME,
    NODE,
    TEMPERATURE,
    Column,
    Section,
    Table,
    number,
    number_interval,
    with_error,
)
from aiida_mghdiff.science.intervals import log_interval


def diffusion_section(study: Study) -> Section:
    """Return the section on diffusion coefficients."""
    columns = [NAME, TEMPERATURE, Column('T measured (K)'), Column('D (m²/s)')]
    columns += [Column('95 % interval (m²/s)'), Column('estimator', 'word'), Column('jumps'), Column('replicas'), NODE]
    cells = [
        (
            item.series,
            f'{item.target_temperature_k:g}',
            number(item.results['temperature_k'], '.0f'),
            coefficient(item),
            interval(item.results['ci95_m2_s']),
            item.results['method'],
            item.results['jump_count'],
            item.results['n_replicas'],
            item.results.uuid,
        )
        for item in study.diffusion
    ]
    text = [
        'Tracer diffusion coefficients: mean over the tracers of all replicas, by the estimator in the table. '
        'Least squares fits a straight line with a free intercept to the mean squared displacement relative to the '
        'host, over all time origins in the window of the fit. Intervals are Student’s t on a logarithmic scale. If '
        'no tracer left its cage, the table has an upper bound (95 %) in place of D.'
    ]
    text += [
        f'{call.path[-1]} has no activation energy: fewer than two of its temperatures have a D.'
        for call in study.of_kind('arrhenius')
        if is_done(call) and output(call, 'arrhenius') is None
    ]
    tables = [Table(columns, cells), replica_table(study), estimator_table(study), motion_table(study)]
    tables += [*arrhenius_tables(study), *rate_tables(study)]
    figures = ['frame', 'coefficients', 'msd', 'windows', 'arrhenius', 'rates', 'activation_energies', 'contents']
    return Section('diffusion', 'Diffusion', text, tables=tables, figures=figures)


def interval(limits: Sequence[float] | None) -> str:
    """Return an interval of D as text, or a dash."""
    return DASH if limits is None else scientific_interval(limits)


def replica_table(study: Study) -> Table:
    """Return the table of all replicas."""
    columns = [NAME, TEMPERATURE, Column('replica'), Column('T measured (K)'), Column('D (m²/s)')]
    columns += [Column('95 % interval over its tracers (m²/s)'), NODE]
    keys = ('replica_temperatures_k', 'replica_diffusion_coefficients_m2_s')
    cells = [
        (
            item.series,
            f'{item.target_temperature_k:g}',
            index,
            number(temperature, '.0f'),
            number(value, '.2e'),
            interval(limits),
            item.results.uuid,
        )
        for item in study.diffusion
        for index, (limits, temperature, value) in enumerate(
            zip(replica_intervals(item), *(item.results[key] for key in keys), strict=True)
        )
    ]
    return Table(columns, cells, 'Replicas', folded=True)


def replica_intervals(item: Diffusion) -> Sequence[Sequence[float] | None]:
    """Return the interval of D of each replica, or dashes for results of older versions."""
    return item.results.get('replica_ci95_m2_s', [None] * item.results['n_replicas'])


def estimator_table(study: Study) -> Table:
    """Return the table of D by all estimators for which the runs are long enough."""
    columns = [NAME, TEMPERATURE, Column('estimator', 'word'), Column('D (m²/s)'), Column('95 % interval (m²/s)')]
    columns += [Column('error from', 'text'), Column('warnings', 'long'), NODE]
    cells = [
        (
            item.series,
            f'{item.target_temperature_k:g}',
            method if method != 'gls' else f'gls, lag {item.results["lag_ps"]:g} ps',
            scientific(estimate['diffusion_coefficient_m2_s']),
            interval(estimate['ci95_m2_s']),
            estimate['ci95_from'],
            ' '.join(estimate['warnings']) or DASH,
            item.results.uuid,
        )
        for item in study.diffusion
        for method, estimate in item.results['estimates'].items()
    ]
    return Table(columns, cells, 'D by each estimator', folded=True)


def motion_table(study: Study) -> Table:
    """Return the table of D by direction and of the tracers' collective motion, with 95 % intervals in brackets."""
    columns = [NAME, TEMPERATURE, Column('D in the basal plane (m²/s)'), Column('D along c (m²/s)')]
    columns += [Column('D of all tracers together (m²/s)'), Column('Haven ratio'), Column('log-log slope'), NODE]
    cells = [
        (
            item.series,
            f'{item.target_temperature_k:g}',
            *(along(item, direction) for direction in ('ab', 'c')),
            with_interval(
                item.results['collective_diffusion_coefficient_m2_s'], item.results.get('collective_ci95_m2_s')
            ),
            haven_ratio(item),
            with_error(item.results['log_log_slope'], item.results['log_log_slope_error'], '.2f'),
            item.results.uuid,
        )
        for item in study.diffusion
    ]
    return Table(columns, cells, 'Directions, and tracers together, with 95 % intervals', folded=True)


def along(item: Diffusion, direction: str) -> str:
    """Return D in the basal plane (ab) or along c with its interval as text; older versions stored an error only."""
    value, limits, error = (item.results.get(f'd_{direction}{key}_m2_s') for key in ('', '_ci95', '_error'))
    if value is not None and limits is None and error:
        return scientific_with_error(value, error)
    return with_interval(value, limits)


def with_interval(value: float | None, limits: Sequence[float] | None) -> str:
    """Return a D with its interval as text, or a dash; older versions did not store all intervals."""
    if value is None:
        return DASH
    return scientific(value) + ('' if limits is None else f' ({scientific_interval(limits)})')


def haven_ratio(item: Diffusion) -> str:
    """Return the Haven ratio with its interval as text; older versions stored an error only."""
    value, limits = item.results['haven_ratio'], item.results.get('haven_ratio_ci95')
    if limits is None:
        return with_error(value, item.results['haven_ratio_error'], '.2f')
    return f'{number(value, ".2f")} ({number_interval(limits, ".2f")})'


def arrhenius_tables(study: Study) -> Iterable[Table]:
    """Yield the tables of activation energies and of D on the fitted lines, if there are any."""
    if not study.arrhenius:
        return
    columns = [NAME, Column('activation energy (eV)'), Column('95 % interval (eV)'), Column('prefactor (m²/s)')]
    columns += [
        Column('95 % interval (m²/s)'),
        Column('temperatures (K)', 'text'),
        Column('left out (K)', 'text'),
        NODE,
    ]
    cells = [
        (
            fit.series,
            number(fit.results['activation_energy_ev'], '.3f'),
            number_interval(fit.results['ci95_ev'], '.3f'),
            scientific(fit.results['prefactor_m2_s']),
            interval(prefactor_interval(fit)),
            ', '.join(f'{value:.0f}' for value in fit.results['temperatures_k']),
            ', '.join(f'{value:.0f}' for value in fit.results['excluded_temperatures_k']) or DASH,
            fit.results.uuid,
        )
        for fit in study.arrhenius
    ]
    yield Table(columns, cells, 'Arrhenius fits')
    columns = [NAME, Column('T (K)'), Column('D (m²/s)'), Column('95 % band (m²/s)'), Column('beyond MD', 'text'), NODE]
    predicted = [
        (
            fit.series,
            f'{point["temperature_k"]:.0f}',
            scientific(point['diffusion_coefficient_m2_s']),
            interval(point['ci95_m2_s']),
            'yes' if point['extrapolated'] else 'no',
            fit.results.uuid,
        )
        for fit in study.arrhenius
        for point in fit.results['predictions']
    ]
    yield Table(columns, predicted, 'D on the lines of the fits', folded=True)


def prefactor_interval(fit: Arrhenius) -> tuple[float, float]:
    """Return the 95 % interval of D0 in m²/s, from the interval of the fitted ln D0."""
    return log_interval(
        fit.results['prefactor_m2_s'], fit.results['interval_factor'] * fit.results['ln_prefactor_error']
    )


def rate_tables(study: Study) -> Iterable[Table]:
    """Yield the table of D from rates of hops, if there is any."""
    if not study.rate_diffusion:
        return
    columns = [NAME, Column('from', 'text'), Column('T (K)'), Column('D (m²/s)'), Column('95 % interval (m²/s)')]
    columns += [Column('local Ea (eV)'), Column('beyond MD', 'text'), Column('warnings', 'long'), NODE]
    keys = ('temperatures_k', 'diffusion_coefficients_m2_s', 'activation_energies_ev', 'extrapolated')
    cells = [
        (
            item.series or item.label,
            item.results['source'],
            f'{temperature:g}',
            scientific(value),
            interval(limits),
            number(energy, '.3f'),
            'yes' if extrapolated else 'no',
            ' '.join(item.results['warnings']) or DASH,
            item.results.uuid,
        )
        for item in study.rate_diffusion
        for limits, (temperature, value, energy, extrapolated) in zip(
            item.results['ci95_m2_s'] or [None] * len(item.results['temperatures_k']),
            zip(*(item.results[key] for key in keys), strict=True),
            strict=True,
        )
    ]
    yield Table(columns, cells, 'D from the rates of hops', folded=True)


def worth_section(study: Study) -> Section:
    """Return the section on the limits of each D."""
    columns = [NAME, TEMPERATURE, Column('atoms'), Column('replicas × time (ps)'), Column('jumps')]
    columns += [
        Column('error of counting alone'),
        Column('95 % interval against D'),
        Column('warnings', 'long'),
        NODE,
    ]
    cells = [
        (
            item.series,
            f'{item.target_temperature_k:g}',
            item.n_atoms,
            f'{item.results["n_replicas"]} × {item.results["total_time_ps"] / item.results["n_replicas"]:.3g}',
            item.results['jump_count'],
            f'{100 / math.sqrt(item.results["jump_count"]):.0f} %' if item.results['jump_count'] else DASH,
            relative_limits(item),
            ' '.join(item.results.get('warnings', [])) or DASH,
            item.results.uuid,
        )
        for item in study.diffusion
    ]
    return Section(
        'worth',
        'Limits of these diffusion coefficients',
        points=worth_points(study),
        tables=[Table(columns, cells)],
    )


def relative_limits(item: Diffusion) -> str:
    """Return the distances of the 95 % limits from D, in per cent of D."""
    value, limits = item.results['diffusion_coefficient_m2_s'], item.results['ci95_m2_s']
    if value is None or limits is None:
        return DASH
    return number_interval([100 * (limit / value - 1) for limit in limits], '+.0f') + ' %'


def worth_points(study: Study) -> list[str]:
    """Return the caveats on every D, with the numbers of this study."""
    items = study.diffusion
    jumps = [item.results['jump_count'] for item in items]
    times = [item.results['total_time_ps'] for item in items]
    atoms = sorted({item.n_atoms for item in items})
    ratios = sorted({item.results['tracer_count'] / (item.n_atoms - item.results['tracer_count']) for item in items})
    tracers = ' and '.join(sorted({item.tracer_element for item in items}))
    replicas = sorted({item.results['n_replicas'] for item in items if item.results['n_replicas'] > 1})
    points = [
        f'Few events. D rests on {spread(jumps, "g")} jumps at each temperature. Counting alone gives a relative '
        'error of one over the square root of their number. Return jumps contain less information.',
        f'Finite time. Each D comes from {spread(times, ".3g")} ps, summed over its replicas (the published study '
        'of H in Mg: 3000 ps). If a tracer stays in one site longer than a run, all replicas that start from the same '
        'arrangement keep it. The statistics over replicas do not show this.',
        f'A small cell. {spread(atoms, "g")} atoms with periodic images: tracers meet their own images, and the '
        f'concentration is {spread(ratios, ".3g")} tracers per host atom (the published study of H in Mg: 0.031 to '
        '0.078 in 128 host atoms). The mean temperature of a run of so few atoms without a thermostat differs from '
        'its target, so fits use measured temperatures.',
        f'Classical nuclei. Zero-point motion and tunnelling of {tracers} are neglected; they matter most for light '
        'tracers at low temperature.',
        'One density functional. No D is more accurate than the labels of the potential and its errors above.',
    ]
    if replicas:
        factors = ', '.join(f'{stats.t.ppf(0.975, count - 1):.2f} for {count}' for count in replicas)
        points.insert(
            1,
            'Wide intervals, on purpose. If the replicas agree within the scatter of all tracers, this scatter gives '
            'the interval. If not, the scatter of the replicas alone gives the interval, with Student’s factor '
            f'({factors} replicas), because few replicas hardly determine their scatter. Both limits are positive, '
            'and the upper limit lies farther from D than the lower limit.',
        )
    if any(item.results['ci95_m2_s'] and item.results['ci95_m2_s'][0] <= 0 for item in items):
        points.append(
            'Limits below zero. An older version stored symmetric intervals. Run the analysis again to get positive '
            'limits.'
        )
    return points


def spread(values: Iterable[float], spec: str) -> str:
    """Return the smallest and largest value as text."""
    low, high = min(values), max(values)
    return format(low, spec) if low == high else f'{low:{spec}} to {high:{spec}}'


def coefficient(diffusion: Diffusion) -> str:
    """Return D, or its upper bound, as text."""
    results = diffusion.results
    value = results['diffusion_coefficient_m2_s']
    return f'< {scientific(results["upper_bound_m2_s"])}' if value is None else scientific(value)
