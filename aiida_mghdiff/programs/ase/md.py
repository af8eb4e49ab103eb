"""Molecular dynamics in ASE.

nve: velocity Verlet. nvt: BAOAB Langevin dynamics (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013),
doi:10.1063/1.4802990). npt: the same with a Langevin piston that scales the cell isotropically (Quigley and Probert,
J. Chem. Phys. 120, 11432 (2004), doi:10.1063/1.1755657).

The total momentum stays zero: the velocity of the centre of mass is removed after each step of the thermostat. The
Ornstein-Uhlenbeck step is isotropic in mass-weighted velocities, so its orthogonal projection samples the canonical
distribution of the remaining 3n-3 degrees of freedom exactly. Temperatures use 3n-3 degrees of freedom.

A restart continues the random state of the thermostat and the momentum of the cell, so that two segments equal one run
of the same length. Both are stored as JSON, not as a pickle.
"""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.verlet import VelocityVerlet

from aiida_mghdiff.formats import job_files
from aiida_mghdiff.programs import job
from aiida_mghdiff.programs.calculators.loading import chosen_head, make_atoms, open_calculator
from aiida_mghdiff.science.runaway import runaway_limit
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K, EV_PER_ANGSTROM3_IN_GPA, PS_IN_FS

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from aiida_mghdiff.formats.results import MdResults

THERMOSTAT = 'Langevin (BAOAB, zero total momentum)'
BAROSTAT = 'Langevin piston (Quigley-Probert, isotropic)'

_PROGRESS_SECONDS = 5.0


def main() -> None:
    """Run the program in the working directory."""
    inputs = job.read_input()
    clock = job.WallClock(inputs['max_wallclock_seconds'])
    atoms, parameters = make_atoms(inputs.get('state') or inputs['structure']), inputs['parameters']
    calculator, versions = open_calculator(inputs['potential'], atoms.numbers, parameters['dtype'])
    run = MdProgram(atoms, calculator, parameters, inputs.get('restart'))
    try:
        run.advance(clock)
    except job.ProgramError as error:
        if error.name in ('TEMPERATURE_RUNAWAY', 'OUT_OF_WALLTIME'):
            run.write(versions)
        raise
    run.write(versions)


def draw_velocities(atoms: Atoms, temperature_k: float, rng: np.random.Generator) -> None:
    """Give the atoms Maxwell-Boltzmann velocities with zero total momentum, scaled to exactly the temperature."""
    thermal = np.sqrt(units.kB * temperature_k / atoms.get_masses())[:, None]
    atoms.set_velocities(thermal * rng.standard_normal((len(atoms), 3)))
    remove_total_momentum(atoms)
    atoms.set_velocities(atoms.get_velocities() * np.sqrt(temperature_k / temperature(atoms)))


def remove_total_momentum(atoms: Atoms) -> None:
    """Remove the velocity of the centre of mass from all velocities."""
    atoms.set_velocities(atoms.get_velocities() - atoms.get_momenta().sum(axis=0) / atoms.get_masses().sum())


def temperature(atoms: Atoms) -> float:
    """Return the temperature in K of 3n-3 degrees of freedom."""
    return 2 * atoms.get_kinetic_energy() / ((3 * len(atoms) - 3) * BOLTZMANN_EV_PER_K)


def pressure_gpa(atoms: Atoms) -> float:
    """Return the pressure in GPa, with its kinetic part."""
    ideal = 2 * atoms.get_kinetic_energy() / (3 * atoms.get_volume())
    return float(ideal - atoms.get_stress()[:3].mean()) * EV_PER_ANGSTROM3_IN_GPA


