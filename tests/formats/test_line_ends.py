"""VASP's files with Windows line ends, and with many species: every reader gives the same result."""

from __future__ import annotations

import numpy as np
import pytest
from ase.data import chemical_symbols
from vasp_md_runs import START, contcar_text, labelled_frames, logfile

from aiida_mghdiff.formats.iconst import iconst_text, read_iconst
from aiida_mghdiff.formats.incar import read_incar
from aiida_mghdiff.formats.ml_logfile import read_ml_logfile
from aiida_mghdiff.formats.mlab import read_mlab, write_mlab
from aiida_mghdiff.formats.oszicar import read_oszicar
from aiida_mghdiff.formats.poscar import Poscar, read_poscar, write_poscar
from aiida_mghdiff.formats.xdatcar import XdatcarReader, xdatcar_frame, xdatcar_header

SYMBOLS = chemical_symbols[1:18]
POSITIONS = np.random.default_rng(1).uniform(0, 1, (len(SYMBOLS), 3)).round(8)
MANY = Poscar('many', SYMBOLS, [1] * len(SYMBOLS), 10 * np.eye(3), 10 * POSITIONS)
XDATCAR_HEAD = xdatcar_header('many', MANY.cell, MANY.symbols, MANY.counts)
OSZICAR = """\
       N       E                     dE             d eps       ncg     rms          rms(c)
DAV:   1     0.146740000000E+03    0.14674E+03   -0.63218E+03  2048   0.931E+02
      1 T=   300.0 E= -.25960000E+02 F= -.26100000E+02 E0= -.26100000E+02  EK= 0.14000E+00 SP= 0.00E+00 SK= 0.00E+00
"""


def frames_of(path):
    reader = XdatcarReader(path)
    return reader.symbols, [(frame.configuration, frame.fractional) for frame in reader], reader.truncated


def learned_of(path):
    mlab = read_mlab(path)
    frames = [(frame.positions, frame.get_forces(), frame.get_stress(), frame.info) for frame in mlab.frames]
    return frames, mlab.types, mlab.ctifor, mlab.basis


@pytest.fixture
def mlab_text(tmp_path):
    write_mlab(tmp_path / 'ML_AB', labelled_frames(3), ctifor=[0.1, 0.2, 0.3])
    return (tmp_path / 'ML_AB').read_text()


def same(one, other):
    """Return whether two results of a reader are equal."""
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=True)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return same(vars(one), vars(other)) if hasattr(one, '__dict__') else one == other


@pytest.mark.parametrize(
    ('read', 'text'),
    [
        (read_oszicar, OSZICAR),
        (frames_of, XDATCAR_HEAD + ''.join(xdatcar_frame(number, POSITIONS) for number in (1, 2))),
        (frames_of, 2 * (XDATCAR_HEAD + xdatcar_frame(1, POSITIONS))),
        (read_poscar, contcar_text(START, predictor_corrector=True)),
        (read_poscar, write_poscar(MANY)),
        (read_ml_logfile, logfile(10, (1, 4))),
        (read_iconst, iconst_text(START.cell.array, 'fixed')),
        (read_incar, 'NELM = 60 ; EDIFF = 1e-6 ! fine\nLANGEVIN_GAMMA = 10 \\\n 10\n'),
        (learned_of, None),
    ],
)
def test_line_ends_of_windows(tmp_path, mlab_text, read, text):
    path, text = tmp_path / 'file', mlab_text if text is None else text
    path.write_bytes(text.encode())
    expected = read(path)
    path.write_bytes(text.replace('\n', '\r\n').encode())
    assert same(read(path), expected)


def test_many_species(tmp_path):
    read = read_poscar(write_poscar(MANY))
    assert (read.symbols, read.counts) == (SYMBOLS, MANY.counts)
    np.testing.assert_allclose(read.positions, MANY.positions, atol=1e-12)
    (tmp_path / 'XDATCAR').write_text(XDATCAR_HEAD + xdatcar_frame(1, POSITIONS))
    symbols, [(_, fractional)], truncated = frames_of(tmp_path / 'XDATCAR')
    assert (symbols, truncated) == (SYMBOLS, None)
    np.testing.assert_array_equal(fractional, POSITIONS)
