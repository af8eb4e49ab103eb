"""Training of a potential on the example data: ``verdi run examples/train.py --help``."""

from __future__ import annotations

from pathlib import Path

import click
from aiida import orm
from aiida.engine import run_get_node

from aiida_mghdiff import TrainWorkChain, load_codes, load_dataset, load_potential, split_dataset

EXAMPLE = Path('examples/data/mgh_pbe.extxyz')


@click.command()
@click.option(
    '--computer', default='mghdiff-localhost', show_default=True, help='Computer of the codes of `aiida-mghdiff setup`.'
)
@click.option('--dataset', type=click.Path(path_type=Path, exists=True), default=EXAMPLE, show_default=True)
@click.option('--allow-implausible', is_flag=True, help='Accept implausible labels and E0s unchanged.')
@click.option('--architecture', type=click.Choice(['mace', 'chgnet']), default='mace', show_default=True)
@click.option('--foundation', type=click.Path(path_type=Path, exists=True), help='MACE model to fine-tune.')
@click.option('--protocol', default='demo', show_default=True)
def main(
    computer: str,
    dataset: Path,
    allow_implausible: bool,
    architecture: str,
    foundation: Path | None,
    protocol: str,
) -> None:
    """Train MACE (from scratch without --foundation) or fine-tune CHGNet, and print the errors."""
    settings = {'fractions': {'training': 0.6, 'validation': 0.1, 'test': 0.3}, 'seed': 1}
    parts = split_dataset(load_dataset(dataset, allow_implausible=allow_implausible), orm.Dict(settings))
    from_scratch = architecture == 'mace' and foundation is None
    builder = TrainWorkChain.get_builder_from_protocol(
        load_codes(computer),
        parts['training'],
        parts['validation'],
        architecture=architecture,
        potential=None if from_scratch else load_potential(foundation),
        protocol=protocol,
        overrides={'parameters': {'allow_implausible': allow_implausible}},
    )
    outputs, node = run_get_node(builder)
    if not node.is_finished_ok:
        raise click.ClickException(f'{node.process_label}<{node.pk}> [{node.exit_status}] {node.exit_message}')
    error = outputs['results']['validation']['force_rmse_mev_per_angstrom']
    click.echo(f'force RMSE on the validation set: {error:.1f} meV/Å')
    click.echo(f'potential {outputs["potential"].uuid}; more: verdi process show {node.pk}')


if __name__ == '__main__':
    main()
