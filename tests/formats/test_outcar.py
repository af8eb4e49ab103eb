"""OUTCAR: every step of DFT and of the force field, and how the run ended."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest
from ase.io import read as ase_read
from ase.units import GPa
from vasp_files import (
    FAR,
    NEAR,
    NOT_REACHED,
    REACHED,
    STOPPED,
    dft_step,
    loop_step,
    ml_step,
    outcar_end,
    outcar_head,
    scf_settings,
)

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.outcar import OutcarReader, OutcarSummary, summarise_outcar

HEAD = outcar_head(['Mg', 'H'], [2, 1])


def make_step(seed, scale=1.0):
    """Return labels of three atoms, with VASP's number of decimals."""
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
# index, is DFT, SCF converged
KINDS = [(1, False, None), (1, True, True), (2, False, None), (3, False, None), (3, True, False)]


@pytest.fixture
def reader(tmp_path):
    """Return a function that makes a reader of a text."""

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
        ('ions per type =               2   1', 'ions per type =               1   1', 'after 2 atoms'),
        ('ions per type', 'ions of type', "no NIONS and no 'ions per type' above this table"),
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


# --- whether the electrons converged ---

VASP5, VASP6 = 'vasp.5.4.4.18Apr17-6-g9f103f2a35 (build) complex', 'vasp.6.4.2 20Jul23 (build) complex'
COPIED_INCAR = ' INCAR:\n   NELM = 4\n   EDIFF = 1.4E-06\n'


def converged(reader, *loops, version=VASP5, settings=scf_settings(4), end=REACHED):  # noqa: B008
    """Return ``scf_converged`` of each step; a loop is a list of changes, or a pair of this list and its end."""
    text = outcar_head(['Mg', 'H'], [2, 1], version=version, settings=settings)
    for index, loop in enumerate(loops, start=1):
        changes, words = loop if isinstance(loop, tuple) else (loop, end)
        text += loop_step(index, STEPS[index % len(STEPS)], changes, words)
    return [step.scf_converged for step in reader(text + outcar_end())]


@pytest.mark.parametrize('words', [REACHED, NOT_REACHED, ''])
def test_loop_that_ended_at_nelm_above_ediff(reader, words):
    """VASP 5 says that EDIFF is reached, VASP 6 denies it, and a trimmed file says nothing."""
    assert converged(reader, 4 * [FAR], end=words) == [False]
    assert converged(reader, [NEAR, NEAR, NEAR, FAR], end=words) == [False]


@pytest.mark.parametrize('words', [REACHED, ''])
def test_loop_that_met_ediff_at_nelm(reader, words):
    assert converged(reader, [FAR, FAR, FAR, NEAR], end=words) == [True]


def test_loop_that_ended_before_nelm(reader):
    """EDIFF has one digit in the table, so a change may seem larger; a hard stop ends a loop anywhere."""
    assert converged(reader, [FAR, NEAR]) == [True]
    assert converged(reader, [FAR, (1.3e-6, 1e-7)]) == [True]
    assert converged(reader, [FAR, FAR], end=STOPPED) == [False]


@pytest.mark.parametrize('change', [(4.8e-3, -9e-7), (-4e-7, -1.5e-3), (1.1e-6, 0.0), (0.0, -1.1e-6)])
def test_both_changes_must_be_within_ediff(reader, change):
    assert converged(reader, [FAR, FAR, FAR, change]) == [False]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('-0.4000000E-06(-0.9000000E-06)', True),
        (' 0.1234567-100  (-0.1234567-100)', True),
        ('-0.4000000D-06  (-0.9000000D-06)', True),
        (' 0.1234567+101  (-0.1234567+101)', False),
        ('**************  (-0.9000000E-06)', False),
        ('-0.4000000E-06  (**************)', False),
        ('           NaN  (           NaN)', False),
        ('      Infinity  (     -Infinity)', False),
        ('-  (-', False),
        ('', False),
    ],
)
def test_how_changes_are_written(reader, text, expected):
    """If VASP wrote no number, a loop of NELM iterations does not show that it converged."""
    assert converged(reader, [FAR, FAR, FAR, text]) == [expected]


