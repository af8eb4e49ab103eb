"""Texts saved on other systems: other encodings, and characters that only ``str.splitlines`` takes for line ends."""

from __future__ import annotations

import gzip

import pytest

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.formats.iconst import read_iconst
from aiida_mghdiff.formats.incar import read_incar
from aiida_mghdiff.formats.kpoints import read_kpoints
from aiida_mghdiff.formats.lammps import read_dump, read_series
from aiida_mghdiff.formats.ml_logfile import read_ml_logfile
from aiida_mghdiff.formats.mlab import read_mlab
from aiida_mghdiff.formats.oszicar import read_oszicar
from aiida_mghdiff.formats.outcar import OutcarReader
from aiida_mghdiff.formats.poscar import read_poscar
from aiida_mghdiff.formats.xdatcar import XdatcarReader

SEPARATORS = '\v\f\x1c\x1d\x1e\x85\u2028\u2029'
POSCAR = 'Mg{}\n1.0\n3 0 0\n0 3 0\n0 0 3\nMg\n1\nDirect\n0 0 0\n'
READERS = (
    OutcarReader,
    XdatcarReader,
    read_dump,
    read_extxyz,
    read_iconst,
    read_incar,
    read_kpoints,
    read_ml_logfile,
    read_mlab,
    read_oszicar,
    read_poscar,
    read_series,
)


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-32'])
def test_files_of_another_encoding_are_refused(tmp_path, read, encoding):
    (tmp_path / 'file').write_text(' vasp.6.4.2 20Jul23 (build) complex\n', encoding=encoding)
    with pytest.raises(FormatError, match='file: no text in UTF-8: it has zero bytes, as UTF-16 has; save it as UTF-8'):
        read(tmp_path / 'file')


@pytest.mark.parametrize('read', READERS)
def test_compressed_files_are_refused(tmp_path, read):
    (tmp_path / 'file').write_bytes(gzip.compress(b' vasp.6.4.2 20Jul23 (build) complex\n'))
    with pytest.raises(FormatError, match='file: no text: it is compressed by gzip; unpack it'):
        read(tmp_path / 'file')


@pytest.mark.parametrize('separator', SEPARATORS)
def test_comments_may_hold_separators(tmp_path, separator):
    path = tmp_path / 'file'

    def written(text):
        path.write_bytes(text.format(separator).encode())
        return path

    assert read_poscar(written(POSCAR)).counts == read_poscar(POSCAR.format(separator)).counts == [1]
    assert read_kpoints(written('mesh{} a\n0\nGamma\n2 3 4\n')) == ((2, 3, 4), True)
    assert len(read_iconst(written('LR 1 7 ! first{} vector\nLV 7\n'))) == 2
    assert read_incar(written('SYSTEM = a{}b # c{}d\nNSW = 2\n'.replace('{}', separator)))['NSW'] == '2'


@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_line_ends(tmp_path, end):
    (tmp_path / 'POSCAR').write_bytes(POSCAR.replace('\n', end).encode())
    assert read_poscar(tmp_path / 'POSCAR').counts == [1]


@pytest.mark.parametrize(
    ('old', 'new', 'words'), [('\n1\n', '\n²\n', 'not as many numbers of atoms'), ('Mg\n1', '²\n1', 'no element')]
)
def test_raised_digits_are_no_numbers(old, new, words):
    with pytest.raises(FormatError, match='line'):
        read_poscar(POSCAR.replace(old, new))


@pytest.mark.parametrize('item', ['inf', '1e999', 'nan', '1.5'])
def test_items_that_are_no_whole_numbers(tmp_path, item):
    (tmp_path / 'ICONST').write_text(f'LR {item} 0\n')
    with pytest.raises(FormatError, match='the items of LR must be whole numbers'):
        read_iconst(tmp_path / 'ICONST')
