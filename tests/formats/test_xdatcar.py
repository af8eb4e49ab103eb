"""XDATCAR is read frame by frame; whole frames are kept, and a damaged end is reported."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.xdatcar import XdatcarReader, xdatcar_frame, xdatcar_header

CELL = np.array([[3.2, 0, 0], [-1.6, 2.771281, 0], [0, 0, 5.2]])
GENERATOR = np.random.default_rng(7)
FRAMES = np.round(GENERATOR.uniform(-1.5, 1.5, size=(3, 3, 3)), 8)
HEAD = xdatcar_header('Mg2H', CELL, ['Mg', 'H'], [2, 1])
FIXED = HEAD + ''.join(xdatcar_frame(10 * index, frame) for index, frame in enumerate(FRAMES, start=1))
MOVING = ''.join(
    xdatcar_header('Mg2H', CELL * (1 + index / 10), ['Mg', 'H'], [2, 1]) + xdatcar_frame(index, frame)
    for index, frame in enumerate(FRAMES, start=1)
)


@pytest.fixture
def reader(tmp_path):
    """Return a function that makes a reader of a text or of bytes."""

    def make(text):
        (tmp_path / 'XDATCAR').write_bytes(text if isinstance(text, bytes) else text.encode())
        return XdatcarReader(tmp_path / 'XDATCAR')

    return make


def test_fixed_cell(reader):
    trajectory = reader(FIXED)
    assert (trajectory.symbols, trajectory.counts) == (['Mg', 'H'], [2, 1])
    for _ in range(2):
        frames = list(trajectory)
        assert [frame.configuration for frame in frames] == [10, 20, 30]
        np.testing.assert_array_equal([frame.fractional for frame in frames], FRAMES)
        np.testing.assert_array_equal(frames[2].cell, CELL)
        assert trajectory.truncated is None


def test_moving_cell(reader):
    frames = list(reader(MOVING))
    np.testing.assert_allclose(
        [frame.cell for frame in frames], CELL * np.array([1.1, 1.2, 1.3])[:, None, None], 0, 1e-6
    )
    np.testing.assert_array_equal([frame.fractional for frame in frames], FRAMES)


def test_scale_and_blank_comments(reader):
    trajectory = reader(FIXED.replace('           1\n', '  2.0\n').replace('Mg2H', '') + '\n\n')
    frames = list(trajectory)
    np.testing.assert_array_equal(frames[0].cell, 2 * CELL)
    assert (len(frames), trajectory.truncated) == (3, None)
    assert len(list(reader(MOVING.replace('Mg2H', '')))) == 3


def test_columns_that_touch(reader):
    wide = FRAMES[0] + [[0, -20, 0], [150, 150, 150], [-20, -20, -20]]
    text = HEAD + xdatcar_frame(1, wide)
    assert len(text.splitlines()[-1].split()) == 1
    np.testing.assert_array_equal(next(iter(reader(text))).fractional, np.round(wide, 8))


def test_numbers_too_long_for_their_column(reader):
    frames = [xdatcar_frame(number, FRAMES[0]) for number in (999980, 999990)]
    stars = xdatcar_frame(1, FRAMES[0]).replace('     1\n', '******\n')
    assert [frame.configuration for frame in reader(HEAD + ''.join(frames) + 2 * stars)] == [
        999980,
        999990,
        1000000,
        1000010,
    ]


@pytest.mark.parametrize('text', [FIXED, MOVING], ids=['fixed', 'moving'])
def test_truncated_anywhere(reader, text):
    whole = list(reader(text))
    heads = [match.start() for match in re.finditer('Mg2H', text)]
    ends = [end for end in (*heads, *(match.start() for match in re.finditer('Direct', text)), len(text)) if end]
    ends = sorted(set(ends) - {start + len(HEAD) for start in heads})
    assert len(ends) == len(FRAMES)
    for cut in range(len(HEAD), len(text)):
        trajectory = reader(text[:cut])
        frames = list(trajectory)
        assert len(frames) == sum(end <= cut for end in ends)
        for frame, expected in zip(frames, whole, strict=False):
            assert frame.configuration == expected.configuration
            np.testing.assert_array_equal(frame.fractional, expected.fractional)
            np.testing.assert_array_equal(frame.cell, expected.cell)
        assert (trajectory.truncated is None) == (cut in ends)


def test_truncated_within_the_first_head(reader):
    for cut in range(len(HEAD)):
        with pytest.raises(FormatError, match=r'XDATCAR, line [1-8]: '):
            reader(FIXED[:cut])


def test_the_line_at_which_it_ends(reader):
    trajectory = reader(FIXED[:-60])
    assert len(list(trajectory)) == 2
    assert trajectory.truncated.endswith('XDATCAR, line 18: the file ends within a frame')


@pytest.mark.parametrize(
    ('text', 'line', 'words'),
    [
        (FIXED.replace('Mg    H', 'Mg   Qq'), 6, "'Qq' is not an element"),
        (FIXED.replace(f'{FRAMES[1, 1, 2]:12.8f}', '********'), 14, 'three coordinates should stand here'),
        (FIXED.replace(f'{FRAMES[1, 1, 2]:12.8f}', '  NaN'), 14, 'three coordinates should stand here'),
        (FIXED.replace(f'{FRAMES[1, 1, 2]:12.8f}', ''), 14, 'three coordinates should stand here'),
        (FIXED.replace(f'{FRAMES[1, 1, 2]:12.8f}', ' 0.5 0.5'), 14, 'three coordinates should stand here'),
        (FIXED.replace('=    20', '= twenty') * 2, 12, "configuration= <number>' should stand here"),
        (HEAD + xdatcar_frame(1, FRAMES[0]) + MOVING.replace('     2     1', '     1     2'), 17, 'in the first frame'),
        ('', 1, 'no frame in it'),
    ],
)
def test_refused(reader, text, line, words):
    with pytest.raises(FormatError, match=f'XDATCAR, line {line}: ') as caught:
        list(reader(text))
    assert words in str(caught.value)


def test_memory_does_not_grow_with_the_file(tmp_path):
    fractional = GENERATOR.uniform(size=(136, 3))
    path = tmp_path / 'XDATCAR'
    path.write_text(xdatcar_header('', 4 * CELL, ['Mg', 'H'], [128, 8]) + xdatcar_frame(1, fractional) * 400)
    assert path.stat().st_size > 2e6
    reader = XdatcarReader(path)
    tracemalloc.start()
    total = sum(frame.fractional[0, 0] for frame in reader)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == pytest.approx(400 * fractional[0, 0], rel=1e-6)
    assert peak < 4e5


def test_real_file(shared_data):
    reader = XdatcarReader(shared_data / 'vasp' / 'pymatgen_XDATCAR.MD')
    frames = list(reader)
    assert (reader.symbols, reader.counts, reader.truncated) == (['O', 'Fe'], [48, 32], None)
    assert [frame.configuration for frame in frames] == [1, 2, 3, 4, 5]
    assert frames[0].fractional[0].tolist() == [0.85729725, 0.44607741, 0.39190768]
    assert frames[-1].fractional[-1].tolist() == [0.98867847, 0.95387658, 0.45786413]
    assert np.diag(frames[-1].cell).tolist() == [9.39] * 3
