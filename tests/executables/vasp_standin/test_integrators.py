"""Equations of motion as physics, on a harmonic crystal with exact solutions."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from aiida_mghdiff.executables.vasp_standin.cell_motion import motion_basis, read_constraints
from aiida_mghdiff.executables.vasp_standin.force_field import Labels
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
from aiida_mghdiff.formats.iconst import iconst_text
from aiida_mghdiff.programs.job import ProgramError
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

TEMPERATURE = 500.0
STEP = 2 * units.fs
FRICTION = 1 / (100 * units.fs)


class Crystal:
    """Atoms bound to their sites in an elastic cell: U = k/2 Σu² + V0 B/2 ΣE², with Green and Lagrange's strain E."""

    def __init__(self, atoms, spring=3.0, modulus=0.3):
        self.sites, self.cell = atoms.get_scaled_positions(), atoms.cell.array.copy()
        self.spring, self.stiffness = spring, modulus * atoms.get_volume()

    def __call__(self, atoms):
        """Return labels; the virial is the derivative of U by the strain at constant scaled positions."""
        change = np.linalg.solve(self.cell, atoms.cell.array)
        strain = (change @ change.T - np.eye(3)) / 2
        shift = atoms.positions - self.sites @ atoms.cell.array
        energy = self.spring / 2 * (shift**2).sum() + self.stiffness / 2 * (strain**2).sum()
        virial = self.spring * shift.T @ shift + self.stiffness * change.T @ strain @ change
        stress = virial / atoms.get_volume()
        return Labels(energy, energy, -self.spring * shift, stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])


def crystal(repeats=2):
    atoms = bulk('Mg', 'hcp', a=3.2, c=5.2) * repeats
    atoms.set_masses(np.where(np.arange(len(atoms)) % 2, 24.3, 4.0))
    return atoms, Crystal(atoms)


def moving(repeats=2, seed=1):
    atoms, potential = crystal(repeats)
    draw_momenta(atoms, TEMPERATURE, RandomNumbers((seed, 0, 0)))
    return Motion(atoms, np.zeros((3, 3))), potential


def advance(integrator, potential, steps, record=lambda labels: None, temperature=TEMPERATURE):
    """Make steps; return a record after each."""
    labels, rows = potential(integrator.motion.atoms), []
    for _ in range(steps):
        integrator.begin(labels, temperature)
        labels = potential(integrator.motion.atoms)
        integrator.finish(labels, temperature)
        rows.append(record(labels))
    return np.array(rows)


def test_momenta_have_the_temperature_and_no_centre():
    motion, _ = moving()
    np.testing.assert_allclose(motion.atoms.get_momenta().sum(axis=0), 0, atol=1e-10)
    assert Integrator(motion, STEP).temperature == pytest.approx(TEMPERATURE)


def test_nve_error_of_the_energy_falls_with_the_square_of_the_time_step():
    spreads = []
    for step in (0.5, 1.0, 2.0):
        motion, potential = moving()
        integrator = Integrator(motion, step * units.fs)
        energies = advance(
            integrator, potential, int(400 / step), lambda labels, motion=motion: labels.energy + motion.kinetic_energy
        )
        spreads.append(np.std(energies))
    assert spreads[1] / spreads[0] == pytest.approx(4, rel=0.1)
    assert spreads[2] / spreads[1] == pytest.approx(4, rel=0.1)


def test_nve_is_reversible():
    motion, potential = moving()
    start = motion.atoms.positions.copy()
    integrator = Integrator(motion, STEP)
    advance(integrator, potential, 200)
    motion.atoms.set_momenta(-motion.atoms.get_momenta())
    advance(integrator, potential, 200)
    np.testing.assert_allclose(motion.atoms.positions, start, atol=1e-10)


def thermostats(motion):
    random = RandomNumbers((5, 0, 0))
    friction = np.full(len(motion.atoms), FRICTION)
    return {
        'langevin': Langevin(motion, STEP, friction, random),
        'andersen': Andersen(motion, STEP, 0.02, random),
    }


@pytest.mark.parametrize('name', ['langevin', 'andersen'])
def test_canonical_distribution(name):
    """Both energies have the mean and the variance of 3n oscillators."""
    motion, potential = moving()
    integrator = thermostats(motion)[name]
    advance(integrator, potential, 500)
    energies = advance(integrator, potential, 12000, lambda labels: (motion.kinetic_energy, labels.energy))
    expected = 3 * len(motion.atoms) * BOLTZMANN_EV_PER_K * TEMPERATURE / 2
    np.testing.assert_allclose(energies.mean(axis=0), expected, rtol=0.03)
    np.testing.assert_allclose(energies.var(axis=0), expected * BOLTZMANN_EV_PER_K * TEMPERATURE, rtol=0.2)


