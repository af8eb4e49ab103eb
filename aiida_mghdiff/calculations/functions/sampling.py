"""Sample frames of runs for labels from first principles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.exit_codes import MismatchError, SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.validation import IS_COUNT, IS_SEED
from aiida_mghdiff.science.sampling import TooFewFramesError, sample_evenly

SAMPLING_SETTINGS = {'count': IS_COUNT, 'seed': IS_SEED}
#: Largest relative difference of the times between frames that counts as rounding.
_UNEVEN = 1e-3


@refusing(SettingsError, MismatchError, TooFewFramesError)
@calcfunction
def sample_frames(settings: orm.Dict, **trajectories: orm.TrajectoryData) -> orm.TrajectoryData:
    """Return frames at equal distances in the joined time of all runs; the seed draws the first frame.

    :param settings: ``count`` and ``seed``.
    :param trajectories: frames of the segments of runs of the same atoms, in the order of their keys.
    """
    values = read_settings(settings, SAMPLING_SETTINGS)
    nodes = [trajectories[key] for key in sorted(trajectories)]
    check_runs(nodes)
    chosen = sample_evenly(sum(node.numsteps for node in nodes), **values)
    parts = [(node, index) for node in nodes for index in range(node.numsteps)]
    arrays = {
        name: np.array([node.get_array(name)[index] for node, index in (parts[i] for i in chosen)])
        for name in ('positions', 'cells', 'times')
    }
    result = orm.TrajectoryData()
    result.set_trajectory(symbols=nodes[0].symbols, stepids=np.arange(len(chosen)), pbc=[True, True, True], **arrays)
    return result


def check_runs(nodes: Sequence[orm.TrajectoryData]) -> None:
    """Refuse runs without cells or times, not of the same atoms, or not recorded at the same interval.

    :raises MismatchError: names the difference.
    """
    lacking = {name for node in nodes for name in ('cells', 'times') if name not in node.get_arraynames()}
    if lacking:
        raise MismatchError(
            f'a trajectory has no {" and no ".join(sorted(lacking))}: give `set_trajectory` cells in Å and times in ps.'
        )
    if len({tuple(node.symbols) for node in nodes}) > 1:
        raise MismatchError('the trajectories are of different atoms: sample the runs of each composition separately.')
    intervals = np.concatenate([[], *(np.diff(node.get_array('times')) for node in nodes)])
    if len(intervals) and np.ptp(intervals) > _UNEVEN * intervals.max():
        raise MismatchError(
            f'the frames are {intervals.min():g} to {intervals.max():g} ps apart: sample runs that were recorded at '
            'one interval.'
        )
