"""Every job refuses misspelt INCAR tags; unknown tags pass, because VASP may know them."""

from __future__ import annotations

import pytest

from aiida_mghdiff.calculations.vasp.force_field import RUN_TAGS
from aiida_mghdiff.calculations.vasp.job import own_tags_message
from aiida_mghdiff.calculations.vasp.known_tags import _MORE, known_tags, misspelt_message
from aiida_mghdiff.calculations.vasp.mlff import LEARNING_TAGS, MOVING_TAGS
from aiida_mghdiff.calculations.vasp.neb import BAND_TAGS


def test_the_tags_of_the_jobs_are_known():
    assert {*RUN_TAGS, *LEARNING_TAGS, *MOVING_TAGS, *BAND_TAGS, 'encut', 'ncore', 'kpar', 'ivdw'} <= known_tags()
    assert len(known_tags()) > 600


@pytest.mark.parametrize(
    ('tag', 'meant'),
    [
        ('encutt', 'encut'),
        ('emcut', 'encut'),
        ('ncor', 'ncore'),
        ('isemar', 'ismear'),
        ('ml_mcon', 'ml_mconf'),
        ('lclimbb', 'lclimb'),
    ],
)
def test_a_tag_with_one_wrong_letter(tag, meant):
    assert own_tags_message({'ediff': 1e-6, tag: 1}, where='parameters: incar') == (
        f'parameters: incar: VASP knows no tag {tag}, and would ignore it: did you mean {meant}?'
    )


@pytest.mark.parametrize('tag', ['lsol', 'lambda_d_k', 'ml_new_tag', 'elph_run', 'kernel_truncation'])
def test_a_tag_that_is_like_none(tag):
    """A patched or a new VASP has tags that are in no list."""
    assert own_tags_message({tag: 1}) is None


def test_known_tags_are_refused_for_none():
    assert misspelt_message(known_tags(), 'parameters') is None
    assert set(_MORE.split()) <= known_tags()
