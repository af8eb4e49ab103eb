"""Mean volume of a run, and cells scaled to it."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.exit_codes import SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.validation import IS_FRACTION
from aiida_mghdiff.data.arrays import NotFiniteError, require_finite
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.science.positions import TooShortError

VOLUME_SETTINGS = {'discard_fraction': IS_FRACTION}


@refusing(SettingsError, TooShortError, NotFiniteError)
@calcfunction
def mean_volume(settings: orm.Dict, **thermo: orm.ArrayData) -> orm.Float:
    """Return the mean volume of a run in Å³.

    :param settings: ``discard_fraction``, the part of the run to leave out at its start.
    :param thermo: thermodynamic series of all segments, with arrays ``steps`` and ``volume_a3``, by any keys.
    """
    values = read_settings(settings, VOLUME_SETTINGS)
    steps = np.concatenate([[], *(node.get_array('steps') for node in thermo.values())])
    volumes = np.concatenate([[], *(node.get_array('volume_a3') for node in thermo.values())])[np.argsort(steps)]
    require_finite(volume_a3=volumes)
    if not len(volumes):
        raise TooShortError('no volume was recorded: give the thermodynamic series of a run with at least one row.')
    kept = volumes[int(values['discard_fraction'] * len(volumes)) :]
    return orm.Float(kept.mean())


@refusing(SettingsError)
@calcfunction
def scale_state(state: MdStateData, volume: orm.Float) -> MdStateData:
    """Return the state scaled uniformly to a volume in Å³: the start of a new run, step 0.

    Velocities and fractional coordinates are kept, also unwrapped ones. The engine's own restart file is dropped, since
    it contains the old cell.
    """
    cell = state.get_array('cell')
    factor = scale_factor(cell, volume)
    return MdStateData.from_arrays(
        state.get_array('numbers'),
        factor * cell,
        factor * state.get_array('positions'),
        state.get_array('velocities'),
        step=0,
    )


@refusing(SettingsError)
@calcfunction
def scale_structure(structure: orm.StructureData, volume: orm.Float) -> orm.StructureData:
    """Return the structure scaled uniformly to a volume in Å³."""
    atoms = structure.get_ase()
    atoms.set_cell(scale_factor(atoms.cell.array, volume) * atoms.cell.array, scale_atoms=True)
    return orm.StructureData(ase=atoms)


def scale_factor(cell: np.ndarray, volume: orm.Float) -> float:
    """Return the scale factor of lengths that gives the cell a volume in Å³.

    :raises SettingsError: for a volume that is not positive.
    """
    if not volume.value > 0:
        raise SettingsError(f'volume = {volume.value} Å³ is not a positive number.')
    return float(np.cbrt(volume.value / abs(np.linalg.det(cell))))
