"""The table of architectures, and that nothing beside it and the table of engines asks for a name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import aiida_mghdiff
from aiida_mghdiff.data.architectures import CHGNET, MACE, VASP_MLFF, architecture_of, architectures

PACKAGE = Path(aiida_mghdiff.__file__).parent
NAMES = {'mace', 'chgnet', 'vasp-mlff'}
#: The two tables, the calculators, and the packages that the doctor looks for, which have the same names.
TABLES = ('data/architectures.py', 'workflows/engines.py', 'programs/calculators/', 'cli/doctor.py')


def chosen_by_name(source):
    """Lines that compare something with the name of an architecture, or look something up by it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            asked = list(filter(None, node.keys))
        elif isinstance(node, ast.Subscript):
            asked = [node.slice]
        elif isinstance(node, ast.MatchValue):
            asked = [node.value]
        elif isinstance(node, ast.Call) and getattr(node.func, 'attr', None) in ('get', 'startswith', 'endswith'):
            asked = node.args
        else:
            continue
        parts = [part for item in asked for part in (getattr(item, 'elts', None) or [item])]
        if any(isinstance(part, ast.Constant) and part.value in NAMES for part in parts):
            yield node.lineno


def test_no_other_module_asks_for_an_architecture_by_its_name():
    found = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(TABLES) and (lines := list(chosen_by_name(path.read_text()))):
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
    ],
)
def test_a_choice_by_name_is_seen(source):
    assert list(chosen_by_name(source))


def test_names_titles_types_and_elements():
    assert list(architectures()) == ['mace', 'chgnet', 'vasp-mlff']
    assert [architecture.title for architecture in (MACE, CHGNET, VASP_MLFF)] == ['MACE', 'CHGNet', 'VASP MLFF']
    assert (CHGNET.dtypes, MACE.dtypes[0]) == (('float32',), 'float64')
    assert (CHGNET.elements[0], CHGNET.elements[-1], MACE.elements) == ('H', 'Pu', None)
    with pytest.raises(ValueError, match="no architecture 'mac': it must be one of mace, chgnet, vasp-mlff"):
        architecture_of('mac')


def test_our_calculators_are_the_business_of_cache_versions():
    """A digest of their sources would make each job of these potentials anew after a change of a docstring."""
    assert [architecture.calculator_digest for architecture in (MACE, CHGNET, VASP_MLFF)] == [None, None, None]
    assert b'MACECalculator' in MACE.calculator_source
