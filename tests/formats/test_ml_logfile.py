"""ML_LOGFILE: the record of learning at each step, from a whole file and from a truncated one."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import fields

import numpy as np
import pytest

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.ml_logfile import State, read_ml_logfile

STARS, DASHES = '*' * 140, '-' * 80
DESCRIPTION = """# STATUS ###############################################################
# STATUS This line describes the overall status of each step.
# STATUS
# STATUS nstep ..... MD time step or input structure counter
# STATUS is ........ Integer representation of above one-word description (integer in parenthesis)
# STATUS ###############################################################
# STATUS            nstep     state is doabin    iff   nsample    ngenff
# STATUS                2         3  4      5      6         7         8
# STATUS ###############################################################

# BEEF ####################################################################
# BEEF              nstep       bee_energy    bee_max_force    bee_ave_force        threshold   bee_max_stress   bee_ave_stress
# BEEF                  2                3                4                5                6                7                8
# BEEF ####################################################################

# ERR ######################################################################
# ERR nstep ......... MD time step or input structure counter
# ERR               nstep      rmse_energy       rmse_force      rmse_stress
# ERR                   2                3                4                5
# ERR ######################################################################

"""  # noqa: E501
SETTINGS = f"""* MEMORY INFORMATION {STARS[:119]}

Estimated memory consumption for ML force field generation (MB):

Persistent allocations for force field        :    516.9
|-- CMAT for basis                            :     20.3

Total memory consumption                      :   1001.4

{STARS}

* MACHINE LEARNING SETTINGS {STARS[:112]}

 * (I) : Value was provided in the INCAR file.

General settings
{DASHES}{DASHES}
Machine learning operation mode in strings (supertag)                                        :         TRAIN (I) ML_MODE       
Precontraction of weights on Kernel for fast execution (ML_ISTART=2 only)                    :             F     ML_LFAST      
Cutoff radius of radial descriptors                                                          :   5.00000E+00     ML_RCUT1

{STARS}

* AVAILABLE AB INITIO DATA {STARS[:113]}

Number of stored (maximum) ab initio structures:       114 (     1500)
 * System   1 :       114 , name: "Mg128H8"

{STARS}

"""  # noqa: E501, W291
# The block of step 82 comes from the VASP wiki, for two elements.
LOOP = f"""* MAIN LOOP {STARS[:128]}

{DESCRIPTION}{DASHES}
STATUS                  1 critical   4      T      F         0         1
LCONF                   1 Mg         0         4 H          0         2
SPRSC                   1         1         1 Mg         4         1 H          2         2
MSG                     1      info Number of local reference configurations below ML_MB_MIN, skipping training.
BEEF                    1   1.00000000E-06   3.46410162E-02   2.00000000E-02   2.00000000E-03   0.00000000E+00   0.00000000E+00
{DASHES}
{DASHES}
STATUS                 63 accurate   1      F      T         3        53
BEEF                   63   4.67236540E-05   1.09788403E-01   2.90204790E-02   9.54674570E-02   6.29349214E-01   4.74949548E-01
{DASHES}
{DASHES}
STATUS                 82 learning   3      T      T         0        72
LCONF                  82 Mg      1222      1228
SPRSC                  82       128       129 Mg      1228      1224 H          2         7
REGRF                  82    1    3   1.29486873E+00   5.73015362E-02   7.69391276E-12    2.23430718E+16   5.75166077E+09
STDAB                  82   1.28851006E-01   1.02791005E+00   1.07081172E+01
ERR                    82   1.21269596E-02   2.35740491E-01   4.40365370E+00
THRHIST                82    1   8.45535075E-02
THRUPD                 82   9.54674570E-02   9.56824349E-02   6.60216623E-02   1.06906899E-02
BEEF                   82   4.58511233E-05   9.95065359E-02   2.94732909E-02   9.56824349E-02   6.03276708E-01   4.51396163E-01
{DASHES}
"""  # noqa: E501
TIMING = f"""{STARS}

* TIMING INFORMATION {STARS[:119]}

Program part                                         system clock (sec)       cpu time (sec)
---------------------------------------------------|--------------------|-------------------
TOTAL                                              |             67.204 |             67.173

{STARS}
"""
TEXT = SETTINGS + LOOP + TIMING


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        (tmp_path / 'ML_LOGFILE').write_text(text)
        return read_ml_logfile(tmp_path / 'ML_LOGFILE')

    return read_text


def plain(value):
    """Return a log or a part of it as plain types, which can be compared."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def test_learning(read):
    log = read(TEXT)
    assert plain(log.status) == {
        'steps': [1, 63, 82],
        'state': [4, 1, 3],
        'is_dft': [True, False, True],
        'has_force_field': [False, True, True],
    }
    assert log.status['state'].tolist() == [State.CRITICAL, State.ACCURATE, State.LEARNING]
    assert log.beef['steps'].tolist() == [1, 63, 82]
    assert log.beef['bee_max_force'].tolist() == [3.46410162e-02, 1.09788403e-01, 9.95065359e-02]
    assert log.beef['threshold'].tolist() == [0.002, 9.54674570e-02, 9.56824349e-02]
    assert log.beef['bee_ave_stress'].tolist() == [0, 4.74949548e-01, 4.51396163e-01]
    assert plain(log.err) == {
        'steps': [82],
        'rmse_energy': [1.21269596e-02],
        'rmse_force': [2.35740491e-01],
        'rmse_stress': [4.40365370e00],
    }
    assert plain(log.threshold_updates) == {
        'steps': [82],
        'ctifor_prev': [9.54674570e-02],
        'ctifor_new': [9.56824349e-02],
    }
    assert plain(log.n_configurations) == {'steps': [1, 82], 'count': [1, 129]}
    assert plain(log.n_basis) == {
        'Mg': {'steps': [1, 82], 'count': [1, 1224]},
        'H': {'steps': [1, 82], 'count': [2, 7]},
    }
    assert log.settings == {'ML_MODE': 'TRAIN', 'ML_LFAST': 'F', 'ML_RCUT1': '5.00000E+00'}
    assert (log.memory_mb, log.stored, log.truncated) == (1001.4, (114, 1500), None)


