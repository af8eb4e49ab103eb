"""Numbers of tracer pairs closer than a cut-off, compared with chance."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.exit_codes import MismatchError, SegmentsError, SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.functions.lattice import STRUCTURE_SETTINGS, LatticeReplicas
from aiida_mghdiff.calculations.functions.replicas import read_replicas
from aiida_mghdiff.science.lattice.geometry import LatticeError, SitesError
from aiida_mghdiff.science.pairs import (
    LEAST_SAMPLES,
    ChanceTest,
    chance_test,
    poisson_probabilities,
    statistical_inefficiency,
)
from aiida_mghdiff.science.positions import PositionsError
from aiida_mghdiff.science.rdf import count_close_pairs

_LEVEL = 0.05


@refusing(SettingsError, SegmentsError, MismatchError, LatticeError, SitesError, PositionsError)
@calcfunction
def tracer_pairs(settings: orm.Dict, host: orm.StructureData | None = None, **runs: orm.ArrayData) -> orm.Dict:
    """Return how often tracers form pairs, and how often they would by chance; see ``science.pairs``.

    ``numbers_of_pairs`` are 0, 1, 2 ...; the last number includes all higher numbers. For each number there is the
    fraction of frames: ``observed``, ``poisson`` and, with a host, ``random_sites``. Further results: ``mean_pairs``
    with its error and ``mean_pairs_random_sites``; ``correlation_time_ps`` and ``effective_sample_size``, the number of
    independent frames (null, as is the error of the mean, if all frames have the same number of pairs);
    ``poisson_test`` and ``random_sites_test``, null if the runs are too short for a test.

    :param settings: ``pair_cutoff`` in Å; ``random_arrangements``, their number, and their ``seed``;
        ``core_radius`` of sites in Å; and settings of the other analyses of structure.
    :param host: ideal hcp supercell without tracers; without a host, nothing is compared with random sites.
    :param runs: segments of tracers by keys ``r<replica>_s<index>``, full frames by ``r<replica>_f<index>``.
    """
    values, replicas = read_settings(settings, STRUCTURE_SETTINGS), read_replicas(runs)
    if replicas[0].tracer_positions.shape[1] < 2:
        raise MismatchError('the runs have a single tracer, so there are no pairs.')
    cutoff = values['pair_cutoff']
    counts = [count_close_pairs(run.tracer_positions, run.cell, cutoff) for run in replicas]
    random = None
    if host is not None:
        lattice = LatticeReplicas(host, replicas, values['core_radius'])
        arrangements = lattice.random_tracers(values['random_arrangements'], values['seed'])
        random = count_close_pairs(arrangements, lattice.sites.cell, cutoff)
    return orm.Dict(
        pair_results(counts, random, replicas[0].frame_interval_ps)
        | {
            'cutoff_angstrom': cutoff,
            'tracer_count': replicas[0].tracer_positions.shape[1],
            'temperature_k': float(np.mean([run.temperature_k for run in replicas])),
        }
    )


def pair_results(counts: list[np.ndarray], random: np.ndarray | None, frame_interval_ps: float) -> dict[str, Any]:
    """Return the numbers of pairs and their tests as plain values.

    :param counts: numbers of pairs [f] of each replica.
    :param random: numbers of pairs [m] of random arrangements.
    """
    everything = np.concatenate(counts)
    most = int(max(everything.max(), 0 if random is None else random.max(), 1))
    mean = float(everything.mean())
    sampling, poisson = sampling_results(counts, frame_interval_ps), poisson_probabilities(mean, most)
    on_sites = None if random is None else np.bincount(random, minlength=most + 1) / len(random)
    return {
        'n_frames': len(everything),
        'mean_pairs': mean,
        'mean_pairs_random_sites': None if random is None else float(random.mean()),
        'numbers_of_pairs': list(range(most + 1)),
        'observed': (np.bincount(everything, minlength=most + 1) / len(everything)).tolist(),
        'poisson': poisson.tolist(),
        'random_sites': None if on_sites is None else on_sites.tolist(),
        **sampling,
        'poisson_test': chance_results(chance_test(counts, poisson, fitted=1)),
        'random_sites_test': None if on_sites is None else chance_results(chance_test(counts, on_sites)),
        'warnings': warnings(sampling['effective_sample_size']),
    }


def sampling_results(counts: list[np.ndarray], frame_interval_ps: float) -> dict[str, float | None]:
    """Return the number of independent frames, and the error of the mean; None if the number of pairs is constant."""
    everything = np.concatenate(counts)
    if not everything.std():
        return dict.fromkeys(('mean_pairs_error', 'correlation_time_ps', 'effective_sample_size'))
    inefficiency = min(statistical_inefficiency(counts), len(everything))
    samples = len(everything) / inefficiency
    return {
        'mean_pairs_error': float(everything.std() / np.sqrt(samples)),
        'correlation_time_ps': inefficiency * frame_interval_ps / 2,
        'effective_sample_size': samples,
    }


def chance_results(test: ChanceTest | None) -> dict[str, Any] | None:
    """Return a test as plain values."""
    if test is None:
        return None
    return {
        'statistic': test.statistic,
        'degrees_of_freedom': test.degrees_of_freedom,
        'p_value': test.p_value,
        'rejected': test.p_value < _LEVEL,
    }


def warnings(samples: float | None) -> list[str]:
    """Return warnings about the limits of the numbers."""
    if samples is None:
        return ['all frames have the same number of pairs, so the error of the mean is unknown. Run longer.']
    if samples >= LEAST_SAMPLES:
        return []
    return [
        f'the runs have {samples:.0f} independent frames, but tests against chance need {LEAST_SAMPLES}: run longer.'
    ]
