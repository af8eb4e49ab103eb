"""The whole study: ``verdi run examples/study.py --help``."""

from __future__ import annotations

from pathlib import Path

import click
from aiida.engine import run_get_node, submit

from aiida_mghdiff import StudyWorkChain, load_codes, load_dataset, load_potential, make_host_of, subject_of
from aiida_mghdiff.report import result_table, write_report

EXAMPLE = Path('examples/data/mgh_pbe.extxyz')


@click.command()
@click.option(
    '--computer', default='mghdiff-localhost', show_default=True, help='Computer of the codes of `aiida-mghdiff setup`.'
)
@click.option('--dataset', type=click.Path(path_type=Path, exists=True), default=EXAMPLE, show_default=True)
@click.option('--allow-implausible', is_flag=True, help='Accept implausible labels and E0s unchanged.')
@click.option('--foundation', type=click.Path(path_type=Path, exists=True), help='MACE model to fine-tune.')
@click.option('--protocol', default='demo', show_default=True)
@click.option('--report', 'folder', type=click.Path(path_type=Path), help='Wait, and write the report to this folder.')
def main(
    computer: str,
    dataset: Path,
    allow_implausible: bool,
    foundation: Path | None,
    protocol: str,
    folder: Path | None,
) -> None:
    """Submit the study to the daemon, or run it here and write its report."""
    inputs = StudyWorkChain.get_protocol_inputs(protocol)
    repeats = inputs['repeats']
    potentials = {'chgnet_mp': load_potential(None)} | ({'mace_mp': load_potential(foundation)} if foundation else {})
    configurations = load_dataset(dataset, allow_implausible=allow_implausible)
    hosts = [
        make_host_of(configurations, subject_of(configurations), repeats[name], dataset)
        for name in ('host', 'neb_host')
    ]
    permissive = {label: {'parameters': {'allow_implausible': True}} for label in inputs['training']}
    builder = StudyWorkChain.get_builder_from_protocol(
        load_codes(computer),
        configurations,
        *hosts,
        potentials=potentials,
        protocol=protocol,
        overrides={'training': permissive} if allow_implausible else None,
    )
    if folder is None:
        click.echo(f'submitted; follow it: verdi process status {submit(builder).pk}')
        return
    _, node = run_get_node(builder)
    click.echo(result_table(write_report(node, folder)))
    if not node.is_finished_ok:
        raise click.ClickException(f'{node.process_label}<{node.pk}> [{node.exit_status}] {node.exit_message}')


if __name__ == '__main__':
    main()
