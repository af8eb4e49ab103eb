"""Molecular dynamics (IBRION = 0): the loop over steps.

A step computes the forces, brings the velocities to the time of the positions, writes all files, and moves the atoms to
the positions of the next step. CONTCAR has positions and velocities of one time: during the run, the written step; at
the end, the next step, so that a restart repeats no step.
"""

from __future__ import annotations

import numpy as np
from ase import units

from aiida_mghdiff.executables.vasp_standin import stopping
from aiida_mghdiff.executables.vasp_standin.cell_motion import motion_basis, read_constraints
from aiida_mghdiff.executables.vasp_standin.folder import Inputs, has_nose_thermostat
from aiida_mghdiff.executables.vasp_standin.force_field import Labels, deciding_labels
from aiida_mghdiff.executables.vasp_standin.integrators import (
    Andersen,
    Integrator,
    Langevin,
    LangevinCell,
    Motion,
    NoseHoover,
    RandomNumbers,
    draw_momenta,
)
from aiida_mghdiff.executables.vasp_standin.outputs import Outputs, report_seed
from aiida_mghdiff.executables.vasp_standin.potentials import OnTheFly, Potential
from aiida_mghdiff.executables.vasp_standin.step import Dynamics, Step
from aiida_mghdiff.programs.job import ProgramError
from aiida_mghdiff.science.units import KBAR_IN_EV_PER_ANGSTROM3, PS_IN_FS

_PER_PS = 1 / (PS_IN_FS * units.fs)


class MolecularDynamics:
    """One run of molecular dynamics."""

    def __init__(self, inputs: Inputs, outputs: Outputs, potential: Potential, seed: tuple[int, int, int]) -> None:
        """:param seed: the three numbers of RANDOM_SEED."""
        self.settings, self.outputs, self.potential = inputs.settings, outputs, potential
        self.random = RandomNumbers(seed)
        self.integrator = make_integrator(inputs, self.random)
        self.motion = self.integrator.motion

    def run(self) -> None:
        """Make the steps; STOPCAR or a signal ends the run between two steps."""
        settings, integrator = self.settings, self.integrator
        for number in range(1, settings.nsw + 1):
            learned, first = self.potential.evaluate(number, self.motion.atoms, integrator.needs_stress)
            labels = deciding_labels(learned, first)
            if number > 1:
                integrator.finish(labels, self._temperature(number))
            self._write(number, learned, first)
            # end only at a written step: otherwise no file contains the step of CONTCAR
            if number == settings.nsw or (self.outputs.is_due(number) and stopping.is_asked()):
                break
            integrator.begin(labels, self._temperature(number))
        self.potential.finish()
        self._move_on(number, labels)
        self.outputs.finish()

    def _temperature(self, number: int) -> float:
        """Return the temperature of the bath in a step, linear from TEBEG to TEEND."""
        settings = self.settings
        return settings.tebeg + (settings.teend - settings.tebeg) * (number - 1) / max(settings.nsw - 1, 1)

    def _write(self, number: int, learned: Labels | None, first: Labels | None) -> None:
        self._check(number, deciding_labels(learned, first))
        if self.outputs.is_due(number):
            state = self._state(number)
            self._write_contcar()
            self.outputs.write_step(Step(number, self.motion.atoms.copy(), learned, first, state))
        if isinstance(self.potential, OnTheFly):
            self.potential.after_step()

    def _state(self, number: int) -> Dynamics:
        integrator = self.integrator
        potential, kinetic = integrator.thermostat_energies
        return Dynamics(
            temperature=integrator.temperature,
            target_temperature=self._temperature(number),
            kinetic=self.motion.kinetic_energy,
            lattice_kinetic=integrator.lattice_kinetic_energy,
            thermostat_potential=potential,
            thermostat_kinetic=kinetic,
            seed=self.random.state,
        )

    def _check(self, number: int, labels: Labels) -> None:
        """End a run with numbers that are not finite, before they are written."""
        numbers = (labels.energy, labels.forces, self.motion.atoms.positions, self.motion.kinetic_energy)
        if not all(np.isfinite(value).all() for value in numbers):
            raise ProgramError('NON_FINITE', f'step {number}; check the start, the time step and the labels.')

    def _write_contcar(self) -> None:
        moving = isinstance(self.integrator, LangevinCell)
        velocity = self.motion.lattice_velocity if moving else None
        self.outputs.write_contcar(self.motion.atoms, velocity, thermostat_block(self.integrator))

    def _move_on(self, number: int, labels: Labels) -> None:
        """Write the next step's positions and velocities to CONTCAR."""
        self.integrator.begin(labels, self._temperature(number))
        ahead = self.potential.look_ahead(self.motion.atoms)
        self.integrator.finish(ahead, self._temperature(number))
        self._write_contcar()
        self.outputs.write('REPORT', report_seed(self.random.state))


def make_integrator(inputs: Inputs, random: RandomNumbers) -> Integrator:
    """Return the integrator for the settings in INCAR and the structure in POSCAR.

    :raises ProgramError: INPUT_REFUSED.
    """
    settings, atoms = inputs.settings, inputs.atoms()
    constraints = read_constraints(atoms.cell.array, len(atoms))
    if not atoms.has('momenta'):
        draw_momenta(atoms, settings.tebeg, random)
    lattice = inputs.poscar.lattice_velocities
    motion = Motion(atoms, np.zeros((3, 3)) if lattice is None else lattice.velocities / units.fs)
    time_step = settings.potim * units.fs
    if has_nose_thermostat(settings):
        integrator = NoseHoover(motion, time_step, settings.smass, settings.tebeg)
        if inputs.poscar.predictor_corrector is not None:
            _continue_thermostat(integrator, inputs.poscar.predictor_corrector)
        return integrator
    if settings.mdalgo == 1 and settings.andersen_probability > 0:
        return Andersen(motion, time_step, settings.andersen_probability, random)
    if settings.mdalgo != 3:
        return Integrator(motion, time_step)
    friction = np.repeat(settings.friction, inputs.poscar.counts) * _PER_PS
    if settings.isif != 3:
        return Langevin(motion, time_step, friction, random)
    basis = motion_basis(atoms.cell.array, constraints)
    pressure = settings.pressure * KBAR_IN_EV_PER_ANGSTROM3
    lattice_friction = settings.lattice_friction * _PER_PS
    return LangevinCell(motion, time_step, friction, random, basis, settings.piston_mass, lattice_friction, pressure)


def thermostat_block(integrator: Integrator) -> str | None:
    """Return the predictor-corrector block with the state of a Nosé thermostat; None for other integrators.

    The layout is VASP's: a state, the time step, four numbers of the thermostat, and three blocks of vectors. The
    vectors are zero, since the stand-in needs positions and velocities only.
    """
    if not isinstance(integrator, NoseHoover):
        return None
    numbers = (integrator.position, integrator.velocity * units.fs, 0.0, 0.0)
    lines = [
        '           1',
        f'{integrator.time_step / units.fs:24.16E}',
        ''.join(f'{number:25.16E}' for number in numbers),
    ]
    lines += [''.join(f'{0.0:16.8E}' for _ in range(3))] * (3 * len(integrator.motion.atoms))
    return '\n'.join(lines) + '\n'


def _continue_thermostat(integrator: NoseHoover, block: str) -> None:
    try:
        position, velocity = (float(word) for word in block.splitlines()[2].split()[:2])
    except (IndexError, ValueError):
        raise ProgramError(
            'INPUT_REFUSED',
            'POSCAR: the third line of the predictor-corrector block must have four numbers: delete the block.',
        ) from None
    integrator.position, integrator.velocity = position, velocity / units.fs
