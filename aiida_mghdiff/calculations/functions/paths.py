"""Diffusion paths: their end points, and the images between two end points."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import Atom, Atoms
from ase.geometry import find_mic
from ase.mep import NEB

from aiida_mghdiff.calculations.exit_codes import EndsError, MismatchError, SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.validation import IS_COUNT, IS_POSITIVE, IS_SYMBOL, one_of, self_diffusion_message
from aiida_mghdiff.science.bands import OFF_AXIS
from aiida_mghdiff.science.lattice.geometry import LatticeError, hcp_paths
from aiida_mghdiff.science.lattice.hops import PATHS

PATH_SETTINGS = {'tracer_element': IS_SYMBOL, 'path': one_of(*PATHS)}
INTERPOLATION_SETTINGS = {
    'n_images': IS_COUNT,
    'interpolation': one_of('idpp', 'linear'),
    'minimum_endpoint_distance_angstrom': IS_POSITIVE,
}


@refusing(SettingsError, LatticeError)
@calcfunction
def path_endpoints(
    host: orm.StructureData, settings: orm.Dict, displacement_angstrom: orm.Float | None = None
) -> dict[str, orm.StructureData]:
    """Return ``initial`` and ``final``: the host with one tracer, its last atom, on each site of a named path.

    The tracer moves in a straight line; its final site may lie outside the cell.

    :param host: hcp supercell without tracers.
    :param settings: ``tracer_element`` and ``path``, one of ``O-O c``, ``O-O ab``, ``O-T``, ``T-T``.
    :param displacement_angstrom: shift of the tracer off all symmetry axes, for ends that will be relaxed: on a
        symmetric site it has no force even if the site is no minimum.
    """
    values = read_settings(settings, PATH_SETTINGS)
    shift = 0.0 if displacement_angstrom is None else displacement_angstrom.value * OFF_AXIS
    atoms = host.get_ase()
    ends = hcp_paths(atoms.cell.array, atoms.positions)[values['path']]
    if message := self_diffusion_message(values['tracer_element'], atoms.get_chemical_symbols()):
        raise SettingsError(message)
    initial, final = (orm.StructureData(ase=atoms + Atom(values['tracer_element'], end + shift)) for end in ends)
    return {'initial': initial, 'final': final}


@refusing(SettingsError, MismatchError, EndsError)
@calcfunction
def interpolate_path(
    initial: orm.StructureData, final: orm.StructureData, settings: orm.Dict
) -> dict[str, orm.TrajectoryData]:
    """Return ``images``: a path between two relaxed end points, including both.

    The final end point is mapped onto the initial end point, atom by atom by minimum image, and shifted as a whole to
    the same centre, which does not change the energy. Image-dependent pair potentials: Smidstrup et al., J. Chem. Phys.
    140, 214106
    (2014), doi:10.1063/1.4878664.

    :param settings: ``n_images`` between the end points, ``interpolation`` (``idpp`` or ``linear``), and
        ``minimum_endpoint_distance_angstrom``: end points count as equal if no atom moves farther.
    """
    values = read_settings(settings, INTERPOLATION_SETTINGS)
    first, last = initial.get_ase(), final.get_ase()
    if message := ends_message(first, last):
        raise MismatchError(message)
    steps = find_mic(last.positions - first.positions, first.cell, pbc=True)[0]
    steps -= steps.mean(axis=0)
    distance = np.linalg.norm(steps, axis=1).max()
    if distance < values['minimum_endpoint_distance_angstrom']:
        raise EndsError(f'no atom differs by more than {distance:.3f} Å between them: they are one minimum, not two.')
    last.positions = first.positions + steps
    images = [first, *(first.copy() for _ in range(values['n_images'])), last]
    NEB(images, method='improvedtangent').interpolate(method=values['interpolation'], mic=True)
    return {'images': make_trajectory(first, np.stack([image.positions for image in images]))}


def ends_message(first: Atoms, last: Atoms) -> str | None:
    """Return why two structures cannot be the ends of a path, or None."""
    if first.get_chemical_symbols() != last.get_chemical_symbols():
        return 'initial and final must have the same atoms in the same order.'
    if not np.allclose(first.cell, last.cell, atol=1e-6):
        return 'initial and final must have the same cell.'
    return None


def make_trajectory(atoms: Atoms, positions: np.ndarray) -> orm.TrajectoryData:
    """Return images with the symbols and the cell of the atoms.

    :param positions: [images,n,3] in Å.
    """
    images = len(positions)
    node = orm.TrajectoryData()
    node.set_trajectory(
        symbols=atoms.get_chemical_symbols(),
        positions=positions,
        stepids=np.arange(images),
        cells=np.repeat(atoms.cell.array[None], images, axis=0),
        pbc=[True, True, True],
    )
    return node
