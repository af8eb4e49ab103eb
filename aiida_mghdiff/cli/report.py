"""`aiida-mghdiff report`: write numbers, figures and page of a stored study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from aiida.orm import Node, WorkChainNode

STUDY = 'aiida.workflows:mghdiff.study'


@click.command()
@click.argument('study')
@click.option('-p', '--profile', help='AiiDA profile.  [default: the default profile]')
@click.option(
    '--directory',
    type=click.Path(path_type=Path, file_okay=False),
    default='report',
    show_default=True,
    help='Folder for results.json, report.html and figures/.',
)
@click.option(
    '--references',
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help='File of published values to compare with, besides the values of this package; may be repeated.',
)
@click.option(
    '--validation',
    'validations',
    multiple=True,
    help='PK or UUID of a process of mghdiff.validate whose errors the report shows, too; may be repeated.',
)
@click.option(
    '--barrier',
    'barriers',
    multiple=True,
    help='PK or UUID of a process of mghdiff.neb whose barrier the report shows, too; may be repeated.',
)
def report(
    study: str,
    profile: str | None,
    directory: Path,
    references: tuple[Path, ...],
    validations: tuple[str, ...],
    barriers: tuple[str, ...],
) -> None:
    """Write numbers, figures (PNG, PDF, SVG) and one HTML page of STUDY, the PK or UUID of a study, finished or not."""
    from aiida_mghdiff.cli import environment
    from aiida_mghdiff.cli.unexpected import watch

    environment.load(profile)
    node = load_study(study)
    watch(study=node)
    others = [[load(identifier) for identifier in given] for given in (validations, barriers)]
    from aiida_mghdiff.report import result_table, write_report
    from aiida_mghdiff.report.references import ReferencesError
    from aiida_mghdiff.report.study import ForeignNodeError

    try:
        results = write_report(node, directory, references, *others)
    except (ReferencesError, ForeignNodeError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(result_table(results))
    for name in ('results.json', 'report.html', 'figures'):
        click.echo((directory / name).resolve())


def load_study(identifier: str) -> WorkChainNode:
    """Return the node of a study.

    :raises SetupError: if there is no such node, or the node is no study.
    """
    from aiida_mghdiff.cli.environment import SetupError

    node = load(identifier)
    if getattr(node, 'process_type', None) != STUDY:
        raise SetupError(f'{identifier} is a {type(node).__name__}, not a study: name a process of mghdiff.study.')
    return node  # type: ignore[return-value]  # its entry point shows the type


def load(identifier: str) -> Node:
    """Return a node.

    :raises SetupError: if there is no such node.
    """
    from aiida.common.exceptions import MultipleObjectsError, NotExistent
    from aiida.orm import load_node

    from aiida_mghdiff.cli.environment import SetupError

    try:
        return load_node(identifier)
    except (NotExistent, MultipleObjectsError, ValueError) as error:
        raise SetupError(f'{identifier} is no node of this profile ({error}): see `verdi process list -a`.') from None
