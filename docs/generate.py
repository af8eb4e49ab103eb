"""Pages of the manual that are made from the code: exit codes, command line, protocols, the logic of workflows.

``conf.py`` calls this at each build; ``python docs/generate.py`` writes the pages alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import click
import pictures
import yaml
from aiida.engine import BaseRestartWorkChain, ExitCode, WorkChain

DISTRIBUTION = 'aiida-mghdiff'
#: Below it are the codes of aiida-core itself.
OWN = 200
GROUPS = {'aiida.workflows': 'Workflows', 'aiida.calculations': 'Calculations and calcfunctions'}


def write_pages(folder: Path) -> None:
    """Write all generated pages and pictures into a folder, that of the manual."""
    for name in ('reference', 'topics', 'developer'):
        (folder / name).mkdir(exist_ok=True)
    for name, lines in (
        ('reference/exit_codes', exit_code_lines()),
        ('reference/command_line', command_line_lines()),
        ('reference/protocols', protocol_lines()),
        ('topics/workflow_logic', workflow_lines(folder / 'topics')),
    ):
        (folder / f'{name}.md').write_text('\n'.join(lines) + '\n')
    pictures.draw_rooms(folder / 'developer' / 'rooms.svg')


def exit_code_lines() -> Iterator[str]:
    """Yield a table of the exit codes of each process."""
    yield '# Exit codes\n'
    yield (
        'Made from the specifications of the processes. 200s: input; 300s: output missing or unreadable; 400s: what a '
        'restart or a look at the children may cure; 500s: the program ended, but not well. With caching on, a job '
        'that ended with a code that is cached is not run again for the same inputs (with 400: if it left outputs '
        'that continue it); workflows are never cached. '
        'Codes below 200 are those of AiiDA itself.\n'
    )
    for group, title in GROUPS.items():
        yield f'## {title}\n'
        for name, process in processes(group):
            codes = {label: code for label, code in process.spec().exit_codes.items() if code.status >= OWN}
            if codes:
                workchain = isinstance(process, type) and issubclass(process, WorkChain)
                yield from exit_code_table(name, codes, cached=not workchain)


def exit_code_table(name: str, codes: dict[str, ExitCode], cached: bool) -> Iterator[str]:
    """Yield the section of one process."""
    yield f'### `{name}`\n'
    yield '| status | label | message |' + ' cached |' * cached
    yield '|---|---|---|' + '---|' * cached
    for label, code in sorted(codes.items(), key=lambda item: item[1].status):
        message = str(code.message).replace('|', r'\|').replace('{', '`{').replace('}', '}`')
        again = f' {"no" if code.invalidates_cache else "yes"} |' * cached
        yield f'| {code.status} | `{label}` | {message} |' + again
    yield ''


def processes(group: str) -> Iterator[tuple[str, Any]]:
    """Yield the processes of this package in an entry-point group, by name."""
    entry_points = metadata.distribution(DISTRIBUTION).entry_points.select(group=group)
    for entry_point in sorted(entry_points, key=lambda item: item.name):
        yield entry_point.name, entry_point.load()


def command_line_lines() -> Iterator[str]:
    """Yield the help texts of the command."""
    from aiida_mghdiff.cli import main
    from aiida_mghdiff.executables.lmp import launcher

    yield '# Command line\n'
    yield from help_text('aiida-mghdiff', main, None)
    parent = click.Context(main, info_name='aiida-mghdiff')
    for name in main.list_commands(parent):
        yield from help_text(f'aiida-mghdiff {name}', main.get_command(parent, name), parent)
    yield '## `mghdiff-lmp`\n\n```text'
    yield launcher.HELP
    yield from (f'    {status:3d}  {name}' for name, status in launcher.launcher_failures().items())
    yield '```'


def help_text(title: str, command: click.Command, parent: click.Context | None) -> Iterator[str]:
    """Yield the help of one command."""
    context = click.Context(command, info_name=title.split()[-1], parent=parent, max_content_width=100)
    yield f'## `{title}`\n\n```text'
    yield command.get_help(context)
    yield '```\n'


def protocol_lines() -> Iterator[str]:
    """Yield the protocols: what they are for, and the files themselves."""
    yield '# Protocols\n'
    yield (
        'A protocol is a named set of settings; `get_builder_from_protocol(..., protocol=..., overrides=...)` fills a '
        'builder from it. All defaults are in these files and nowhere else: what reaches a job is complete.\n'
    )
    root = resources.files('aiida_mghdiff') / 'workflows' / 'protocols'
    for path in sorted(Path(str(root)).rglob('*.yaml')):
        text = path.read_text()
        yield f'## `{path.relative_to(Path(str(root))).with_suffix("")}`\n'
        content = yaml.safe_load(text)
        for name, protocol in content.get('protocols', {}).items():
            default = ' (default)' if name == content.get('default_protocol') else ''
            yield f'`{name}`{default}\n: {(protocol or {}).get("description", "")}\n'
        yield f'```yaml\n{text}```\n'


def workflow_lines(folder: Path) -> Iterator[str]:
    """Yield the outline of each workflow, drawn into the folder, and its handlers."""
    yield '# Logic of the workflows\n'
    yield (
        'Made from the code. Each picture reads from top to bottom: a step in blue, and what it does. A solid frame is '
        'repeated as long as its condition holds, a dashed frame is entered only if its condition holds. A restart '
        'loop repeats one job; after each, its handlers are asked in this order, and one may end the loop, or change '
        'the inputs of the next job.\n'
    )
    for name, workchain in processes('aiida.workflows'):
        picture = f'outline_{name.removeprefix("mghdiff.")}.svg'
        pictures.draw_outline(folder / picture, workchain)
        yield f'## `{name}`\n\n{first_sentence(workchain)}\n\n![Outline of {name}]({picture})\n'
        if issubclass(workchain, BaseRestartWorkChain):
            yield from handler_lines(workchain)


def handler_lines(workchain: type[BaseRestartWorkChain]) -> Iterator[str]:
    """Yield the table of the handlers of a restart loop, the first to be asked first."""
    yield '| handler | asked after | does |\n|---|---|---|'
    for handler in sorted(workchain.get_process_handlers(), key=lambda each: -each.priority):
        # AiiDA keeps the exit codes of a handler in the closure of its wrapper alone
        codes = inspect.getclosurevars(handler._self_wrapper).nonlocals.get('exit_codes')
        asked = ', '.join(str(code.status) for code in codes) if codes else 'every job'
        yield f'| `{handler.__name__}` | {asked} | {first_sentence(handler)} |'
    yield ''


def first_sentence(documented: Any) -> str:
    """Return the first paragraph of a docstring in one line."""
    return ' '.join(inspect.getdoc(documented).split('\n\n')[0].split())


if __name__ == '__main__':
    write_pages(Path(__file__).parent)
