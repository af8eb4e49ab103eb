"""The numbers of a study, as plain values for ``results.json`` and as a table for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from aiida import orm

from aiida_mghdiff.report.study import Barrier, Diffusion, Study
from aiida_mghdiff.report.tables import DASH, plain_number

#: Length of a line of remarks.
WIDTH = 100


class PotentialRow(TypedDict):
    """A potential of the study."""

    label: str
    architecture: str
    origin: str
    uuid: str


class ErrorsRow(TypedDict):
    """Root mean square errors of a potential on held-out frames."""

    potential: str
    energy_mev_per_atom: float | None  # after the mean error of each composition is removed
    force_mev_per_angstrom: float | None
    n_configurations: int
    source: str
    uuid: str


class BarrierRow(TypedDict):
    """One direction of a path.

    ``reason`` says why a direction has no barrier, or why its energy does not belong to a saddle point.
    """

    potential: str
    path: str
    barrier_ev: float | None
    reason: str | None
    uuid: str


class DiffusionRow(TypedDict):
    """D at one temperature."""

    potential: str
    temperature_k: float  # target temperature
    tracer_count: int
    time_step_fs: float
    diffusion_coefficient_m2_s: float | None
    ci95_m2_s: list[float] | None
    diffusing: bool
    upper_bound_m2_s: float | None
    n_replicas: int
    uuid: str


class ArrheniusRow(TypedDict):
    """An activation energy."""

    potential: str
    tracer_count: int
    time_step_fs: float
    activation_energy_ev: float
    ci95_ev: list[float]
    uuid: str


class StudyResults(TypedDict):
    """Content of ``results.json``."""

    potentials: list[PotentialRow]
    rmse: list[ErrorsRow]
    barriers: list[BarrierRow]
    diffusion: list[DiffusionRow]
    arrhenius: list[ArrheniusRow]


def study_results(node: orm.WorkChainNode) -> StudyResults:
    """Return the results of a study: ``potentials``, ``rmse``, ``barriers``, ``diffusion``, ``arrhenius``.

    In each row, ``potential`` is the label of a potential, and ``uuid`` the node with the numbers. Missing values
    are None. ``temperature_k`` of a diffusion row is the target temperature; the node has the measured mean
    temperature. Failed processes have no row.
    """
    return results_of(Study(node))


def results_of(study: Study) -> StudyResults:
    """Return the results of a study as plain values; see :func:`study_results`."""
    return {
        'potentials': [
            {'label': label, 'architecture': node.architecture, 'origin': node.origin, 'uuid': node.uuid}
            for label, node in study.potentials.items()
        ],
        'rmse': [
            {
                'potential': errors.label,
                'energy_mev_per_atom': errors.metrics['energy_rmse_shifted_mev_per_atom'],
                'force_mev_per_angstrom': errors.metrics['force_rmse_mev_per_angstrom'],
                'n_configurations': errors.metrics['n_configurations'],
                'source': errors.source,
                'uuid': errors.metrics.uuid,
            }
            for errors in study.errors
        ],
        'barriers': [row for barrier in study.barriers for row in barrier_rows(barrier)],
        'diffusion': [diffusion_row(diffusion) for diffusion in study.diffusion],
        'arrhenius': [
            {
                'potential': fit.label,
                'tracer_count': fit.tracer_count,
                'time_step_fs': fit.time_step_fs,
                'activation_energy_ev': fit.results['activation_energy_ev'],
                'ci95_ev': fit.results['ci95_ev'],
                'uuid': fit.results.uuid,
            }
            for fit in study.arrhenius
        ],
    }


def directions(path: str) -> tuple[str, str]:
    """Return the names of both directions of a path: ``O-T`` gives ``O->T``, ``T->O``; ``O-O c`` twice ``O->O c``."""
    sites, _, along = path.partition(' ')
    start, end = sites.split('-')
    suffix = f' {along}' if along else ''
    return f'{start}->{end}{suffix}', f'{end}->{start}{suffix}'


def barrier_rows(barrier: Barrier) -> list[BarrierRow]:
    """Return one row for each direction of a path."""
    ways = {'forward_barrier_ev': barrier.band.forward, 'reverse_barrier_ev': barrier.band.reverse}
    return [
        {
            'potential': barrier.label,
            'path': name,
            'barrier_ev': None if way.barrier_ev is None else barrier.results[key],
            'reason': way.reason,
            'uuid': barrier.results.uuid,
        }
        for name, (key, way) in zip(directions(barrier.path), ways.items(), strict=True)
    ]


def barrier_text(row: BarrierRow) -> str:
    """Return the barrier of a row in eV as text."""
    return 'none' if row['barrier_ev'] is None else f'{row["barrier_ev"]:.3f}'


def diffusion_row(diffusion: Diffusion) -> DiffusionRow:
    """Return the row of one temperature."""
    results = diffusion.results
    return {
        'potential': diffusion.label,
        'temperature_k': diffusion.target_temperature_k,
        'tracer_count': results['tracer_count'],
        'time_step_fs': diffusion.time_step_fs,
        'diffusion_coefficient_m2_s': results['diffusion_coefficient_m2_s'],
        'ci95_m2_s': results['ci95_m2_s'],
        'diffusing': results['diffusing'],
        'upper_bound_m2_s': results['upper_bound_m2_s'],
        'n_replicas': results['n_replicas'],
        'uuid': results.uuid,
    }


#: Tables for the terminal: title, and columns of header, alignment and text of a row.
POTENTIAL = ('potential', '<', lambda row: row['potential'])
NODE = ('node', '<', lambda row: row['uuid'][:8])
TABLES: dict[str, tuple[str, list[tuple[str, str, Callable[[Any], str]]]]] = {
    'rmse': (
        'Errors (RMSE)',
        [
            POTENTIAL,
            ('energy (meV/atom)', '>', lambda row: plain_number(row['energy_mev_per_atom'], '.2f')),
            ('forces (meV/Å)', '>', lambda row: plain_number(row['force_mev_per_angstrom'], '.1f')),
            ('configurations', '>', lambda row: f'{row["n_configurations"]} {row["source"]}'),
            NODE,
        ],
    ),
    'barriers': (
        'Barriers',
        [
            POTENTIAL,
            ('path', '<', lambda row: row['path']),
            ('barrier (eV)', '>', lambda row: barrier_text(row)),
            NODE,
        ],
    ),
    'diffusion': (
        'Diffusion coefficients',
        [
            POTENTIAL,
            ('T (K)', '>', lambda row: f'{row["temperature_k"]:g}'),
            ('tracers', '>', lambda row: str(row['tracer_count'])),
            ('fs', '>', lambda row: f'{row["time_step_fs"]:g}'),
            ('D (m²/s)', '>', lambda row: coefficient(row)),
            ('95 % interval (m²/s)', '>', lambda row: interval(row['ci95_m2_s'], '.1e')),
            ('replicas', '>', lambda row: str(row['n_replicas'])),
            NODE,
        ],
    ),
    'arrhenius': (
        'Activation energies',
        [
            POTENTIAL,
            ('tracers', '>', lambda row: str(row['tracer_count'])),
            ('fs', '>', lambda row: f'{row["time_step_fs"]:g}'),
            ('Ea (eV)', '>', lambda row: plain_number(row['activation_energy_ev'], '.3f')),
            ('95 % interval (eV)', '>', lambda row: interval(row['ci95_ev'], '.3f')),
            NODE,
        ],
    ),
}


def result_table(results: StudyResults) -> str:
    """Return the results as text, each row with the first characters of the UUID of its node."""
    parts = []
    for key, (title, columns) in TABLES.items():
        if rows := results[key]:  # type: ignore[literal-required]  # the tables are of its keys
            header, alignments, texts = zip(*columns, strict=True)
            table = aligned([header, *([text(row) for text in texts] for row in rows)], alignments)
            parts.append('\n'.join([title, table, *remarks(rows)]))
    return '\n\n'.join(parts)


def remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines below a table with the reasons in its rows."""
    texts = [f'{row["potential"]}, {row["path"]}: {row["reason"]}' for row in rows if row.get('reason')]
    return [line for text in texts for line in textwrap.wrap(text, WIDTH, subsequent_indent='  ')]


def interval(limits: Sequence[float] | None, spec: str) -> str:
    """Return an interval as text, or a dash."""
    return DASH if limits is None else f'{limits[0]:{spec}} to {limits[1]:{spec}}'


def coefficient(row: DiffusionRow) -> str:
    """Return D or, for a run without diffusion, its upper bound, as text."""
    if row['diffusing']:
        return plain_number(row['diffusion_coefficient_m2_s'], '.2e')
    return f'< {plain_number(row["upper_bound_m2_s"], ".1e")}'


def aligned(cells: Sequence[Sequence[str]], alignments: Sequence[str]) -> str:
    """Return rows of cells as text, with a line under the first row.

    :param alignments: ``<`` or ``>`` for each column.
    """
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    columns = list(zip(alignments, widths, strict=True))
    lines = [
        '  '.join(f'{cell:{side}{width}}' for cell, (side, width) in zip(row, columns, strict=True)).rstrip()
        for row in cells
    ]
    return '\n'.join([lines[0], '  '.join('-' * width for width in widths), *lines[1:]])
