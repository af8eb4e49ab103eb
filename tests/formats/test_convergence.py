"""What OUTCAR says about convergence."""

from __future__ import annotations

import pytest

from aiida_mghdiff.formats.convergence import read_convergence
from aiida_mghdiff.formats.errors import FormatError

LINE = '  FORCES: max atom, RMS     {}    0.009037\n'
END = ' reached required accuracy - stopping structural energy minimisation\n'


def test_band(tmp_path):
    path = tmp_path / 'OUTCAR'
    path.write_text(LINE.format('2.281681') + ' FORCES acting on ions\n' + LINE.format('0.010712') + END)
    convergence = read_convergence(path)
    assert convergence.max_forces == [2.281681, 0.010712]
    assert convergence.reached


def test_cut_in_a_line(tmp_path):
    path = tmp_path / 'OUTCAR'
    path.write_text(LINE.format('2.281681') + LINE.format('0.5')[:30])
    convergence = read_convergence(path)
    assert convergence.max_forces == [2.281681]
    assert not convergence.reached


def test_relaxation_without_vtst(tmp_path):
    path = tmp_path / 'OUTCAR'
    path.write_text(' vasp.6.4.3\n' + END)
    convergence = read_convergence(path)
    assert (convergence.reached, convergence.max_forces) == (True, [])


def test_damaged(tmp_path):
    path = tmp_path / 'OUTCAR'
    path.write_text('\n' + LINE.format('********'))
    with pytest.raises(FormatError, match='line 2: the largest force'):
        read_convergence(path)


def test_real_band(shared_data):
    convergence = read_convergence(shared_data / 'vasp' / 'neb-nh3' / '01' / 'OUTCAR')
    assert len(convergence.max_forces) == 23
    assert convergence.max_forces[-1] == 0.010712
    assert convergence.reached