@pytest.mark.parametrize(('version', 'end'), [(VASP5, REACHED), (VASP6, NOT_REACHED)])
@pytest.mark.parametrize('n_short', [0, 1, 3])
def test_dynamics_of_which_some_steps_do_not_converge(reader, version, end, n_short):
    loops = [[FAR, FAR, NEAR], [FAR, NEAR], [FAR, FAR, FAR, NEAR]]
    loops[:n_short] = [(4 * [FAR], end)] * n_short
    assert converged(reader, *loops, version=version) == [False] * n_short + [True] * (3 - n_short)


def test_one_iteration_is_all(reader):
    """With NELM = 1 even VASP 6 says that EDIFF is reached."""
    for version in (VASP5, VASP6):
        assert converged(reader, [FAR], [NEAR], version=version, settings=scf_settings(1)) == [False, True]


def test_more_iterations_than_their_column_has_digits(reader):
    settings = scf_settings(10001)
    assert converged(reader, 10001 * [FAR], settings=settings) == [False]
    assert converged(reader, [*(10000 * [FAR]), NEAR], settings=settings) == [True]
    assert converged(reader, 10000 * [FAR], settings=settings) == [True]


STARS = '   NELM   = ******;   NELMIN=  2; NELMDL= -5     # of ELM steps \n'


@pytest.mark.parametrize('settings', ['', STARS], ids=['none', 'stars'])
def test_without_nelm_and_ediff_the_words_of_vasp_decide(reader, settings):
    loops = [(4 * [FAR], REACHED), (4 * [FAR], NOT_REACHED), (4 * [FAR], STOPPED)]
    assert converged(reader, *loops, settings=settings) == [True, False, False]


@pytest.mark.parametrize('line', ['', STARS], ids=['none', 'stars'])
@pytest.mark.parametrize('version', [VASP5, VASP6])
def test_without_nelm_the_last_changes_decide(reader, line, version):
    """In a trimmed file VASP 5 says that EDIFF is reached even if the loop ended at NELM."""
    settings = ''.join(line if 'NELM ' in row else row for row in scf_settings(60).splitlines(keepends=True))
    assert 'EDIFF' in settings
    loops = [60 * [FAR], [FAR, (4.8e-3, -9e-7)], [FAR, (-4e-7, -1.5e-3)], [FAR, '**************  (-0.9000000E-06)']]
    assert converged(reader, *loops, settings=settings, version=version) == 4 * [False]
    assert converged(reader, [NEAR], [FAR, NEAR], 59 * [FAR] + [NEAR], settings=settings, version=version) == 3 * [True]
    others = [([FAR, NEAR], STOPPED), ([FAR, NEAR], NOT_REACHED), ([FAR, ''], REACHED), ([FAR, ''], '')]
    assert converged(reader, *others, settings=settings, version=version) == [False, False, True, False]


@pytest.mark.parametrize('version', [VASP5, VASP6])
def test_without_iterations_the_words_of_vasp_prove_nothing(reader, version):
    assert converged(reader, [], [], version=version) == [None, None]
    assert converged(reader, [], ([], NOT_REACHED), ([], STOPPED), end='', version=version) == [None, False, False]
    text = HEAD + loop_step(1, STEPS[0], [], REACHED) + loop_step(2, STEPS[1], [], REACHED) + outcar_end()
    assert [step.index for step in reader(text)] == [1, 2]
    kept = OutcarSummary.from_arrays(summarise_outcar(reader(text).path).to_arrays())
    assert [step.scf_converged for step in kept.dft_steps] == [None, None]


@pytest.mark.parametrize('is_whole', [True, False])
def test_each_of_two_runs_in_one_file_is_judged_by_its_own_settings(reader, is_whole):
    texts = []
    for nelm, ediff in ((4, '0.1E-05'), (2, '0.1E-07'), (4, '0.1E-01')):
        head = outcar_head(['Mg', 'H'], [2, 1], version=VASP5, settings=scf_settings(nelm, ediff))
        loops = [loop_step(1, STEPS[0], [FAR, NEAR], REACHED), loop_step(2, STEPS[1], 4 * [FAR], REACHED)]
        texts.append(head + ''.join(loops) + (outcar_end() if is_whole else ''))
    outcar = reader(''.join(texts))
    for _ in range(2):
        assert [step.scf_converged for step in outcar] == [True, False, False, False, True, True]
        assert [step.index for step in outcar] == [1, 2, 1, 2, 1, 2]
        assert (outcar.finished, outcar.nelm, outcar.ediff) == (is_whole, 4, 1e-6)


