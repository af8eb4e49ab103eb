"""Forces, energy and pressure in LAMMPS against ASE, on triclinic and on thin cells."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from ase import units
from lammps_runs import HEADER, Bench, hydride, write_start

from aiida_mghdiff.formats.lammps import LammpsFrame, read_dump, read_series

RECORD = """
variable pressure equal press
variable energy equal pe
dump forces all custom 1 forces.dump id fx fy fz
dump_modify forces sort id format float %.17g
fix series all print 1 "$(pe:%.17g) $(pxx:%.17g) $(pyy:%.17g) $(pzz:%.17g) $(pxy:%.17g) $(pxz:%.17g) $(pyz:%.17g)" &
    file series.txt screen no title "# pe xx yy zz xy xz yz"
run 0
"""

#: Prints the machine's shared memory that LAMMPS's process holds.
SHARED_MEMORY = """
from pathlib import Path
from aiida_mghdiff.executables.lmp.driver import open_lammps
lammps = open_lammps(['-screen', 'none', '-log', 'none'])
print(*[line for line in Path('/proc/self/maps').read_text().splitlines() if '/dev/shm/' in line], sep='\\n')
"""


def reference(model, atoms, dtype='float64'):
    from mace.calculators import MACECalculator

    atoms = atoms.copy()
    atoms.calc = MACECalculator(model_paths=str(model), device='cpu', default_dtype=dtype)
    return atoms.get_potential_energy(), atoms.get_forces(), -atoms.get_stress(voigt=False) / units.bar


def in_lammps(bench, atoms, options):
    folder = bench.folder()
    write_start(folder, atoms)
    text = f'# mghdiff {options}\n{HEADER.format(model="potential.model")}{RECORD}'
    status, output = bench.launch(folder, text)
    assert status == 0, output
    frame, series = LammpsFrame.of_cell(atoms.cell.array), read_series(folder / 'series.txt')
    xx, yy, zz, xy, xz, yz = (series[name][0] for name in ('xx', 'yy', 'zz', 'xy', 'xz', 'yz'))
    pressure = frame.rotation.T @ [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]] @ frame.rotation
    forces = frame.from_lammps(read_dump(folder / 'forces.dump').vectors('fx', 'fy', 'fz')[0])
    return series['pe'][0], forces, pressure, output


@pytest.fixture
def bench(tmp_path, tiny_mace, capfd, monkeypatch):
    return Bench(tmp_path, tiny_mace, capfd, monkeypatch)


@pytest.mark.parametrize('evaluator', ['torch', 'symmetrix'])
@pytest.mark.parametrize('repeats', [(2, 2, 2), (3, 1, 1), (1, 1, 1)])
def test_agrees_with_ase(bench, tiny_mace, evaluator, repeats):
    atoms = hydride(repeats)
    energy, forces, pressure, output = in_lammps(bench, atoms, f'evaluator={evaluator}')
    expected_energy, expected_forces, expected_pressure = reference(tiny_mace, atoms)
    assert f'mghdiff-lmp: evaluator {evaluator} ' in output
    assert energy == pytest.approx(expected_energy, abs=1e-6)
    assert np.abs(forces - expected_forces).max() < 1e-6
    assert np.abs(pressure - expected_pressure).max() < 1e-5 * np.abs(expected_pressure).max()


@pytest.mark.parametrize('evaluator', ['torch', 'symmetrix'])
def test_float32(bench, tiny_mace, evaluator):
    atoms = hydride()
    _, forces, _, output = in_lammps(bench, atoms, f'evaluator={evaluator} dtype=float32')
    error = np.abs(forces - reference(tiny_mace, atoms)[1]).max()
    assert 'dtype float32' in output
    assert 1e-9 < error < 5e-5


def test_left_handed_cell(bench, tiny_mace):
    atoms = hydride()
    atoms.set_cell(atoms.cell[[1, 0, 2]])
    _, forces, _, _ = in_lammps(bench, atoms, 'evaluator=torch')
    assert np.abs(forces - reference(tiny_mace, atoms)[1]).max() < 1e-6


def test_data_file_of_lammps_is_read_again(bench):
    folder = bench.folder()
    write_start(folder, hydride())
    header = HEADER.format(model='potential.model')
    status, output = bench.launch(folder, f'# mghdiff evaluator=torch\n{header}write_data start.data\n')
    assert status == 0, output
    status, output = bench.launch(folder, f'# mghdiff evaluator=torch\n{header}run 0\n')
    assert status == 0, output


def test_shared_memory_ends_with_the_process():
    """No name keeps the memory, however the process ends."""
    command = [sys.executable, '-c', SHARED_MEMORY]
    maps = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert any('mpich' in line for line in maps)
    assert [line for line in maps if not line.endswith('(deleted)')] == []


@pytest.mark.slow
def test_foundation_model_agrees_with_ase(tmp_path, shared_data, capfd, monkeypatch):
    model, atoms = shared_data / 'mace' / 'mace_mp_small.model', hydride((3, 2, 2))
    bench = Bench(tmp_path, model, capfd, monkeypatch)
    energy, forces, pressure, output = in_lammps(bench, atoms, 'evaluator=auto')
    expected_energy, expected_forces, expected_pressure = reference(model, atoms)
    assert 'mghdiff-lmp: evaluator symmetrix ' in output
    assert energy == pytest.approx(expected_energy, abs=1e-6)
    assert np.abs(forces - expected_forces).max() < 1e-6
    assert np.abs(pressure - expected_pressure).max() < 1e-5 * np.abs(expected_pressure).max()
