"""Splits keep groups whole, are fair in size and composition, and depend only on the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_mghdiff.science.splits import SplitError, check_indices, split_by_group

FRACTIONS = {'training': 0.8, 'validation': 0.1, 'test': 0.1}


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2)), min_size=3, max_size=25),
    fractions=st.sampled_from([FRACTIONS, {'training': 0.1, 'validation': 0.1, 'test': 0.8}]),
    seed=st.integers(1, 100),
    order=st.randoms(use_true_random=False),
)
def test_every_split(sizes, fractions, seed, order):
    frames = [(group, composition) for group, (size, composition) in enumerate(sizes) for _ in range(size)]
    order.shuffle(frames)
    groups, compositions = zip(*frames, strict=True)
    parts = split_by_group(groups, compositions, fractions, seed)
    assert set(parts) == set(fractions)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(frames)))
    check_indices(parts, groups)
    for part in parts.values():
        assert len(part) > 0
        assert (np.diff(part) > 0).all()
    number_of_compositions = len({composition for _, composition in sizes})
    in_training = {compositions[index] for index in parts['training']}
    assert len(in_training) >= min(number_of_compositions, len(sizes) - 2)


@pytest.mark.parametrize('training', [0.5, 0.8])
def test_shares_of_single_frames_are_met(training):
    compositions = ['a'] * 600 + ['b'] * 300 + ['c'] * 100
    fractions = {'training': training, 'test': 1 - training}
    parts = split_by_group(range(1000), compositions, fractions, 1)
    for name, count in (('a', 600), ('b', 300), ('c', 100)):
        found = sum(compositions[index] == name for index in parts['training'])
        assert abs(found - training * count) <= 2


def test_seed_decides():
    arguments = (range(50), ['a'] * 50, FRACTIONS)
    splits = [split_by_group(*arguments, seed)['test'].tolist() for seed in (1, 1, 2, 3)]
    assert splits[0] == splits[1]
    assert len({tuple(split) for split in splits}) == 3


def test_part_without_a_share_is_left_out():
    assert set(split_by_group(range(4), 'aaaa', {'training': 0.5, 'validation': 0.0, 'test': 0.5}, 1)) == {
        'training',
        'test',
    }


def test_too_few_groups():
    with pytest.raises(SplitError, match='3 sets need as many groups of frames, but the dataset has 2'):
        split_by_group([0, 0, 1], 'aaa', FRACTIONS, 1)


@pytest.mark.parametrize(
    ('parts', 'words'),
    [
        ({'training': [0, 4]}, 'training asks for frame 4, but the dataset has frames 0 to 3'),
        ({'training': [-1]}, 'frame -1'),
        ({'training': [0, 0]}, 'frame 0 is given twice'),
        ({'training': [0, 3], 'test': [3]}, 'frame 3 is given twice'),
        ({'training': [0, 3], 'test': [1]}, 'frame 1 of test is correlated with frames of training'),
    ],
)
def test_indices_that_are_refused(parts, words):
    with pytest.raises(SplitError, match=words):
        check_indices(parts, [0, 0, 1, 2])


def test_indices_that_are_fine():
    check_indices({'training': [0, 1], 'test': [3]}, [0, 0, 1, 2])
