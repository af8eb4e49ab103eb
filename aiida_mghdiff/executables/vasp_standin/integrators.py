"""Equations of motion: velocity Verlet with Andersen's, Nosé and Hoover's or Langevin's thermostat, and a moving cell.

The evaluation of the forces splits a step in two: ``begin`` (half a kick, the drift) leads to new positions, ``finish``
(half a kick) to the velocities at these positions. Thermostats act so that each step is time-reversible.

Langevin dynamics is BAOAB (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013), doi:10.1063/1.4802990), with a
friction for each species. The moving cell follows the Hamiltonian of Parrinello and Rahman (J. Appl. Phys. 52, 7182
(1981), doi:10.1063/1.328693) in scaled coordinates s, conjugate momenta p, lattice h and its momentum π,

    H = Σ p²/2m + U(s h) + P V + Σ π²/2W.

Each part of H is solved exactly. Friction and noise act on the lattice, too (Quigley and Probert, J. Chem. Phys. 120,
11432 (2004), doi:10.1063/1.1755657). The lattice moves in a linear space of matrices (``cell_motion``).

Velocities belong to the same time as the positions. Random numbers depend on the seed and the number of draws, so that
a restart with the last RANDOM_SEED continues the same noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_mghdiff.executables.vasp_standin.force_field import Labels
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

#: With SMASS = 0 the temperature oscillates with this period.
_NOSE_PERIOD_STEPS = 40


class RandomNumbers:
    """Random numbers that depend on a seed and the number of earlier draws: RANDOM_SEED = seed, draws, 0."""

    def __init__(self, state: tuple[int, int, int]) -> None:
        """:param state: the three numbers of RANDOM_SEED."""
        self.seed, self.draws, self._last = state

    @property
    def state(self) -> tuple[int, int, int]:
        """Return the three numbers that continue from here."""
        return self.seed, self.draws, self._last

    def next(self) -> np.random.Generator:
        """Return the generator of the next draw."""
        self.draws += 1
        return np.random.Generator(np.random.Philox(key=self.seed, counter=[0, self.draws, self._last, 0]))


@dataclass
class Motion:
    """Moving atoms with momenta, and the velocity of the lattice [3,3] in ASE's units."""

    atoms: Atoms
    lattice_velocity: np.ndarray

    @property
    def kinetic_energy(self) -> float:
        """Return the kinetic energy of the atoms in eV."""
        return float(self.atoms.get_kinetic_energy())


class Integrator:
    """Velocity Verlet without a thermostat."""

    removes_centre = True

    def __init__(self, motion: Motion, time_step: float) -> None:
        """:param time_step: in ASE's units."""
        self.motion, self.time_step = motion, time_step
        self.masses = motion.atoms.get_masses()[:, None]

    @property
    def degrees_of_freedom(self) -> int:
        """Return the number of degrees of freedom: 3n, or 3n - 3 if the centre of mass stays at rest."""
        n = len(self.motion.atoms)
        return 3 * n - 3 if self.removes_centre and n > 1 else 3 * n

    @property
    def temperature(self) -> float:
        """Return the temperature in K."""
        return 2 * self.motion.kinetic_energy / (self.degrees_of_freedom * BOLTZMANN_EV_PER_K)

    @property
    def needs_stress(self) -> bool:
        """Return whether the motion depends on the stress."""
        return False

    @property
    def lattice_kinetic_energy(self) -> float:
        """Return the kinetic energy of the lattice, eV."""
        return 0.0

    @property
    def thermostat_energies(self) -> tuple[float, float]:
        """Return the potential and kinetic energy of a Nosé thermostat, eV."""
        return 0.0, 0.0

    def begin(self, labels: Labels, temperature_k: float) -> None:
        """Move from positions with known forces to the next positions."""
        self.kick(labels)
        self.drift(self.time_step)

    def finish(self, labels: Labels, temperature_k: float) -> None:
        """Bring the velocities to the time of the positions, whose forces are now known."""
        self.kick(labels)

    def kick(self, labels: Labels) -> None:
        """Change the momenta by the forces for half a step."""
        atoms = self.motion.atoms
        atoms.set_momenta(atoms.get_momenta() + self.time_step / 2 * labels.forces)

    def drift(self, time: float) -> None:
        """Move the atoms with their velocities."""
        self.motion.atoms.positions += time * self.motion.atoms.get_momenta() / self.masses