class ZeroMomentumLangevin(LangevinBAOAB):
    """Langevin dynamics at zero total momentum; see the docstring of the module."""

    def __init__(self, atoms: Atoms, parameters: dict[str, Any], rng: np.random.Generator) -> None:
        """Set up nvt or, with a pressure in the parameters, npt; the atoms have velocities and a calculator."""
        options = {}
        if parameters['ensemble'] == 'npt':
            options['externalstress'] = -parameters['pressure_gpa'] / EV_PER_ANGSTROM3_IN_GPA
            options['P_tau'] = parameters['barostat_time_ps'] * PS_IN_FS * units.fs
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # a warning about the mass of the cell that follows from P_tau
            super().__init__(
                atoms,
                parameters['time_step_fs'] * units.fs,
                temperature_K=parameters['temperature_k'],
                T_tau=PS_IN_FS * units.fs / parameters['friction_per_ps'],
                hydrostatic=True,
                rng=rng,
                **options,
            )
        if self.externalstress is not None:
            self.Ndof = 3 * len(atoms) - 3
            self._update_force_eps()

    def _BAOAB_OU(self, drag_gamma_mod: float = 0.0) -> None:  # noqa: N802 (named by ASE)
        super()._BAOAB_OU(drag_gamma_mod)
        remove_total_momentum(self.atoms)

    def get_restart(self) -> dict[str, Any]:
        """Return the state that continues the run, besides positions and velocities, as JSON.

        It includes the force on the cell, which ASE computes before the last half step of the velocities.
        """
        cell = {} if self.externalstress is None else {'momentum': float(self.p_eps), 'force': float(self.force_eps)}
        return {'random_state': self.rng.bit_generator.state, 'cell': cell}

    def set_restart(self, restart: dict[str, Any]) -> None:
        """Continue the run that gave the restart."""
        self.rng.bit_generator.state = restart['random_state']
        if self.externalstress is not None:
            self.p_eps, self.force_eps = restart['cell']['momentum'], restart['cell']['force']


