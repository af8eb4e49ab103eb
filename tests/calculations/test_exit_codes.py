"""Exit codes: one table, one meaning for each number; calcfunctions refuse with a sentence, nodes keep the source."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import BaseRestartWorkChain, CalcJob, Process, WorkChain
from aiida_lammps.calculations.raw import LammpsRawCalculation
from aiida_vasp.calcs.vasp import VaspCalculation

import aiida_mghdiff
from aiida_mghdiff.calculations.exit_codes import EXIT_CODES, INHERITED, REFUSALS, TABLE, exit_codes, has_ended_with
from aiida_mghdiff.calculations.functions import arrhenius, supercell
from aiida_mghdiff.formats.job_files import EXIT_STATUS

SOURCES = [path for path in Path(aiida_mghdiff.__file__).parent.rglob('*.py') if 'executables' not in path.parts]
ROWS = {f'ERROR_{row.name}': row for row in TABLE}


def processes() -> Iterator[tuple[str, type[Process]]]:
    """Yield each process of the package with the name of its entry point."""
    for group in ('aiida.calculations', 'aiida.workflows'):
        for entry_point in entry_points(group=group):
            if entry_point.value.startswith('aiida_mghdiff.'):
                process = entry_point.load()
                yield entry_point.name, process if isinstance(process, type) else process.process_class


def inventory() -> list[tuple[str, int, str, str, bool]]:
    """Return process, status, label, message and caching flag of each exit code of each process."""
    return [
        (name, code.status, label, code.message, code.invalidates_cache)
        for name, process in processes()
        for label, code in process.spec().exit_codes.items()
    ]


def test_a_number_has_one_meaning_and_a_meaning_one_number():
    meanings, numbers = defaultdict(set), defaultdict(set)
    for _, status, label, message, forgotten in inventory():
        meanings[status].add((label, message, forgotten))
        numbers[label].add(status)
        numbers[re.sub(r'\W+', ' ', message).lower()].add(status)
    assert {status: words for status, words in meanings.items() if len(words) > 1} == {}
    several = {word: found for word, found in numbers.items() if len(found) > 1 and word != ' message '}
    assert several == {}


def test_processes_have_rows_of_the_table_and_what_they_inherit():
    inherited = set().union(*INHERITED.values())
    found = {label: status for _, status, label, _, _ in inventory()}
    assert {status for label, status in found.items() if label not in ROWS} <= inherited
    assert {label: found.get(label) for label in ROWS} == {label: row.status for label, row in ROWS.items()}


def test_table_reuses_no_status_of_another_package():
    theirs = {
        'aiida-core': CalcJob.spec().exit_codes | WorkChain.spec().exit_codes,
        "AiiDA's restart loop": BaseRestartWorkChain.spec().exit_codes,
        'aiida-lammps': LammpsRawCalculation.spec().exit_codes,
        'aiida-vasp': VaspCalculation.spec().exit_codes,
    }
    core = {code.status for code in theirs['aiida-core'].values()}
    for package, codes in theirs.items():
        own = {code.status for code in codes.values()} - (set() if package == 'aiida-core' else core | {0})
        assert own <= set(INHERITED[package]), package
    assert {row.status for row in TABLE} & set().union(*INHERITED.values()) == set()


def test_rows_are_sorted_and_say_what_heals_them():
    statuses = [row.status for row in TABLE]
    assert statuses == sorted(set(statuses))
    assert [row.name for row in TABLE if not (row.cure.endswith('.') and row.message)] == []
    assert len({row.name for row in TABLE}) == len(TABLE)


def test_programs_end_with_rows_of_the_table():
    """One name is not in the table: LABEL_FAILED, for GPAW failing inside the stand-in."""
    assert [name for name in EXIT_STATUS if f'ERROR_{name}' not in ROWS] == ['LABEL_FAILED']


def nodes_of(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Yield each syntax node of a kind in the package's sources, with its place."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kind):
                yield f'{path.name}:{node.lineno}', node


def test_nothing_compares_an_exit_status_with_a_number():
    places = []
    for place, node in nodes_of(ast.Compare):
        words = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
        numbers = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
        if 'exit_status' in words and any(isinstance(number, int) and number != 0 for number in numbers):
            places.append(place)
    assert places == []


def test_no_exit_code_is_made_outside_of_the_table():
    calls = [
        place
        for place, node in nodes_of(ast.Call)
        if (isinstance(node.func, ast.Attribute) and node.func.attr == 'exit_code')
        or (isinstance(node.func, ast.Name) and node.func.id == 'ExitCode' and isinstance(node.args[0], ast.Constant))
    ]
    assert {place.split(':')[0] for place in calls} == {'exit_codes.py'}


def test_messages_get_all_their_words():
    wrong = []
    for place, node in nodes_of(ast.Call):
        label = node.func.value.attr if isinstance(node.func, ast.Attribute) and is_label(node.func.value) else None
        if label and node.func.attr == 'format':
            given = {keyword.arg for keyword in node.keywords}
            if given != set(re.findall(r'{(\w+)', ROWS[label].message)):
                wrong.append((place, label, given))
    assert wrong == []


def is_label(node: ast.AST) -> bool:
    """Return whether a node of a syntax tree names an exit code of the table."""
    return isinstance(node, ast.Attribute) and node.attr in ROWS


def test_ends_are_known_by_name(generate_job_node):
    node = generate_job_node('mghdiff.ase.md', 420)
    assert has_ended_with(node, 'OUT_OF_WALLTIME', 'NON_FINITE')
    assert not has_ended_with(node, 'OUT_OF_WALLTIME')
    with pytest.raises(KeyError, match='NO_SUCH_ROW'):
        exit_codes('NO_SUCH_ROW')
    assert EXIT_CODES.ERROR_NON_FINITE.status == 420


def test_a_node_of_an_unknown_status_is_shown_as_it_is(generate_job_node):
    node = generate_job_node('mghdiff.evaluate', 302, exit_message='An output file cannot be read: results.json')
    assert not has_ended_with(node, 'OUTPUT_INVALID')
    assert (node.exit_status, node.exit_message.split(':')[0]) == (302, 'An output file cannot be read')


def test_every_refusal_of_a_calcfunction_is_used():
    labels = {label for name, process in processes() if issubclass(process, Process) for label in own_labels(process)}
    assert {f'ERROR_{name}' for name in REFUSALS.values()} <= labels


def own_labels(process: type[Process]) -> set[str]:
    """Return the labels of the table that a process can end with."""
    return set(process.spec().exit_codes) & set(ROWS)


def test_settings_are_complete_or_refused_by_name():
    _, node = supercell.build_hcp.run_get_node(orm.Dict({'element': 'Mg', 'a': 3.2, 'repeats': [1, 1, 1]}))
    assert node.exit_status == 220
    assert node.exit_message.startswith('settings lack c:')
    assert list(node.outputs) == []


def test_the_node_keeps_the_source_of_its_function():
    _, node = supercell.build_hcp.run_get_node(orm.Dict({}))
    assert 'def build_hcp' in node.base.repository.get_object_content('source_file')
    assert node.function_name == 'build_hcp'


def test_other_errors_are_not_swallowed():
    with pytest.raises(KeyError):
        arrhenius.arrhenius_fit(t300k=orm.Dict({'temperature_k': 300.0}))
