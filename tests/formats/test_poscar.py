"""POSCAR and CONTCAR: a written file is read back, and a damaged one is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.io import read as ase_read

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.poscar import LatticeVelocities, Poscar, read_poscar, require_grouped, write_poscar

# As VASP 6 writes after molecular dynamics with a moving cell: one species with POTCAR's suffix, one with a hash,
# an atom outside of the cell, the lattice block, a blank mode line, velocities, the predictor-corrector block.
CONTCAR = """Mg2H at 300 K
   1.00000000000000
     3.2000000000000002    0.0000000000000000    0.0000000000000000
    -1.6000000000000001    2.7712812921102037    0.0000000000000000
     0.0000000000000000    0.0000000000000000    5.2000000000000002
   Mg_pv           H/0a1b2c3d
     2     1
Direct
  0.3333333333333333  0.6666666666666666  0.2500000000000000
  0.6666666666666666  0.3333333333333333  0.7500000000000000
  1.0500000000000000 -0.0250000000000000  0.5000000000000000
Lattice velocities and vectors
  1
  0.10000000E-02  0.00000000E+00  0.00000000E+00
  0.00000000E+00  0.10000000E-02  0.00000000E+00
  0.00000000E+00  0.00000000E+00 -0.20000000E-02
  0.32000000E+01  0.00000000E+00  0.00000000E+00
 -0.16000000E+01  0.27712813E+01  0.00000000E+00
  0.00000000E+00  0.00000000E+00  0.52000000E+01

  0.10000000E-02 -0.20000000E-02  0.30000000E-02
 -0.10000000E-02  0.20000000E-02 -0.30000000E-02
  0.40000000E-01  0.00000000E+00  0.00000000E+00

  1
  0.100000000000000000E+01
  0.000000000000000E+00  0.000000000000000E+00  0.000000000000000E+00  0.000000000000000E+00
  0.33333333E+00  0.66666667E+00  0.25000000E+00
