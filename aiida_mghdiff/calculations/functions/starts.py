"""Choose starts of replicas from a run."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase.data import atomic_numbers

from aiida_mghdiff.calculations.exit_codes import SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.validation import IS_COUNT, IS_FRACTION, IS_NOT_NEGATIVE
from aiida_mghdiff.data.arrays import NotFiniteError, require_finite
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.science import sampling

STARTS_SETTINGS = {'count': IS_COUNT, 'minimum_spacing_ps': IS_NOT_NEGATIVE, 'discard_fraction': IS_FRACTION}


@refusing(SettingsError, sampling.TooFewFramesError, NotFiniteError)
@calcfunction
def select_starts(settings: orm.Dict, **trajectories: orm.TrajectoryData) -> dict[str, MdStateData]:
    """Return ``start_0``, ``start_1``, ...: frames whose total energy is closest to the mean, as states at step 0.

    The total energy, kinetic energy included, determines the temperature of an NVE run that starts from the frame.

    :param settings: ``count``; ``minimum_spacing_ps`` between any two; ``discard_fraction``, the part of the run to
        leave out at its start, before the mean is taken.
    :param trajectories: full frames of all segments, with velocities and ``total_energies_ev``, by any keys.
    """
    values = read_settings(settings, STARTS_SETTINGS)
    nodes = list(trajectories.values())
    frames = [(node, index) for node in nodes for index in range(len(node.get_array('times')))]
    times = np.concatenate([[], *(node.get_times() for node in nodes)])
    energies = np.concatenate([[], *(node.get_array('total_energies_ev') for node in nodes)])
    require_finite(total_energies_ev=energies)
    if any('velocities' not in node.get_arraynames() for node in nodes):
        raise sampling.TooFewFramesError('the frames have no velocities: VASP gives them only in NVT runs.')
    order = np.argsort(times)
    chosen = sampling.select_starts(times[order], energies[order], **values)
    return {f'start_{rank}': make_start(*frames[order[index]]) for rank, index in enumerate(chosen)}


def make_start(trajectory: orm.TrajectoryData, index: int) -> MdStateData:
    """Return a frame as a state at step 0."""
    return MdStateData.from_arrays(
        np.array([atomic_numbers[symbol] for symbol in trajectory.symbols]),
        trajectory.get_array('cells')[index],
        trajectory.get_positions()[index],
        trajectory.get_array('velocities')[index],
        step=0,
    )
