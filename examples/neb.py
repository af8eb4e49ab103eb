"""A barrier of H in magnesium: ``verdi run examples/neb.py --help``."""

from __future__ import annotations

from pathlib import Path

import click
from aiida import orm
from aiida.engine import run_get_node

from aiida_mghdiff import BarrierWorkChain, build_hcp, load_codes, load_potential


@click.command()
@click.option(
    '--computer', default='mghdiff-localhost', show_default=True, help='Computer of the codes of `aiida-mghdiff setup`.'
)
@click.option('--potential', type=click.Path(path_type=Path, exists=True), help='MACE model; without it, CHGNet.')
@click.option('--protocol', default='demo', show_default=True)
@click.option('--path', default='O-T', show_default=True, help='O-O c, O-O ab, O-T or T-T')
@click.option('--vibrations', is_flag=True, help='Compute vibrations at minima and saddle point, too.')
def main(computer: str, potential: Path | None, protocol: str, path: str, vibrations: bool) -> None:
    """Run ciNEB and print the barriers in both directions."""
    builder = BarrierWorkChain.get_builder_from_protocol(
        load_codes(computer),
        load_potential(potential),
        build_hcp(orm.Dict({'element': 'Mg', 'a': 3.20, 'c': 5.19, 'repeats': [2, 2, 2]})),
        path=path,
        vibrations=vibrations,
        protocol=protocol,
    )
    outputs, node = run_get_node(builder)
    if not node.is_finished_ok:
        raise click.ClickException(f'{node.process_label}<{node.pk}> [{node.exit_status}] {node.exit_message}')
    barrier = outputs['barrier']
    for way in ('forward', 'reverse'):
        value, reason = barrier[f'{way}_barrier_ev'], barrier[f'{way}_barrier_reason']
        click.echo(f'{path}, {way}: {"no barrier" if value is None else f"{value:.3f} eV"} {reason or ""}'.rstrip())
    click.echo(f'{barrier.uuid}; more: verdi process show {node.pk}')


if __name__ == '__main__':
    main()
