"""The manual knows every process, node and exit code of the package."""

from __future__ import annotations

import importlib.util
import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from aiida.engine import WorkChain, if_, while_

DOCS = Path(__file__).parents[1] / 'docs'
ENTRY_POINTS = metadata.distribution('aiida-mghdiff').entry_points


@pytest.fixture(scope='module')
def generated(aiida_profile, tmp_path_factory):
    """The folder of the manual with the pages generated from the code."""
    pytest.MonkeyPatch().syspath_prepend(DOCS)
    spec = importlib.util.spec_from_file_location('generate', DOCS / 'generate.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp('docs')
    module.write_pages(folder)
    return folder


@pytest.mark.parametrize('entry_point', ENTRY_POINTS, ids=lambda item: f'{item.group}:{item.name}')
def test_every_entry_point_has_its_place(entry_point):
    pages = {
        'aiida.workflows': ['processes'],
        'aiida.calculations': ['processes', 'functions'],
        'aiida.data': ['nodes'],
    }
    if entry_point.group in pages:
        text = ''.join((DOCS / 'reference' / f'{page}.md').read_text() for page in pages[entry_point.group])
        assert f'`{entry_point.name}`' in text
        assert entry_point.value.split(':')[1] in text


def test_every_exit_code_is_told(generated):
    text = (generated / 'reference' / 'exit_codes.md').read_text()
    for group in ('aiida.workflows', 'aiida.calculations'):
        for entry_point in ENTRY_POINTS.select(group=group):
            for label, code in entry_point.load().spec().exit_codes.items():
                if code.status >= 200:
                    assert f'| {code.status} | `{label}` | ' in text
                    assert re.search(rf'\| `{re.escape(entry_point.name)}` \| .*\b{code.status}\b', text)


def test_every_exit_code_has_a_message(generated):
    rows = [
        line
        for line in (generated / 'reference' / 'exit_codes.md').read_text().splitlines()
        if re.match(r'\| [0-9]', line)
    ]
    assert len(rows) > 50
    assert not [row for row in rows if not row.split('|')[3].strip()]


def test_commands_and_protocols(generated):
    commands = (generated / 'reference' / 'command_line.md').read_text()
    assert all(f'`aiida-mghdiff {name}`' in commands for name in ('setup', 'doctor', 'profile', 'demo'))
    assert 'usage: mghdiff-lmp' in commands
    assert '`paper`' in (generated / 'reference' / 'protocols.md').read_text()


def test_registry_entry():
    (name, entry), *others = yaml.safe_load((DOCS / 'plugin_registry.yaml').read_text()).items()
    assert (name, entry['entry_point_prefix'], others) == ('aiida-mghdiff', 'mghdiff', [])
    for entry_point in ENTRY_POINTS:
        if entry_point.group.startswith('aiida.'):
            assert entry_point.name.startswith('mghdiff.')


def test_every_workflow_is_drawn(generated):
    text = (generated / 'topics' / 'workflow_logic.md').read_text()
    for entry_point in ENTRY_POINTS.select(group='aiida.workflows'):
        assert f'## `{entry_point.name}`' in text
        assert (generated / 'topics' / f'outline_{entry_point.name.removeprefix("mghdiff.")}.svg').is_file()
    assert '| `handle_out_of_walltime` | 400 | Continue from the checkpoint. |' in text


def test_outline_has_every_step_and_condition(generated):
    import pictures

    class Chain(WorkChain):
        @classmethod
        def define(cls, spec):
            super().define(spec)
            spec.outline(cls.first, while_(cls.has_tasks)(if_(cls.is_hot)(cls.first).else_(cls.last)), cls.last)

        def first(self):
            """Do the first thing. And more."""

        def has_tasks(self):
            """Return whether there are."""

        def is_hot(self):
            """Return whether it is."""

        def last(self):
            """Do the last thing."""

    lines = [
        (line.depth, line.name, line.words)
        for line in pictures.outline_lines(Chain.spec().get_outline().get_description())
    ]
    assert lines == [
        (0, 'first', 'Do the first thing.'),
        (0, 'repeat while has tasks', ''),
        (1, 'if is hot', ''),
        (2, 'first', 'Do the first thing.'),
        (1, 'otherwise', ''),
        (2, 'last', 'Do the last thing.'),
        (0, 'last', 'Do the last thing.'),
    ]


def test_rooms_are_drawn(generated):
    import pictures

    rooms = {room for layer in pictures.import_layers() for room in layer}
    package = Path(importlib.util.find_spec('aiida_mghdiff').submodule_search_locations[0])
    assert rooms == {path.stem for path in package.iterdir() if path.suffix in ('', '.py') and path.stem[0] != '_'}
    assert (generated / 'developer' / 'rooms.svg').stat().st_size > 1000
