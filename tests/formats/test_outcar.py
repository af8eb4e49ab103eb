"""OUTCAR: every step of DFT and of the force field, and how the run ended."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest
from ase.io import read as ase_read
from ase.units import GPa
from vasp_files import dft_step, ml_step, outcar_end, outcar_head

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.outcar import OutcarReader

HEAD = outcar_head(['Mg', 'H'], [2, 1])


def make_step(seed, scale=1.0):
    """Labels of three atoms, with the decimals that VASP prints."""
    generator = np.random.default_rng(seed)
    energy, sigma0 = generator.normal(-30, 1, size=2)
    return {
        'cell': np.round(scale * (np.diag([3.2, 5.5, 5.2]) + generator.normal(0, 0.1, (3, 3))), 9),
        'positions': np.round(generator.uniform(-1, 6, (3, 3)), 5),
        'forces': np.round(generator.normal(0, 1, (3, 3)), 6),
        'stress': np.round(generator.normal(0, 10, 6), 5),
        'energy': round(energy, 8),
        'sigma0': round(sigma0, 8),
    }


STEPS = [make_step(seed) for seed in range(5)]
TEXT = HEAD + ''.join(
    (
        ml_step(STEPS[0]),
        dft_step(1, STEPS[1]),
        ml_step(STEPS[2]),
        ml_step(STEPS[3]),
        dft_step(3, STEPS[4], converged=False),
        outcar_end(),
    )
)
# index, of DFT, converged
KINDS = [(1, False, None), (1, True, True), (2, False, None), (3, False, None), (3, True, False)]


@pytest.fixture
def reader(tmp_path):
    """A reader of a text."""

    def make(text):
        (tmp_path / 'OUTCAR').write_text(text)
        return OutcarReader(tmp_path / 'OUTCAR')

    return make


def assert_step(found, written):
    np.testing.assert_array_equal(found.cell, written['cell'])
    np.testing.assert_array_equal(found.positions, written['positions'])
    np.testing.assert_array_equal(found.forces, written['forces'])
    assert (found.energy, found.energy_sigma0) == (written['energy'], written['sigma0'])
    xx, yy, zz, xy, yz, zx = -0.1 * GPa * written['stress']
    np.testing.assert_allclose(found.stress, [xx, yy, zz, yz, zx, xy], rtol=1e-7)


def test_steps_of_both_kinds(reader):
    outcar = reader(TEXT)
    assert outcar.version == 'vasp.6.4.2 20Jul23 (build) complex'
    assert (outcar.symbols, outcar.counts, outcar.vtst, outcar.standin) == (['Mg', 'H'], [2, 1], None, None)
    for _ in range(2):
        steps = list(outcar)
        assert [(step.index, step.is_dft, step.scf_converged) for step in steps] == KINDS
        for found, written in zip(steps, STEPS, strict=True):
            assert_step(found, written)
        assert (outcar.finished, outcar.truncated, outcar.max_memory_mb) == (True, None, 470384 / 1024)


def test_marks_of_the_standin_and_of_vtst(reader):
    extra = ' NOT VASP: stand-in, labels mace:0123456789ab\n VTST: version 3.2, (02/03/18)\n'
    outcar = reader(outcar_head(['Mg'], [3], version='vasp.6.4.2-standin mghdiff-vasp-standin 0.1', extra=extra))
    assert outcar.version.startswith('vasp.6.4.2-standin')
    assert (outcar.standin, outcar.vtst) == ('mace:0123456789ab', 'version 3.2, (02/03/18)')


def test_a_step_without_stress(reader):
    lines = (HEAD + dft_step(1, STEPS[0]) + dft_step(2, STEPS[1])).splitlines(keepends=True)
    first = next(index for index, line in enumerate(lines) if ' in kB ' in line)
    del lines[first]
    steps = list(reader(''.join(lines)))
    assert steps[0].stress is None
    assert_step(steps[1], STEPS[1])


def test_numbers_that_touch(reader):
    step = make_step(8) | {'stress': np.array([-12345.12345, -10000.5, 100000.25, 1, -99999.5, 2])}
    step['cell'] = np.array([[110.5, -10.25, 0], [-110.5, 120.25, 0], [0, -11.5, 130.0]])
    text = HEAD + dft_step(1, step)
    assert '110.500000000-10.250000000' in text
    assert_step(next(iter(reader(text))), step)


def test_truncated_anywhere(tmp_path, reader):
    text = HEAD + ml_step(STEPS[0]) + dft_step(1, STEPS[1]) + outcar_end()
    text = re.sub(r'([-=])\1{9,}', lambda run: 9 * run[1], text)
    whole = list(reader(text))
    ends = [match.end() for match in re.finditer(r'energy  without entropy=.*\n', text)]
    finished = re.search('General timing.*\n', text).end()
    for cut in range(text.index('\n') + 1, len(text)):
        (tmp_path / 'OUTCAR').write_text(text[:cut])
        outcar = OutcarReader(tmp_path / 'OUTCAR')
        steps = list(outcar)
        assert len(steps) == sum(end <= cut for end in ends)
        for found, expected in zip(steps, whole, strict=False):
            assert all(np.array_equal(value, vars(found)[name]) for name, value in vars(expected).items())
        assert outcar.finished == (cut >= finished)
        assert (outcar.truncated is None) == outcar.finished
        assert outcar.max_memory_mb in (None, 470384 / 1024)


def test_truncated_within_the_first_line(reader):
    for cut in range(HEAD.index('\n') + 1):
        with pytest.raises(FormatError, match='OUTCAR, line 1: no OUTCAR'):
            reader(HEAD[:cut])


def test_where_it_ends(reader):
    text = TEXT[: TEXT.index(' General timing')]
    outcar = reader(text)
    assert len(list(outcar)) == 5
    last = text.count('\n')
    assert outcar.truncated.endswith(
        f"OUTCAR, line {last}: the file ends without 'General timing and accounting', after step 3"
    )


@pytest.mark.parametrize(
    ('old', 'new', 'words'),
    [
        (f'{STEPS[1]["forces"][1, 1]:14.6f}', '*' * 14, '6 numbers should stand here, not'),
        (f'{STEPS[1]["forces"][1, 1]:14.6f}', '           NaN', '6 numbers should stand here, not'),
        (f'{STEPS[1]["forces"][1, 1]:14.6f}', '', '6 numbers should stand here, not'),
        (f'{STEPS[1]["energy"]:18.8f} eV\n\n', '****************** eV\n\n', "1 numbers should stand here, not '****"),
        (f'{STEPS[1]["stress"][2]:12.5f}', '   broken', '6 numbers should stand here, not'),
        ('ions per type =               2   1', 'ions per type =               1   1', 'behind 2 atoms'),
        ('ions per type', 'ions of type', "no 'ions per type' above this table"),
    ],
)
def test_refused(reader, old, new, words):
    assert old in TEXT
    with pytest.raises(FormatError, match=r'OUTCAR, line [0-9]+: ') as caught:
        list(reader(TEXT.replace(old, new, 1)))
    assert words in str(caught.value)


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / 'OUTCAR'
    steps = ''.join(dft_step(1 + index % 5, step) + ml_step(step) for index, step in enumerate(STEPS))
    path.write_text(HEAD + steps * 150)
    assert path.stat().st_size > 2e6
    reader = OutcarReader(path)
    tracemalloc.start()
    count = sum(1 for _ in reader)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1500
    assert peak < 2e5


# --- files of VASP ---


def test_real_learning_on_the_fly(shared_data):
    outcar = OutcarReader(shared_data / 'vasp' / 'dpdata_OUTCAR.ch4.ml')
    steps = list(outcar)
    assert outcar.version.startswith('vasp.6.3.0 20Jan22')
    assert (outcar.symbols, outcar.counts) == (['H', 'C'], [4, 1])
    dft, ml = ([step for step in steps if step.is_dft is kind] for kind in (True, False))
    assert [step.index for step in dft] == [1, 2, 3, 6]
    assert [step.energy for step in dft] == [-24.12709802, -24.12724275, -24.12737148, -24.12697674]
    assert all(step.scf_converged for step in dft)
    assert [step.index for step in ml] == list(range(1, 11))
    assert [step.energy for step in ml[:3]] == [0, 0, -24.12738815]
    assert dft[0].forces[0].tolist() == [-0.020999, 0.037724, 0.054091]
    assert dft[0].positions[4].tolist() == [5.03251, 4.67255, 4.45232]
    in_kbar = np.array([-0.26557, -0.26404, -0.26295, 0.0, -0.00031, -0.00057])
    np.testing.assert_allclose(dft[0].stress, -0.1 * GPa * in_kbar, rtol=1e-7, atol=1e-15)
    assert ml[-1].cell[0].tolist() == [10.011776419, -0.021496755, 0.008079854]
    np.testing.assert_array_equal(ml[5].positions, dft[3].positions)
    assert (outcar.finished, outcar.truncated, outcar.max_memory_mb) == (True, None, 470384 / 1024)


@pytest.mark.parametrize(('image', 'energy'), [('01', -19.4955), ('02', -19.2798), ('03', -19.4955)])
def test_real_elastic_band(shared_data, image, energy):
    path = shared_data / 'vasp' / 'neb-nh3' / image / 'OUTCAR'
    outcar = OutcarReader(path)
    steps = list(outcar)
    assert outcar.vtst == 'version 3.2, (02/03/18)'
    assert outcar.version.startswith('vasp.5.4.4.18Apr17')
    assert [step.index for step in steps] == list(range(1, 24))
    assert steps[-1].energy_sigma0 == pytest.approx(energy, abs=6e-5)
    assert all(step.is_dft and step.scf_converged for step in steps)
    for one, other in zip(steps, ase_read(path, index=':', format='vasp-out'), strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-9)
        np.testing.assert_allclose(one.forces, other.get_forces(), atol=1e-9)
        assert one.energy == other.get_potential_energy(force_consistent=True)
