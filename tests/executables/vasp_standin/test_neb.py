"""Elastic bands: the path of a hydrogen atom between two octahedral sites."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.geometry import find_mic
from ase.mep import NEB
from standin_runs import RUN, TRAIN, hydride, standin_here, write_folder, write_structure

from aiida_mghdiff.formats.job_files import EXIT_STATUS
from aiida_mghdiff.formats.outcar import OutcarReader
from aiida_mghdiff.formats.poscar import read_poscar

BAND = {'IBRION': 3, 'POTIM': 0, 'IOPT': 1, 'ICHAIN': 0, 'LCLIMB': '.TRUE.', 'SPRING': -5, 'EDIFFG': -0.1, 'NSW': 60}


def write_band(folder, tags, n_images=3, **files):
    """Write the input of a band: an interpolated hop along c."""
    start = hydride()
    end = start.copy()
    end.positions[-1] = np.dot([2 / 3, 1 / 3, 3 / 4], bulk('Mg', 'hcp', a=3.19, c=5.17).cell)
    images = [start, *(start.copy() for _ in range(n_images)), end]
    NEB(images, method='improvedtangent').interpolate(mic=True)
    write_folder(folder, tags | {'IMAGES': n_images}, start, **files)
    (folder / 'POSCAR').unlink()
    for index, image in enumerate(images):
        (folder / f'{index:02d}').mkdir()
        write_structure(folder / f'{index:02d}' / 'POSCAR', image)
    return folder


@pytest.fixture(scope='module')
def band(tmp_path_factory):
    folder = write_band(tmp_path_factory.mktemp('band') / 'job', BAND)
    assert standin_here(folder) == 0
    return folder


def test_converges_to_a_symmetric_path(band):
    """Both ends are equal by symmetry, so both sides of the path are equal."""
    last = [list(OutcarReader(band / f'{index:02d}' / 'OUTCAR'))[-1] for index in (1, 2, 3)]
    energies = [step.energy for step in last]
    assert abs(energies[0] - energies[2]) < 0.15
    first = []
    for index in (1, 2, 3):
        reader = OutcarReader(band / f'{index:02d}' / 'OUTCAR')
        steps = list(reader)
        assert reader.finished
        assert reader.standin == 'chgnet-r2scan'
        assert reader.vtst.startswith('version stand-in')
        assert all(step.is_dft for step in steps)
        assert len(reader.band_forces) == len(steps)
        assert reader.reached_ediffg
        assert reader.band_forces[-1] < 0.1
        first.append(reader.band_forces[0])
    assert max(first) > 0.1


def test_highest_image_is_a_saddle_point(band):
    """The image has climbed: no force along the path is left, but its neighbours keep theirs."""
    last = [list(OutcarReader(band / f'{index:02d}' / 'OUTCAR'))[-1] for index in (1, 2, 3)]
    top = int(np.argmax([step.energy for step in last]))
    assert np.linalg.norm(last[top].forces, axis=1).max() < 0.15
    text = (band / f'{top + 1:02d}' / 'OUTCAR').read_text()
    assert 'NEB: the previous image is higher in energy: F' in text


def test_end_points_stay_and_have_no_output(band):
    assert sorted(path.name for path in (band / '00').iterdir()) == ['POSCAR']
    assert sorted(path.name for path in (band / '04').iterdir()) == ['POSCAR']


def test_contcar_has_the_last_positions(band):
    for index in (1, 2, 3):
        folder = band / f'{index:02d}'
        last = list(OutcarReader(folder / 'OUTCAR'))[-1]
        shift = read_poscar(folder / 'CONTCAR').positions - last.positions
        np.testing.assert_allclose(find_mic(shift, last.cell, pbc=True)[0], 0, atol=1e-5)


def test_parser_of_aiida_vasp(band):
    from aiida_vasp.parsers.content_parsers.outcar import VtstNebOutcarParser

    with (band / '02' / 'OUTCAR').open() as handle:
        parsed = VtstNebOutcarParser(handler=handle)
    assert parsed.neb_data['neb_converged']
    assert len(parsed.neb_data['tangents']) == 17
    assert np.linalg.norm(parsed.neb_data['tangents']) == pytest.approx(1, abs=1e-3)
    assert parsed.run_status['finished']


def test_band_of_a_learned_force_field(tmp_path, learned):
    field = (learned / 'ML_FFN').read_bytes()
    folder = write_band(tmp_path / 'job', BAND | RUN | {'NSW': 5, 'IOPT': 3, 'EDIFFG': -1e-9}, n_images=1, ML_FF=field)
    assert standin_here(folder) == 0
    steps = list(OutcarReader(folder / '01' / 'OUTCAR'))
    assert len(steps) == 5
    assert not any(step.is_dft for step in steps)


def test_band_does_not_learn(tmp_path, capsys):
    assert standin_here(write_band(tmp_path / 'job', BAND | TRAIN, n_images=1)) == EXIT_STATUS['INPUT_REFUSED']
    assert 'an elastic band cannot learn' in capsys.readouterr().out
