"""Harmonic vibrations of the tracers in ASE, with a fixed host.

The Hessian of the tracers comes from central differences of forces. A fixed host is a good approximation for hydrogen
in a heavy host. The frequencies at minimum and saddle point give the attempt frequency of a hop
(:mod:`aiida_mghdiff.science.transition_state`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from aiida_mghdiff.formats.job_files import VIBRATIONS_FILE
from aiida_mghdiff.programs import job
from aiida_mghdiff.programs.calculators.loading import chosen_head, make_atoms, open_calculator
from aiida_mghdiff.science.units import ASE_OMEGA_IN_MEV, ASE_OMEGA_IN_THZ

if TYPE_CHECKING:
    from aiida_mghdiff.formats.results import Modes, TracerModes, VibrationResults


def main() -> None:
    """Run the program in the working directory."""
    inputs = job.read_input()
    parameters, atoms = inputs['parameters'], make_atoms(inputs['structure'])
    atoms.calc, versions = open_calculator(inputs['potential'], atoms.numbers, parameters['dtype'])
    modes, arrays = analyse(atoms, parameters)
    job.write_arrays(VIBRATIONS_FILE, **arrays)
    results: VibrationResults = {
        **modes,
        'dtype': parameters['dtype'],
        'head': chosen_head(atoms.calc),
        'versions': versions,
    }
    job.write_results(results)
    check_imaginary_modes(modes, parameters['expected_imaginary_modes'])


def analyse(atoms: Atoms, parameters: dict[str, Any]) -> tuple[TracerModes, dict[str, np.ndarray]]:
    """Return the results, and the arrays ``hessian_ev_per_angstrom2`` [3t,3t], ``modes`` [3t,t,3], ``tracers`` [t].

    Imaginary frequencies are negative numbers; modes are displacements of unit length, lowest frequency first.

    :raises ProgramError: NON_FINITE.
    """
    tracers = np.flatnonzero(atoms.symbols == parameters['tracer_element'])
    forces = _finite_forces(atoms)[tracers]
    hessian = tracer_hessian(atoms, tracers, parameters['displacement_angstrom'])
    roots, vectors = normal_modes(hessian, atoms.get_masses()[tracers])
    modes = vectors.T.reshape(-1, len(tracers), 3) / np.sqrt(atoms.get_masses()[tracers])[:, None]
    modes /= np.linalg.norm(modes, axis=(1, 2))[:, None, None]
    arrays = {'hessian_ev_per_angstrom2': hessian, 'modes': modes, 'tracers': tracers}
    max_force = float(np.linalg.norm(forces, axis=1).max())
    summary = summarise(roots, parameters['imaginary_threshold_mev'])
    return {**summary, 'tracer_count': len(tracers), 'max_force_ev_per_angstrom': max_force}, arrays


def tracer_hessian(atoms: Atoms, tracers: np.ndarray, displacement: float) -> np.ndarray:
    """Return the symmetrised Hessian [3t,3t] of the tracers in eV/Å² by central differences."""
    rows = []
    for index in tracers:
        for axis in range(3):
            rows.append(_difference(atoms, index, axis, displacement)[tracers].ravel())
    hessian = np.array(rows)
    return (hessian + hessian.T) / 2


def _difference(atoms: Atoms, index: int, axis: int, displacement: float) -> np.ndarray:
    """Return minus the derivative of all forces by one coordinate."""
    place = atoms.positions[index, axis]
    forces = []
    for sign in (1, -1):
        atoms.positions[index, axis] = place + sign * displacement
        forces.append(_finite_forces(atoms))
    atoms.positions[index, axis] = place
    return (forces[1] - forces[0]) / (2 * displacement)


def _finite_forces(atoms: Atoms) -> np.ndarray:
    forces = atoms.get_forces()
    if not np.isfinite(forces).all():
        raise job.ProgramError('NON_FINITE', 'a displaced structure; check the structure and the model.')
    return forces


def normal_modes(hessian: np.ndarray, masses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the frequencies [3t] (negative if imaginary) and eigenvectors of the mass-weighted Hessian."""
    weights = np.repeat(1 / np.sqrt(masses), 3)
    values, vectors = np.linalg.eigh(hessian * weights[:, None] * weights)
    return np.sign(values) * np.sqrt(np.abs(values)), vectors


def summarise(roots: np.ndarray, threshold_mev: float) -> Modes:
    """Return frequencies, zero-point energy and the number of imaginary modes.

    :param roots: angular frequencies in ASE's units, negative if imaginary.
    :param threshold_mev: softer imaginary modes are numerical noise and do not count.
    """
    energies = roots * ASE_OMEGA_IN_MEV
    real = energies[energies > threshold_mev]
    real_thz = real / ASE_OMEGA_IN_MEV * ASE_OMEGA_IN_THZ
    return {
        'energies_mev': energies.tolist(),
        'frequencies_thz': (roots * ASE_OMEGA_IN_THZ).tolist(),
        'zero_point_energy_ev': float(real.sum() / 2e3),
        'n_imaginary_modes': int((energies < -threshold_mev).sum()),
        'geometric_mean_frequency_thz': float(np.exp(np.log(real_thz).mean())) if len(real) else None,
    }


def check_imaginary_modes(results: Modes, expected: int) -> None:
    """Refuse a stationary point of the wrong kind.

    :raises ProgramError: WRONG_NUMBER_OF_IMAGINARY_MODES.
    """
    found = results['n_imaginary_modes']
    if found != expected:
        kind = {0: 'a minimum has none', 1: 'a saddle point has one'}[expected]
        raise job.ProgramError(
            'WRONG_NUMBER_OF_IMAGINARY_MODES',
            f'{found} found, {kind}; energies in meV: {", ".join(f"{e:.1f}" for e in results["energies_mev"])}.',
        )
