"""Density of the tracers in the unit cell of their host."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.exit_codes import MismatchError, SegmentsError, SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.functions.lattice import STRUCTURE_SETTINGS, LatticeReplicas
from aiida_mghdiff.calculations.functions.replicas import read_replicas
from aiida_mghdiff.science.density import unit_cell_density
from aiida_mghdiff.science.lattice.geometry import LatticeError, SitesError
from aiida_mghdiff.science.lattice.hcp import HcpSites
from aiida_mghdiff.science.positions import PositionsError


@refusing(SettingsError, SegmentsError, MismatchError, LatticeError, SitesError, PositionsError)
@calcfunction
def tracer_density(settings: orm.Dict, host: orm.StructureData, **runs: orm.ArrayData) -> orm.ArrayData:
    """Return the density of the tracers of all replicas in the hcp unit cell; see ``science.density``.

    Arrays: ``density`` [x,y,z] in 1/Å³ with an integral of 1; element i, j, k begins at i/x, j/y, k/z in fractional
    coordinates of ``cell`` [3,3] in Å. Positions in this cell in Å: ``host_positions`` [2,3] of host atoms,
    ``octahedral`` [2,3] and ``tetrahedral`` [4,3] sites.

    :param settings: ``density_spacing``, the width of the bins in Å; ``core_radius`` of sites in Å; and settings of
        the other analyses of structure.
    :param host: ideal hcp supercell without tracers.
    :param runs: segments of tracers by keys ``r<replica>_s<index>``, full frames by ``r<replica>_f<index>``.
    """
    values = read_settings(settings, STRUCTURE_SETTINGS)
    lattice = LatticeReplicas(host, read_replicas(runs), values['core_radius'])
    density = unit_cell_density(lattice.positions, lattice.sites, values['density_spacing'])
    return orm.ArrayData({'density': density, 'cell': lattice.sites.unit_cell, **places(lattice.sites)})


def places(sites: HcpSites) -> dict[str, np.ndarray]:
    """Return the positions of host atoms and sites in the unit cell in Å."""
    points = {
        'host_positions': sites.host,
        'octahedral': sites.positions[sites.is_octahedral],
        'tetrahedral': sites.positions[~sites.is_octahedral],
    }
    return {name: sites.distinct(group) @ sites.unit_cell for name, group in points.items()}