def test_prediction(read):
    row = 'SFF      5000   1.00000000E-01   1.00000000E-03   2.00000000E-02   3.00000000E-04   2.00000000E-02'
    loop = f'{DASHES}\nSTATUS   5000 predict   5      F      T         0         0\n{row}\n{DASHES}\n'
    log = read(f'* MAIN LOOP {STARS}\n{loop}{TIMING}')
    assert log.status['state'].tolist() == [5]
    assert plain(log.sff) == {
        'steps': [5000],
        'sfmax': [0.1],
        'sfmin': [0.001],
        'sfmean': [0.02],
        'sfvar': [0.0003],
        'threshold': [0.02],
    }
    assert [len(table['steps']) for table in (log.beef, log.err, log.n_configurations)] == [0, 0, 0]
    assert (log.n_basis, log.memory_mb, log.stored) == ({}, None, None)


def test_columns_are_those_that_the_file_names(read):
    text = re.sub(r'(# ERR  .*nstep)(.*)(rmse_force)(.*)', r'\1\4 extra \3\2', TEXT)
    text = re.sub(r'(ERR +82) +(\S+) +(\S+) +(\S+)', r'\1 \4 7.0 \3 \2', text)
    assert 'rmse_stress extra rmse_force' in text
    assert plain(read(text).err) == plain(read(TEXT).err)
    other_names = TEXT.replace('bee_max_force ', 'bee_largest_force ')
    assert plain(read(other_names).beef) == plain(read(TEXT).beef)


def test_exponent_without_its_letter(read):
    log = read(TEXT.replace('4.67236540E-05', '4.67236540-105'))
    assert log.beef['bee_energy'][1] == 4.6723654e-105


def test_block_that_a_section_ends(read):
    log = read(SETTINGS + LOOP.removesuffix(f'{DASHES}\n') + TIMING)
    assert log.status['steps'].tolist() == [1, 63, 82]


def test_truncated_anywhere(read):
    text = re.sub(r'([*-])\1{20,}', lambda run: 20 * run[1], TEXT.replace(DESCRIPTION, ''))
    whole = read(text)
    assert plain(whole.beef) == plain(read(TEXT).beef)
    dashes = 20 * '-' + '\n'
    ends = {step: text.index(dashes, text.index(f'BEEF {step:20d}')) + len(dashes) for step in (1, 63, 82)}
    timing = text.index('\n', text.index('* TIMING INFORMATION')) + 1
    for cut in (*range(0, ends[1], 11), *range(ends[1], len(text))):
        if '***\n' not in text[:cut]:
            with pytest.raises(FormatError, match='no ML_LOGFILE'):
                read(text[:cut])
            continue
        log = read(text[:cut])
        last = max((step for step, end in ends.items() if end <= cut), default=0)
        for table, expected in ((getattr(log, name), getattr(whole, name)) for name in ('status', 'beef', 'err')):
            keep = expected['steps'] <= last
            assert plain(table) == plain({name: column[keep] for name, column in expected.items()})
        assert set(log.settings.items()) <= set(whole.settings.items())
        assert log.memory_mb in (None, 1001.4)
        assert (log.truncated is None) == (cut >= timing)


def test_where_it_ends(read):
    text = TEXT[: TEXT.index('ERR                    82')]
    sentence = f'line {text.count(chr(10))}: the file ends without its timing information, after step 63'
    assert read(text).truncated.endswith(sentence)
    assert read(SETTINGS).truncated.endswith('before the first step')


@pytest.mark.parametrize(
    ('old', 'new', 'words'),
    [
        ('   1.09788403E-01', '   *************', "'BEEF 63 4.67236540E-05 ************* "),
        ('   1.09788403E-01', '', '5 values for the columns bee_energy'),
        ('learning   3      T', 'learning   3      X', "'STATUS 82 learning 3 X T"),
        ('Mg      1222      1228', 'Mg      1222', 'an element with two numbers must stand here'),
        ('SPRSC                  82', 'SPRSC                eighty', "'SPRSC eighty 128"),
        ('rmse_force      rmse_stress', 'rmse_force', 'the columns of ERR are rmse_energy, rmse_force, not'),
    ],
)
def test_refused(read, old, new, words):
    assert old in TEXT
    with pytest.raises(FormatError, match=r'ML_LOGFILE, line [0-9]+: ') as caught:
        read(TEXT.replace(old, new, 1))
    assert words in str(caught.value)
    line = int(re.search('line ([0-9]+)', str(caught.value))[1])
    assert words.split()[0].strip("'") in TEXT.splitlines()[line - 1] or 'columns' in words or 'element' in words


def test_every_table_has_columns_of_one_length(read):
    log = read(TEXT)
    tables = [getattr(log, item.name) for item in fields(log)]
    for table in tables:
        if isinstance(table, dict) and 'steps' in table:
            assert {len(column) for column in table.values()} == {len(table['steps'])}


def test_memory_is_that_of_the_arrays(tmp_path):
    path = tmp_path / 'ML_LOGFILE'
    block = LOOP[LOOP.index('STATUS                 63') : LOOP.index('STATUS                 82')]
    path.write_text(LOOP + block * 3000 + TIMING)
    tracemalloc.start()
    log = read_ml_logfile(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(log.beef['steps']) == 3003
    assert peak < 3003 * 13 * 8 * 4
