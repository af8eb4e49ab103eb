"""ICONST: constraints of a cell are written, read, and compared with the cell."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.iconst import Coordinate, check_iconst, iconst_text, read_iconst

CELL = bulk('Mg', 'hcp', a=3.2, c=5.2).repeat((4, 4, 4)).cell.array


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        (tmp_path / 'ICONST').write_text(text)
        return read_iconst(tmp_path / 'ICONST')

    return read_text


def test_fixed_shape(read):
    text = iconst_text(CELL, 'fixed')
    assert text.splitlines()[:3] == ['LA 1 2 0', 'LA 1 3 0', 'LA 2 3 0']
    coordinates = read(text)
    assert [coordinate.kind for coordinate in coordinates] == ['LA'] * 3 + ['LR'] * 3 + ['S'] * 5
    assert coordinates[-2] == Coordinate('S', (0, 0, 0, 1, -1, 0), 0)
    assert coordinates[-1].items[3] == pytest.approx(1.625, abs=1e-12)
    check_iconst(coordinates, CELL, 128)


def test_other_shapes(read):
    assert read(iconst_text(CELL, 'free-c/a')) == read(iconst_text(CELL, 'fixed'))[:-1]
    assert read(iconst_text(CELL, 'free-lengths')) == read(iconst_text(CELL, 'fixed'))[:3]
    with pytest.raises(ValueError, match='shape must be one of fixed, free-c/a, free-lengths'):
        iconst_text(CELL, 'free')


def test_fixed_shape_of_any_cell(read):
    cell = np.diag([3.0, 5.5, 9.1]) + np.random.default_rng(3).normal(scale=0.5, size=(3, 3))
    check_iconst(read(iconst_text(cell, 'fixed')), cell, 1)
    check_iconst(read(iconst_text(cell, 'free-c/a')), cell * np.array([[1], [1], [1.3]]), 1)
    with pytest.raises(ValueError, match='give the ratio of the cell'):
        check_iconst(read(iconst_text(cell, 'fixed')), cell * np.array([[1], [1], [1.3]]), 1)


def test_ratio_that_contradicts_the_cell(read):
    coordinates = read(iconst_text(CELL, 'fixed'))
    stretched = CELL.copy()
    stretched[2] *= 1 + 3e-6
    with pytest.raises(ValueError, match=r'coordinate 11 \(S\): \+1.625\*\|a1\| -1\*\|a3\| is -6.24e-05 Å'):
        check_iconst(coordinates, stretched, 128)
    stretched[2] = CELL[2] * (1 + 3e-7)
    check_iconst(coordinates, stretched, 128)


def test_what_is_no_ratio_is_not_compared():
    lengths = [Coordinate('LR', (axis,), 0) for axis in (1, 2)]
    for items, status in (((1, 1), 0), ((1, 0), 0), ((1, -7), 7), ((0, 0), 0)):
        check_iconst([*lengths, Coordinate('S', items, status)], CELL, 1)
    bonds = [Coordinate('R', (1, 6), 0), Coordinate('R', (1, 5), 0)]
    check_iconst([*bonds, Coordinate('S', (1, -1), 0)], CELL, 6)


@pytest.mark.parametrize(
    ('coordinate', 'words'),
    [
        (Coordinate('R', (1, 129), 0), 'atom 129 does not exist, there are 128'),
        (Coordinate('R', (0, 1), 0), 'atom 0 does not exist'),
        (Coordinate('LR', (4,), 0), 'lattice vector 4 does not exist, there are 3'),
        (Coordinate('LA', (2, 2), 0), 'the same lattice vector twice'),
        (Coordinate('W', (1, 200, 1.5, 9, 14), 7), 'atom 200 does not exist'),
    ],
)
def test_what_does_not_exist(coordinate, words):
    with pytest.raises(ValueError, match=words):
        check_iconst([coordinate], CELL, 128)


def test_comments_and_blank_lines(read):
    assert read('# two bonds\n\nR 1 6 0 ! first\nr 1 5 7\nS 1 -1 0\n') == [
        Coordinate('R', (1, 6), 0),
        Coordinate('R', (1, 5), 7),
        Coordinate('S', (1, -1), 0),
    ]


@pytest.mark.parametrize(
    ('text', 'line', 'words'),
    [
        ('Q 1 2 0\n', 1, "'Q' is no kind of coordinate"),
        ('LR 1 0\nLR\n', 2, 'must follow LR'),
        ('LR one 0\n', 1, 'all numbers'),
        ('R 1 0\n', 1, 'R has 2 item(s) and a status, not 1'),
        ('LR 1.5 0\n', 1, 'must be whole numbers'),
        ('LR 1 0\n\nLR 2 0\nS 1 0\n', 4, '1 coefficients for 2 primitive coordinates'),
        ('LR 1 0\nS 1 0\nLR 2 0\n', 3, 'primitives come first'),
    ],
)
def test_refused(read, text, line, words):
    with pytest.raises(FormatError, match=f'ICONST, line {line}: ') as caught:
        read(text)
    assert words in str(caught.value)


def test_empty(read):
    with pytest.raises(FormatError, match='no coordinate'):
        read('\n# nothing\n')
