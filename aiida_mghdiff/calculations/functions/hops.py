"""Diffusion coefficients from rates of hops: from barriers and vibrations, or from jumps counted in MD."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.exit_codes import MismatchError, SettingsError, read_settings, refusing
from aiida_mghdiff.calculations.validation import IS_TEMPERATURE, list_of, self_diffusion_message
from aiida_mghdiff.data.results import BarrierDiffusionResults, HopResults, JumpClass, JumpDiffusionResults, Network
from aiida_mghdiff.science.arrhenius import TooFewTemperaturesError
from aiida_mghdiff.science.bands import read_band
from aiida_mghdiff.science.lattice import barriers, jump_rates
from aiida_mghdiff.science.lattice.barriers import Hop
from aiida_mghdiff.science.lattice.geometry import LatticeError, hcp_paths
from aiida_mghdiff.science.lattice.hops import HOPS, PATHS
from aiida_mghdiff.science.lattice.jump_rates import RateFit, log_normal_interval
from aiida_mghdiff.science.lattice.network import (
    NEEDED,
    NetworkError,
    Rates,
    activation_energy,
    diffusivity,
    sensitivities,
)
from aiida_mghdiff.science.transition_state import NoSaddleError, attempt_frequency, classical_rate, quantum_rate
from aiida_mghdiff.science.units import ANGSTROM2_PER_PS_IN_M2_PER_S, BOLTZMANN_EV_PER_K, EV_IN_MEV

EXTRAPOLATION_SETTINGS = {'temperatures_k': list_of(IS_TEMPERATURE)}
#: Ends on sites of one kind have equal energies; a larger difference comes from incomplete relaxation.
ASYMMETRY_EV = 0.02
#: Largest fraction of jumps outside all classes of the network without a warning.
MOST_UNKNOWN = 0.05
_RATES = {'classical': classical_rate, 'quantum': quantum_rate}


@refusing(NoSaddleError)
@calcfunction
def hop(path: orm.Dict, barrier: orm.Dict, initial: orm.Dict, saddle: orm.Dict, final: orm.Dict) -> orm.Dict:
    """Return the properties of a hop that determine its rates: barriers and frequencies in both directions.

    A path is refused if one of its ends is no minimum, or if it has no saddle point of first order: see
    ``science.bands``.

    ``*_barrier_ev`` are barriers of the potential energy, ``*_zero_point_barrier_ev`` include zero-point energies;
    ``*_attempt_frequency_thz`` are Vineyard's (``science.transition_state``); ``elementary`` is false if the path has a
    minimum between its ends.

    :param path: ``tracer_element`` and ``path``, as in ``path_endpoints``.
    :param barrier: results of ``mghdiff.ase.neb``.
    :param initial: results of ``mghdiff.ase.vibrations`` at the first end; ``saddle``, ``final``: at the other points.
    """
    if reason := read_band(barrier['energies_ev']).reason:
        raise NoSaddleError(f'{path["path"]}: {reason}')
    modes = {'initial': initial, 'saddle': saddle, 'final': final}
    frequencies = {name: np.array(node['frequencies_thz']) for name, node in modes.items()}
    found = Hop(path['path'], barrier['forward_barrier_ev'], barrier['reverse_barrier_ev'], **frequencies)
    forward, reverse = found.zero_point_barriers
    results: HopResults = {
        'path': found.path,
        'tracer_element': path['tracer_element'],
        'forward_barrier_ev': found.forward_barrier,
        'reverse_barrier_ev': found.reverse_barrier,
        'forward_zero_point_barrier_ev': forward,
        'reverse_zero_point_barrier_ev': reverse,
        'forward_attempt_frequency_thz': attempt_frequency(found.initial, found.saddle),
        'reverse_attempt_frequency_thz': attempt_frequency(found.final, found.saddle),
        'initial_frequencies_thz': found.initial.tolist(),
        'saddle_frequencies_thz': found.saddle.tolist(),
        'final_frequencies_thz': found.final.tolist(),
        'elementary': barriers.is_elementary(np.array(barrier['energies_ev'])),
    }
    return orm.Dict(dict(results))


@refusing(SettingsError, LatticeError, MismatchError, NetworkError)
@calcfunction
def barrier_diffusion(
    host: orm.StructureData, settings: orm.Dict, metrics: orm.Dict | None = None, **hops: orm.Dict
) -> dict[str, orm.Dict]:
    """Return D from barriers and vibrations, ``classical`` and ``quantum``; see ``science.lattice.barriers``.

    ``classical`` is the D of MD with the same potential at infinite dilution; ``quantum`` includes zero-point energies
    and quantum vibrations. The keys are as in ``jump_diffusion``, without the lines of the classes.

    :param host: supercell in which the barriers were found, without tracers; its size gives the error of an energy.
    :param settings: ``temperatures_k``.
    :param metrics: results of ``error_metrics`` of the potential. Each energy gets the error of a cell of this size,
        after the shift of the composition. Without such an error there is no interval.
    :param hops: results of ``hop``, by any keys; at least the paths O-T and T-T.
    """
    temperatures = read_settings(settings, EXTRAPOLATION_SETTINGS)['temperatures_k']
    for node in hops.values():
        if message := self_diffusion_message(node['tracer_element'], host.get_symbols_set()):
            raise MismatchError(message)
    found, left_out = read_hops(hops)
    a, c = lattice_constants(host)
    per_atom = None if metrics is None else metrics['energy_rmse_shifted_mev_per_atom']
    error = None if per_atom is None else per_atom / EV_IN_MEV * (len(host.sites) + 1)
    warnings = asymmetry_warnings(found) + low_barrier_warnings(found, max(temperatures))
    error_at = None if error is None else lambda weights, value: barriers.relative_error(weights, error, value)
    results: dict[str, BarrierDiffusionResults] = {
        name: {
            **network_results(a, c, temperatures, partial(barriers.network_rates, found, rate=rate), error_at),
            'source': f'barriers, {name}',
            'extrapolated': [False] * len(temperatures),
            'energy_error_ev': error,
            'classes_left_out': left_out,
            'warnings': warnings,
        }
        for name, rate in _RATES.items()
    }
    return {name: orm.Dict(dict(each)) for name, each in results.items()}


@refusing(SettingsError, MismatchError, TooFewTemperaturesError, NetworkError)
@calcfunction
def jump_diffusion(settings: orm.Dict, **sites: orm.Dict) -> orm.Dict:
    """Return D from jumps counted in MD at several temperatures; see ``science.lattice.jump_rates``.

    Arrays are in the order of ``temperatures_k``: D (mean over directions, in the basal plane ``ab``, along ``c``), its
    95 %
    interval and relative error, the local activation energy, and the ``rates`` of each class in 1/ps to one target.
    ``extrapolated`` marks temperatures outside the range of the MD. Lattice constants are the means of the runs.

    :param settings: ``temperatures_k``.
    :param sites: outputs ``sites`` of ``DiffusionWorkChain``, one for each temperature, by any keys.
    """
    temperatures = read_settings(settings, EXTRAPOLATION_SETTINGS)['temperatures_k']
    runs = sorted((node.get_dict() for node in sites.values()), key=lambda run: run.get('temperature_k', 0))
    if wrong := [run for run in runs if 'jump_counts' not in run]:
        raise MismatchError(f'{len(wrong)} of {len(runs)} inputs have no jump_counts: give the outputs `sites`.')
    measured = [run['temperature_k'] for run in runs]
    counts, times = ([run[key] for run in runs] for key in ('jump_counts', 'total_times_ps'))
    fits, left_out = jump_rates.fit_classes(measured, counts, times, dispersions(runs))
    if missing := [name for name in NEEDED if name not in fits]:
        raise TooFewTemperaturesError(f'{missing[0]}: {left_out[missing[0]]}')
    a, c = (float(np.mean([run[f'lattice_{name}_angstrom'] for run in runs])) for name in 'ac')
    network = network_results(
        a,
        c,
        temperatures,
        lambda value: {name: fit.rate(value) for name, fit in fits.items()},
        lambda weights, value: jump_rates.relative_error(weights, fits, value),
    )
    results: JumpDiffusionResults = {
        **network,
        'source': 'jumps',
        'extrapolated': [not min(measured) <= value <= max(measured) for value in temperatures],
        'classes_left_out': left_out,
        'classes': {name: class_results(name, fit, runs) for name, fit in fits.items()},
        'warnings': unknown_jumps_warnings(counts),
    }
    return orm.Dict(dict(results))


def network_results(
    a: float,
    c: float,
    temperatures: Sequence[float],
    rates_at: Callable[[float], Rates],
    error_at: Callable[[Mapping[str, float], float], float] | None,
) -> Network:
    """Return D in m²/s, its interval, local activation energy and the rates at each temperature.

    :param rates_at: returns the rates by class in 1/ps at a temperature.
    :param error_at: returns the standard error of ln D from the sensitivities at a temperature; None if it is unknown.
    """
    rates = [rates_at(value) for value in temperatures]
    found = [diffusivity(a, c, each) for each in rates]
    slopes = [activation_energy(lambda value: diffusivity(a, c, rates_at(value)).mean, value) for value in temperatures]
    errors = intervals = None
    if error_at is not None:
        at = zip(rates, temperatures, strict=True)
        errors = [error_at(sensitivities(a, c, each), value) for each, value in at]
        means = in_m2_per_s(each.mean for each in found)
        intervals = [list(log_normal_interval(*pair)) for pair in zip(means, errors, strict=True)]
    return {
        'temperatures_k': list(temperatures),
        'diffusion_coefficients_m2_s': in_m2_per_s(each.mean for each in found),
        'diffusion_ab_m2_s': in_m2_per_s(each.ab for each in found),
        'diffusion_c_m2_s': in_m2_per_s(each.c for each in found),
        'ci95_m2_s': intervals,
        'relative_errors': errors,
        'activation_energies_ev': slopes,
        'rates': {name: [each[name] for each in rates] for name in rates[0]},
    }


def in_m2_per_s(values: Iterable[float]) -> list[float]:
    """Return D in m²/s from D in Å²/ps."""
    return [ANGSTROM2_PER_PS_IN_M2_PER_S * value for value in values]


def read_hops(hops: Mapping[str, orm.Dict]) -> tuple[dict[str, Hop], dict[str, str]]:
    """Return the hops by path, and the reasons why other paths are left out.

    :raises MismatchError: for two hops along one path, or of different tracers.
    :raises NetworkError: if D needs a path without a hop.
    """
    nodes = [node.get_dict() for node in hops.values()]
    paths = [node['path'] for node in nodes]
    if len(set(paths)) < len(paths):
        raise MismatchError(f'hops are along {", ".join(sorted(paths))}: give one hop for each path.')
    if len(tracers := {node['tracer_element'] for node in nodes}) > 1:
        raise MismatchError(f'hops are of {", ".join(sorted(tracers))}: give hops of one tracer.')
    left_out = {path: 'no hop along this path was given.' for path in PATHS if path not in paths}
    faults = {node['path']: fault for node in nodes if (fault := fault_of_hop(node)) is not None}
    found = {node['path']: read_hop(node) for node in nodes if node['path'] not in faults}
    barriers.check_paths(found, faults)
    return found, left_out | faults


def fault_of_hop(values: Mapping[str, Any]) -> str | None:
    """Return why a hop has no rate, or None."""
    if not all(values[f'{name}_barrier_ev'] for name in ('forward', 'reverse')):
        return 'one of its directions has no barrier: this end of the path is no minimum of this potential.'
    if not values['elementary']:
        return 'the path has a minimum between its ends: it is several hops, not one.'
    return None


def read_hop(values: Mapping[str, Any]) -> Hop:
    """Return a hop from the result of ``hop``."""
    frequencies = {name: np.array(values[f'{name}_frequencies_thz']) for name in ('initial', 'saddle', 'final')}
    return Hop(values['path'], values['forward_barrier_ev'], values['reverse_barrier_ev'], **frequencies)


def lattice_constants(host: orm.StructureData) -> tuple[float, float]:
    """Return a and c in Å of an hcp host.

    :raises LatticeError: for any other lattice.
    """
    paths = hcp_paths(np.array(host.cell), np.array([site.position for site in host.sites]))
    length = {name: float(np.linalg.norm(end - start)) for name, (start, end) in paths.items()}
    return length['O-O ab'], 2 * length['O-O c']


def asymmetry_warnings(hops: Mapping[str, Hop]) -> list[str]:
    """Return a warning for each path whose ends should have equal energies but do not."""
    differences = {path: abs(found.forward_barrier - found.reverse_barrier) for path, found in hops.items()}
    return [
        f'the ends of {path} are of one kind, but differ by {value:.3f} eV: relax them further.'
        for path, value in differences.items()
        if path != 'O-T' and value > ASYMMETRY_EV
    ]


def low_barrier_warnings(hops: Mapping[str, Hop], temperature_k: float) -> list[str]:
    """Return a warning for each barrier below kT, for which transition-state theory does not hold."""
    lowest = {path: min(found.forward_barrier, found.reverse_barrier) for path, found in hops.items()}
    return [
        f'the barrier of {path}, {value:.3f} eV, is below kT at {temperature_k:g} K: its rate there is unreliable.'
        for path, value in lowest.items()
        if value < BOLTZMANN_EV_PER_K * temperature_k
    ]


def unknown_jumps_warnings(counts: Sequence[Mapping[str, int]]) -> list[str]:
    """Return a warning if many jumps are outside all classes of the network."""
    total = sum(sum(each.values()) for each in counts)
    unknown = sum(number for each in counts for name, number in each.items() if name not in HOPS)
    if unknown <= MOST_UNKNOWN * total:
        return []
    return [f'{100 * unknown / total:.0f} % of the jumps are outside all classes of the network and are left out.']


def dispersions(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the variance of each class's counts over Poisson's variance, from the errors of its measured rates.

    Temperatures have weights by their counts; for Poisson's errors the result is one.
    """
    found = {}
    for name in HOPS:
        rows = [
            (run['jump_counts'][name], run['jump_rate_errors_per_ps'][name] / run['jump_rates_per_ps'][name])
            for run in runs
            if run['jump_counts'].get(name)
        ]
        if rows:
            numbers, errors = map(np.array, zip(*rows, strict=True))
            found[name] = float(np.sum(np.square(numbers * errors)) / numbers.sum())
    return found


def class_results(name: str, fit: RateFit, runs: Sequence[Mapping[str, Any]]) -> JumpClass:
    """Return the line of a class and the fitted counts and times; rates are to one target."""
    times = [HOPS[name].targets * run['total_times_ps'][name[0]] for run in runs]
    counts = [run['jump_counts'].get(name, 0) for run in runs]
    return {
        'activation_energy_ev': fit.activation_energy,
        'activation_energy_error_ev': float(np.sqrt(fit.covariance[1, 1])),
        'prefactor_thz': float(np.exp(fit.ln_prefactor)),
        'covariance': fit.covariance.tolist(),
        'chi_squared': fit.chi_squared if fit.degrees_of_freedom else None,
        'degrees_of_freedom': fit.degrees_of_freedom,
        'temperatures_k': [run['temperature_k'] for run in runs],
        'jump_counts': counts,
        'rates_per_ps': [number / time if time else None for number, time in zip(counts, times, strict=True)],
    }
