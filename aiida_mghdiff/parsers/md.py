"""Outputs of a molecular-dynamics job, the same for all engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm
from ase.data import chemical_symbols

from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.tracers import TracerTrajectoryData
from aiida_mghdiff.science.drift import energy_drift
from aiida_mghdiff.science.units import FS_IN_PS

THERMO = ('steps', 'temperature_k', 'potential_energy_ev', 'kinetic_energy_ev', 'pressure_gpa', 'volume_a3')


@dataclass(frozen=True)
class MdRun:
    """A run in Å, fs, eV, GPa, K, with n atoms, t tracers, f tracer frames, k full frames, m rows of thermo."""

    parameters: dict[str, Any]
    numbers: np.ndarray  # [n]
    tracer_positions: np.ndarray  # [f,t,3] unwrapped
    host_centre: np.ndarray  # [f,3] unwrapped, mass-weighted
    tracer_steps: np.ndarray  # [f]
    tracer_cells: np.ndarray  # [f,3,3], or [3,3] for a fixed cell
    frame_steps: np.ndarray  # [k]
    frame_positions: np.ndarray  # [k,n,3] unwrapped
    frame_velocities: np.ndarray | None  # [k,n,3] Å/fs; None if the engine does not write them
    frame_cells: np.ndarray  # [k,3,3]
    frame_energies: np.ndarray  # [k] total energy
    thermo: dict[str, np.ndarray]  # THERMO -> [m]
    final_step: int
    final_positions: np.ndarray  # [n,3] unwrapped
    final_velocities: np.ndarray  # [n,3] Å/fs
    final_cell: np.ndarray  # [3,3]
    restart: bytes | None  # the engine's own restart file
    engine: str
    thermostat: str | None
    barostat: str | None
    evaluator: str
    versions: dict[str, str]
    head: str | None = None  # head of a MACE model
    integrator: str | None = None  # if the engine has several for an ensemble


def emit_md_outputs(
    out: Callable[[str, orm.Data], None], run: MdRun, more_results: dict[str, Any] | None = None
) -> bool:
    """Emit the output nodes of a run; return whether it made all its steps.

    A run that stopped before its first tracer frame or full frame has no trajectory of this kind.

    :param more_results: additional results of one engine.
    """
    results = md_results(run) | (more_results or {})
    out('results', orm.Dict(results))
    out('state', make_state(run))
    out('thermo', orm.ArrayData({name: np.asarray(run.thermo[name]) for name in THERMO}))
    if len(run.tracer_steps):
        out('tracers', make_tracers(run))
    if len(run.frame_steps):
        out('trajectory', make_trajectory(run))
    return results['completed']


def md_results(run: MdRun) -> dict[str, Any]:
    """Return the results of a run; its drift is null unless the ensemble conserves energy."""
    parameters, thermo = run.parameters, run.thermo
    drift, error = _drift(run) if parameters['ensemble'] == 'nve' else (None, None)
    return {
        'completed': run.final_step == parameters['first_step'] + parameters['steps'],
        'first_step': parameters['first_step'],
        'last_step': run.final_step,
        'ensemble': parameters['ensemble'],
        'n_atoms': len(run.numbers),
        'mean_temperature_k': _mean(thermo['temperature_k']),
        'mean_pressure_gpa': _mean(thermo['pressure_gpa']),
        'mean_volume_a3': _mean(thermo['volume_a3']),
        'energy_drift_mev_per_atom_ns': drift,
        'energy_drift_error_mev_per_atom_ns': error,
        'thermostat': run.thermostat,
        'barostat': run.barostat,
        'engine': run.engine,
        'evaluator': run.evaluator,
        'head': run.head,
        'dtype': parameters['dtype'],
        'versions': run.versions,
    }


def _mean(values: np.ndarray) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _drift(run: MdRun) -> tuple[float | None, float | None]:
    """Return drift and error in meV/atom/ns; None if the run is too short."""
    energies = run.thermo['potential_energy_ev'] + run.thermo['kinetic_energy_ev']
    times = run.thermo['steps'] * run.parameters['time_step_fs'] * FS_IN_PS
    drift, error = energy_drift(times, energies, len(run.numbers))
    return (float(drift), float(error)) if np.isfinite([drift, error]).all() else (None, None)


def make_state(run: MdRun) -> MdStateData:
    """Return the final state of a run."""
    return MdStateData.from_arrays(
        run.numbers,
        run.final_cell,
        run.final_positions,
        run.final_velocities,
        run.final_step,
        restart=run.restart,
        engine=run.engine if run.restart is not None else None,
        ensemble=run.parameters['ensemble'] if run.restart is not None else None,
        integrator=run.integrator if run.restart is not None else None,
    )


def make_tracers(run: MdRun) -> TracerTrajectoryData:
    """Return the tracer trajectory of a run."""
    symbols = {chemical_symbols[number] for number in run.numbers}
    tracer = run.parameters['tracer_element']
    return TracerTrajectoryData.from_arrays(
        run.tracer_positions,
        run.host_centre,
        **{'cell' if np.ndim(run.tracer_cells) == 2 else 'cells': run.tracer_cells},
        first_step=int(run.tracer_steps[0]),
        stride=run.parameters['tracer_stride'],
        time_step_fs=run.parameters['time_step_fs'],
        tracer_element=tracer,
        host_elements=sorted(symbols - {tracer}),
        ensemble=run.parameters['ensemble'],
        mean_temperature_k=float(np.mean(run.thermo['temperature_k'])),
    )


def make_trajectory(run: MdRun) -> orm.TrajectoryData:
    """Return the full frames: times in ps, velocities in Å/fs, with the array ``total_energies_ev``."""
    node = orm.TrajectoryData()
    node.set_trajectory(
        symbols=[chemical_symbols[number] for number in run.numbers],
        positions=np.ascontiguousarray(run.frame_positions, dtype=float),
        stepids=np.asarray(run.frame_steps, dtype=int),
        cells=np.ascontiguousarray(run.frame_cells, dtype=float),
        times=np.asarray(run.frame_steps) * run.parameters['time_step_fs'] * FS_IN_PS,
        velocities=None if run.frame_velocities is None else np.ascontiguousarray(run.frame_velocities, dtype=float),
        pbc=[True, True, True],
    )
    node.set_array('total_energies_ev', np.ascontiguousarray(run.frame_energies, dtype=float))
    return node
