"""Barriers of cheap cases, a vacancy with EMT and analytic potentials; and the program with CHGNet."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.optimize import BFGS
from program_runs import chgnet_file, run_program

from aiida_mghdiff.programs.ase.neb import ImageCalculator, PathSearch
from aiida_mghdiff.programs.job import ProgramError, WallClock
from aiida_mghdiff.science.lattice.geometry import hcp_paths, hcp_supercell
from aiida_mghdiff.workflows.protocol import protocol_inputs

CHGNET = {'architecture': 'chgnet', 'elements': ['H', 'Mg'], 'head': None}


class Cosine(Calculator):
    """One atom in a cosine potential along x, held on the line by springs.

    A second atom far away takes the opposite force, so both can move together freely, like a crystal.
    """

    implemented_properties = ('energy', 'forces')
    period, barrier = 3.0, 0.25

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, y, z = self.atoms.positions[1] - self.atoms.positions[0] - 5.0
        phase = 2 * np.pi * x / self.period
        energy = self.barrier / 2 * (1 - np.cos(phase)) + y**2 + z**2
        force = -np.array([self.barrier * np.pi / self.period * np.sin(phase), 2 * y, 2 * z])
        self.results = {'energy': energy, 'forces': np.array([-force, force])}


class Shoulder(Cosine):
    """The same atom in a well beside a plateau; the plateau slopes too gently for the tolerance of the end points."""

    width, slope = 0.8, 0.008

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        Calculator.calculate(self, atoms, properties, system_changes)
        x, y, z = self.atoms.positions[1] - self.atoms.positions[0] - 5.0
        well = np.exp(-((x / self.width) ** 2))
        energy = self.barrier * (1 - well) + self.slope * x + y**2 + z**2
        force = -np.array([self.barrier * 2 * x / self.width**2 * well + self.slope, 2 * y, 2 * z])
        self.results = {'energy': energy, 'forces': np.array([-force, force])}


class Counting(EMT):
    """EMT that counts its evaluations."""

    count = 0

    def calculate(self, *args, **kwargs):
        self.count += 1
        super().calculate(*args, **kwargs)


def parameters(**changes):
    return protocol_inputs('neb', 'demo')['parameters'] | changes


def cosine_ends(shift=0.0):
    atoms = Atoms('CuH', [[0, 0, 0], [5, 5, 5]], cell=[20, 20, 20], pbc=True)
    final = atoms.copy()
    final.positions[1, 0] += Cosine.period
    final.positions += shift
    return atoms, final


def vacancy_ends():
    """Return copper with a vacancy, before and after a neighbour jumps into it, here in another image of the cell."""
    crystal = bulk('Cu', cubic=True).repeat(2)
    neighbour = int(np.argsort(crystal.get_distances(0, range(len(crystal)), mic=True))[1])
    initial, final = crystal.copy(), crystal.copy()
    final.positions[neighbour] = crystal.positions[0] + 2 * crystal.cell[0]
    del initial[0], final[0]
    return initial, final


def search(ends, calculator, clock=None, restart=None, **changes):
    path = PathSearch(*ends, calculator, parameters(**changes), clock)
    path.run(restart)
    return path


@pytest.mark.parametrize('optimizer', ['bfgs', 'fire', 'lbfgs', 'mdmin'])
def test_analytic_barrier(optimizer):
    path = search(cosine_ends(shift=0.7), Cosine(), optimizer=optimizer, n_images=5, max_steps=500)
    results = path.results()
    assert results['forward_barrier_ev'] == pytest.approx(Cosine.barrier, abs=1e-3)
    assert results['reverse_barrier_ev'] == pytest.approx(Cosine.barrier, abs=1e-3)
    assert results['reaction_energy_ev'] == pytest.approx(0.0, abs=1e-4)
    assert results['saddle_image'] == 3
    assert results['converged']
    # the path without rigid motion: both atoms move by half
    assert results['path_length_angstrom'] == pytest.approx(Cosine.period / np.sqrt(2), rel=0.01)


def test_vacancy_agrees_with_a_plain_ase_script():
    path = search(vacancy_ends(), EMT(), force_tolerance_ev_per_angstrom=0.01, endpoint_displacement_angstrom=0.0)
    initial, final = vacancy_ends()
    images = [initial, *(initial.copy() for _ in range(3)), final]
    for image in images:
        image.calc = EMT()
    for end in (initial, final):
        BFGS(end, logfile=None).run(fmax=0.01)
    band = NEB(images, k=1.0, climb=True, method='improvedtangent')
    band.interpolate(mic=True)
    BFGS(band, logfile=None).run(fmax=0.01)
    barrier = max(image.get_potential_energy() for image in images) - initial.get_potential_energy()
    assert path.results()['forward_barrier_ev'] == pytest.approx(barrier, abs=1e-3)


def test_each_image_is_evaluated_once_a_step():
    calculator = Counting()
    path = search(vacancy_ends(), calculator, relax_endpoints=False, n_images=2)
    assert calculator.count <= 2 * (path.n_steps + 2) + 2


def test_images_do_not_drift():
    path = search(cosine_ends(), Cosine(), n_images=5)
    centres = [image.positions.mean(axis=0) for image in path.images]
    assert np.ptp(centres, axis=0).max() < 1e-9


def test_an_end_point_leaves_a_symmetric_saddle_point():
    ends = cosine_ends()
    ends[1].positions[1, 0] += Cosine.period / 2  # the top of the next barrier, without a force
    tight = {'endpoint_tolerance_ev_per_angstrom': 0.001, 'n_images': 5}
    path = search(ends, Cosine(), **tight)
    assert path.results()['reaction_energy_ev'] == pytest.approx(0.0, abs=1e-3)
    assert path.results()['final_displacement_angstrom'] > 0.5
    unmoved = search(ends, Cosine(), endpoint_displacement_angstrom=0.0, **tight)
    assert unmoved.results()['reaction_energy_ev'] == pytest.approx(Cosine.barrier, abs=1e-3)
    assert path.results()['reverse_barrier_ev'] == pytest.approx(Cosine.barrier, abs=1e-3)
    assert unmoved.results()['reverse_barrier_ev'] is None


def on_a_hill():
    """Return the ends of a path to the top of the next barrier, the potential, and the energy at the top."""
    initial, final = cosine_ends()
    final.positions[1, 0] -= Cosine.period / 2
    return (initial, final), Cosine(), Cosine.barrier


def on_a_shoulder():
    """Return the ends of a path to an endless plateau, the potential, and the energy at its end."""
    return cosine_ends(), Shoulder(), Shoulder.barrier + Cosine.period * Shoulder.slope


@pytest.mark.parametrize('n_images', [1, 3, 5])
@pytest.mark.parametrize('make', [on_a_hill, on_a_shoulder])
def test_end_that_is_no_minimum(make, n_images, tmp_path, monkeypatch):
    """The band converges without a barrier back, says so, and its files are complete."""
    ends, calculator, height = make()
    monkeypatch.chdir(tmp_path)
    options = {'n_images': n_images, 'endpoint_displacement_angstrom': 0.0}
    search(ends, calculator, **options).write({})
    results = json.loads((tmp_path / 'results.json').read_text())
    assert results['converged']
    assert results['reverse_barrier_ev'] is results['saddle_image'] is None
    assert 'the final end is no minimum of this potential' in results['reverse_barrier_reason']
    assert results['forward_barrier_ev'] == pytest.approx(height, abs=2e-3)
    assert 'no saddle point' in results['forward_barrier_reason']
    backwards = search(make()[0][::-1], calculator, **options).results()
    assert backwards['forward_barrier_ev'] is None
    assert 'the initial end is no minimum' in backwards['forward_barrier_reason']
    assert backwards['reverse_barrier_ev'] == pytest.approx(height, abs=2e-3)


def test_end_points_that_collapse():
    ends = cosine_ends()
    ends[1].positions[1, 0] -= 0.7 * Cosine.period
    with pytest.raises(ProgramError, match=r'ENDPOINT_COLLAPSED.*one minimum'):
        search(ends, Cosine())


def test_end_points_that_do_not_relax():
    with pytest.raises(ProgramError, match=r'ENDPOINT_NOT_CONVERGED.*initial'):
        search(vacancy_ends(), EMT(), endpoint_max_steps=1)


def test_continues_from_its_images():
    path = PathSearch(*vacancy_ends(), EMT(), parameters(max_steps=2, force_tolerance_ev_per_angstrom=0.005))
    with pytest.raises(ProgramError, match='NEB_NOT_CONVERGED'):
        path.run()
    assert not path.results()['converged']
    restart = [image.positions.tolist() for image in path.images]
    again = search(vacancy_ends(), EMT(), restart=restart)
    whole = search(vacancy_ends(), EMT())
    assert again.n_steps < whole.n_steps
    assert again.results()['forward_barrier_ev'] == pytest.approx(whole.results()['forward_barrier_ev'], abs=1e-3)


@pytest.mark.parametrize('seconds', [0.0, 0.3])
def test_stops_before_its_wall_time_with_a_path(seconds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = {'force_tolerance_ev_per_angstrom': 1e-9, 'max_steps': 100000}
    path = PathSearch(*vacancy_ends(), EMT(), parameters(**changes), WallClock(seconds))
    with pytest.raises(ProgramError, match='OUT_OF_WALLTIME'):
        path.run()
    path.write({})
    assert np.load('path.npz')['positions'].shape == (5, 31, 3)


def test_energies_that_are_not_finite():
    class Broken(Cosine):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.results['energy'] = np.nan

    with pytest.raises(ProgramError, match='NON_FINITE'):
        search(cosine_ends(), Broken())


def test_an_image_keeps_its_forces():
    calculator = Counting()
    first, second = vacancy_ends()
    first.calc, second.calc = ImageCalculator(calculator), ImageCalculator(calculator)
    energies = [atoms.get_potential_energy() for atoms in (first, second, first, second)]
    assert energies[:2] == energies[2:]
    assert calculator.count == 2


def test_program_with_chgnet(tmp_path):
    cell, positions = hcp_supercell(3.20, 5.19, (2, 2, 1))
    sites = hcp_paths(*hcp_supercell(3.20, 5.19, (2, 2, 2)))['T-T']
    ends = [
        {'numbers': [12] * 8 + [1], 'cell': cell.tolist(), 'positions': [*positions.tolist(), site.tolist()]}
        for site in sites
    ]
    inputs = {'parameters': protocol_inputs('neb', 'smoke')['parameters'], 'initial': ends[0], 'final': ends[1]}
    inputs['parameters'] |= {'dtype': 'float32', 'force_tolerance_ev_per_angstrom': 0.2}
    results = run_program(tmp_path, 'ase.neb', {}, (chgnet_file(), CHGNET), **inputs)
    assert len(results['energies_ev']) == 3
    assert results['converged']
    assert -0.05 < results['forward_barrier_ev'] < 0.2
    assert results['versions']['chgnet']
    with pytest.raises(ProgramError, match='ELEMENT_UNKNOWN'):
        run_program(tmp_path, 'ase.neb', {}, (chgnet_file(), CHGNET | {'elements': ['Mg']}), **inputs)