"""
STRUCTURE = CONTCAR[: CONTCAR.index('Lattice')]


def test_contcar_of_molecular_dynamics():
    poscar = read_poscar(CONTCAR)
    assert (poscar.comment, poscar.symbols, poscar.counts) == ('Mg2H at 300 K', ['Mg', 'H'], [2, 1])
    assert poscar.numbers.tolist() == [12, 12, 1]
    a1, a2, a3 = poscar.cell
    np.testing.assert_allclose(poscar.positions[2], 1.05 * a1 - 0.025 * a2 + 0.5 * a3, atol=1e-14)
    assert poscar.velocities[2].tolist() == [0.04, 0, 0]
    assert poscar.lattice_velocities.state == 1
    assert np.diag(poscar.lattice_velocities.velocities).tolist() == [0.001, 0.001, -0.002]
    assert poscar.lattice_velocities.vectors[1].tolist() == [-1.6, 2.7712813, 0]
    assert poscar.predictor_corrector.splitlines()[0].strip() == '1'
    assert len(poscar.predictor_corrector.splitlines()) == 4


def test_a_structure_alone(tmp_path):
    (tmp_path / 'POSCAR').write_text(STRUCTURE)
    for poscar in (read_poscar(tmp_path / 'POSCAR'), read_poscar(str(tmp_path / 'POSCAR'))):
        assert (poscar.velocities, poscar.lattice_velocities, poscar.predictor_corrector) == (None, None, None)
    assert poscar.movable is None


@pytest.mark.parametrize(
    ('scale', 'factors'),
    [('2.0', [2, 2, 2]), ('-46.1141207', [1, 1, 1]), ('1.0 2.0 0.5', [1, 2, 0.5])],
)
@pytest.mark.parametrize('mode', ['Direct', 'Cartesian', 'k'])
def test_scale(scale, factors, mode):
    plain = read_poscar(STRUCTURE.replace('Direct', mode))
    scaled = read_poscar(STRUCTURE.replace('Direct', mode).replace('1.00000000000000\n', f'{scale}\n', 1))
    np.testing.assert_allclose(scaled.cell, plain.cell * factors, rtol=1e-8, atol=1e-15)
    np.testing.assert_allclose(scaled.positions, plain.positions * factors, rtol=1e-8, atol=1e-15)


def test_selective_dynamics():
    head, rows = STRUCTURE.split('Direct\n')
    flags = ['   T   F .TRUE.', '   T   F   T', ' F F F']
    flagged = '\n'.join(row + flag for row, flag in zip(rows.splitlines(), flags, strict=True))
    text = f'{head}Selective dynamics\nDirect\n{flagged}\n'
    poscar = read_poscar(text)
    assert poscar.movable.tolist() == [[True, False, True]] * 2 + [[False] * 3]
    assert read_poscar(write_poscar(poscar)).movable.tolist() == poscar.movable.tolist()


def test_what_is_written_is_read():
    poscar = read_poscar(CONTCAR)
    again = read_poscar(write_poscar(poscar))
    assert (again.comment, again.symbols, again.counts) == (poscar.comment, poscar.symbols, poscar.counts)
    np.testing.assert_array_equal(again.cell, poscar.cell)
    np.testing.assert_allclose(again.positions, poscar.positions, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(again.velocities, poscar.velocities)
    np.testing.assert_array_equal(again.lattice_velocities.velocities, poscar.lattice_velocities.velocities)
    np.testing.assert_array_equal(again.lattice_velocities.vectors, poscar.lattice_velocities.vectors)
    assert again.lattice_velocities.state == 1
    assert again.predictor_corrector == poscar.predictor_corrector
    assert write_poscar(again) == write_poscar(read_poscar(write_poscar(again)))


def test_any_numbers_are_written_exactly():
    generator = np.random.default_rng(1)
    cell = np.diag([12.8, 11.1, 20.7]) + generator.normal(size=(3, 3))
    fractional = generator.uniform(-3, 3, size=(136, 3))
    velocities = generator.normal(scale=0.01, size=(136, 3))
    lattice = LatticeVelocities(1, generator.normal(scale=1e-5, size=(3, 3)), cell)
    written = Poscar('random', ['Mg', 'H'], [128, 8], cell, fractional @ cell, velocities, lattice)
    found = read_poscar(write_poscar(written))
    np.testing.assert_array_equal(found.velocities, velocities)
    np.testing.assert_array_equal(found.lattice_velocities.velocities, lattice.velocities)
    np.testing.assert_allclose(found.cell, cell, rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.positions, written.positions, rtol=0, atol=5e-14)


def test_ase_reads_what_is_written(tmp_path):
    poscar = read_poscar(CONTCAR)
    (tmp_path / 'POSCAR').write_text(write_poscar(poscar))
    atoms = ase_read(tmp_path / 'POSCAR', format='vasp')
    assert str(atoms.symbols) == 'Mg2H'
    np.testing.assert_allclose(atoms.positions, poscar.positions, atol=1e-12)
    np.testing.assert_allclose(atoms.cell, poscar.cell, atol=1e-12)


@pytest.mark.parametrize(
    ('old', 'new', 'line', 'words'),
    [
        ('   Mg_pv           H/0a1b2c3d\n', '', 6, 'no species in this file'),
        ('H/0a', 'Qq/0a', 6, "'Qq/0a1b2c3d' is not an element"),
        ('     2     1', '     3', 7, '2 species, but not as many numbers of atoms'),
        ('     2     1', '     3     0', 7, 'not as many numbers of atoms'),
        ('   1.00000000000000', '   one', 2, 'the scale should stand here'),
        ('   1.00000000000000', '   1.0 -1.0 1.0', 2, 'three positive numbers'),
        ('5.2000000000000002', '0.0', 5, 'the cell has no volume'),
        ('2.7712812921102037', '2.77x', 4, "three numbers must stand here, not '-1.6000000000000001 2.77x"),
        ('0.6666666666666666  0.3333333333333333', '0.6666666666666666', 10, 'three numbers must stand here'),
        ('1.0500000000000000', 'NaN', 11, 'not finite'),
        ('vectors\n  1\n', 'vectors\n', 13, 'the state of the lattice velocities, a whole number'),
        ('0.52000000E+01\n\n', '0.52000000E+01\nDirect\n', 20, "must be Cartesian, in Å/fs, not 'Direct'"),
        ('Direct', 'Selective\nDirect', 10, 'three flags T or F'),
    ],
)
def test_refused(tmp_path, old, new, line, words):
    (tmp_path / 'POSCAR').write_text(CONTCAR.replace(old, new, 1))
    with pytest.raises(FormatError, match=f'POSCAR, line {line}: ') as caught:
        read_poscar(tmp_path / 'POSCAR')
    assert words in str(caught.value)


def test_truncated_anywhere():
    """A truncated file is refused or lacks whole blocks at its end; no number changes."""
    whole = read_poscar(CONTCAR)
    for cut in range(len(CONTCAR)):
        try:
            found = read_poscar(CONTCAR[:cut] if '\n' in CONTCAR[:cut] else CONTCAR[:cut] + '\n')
        except FormatError:
            continue
        np.testing.assert_array_equal(found.positions, whole.positions)
        if found.velocities is not None:
            np.testing.assert_array_equal(found.velocities, whole.velocities)
        if found.lattice_velocities is not None:
            np.testing.assert_array_equal(found.lattice_velocities.vectors, whole.lattice_velocities.vectors)
        assert whole.predictor_corrector.startswith((found.predictor_corrector or '').rstrip())


def test_species_that_come_back():
    require_grouped(['Mg', 'Mg', 'H'])
    require_grouped(['Mg', 'H'])
    for symbols in (['Mg', 'H', 'Mg'], ['H', 'Mg', 'Mg', 'H']):
        with pytest.raises(ValueError, match=r'not grouped: .* comes back'):
            require_grouped(symbols)
    poscar = read_poscar(STRUCTURE)
    with pytest.raises(ValueError, match='not grouped'):
        write_poscar(replace(poscar, symbols=['Mg', 'H', 'Mg'], counts=[1, 1, 1]))


def test_real_files(shared_data):
    start = read_poscar(shared_data / 'vasp' / 'neb-nh3' / '01' / 'POSCAR')
    end = read_poscar(shared_data / 'vasp' / 'neb-nh3' / '01' / 'CONTCAR')
    for poscar in (start, end):
        assert (poscar.symbols, poscar.counts) == (['H', 'N'], [3, 1])
        assert np.diag(poscar.cell).tolist() == [6, 7, 8]
    assert end.velocities is None, 'NaN, as VASP writes them with POTIM = 0'
    np.testing.assert_allclose(end.positions[3], [3.0, 0.5000437992745496 * 7, 0.4749858016264043 * 8], atol=1e-14)
