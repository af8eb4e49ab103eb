"""Exit codes of calcfunctions: stated in the specification, met with a sentence, with the source kept."""

from importlib.metadata import entry_points

import pytest
from aiida import orm

from aiida_mghdiff.calculations import exit_codes
from aiida_mghdiff.calculations.functions import arrhenius, supercell


def stated(function):
    """Return the exit statuses in the specification of a calcfunction."""
    return {code.status for code in function.spec().exit_codes.values() if code.status >= 200}


CALCFUNCTIONS = [
    entry_point.load()
    for entry_point in entry_points(group='aiida.calculations')
    if entry_point.value.startswith('aiida_mghdiff.calculations.functions.')
]
FUNCTIONS = [function for function in CALCFUNCTIONS if stated(function)]


@pytest.mark.parametrize('function', FUNCTIONS, ids=lambda function: function.__name__)
def test_exit_codes_are_in_the_specification(function):
    assert stated(function) <= {status for status, _, _ in exit_codes.REFUSALS.values()}


def test_statuses_are_unique_and_every_refusal_is_used():
    statuses = [status for status, _, _ in exit_codes.REFUSALS.values()]
    assert sorted(set().union(*map(stated, FUNCTIONS))) == sorted(statuses)


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
