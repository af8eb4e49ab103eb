"""The manual knows every process, node and exit code of the package."""

from __future__ import annotations

import importlib.util
import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).parents[1] / 'docs'
ENTRY_POINTS = metadata.distribution('aiida-mghdiff').entry_points


@pytest.fixture(scope='module')
def generated(aiida_profile, tmp_path_factory):
    """The folder of the pages that are made from the code."""
    spec = importlib.util.spec_from_file_location('generate', DOCS / 'generate.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp('reference')
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
    text = (generated / 'exit_codes.md').read_text()
    for group in ('aiida.workflows', 'aiida.calculations'):
        for entry_point in ENTRY_POINTS.select(group=group):
            for label, code in entry_point.load().spec().exit_codes.items():
                if code.status >= 200:
                    assert f'| {code.status} | `{label}` | ' in text


def test_every_exit_code_has_a_message(generated):
    rows = [line for line in (generated / 'exit_codes.md').read_text().splitlines() if re.match(r'\| [0-9]', line)]
    assert len(rows) > 50
    assert not [row for row in rows if not row.split('|')[3].strip()]


def test_commands_and_protocols(generated):
    commands = (generated / 'command_line.md').read_text()
    assert all(f'`aiida-mghdiff {name}`' in commands for name in ('setup', 'doctor', 'profile', 'demo'))
    assert 'usage: mghdiff-lmp' in commands
    assert '`paper`' in (generated / 'protocols.md').read_text()


def test_registry_entry():
    (name, entry), *others = yaml.safe_load((DOCS / 'plugin_registry.yaml').read_text()).items()
    assert (name, entry['entry_point_prefix'], others) == ('aiida-mghdiff', 'mghdiff', [])
    for entry_point in ENTRY_POINTS:
        if entry_point.group.startswith('aiida.'):
            assert entry_point.name.startswith('mghdiff.')
