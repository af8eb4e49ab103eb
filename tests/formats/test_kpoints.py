"""KPOINTS: meshes are read as VASP reads them, anything else is refused."""

from __future__ import annotations

import pytest

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.kpoints import read_kpoints, write_kpoints


@pytest.mark.parametrize(
    ('text', 'mesh'),
    [
        (write_kpoints((4, 4, 3)), ((4, 4, 3), True)),
        ('mesh\n0 ! automatic\nmonkhorst\n 2 2 1 ! of the paper\n', ((2, 2, 1), False)),
        ('mesh\n0\ngamma\n1 1 1\n0 0 0\n', ((1, 1, 1), True)),
    ],
)
def test_mesh(tmp_path, text, mesh):
    (tmp_path / 'KPOINTS').write_text(text)
    assert read_kpoints(tmp_path / 'KPOINTS') == mesh


@pytest.mark.parametrize(
    'text',
    [
        '',
        'mesh\n0\nGamma\n4 4\n',
        'mesh\n0\nGamma\n4 4 0\n',
        'mesh\n0\nAuto\n40\n',
        'path\n40\nLine\n0 0 0\n',
        'mesh\nzero\nG\n1 1 1\n',
    ],
)
def test_anything_but_a_mesh_is_refused(tmp_path, text):
    (tmp_path / 'KPOINTS').write_text(text)
    with pytest.raises(FormatError, match=r'KPOINTS: .*mesh'):
        read_kpoints(tmp_path / 'KPOINTS')
