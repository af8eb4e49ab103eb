"""ML_AB is read by its labels, completely, or refused with line and reason."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.mlab import STRESS_FACTOR, _kbar, read_mlab, write_mlab

S, Q, D = '*' * 50, '=' * 50, '-' * 50

# As VASP built with ifort writes: leading blanks, blanks behind short numbers, exponents of three digits.
POSITIONS = (
    '  0.000000000000000E+000   1.93747257999998        1.37000000000000     \n'
    '   3.87494516100002        5.81241774100000        1.37000000000000     \n'
    '   1.93747257999998       2.660349497586850E-002   4.11000000000000     \n'
)
FORCES = (
    ' -2.496551462191541E-003  4.205987923130026E-003   5.32872967194473     \n'
    '  1.698229077147239E-003 -9.041834532548456E-004   5.32671809514852     \n'
    ' -3.293074318554347E-003 -3.304634096200839E-004 -1.526479430322968E-002\n'
)


def section(ledger, label, values):
    return f'{ledger}\n     {label}\n{D}\n{values.rstrip()}\n'


def header(
    count=2, types='     Mg H', references='  0.000000000000000E+000  0.000000000000000E+000', basis='     1     2'
):
    return ' 1.0 Version\n' + ''.join(
        section(S, label, values)
        for label, values in (
            ('The number of configurations', f'          {count}'),
            ('The maximum number of atom type', '       2'),
            ('The atom types in the data file', types),
            ('The maximum number of atoms per system', '              3'),
            ('The maximum number of atoms per atom type', '              2'),
            ('Reference atomic energy (eV)', references),
            ('Atomic mass', '   24.3050000000000        1.00000000000000     '),
            ('The numbers of basis sets per atom type', basis),
            (f'Basis set for {types.split()[0]}', '          1      2'),
            (f'Basis set for {types.split()[1]}', '          1      3\n          2      3'),
        )
    )


def configuration(number, ctifor='  2.000000000000000E-003', types='     Mg     2\n     H      1', name='Mg2H'):
    return ''.join(
        (
            f'{S}\n     Configuration num. {number:6d}\n',
            section(Q, 'System name', f'     {name:40}'),
            section(Q, 'The number of atom types', '       2'),
            section(Q, 'The number of atoms', '          3'),
            section(S, 'Atom types and atom numbers', types),
            section(Q, 'CTIFOR', ctifor) if ctifor else '',
            section(
                Q,
                'Primitive lattice vectors (ang.)',
                '   7.74989032180500       0.000000000000000E+000  0.000000000000000E+000\n'
                '  0.100000000000000        7.74989032180500       0.000000000000000E+000\n'
                '  0.000000000000000E+000  0.000000000000000E+000   20.4800000000000     ',
            ),
            section(Q, 'Atomic positions (ang.)', POSITIONS),
            section(Q, 'Total energy (eV)', '  -176.534557451258     '),
            section(Q, 'Forces (eV ang.^-1)', FORCES),
            f'{Q}\n     Stress (kbar)\n{D}\n     XX YY ZZ\n{D}\n   1.00000000000000        2.0        3.0\n',
            f'{D}\n     XY YZ ZX\n{D}\n   4.00000000000000        5.0        6.0\n',
        )
    )


WHOLE = header() + configuration(1) + configuration(2)


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a text as an ML_AB file."""

    def read_text(text):
        path = tmp_path / 'ML_AB'
        path.write_bytes(text.encode())
        return read_mlab(path)

    return read_text


@pytest.fixture
def refusal(read):
    """Return a function that gives the message with which a text is refused."""

    def refuse(text):
        with pytest.raises(FormatError, match='ML_AB') as caught:
            read(text)
        assert isinstance(caught.value, ValueError)
        return str(caught.value)

    return refuse


def test_frames_are_what_ase_makes_and_share_nothing(read):
    first, second = read(WHOLE).frames
    plain = Atoms(numbers=first.numbers, positions=first.positions, cell=first.cell, pbc=True)
    assert first == plain
    assert {key: type(value) for key, value in vars(first.calc.atoms).items()} == {
        key: type(value) for key, value in vars(plain).items()
    }
    first.numbers[0], first.positions[0], first.cell[0, 0], first.pbc[0] = 1, 9.0, 5.0, False
    first.set_constraint([])
    assert plain == second == first.calc.atoms == second.calc.atoms