def test_second_run_that_is_cut_has_not_finished(reader):
    outcar = reader(TEXT + HEAD + dft_step(1, STEPS[0]))
    assert len(list(outcar)) == 6
    assert (outcar.finished, outcar.truncated is None) == (False, False)


def test_run_behind_a_killed_run_is_judged_by_its_own_settings(reader):
    """The killed run may end within a line; its last step is left out and named."""
    heads = [outcar_head(['Mg', 'H'], [2, 1], version=VASP5, settings=scf_settings(nelm)) for nelm in (60, 4)]
    first, killed = (loop_step(index, STEPS[index], [FAR, NEAR], REACHED) for index in (1, 2))
    second = heads[1] + loop_step(1, STEPS[0], 4 * [FAR], REACHED) + outcar_end()
    for cut in range(killed.index('\n') + 1, killed.index('energy  without entropy'), 7):
        outcar = reader(heads[0] + first + killed[:cut] + second)
        assert [step.scf_converged for step in outcar] == [True, False]
        summary = summarise_outcar(outcar.path)
        assert [step.scf_converged for step in summary.dft_steps] == [True, False]
        assert summary.truncated.endswith('step 2 above is not whole')


@pytest.mark.parametrize('counts', [[1, 2], [2, 1]])
@pytest.mark.parametrize('cut', [len(HEAD) - 40, HEAD.index('ions per type') + 4])
def test_run_behind_half_a_head(reader, counts, cut):
    outcar = reader(HEAD[:cut] + outcar_head(['Mg', 'H'], counts) + dft_step(1, STEPS[0]) + outcar_end())
    if outcar.counts == counts:
        assert_step(next(iter(outcar)), STEPS[0])
    else:
        with pytest.raises(FormatError, match='another run'):
            list(outcar)


def test_title_may_name_vasp(reader):
    assert converged(reader, [FAR, NEAR], settings='   SYSTEM = made for vasp.6.4 \n' + scf_settings(4)) == [True]


@pytest.mark.parametrize(
    'head',
    [
        outcar_head(['Mg', 'H'], [3, 1]),
        outcar_head(['Zn', 'H'], [2, 1]),
        outcar_head(['Mg', 'H'], [1, 2]),
        None,
    ],
)
def test_second_run_of_other_atoms_or_labels(reader, head):
    standin = outcar_head(['Mg', 'H'], [2, 1], extra=' NOT VASP: stand-in, labels mace:0123456789ab\n')
    outcar = reader(TEXT + (standin if head is None else head) + dft_step(1, STEPS[0]))
    with pytest.raises(FormatError, match=r'another run .* other atoms or labels: give each OUTCAR as a file'):
        list(outcar)
    with pytest.raises(FormatError, match='another run'):
        summarise_outcar(outcar.path)


def test_byte_order_mark(tmp_path):
    (tmp_path / 'OUTCAR').write_text('\ufeff' + TEXT, encoding='utf-8')
    outcar = OutcarReader(tmp_path / 'OUTCAR')
    assert (outcar.version, len(list(outcar))) == ('vasp.6.4.2 20Jul23 (build) complex', 5)


def test_settings_that_vasp_6_copies_have_all_digits(reader):
    loops = [[FAR, FAR, FAR, (1.3e-6, 0.0)], [FAR, FAR, FAR, (1.5e-6, 0.0)]]
    assert converged(reader, *loops, settings=COPIED_INCAR + scf_settings(4), end='') == [True, False]
    assert converged(reader, *loops, end='') == [False, False]


