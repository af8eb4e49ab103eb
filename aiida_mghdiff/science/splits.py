"""Splits of a dataset into sets that never share a group of correlated configurations.

Frames of one molecular dynamics run are correlated: a model must not be tested on frames close in time to its training
frames. Whole groups are distributed, preferably large ones first. Each group goes to the set that lacks most of its
fraction, of the dataset and of the group's composition alike. Before this, one group of each composition goes into the
training set.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


class SplitError(ValueError):
    """A split is not possible."""


@dataclass(frozen=True)
class _Group:
    frames: np.ndarray
    composition: int


def split_by_group(
    groups: Sequence[int], compositions: Sequence[Hashable], fractions: Mapping[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Return the indices of the frames of each set, ascending; sets of fraction zero are left out.

    :param groups: the group of each frame; an uncorrelated frame is its own group.
    :param compositions: the composition of each frame.
    :param fractions: the fraction of each set; they sum to one. ``training`` is one of them.
    :param seed: decides which group goes to which set.
    :raises SplitError: if there are fewer groups than sets.
    """
    shares = {name: share for name, share in fractions.items() if share > 0}
    shuffled = _shuffle_groups(np.asarray(groups), compositions, seed)
    if len(shuffled) < len(shares):
        raise SplitError(f'{len(shares)} sets need as many groups of frames, but the dataset has {len(shuffled)}.')
    sets = _deal(shuffled, shares, _totals(shuffled))
    return {name: np.sort(np.concatenate([group.frames for group in dealt])) for name, dealt in sets.items()}


def hold_out(groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Return a mask ``[n]`` of about ``fraction`` of the frames, in whole groups.

    Groups are taken in random order as long as they bring the number of frames closer to the target.

    :param groups: the group of each frame ``[n]``.
    :raises SplitError: if one side would be empty.
    """
    wanted = max(1.0, fraction * len(groups))
    held: list[int] = []
    count = 0
    for group in np.random.default_rng(seed).permutation(np.unique(groups)):
        size = int(np.sum(groups == group))
        if abs(count + size - wanted) < abs(count - wanted):
            held.append(int(group))
            count += size
    mask = np.isin(groups, held)
    if not held or mask.all():
        raise SplitError(f'{len(groups)} frames cannot be split with validation_fraction {fraction}: give more.')
    return mask


def check_indices(sets: Mapping[str, Sequence[int]], groups: Sequence[int]) -> None:
    """Refuse sets that share a frame or a group, or that name frames that do not exist.

    :raises SplitError: names the frame or the sets.
    """
    owner: dict[int, str] = {}
    seen: set[int] = set()
    for name, indices in sets.items():
        for index in indices:
            if not 0 <= index < len(groups):
                raise SplitError(f'{name} asks for frame {index}, but the dataset has frames 0 to {len(groups) - 1}.')
            if index in seen:
                raise SplitError(f'frame {index} is given twice.')
            if owner.setdefault(groups[index], name) != name:
                raise SplitError(f'frame {index} of {name} is correlated with frames of {owner[groups[index]]}.')
            seen.add(index)


def _shuffle_groups(groups: np.ndarray, compositions: Sequence[Hashable], seed: int) -> list[_Group]:
    """Return the groups in random order, preferably large ones first (if always first, none would be in a test set)."""
    order = np.argsort(groups, kind='stable')
    _, starts = np.unique(groups[order], return_index=True)
    known: dict[Hashable, int] = {}  # numbers are compared faster than long compositions
    members = [
        _Group(frames, known.setdefault(compositions[frames[0]], len(known))) for frames in np.split(order, starts[1:])
    ]
    sizes = np.array([len(group.frames) for group in members])
    ranks = np.argsort(-sizes * np.random.default_rng(seed).uniform(0.5, 1.5, len(members)))
    return [members[index] for index in ranks]


def _totals(groups: Sequence[_Group]) -> dict[int, int]:
    totals: dict[int, int] = {}
    for group in groups:
        totals[group.composition] = totals.get(group.composition, 0) + len(group.frames)
    return totals


def _deal(groups: list[_Group], shares: Mapping[str, float], totals: Mapping[int, int]) -> dict[str, list[_Group]]:
    sets: dict[str, list[_Group]] = {name: [] for name in shares}
    counts = {name: dict.fromkeys(totals, 0) for name in shares}
    sizes, whole = dict.fromkeys(shares, 0), sum(totals.values())

    def give(group: _Group, name: str) -> None:
        sets[name].append(group)
        counts[name][group.composition] += len(group.frames)
        sizes[name] += len(group.frames)

    def lack(name: str, composition: int) -> float:
        of_whole = shares[name] - sizes[name] / whole
        return of_whole + shares[name] - counts[name][composition] / totals[composition]

    first = _first_of_training(groups, shares, totals)
    for group in first:
        give(group, 'training')
    given = {id(group) for group in first}
    rest = [group for group in groups if id(group) not in given]
    for left, group in zip(range(len(rest), 0, -1), rest, strict=True):
        empty = [name for name in shares if not sets[name]]
        candidates = empty if len(empty) >= left else list(shares)
        give(group, max(candidates, key=lambda name: lack(name, group.composition)))
    return sets


def _first_of_training(groups: list[_Group], shares: Mapping[str, float], totals: Mapping[int, int]) -> list[_Group]:
    """Return for each composition the group whose size fits the fraction of training best, as far as groups suffice."""
    members: dict[int, list[_Group]] = {composition: [] for composition in totals}
    for group in groups:
        members[group.composition].append(group)
    first = [
        min(own, key=lambda group: abs(len(group.frames) - shares['training'] * total))
        for own, total in zip(members.values(), totals.values(), strict=True)
    ]
    return first[: len(groups) - len(shares) + 1]
