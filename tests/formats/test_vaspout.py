"""vaspout.h5 gives the frames of an XDATCAR; missing parts are reported."""

from __future__ import annotations

import tracemalloc

import h5py
import numpy as np
import pytest

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.vaspout import read_vaspout

GENERATOR = np.random.default_rng(5)
CELLS = np.diag([3.2, 5.5, 5.2]) + GENERATOR.normal(0, 0.1, (100, 3, 3))
FRACTIONAL = GENERATOR.uniform(-1, 2, (100, 3, 3))
TAGS = [b'ion-electron   TOTEN   ', b'kinetic energy EKIN    ', b'temperature    TEIN    ']
ENERGIES = GENERATOR.normal(-3, 1, (100, 3))
SPECIES, COUNTS = 'results/positions/ion_types', 'results/positions/number_ion_types'
IONS = 'intermediate/ion_dynamics'


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file with VASP's datasets, some changed or left out (None)."""

    def write_file(**changes):
        datasets = {
            SPECIES: np.array([b'Mg', b'H '], dtype='S2'),
            COUNTS: np.array([2, 1]),
            f'{IONS}/scale': 1.5,
            f'{IONS}/lattice_vectors': CELLS / 1.5,
            f'{IONS}/position_ions': FRACTIONAL,
            f'{IONS}/energies': ENERGIES,
            f'{IONS}/energies_tags': np.array(TAGS, dtype='S23'),
            'input/potcar/content': b'must not be read',
        }
        with h5py.File(tmp_path / 'vaspout.h5', 'w') as file:
            for name, value in (datasets | {f'{IONS}/{key}': value for key, value in changes.items()}).items():
                if value is not None:
                    file[name] = value
        return tmp_path / 'vaspout.h5'

    return write_file


def test_frames_and_energies(write):
    reader = read_vaspout(write())
    assert (reader.symbols, reader.counts) == (['Mg', 'H'], [2, 1])
    for _ in range(2):
        frames = list(reader)
        assert [frame.configuration for frame in frames] == list(range(1, 101))
        np.testing.assert_array_equal([frame.fractional for frame in frames], FRACTIONAL)
        np.testing.assert_allclose([frame.cell for frame in frames], CELLS, rtol=1e-14)
        assert reader.truncated is None
    assert list(reader.energies) == ['ion-electron TOTEN', 'kinetic energy EKIN', 'temperature TEIN']
    np.testing.assert_array_equal(reader.energies['temperature TEIN'], ENERGIES[:, 2])


def test_zeros_between_the_written_steps_are_no_energies(write):
    energies = ENERGIES.copy()
    energies[1::2] = 0
    values = read_vaspout(write(energies=energies)).energies['temperature TEIN']
    assert np.isnan(values[1::2]).all()
    np.testing.assert_array_equal(values[::2], ENERGIES[::2, 2])


def test_without_energies(write):
    reader = read_vaspout(write(energies=None, energies_tags=None, scale=None))
    assert reader.energies == {}
    np.testing.assert_array_equal(next(iter(reader)).cell, CELLS[0] / 1.5)


def test_frames_that_are_not_whole(write):
    reader = read_vaspout(write(lattice_vectors=CELLS[:70]))
    assert len(list(reader)) == 70
    assert reader.truncated.endswith('it has 100 frames of positions and 70 of lattice vectors')
    unwritten = FRACTIONAL.copy()
    unwritten[80:] = 0
    reader = read_vaspout(write(position_ions=unwritten))
    assert len(list(reader)) == 80
    assert reader.truncated.endswith('vaspout.h5, frame 81: nothing was written of it')
    reader = read_vaspout(write(position_ions=FRACTIONAL[:0], lattice_vectors=CELLS[:0]))
    assert list(reader) == []
    assert 'it has 0 frames' in reader.truncated


def test_truncated_file(write):
    path = write()
    data = path.read_bytes()
    for cut in range(0, len(data), len(data) // 50):
        path.write_bytes(data[:cut])
        with pytest.raises(FormatError, match='not a complete HDF5 file'):
            read_vaspout(path)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'position_ions': None}, 'position_ions: there is no such dataset'),
        ({'position_ions': FRACTIONAL[:, :2]}, 'but there are 3 atoms'),
        ({'position_ions': np.full_like(FRACTIONAL, np.nan)}, 'frame 1: a number that is not finite'),
        ({'lattice_vectors': None}, 'lattice_vectors: there is no such dataset'),
    ],
)
def test_refused(write, changes, words):
    with pytest.raises(FormatError) as caught:
        list(read_vaspout(write(**changes)))
    assert words in str(caught.value)


def test_species_that_are_no_elements(write):
    path = write()
    with h5py.File(path, 'a') as file:
        del file[SPECIES]
        file[SPECIES] = np.array([b'Mg', b'Qq'])
    with pytest.raises(FormatError, match='are no elements with their numbers of atoms'):
        read_vaspout(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_vaspout(tmp_path / 'vaspout.h5')


def test_memory_does_not_grow_with_the_file(write):
    frames = 20000
    path = write(
        position_ions=np.tile(FRACTIONAL, (frames // 100, 1, 1)),
        lattice_vectors=np.tile(CELLS, (frames // 100, 1, 1)),
        energies=None,
    )
    reader = read_vaspout(path)
    next(iter(reader))
    tracemalloc.start()
    count = sum(1 for _ in reader)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == frames
    assert peak < 2e5
