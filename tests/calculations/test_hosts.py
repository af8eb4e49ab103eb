"""The host and the tracer of a dataset, and the lattice of the host."""

from __future__ import annotations

import re

import host_datasets
import numpy as np
import pytest
from ase.build import bulk
from ase.spacegroup import crystal
from host_datasets import MAGNESIUM, PALLADIUM, TITANIUM, VANADIUM, ZIRCONIUM, make_dataset, make_frame

from aiida_mghdiff.calculations.hosts import Subject, SubjectError, hcp_lattice_of, subject_of
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.science.lattice.geometry import LatticeError

pytestmark = pytest.mark.usefixtures('aiida_profile')


@pytest.mark.parametrize(
    ('symbol', 'lattice', 'tracers'),
    [
        ('Mg', MAGNESIUM, ['', 'H', 'HH']),
        ('Ti', TITANIUM, ['H']),
        ('Zr', ZIRCONIUM, ['OOO', 'O']),
        ('Pd', PALLADIUM, ['H', 'HHHH']),
        ('V', VANADIUM, ['H', '']),
    ],
)
def test_one_candidate_is_taken(symbol, lattice, tracers):
    dataset = make_dataset(symbol, lattice, tracers)
    assert subject_of(dataset) == Subject(symbol, tracers[0][-1] if tracers[0] else tracers[1][0])


def test_example_data_are_about_hydrogen_in_magnesium(example_data):
    """Their mean cell agrees within its error with the README: 0.8 % scatter, about twenty runs."""
    dataset = DatasetData.from_frames(read_extxyz(example_data / 'mgh_pbe.extxyz').frames)
    subject = subject_of(dataset)
    assert subject == Subject('Mg', 'H')
    np.testing.assert_allclose(hcp_lattice_of(dataset, subject), (3.20, 5.19), rtol=2 * 0.008 / np.sqrt(20))


QUESTIONS = [
    (
        make_dataset,
        {'tracers': ['H', 'O', 'HO']},
        {},
        r'may be about H in Mg or O in Mg: choose with --tracer\.',
    ),
    (make_dataset, {'tracers': ['']}, {}, r'the dataset has only Mg atoms, .* unknown: name it with --tracer\.'),
    (make_dataset, {'tracers': ['H']}, {'host': 'Ti'}, r'the dataset has no Ti: its elements are H, Mg\.'),
    (make_dataset, {'tracers': ['']}, {'tracer': 'Mg'}, r'the tracer Mg is an element of the host \(Mg\): self-diff'),
    (
        make_dataset,
        {'tracers': ['H']},
        {'host': 'H'},
        r'looks like H in Mg, not like a tracer in H: if it is, name both with --host and --tracer\.',
    ),
]


@pytest.mark.parametrize(('make', 'options', 'given', 'message'), QUESTIONS)
def test_several_candidates_or_none_are_a_question(make, options, given, message):
    with pytest.raises(SubjectError, match=message):
        subject_of(make(**options), **given, choices=('--host', '--tracer'))


def test_two_hosts_are_a_question():
    frames = [make_frame('Mg', MAGNESIUM, 'H'), make_frame('Pd', PALLADIUM, 'H')]
    dataset = DatasetData.from_frames([host_datasets.label(frame) for frame in frames], labelled_by='none')
    with pytest.raises(SubjectError, match='may be about H in Mg or H in Pd: choose with the element of host'):
        subject_of(dataset)
    assert subject_of(dataset, host='Pd') == Subject('Pd', 'H')
    subject = subject_of(dataset, host='Mg')
    assert hcp_lattice_of(dataset, subject) == pytest.approx((3.20, 5.19))


def test_a_hydride_is_a_question_and_its_answer_is_taken():
    hydride = bulk('PdH', 'rocksalt', a=4.1, cubic=True)
    dataset = DatasetData.from_frames([host_datasets.label(hydride)], labelled_by='none')
    with pytest.raises(SubjectError, match=re.escape('(H, Pd) is found to be interstitial in another: name host')):
        subject_of(dataset)
    assert subject_of(dataset, host='Pd', tracer='H') == subject_of(dataset, tracer='H') == Subject('Pd', 'H')


def test_hydrogen_is_no_host_of_the_metal_of_a_hydride():
    """In MgH2 each Mg lies between several H, like an interstitial, so the choice is refused."""
    rutile = crystal(
        ['Mg', 'H'], [(0, 0, 0), (0.304, 0.304, 0)], spacegroup=136, cellpar=[4.517, 4.517, 3.021, 90, 90, 90]
    )
    dataset = DatasetData.from_frames([host_datasets.label(rutile)], labelled_by='none')
    with pytest.raises(SubjectError, match=re.escape('(H, Mg) is found to be interstitial in another: name host')):
        subject_of(dataset)
    assert subject_of(dataset, tracer='H') == Subject('Mg', 'H')


def test_a_tracer_of_a_pure_host_is_taken_from_the_user():
    assert subject_of(make_dataset(tracers=['']), tracer='H') == Subject('Mg', 'H')


@pytest.mark.parametrize('shake', [0.0, 0.15])
def test_lattice_of_an_hcp_host(shake):
    dataset = make_dataset('Ti', TITANIUM, ['', 'H', 'HH', 'H'] * 3, shake=shake)
    assert hcp_lattice_of(dataset, Subject('Ti', 'H')) == pytest.approx((2.94, 4.65), abs=1e-3)


@pytest.mark.parametrize(
    ('symbol', 'lattice', 'message'),
    [
        (
            'Pd',
            PALLADIUM,
            'Pd, the host of the dataset, is fcc, which is not supported yet: interstitial sites',
        ),
        ('V', VANADIUM, 'V, the host of the dataset, is bcc, which is not supported yet'),
        ('Po', {'crystalstructure': 'sc', 'a': 3.3}, 'Po, the host of the dataset, has an unknown lattice'),
    ],
)
def test_other_lattices_are_refused(symbol, lattice, message):
    with pytest.raises(LatticeError, match=message):
        hcp_lattice_of(make_dataset(symbol, lattice, [''], repeat=3), Subject(symbol, 'H'))


def test_an_alloy_is_refused():
    frame = make_frame('Mg', MAGNESIUM, 'H')
    frame.symbols[0] = 'Li'
    dataset = DatasetData.from_frames([host_datasets.label(frame)], labelled_by='none')
    subject = subject_of(dataset)
    assert subject == Subject('Mg', 'H')
    with pytest.raises(
        LatticeError, match='no configuration of the dataset consists of Mg and interstitial atoms only'
    ):
        hcp_lattice_of(dataset, subject)