@pytest.mark.parametrize(('copied', 'table'), [('3.5E-05', '0.4E-04'), ('3.5E-05', '0.3E-04'), ('2.5E-06', '0.2E-05')])
def test_half_a_digit_may_be_rounded_either_way(reader, copied, table):
    loops = [[FAR, FAR, FAR, (factor * float(copied), 0.0)] for factor in (0.99, 1.01)]
    settings = f' INCAR:\n   EDIFF = {copied}\n' + scf_settings(4, table)
    assert converged(reader, *loops, settings=settings, end='') == [True, False]


@pytest.mark.parametrize(('changes', 'expected'), [(4 * [FAR], False), ([FAR, NEAR], True)])
def test_second_loop_of_a_step_does_not_hide_how_the_first_ended(reader, changes, expected):
    head = outcar_head(['Mg', 'H'], [2, 1], version=VASP5, settings=scf_settings(4))
    first, second = (loop_step(1, STEPS[0], loop, REACHED) for loop in (changes, [FAR, FAR, NEAR]))
    text = head + first[: first.index(REACHED) + len(REACHED)] + second + outcar_end()
    assert [step.scf_converged for step in reader(text)] == [expected]


@pytest.mark.parametrize('ediff', ['1.D-6', '1.E-6', '1D-6', '.1d-5'])
def test_settings_as_fortran_writes_them(reader, ediff):
    loops = [[FAR, FAR, FAR, NEAR], [FAR, FAR, FAR, (4.8e-3, 0.0)]]
    assert converged(reader, *loops, settings=f'   EDIFF = {ediff}\n' + scf_settings(4)) == [True, False]


TITLES = (
    'NIONS = 7',
    'ions per type = 4',
    'number of ions     NIONS = 7',
    'NELM = 2; EDIFF = 1E+3',
    'VRHFIN =He: s2',
    'made by vasp.6.4.2 20Jul23 (build) complex',
    'TOTAL-FORCE (eV/Angst)',
    'direct lattice vectors',
    'General timing and accounting',
    '"two lines\n NELM = 2\n NWRITE = 0\n EDIFF = 1E+3"',
)


@pytest.mark.parametrize('title', TITLES)
@pytest.mark.parametrize('place', ['   SYSTEM = {}\n', ' SYSTEM =  {}\n', ' POSCAR = {}\n', ' POSCAR: {}\n'])
def test_title_may_say_anything(reader, title, place):
    settings = place.format(title) + COPIED_INCAR.removeprefix(' INCAR:\n') + scf_settings(4)
    outcar = reader(
        outcar_head(['Mg', 'H'], [2, 1], extra=settings) + loop_step(1, STEPS[0], 4 * [FAR], REACHED) + outcar_end()
    )
    (step,) = outcar
    assert_step(step, STEPS[0])
    assert (outcar.n_atoms, outcar.counts, outcar.symbols) == (3, [2, 1], ['Mg', 'H'])
    assert (outcar.nelm, outcar.ediff, outcar.nwrite, step.scf_converged) == (4, 1.4e-6, 2, False)
    assert outcar.finished


@pytest.mark.parametrize(
    'line', ['{}: ultrasoft test', '{}_pv : 2p6 3s2', '{}_sv', '{} 3s2', '{}', '{}1.25: s1', ' {} :NIONS = 7']
)
def test_elements_of_potentials(reader, line):
    head = HEAD.replace('VRHFIN =Mg: s1', f'VRHFIN ={line.format("Mg")}').replace(
        'VRHFIN =H: s1', f'VRHFIN ={line.format("H")}'
    )
    outcar = reader(head)
    assert (outcar.symbols, outcar.n_atoms) == (['Mg', 'H'], 3)


def test_bytes_of_no_encoding(tmp_path):
    (tmp_path / 'OUTCAR').write_bytes(
        TEXT.replace(' INCAR:\n', ' INCAR:\n   SYSTEM = @\n').encode().replace(b'@', b'Gr\xfc\xdf\x81')
    )
    assert len(list(OutcarReader(tmp_path / 'OUTCAR'))) == 5


def test_title_may_say_iteration(reader):
    settings = '   SYSTEM = Mg Iteration 5\n' + scf_settings(4)
    assert converged(reader, [FAR, NEAR], settings=settings) == [True]