class Andersen(Integrator):
    """Collisions with a bath: in each step, each atom gets a new thermal velocity with a given probability."""

    removes_centre = False

    def __init__(self, motion: Motion, time_step: float, probability: float, random: RandomNumbers) -> None:
        """:param probability: probability of a collision per atom and step."""
        super().__init__(motion, time_step)
        self.probability, self.random = probability, random

    def finish(self, labels: Labels, temperature_k: float) -> None:
        """Finish the step, then let atoms collide."""
        super().finish(labels, temperature_k)
        generator, momenta = self.random.next(), self.motion.atoms.get_momenta()
        hit = generator.random(len(momenta)) < self.probability
        thermal = np.sqrt(self.masses * BOLTZMANN_EV_PER_K * temperature_k) * generator.standard_normal(momenta.shape)
        momenta[hit] = thermal[hit]
        self.motion.atoms.set_momenta(momenta)


class NoseHoover(Integrator):
    """One Nosé-Hoover thermostat (Hoover, Phys. Rev. A 31, 1695 (1985), doi:10.1103/PhysRevA.31.1695)."""

    def __init__(self, motion: Motion, time_step: float, smass: float, temperature_k: float) -> None:
        """:param smass: VASP's SMASS: amu in units of the first lattice vector, or 0 for a period of 40 steps."""
        super().__init__(motion, time_step)
        self.position, self.velocity = 0.0, 0.0
        if smass > 0:
            self.mass = smass * float(motion.atoms.cell.lengths()[0]) ** 2
        else:
            period = _NOSE_PERIOD_STEPS * time_step
            self.mass = 2 * self.degrees_of_freedom * BOLTZMANN_EV_PER_K * temperature_k * (period / 2 / np.pi) ** 2

    @property
    def thermostat_energies(self) -> tuple[float, float]:
        """Return the potential energy at the temperature of the last step, and the kinetic energy."""
        return self.degrees_of_freedom * self._thermal * self.position, self.mass * self.velocity**2 / 2

    def begin(self, labels: Labels, temperature_k: float) -> None:
        """Let the thermostat act for half a step, then move."""
        self._thermostat(temperature_k)
        super().begin(labels, temperature_k)

    def finish(self, labels: Labels, temperature_k: float) -> None:
        """Finish the step, then let the thermostat act for half a step."""
        super().finish(labels, temperature_k)
        self._thermostat(temperature_k)

    def _thermostat(self, temperature_k: float) -> None:
        self._thermal = BOLTZMANN_EV_PER_K * temperature_k
        quarter = self.time_step / 4
        self.velocity += quarter * self._force()
        scale = np.exp(-self.velocity * self.time_step / 2)
        self.motion.atoms.set_momenta(self.motion.atoms.get_momenta() * scale)
        self.position += self.velocity * self.time_step / 2
        self.velocity += quarter * self._force()

    def _force(self) -> float:
        return (2 * self.motion.kinetic_energy - self.degrees_of_freedom * self._thermal) / self.mass

    _thermal = 0.0


class Langevin(Integrator):
    """BAOAB with a friction for each atom."""

    removes_centre = False

    def __init__(self, motion: Motion, time_step: float, friction: np.ndarray, random: RandomNumbers) -> None:
        """:param friction: [n] in inverse ASE units of time."""
        super().__init__(motion, time_step)
        self.friction, self.random = friction[:, None], random

    def begin(self, labels: Labels, temperature_k: float) -> None:
        """Half a kick, half a drift, friction and noise, half a drift."""
        self.kick(labels)
        self.drift(self.time_step / 2)
        self.bath(temperature_k)
        self.drift(self.time_step / 2)

    def bath(self, temperature_k: float) -> None:
        """Let friction and noise act for a whole step: an exact Ornstein-Uhlenbeck process."""
        self._draw = self.random.next()
        momenta, kept = self.motion.atoms.get_momenta(), np.exp(-self.friction * self.time_step)
        noise = np.sqrt((1 - kept**2) * self.masses * BOLTZMANN_EV_PER_K * temperature_k)
        self.motion.atoms.set_momenta(kept * momenta + noise * self._draw.standard_normal(momenta.shape))