def test_content_in_units_order_and_sign_of_ase(read):
    content = read(WHOLE)
    assert (content.version, content.types, len(content.frames)) == ('1.0', ['Mg', 'H'], 2)
    assert content.basis['H'].tolist() == [[1, 3], [2, 3]]
    assert content.masses == {'Mg': 24.305, 'H': 1.0}
    assert content.ctifor == [0.002, 0.002]
    atoms = content.frames[0]
    assert (str(atoms.symbols), atoms.info['system_name'], atoms.pbc.all()) == ('Mg2H', 'Mg2H', True)
    assert atoms.cell[1].tolist() == [0.1, 7.749890321805, 0]
    assert atoms.positions[2].tolist() == [1.93747257999998, 2.660349497586850e-2, 4.11]
    assert atoms.get_forces()[2].tolist() == [-3.293074318554347e-3, -3.304634096200839e-4, -1.526479430322968e-2]
    energies = [atoms.get_potential_energy(force_consistent=free) for free in (False, True)]
    assert energies == [-176.534557451258, -176.534557451258]
    np.testing.assert_allclose(atoms.get_stress(), -0.1 * GPa * np.array([1, 2, 3, 5, 6, 4]), rtol=1e-7)


@pytest.mark.parametrize(
    'change',
    [
        lambda text: re.sub(r'^ +', '', text, flags=re.MULTILINE),
        lambda text: text.replace('\n', '\r\n'),
        lambda text: text.rstrip('\n'),
        lambda text: text.replace('E-', 'D-').replace('E+', 'D+'),
        lambda text: text.replace('E-0', 'e-').replace('E+0', 'e+'),
        lambda text: re.sub(r'[*=-]{50}', lambda ledger: ledger[0][:20], text),
        lambda text: text.replace('   3.87494516100002  ', ' 3.87494516100002 '),
        lambda text: text + f'{S}\n\n',
    ],
    ids=['left', 'crlf', 'no last newline', 'D', 'python', 'short ledgers', 'columns', 'ledger behind'],
)
def test_layouts_of_hand_made_files(read, change):
    expected, found = read(WHOLE).frames, read(change(WHOLE)).frames
    for one, other in zip(expected, found, strict=True):
        assert one == other
        for name, value in one.calc.results.items():
            np.testing.assert_array_equal(value, other.calc.results[name])


def test_ctifor_may_be_absent_everywhere_but_not_here_and_there(read, refusal):
    content = read(header() + configuration(1, ctifor=None) + configuration(2, ctifor=None))
    assert content.ctifor is None
    assert 'ctifor' not in content.frames[0].info
    text = header() + configuration(1) + configuration(2, ctifor=None)
    line = text[: text.rindex('Configuration num')].count('\n') + 1
    assert f'line {line}: configuration 2 has no CTIFOR' in refusal(text)


def test_atom_types_with_a_number_are_their_element(read):
    types = '     O1     2\n     O2     1'
    text = header(1, types='     O1O2'.replace('O1O2', 'O1 O2'), basis='     1     2').replace('2      3', '1      1')
    atoms = read(text + configuration(1, types=types)).frames[0]
    assert str(atoms.symbols) == 'O3'
    assert atoms.info['atom_types'] == [('O1', 2), ('O2', 1)]


def test_a_name_is_no_number(read):
    for name in ('1E-5', '', 'a == b', 'Mg16E-0 relaxed'):
        assert read(header(1).replace('2      3', '1      1') + configuration(1, name=name)).frames[0].info[
            'system_name'
        ] == (name)


def cut(text, after):
    """Return the text up to the line that first has some words, with this line."""
    return text[: text.index('\n', text.index(after)) + 1]