class Series:
    """Arrays with a row for each recorded step, allocated for the whole run."""

    def __init__(self, stride: int, first_step: int, last_step: int, /, **fields: tuple[tuple[int, ...], str]) -> None:
        """:param fields: shape and dtype of the rows of each array."""
        self.stride, self.first_step, self.count = stride, first_step, 0
        rows = last_step // stride - first_step // stride + (first_step == 0)
        self._arrays = {name: np.empty((rows, *shape), dtype) for name, (shape, dtype) in fields.items()}
        self._arrays['steps'] = np.empty(rows, np.int64)

    def is_due(self, step: int) -> bool:
        """Return whether a step is recorded: a multiple of the stride after the first step, or step 0."""
        return step % self.stride == 0 and (step > self.first_step or step == 0)

    def add(self, step: int, **values: Any) -> None:
        """Record a step."""
        for name, value in {'steps': step, **values}.items():
            self._arrays[name][self.count] = value
        self.count += 1

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the recorded rows."""
        return {name: array[: self.count] for name, array in self._arrays.items()}


class MdProgram:
    """One run: moving atoms and the recorded arrays."""

    def __init__(
        self, atoms: Atoms, calculator: Calculator, parameters: dict[str, Any], restart: dict[str, Any] | None = None
    ) -> None:
        """:param restart: result of :meth:`get_restart` at the end of the previous run."""
        self.atoms, self.parameters = atoms, parameters
        self.step = self.first_step = parameters['first_step']
        self.last_step = self.first_step + parameters['steps']
        self.atoms.calc = calculator
        rng = np.random.default_rng(parameters['seed'])
        if not atoms.has('momenta'):
            draw_velocities(atoms, parameters['temperature_k'], rng)
        self._check()
        self.dynamics = self._make_dynamics(rng, restart)
        self._is_tracer = np.array([symbol == parameters['tracer_element'] for symbol in atoms.symbols])
        self._make_series()

    def _make_dynamics(
        self, rng: np.random.Generator, restart: dict[str, Any] | None
    ) -> VelocityVerlet | ZeroMomentumLangevin:
        if self.parameters['ensemble'] == 'nve':
            return VelocityVerlet(self.atoms, self.parameters['time_step_fs'] * units.fs)
        dynamics = ZeroMomentumLangevin(self.atoms, self.parameters, rng)
        if restart is not None:
            dynamics.set_restart(restart)
        return dynamics

    def _make_series(self) -> None:
        steps, n, tracers = (self.first_step, self.last_step), len(self.atoms), int(self._is_tracer.sum())
        vectors, cell, scalar = ((n, 3), 'f8'), ((3, 3), 'f8'), ((), 'f8')
        self.tracers = Series(
            self.parameters['tracer_stride'],
            *steps,
            positions=((tracers, 3), 'f4'),
            host_centre=((3,), 'f4'),
            **({'cells': ((3, 3), 'f4')} if self.parameters['ensemble'] == 'npt' else {}),
        )
        self.frames = Series(
            self.parameters['frame_stride'], *steps, positions=vectors, velocities=vectors, cells=cell, energies=scalar
        )
        names = ('temperature_k', 'potential_energy_ev', 'kinetic_energy_ev', 'pressure_gpa', 'volume_a3')
        self.thermo = Series(self.parameters['thermo_stride'], *steps, **dict.fromkeys(names, scalar))

    def advance(self, clock: job.WallClock | None = None) -> None:
        """Make all steps.

        :raises ProgramError: OUT_OF_WALLTIME, NON_FINITE or TEMPERATURE_RUNAWAY.
        """
        clock = clock or job.WallClock(None)
        begin = shown = time.monotonic()
        self._record()
        while self.step < self.last_step:
            self.dynamics.step()
            self.step += 1
            self._check()
            self._record()
            now = time.monotonic()
            if now - shown > _PROGRESS_SECONDS or self.step == self.last_step:
                self._report()
                shown = now
            if self.step < self.last_step and clock.is_over(2 * (now - begin) / (self.step - self.first_step)):
                done = self.step - self.first_step
                raise job.ProgramError('OUT_OF_WALLTIME', f'{done} of {self.parameters["steps"]} steps are done.')

    def _check(self) -> None:
        """End a run that became unphysical, before its next step."""
        if not (np.isfinite(self.atoms.get_potential_energy()) and np.isfinite(self.atoms.get_forces()).all()):
            raise job.ProgramError(
                'NON_FINITE',
                f'step {self.step}; check the start, the time step and the model.',
            )
        limit = runaway_limit(self.parameters['temperature_k'])
        if (now := temperature(self.atoms)) > limit:
            raise job.ProgramError(
                'TEMPERATURE_RUNAWAY',
                f'{now:.0f} K at step {self.step}, more than {limit:.0f} K; check start, time step and model.',
            )

    def _record(self) -> None:
        if self.tracers.is_due(self.step):
            self._record_tracers()
        if self.frames.is_due(self.step):
            self._record_frame()
        if self.thermo.is_due(self.step):
            self._record_thermo()

    def _record_tracers(self) -> None:
        positions, host = self.atoms.positions, ~self._is_tracer
        values = {
            'positions': positions[self._is_tracer],
            'host_centre': np.average(positions[host], axis=0, weights=self.atoms.get_masses()[host]),
        }
        if self.parameters['ensemble'] == 'npt':
            values['cells'] = self.atoms.cell.array
        self.tracers.add(self.step, **values)

    def _record_frame(self) -> None:
        self.frames.add(
            self.step,
            positions=self.atoms.positions,
            velocities=self.velocities,
            cells=self.atoms.cell.array,
            energies=self.atoms.get_total_energy(),
        )

    def _record_thermo(self) -> None:
        self.thermo.add(
            self.step,
            temperature_k=temperature(self.atoms),
            potential_energy_ev=self.atoms.get_potential_energy(),
            kinetic_energy_ev=self.atoms.get_kinetic_energy(),
            pressure_gpa=pressure_gpa(self.atoms),
            volume_a3=self.atoms.get_volume(),
        )

    def _report(self) -> None:
        job.report_progress(
            self.step - self.first_step,
            self.parameters['steps'],
            t=f'{self.step * self.parameters["time_step_fs"] / PS_IN_FS:.2f}ps',
            E=f'{self.atoms.get_total_energy():.4f}eV',
            T=f'{temperature(self.atoms):.0f}K',
        )

    @property
    def velocities(self) -> np.ndarray:
        """Return the velocities [n,3] in Å/fs."""
        return self.atoms.get_velocities() * units.fs

    def get_restart(self) -> dict[str, Any] | None:
        """Return the state that continues the run, besides positions and velocities, as JSON, or None."""
        return self.dynamics.get_restart() if isinstance(self.dynamics, ZeroMomentumLangevin) else None

    def write(self, versions: dict[str, str]) -> None:
        """Write arrays, restart and results of the completed steps."""
        for name in ('tracers', 'frames', 'thermo'):
            job.write_arrays(job_files.MD_FILES[name], **getattr(self, name).arrays())
        job.write_arrays(
            job_files.MD_FILES['final'],
            numbers=self.atoms.numbers,
            positions=self.atoms.positions,
            velocities=self.velocities,
            cell=self.atoms.cell.array,
        )
        if (restart := self.get_restart()) is not None:
            Path(job_files.MD_RESTART_FILE).write_text(json.dumps(restart, sort_keys=True))
        ensemble = self.parameters['ensemble']
        results: MdResults = {
            'last_step': self.step,
            'thermostat': None if ensemble == 'nve' else THERMOSTAT,
            'barostat': BAROSTAT if ensemble == 'npt' else None,
            'evaluator': 'torch',
            'head': chosen_head(self.atoms.calc),
            'versions': versions,
        }
        job.write_results(results)
