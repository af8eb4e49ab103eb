"""MD of one H in magnesium: ``verdi run examples/md.py --help``."""

from __future__ import annotations

from pathlib import Path

import click
from aiida import orm
from aiida.engine import run_get_node

from aiida_mghdiff import MolecularDynamicsWorkChain, build_hcp, build_supercell, load_codes, load_potential


@click.command()
@click.option(
    '--computer', default='mghdiff-localhost', show_default=True, help='Computer of the codes of `aiida-mghdiff setup`.'
)
@click.option('--potential', type=click.Path(path_type=Path, exists=True), help='MACE model; without it, CHGNet.')
@click.option('--protocol', default='demo', show_default=True)
@click.option('--temperature', default=600.0, show_default=True, help='K')
def main(computer: str, potential: Path | None, protocol: str, temperature: float) -> None:
    """Run NVT and print the nodes of the results."""
    host = build_hcp(orm.Dict({'element': 'Mg', 'a': 3.20, 'c': 5.19, 'repeats': [2, 2, 2]}))
    settings = orm.Dict({'tracer_element': 'H', 'tracer_count': 1, 'seed': 1, 'minimum_distance': 2.0})
    builder = MolecularDynamicsWorkChain.get_builder_from_protocol(
        load_codes(computer),
        load_potential(potential),
        build_supercell(host, settings),
        ensemble='nvt',
        temperature_k=temperature,
        seed=1,
        protocol=protocol,
    )
    outputs, node = run_get_node(builder)
    if not node.is_finished_ok:
        raise click.ClickException(f'{node.process_label}<{node.pk}> [{node.exit_status}] {node.exit_message}')
    for label, results in sorted(outputs['results'].items()):
        click.echo(f'{label}: mean temperature {results["mean_temperature_k"]:.0f} K, evaluator {results["evaluator"]}')
    click.echo(f'state {outputs["state"].uuid}; more: verdi process show {node.pk}')


if __name__ == '__main__':
    main()