@pytest.mark.parametrize(
    ('text', 'line', 'words'),
    [
        ('', 1, 'not an ML_AB file'),
        (WHOLE.partition('\n')[2], 1, 'older than VASP 6.3'),
        (
            header(3) + configuration(1) + configuration(2),
            None,
            '2 configuration(s) in the file, but',
        ),
        (header(1) + configuration(1) + configuration(2), None, 'more in the file than the 1 configuration'),
        (header(types='     Mg H O') + configuration(1), 13, "3 atom types ['Mg', 'H', 'O'] where the header says 2"),
        (header(types='     Mg Qq') + configuration(1), 13, "'Qq' is not an element"),
        (header(references='0.0') + configuration(1), None, 'must have 2'),
        (header(basis='  2  2') + configuration(1), None, '1 row(s) of numbers where 2 must be'),
        (WHOLE.replace('1      2\n', '1      4\n'), None, 'atom 4 of configuration 1 does not exist'),
        (header() + configuration(2) + configuration(1), None, 'configuration 2 where number 1 should stand'),
        (WHOLE.replace('Mg     2', 'Mg     3'), None, 'the atom types have 4 atoms, the configuration 3'),
        (WHOLE.replace('     H      1\n=', '     He     1\n='), None, 'not all in the header'),
        (WHOLE.replace('              3', '              2'), None, '3 atoms, but the header says 2 at most'),
        (WHOLE.replace('              2', '              1'), None, '2 atoms of a type, but the header says 1'),
        (cut(header() + configuration(1), 'Total energy (eV)'), None, "one number must follow 'Total energy (eV)'"),
        (cut(header() + configuration(1), '-176.5'), None, "the file ends where 'Forces (eV ang.^-1)' should stand"),
        (cut(header() + configuration(1), '5.32671'), None, '2 row(s) of numbers where 3 must be'),
        (cut(header() + configuration(1), '5.328'), None, '1 row(s) of numbers where 3 must be'),
        (cut(header() + configuration(1), 'XX YY ZZ'), None, "three numbers must follow 'XX YY ZZ'"),
        (header(1) + configuration(1)[:-30], None, "three numbers must follow 'XY YZ ZX'"),
        (
            WHOLE.replace('Forces (eV', 'Velocities (eV'),
            None,
            "'Forces (eV ang.^-1)' should stand here, not",
        ),
        (WHOLE.replace(' 5.32671809514852', ''), None, '2 number(s) in a row that must have 3'),
        (WHOLE.replace(' 5.32671809514852', ' 5.32671809514852 1.0'), None, '4 number(s) in a row that must have 3'),
        (WHOLE.replace('5.32671809514852', 'NaN'), None, 'not finite'),
        (WHOLE.replace('5.32671809514852', '****************'), None, "'****************' is not a number"),
        (WHOLE.replace('5.32671809514852', '5.3-0.2'), None, "'5.3-0.2' is not a number"),
        (WHOLE.replace('-176.534557451258', 'NaN'), None, "one number must follow 'Total energy (eV)'"),
        (WHOLE.replace('7.74989032180500 ', '0.0 '), None, 'the cell of configuration 1 has no volume'),
    ],
)
def test_refused(refusal, text, line, words):
    message = refusal(text)
    assert words in message
    assert re.search(rf'line {line or "[0-9]+"}: ', message)


@pytest.mark.parametrize('damaged', ['E-00', 'E-0', 'E-'])
@pytest.mark.parametrize('letter', ['E', 'D'])
def test_exponents_that_lost_digits(refusal, damaged, letter):
    text = WHOLE.replace('-1.526479430322968E-002', f'-1.526479430322968{damaged}')
    line = text[: text.index(damaged + '\n')].count('\n') + 1
    message = refusal(re.sub('E(?=[+-])', letter, text))
    assert f'line {line}: ' in message
    assert f'-1.526479430322968{damaged.replace("E", letter)}' in message


def test_exponents_that_lost_digits_where_all_have_two(refusal):
    text = WHOLE.replace('E-0', 'E-').replace('E+0', 'E+')
    assert 'has lost digits of its exponent, which has 2' in refusal(text.replace('22968E-02', '22968E-0'))


def test_line_of_a_damaged_number_is_told(refusal):
    text = header() + configuration(1) + configuration(2).replace('5.32671809514852', '5.32x')
    line = text[: text.index('5.32x')].count('\n') + 1
    assert f'line {line}: ' in refusal(text)


@pytest.mark.parametrize('end', range(1, 60, 3))
def test_truncated_anywhere_in_the_last_configuration(refusal, end):
    lines = WHOLE.splitlines(keepends=True)
    assert re.search('line [0-9]+: ', refusal(''.join(lines[:-end])))


# --- writing ---


finite = st.floats(-1e3, 1e3, allow_subnormal=False)


@st.composite
def labelled_frames(draw):
    """Return frames of two compositions with arbitrary labels."""
    frames = []
    for _ in range(draw(st.integers(1, 3))):
        symbols = draw(st.lists(st.sampled_from(['Mg', 'H', 'O']), min_size=1, max_size=4))
        shape = (len(symbols), 3)
        cell = np.diag([5.0, 6.0, 7.0]) + draw(hnp.arrays(float, (3, 3), elements=st.floats(-0.5, 0.5)))
        atoms = Atoms(symbols, draw(hnp.arrays(float, shape, elements=finite)), cell=cell, pbc=True)
        labels = {
            'energy': draw(finite),
            'forces': draw(hnp.arrays(float, shape, elements=finite)),
            'stress': draw(hnp.arrays(float, 6, elements=finite)),
        }
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return frames


