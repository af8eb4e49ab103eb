"""Labelled extended XYZ is read completely, or refused with frame, line and reason."""

from __future__ import annotations

import numpy as np
import pytest
from ase.io import read, write

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.formats.plausibility import ImplausibleWarning

FRAME = (
    '2\n'
    'Lattice="4 0 0 0 5 0 0 0 6" Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=-1.5 '
    'REF_stress="1 2 3 4 5 6" trajectory=a pbc="T T T"\n'
    'Mg 0 0 0 0.1 0.2 0.3\n'
    'H 1 2 3 -0.1 -0.2 -0.3\n'
)


@pytest.fixture
def read_text(tmp_path):
    """Return a function that reads a text as an extended XYZ file, even if its labels are implausible."""

    def read_labelled(text, allow_implausible=True, **keys):
        path = tmp_path / 'labels.extxyz'
        path.write_text(text)
        return read_extxyz(path, allow_implausible=allow_implausible, **keys)

    return read_labelled


def test_labels(read_text):
    content = read_text(FRAME, group_key='trajectory')
    (atoms,) = content.frames
    assert content.groups == ['a']
    assert atoms.get_potential_energy() == atoms.get_potential_energy(force_consistent=True) == -1.5
    assert atoms.get_forces().tolist() == [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]]
    assert atoms.get_stress().tolist() == [1, 2, 3, 4, 5, 6]
    assert (atoms.info, set(atoms.arrays)) == ({'trajectory': 'a'}, {'numbers', 'positions'})


def test_stress_of_nine_or_none(read_text):
    nine = read_text(FRAME.replace('1 2 3 4 5 6', '1 6 5 6 2 4 5 4 3')).frames[0]
    assert nine.get_stress().tolist() == [1, 2, 3, 4, 5, 6]
    for atoms in read_text(FRAME, stress_key=None).frames + read_text(FRAME.replace('REF_stress', 'other')).frames:
        assert 'stress' not in atoms.calc.results


@pytest.mark.parametrize('other', ['stress', 'dft_Virial'])
def test_stresses_under_another_key_are_named(read_text, other):
    with pytest.warns(ImplausibleWarning, match=f"no frame .* has 'REF_stress': .* as stress_key: {other}"):
        read_text(FRAME.replace('REF_stress', other).replace('1 2 3 4 5 6', '1 6 5 6 2 4 5 4 3'))


@pytest.mark.parametrize(('key', 'factor'), [('virial_stress', 1), ('Stress_from_virial', 1), ('dft_Virial', -1 / 120)])
def test_only_a_key_without_stress_names_a_virial(read_text, key, factor):
    """The cell has 120 Å³, by which a virial is divided."""
    (atoms,) = read_text(FRAME.replace('REF_stress', key), stress_key=key).frames
    np.testing.assert_allclose(atoms.get_stress(), factor * np.arange(1, 7))


def test_keys_that_ase_takes_for_a_calculator(read_text):
    text = FRAME.replace('REF_', '').replace('1 2 3 4 5 6', '1 6 5 6 2 4 5 4 3')
    content = read_text(text, energy_key='energy', forces_key='forces', stress_key='stress')
    assert content.frames[0].get_potential_energy() == -1.5
    assert content.frames[0].get_stress().tolist() == [1, 2, 3, 4, 5, 6]


def test_blank_lines_end_nothing(read_text):
    assert len(read_text(FRAME + '\n\n' + FRAME + '\n').frames) == 2