def test_steps_of_the_force_field_have_no_loop(reader):
    """A force-field step stands before the loop of its DFT step, or has none."""
    head = outcar_head(['Mg', 'H'], [2, 1], settings=scf_settings(2))
    short, good = (loop_step(number, STEPS[1], [FAR, last], REACHED) for number, last in ((1, FAR), (3, NEAR)))
    text = head + ml_step(STEPS[0]) + short + ml_step(STEPS[2]) + ml_step(STEPS[3]) + good + outcar_end()
    assert [step.scf_converged for step in reader(text)] == [None, False, None, None, True]


# --- messages of the optimizer ---

FORCE = '  FORCES: max atom, RMS     {}    0.009037\n'
RELAXED = ' reached required accuracy - stopping structural energy minimisation\n'


def optimized(reader, text):
    """Return the reader of a file that ends with this text, read to its end."""
    outcar = reader(HEAD + text)
    assert list(outcar) == []
    return outcar


def test_forces_of_a_band(reader):
    outcar = optimized(
        reader, FORCE.format('2.281681') + ' FORCES acting on ions\n' + FORCE.format('0.010712') + RELAXED
    )
    assert (outcar.band_forces, outcar.reached_ediffg) == ([2.281681, 0.010712], True)
    assert list(outcar) == []
    assert outcar.band_forces == [2.281681, 0.010712]


def test_force_of_a_band_that_is_cut(reader):
    outcar = optimized(reader, FORCE.format('2.281681') + FORCE.format('0.5')[:30])
    assert (outcar.band_forces, outcar.reached_ediffg) == ([2.281681], False)


def test_relaxation_without_vtst(reader):
    outcar = optimized(reader, RELAXED)
    assert (outcar.band_forces, outcar.reached_ediffg) == ([], True)


def test_force_of_a_band_that_is_no_number(reader):
    with pytest.raises(FormatError, match=r"line \d+: the largest force of a band is '\*+', no number"):
        list(reader(HEAD + FORCE.format('********')))


# --- files of other users ---


def test_more_species_than_vasp_prints(reader):
    """VASP up to 6.3 prints ten counts. The first NIONS is right; a later one means something else."""
    symbols = ['Mg', 'H', 'Li', 'Be', 'B', 'C', 'N', 'O', 'F', 'Na', 'Al', 'Si']
    nions = '   number of dos      NEDOS =    301   number of ions     NIONS = {:6d}\n'
    head = outcar_head(symbols, 9 * [1] + [2], extra=nions.format(13), settings=nions.format(3))
    step = make_step(9) | {'positions': np.ones((13, 3)), 'forces': np.full((13, 3), 0.5)}
    outcar = reader(head + dft_step(1, step) + outcar_end())
    assert (outcar.n_atoms, outcar.symbols, outcar.counts) == (13, symbols, 9 * [1] + [2])
    assert_step(next(iter(outcar)), step)


@pytest.mark.parametrize('more', ['                   1\n', ' 1\n', '\n'])
def test_counts_that_go_on_in_the_next_line(reader, more):
    n_atoms = 3 if more.strip() else 2
    head = outcar_head(['Mg', 'H'], [2], settings=more)
    step = make_step(9) | {'positions': np.ones((n_atoms, 3)), 'forces': np.full((n_atoms, 3), 0.5)}
    outcar = reader(head + dft_step(1, step))
    assert outcar.n_atoms == n_atoms
    assert_step(next(iter(outcar)), step)


def test_line_ends_of_windows(tmp_path, reader):
    text = TEXT.replace(outcar_end(), FORCE.format('0.01') + RELAXED + outcar_end())
    text = text.replace(' executed', ' VTST: version 3.2\n executed', 1).replace('\n', '\r\n')
    (tmp_path / 'OUTCAR').write_bytes(text.encode())
    outcar = OutcarReader(tmp_path / 'OUTCAR')
    steps = list(outcar)
    assert [(step.index, step.is_dft, step.scf_converged) for step in steps] == KINDS
    for found, written in zip(steps, STEPS, strict=True):
        assert_step(found, written)
    assert (outcar.finished, outcar.truncated, outcar.max_memory_mb) == (True, None, 470384 / 1024)
    assert (outcar.symbols, outcar.vtst, outcar.version) == (['Mg', 'H'], 'version 3.2', VASP6)
    assert (outcar.band_forces, outcar.reached_ediffg) == ([0.01], True)