def by_composition(frames):
    """Return the frames in the order of the file, with the atoms of one element together."""
    formulas = [atoms.symbols.formula.format('hill') for atoms in frames]
    order = sorted(range(len(frames)), key=lambda index: formulas.index(formulas[index]))
    return [(frames[index], np.argsort(-frames[index].numbers, kind='stable')) for index in order]


@settings(max_examples=50, deadline=None)
@given(frames=labelled_frames(), threshold=st.none() | st.floats(1e-16, 1.0))
def test_what_is_written_is_read(tmp_path_factory, frames, threshold):
    path = tmp_path_factory.mktemp('mlab') / 'ML_AB'
    write_mlab(path, frames, ctifor=None if threshold is None else [threshold] * len(frames))
    content = read_mlab(path, allow_implausible=True)
    assert content.ctifor == (None if threshold is None else [threshold] * len(frames))
    for (written, order), found in zip(by_composition(frames), content.frames, strict=True):
        assert found.numbers.tolist() == written.numbers[order].tolist()
        np.testing.assert_array_equal(found.positions, written.positions[order])
        np.testing.assert_array_equal(found.cell, written.cell)
        assert found.get_potential_energy() == written.calc.results['energy']
        np.testing.assert_array_equal(found.get_forces(), written.calc.results['forces'][order])
        np.testing.assert_allclose(found.get_stress(), written.calc.results['stress'], rtol=4e-16, atol=0)


def test_basis_names_an_atom_of_its_element(read, tmp_path):
    frames = read(WHOLE).frames
    write_mlab(tmp_path / 'new', frames)
    basis = read_mlab(tmp_path / 'new').basis
    assert {name: rows.tolist() for name, rows in basis.items()} == {'Mg': [[1, 1]], 'H': [[1, 3]]}


def write_again(content, path):
    """Write everything that was read."""
    options = {'basis': content.basis, 'masses': content.masses, 'version': content.version}
    write_mlab(path, content.frames, content.ctifor, reference_energies=content.reference_energies, **options)


def assert_same(content, other):
    """Check that every number is equal, bit for bit."""
    for name in ('version', 'types', 'reference_energies', 'masses', 'ctifor'):
        assert getattr(content, name) == getattr(other, name)
    assert list(content.basis) == list(other.basis)
    for name, rows in content.basis.items():
        np.testing.assert_array_equal(rows, other.basis[name])
    for one, two in zip(content.frames, other.frames, strict=True):
        assert one == two
        assert one.info == two.info
        for name, value in one.calc.results.items():
            assert np.asarray(value).tobytes() == np.asarray(two.calc.results[name]).tobytes()


def stresses(path):
    """Return the stresses of a file as written, in kbar."""
    number = r'\s+(\S+)\s+(\S+)\s+(\S+)'
    found = re.findall(rf'XX YY ZZ\s+-+{number}\s+-+\s+XY YZ ZX\s+-+{number}', path.read_text())
    return [[float(word) for word in words] for words in found]


@pytest.mark.parametrize('ctifor', ['  2.000000000000000E-003', None])
def test_what_was_read_is_written_in_its_order(read, tmp_path, ctifor):
    text = header(3, references='  0.125000000000000E+000 -1.500000000000000E-001')
    text += configuration(1, ctifor) + configuration(2, ctifor, types='     H      1\n     Mg     2', name='a  b')
    content = read(text.replace(' 1.0 V', ' 1.1 V') + configuration(3, ctifor, name=''))
    assert content.reference_energies == {'Mg': 0.125, 'H': -0.15}
    write_again(content, tmp_path / 'again')
    assert_same(read_mlab(tmp_path / 'again'), content)
    assert stresses(tmp_path / 'again') == [[1, 2, 3, 4, 5, 6]] * 3
    write_again(read_mlab(tmp_path / 'again'), tmp_path / 'third')
    assert (tmp_path / 'third').read_bytes() == (tmp_path / 'again').read_bytes()


