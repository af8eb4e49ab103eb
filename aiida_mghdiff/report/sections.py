"""Sections of the report: text, tables and names of figures, read from the nodes of a study."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiida import orm

from aiida_mghdiff import queries
from aiida_mghdiff.report.diffusion import coefficient, diffusion_section, interval, worth_section
from aiida_mghdiff.report.results import barrier_rows, barrier_text
from aiida_mghdiff.report.structure import structure_section
from aiida_mghdiff.report.study import EnergyDrift, Study, is_done
from aiida_mghdiff.report.tables import DASH, NAME, NODE, Column, Section, Table, number, number_interval, with_error

#: Limit of the drift of the total energy in an NVE run, in meV/atom/ns.
DRIFT_LIMIT = 1.0
MOST_HEADLINES = 6


def sections(study: Study) -> list[Section]:
    """Return the sections with content, in the order of the page."""
    candidates = [
        (failures_section, study.failures),
        (workflow_section, study.calls),
        (potentials_section, study.potentials),
        (errors_section, study.errors),
        (barriers_section, study.barriers),
        (diffusion_section, study.diffusion),
        (structure_section, study.diffusion),
        (worth_section, study.diffusion),
        (drift_section, study.energy_drifts),
        (published_section, study.references),
        (provenance_section, study.calls),
        (queries_section, study.calls),
    ]
    return [make(study) for make, items in candidates if items]


def headlines(study: Study) -> list[dict[str, str]]:
    """Return the numbers at the top: best force error, a barrier of the same potential, D, activation energies."""
    items = []
    if (best := study.best_errors) is not None:
        value = f'{best.metrics["force_rmse_mev_per_angstrom"]:.0f} meV/Å'
        items.append(headline('Smallest force error', value, best.label, best.metrics))
        for barrier in (item for item in study.barriers if item.label == best.label):
            row = barrier_rows(barrier)[0]
            name = f'Barrier {row["path"].replace("->", " → ")}'
            unit, detail = '' if row['barrier_ev'] is None else ' eV', '; see the remark' if row['reason'] else ''
            items.append(headline(name, f'{barrier_text(row)}{unit}', f'{best.label}{detail}', barrier.results))
    for diffusion in study.diffusion if len(study.diffusion) <= MOST_HEADLINES else []:
        name, limits = f'D at {diffusion.target_temperature_k:g} K', diffusion.results['ci95_m2_s']
        detail = diffusion.series + (f'; 95 %: {interval(limits)} m²/s' if limits else '')
        items.append(headline(name, f'{coefficient(diffusion)} m²/s', detail, diffusion.results))
    for fit in study.arrhenius:
        detail = f'{fit.series}; 95 %: {number_interval(fit.results["ci95_ev"], ".2f")} eV'
        items.append(
            headline(
                'Activation energy', f'{number(fit.results["activation_energy_ev"], ".2f")} eV', detail, fit.results
            )
        )
    return items


def headline(name: str, value: str, detail: str, node: orm.Node) -> dict[str, str]:
    """Return one of the numbers at the top."""
    return {'name': name, 'value': value, 'detail': detail, 'uuid': node.uuid}


def failures_section(study: Study) -> Section:
    """Return the section on failed steps, which comes first so that nothing hides it."""
    columns = [Column('step', 'text'), Column('ended as', 'text'), Column('message', 'long'), NODE]
    cells = [
        (call.name, ended(call.node), call.node.exit_message or call.node.exception or DASH, call.node.uuid)
        for call in study.failures
    ]
    text = ['These steps failed. Results that depend on them are missing below; all other results are not affected.']
    return Section('failures', 'What failed', text, tables=[Table(columns, cells)])


def ended(node: orm.ProcessNode) -> str:
    """Return the end of a process in a few words."""
    return (
        f'{node.process_label} [{node.exit_status}]'
        if node.is_finished
        else f'{node.process_label}, {node.process_state and node.process_state.value}'
    )


def workflow_section(study: Study) -> Section:
    """Return the section on the steps of the study."""
    text = [f'{len(study.calls)} processes below the study, and the data between them, from the provenance graph.']
    return Section('workflow', 'Workflow', text, figures=['workflow'])


def potentials_section(study: Study) -> Section:
    """Return the section on the potentials and their training."""
    columns = [NAME, Column('architecture', 'text'), Column('origin', 'text'), Column('precision', 'text')]
    columns += [Column('sha256 of the file', 'text'), NODE]
    cells = [
        (label, node.architecture, node.origin, attribute(node, 'dtype'), attribute(node, 'sha256')[:12], node.uuid)
        for label, node in study.potentials.items()
    ]
    return Section(
        'potentials', 'Potentials', tables=[Table(columns, cells), *training_tables(study)], figures=['learning_curves']
    )


def attribute(node: orm.Node, name: str) -> Any:
    """Return an attribute of a node."""
    return node.base.attributes.get(name)


def training_tables(study: Study) -> Iterable[Table]:
    """Yield a table of the trainings, if there are any."""
    if not study.trainings:
        return
    columns = [
        NAME,
        Column('epochs'),
        Column('best epoch'),
        Column('seed'),
        Column('warnings', 'long'),
        Column('curves', 'node'),
        Column('settings', 'node'),
    ]
    cells = [
        (
            training.label,
            training.results.get('n_epochs', DASH),
            training.results['best_epoch'] + 1 if 'best_epoch' in training.results else DASH,
            training.parameters.get('seed', DASH),
            ' '.join(training.results.get('warnings', [])) or DASH,
            training.curves.uuid,
            training.parameters.uuid,
        )
        for training in study.trainings
    ]
    yield Table(columns, cells, 'Training')


def errors_section(study: Study) -> Section:
    """Return the section on the errors of the potentials on held-out configurations."""
    symbols = sorted({symbol for errors in study.errors for symbol in errors.metrics['by_element']})
    columns = [NAME, Column('energy, shifted (meV/atom)'), Column('energy, raw (meV/atom)'), Column('forces (meV/Å)')]
    columns += [Column(f'on {symbol} (meV/Å)') for symbol in symbols]
    columns += [Column('R² of energies, shifted'), Column('R² of forces'), Column('configurations', 'text'), NODE]
    cells = []
    for errors in study.errors:
        metrics = errors.metrics
        elements = [metrics['by_element'].get(symbol, {}).get('force_rmse_mev_per_angstrom') for symbol in symbols]
        cells.append(
            [
                errors.label,
                number(metrics['energy_rmse_shifted_mev_per_atom'], '.2f'),
                number(metrics['energy_rmse_mev_per_atom'], '.2f'),
                number(metrics['force_rmse_mev_per_angstrom'], '.1f'),
                *(number(value, '.1f') for value in elements),
                number(metrics['energy_r2_shifted'], '.4f'),
                number(metrics['force_r2'], '.4f'),
                f'{metrics["n_configurations"]} {errors.source}',
                metrics.uuid,
            ]
        )
    text = [
        'Root mean square errors on configurations from which no potential learned. Energies are compared after '
        'removing the constant shift of each composition, which has no effect on forces; the raw error includes it.'
    ]
    return Section(
        'errors', 'Errors', text, tables=[Table(columns, cells)], figures=['rmse', 'rmse_contents', 'parity']
    )


def barriers_section(study: Study) -> Section:
    """Return the section on barriers."""
    rows = [row for barrier in study.barriers for row in barrier_rows(barrier)]
    columns = [NAME, Column('path', 'word'), Column('barrier (eV)'), NODE]
    cells: list[tuple[Any, ...]] = [
        (row['potential'], row['path'].replace('->', ' → '), barrier_text(row), row['uuid']) for row in rows
    ]
    if any(row['reason'] for row in rows):
        columns.append(Column('remark', 'long'))
        cells = [(*cell, row['reason'] or '') for cell, row in zip(cells, rows, strict=True)]
    text = ['Climbing-image NEB between relaxed interstitial sites; both directions of each path.']
    return Section('barriers', 'Barriers', text, tables=[Table(columns, cells)], figures=['sites', 'barriers', 'paths'])


def drift_section(study: Study) -> Section:
    """Return the section on the conservation of energy in NVE runs."""
    columns = [NAME, Column('target T (K)'), Column('run', 'text'), Column('seed'), Column('step (fs)')]
    columns += [Column('drift ± 2 errors (meV/atom/ns)'), Column('limit', 'text')]
    columns += [Column('evaluator', 'text'), Column('precision', 'text'), NODE]
    cells = [
        (
            drift.label,
            f'{drift.target_temperature_k:g}',
            run_name(drift),
            drift.parameters['seed'],
            f'{drift.parameters["time_step_fs"]:g}',
            *drift_cells(drift),
            drift.results['evaluator'],
            drift.results['dtype'],
            drift.results.uuid,
        )
        for drift in study.energy_drifts
    ]
    within = sum(drift_cells(drift)[1] == 'within' for drift in study.energy_drifts)
    text = [
        'Drift of the total energy in the runs without a thermostat: a test of the time step, the precision and the '
        'smoothness of a potential. A run is within the limit if its drift, less two standard errors, is at most '
        f'{DRIFT_LIMIT:g} meV/atom/ns; short runs have wide errors. Within the limit are {within} of '
        f'{len(cells)} runs.'
    ]
    table = Table(columns, cells, f'All {len(cells)} runs', folded=True) if len(cells) > 24 else Table(columns, cells)
    return Section('drift', 'Energy conservation', text, tables=[table], figures=['conservation'])


def run_name(drift: EnergyDrift) -> str:
    """Return the name of a run: its call labels below the temperature, without the iteration of restarts."""
    return ' / '.join(drift.call.path[-3:-1])


def drift_cells(drift: EnergyDrift) -> tuple[str, str]:
    """Return the drift with two standard errors, and whether it is within the limit, as text."""
    keys = ('energy_drift_mev_per_atom_ns', 'energy_drift_error_mev_per_atom_ns')
    value, error = (drift.results[key] for key in keys)
    if value is None:
        return DASH, 'run too short'
    verdict = 'within' if abs(value) - 2 * error <= DRIFT_LIMIT else 'above'
    return with_error(value, 2 * error, '+.2f'), verdict


def published_section(study: Study) -> Section:
    """Return the section on the published values in the figures."""
    columns = [Column('quantity', 'name'), Column('of', 'text'), Column('value'), Column('T (K)', 'text')]
    columns += [Column('source', 'long'), Column('note', 'long')]
    cells = [
        (
            value.quantity,
            value.label,
            f'{value.relation.removeprefix("=")} {value.value:g}'.strip(),
            ' to '.join(f'{limit:g}' for limit in sorted(set(value.temperatures_k or ()))) or DASH,
            value.source,
            value.note,
        )
        for value in study.references
    ]
    return Section('published', 'Published values', tables=[Table(columns, cells)])


def provenance_section(study: Study) -> Section:
    """Return the section on the origin of all results: data, codes, versions, seeds."""
    tables = [data_table(study), code_table(study), version_table(study), seed_table(study)]
    return Section('provenance', 'Provenance', tables=[table for table in tables if table.cells])


def data_table(study: Study) -> Table:
    """Return the table of the dataset, its raw files, and the sets that it was split into."""
    columns = [Column('data', 'name'), Column('content', 'long'), NODE]
    cells = []
    if (dataset := study.inputs.get('dataset')) is not None:
        cells += [('raw file', file.filename, file.uuid) for file in queries.lineage(dataset).raw_files]
        cells.append(('dataset', dataset_text(dataset), dataset.uuid))
    for call in filter(is_done, study.of_kind('otf')):
        learned = call.node.outputs.dataset
        cells.append(('learned on the fly', dataset_text(learned), learned.uuid))
    for call in study.of_kind('split_dataset'):
        parts = call.node.base.links.get_outgoing().all()
        cells += [(f'{part.link_label} set', dataset_text(part.node), part.node.uuid) for part in parts]
    return Table(columns, cells, 'Data')


def dataset_text(node: orm.Node) -> str:
    """Return the content of a dataset in words."""
    formulas = ', '.join(f'{count} × {formula}' for formula, count in attribute(node, 'formulas').items())
    return f'{attribute(node, "n_configurations")} configurations labelled by {node.labelled_by}: {formulas}'


def code_table(study: Study) -> Table:
    """Return the table of the codes among the study's inputs."""
    columns = [Column('code', 'name'), Column('executable', 'text'), NODE]
    codes = {node.uuid: node for node in study.inputs.values() if isinstance(node, orm.AbstractCode)}
    cells = [(code.full_label, str(code.get_executable()), code.uuid) for code in codes.values()]
    return Table(columns, cells, 'Codes')