@pytest.mark.parametrize(
    'more',
    [
        '        -0.056448      0.053966      0.296892',
        '        -0.056448           NaN**************',
        6 * '      1.000000',
    ],
)
def test_columns_of_a_build_with_vdw(reader, more):
    """Positions and forces come first; each energy is followed by one without van der Waals."""
    step, end = STEPS[1], ',                                   FORCE-w/o vdW (eV/Angst)\n'
    text = HEAD + dft_step(1, step).replace('TOTAL-FORCE (eV/Angst)\n', f'TOTAL-FORCE (eV/Angst){end}')
    for force in step['forces']:
        row = ''.join(f'{value:14.6f}' for value in force)
        text = text.replace(row, row + more)
    energy, sigma0 = f'{step["energy"]:18.8f}', f'{step["sigma0"]:18.8f}'
    text = text.replace(f'{energy} eV\n', f'{energy} eV    w/o vdW ={energy} eV\n')
    text = text.replace(f'={sigma0}  ', f'={sigma0} eV    w/o vdW ={sigma0}  ')
    text = text.replace(f'={sigma0}\n', f'={sigma0} eV    w/o vdW ={energy}\n')
    assert text.count('w/o vdW') == 4
    (found,) = reader(text)
    assert_step(found, step)


def test_forces_that_fill_their_columns(reader):
    """The forces are from a run that explodes."""
    step = make_step(8)
    step['forces'][0] = [1234567.123456, -123456.123456, -1234567.5]
    step['positions'][1] = [-12345.12345, -123456.5, 1000000.25]
    text = HEAD + dft_step(1, step)
    assert '-123456.123456-1234567.500000' in text
    assert '-123456.500001000000.25000' in text
    assert_step(next(iter(reader(text))), step)


@pytest.mark.parametrize('nwrite', [0, 1])
def test_tables_that_nwrite_leaves_out(reader, nwrite):
    head = outcar_head(['Mg', 'H'], [2, 1], settings=scf_settings(60, nwrite=nwrite))
    steps = [dft_step(number, STEPS[number]) for number in (1, 2, 3)]
    table = re.search(r' POSITION .*?total drift', steps[1], re.DOTALL)[0]
    text = head + steps[0] + steps[1].replace(table, '') + steps[2] + outcar_end()
    words = f'step 2 has no table of positions and forces: NWRITE = {nwrite} leaves'
    with pytest.raises(FormatError, match=words):
        list(reader(text))
    outcar = OutcarReader(reader(text).path, skips_damaged=True)
    assert [step.index for step in outcar] == [1, 3]
    assert len(outcar.damaged) == 1
    assert words in outcar.damaged[0]
    assert len(list(reader(text.replace(steps[1].replace(table, ''), steps[1])))) == 3


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
    assert len(outcar.band_forces) == 23
    assert outcar.band_forces[-1] < 0.03
    assert outcar.reached_ediffg


@pytest.mark.parametrize(
    ('name', 'n_atoms', 'scf_converged', 'energy', 'force'),
    [
        ('unconverged_vasp544', 2, False, -6.50202886, [-6.083889, 11.314668, -7.008917]),
        ('16species', 48, True, -355.37383073, [0.065546, -0.556511, 0.837622]),
        ('crlf', 5, False, 18.25453698, [5.015184, -9.288135, -11.868920]),  # NELM = 1
        ('vdw_columns', 8, True, -33.36815582, [-0.056448, 0.108946, 0.296892]),
    ],
)
def test_real_files_of_other_users(shared_data, name, n_atoms, scf_converged, energy, force):
    outcar = OutcarReader(shared_data / 'cases' / f'OUTCAR.{name}')
    (step,) = outcar
    assert (outcar.n_atoms, step.scf_converged, step.energy, step.forces[0].tolist()) == (
        n_atoms,
        scf_converged,
        energy,
        force,
    )
    assert len(step.positions) == n_atoms
    assert outcar.finished