@pytest.mark.parametrize(
    ('text', 'keys', 'words'),
    [
        ('', {}, 'no frames'),
        (
            FRAME.replace('REF_forces', 'force'),
            {},
            r"frame 1 \(line 5\): no forces: no key 'REF_forces' \(.*force",
        ),
        (FRAME.replace('REF_energy', 'E'), {}, r'frame 1 \(line 5\): no energy'),
        (FRAME.replace('REF_energy', 'energy'), {}, r'no energy: .*keys of this frame: .*\benergy\b'),
        (FRAME.replace('-1.5', 'nan'), {}, r'frame 1 \(line 5\): energy is not finite'),
        (FRAME.replace('0.3', 'nan', 1), {}, 'forces is not finite'),
        (FRAME.replace('1 2 3 4', '1 nan 3 4'), {}, 'stress is not finite'),
        (FRAME.replace('1 2 3 4 5 6', '1 2 3'), {}, r'stress has the shape \(3,\)'),
        (FRAME.replace('-1.5', 'low'), {}, 'a label is not made of numbers'),
        (FRAME.replace('pbc="T T T"', 'pbc="T T F"'), {}, 'not a cell'),
        (FRAME.replace('trajectory=a', 'run=a'), {'group_key': 'trajectory'}, "no group: no key 'trajectory'"),
        (FRAME.replace('H 1 2 3', 'Qq 1 2 3'), {}, r'frame 1 \(line 5\): not extended XYZ'),
        (FRAME.replace('Properties=', 'Properties '), {}, r'frame 1 \(line 5\): not extended XYZ'),
        (FRAME.replace('H 1 2 3', 'H 1 2'), {}, r'frame 1 \(line 5\): not extended XYZ'),
        (FRAME.replace('2\n', '3\n', 1), {}, r'frame 1 \(line 5\): the file ends within this frame of 3 atoms'),
        (FRAME.replace('2\n', '1\n', 1), {}, r"frame 2 \(line 8\): a number of atoms should stand here, not 'H 1 2 3"),
    ],
)
def test_refused(read_text, text, keys, words):
    with pytest.raises(FormatError, match=r'labels.extxyz') as caught:
        read_text(text and FRAME + text, **keys)
    assert caught.match(words)


def test_example_data(example_data):
    path = example_data / 'mgh_pbe.extxyz'
    content = read_extxyz(path, group_key='trajectory')
    assert (len(content.frames), len(set(content.groups))) == (101, 15)
    for atoms, raw in zip(content.frames, read(path, ':'), strict=True):
        assert atoms == raw
        assert atoms.get_potential_energy() == raw.info['REF_energy']
        np.testing.assert_array_equal(atoms.get_forces(), raw.arrays['REF_forces'])
        np.testing.assert_array_equal(atoms.get_stress(), raw.info['REF_stress'])


def test_what_ase_writes_is_read(read_text, tmp_path):
    frames = read_text(FRAME).frames
    write(tmp_path / 'again.extxyz', frames, format='extxyz')
    (atoms,) = read_extxyz(tmp_path / 'again.extxyz', 'energy', 'forces', 'stress', allow_implausible=True).frames
    assert atoms == frames[0]
    np.testing.assert_allclose(atoms.get_forces(), frames[0].get_forces(), atol=1e-8)


def test_byte_order_mark(tmp_path):
    (tmp_path / 'labels.extxyz').write_text('\ufeff' + FRAME, encoding='utf-8')
    (atoms,) = read_extxyz(tmp_path / 'labels.extxyz', allow_implausible=True).frames
    assert str(atoms.symbols) == 'MgH'


@pytest.mark.parametrize('number', ['²', '２', '1²', '-1'])
def test_number_of_atoms_that_is_no_number(read_text, number):
    with pytest.raises(FormatError, match=rf'frame 1 \(line 5\): a number of atoms .* not {number!r}'):
        read_text(FRAME + FRAME.replace('2', number, 1))


@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
@pytest.mark.parametrize('sign', ['\u2028', '\x0c', '\x85', '\x1c'])
def test_only_line_ends_end_a_line(tmp_path, sign, end):
    text = FRAME.replace('trajectory=a', f'note="one{sign}two" trajectory=a')
    (tmp_path / 'labels.extxyz').write_bytes((text + FRAME).replace('\n', end).encode())
    frames = read_extxyz(tmp_path / 'labels.extxyz', allow_implausible=True).frames
    assert [atoms.info for atoms in frames] == [{'note': f'one{sign}two', 'trajectory': 'a'}, {'trajectory': 'a'}]


