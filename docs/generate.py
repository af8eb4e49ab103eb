"""Make pages of the manual from the code: exit codes, command line, protocols, the logic of workflows.

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
from aiida.engine import BaseRestartWorkChain, CalcJob, ExitCode

from aiida_mghdiff.calculations.exit_codes import INHERITED, TABLE

DISTRIBUTION = 'aiida-mghdiff'
#: Below it are the codes of aiida-core itself.
OWN = 200
GROUPS = {'aiida.workflows': 'Workflows', 'aiida.calculations': 'Calculations and calcfunctions'}


def write_pages(folder: Path) -> None:
    """Write all generated pages and pictures into a folder, by default the manual's."""
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
    """Yield the table of exit codes, the inherited exit codes, and the exit codes of each process."""
    codes = {name: own_codes(process) for group in GROUPS for name, process in processes(group)}
    jobs = {label for _, process in processes('aiida.calculations') if is_job(process) for label in own_codes(process)}
    yield '# Exit codes\n'
    yield (
        'A number has one meaning in the whole package. 200s: an input is refused; 300s: outputs are missing or '
        'incomplete; 400s: a restart with more time, memory or steps helps; 500s: the program ended with an unusable '
        'result; 600s: a workflow stopped because a step or child failed. Codes below 200 belong to AiiDA itself.\n'
    )
    yield (
        'With caching on, a job that ended with a cached code is not run again for the same inputs, because the same '
        'inputs would give the same code (400: if outputs continue the job). Failures of a machine or environment are '
        'not cached. Calcfunctions and '
        'workflows are never taken from the cache. A restart loop that stops at a refused input ends with the code of '
        'its job. Nodes keep their number and message, also if a later version changed '
        'the number.\n'
    )
    yield '## Table\n'
    yield '| status | label | message | cure | cached |\n|---|---|---|---|---|'
    for row in TABLE:
        cached = ('no' if row.invalidates_cache else 'yes') if f'ERROR_{row.name}' in jobs else ''
        yield f'| {row.status} | `ERROR_{row.name}` | {escaped(row.message)} | {escaped(row.cure)} | {cached} |'
    yield '\n## Inherited\n'
    yield 'Processes inherit these from other packages. The table reuses none of the numbers of these packages:\n'
    yield from (f'- {package}: {", ".join(map(str, statuses))}' for package, statuses in INHERITED.items())
    yield '\n| status | label | message |\n|---|---|---|'
    known = {f'ERROR_{row.name}' for row in TABLE}
    inherited = {item for each in codes.values() for item in each.items() if item[0] not in known}
    for label, code in sorted(inherited, key=lambda item: item[1].status):
        yield f'| {code.status} | `{label}` | {escaped(code.message)} |'
    for group, title in GROUPS.items():
        yield f'\n## {title}\n'
        yield '| process | exit codes |\n|---|---|'
        for name, _ in processes(group):
            yield f'| `{name}` | {", ".join(str(code.status) for code in sorted(codes[name].values()))} |'
    yield ''


def own_codes(process: Any) -> dict[str, ExitCode]:
    """Return the exit codes of a process that are not AiiDA's own, by label."""
    return {label: code for label, code in process.spec().exit_codes.items() if code.status >= OWN}


def is_job(process: Any) -> bool:
    """Return whether a process is a job, whose calls are taken from the cache."""
    return isinstance(process, type) and issubclass(process, CalcJob)


def escaped(text: str) -> str:
    """Return a text for a cell of a table."""
    return text.replace('|', r'\|').replace('{', '`{').replace('}', '}`')


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
    """Yield the protocols: their descriptions, and the files themselves."""
    yield '# Protocols\n'
    yield (
        'A protocol is a named set of settings; `get_builder_from_protocol(..., protocol=..., overrides=...)` fills a '
        'builder from it. All defaults are in these files and nowhere else: what reaches a job is complete. Overrides '
        'have the shape of the file, and change what they name. A key that the file does not have is refused, with its '
        'place and the nearest key that the file has. The keys of some places are yours: tags of INCAR, parameters of '
        'GPAW, energies by element, labels of trainings, paths and diffusion runs. null takes a label out.\n'
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
    """Yield the table of the handlers of a restart loop, in the order of their calls."""
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
