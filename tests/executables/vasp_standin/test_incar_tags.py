"""Every tag is followed, accepted without effect, or refused by name."""

from __future__ import annotations

import pytest

from aiida_mghdiff.executables.vasp_standin.incar_tags import read_settings
from aiida_mghdiff.programs.job import ProgramError


def test_defaults_are_those_of_vasp():
    settings = read_settings({})
    assert (settings.nsw, settings.ibrion, settings.isif, settings.smass) == (0, -1, 2, -3.0)
    assert settings.ediffg == pytest.approx(1e-3)
    assert settings.learning is None
    assert read_settings({'NSW': '10'}).ibrion == 0
    learning = read_settings({'ML_LMLFF': 'T'}).learning
    assert (learning.ctifor, learning.criteria, learning.history, learning.cdoub) == (0.002, 1, 10, 2.0)
    assert (learning.least_interval, learning.new_configurations, learning.mode) == (10, 5, 'train')


def test_end_temperature_is_the_first_one_unless_given():
    assert read_settings({'TEBEG': '300'}).teend == 300
    assert read_settings({'TEBEG': '300', 'TEEND': '1'}).teend == 1


def test_values_as_fortran_writes_them():
    settings = read_settings({'POTIM': '1d0', 'LANGEVIN_GAMMA': '2*10.0 5', 'ML_LMLFF': '.true.', 'ML_MODE': 'RUN'})
    assert settings.potim == 1.0
    assert settings.friction == (10.0, 10.0, 5.0)
    assert settings.learning.mode == 'run'


def test_tags_of_the_electrons_have_no_effect_and_are_listed():
    raw = dict.fromkeys(('GGA', 'PREC', 'ALGO', 'LREAL', 'LASPH', 'LWAVE'), 'x') | {'ENCUT': '600', 'NELM': '100'}
    raw |= {'ISMEAR': '0', 'SIGMA': '0.05', 'EDIFF': '1E-4', 'NCORE': '4', 'ML_LFAST': 'T'}
    assert read_settings(raw).without_effect == tuple(raw)
    settings = read_settings(raw | {'GGA': 'PE'}, labels='gpaw')
    assert 'ENCUT' not in settings.without_effect
    assert 'PREC' in settings.without_effect
    assert settings.electronic == {
        'encut_ev': 600.0,
        'xc': 'PBE',
        'occupations': {'name': 'methfessel-paxton', 'width': 0.05, 'order': 0},
        'energy_per_electron_ev': 1e-4,
        'max_iterations': 100,
        'symmetry_off': False,
    }


@pytest.mark.parametrize(
    ('tag', 'value'),
    [
        ('ISMEAR', '-5'),
        ('ISMEAR', '-2'),
        ('ISPIN', '2'),
        ('METAGGA', 'SCAN'),
        ('IVDW', '12'),
        ('LNONCOLLINEAR', '.TRUE.'),
        ('NELECT', '33'),
    ],
)
def test_what_changes_labels_is_refused_where_gpaw_makes_them(tag, value):
    """GPAW cannot follow the tag, so its labels would differ; a model's labels do not depend on the tag."""
    with pytest.raises(ProgramError, match=f'{tag} = {value}: GPAW has no equivalent') as caught:
        read_settings({tag: value}, labels='gpaw')
    assert caught.value.name == 'INPUT_REFUSED'
    assert read_settings({tag: value}).without_effect == (tag,)


def test_spin_of_closed_shells_and_fermi_smearing_are_what_gpaw_does():
    settings = read_settings({'ISPIN': '1', 'ISMEAR': '-1', 'IVDW': '0'}, labels='gpaw')
    assert settings.electronic['occupations']['name'] == 'fermi-dirac'


@pytest.mark.parametrize(
    ('raw', 'message'),
    [
        ({'ML_RCUT1': '5', 'LVDW': 'T'}, 'does not know ML_RCUT1, LVDW'),
        ({'NSW': 'ten'}, 'INCAR, NSW = ten: must be a whole number'),
        ({'POTIM': '1 2'}, 'POTIM = 1 2: must be a number, not 2'),
        ({'LCLIMB': 'perhaps'}, 'LCLIMB = perhaps: must be .TRUE. or .FALSE.'),
        ({'NSW': '-3'}, 'NSW = -3: must be at least 0'),
        ({'MDALGO': '5'}, 'MDALGO = 5: must be one of 0, 1, 2, 3'),
        ({'ISIF': '4'}, 'ISIF = 4: must be one of'),
        ({'ML_LMLFF': 'T', 'ML_ICRITERIA': '3'}, 'ML_ICRITERIA = 3'),
        ({'ML_LMLFF': 'T', 'ML_MODE': 'Train'}, 'ML_MODE = Train'),
        ({'ML_LMLFF': 'T', 'ML_MODE': 'refitbayesian'}, 'ML_MODE = refitbayesian'),
        ({'ML_LMLFF': 'T', 'ML_OUTBLOCK': '0'}, 'ML_OUTBLOCK = 0'),
        ({'RANDOM_SEED': '1 2'}, 'RANDOM_SEED = 1 2: must be three numbers'),
        ({'LANGEVIN_GAMMA': 'a b'}, 'LANGEVIN_GAMMA = a b: must be numbers'),
    ],
)
def test_refusals(raw, message):
    with pytest.raises(ProgramError) as caught:
        read_settings(raw)
    assert caught.value.name == 'INPUT_REFUSED'
    assert message in caught.value.message
