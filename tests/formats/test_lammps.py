"""LAMMPS files: rotated frames, data files, dumps and series."""

from __future__ import annotations

import io

import numpy as np
import pytest
from ase.io.lammpsdata import read_lammps_data
from hypothesis import given
from hypothesis import strategies as st

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.lammps import LammpsFrame, read_dump, read_series, write_data

CELL = np.array([[3.2, 0.3, -0.2], [-1.5, 2.9, 0.4], [0.2, -0.3, 5.2]])


@given(st.lists(st.floats(-10, 10), min_size=9, max_size=9).map(lambda values: np.reshape(values, (3, 3))))
def test_frame_is_lower_triangular_and_goes_back(cell):
    if abs(np.linalg.det(cell)) < 1.0:
        return
    frame = LammpsFrame.of_cell(cell)
    box = frame.to_lammps(cell)
    assert np.allclose(np.triu(box, 1), 0.0, atol=1e-9)
    assert np.all(np.diag(box) > 0)
    assert np.allclose(frame.from_lammps(box), cell, atol=1e-9)
    assert np.allclose(frame.rotation @ frame.rotation.T, np.eye(3), atol=1e-9)


def test_data_file_is_what_ase_reads():
    positions, velocities = np.array([[0.1, 0.2, 0.3], [20.0, -3.0, 2.0]]), np.array([[1.0, 2.0, 3.0], [0.1, 0, 0]])
    handle = io.StringIO()
    write_data(handle, ['Mg', 'H'], ['H', 'Mg'], CELL, positions, velocities)
    atoms = read_lammps_data(io.StringIO(handle.getvalue()), atom_style='atomic', units='metal')
    frame = LammpsFrame.of_cell(CELL)
    assert atoms.get_chemical_symbols() == ['H', 'Mg']
    assert np.allclose(atoms.cell.array, frame.to_lammps(CELL), atol=1e-14)
    assert np.allclose(atoms.positions, frame.to_lammps(positions), atol=1e-14)
    assert np.allclose(atoms.get_velocities(), frame.to_lammps(velocities) / (1e3 * 0.09822694788464063), rtol=1e-6)


def test_data_file_keeps_every_bit():
    handle, cell = io.StringIO(), np.diag([3.0, 4.0, 5.0])
    positions = np.random.default_rng(0).normal(size=(5, 3))
    write_data(handle, ['H'], ['H'] * 5, cell, positions)
    rows = handle.getvalue().split('Atoms # atomic\n\n')[1].split()
    assert np.array_equal(np.array(rows, dtype=float).reshape(5, 5)[:, 2:], positions)


def dump_text(frames, cell):
    box = LammpsFrame.of_cell(cell).to_lammps(cell)
    (lx, ly, lz), xy, xz, yz = np.diag(box), box[1, 0], box[2, 0], box[2, 1]
    corners = [0.0, xy, xz, xy + xz]
    bounds = [(min(corners), lx + max(corners), xy), (min(0, yz), ly + max(0, yz), xz), (0.0, lz, yz)]
    lines = []
    for step, positions in frames:
        lines += ['ITEM: TIMESTEP', str(step), 'ITEM: NUMBER OF ATOMS', str(len(positions))]
        lines += ['ITEM: BOX BOUNDS xy xz yz pp pp pp', *(' '.join(f'{x:.16e}' for x in row) for row in bounds)]
        lines += ['ITEM: ATOMS id xu yu zu ']
        lines += [f'{index} ' + ' '.join(f'{x:.17g}' for x in row) + ' ' for index, row in enumerate(positions, 1)]
    return '\n'.join(lines) + '\n'


def test_dump(tmp_path):
    positions = np.random.default_rng(1).normal(size=(3, 4, 3))
    (tmp_path / 'x.dump').write_text(dump_text(zip((0, 5, 10), positions, strict=True), CELL))
    dump = read_dump(tmp_path / 'x.dump')
    assert dump.steps.tolist() == [0, 5, 10]
    assert np.array_equal(dump.vectors('xu', 'yu', 'zu'), positions)
    assert np.allclose(LammpsFrame.of_cell(CELL).from_lammps(dump.cells), CELL, atol=1e-14)
    assert dump.select(dump.steps > 0).columns['id'].shape == (2, 4)


def test_dump_of_an_orthogonal_box_has_no_tilt(tmp_path):
    text = 'ITEM: TIMESTEP\n7\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 2\n0 3\n-1 4\n'
    (tmp_path / 'x.dump').write_text(text + 'ITEM: ATOMS id x\n1 0.5\n')
    assert np.array_equal(read_dump(tmp_path / 'x.dump').cells, [np.diag([2.0, 3.0, 5.0])])


def test_last_frame_cut_off_is_left_out(tmp_path):
    text = dump_text(enumerate(np.zeros((3, 4, 3))), CELL)
    (tmp_path / 'x.dump').write_text(text[: text.rindex('ITEM: ATOMS')])
    assert read_dump(tmp_path / 'x.dump').steps.tolist() == [0, 1]


@pytest.mark.parametrize('text', ['', 'no dump\n' * 20])
def test_other_file_is_refused_by_name(tmp_path, text):
    (tmp_path / 'x.dump').write_text(text)
    with pytest.raises(FormatError, match=r'x\.dump'):
        read_dump(tmp_path / 'x.dump')


def test_series(tmp_path):
    (tmp_path / 'x.txt').write_text('# now temp\n0 300.5\n10 nan\n20 3')
    series = read_series(tmp_path / 'x.txt')
    assert series['now'].tolist() == [0, 10]
    assert np.allclose(series['temp'], [300.5, np.nan], equal_nan=True)


def test_series_with_a_title_alone_is_empty(tmp_path):
    (tmp_path / 'x.txt').write_text('# now temp\n')
    assert read_series(tmp_path / 'x.txt')['temp'].shape == (0,)


@pytest.mark.parametrize('text', ['# now temp\n0\n', '# now temp\n0 x\n'])
def test_damaged_series_is_refused_by_name(tmp_path, text):
    (tmp_path / 'x.txt').write_text(text)
    with pytest.raises(FormatError, match=r'x\.txt'):
        read_series(tmp_path / 'x.txt')
