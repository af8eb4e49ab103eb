"""The table of architectures; only this table and the table of engines ask for a name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import aiida_mghdiff
from aiida_mghdiff.data.architectures import CHGNET, MACE, VASP_MLFF, architecture_of, architectures

PACKAGE = Path(aiida_mghdiff.__file__).parent
RECORDS = {'MACE', 'CHGNET', 'VASP_MLFF'}
NAMES = {'mace', 'chgnet', 'vasp-mlff'}
#: The label of the force field that a study learns; no architecture has this name.
LABEL = 'vasp_mlff'
#: The two tables, the calculators, and the doctor, which looks for packages of the same names.
TABLES = ('data/architectures.py', 'workflows/engines.py', 'programs/calculators/', 'cli/doctor.py')
#: Jobs that serve one architecture and refuse all others.
OF_ONE = ('calculations/lammps/md.py', 'calculations/vasp/force_field.py')
METHODS = (
    'get',
    'pop',
    'setdefault',
    'startswith',
    'endswith',
    'removeprefix',
    'removesuffix',
    'index',
    'count',
    'find',
)


def choices_by_name(source):
    """Return the lines that compare with the name of an architecture, or look something up by it."""
    tree = ast.parse(source)
    constants = set(names_of_constants(tree))
    return [
        node.lineno
        for node in ast.walk(tree)
        if any(is_name(part, constants) for item in asked(node) for part in (getattr(item, 'elts', None) or [item]))
    ]


def asked(node):
    """Return the operands of a comparison or the keys of a look-up."""
    match node:
        case ast.Compare():
            return [node.left, *node.comparators]
        case ast.Dict():
            return [key for key in node.keys if key]
        case ast.Subscript():
            return [node.slice]
        case ast.MatchValue():
            return [node.value]
        case ast.Call(func=ast.Attribute(attr=attr)) if attr in METHODS:
            return node.args
    return []


def is_name(node, constants):
    """Return whether an expression gives the name of an architecture, as text, record or constant."""
    match node:
        case ast.Constant(value=str(text)):
            return text in NAMES | {LABEL}
        case ast.Attribute(value=ast.Name(id=record), attr='name'):
            return record in RECORDS
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in RECORDS | constants
    return False


def names_of_constants(tree):
    """Yield the names of variables that a module or class sets to the name of an architecture."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and is_name(node.value, set()) and ast.unparse(node.value) != repr(LABEL):
            yield from (getattr(target, 'id', None) or getattr(target, 'attr', None) for target in node.targets)


def test_no_other_module_asks_for_an_architecture_by_its_name():
    found = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith((*TABLES, *OF_ONE)) and (lines := choices_by_name(path.read_text())):
            found[name] = lines
    assert found == {}


@pytest.mark.parametrize(
    'source',
    [
        "if potential.architecture == 'mace': pass",
        "x = 1 if 'chgnet' != name else 2",
        "ok = name in ('mace', 'chgnet')",
        "load = {'mace': 1}[name]",
        "job = table['vasp-mlff']",
        "job = table.get('chgnet', None)",
        "match name:\n    case 'mace':\n        pass",
        "ok = label.startswith('mace')",
        "tags = evaluation['vasp_mlff']",
        'if potential.architecture == MACE.name: pass',
        'load = {CHGNET.name: 1}[name]',
        "OURS = 'vasp-mlff'\nif name != OURS: pass",
        'class Job:\n    ours = MACE.name\n    def run(self):\n        return self.name == self.ours',
    ],
)
def test_a_choice_by_name_is_seen(source):
    assert choices_by_name(source)


@pytest.mark.parametrize(
    'source',
    [
        'node = import_potential(path, MACE.name)',
        "spec = find_spec('chgnet')",
        "ok = node.architecture == trained['architecture']",
        "LEARNED = 'vasp_mlff'\nlearned = {LEARNED: node}",
    ],
)
def test_a_name_that_chooses_nothing_is_not(source):
    assert not choices_by_name(source)


def test_names_titles_types_and_elements():
    assert list(architectures()) == ['mace', 'chgnet', 'vasp-mlff']
    assert [architecture.title for architecture in (MACE, CHGNET, VASP_MLFF)] == ['MACE', 'CHGNet', 'VASP MLFF']
    assert (CHGNET.dtypes, MACE.dtypes[0]) == (('float32',), 'float64')
    assert (CHGNET.elements[0], CHGNET.elements[-1], MACE.elements) == ('H', 'Pu', None)
    with pytest.raises(ValueError, match="no architecture 'mac': it must be one of mace, chgnet, vasp-mlff"):
        architecture_of('mac')


def test_our_calculators_are_the_business_of_cache_versions():
    """With a digest of their sources, a changed docstring would repeat all jobs of these potentials."""
    assert [architecture.calculator_digest for architecture in (MACE, CHGNET, VASP_MLFF)] == [None, None, None]
    assert b'MACECalculator' in MACE.calculator_source
