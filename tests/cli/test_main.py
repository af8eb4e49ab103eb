"""The command as a user calls it."""

from __future__ import annotations

from click.testing import CliRunner

from aiida_mghdiff.cli import COMMANDS, LazyGroup, main


def test_every_command_has_help():
    for name in COMMANDS:
        result = CliRunner().invoke(main, [name, '--help'])
        assert result.exit_code == 0, result.output


def test_listing():
    result = CliRunner().invoke(main, ['--help'])
    assert result.exit_code == 0
    for name, (_, text) in COMMANDS.items():
        assert name in result.output
        assert text.split()[0] in result.output


def test_unknown_command():
    result = CliRunner().invoke(main, ['nonsense'])
    assert result.exit_code == 2
    assert "No such command 'nonsense'" in result.output
    assert isinstance(main, LazyGroup)
