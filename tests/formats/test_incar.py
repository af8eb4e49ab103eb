"""INCAR is read as VASP reads it; errors that VASP would silently accept are refused."""

from __future__ import annotations

import pytest

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.incar import read_incar, write_incar

TEXT = """# production
SYSTEM = Mg128H8, a = b   ! a comment; NSW = 1
 encut=600 ; PREC = Accurate;ISMEAR = 0
! ISIF = 3
LANGEVIN_GAMMA = 10.0 \\
   10.0
MAGMOM = 5 \\ # of iron
 3

ML_LMLFF = .TRUE.#no blank
WANNIER90_WIN = "
num_wann = 4 ! kept
"
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        (tmp_path / 'INCAR').write_text(text)
        return read_incar(tmp_path / 'INCAR')

    return read_text


def test_statements(read):
    assert read(TEXT) == {
        'SYSTEM': 'Mg128H8, a = b',
        'ENCUT': '600',
        'PREC': 'Accurate',
        'ISMEAR': '0',
        'LANGEVIN_GAMMA': '10.0     10.0',
        'MAGMOM': '5   3',
        'ML_LMLFF': '.TRUE.',
        'WANNIER90_WIN': '\nnum_wann = 4 ! kept\n',
    }


def test_no_line_break_at_the_end(read):
    assert read('NSW = 5') == {'NSW': '5'}
    assert read('') == {}


@pytest.mark.parametrize(
    ('text', 'line', 'words'),
    [
        ('NSW = 5\nISIF = 2; nsw = 6\n', 2, 'NSW appears twice'),
        ('NSW = 5\n\nML_LMLFF .TRUE.\n', 3, "'TAG = value' should stand here, not 'ML_LMLFF .TRUE.'"),
        ('A = \\\n 1\nNSW =\n', 3, 'NSW has no value'),
        ('2ND = 5\n', 1, 'should stand here'),
        ('A = 1\nW = "num\nx = 2\n', 2, 'the quotation of W does not end'),
    ],
)
def test_refused(read, text, line, words):
    with pytest.raises(FormatError, match=f'INCAR, line {line}: ') as caught:
        read(text)
    assert words in str(caught.value)


def test_real_file(shared_data):
    values = read_incar(shared_data / 'vasp' / 'neb-nh3' / 'INCAR')
    assert values['IMAGES'] == '3'
    assert values['EDIFFG'] == '-0.03'
    assert len(values) == 9


def test_what_is_written_is_read(read):
    tags = {'encut': 600.0, 'ml_lmlff': True, 'lreal': False, 'langevin_gamma': [10.0, 0.5], 'isif': 3, 'nelm': None}
    text = write_incar(tags)
    assert text == 'ENCUT = 600.0\nISIF = 3\nLANGEVIN_GAMMA = 10.0 0.5\nLREAL = .FALSE.\nML_LMLFF = .TRUE.\n'
    assert list(read(text)) == ['ENCUT', 'ISIF', 'LANGEVIN_GAMMA', 'LREAL', 'ML_LMLFF']