def version_table(study: Study) -> Table:
    """Return the table of the versions that jobs recorded."""
    columns = [Column('package', 'name'), Column('version', 'text')]
    versions = queries.versions_of([call.node for call in study.calls])
    return Table(
        columns, [(name, ', '.join(found)) for name, found in versions.items()], 'Versions that the jobs recorded'
    )


def seed_table(study: Study) -> Table:
    """Return the table of the seeds of jobs and calcfunctions."""
    columns = [Column('step', 'text'), Column('seed'), Column('process', 'node')]
    seeds = queries.seeds_of([call.node for call in study.calls if isinstance(call.node, orm.CalculationNode)])
    cells = [
        (call.name, ', '.join(map(str, seeds[call.node.uuid])), call.node.uuid)
        for call in study.calls
        if call.node.uuid in seeds
    ]
    return Table(columns, cells, f'All {len(cells)} seeds', folded=True)


def queries_section(study: Study) -> Section:
    """Return the section with queries and commands for the nodes of this study."""
    first: Any = study.diffusion or study.barriers or study.errors
    result = getattr(first[0], 'results', None) or first[0].metrics if first else study.node
    script = f"""\
from aiida import load_profile, orm
from aiida_mghdiff import queries

load_profile()
result = orm.load_node('{result.uuid}')
potential = queries.potential_of(result)          # the potential behind a number
origin = queries.lineage(result)                  # raw files, datasets, codes, seeds, versions
print(origin.raw_files, origin.datasets, origin.versions)
print(queries.diffusion_coefficients(potential))  # all D of this potential, of any study
print(queries.barriers(potential), queries.activation_energies(potential))
print(queries.all_rmses())                        # all potentials that were evaluated"""
    shell = f"""\
verdi archive import study.aiida         # if you got the study as an archive
verdi process status {study.node.uuid}   # the tree of all processes, with their labels
verdi process report {study.node.uuid}   # their messages
verdi node graph generate {result.uuid}"""
    return Section('ask', 'How to ask the graph', code=[script, shell])
