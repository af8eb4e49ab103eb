"""The section of the report on the tracers' positions: sites, pairs, and the nodes behind the figures."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_mghdiff.report.study import Diffusion, Study, output
from aiida_mghdiff.report.tables import DASH, NAME, NODE, TEMPERATURE, Column, Section, Table, number, with_error
from aiida_mghdiff.report.tracks import read_track
from aiida_mghdiff.science.units import EV_IN_MEV

FIGURES = ['track', 'rdf', 'rdf_sites', 'density', 'pairs']


def structure_section(study: Study) -> Section:
    """Return the section on the tracers' positions and jumps."""
    tables = [site_table(study), pair_table(study), array_table(study), picture_table(study)]
    text = [
        'Statistics of the tracers besides D: occupied sites, mean stays on the sites, and pairs of tracers compared '
        'with chance.'
    ]
    found = [table for table in tables if table.cells]
    return Section('structure', 'Positions of the tracers', text, tables=found, figures=FIGURES)


def having(study: Study, name: str) -> list[tuple[Diffusion, Any]]:
    """Return the diffusion runs with a given output, each with the output."""
    found = [(item, output(item.call, name)) for item in study.diffusion]
    return [(item, node) for item, node in found if node is not None]


def site_table(study: Study) -> Table:
    """Return the table of sites: occupation, mean stays, difference of free energies."""
    columns = [NAME, TEMPERATURE, Column('on octahedral sites'), Column('mean stay O (ps)'), Column('mean stay T (ps)')]
    columns += [Column('mean stay in a T pair (ps)'), Column('F(T) − F(O) (meV)'), NODE]
    cells = [
        (
            item.series,
            f'{item.target_temperature_k:g}',
            with_error(sites['occupancy']['O'], sites['occupancy_errors']['O'], '.2f'),
            *(number(sites['residence_times_ps'][kind], '.2g') for kind in ('O', 'T', 'T pair')),
            with_error(in_mev(sites['free_energy_difference_ev']), in_mev(sites['free_energy_difference_error_ev'])),
            sites.uuid,
        )
        for item, sites in having(study, 'sites')
    ]
    return Table(columns, cells, 'Sites')


def in_mev(energy_ev: float | None) -> float | None:
    """Return an energy in meV, or none."""
    return None if energy_ev is None else EV_IN_MEV * energy_ev


def pair_table(study: Study) -> Table:
    """Return the table of pairs of tracers and the tests of their number."""
    columns = [NAME, TEMPERATURE, Column('cut-off (Å)'), Column('mean pairs λ'), Column('λ on random sites')]
    columns += [Column('independent frames'), Column('p, Poisson'), Column('p, random sites'), NODE]
    cells = [
        (
            item.series,
            f'{item.target_temperature_k:g}',
            f'{pairs["cutoff_angstrom"]:g}',
            with_error(pairs['mean_pairs'], pairs['mean_pairs_error'], '.2f'),
            number(pairs['mean_pairs_random_sites'], '.2f'),
            number(pairs['effective_sample_size'], '.0f'),
            *(number(test['p_value'], '.2g') if test else DASH for test in map(pairs.get, TESTS)),
            pairs.uuid,
        )
        for item, pairs in having(study, 'pairs')
    ]
    return Table(columns, cells, 'Pairs of tracers')


TESTS = ('poisson_test', 'random_sites_test')


def array_table(study: Study) -> Table:
    """Return the table of the nodes behind curves and maps."""
    columns = [NAME, TEMPERATURE, Column('radial distributions', 'node'), Column('density', 'node')]
    cells = [
        (item.series, f'{item.target_temperature_k:g}', rdf.uuid, uuid_of(output(item.call, 'density')))
        for item, rdf in having(study, 'rdf')
    ]
    return Table(columns, cells, 'Nodes of curves and maps', folded=True)


def picture_table(study: Study) -> Table:
    """Return the table of the nodes behind the path of one tracer and the frame."""
    track = read_track(study)
    columns = [Column('node of the path', 'text'), NODE]
    cells = [(type(node).__name__, node.uuid) for node in (track.nodes if track else [])]
    return Table(columns, cells, 'Nodes of the path of one tracer', folded=True)


def uuid_of(node: orm.Node | None) -> str:
    """Return the UUID of a node, or an empty string."""
    return '' if node is None else node.uuid
