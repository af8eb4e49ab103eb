"""Choose frames of a run."""

from __future__ import annotations

import numpy as np


class TooFewFramesError(ValueError):
    """A run has too few frames, or frames too close in time."""


def sample_evenly(n_frames: int, count: int, seed: int) -> np.ndarray:
    """Return the indices [count], ascending, of evenly spaced frames: systematic sampling.

    The frames are divided into ``count`` equal pieces, and each piece gives the frame at the same random place in it.
    Every frame has the same chance.

    :raises TooFewFramesError: if there are fewer frames than requested.
    """
    if count > n_frames:
        raise TooFewFramesError(
            f'{count} frames are requested, but there are {n_frames}: record more frames, run longer, or sample fewer.'
        )
    place = np.random.default_rng(seed).uniform()
    return np.floor((np.arange(count) + place) * n_frames / count).astype(int)


def select_starts(
    times_ps: np.ndarray, total_energies_ev: np.ndarray, count: int, minimum_spacing_ps: float, discard_fraction: float
) -> np.ndarray:
    """Return the indices [count], ascending, of frames with a total energy close to the mean.

    The first part of the run is discarded. Among the remaining frames, the chosen ones have the smallest sum of
    absolute deviations from the mean energy, at distances of at least ``minimum_spacing_ps`` (exact, by dynamic
    programming).

    :param times_ps: ascending times [f].
    :param total_energies_ev: potential plus kinetic energies [f].
    :raises TooFewFramesError: if there are not enough frames with this spacing.
    """
    first = int(np.ceil(discard_fraction * len(times_ps)))
    times, energies = times_ps[first:], total_energies_ev[first:]
    costs = np.abs(energies - energies.mean()) if len(energies) else energies
    before = np.searchsorted(times, times - minimum_spacing_ps * (1 - 1e-9), side='right')
    before = np.minimum(before, np.arange(len(times)))
    best, choices = costs, []
    for _ in range(count - 1):
        best, choice = _append(best, before, costs)
        choices.append(choice)
    if not np.isfinite(best).any():
        raise TooFewFramesError(_message(times, count, minimum_spacing_ps))
    chosen = [int(np.argmin(best))]
    for choice in reversed(choices):
        chosen.append(int(choice[chosen[-1]]))
    return first + np.array(chosen[::-1])


def _append(best: np.ndarray, before: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least costs [f] of sets larger by one that end at each frame, and the preceding frame [f] of each.

    :param best: least costs [f] of the sets that end at each frame.
    :param before: number [f] of frames early enough to precede each frame.
    """
    least = np.minimum.accumulate(best)
    where = np.maximum.accumulate(np.where(best == least, np.arange(len(best)), 0))
    return np.concatenate([[np.inf], least])[before] + costs, np.concatenate([[0], where])[before]


def _message(times: np.ndarray, count: int, spacing: float) -> str:
    length = times[-1] - times[0] if len(times) else 0.0
    return (
        f'{count} starts at least {spacing:g} ps apart do not exist among {len(times)} frames over {length:g} ps '
        'after the discarded part: run longer, record frames more often, or ask for fewer or closer starts.'
    )
