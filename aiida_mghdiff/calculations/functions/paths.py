"""End points of diffusion paths."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction
from ase import Atom

from aiida_mghdiff.calculations.functions.refusals import SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.validation import IS_SYMBOL, one_of
from aiida_mghdiff.science.lattice import PATHS, LatticeError, hcp_paths

PATH_SETTINGS = {'tracer_element': IS_SYMBOL, 'path': one_of(*PATHS)}


@refusing(SettingsError, LatticeError)
@calcfunction
def path_endpoints(host: orm.StructureData, settings: orm.Dict) -> dict[str, orm.StructureData]:
    """Return ``initial`` and ``final``: the host with one tracer, its last atom, on either site of a named path.

    The tracer moves in a straight line; its final site may lie outside the cell.

    :param host: hcp supercell without tracers.
    :param settings: ``tracer_element`` and ``path``, one of ``O-O c``, ``O-O ab``, ``O-T``, ``T-T``.
    """
    values = read_settings(settings, PATH_SETTINGS)
    atoms = host.get_ase()
    ends = hcp_paths(atoms.cell.array, atoms.positions)[values['path']]
    initial, final = (orm.StructureData(ase=atoms + Atom(values['tracer_element'], end)) for end in ends)
    return {'initial': initial, 'final': final}
