"""A folder of arrays is read as it was written, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_mghdiff.formats.arrays import read_folder, write_folder
from aiida_mghdiff.formats.errors import FormatError


def test_folder_of_arrays(tmp_path):
    arrays = {'natoms': np.arange(3), 'cells': np.eye(3).T[::-1], 'empty': np.zeros((0, 2), dtype='f4')}
    write_folder(tmp_path / 'set', arrays)
    back = read_folder(tmp_path / 'set')
    assert list(back) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype


def test_damaged_folders(tmp_path):
    with pytest.raises(FormatError, match=r'no \.npy file'):
        read_folder(tmp_path)
    (tmp_path / 'cells.npy').write_bytes(b'nonsense')
    with pytest.raises(FormatError, match=r'cells\.npy: not a readable'):
        read_folder(tmp_path)
