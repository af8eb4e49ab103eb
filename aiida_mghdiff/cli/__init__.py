"""The command `aiida-mghdiff`. A subcommand's module is imported only when it is called, so that `--help` is quick."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from aiida_mghdiff.cli.home import import_aiida

#: name: (module:command, one line of help). The help stands here so that a list of commands imports nothing.
COMMANDS = {
    'setup': ('aiida_mghdiff.cli.setup:setup', 'Make the computer and the codes in an AiiDA profile.'),
    'doctor': ('aiida_mghdiff.cli.doctor:doctor', "Check the codes' environments, and compare them with earlier jobs."),
    'profile': ('aiida_mghdiff.cli.profile:profile', 'Make a self-contained AiiDA profile in a folder.'),
    'report': ('aiida_mghdiff.cli.report:report', 'Write the report and figures of a stored study.'),
    'demo': ('aiida_mghdiff.cli.demo:demo', 'Run a whole study in its own profile and write its report.'),
}


class LazyGroup(click.Group):
    """A command group that imports a subcommand only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand."""
        if cmd_name not in COMMANDS:
            return None
        import_aiida(cmd_name)
        module, name = COMMANDS[cmd_name][0].split(':')
        return getattr(import_module(module), name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a subcommand; after an unexpected failure, print a message and keep the traceback in a log."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            from aiida_mghdiff.cli.unexpected import failure

            raise failure(ctx, error) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section('Commands'):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(package_name='aiida-mghdiff')
def main() -> None:
    """Hydrogen diffusion in magnesium with machine-learning potentials, through AiiDA."""
