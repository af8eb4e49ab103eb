"""Molecular dynamics as physics, with calculators that cost nothing; and the program with CHGNet."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from md_parameters import md_parameters
from program_runs import chgnet_file, run_program

from aiida_mghdiff.programs.ase import md as ase_md
from aiida_mghdiff.programs.ase.md import MdProgram, Series, temperature
from aiida_mghdiff.programs.calculators.loading import make_atoms
from aiida_mghdiff.programs.job import ProgramError, WallClock

CHGNET = {'architecture': 'chgnet', 'elements': ['H', 'Mg'], 'head': None}


class Springs(Calculator):
    """Each atom is on a spring to its site; the crystal may move as a whole."""

    implemented_properties = ('energy', 'forces', 'stress')

    def __init__(self, sites, constant=5.0):
        super().__init__()
        self.sites, self.constant = sites, constant

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        steps = self.atoms.positions - self.sites
        steps -= steps.mean(axis=0)
        energy = 0.5 * self.constant * np.sum(steps**2)
        self.results = {'energy': energy, 'forces': -self.constant * steps, 'stress': np.zeros(6)}


class Nothing(Calculator):
    """An ideal gas, whose forces are NaN after `broken_after` evaluations."""

    implemented_properties = ('energy', 'forces', 'stress')

    def __init__(self, broken_after=None):
        super().__init__()
        self.left = broken_after

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        value = 0.0
        if self.left is not None:
            self.left -= 1
            value = np.nan if self.left < 0 else 0.0
        self.results = {'energy': 0.0, 'forces': np.full((len(self.atoms), 3), value), 'stress': np.zeros(6)}


def parameters(ensemble='nve', **changes):
    values = {'time_step_fs': 2.0, 'steps': 100, 'seed': 3, 'tracer_element': 'Au'}
    return md_parameters(ensemble, **values | {'tracer_stride': 10, 'thermo_stride': 1, 'frame_stride': 50} | changes)


def alloy():
    atoms = bulk('Cu', cubic=True).repeat((2, 2, 1))
    atoms.symbols[0] = 'Au'
    return atoms


def run(atoms, calculator, restart=None, **changes):
    program = MdProgram(atoms, calculator, parameters(**changes), restart)
    program.advance()
    return program


def continued(program):
    """Return the atoms and the restart of a run after a round trip through JSON."""
    atoms = program.atoms
    start = {
        'numbers': atoms.numbers.tolist(),
        'cell': atoms.cell.tolist(),
        'positions': atoms.positions.tolist(),
        'velocities': program.velocities.tolist(),
    }
    text = json.dumps([start, program.get_restart()])
    start, restart = json.loads(text)
    return make_atoms(start), restart


def test_velocities_have_the_temperature_and_no_total_momentum():
    atoms = alloy()
    ase_md.draw_velocities(atoms, 300.0, np.random.default_rng(1))
    assert temperature(atoms) == pytest.approx(300.0)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize('ensemble', ['nve', 'nvt', 'npt'])
def test_two_segments_are_one_run(ensemble):
    whole = run(alloy(), EMT(), ensemble=ensemble, steps=200, thermo_stride=10)
    half = run(alloy(), EMT(), ensemble=ensemble, steps=100, thermo_stride=10)
    atoms, restart = continued(half)
    rest = run(atoms, EMT(), restart, ensemble=ensemble, steps=100, first_step=100, thermo_stride=10)
    np.testing.assert_allclose(rest.atoms.positions, whole.atoms.positions, atol=1e-9)
    np.testing.assert_allclose(rest.velocities, whole.velocities, atol=1e-9)
    np.testing.assert_allclose(rest.atoms.cell, whole.atoms.cell, atol=1e-9)
    for name in ('tracers', 'frames', 'thermo'):
        expected = getattr(whole, name).arrays()
        for key, parts in getattr(half, name).arrays().items():
            joined = np.concatenate([parts, getattr(rest, name).arrays()[key]])
            np.testing.assert_allclose(joined, expected[key], atol=1e-6, err_msg=f'{name} {key}')


def test_energy_fluctuates_as_the_square_of_the_time_step():
    spread = []
    for time_step in (2.0, 1.0):
        thermo = run(alloy(), EMT(), time_step_fs=time_step, steps=int(600 / time_step)).thermo.arrays()
        spread.append(np.std(thermo['potential_energy_ev'] + thermo['kinetic_energy_ev']))
    assert spread[0] / spread[1] == pytest.approx(4.0, rel=0.15)
    assert spread[1] < 1e-4


def test_another_seed_is_another_run():
    first, same, other = (run(alloy(), Nothing(), seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.velocities, same.velocities)
    assert np.abs(first.velocities - other.velocities).max() > 1e-4


def test_thermostat_samples_the_canonical_ensemble():
    """Both energies obey equipartition; the kinetic energy has the spread of 3n-3 degrees of freedom."""
    atoms = alloy()
    calculator = Springs(atoms.positions.copy())
    program = run(atoms, calculator, ensemble='nvt', steps=8000, friction_per_ps=20.0)
    thermo = {name: values[500:] for name, values in program.thermo.arrays().items()}
    freedom = 3 * len(atoms) - 3
    assert thermo['temperature_k'].mean() == pytest.approx(300.0, rel=0.04)
    assert thermo['temperature_k'].std() == pytest.approx(300.0 * np.sqrt(2 / freedom), rel=0.1)
    assert thermo['potential_energy_ev'].mean() == pytest.approx(freedom * units.kB * 300 / 2, rel=0.06)
    np.testing.assert_allclose(program.atoms.get_momenta().sum(axis=0), 0, atol=1e-9)


def test_heavy_and_light_atoms_have_one_temperature():
    atoms = Atoms('Mg8H8', bulk('Cu', cubic=True).repeat((2, 2, 1)).positions, cell=[7, 7, 4], pbc=True)
    changes = {'ensemble': 'nvt', 'time_step_fs': 1.0, 'steps': 8000, 'friction_per_ps': 20.0, 'frame_stride': 20}
    program = run(atoms, Springs(atoms.positions.copy()), tracer_element='H', **changes)
    velocities = program.frames.arrays()['velocities'][25:] / units.fs
    kinetic = 0.5 * atoms.get_masses()[:, None] * np.square(velocities)
    free = 1 - atoms.get_masses() / atoms.get_masses().sum()  # the fixed total momentum takes the rest
    for tracer in (True, False):
        chosen = (atoms.symbols == 'H') == tracer
        expected = units.kB * 300 / 2 * free[chosen].mean()
        assert kinetic[:, chosen].mean() == pytest.approx(expected, rel=0.06)


def test_barostat_gives_the_volumes_of_an_ideal_gas():
    """An ideal gas without total momentum has p(V) ~ V^n exp(-PV/kT), up to one power of V."""
    count, pressure = 12, 0.2
    atoms = Atoms('CuAu' * (count // 2), np.random.default_rng(1).uniform(0, 6, (count, 3)), cell=[6, 6, 6], pbc=True)
    program = run(
        atoms, Nothing(), ensemble='npt', pressure_gpa=pressure, barostat_time_ps=0.1, friction_per_ps=20.0, steps=12000
    )
    thermo = {name: values[1000:] for name, values in program.thermo.arrays().items()}
    reduced = thermo['volume_a3'] * pressure * units.GPa / (units.kB * 300)
    assert reduced.mean() == pytest.approx(count, rel=0.12)
    assert reduced.std() == pytest.approx(np.sqrt(count), rel=0.25)
    assert thermo['pressure_gpa'].mean() == pytest.approx(pressure, rel=0.05)
    assert thermo['temperature_k'].mean() == pytest.approx(300.0, rel=0.05)


def test_cell_shape_is_kept():
    atoms = alloy()
    atoms.set_cell(atoms.cell @ np.array([[1, 0.1, 0], [0, 1.02, 0.05], [0, 0, 0.97]]), scale_atoms=True)
    shape = atoms.cell.array / np.cbrt(atoms.get_volume())
    program = run(atoms, EMT(), ensemble='npt', steps=50, pressure_gpa=5.0)
    assert np.ptp(program.thermo.arrays()['volume_a3']) > 1.0
    np.testing.assert_allclose(program.atoms.cell.array / np.cbrt(program.atoms.get_volume()), shape, atol=1e-10)


def test_pressure_is_that_of_the_volume_derivative():
    atoms = alloy()
    atoms.calc = EMT()
    energies = []
    for factor in (0.999, 1.001):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell * np.cbrt(factor), scale_atoms=True)
        scaled.calc = EMT()
        energies.append(scaled.get_potential_energy())
    expected = -(energies[1] - energies[0]) / (0.002 * atoms.get_volume()) * 160.2176634
    assert ase_md.pressure_gpa(atoms) == pytest.approx(expected, abs=0.02)


def test_a_compressed_crystal_expands_to_its_pressure():
    atoms = alloy()
    atoms.set_cell(atoms.cell * 0.97, scale_atoms=True)
    program = run(atoms, EMT(), ensemble='npt', steps=600, barostat_time_ps=0.1)
    pressure = program.thermo.arrays()['pressure_gpa']
    assert pressure[0] > 10
    assert abs(pressure[250:].mean()) < 1.0


def test_series_have_no_row_twice_and_none_too_few():
    for first, last in ((0, 10), (10, 20), (10, 25), (3, 9), (0, 4)):
        series = Series(5, first, last, value=((), 'f8'))
        for step in range(first, last + 1):
            if series.is_due(step):
                series.add(step, value=step)
        expected = [step for step in range(first, last + 1) if step % 5 == 0 and (step > first or step == 0)]
        np.testing.assert_array_equal(series.arrays()['steps'], expected)
        assert len(series._arrays['steps']) == len(expected)


def test_tracers_are_unwrapped():
    atoms = alloy()
    atoms.set_velocities(np.zeros((len(atoms), 3)))
    velocities = np.zeros((len(atoms), 3))
    velocities[0] = [0.02 / units.fs, 0, 0]
    atoms.set_velocities(velocities)
    program = run(atoms, Nothing(), steps=1000, temperature_k=20000.0)
    tracers = program.tracers.arrays()
    assert tracers['positions'][-1, 0, 0] - tracers['positions'][0, 0, 0] == pytest.approx(0.02 * 2000, rel=1e-5)
    assert np.ptp(tracers['host_centre'], axis=0).max() < 1e-6
    np.testing.assert_array_equal(tracers['steps'], np.arange(0, 1001, 10))
    assert 'cells' not in tracers


@pytest.mark.parametrize('broken_after', [0, 5])
def test_forces_that_are_not_finite(broken_after):
    with pytest.raises(ProgramError, match='NON_FINITE'):
        run(alloy(), Nothing(broken_after))


def test_temperature_that_runs_away():
    atoms = alloy()
    with pytest.raises(ProgramError, match='TEMPERATURE_RUNAWAY'):
        run(atoms, EMT(), time_step_fs=60.0, steps=500)


def test_stops_before_its_wall_time():
    program = MdProgram(alloy(), EMT(), parameters(steps=100000))
    with pytest.raises(ProgramError, match='OUT_OF_WALLTIME'):
        program.advance(WallClock(0.5))
    assert 0 < program.step < 100000
    assert program.thermo.arrays()['steps'][-1] == program.step


def start():
    atoms = bulk('Mg', 'hcp', a=3.2, c=5.19).repeat((2, 2, 1))
    atoms += Atoms('H', [atoms.positions[0] + [1.6, 0.92, 1.3]])
    return {'numbers': atoms.numbers.tolist(), 'cell': atoms.cell.tolist(), 'positions': atoms.positions.tolist()}


def test_program_with_chgnet(tmp_path, capsys):
    changes = {'tracer_element': 'H', 'time_step_fs': 0.5, 'steps': 20, 'dtype': 'float32', 'frame_stride': 10}
    inputs = {'parameters': parameters(**changes), 'structure': start()}
    results = run_program(tmp_path, 'ase.md', {}, (chgnet_file(), CHGNET), **inputs)
    assert results['last_step'] == 20
    assert results['thermostat'] is None
    assert {'chgnet', 'torch', 'ase'} <= set(results['versions'])
    assert capsys.readouterr().out.splitlines()[-1].startswith('progress 20/20 t=0.01ps E=')
    thermo = np.load(tmp_path / 'thermo.npz')
    energies = thermo['potential_energy_ev'] + thermo['kinetic_energy_ev']
    assert np.ptp(energies) < 5e-3
    assert not (tmp_path / 'restart.json').exists()


def test_program_refuses_unknown_elements(tmp_path):
    structure = start() | {'numbers': [12] * 8 + [2]}
    with pytest.raises(ProgramError, match='ELEMENT_UNKNOWN'):
        run_program(tmp_path, 'ase.md', {}, (chgnet_file(), CHGNET), parameters=parameters(), structure=structure)
