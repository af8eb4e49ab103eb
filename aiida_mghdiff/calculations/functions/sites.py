"""Statistics of tracers on the interstitial sites of their host: jumps, rates, occupancy, free energy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.exit_codes import MismatchError, SegmentsError, SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.functions.lattice import STRUCTURE_SETTINGS, LatticeReplicas
from aiida_mghdiff.calculations.functions.replicas import read_replicas
from aiida_mghdiff.science.lattice.geometry import LatticeError, SitesError
from aiida_mghdiff.science.lattice.hcp import CLASSES
from aiida_mghdiff.science.lattice.hops import HOPS
from aiida_mghdiff.science.lattice.occupancy import (
    KINDS,
    PLACES,
    Estimate,
    Tallies,
    free_energy_difference,
    jump_rate,
    occupancy,
    rate_bound,
    residence_time,
)
from aiida_mghdiff.science.positions import PositionsError


@refusing(SettingsError, SegmentsError, MismatchError, LatticeError, SitesError, PositionsError)
@calcfunction
def site_statistics(settings: orm.Dict, host: orm.StructureData, **runs: orm.ArrayData) -> orm.Dict:
    """Return statistics of sites and jumps over all replicas.

    See ``science.lattice.occupancy`` and the classes of ``science.lattice.hcp``.

    ``jump_counts`` of each class. ``jump_rates_per_ps`` of a tracer on a site from which such jumps start, to all
    targets together, with errors; without jumps ``jump_rate_upper_bounds_per_ps`` (95 %). ``residence_times_ps`` (mean
    stay on a site, or in a pair of tetrahedral sites) and ``total_times_ps`` of all tracers on sites of a kind.
    ``occupancy`` (fractions of time). ``free_energy_difference_ev`` of a tetrahedral less an octahedral site. Unknown
    values are null.

    :param settings: ``core_radius`` of sites in Å; and settings of the other analyses of structure.
    :param host: ideal hcp supercell without tracers.
    :param runs: segments of tracers by keys ``r<replica>_s<index>``, full frames by ``r<replica>_f<index>``.
    """
    values, replicas = read_settings(settings, STRUCTURE_SETTINGS), read_replicas(runs)
    lattice = LatticeReplicas(host, replicas, values['core_radius'])
    interval = replicas[0].frame_interval_ps
    tallies = Tallies.of(lattice.jumps, lattice.sites, interval)
    temperature = float(np.mean([run.temperature_k for run in replicas]))
    frames = [jumps.occupied.size for jumps in lattice.jumps]
    a, _, c = np.linalg.norm(lattice.sites.unit_cell, axis=1)
    return orm.Dict(
        site_results(tallies, temperature)
        | {
            'temperature_k': temperature,
            'lattice_a_angstrom': float(a),
            'lattice_c_angstrom': float(c),
            'core_radius_angstrom': values['core_radius'],
            'in_core_fraction': float(np.average([jumps.in_core for jumps in lattice.jumps], weights=frames)),
            'host_displacement_angstrom': lattice.host_displacement,
            'n_replicas': len(replicas),
            'tracer_count': lattice.positions[0].shape[1],
            'frame_interval_ps': interval,
            'total_time_ps': float(tallies.times_ps.sum()),
            'warnings': warnings(tallies),
        }
    )


def site_results(tallies: Tallies, temperature_k: float) -> dict[str, Any]:
    """Return the statistics of tallies as plain values."""
    free_energy = free_energy_difference(tallies, temperature_k)
    fractions = occupancy(tallies)
    return {
        'jump_counts': {name: int(tallies.count(name).sum()) for name in CLASSES},
        'total_times_ps': {kind: float(tallies.time(kind).sum()) for kind in KINDS},
        'jump_rate_upper_bounds_per_ps': {name: rate_bound(tallies, name) for name in HOPS},
        'free_energy_difference_ev': free_energy.value,
        'free_energy_difference_error_ev': free_energy.error,
        **split('jump_rates_per_ps', 'jump_rate_errors_per_ps', HOPS, lambda name: jump_rate(tallies, name)),
        **split('residence_times_ps', 'residence_time_errors_ps', PLACES, lambda name: residence_time(tallies, name)),
        **split('occupancy', 'occupancy_errors', KINDS, fractions.__getitem__),
    }


def split(
    values: str, errors: str, names: Iterable[str], estimate: Callable[[str], Estimate]
) -> dict[str, dict[str, float | None]]:
    """Return the values and the errors of estimates, each by name."""
    found = {name: estimate(name) for name in names}
    return {
        values: {name: item.value for name, item in found.items()},
        errors: {name: item.error for name, item in found.items()},
    }


def warnings(tallies: Tallies) -> list[str]:
    """Return warnings about the limits of the statistics."""
    found = []
    if not tallies.changes.any():
        found.append(
            'no tracer changed between octahedral and tetrahedral sites: their occupancy is still the initial one.'
        )
    others, total = tallies.count('other').sum(), tallies.counts.sum()
    if others > 0.05 * total:
        found.append(
            f'{others} of {total} jumps lead farther than to a neighbouring site: several hops lie between two '
            'frames. Record the tracers more often (tracer_interval_fs).'
        )
    return found
