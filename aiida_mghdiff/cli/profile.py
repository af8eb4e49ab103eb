"""`aiida-mghdiff profile`: make or load a self-contained AiiDA profile in a folder."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command()
@click.argument('directory', type=click.Path(path_type=Path, file_okay=False))
@click.option('--workers', type=click.IntRange(min=0), default=1, show_default=True, help='Daemon workers; 0 for none.')
@click.option('--stop', is_flag=True, help='Only stop the daemon of the profile.')
def profile(directory: Path, workers: int, stop: bool) -> None:
    """Make or load a profile that uses DIRECTORY only, and start its daemon.

    The profile needs no service: it has SQLite storage and the ZeroMQ broker. To remove it, delete the folder.
    """
    from aiida.engine.daemon.client import DaemonException

    from aiida_mghdiff.cli import environment

    if stop and not (directory / '.aiida').is_dir():
        raise click.ClickException(f'there is no profile in {directory}: leave out --stop to make one.')
    try:
        if not stop:
            environment.check_place(directory)
        loaded = environment.make_profile(directory)
        if stop:
            environment.stop_daemon()
            return
        environment.open_storage(loaded)
        if workers:
            start_daemon(workers)
    except DaemonException as error:
        raise click.ClickException(str(error)) from None
    click.echo(f'Profile {loaded.name} in {directory.resolve()}. To use it in this shell:')
    click.echo(f'  export AIIDA_PATH={shlex.quote(str(directory.resolve()))}')


def start_daemon(workers: int) -> None:
    """Start the daemon, repair the damage if it was killed, and report the repair."""
    from aiida_mghdiff.cli import environment

    if lost := environment.start_daemon(workers):
        click.echo(environment.lost_words(lost))
    environment.DaemonKeeper().heal(click.echo)