def test_atom_types_with_a_number_are_written_again(read, tmp_path):
    text = header(1, types='     O1 O2', basis='     1     2').replace('2      3', '1      1')
    content = read(text + configuration(1, types='     O1     2\n     O2     1'))
    write_again(content, tmp_path / 'again')
    assert_same(read_mlab(tmp_path / 'again'), content)


@settings(max_examples=200, deadline=None)
@given(kbar=st.floats(-1e4, 1e4).filter(lambda value: value == 0 or abs(value) > 1e-290))
def test_stress_of_a_file_survives_any_number_of_conversions(kbar):
    stress = STRESS_FACTOR * np.full(6, kbar)
    again = _kbar(Atoms(), stress)
    np.testing.assert_array_equal(STRESS_FACTOR * again, stress)
    np.testing.assert_array_max_ulp(again, np.full(6, kbar), maxulp=1)
    assert (_kbar(Atoms(info={'stress_kbar': (kbar,) * 6}), stress) == kbar).all()
    np.testing.assert_array_equal(_kbar(Atoms(info={'stress_kbar': (1.5,) * 6}), stress), again)


@pytest.mark.parametrize(
    ('basis', 'words'),
    [
        ({'Mg': [[1, 1]]}, 'not all in the basis'),
        ({'Mg': [[1, 1]], 'H': [[2, 4]]}, 'basis of H: atom 4 of configuration 2 does not exist'),
        ({'Mg': [[3, 1]], 'H': [[1, 3]]}, 'basis of Mg: atom 1 of configuration 3 does not exist'),
    ],
)
def test_refuses_a_basis_that_does_not_fit(read, tmp_path, basis, words):
    frames = read(WHOLE).frames
    with pytest.raises(ValueError, match=words):
        write_mlab(tmp_path / 'new', frames, basis=basis)
    with pytest.raises(ValueError, match='frame 1: the atoms of a type are not together'):
        write_mlab(tmp_path / 'new', [frames[0], mixed(frames[1])], basis={'Mg': [[1, 1]], 'H': [[1, 3]]})
    assert not (tmp_path / 'new').exists()


def mixed(frame):
    """Return a frame whose last atom moves between the atoms of another element."""
    order = [0, 2, 1]
    other = frame[order]
    labels = {name: value[order] if name == 'forces' else value for name, value in frame.calc.results.items()}
    other.calc = SinglePointCalculator(other, **labels)
    return other


def test_refuses_to_write_what_vasp_would_not_read(read, tmp_path):
    frames = read(WHOLE).frames
    with pytest.raises(ValueError, match='1 values of ctifor for 2 frames'):
        write_mlab(tmp_path / 'new', frames, ctifor=[0.1])
    del frames[1].calc.results['stress']
    with pytest.raises(ValueError, match='frame 1: no stress'):
        write_mlab(tmp_path / 'new', frames)
    assert not (tmp_path / 'new').exists()


# --- files of VASP ---


@pytest.mark.parametrize(
    ('name', 'count'), [('abn2db_ML_ABN_100-Ce_2L0V', 3), ('abn2db_ML_ABN_100-Ce_2L1V', 3), ('abn2db_merged_ML_ABN', 9)]
)
def test_real_files(shared_data, name, count, tmp_path):
    content = read_mlab(shared_data / 'mlab' / name)
    assert len(content.frames) == count
    assert {len(atoms) for atoms in content.frames} <= {22, 23, 24}
    assert content.masses == {'Ce': 140.115, 'O': 32.0}
    write_again(content, tmp_path / 'again')
    assert_same(read_mlab(tmp_path / 'again'), content)
    assert stresses(tmp_path / 'again') == stresses(shared_data / 'mlab' / name)
    write_mlab(tmp_path / 'select', content.frames, content.ctifor)
    for one, other in zip(content.frames, read_mlab(tmp_path / 'select').frames, strict=True):
        assert one == other


def test_merged_file_is_the_sum_of_its_parts(shared_data):
    parts = [read_mlab(shared_data / 'mlab' / f'abn2db_ML_ABN_100-Ce_2L{number}V').frames for number in (0, 1)]
    merged = read_mlab(shared_data / 'mlab' / 'abn2db_merged_ML_ABN').frames
    for atoms in (*parts[0], *parts[1]):
        assert any(atoms == other for other in merged)


def test_real_file_whose_header_contradicts_its_body(shared_data):
    with pytest.raises(FormatError, match=r'_TEST, line 13: 5 atom types .* where the header says 2'):
        read_mlab(shared_data / 'mlab' / 'abn2db_ML_ABN_100-Ce_2L0V_TEST')