def test_species_share_the_temperature():
    """Each species has its own friction."""
    motion, potential = moving()
    friction = np.where(np.arange(len(motion.atoms)) % 2, FRICTION, 5 * FRICTION)
    integrator = Langevin(motion, STEP, friction, RandomNumbers((5, 0, 0)))
    energies = advance(
        integrator, potential, 8000, lambda _: (motion.atoms.get_momenta() ** 2 / 2 / integrator.masses).sum(axis=1)
    )
    temperatures = energies.mean(axis=0) / (1.5 * BOLTZMANN_EV_PER_K)
    assert temperatures[::2].mean() == pytest.approx(TEMPERATURE, rel=0.05)
    assert temperatures[1::2].mean() == pytest.approx(TEMPERATURE, rel=0.05)


def nose_run(step_fs, length_fs):
    """Return the conserved energy and the temperature of a run."""
    motion, potential = moving()
    integrator = NoseHoover(motion, step_fs * units.fs, 0.5, TEMPERATURE)
    return advance(
        integrator,
        potential,
        int(length_fs / step_fs),
        lambda labels: (
            labels.energy + motion.kinetic_energy + sum(integrator.thermostat_energies),
            integrator.temperature,
        ),
    )


def test_nose_hoover_conserves_its_energy():
    spreads = [np.std(nose_run(step, 500)[:, 0]) for step in (0.5, 1.0)]
    assert spreads[1] / spreads[0] == pytest.approx(4, rel=0.1)


def test_nose_hoover_keeps_the_mean_temperature():
    temperatures = nose_run(2.0, 12000)[500:, 1]
    assert temperatures.mean() == pytest.approx(TEMPERATURE, rel=0.05)
    assert temperatures.std() > 0.05 * TEMPERATURE


def test_nose_period_of_forty_steps():
    """With SMASS = 0 the thermostat of an ideal gas near its target oscillates with this period."""
    atoms = Atoms('Mg200', positions=np.zeros((200, 3)), cell=np.eye(3) * 50, pbc=True)
    draw_momenta(atoms, 1.02 * TEMPERATURE, RandomNumbers((1, 0, 0)))
    integrator = NoseHoover(Motion(atoms, np.zeros((3, 3))), units.fs, 0.0, TEMPERATURE)
    free = Labels(0.0, 0.0, np.zeros((200, 3)), np.zeros(6))
    temperatures = advance(integrator, lambda _: free, 400, lambda _: integrator.temperature)
    spectrum = np.abs(np.fft.rfft(temperatures - temperatures.mean()))
    assert 400 / spectrum.argmax() == pytest.approx(40, rel=0.05)


def cell_run(tmp_path, shape, pressure=0.0, friction=FRICTION):
    motion, potential = moving()
    atoms = motion.atoms
    path = tmp_path / 'ICONST'
    if shape:
        path.write_text(iconst_text(atoms.cell.array, shape))
    cell = atoms.cell.array
    basis = motion_basis(cell, read_constraints(cell, len(atoms), path))
    rates = np.full(len(atoms), friction)
    integrator = LangevinCell(motion, STEP, rates, RandomNumbers((3, 0, 0)), basis, 200.0, friction, pressure)
    return integrator, potential


@pytest.mark.parametrize(('shape', 'modes'), [('fixed', 1), ('free-c/a', 2), ('free-lengths', 3), (None, 6)])
def test_shape_of_the_cell_stays_as_constrained(tmp_path, shape, modes):
    integrator, potential = cell_run(tmp_path, shape)
    cell = integrator.motion.atoms.cell
    before = cell.cellpar()
    advance(integrator, potential, 200)
    after = cell.cellpar()
    assert integrator.basis.shape == (modes, 3, 3)
    assert not np.isclose(after[0], before[0], atol=1e-4)
    ratios = after[:3] / before[:3]
    same = {'fixed': [0, 1, 2], 'free-c/a': [0, 1]}.get(shape, [0])
    np.testing.assert_allclose(ratios[same], ratios[0], rtol=1e-9)
    assert np.allclose(after[3:], before[3:], atol=1e-7) == (shape is not None)
    assert np.isclose(ratios[2], ratios[0], rtol=1e-9) == (shape == 'fixed')


