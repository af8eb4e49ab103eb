"""Exit codes of calcfunctions: stated in the specification, met with a sentence, with the source kept."""

import pytest
from aiida import orm

from aiida_mghdiff.calculations.functions import (
    arrhenius,
    dataset,
    diffusion,
    labels,
    metrics,
    paths,
    refusals,
    starts,
    supercell,
    volume,
)

FUNCTIONS = [
    arrhenius.arrhenius_fit,
    dataset.dataset_from_mlab,
    dataset.dataset_from_extxyz,
    dataset.split_dataset,
    diffusion.diffusion_coefficient,
    labels.collect_labels,
    labels.gather_frames,
    metrics.error_metrics,
    paths.path_endpoints,
    paths.interpolate_path,
    starts.select_starts,
    supercell.build_hcp,
    supercell.build_supercell,
    volume.mean_volume,
    volume.scale_state,
    volume.scale_structure,
]


@pytest.mark.parametrize('function', FUNCTIONS, ids=lambda function: function.__name__)
def test_exit_codes_are_in_the_specification(function):
    stated = {code.status for code in function.spec().exit_codes.values() if code.status >= 200}
    assert stated
    assert stated <= {status for status, _, _ in refusals.REFUSALS.values()}


def test_statuses_are_unique_and_every_refusal_is_used():
    statuses = [status for status, _, _ in refusals.REFUSALS.values()]
    used = {code.status for function in FUNCTIONS for code in function.spec().exit_codes.values() if code.status >= 200}
    assert sorted(used) == sorted(statuses)


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
