"""OSZICAR: one row for each ionic step."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.oszicar import read_oszicar

CYCLES = """       N       E                     dE             d eps       ncg     rms          rms(c)
RMM:   1    -0.337852804095E+03    0.94862E+00   -0.22457E+01   324   0.780E+00    0.189E+00
"""
# The first line is from VASP up to 6.3; the second has a decimal in the temperature and a magnetic moment.
MD = (
    CYCLES
    + """      1 T=  2000. E= -.32251463E+03 F= -.33880148E+03 E0= -.33880150E+03  EK= 0.16287E+02 SP= 0.00E+00 SK= 0.00E+00
 bond charge predicted
"""  # noqa: E501
    + CYCLES
    + """      2 T=   301.4 E= 0.48418874E+02 F= -.46447673E+02 E0= -.46447673E+02  EK= 0.19712E+01 SP= 0.00E+00 SK= 0.98E-05 mag=  0.0
      3 T= ***** E= ************** F= -.1E+03 E0= -.1E+03  EK= *********** SP= 0.00E+00 SK= 0.00E+00
"""  # noqa: E501
)
NAMES = ['temperature_k', 'total_energy_ev', 'free_energy_ev', 'energy0_ev', 'kinetic_energy_ev']


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        (tmp_path / 'OSZICAR').write_text(text)
        return read_oszicar(tmp_path / 'OSZICAR')

    return read_text


def test_molecular_dynamics(read):
    found = read(MD)
    assert list(found) == ['steps', *NAMES, 'truncated']
    assert found['steps'].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(
        np.array([found[name] for name in NAMES]).T,
        [
            [2000, -322.51463, -338.80148, -338.8015, 16.287],
            [301.4, 48.418874, -46.447673, -46.447673, 1.9712],
            [np.nan, np.nan, -100, -100, np.nan],
        ],
    )
    assert found['truncated'] is None


def test_relaxation(read):
    found = read('   1 F= -.19227869E+02 E0= -.19231734E+02  d E =-.192279E+02\n')
    assert [found[name].tolist() for name in ('steps', 'free_energy_ev', 'energy0_ev')] == [
        [1],
        [-19.227869],
        [-19.231734],
    ]
    assert np.isnan([found[name] for name in ('temperature_k', 'total_energy_ev', 'kinetic_energy_ev')]).all()


def test_step_too_long_for_its_column(read):
    row = ' T=   300. E= -.1E+03 F= -.1E+03 E0= -.1E+03  EK= 0.1E+01\n'
    assert read(f' 9999999{row} *******{row} *******{row}')['steps'].tolist() == [9999999, 10000000, 10000001]


def test_no_step(read):
    found = read(CYCLES)
    assert [len(found[name]) for name in ('steps', *NAMES)] == [0] * 6
    assert found['truncated'] is None


def test_truncated_anywhere(read):
    whole = read(MD)
    ends = [MD.index('\n', MD.index(f'      {step} T=')) + 1 for step in (1, 2, 3)]
    for cut in range(len(MD)):
        found = read(MD[:cut])
        count = sum(end <= cut for end in ends)
        for name in ('steps', *NAMES):
            assert found[name].tobytes() == whole[name][:count].tobytes()
        assert (found['truncated'] is None) == (MD[:cut].endswith('\n') or not cut)
    assert read(MD[:-5])['truncated'].endswith('OSZICAR, line 8: the file ends within this line, after step 2')


def test_refused(read):
    with pytest.raises(FormatError, match=r"OSZICAR, line 3: '-\.338x' is not a number"):
        read(MD.replace('-.33880148E+03', '-.338x'))


def test_memory_is_that_of_the_arrays(tmp_path):
    path = tmp_path / 'OSZICAR'
    path.write_text(MD * 1500)
    tracemalloc.start()
    found = read_oszicar(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found['steps']) == 4500
    assert peak < 4500 * 6 * 8 * 4


@pytest.mark.parametrize(('image', 'energy'), [('01', -19.495402), ('02', -19.279784), ('03', -19.495404)])
def test_real_file(shared_data, image, energy):
    found = read_oszicar(shared_data / 'vasp' / 'neb-nh3' / image / 'OSZICAR')
    assert found['steps'].tolist() == list(range(1, found['steps'][-1] + 1))
    assert found['energy0_ev'][-1] == pytest.approx(energy, abs=1e-9)