def test_file_that_ends_before_the_last_atom(read_text):
    with pytest.raises(FormatError, match='the file ends within this frame of 2 atoms'):
        read_text(FRAME.rpartition('H 1 2 3')[0])


@pytest.mark.parametrize('energy', ['T', 'F', 'abc', '"T T"', '1+2j'])
def test_energy_that_is_no_number(read_text, energy):
    with pytest.raises(FormatError, match=r'frame 1 \(line 5\): (a label is not made of numbers|energy has the shape)'):
        read_text(FRAME + FRAME.replace('-1.5', energy))
    atom = f'1\nProperties=species:S:1:pos:R:3 config_type=IsolatedAtom REF_energy={energy} pbc="F F F"\nMg 0 0 0\n'
    with pytest.raises(FormatError, match='an isolated atom without an energy'):
        read_text(FRAME + atom)


def test_forces_that_are_no_numbers(read_text):
    text = FRAME.replace('REF_forces:R:3', 'REF_forces:L:3').replace('0.1 0.2 0.3\n', 'T T T\n')
    with pytest.raises(FormatError, match=r'frame 0 \(line 1\): a label is not made of numbers \(the first is'):
        read_text(text.replace('-T T T', 'F F F').replace('-0.1 -0.2 -0.3', 'F F F'))


@pytest.mark.parametrize('key', ['REF_stress', 'REF_virial'])
@pytest.mark.parametrize('stress', ['T T T T T T', 'T T F T T T T F T', '1 2 3 4 5 low'])
def test_stress_that_is_no_number(read_text, key, stress):
    text = FRAME.replace('REF_stress', key).replace('1 2 3 4 5 6', stress)
    with pytest.raises(FormatError, match=r'frame 1 \(line 5\): a label is not made of numbers \(the first is'):
        read_text(FRAME + text)


def boxed(lattice, more=''):
    """Return a frame of one atom in a periodic cell, with forces."""
    return (
        f'1\nLattice="{lattice}" Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=-0.25 pbc="T T T" {more}\n'
        'Mg 0 0 0 0 0 0\n'
    )


@pytest.mark.parametrize('kind', ['', 'config_type=isolated', 'config_type="isolated atom Mg"', 'config_type=foo'])
@pytest.mark.parametrize('lattice', ['20 0 0 0 20 0 0 0 20', '8 0 0 0 9 0 0 0 8.5', '20 0 0 19 21 0 0 0 20'])
def test_one_atom_far_from_its_images_is_isolated(read_text, kind, lattice):
    content = read_text(FRAME + boxed(lattice, kind))
    assert (len(content.frames), content.isolated_atoms) == (1, {'Mg': -0.25})


@pytest.mark.parametrize('lattice', ['3.2 0 0 0 20 0 0 0 20', '0 2.3 2.3 2.3 0 2.3 2.3 2.3 0', '9 0 0 8 5.9 0 0 0 20'])
def test_one_atom_of_a_crystal_chain_or_layer_stays(read_text, lattice):
    content = read_text(FRAME + boxed(lattice, 'config_type=isolated'))
    assert (len(content.frames), content.isolated_atoms) == (2, {})


@pytest.mark.parametrize('kind', ['isolated', 'isolated Mg'])
def test_one_atom_that_is_called_isolated_may_be_nearer_to_its_images(read_text, kind):
    lattice = '6 0 0 0 6 0 0 0 6'
    assert read_text(FRAME + boxed(lattice, f'config_type="{kind}"')).isolated_atoms == {'Mg': -0.25}
    assert read_text(FRAME + boxed(lattice)).isolated_atoms == {}


@pytest.mark.parametrize(
    'name', ['isolated_atom', 'Isolated Atom', 'isolated-atom', 'IsolatedAtom', 'isolated_atoms', 'isolated atom Mg']
)
def test_frames_that_say_they_are_isolated_atoms(read_text, name):
    assert read_text(FRAME + boxed('4 0 0 0 4 0 0 0 4', f'config_type="{name}"')).isolated_atoms == {'Mg': -0.25}