class LangevinCell(Langevin):
    """Langevin dynamics of atoms and a lattice that moves in a linear space of matrices."""

    def __init__(
        self,
        motion: Motion,
        time_step: float,
        friction: np.ndarray,
        random: RandomNumbers,
        basis: np.ndarray,
        mass: float,
        lattice_friction: float,
        pressure: float,
    ) -> None:
        """Start from a motion.

        :param basis: motions of the lattice [k,3,3].
        :param mass: mass of the lattice in amu.
        :param lattice_friction: in inverse ASE units of time.
        :param pressure: eV/Å³.
        """
        super().__init__(motion, time_step, friction, random)
        self.basis, self.mass, self.lattice_friction, self.pressure = basis, mass, lattice_friction, pressure
        self.rates = np.einsum('kij,ij->k', basis, motion.lattice_velocity)
        self._update()

    @property
    def needs_stress(self) -> bool:
        """Return whether the motion depends on the stress."""
        return True

    @property
    def lattice_kinetic_energy(self) -> float:
        """Return the kinetic energy of the lattice, eV."""
        return float(self.mass * (self.rates**2).sum() / 2)

    def begin(self, labels: Labels, temperature_k: float) -> None:
        """Half a kick; lattice and atoms for half a step, friction and noise, atoms and lattice for half a step."""
        self.kick(labels)
        self._move_lattice(self.time_step / 2)
        self._drift_scaled(self.time_step / 2)
        self.bath(temperature_k)
        self._drift_scaled(self.time_step / 2)
        self._move_lattice(self.time_step / 2)
        self._update()

    def kick(self, labels: Labels) -> None:
        """Change the momenta of atoms and lattice by forces, stress and pressure for half a step."""
        super().kick(labels)
        xx, yy, zz, yz, xz, xy = labels.stress
        stress = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) + self.pressure * np.eye(3)
        self._push(-self.motion.atoms.get_volume() * stress, self.time_step / 2)
        self._update()

    def bath(self, temperature_k: float) -> None:
        """Let friction and noise act on atoms and lattice for a whole step."""
        super().bath(temperature_k)
        kept = np.exp(-self.lattice_friction * self.time_step)
        noise = np.sqrt((1 - kept**2) * BOLTZMANN_EV_PER_K * temperature_k / self.mass)
        self.rates = kept * self.rates + noise * self._draw.standard_normal(len(self.rates))

    def _drift_scaled(self, time: float) -> None:
        """Move the atoms in the cell; their momentum flux pushes the lattice."""
        momenta = self.motion.atoms.get_momenta()
        self._push((momenta / self.masses).T @ momenta, time)
        self.drift(time)

    def _push(self, virial: np.ndarray, time: float) -> None:
        """Change the velocity of the lattice by the force (h^-1)^T virial."""
        force = np.linalg.solve(self.motion.atoms.cell.array.T, virial)
        self.rates = self.rates + time / self.mass * np.einsum('kij,ij->k', self.basis, force)

    def _move_lattice(self, time: float) -> None:
        """Move the lattice at constant scaled positions and conjugate momenta."""
        atoms = self.motion.atoms
        before = atoms.cell.array
        after = before + time * np.einsum('k,kij->ij', self.rates, self.basis)
        change = np.linalg.solve(before, after)
        momenta = np.linalg.solve(change, atoms.get_momenta().T).T
        atoms.set_cell(after)
        atoms.positions = atoms.positions @ change
        atoms.set_momenta(momenta)

    def _update(self) -> None:
        self.motion.lattice_velocity = np.einsum('k,kij->ij', self.rates, self.basis)


def draw_momenta(atoms: Atoms, temperature_k: float, random: RandomNumbers) -> None:
    """Draw Maxwell-Boltzmann momenta with zero total momentum, scaled to exactly the temperature."""
    masses = atoms.get_masses()[:, None]
    momenta = np.sqrt(masses * BOLTZMANN_EV_PER_K * temperature_k) * random.next().standard_normal((len(atoms), 3))
    if len(atoms) > 1:
        momenta -= masses * momenta.sum(axis=0) / masses.sum()
    atoms.set_momenta(momenta)
    degrees = 3 * len(atoms) - (3 if len(atoms) > 1 else 0)
    now = 2 * atoms.get_kinetic_energy() / (degrees * BOLTZMANN_EV_PER_K)
    atoms.set_momenta(momenta * np.sqrt(temperature_k / now))