@pytest.mark.parametrize('shape', ['fixed', 'free-lengths', None])
def test_moving_cell_without_noise_conserves_the_enthalpy(tmp_path, shape):
    """The error of a symplectic integrator falls by four at half the time step, without a drift."""
    spreads = []
    for step in (1.0, 2.0):
        integrator, potential = cell_run(tmp_path, shape, pressure=0.01, friction=0.0)
        integrator.time_step = step * units.fs
        motion = integrator.motion
        energies = advance(
            integrator,
            potential,
            int(600 / step),
            lambda labels, motion=motion, integrator=integrator: (
                labels.energy
                + motion.kinetic_energy
                + integrator.lattice_kinetic_energy
                + 0.01 * motion.atoms.get_volume()
            ),
        )
        spreads.append(np.std(energies))
    assert spreads[1] / spreads[0] == pytest.approx(4, rel=0.15)


def test_moving_cell_is_canonical(tmp_path):
    """Each mode of the lattice has kT / 2, and the strain has an oscillator's variance."""
    integrator, potential = cell_run(tmp_path, 'free-lengths')
    atoms = integrator.motion.atoms
    lengths = atoms.cell.lengths()
    rows = advance(
        integrator,
        potential,
        15000,
        lambda _: (integrator.lattice_kinetic_energy, integrator.temperature, *(atoms.cell.lengths() / lengths - 1)),
    )[1000:]
    thermal = BOLTZMANN_EV_PER_K * TEMPERATURE
    assert rows[:, 0].mean() == pytest.approx(1.5 * thermal, rel=0.12)
    assert rows[:, 1].mean() == pytest.approx(TEMPERATURE, rel=0.03)
    assert rows[:, 4].var() == pytest.approx(thermal / potential.stiffness, rel=0.25)


def test_volume_follows_the_pressure(tmp_path):
    integrator, potential = cell_run(tmp_path, 'fixed', pressure=0.03)
    before = integrator.motion.atoms.get_volume()
    volumes = advance(integrator, potential, 6000, lambda _: integrator.motion.atoms.get_volume())[1000:]
    # with h = l h0: U + P V = V0 (3 B/8 (l²-1)² + P l³), with its minimum at l² + 2 P/B l = 1
    length = np.sqrt(1 + (0.03 / 0.3) ** 2) - 0.03 / 0.3
    assert volumes.mean() == pytest.approx(before * length**3, rel=0.01)


def test_noise_goes_on_from_its_state():
    one, two = RandomNumbers((9, 0, 0)), RandomNumbers((9, 0, 0))
    series = [one.next().standard_normal() for _ in range(6)]
    first = [two.next().standard_normal() for _ in range(3)]
    rest = RandomNumbers(two.state)
    assert series == first + [rest.next().standard_normal() for _ in range(3)]
    assert len(set(series)) == 6


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('LR 1 0\n', 'angles'),
        ('R 1 2 0\n', 'R with status 0'),
        ('LA 1 2 0\nLA 1 3 0\nLA 2 3 7\n', 'angles'),
        ('LA 1 2 0\nLA 1 3 0\nLA 2 3 0\nLR 1 0\nS 1 0 0 1 0\n', 'angles'),
        ('LA 1 2 0\nLA 1 3 0\nLA 2 3 0\nLR 1 0\nLR 3 0\nS 0 0 0 1.5 -1 0\n', 'ratio'),
        ('LA 1 2 0\nLA 1 4 0\nLA 2 3 0\n', 'lattice vector 4'),
    ],
)
def test_iconst_that_is_refused(tmp_path, text, reason):
    (tmp_path / 'ICONST').write_text(text)
    atoms, _ = crystal()
    with pytest.raises(ProgramError, match=reason) as caught:
        motion_basis(atoms.cell.array, read_constraints(atoms.cell.array, len(atoms), tmp_path / 'ICONST'))
    assert caught.value.name == 'INPUT_REFUSED'


def test_single_atom_has_a_temperature():
    atoms = Atoms('Mg', cell=np.eye(3) * 5, pbc=True)
    draw_momenta(atoms, TEMPERATURE, RandomNumbers((1, 0, 0)))
    assert Integrator(Motion(atoms, np.zeros((3, 3))), STEP).temperature == pytest.approx(TEMPERATURE)
