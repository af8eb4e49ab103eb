"""Datasets of several jobs are merged into one, or refused if they do not fit together."""

from __future__ import annotations

from aiida import orm
from vasp_md_runs import learned_dataset

from aiida_mghdiff.calculations.functions.merge import merge_datasets
from aiida_mghdiff.data.dataset import DatasetData


def test_groups_and_stages_of_one_name_become_one(aiida_profile):
    stages = {'seg000': ('heating', 2), 'seg001': ('hold', 1), 'seg002': ('heating', 1)}
    merged = merge_datasets(**{key: learned_dataset(*values) for key, values in stages.items()})
    assert merged.base.attributes.get('group_names') == ['heating, stretch 0', 'hold, stretch 0']
    assert merged.base.attributes.get('stage_names') == ['heating', 'hold']
    assert merged.get_array('groups').tolist() == merged.get_array('stages').tolist() == [0, 0, 1, 0]
    assert merged.get_array('steps').tolist() == [0, 1, 0, 0]


def test_no_dataset_without_a_label_that_converged(aiida_profile):
    _, node = merge_datasets.run_get_node(a=learned_dataset(converged=[0, -1], count=2))
    assert node.exit_status == 228
    assert 'no configuration has a converged SCF' in node.exit_message


def with_a_large_force(is_learned):
    """Return a dataset of three configurations; one force of the last one is implausibly large."""
    node = learned_dataset(count=3, converged=[1, 0, 1])
    names = {'energy_kind': 'free', 'labelled_by': 'vasp', **node.names}
    arrays = node.get_arrays()
    arrays['forces'][-1, 0] = -150.0
    return DatasetData.from_arrays({k: v for k, v in arrays.items() if is_learned or k != 'converged'}, **names)


def test_says_what_it_leaves_out(aiida_profile):
    merged, node = merge_datasets.run_get_node(a=with_a_large_force(is_learned=True))
    assert merged.get_array('steps').tolist() == [0]
    words = 'a: 2 of 3 configurations are left out: the SCF of 1 is not known to have converged, the other'
    assert [log.message for log in orm.Log.collection.get_logs_for(node) if words in log.message]


def test_keeps_what_a_user_allowed(aiida_profile):
    """A dataset without data on its SCF was read from a file, and the reader has judged its labels."""
    merged = merge_datasets(a=with_a_large_force(is_learned=False))
    assert merged.get_array('forces').min() == -150.0
    assert merged.get_array('steps').tolist() == [0, 1, 2]


def with_isolated_atoms(**energies):
    """Return a part with isolated atoms."""
    node = learned_dataset()
    names = {
        name: node.base.attributes.get(name) for name in ('energy_kind', 'labelled_by', 'group_names', 'stage_names')
    }
    return DatasetData.from_arrays(node.get_arrays(), isolated_atoms=energies, **names)


def test_isolated_atoms_of_all_parts_are_kept(aiida_profile):
    parts = {'a': with_isolated_atoms(H=-1.0), 'b': learned_dataset(), 'c': with_isolated_atoms(H=-1.0, Mg=-0.25)}
    assert merge_datasets(**parts).isolated_atoms == {'H': -1.0, 'Mg': -0.25}
    _, node = merge_datasets.run_get_node(**parts, d=with_isolated_atoms(H=-2.0))
    assert node.exit_status == 228
    assert 'd: an isolated H has -2.0 eV, but -1.0 eV before: keep one of the two.' in node.exit_message


def test_labels_do_not_mix(aiida_profile):
    parts = {'a': learned_dataset(labels='vasp'), 'b': learned_dataset(labels='standin:chgnet-r2scan')}
    _, node = merge_datasets.run_get_node(**parts)
    assert node.exit_status == 228
