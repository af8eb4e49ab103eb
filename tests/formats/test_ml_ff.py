"""The head of a learned force field: VASP's and the stand-in's are read, and the stand-in's is written."""

from __future__ import annotations

import pytest

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.ml_ff import MlFfHeader, read_ml_ff_header, read_ml_ff_payload, write_ml_ff

# The example of the VASP wiki, in the spelling of 6.4 and of later versions.
VASP = (
    'ML_FF 0.2.1 binary { "date" : "2023-03-16T13:49:44.829", "ML_LFAST" : False, "ML_DESC_TYPE" :   0, '
    '"types" : [ "Mg", "H " ], "training_structures" : 984, "local_reference_cfgs" : [ 110, 42 ], '
    '"descriptors" : [ 142, 99 ], "ML_RCUT1" :  6.0000E+00, "ML_WTSIF" :  1.0000E-10 }'
)
OURS = MlFfHeader('0.2.1', ['Mg', 'H'], True, 37, {'Mg': 120, 'H': 30}, 'chgnet-r2scan')


@pytest.fixture
def force_field(tmp_path):
    """Return a function that makes a file with VASP's head and binary data after it."""

    def make(text, size=4096):
        (tmp_path / 'ML_FF').write_bytes(text.encode().ljust(4096)[:size] + bytes(range(256)))
        return tmp_path / 'ML_FF'

    return make


@pytest.mark.parametrize(
    ('logical', 'fast'), [('False', False), ('true', True), ('F', False), ('T', True), ('.TRUE.', True)]
)
def test_header_of_vasp(force_field, logical, fast):
    header = read_ml_ff_header(force_field(VASP.replace('False', logical)))
    assert header == MlFfHeader('0.2.1', ['Mg', 'H'], fast, 984, {'Mg': 110, 'H': 42}, None)


def test_payload_of_vasp_is_refused(force_field):
    with pytest.raises(FormatError, match='only VASP can read it'):
        read_ml_ff_payload(force_field(VASP))


def test_what_the_standin_writes_is_read(tmp_path):
    payload = bytes(range(256)) * 5
    write_ml_ff(tmp_path / 'ML_FFN', OURS, payload)
    assert read_ml_ff_header(tmp_path / 'ML_FFN') == OURS
    assert read_ml_ff_payload(tmp_path / 'ML_FFN') == payload
    first_line = (tmp_path / 'ML_FFN').read_bytes().partition(b'\n')[0]
    assert len(first_line) == 4095
    assert b'standin chgnet-r2scan' in first_line
    assert b'binary' not in first_line


def test_truncated_payload(tmp_path):
    write_ml_ff(tmp_path / 'ML_FFN', OURS, b'weights')
    data = (tmp_path / 'ML_FFN').read_bytes()
    for cut in range(0, len(data), 97):
        (tmp_path / 'ML_FFN').write_bytes(data[:cut])
        with pytest.raises(FormatError, match='ML_FFN'):
            read_ml_ff_header(tmp_path / 'ML_FFN')
    (tmp_path / 'ML_FFN').write_bytes(data[:-1])
    with pytest.raises(FormatError, match='6 bytes after the header, which announces 7: the file is truncated'):
        read_ml_ff_payload(tmp_path / 'ML_FFN')


def test_refuses_to_write(tmp_path):
    with pytest.raises(ValueError, match='not of the stand-in'):
        write_ml_ff(tmp_path / 'ML_FF', MlFfHeader('0.2.1', ['Mg'], True), b'')
    long = MlFfHeader('0.2.1', ['Mg'] * 1000, True, standin='gpaw')
    with pytest.raises(ValueError, match='room for 4095'):
        write_ml_ff(tmp_path / 'ML_FF', long, b'')


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('', 'of VASP before 6.4'),
        (' ML_AB', 'no header that begins with ML_FF'),
        (VASP.replace('binary', 'ascii'), "'ML_FF <version> binary { ... }' and blanks should stand here"),
        (VASP[:-1], 'should stand here'),
        (VASP.replace('"types" :', '"types"'), 'byte 108: the settings are damaged'),
        (VASP.replace('"types"', '"elements"'), "lacks types or ML_LFAST ('types')"),
        (VASP.replace('ML_LFAST', 'ML_LSLOW'), "('ML_LFAST')"),
        (VASP.replace('False', '3'), 'ML_LFAST 3'),
        (VASP.replace('[ "Mg", "H " ]', '[ ]'), 'types []'),
        (VASP.replace('[ "Mg", "H " ]', '3'), 'lacks types'),
    ],
)
def test_refused(force_field, text, words):
    with pytest.raises(FormatError, match='ML_FF') as caught:
        read_ml_ff_header(force_field(text))
    assert words in str(caught.value)


def test_file_that_ends_within_its_header(tmp_path):
    (tmp_path / 'ML_FF').write_bytes(VASP.encode())
    with pytest.raises(FormatError, match='the file ends within its header of 4096 bytes'):
        read_ml_ff_header(tmp_path / 'ML_FF')
