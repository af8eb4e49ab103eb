"""Scripts that the launcher accepts, and how it reads them."""

from __future__ import annotations

import pytest
from md_parameters import md_parameters

from aiida_mghdiff.calculations.lammps.script import md_script
from aiida_mghdiff.executables.lmp.script import plan_script, read_options, shorten_timeouts
from aiida_mghdiff.programs.job import ProgramError

POTENTIAL = 'pair_style mace no_domain_decomposition\npair_coeff * * some.model-lammps.pt Mg H\n'


@pytest.mark.parametrize(
    'text',
    [
        POTENTIAL,
        'pair_style mace/kk no_domain_decomposition # comment\npair_coeff * * some.model Mg H',
        'pair_style mace\npair_coeff * * &\n  some.model Mg H\n',
        'pair_style mliap unified some.model-mliap_lammps.pt 0\npair_coeff * * Mg H\n',
    ],
)
def test_potential(text):
    plan = plan_script(f'units metal\n{text}\nrun 5\n')
    assert (plan.model, plan.symbols) == ('some.model', ('Mg', 'H'))
    assert plan.before == 'units metal\n'
    assert plan.after.split() == ['run', '5']


def test_commands_keep_their_order_and_side():
    plan = plan_script(f'read_data x # y\n{POTENTIAL}\nfix 1 all nve\nrun 5\nwrite_data z\nwrite_data w nocoeff')
    assert plan.before == 'read_data x # y\n'
    assert plan.after.splitlines() == ['', 'fix 1 all nve', 'run 5', 'write_data z nocoeff', 'write_data w nocoeff']


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('units metal\nrun 5\n', 'no "pair_style mace"'),
        ('pair_style mace\nrun 5\n', 'no "pair_style mace"'),
        ('pair_style hybrid/overlay mace zbl 1 2\n', 'neither hybrid nor other'),
        ('pair_style lj/cut 5.0\n', 'neither hybrid nor other'),
        (POTENTIAL + POTENTIAL, 'second potential'),
        ('pair_coeff * * some.model Mg\n', 'one "pair_coeff'),
        ('pair_style mace\npair_coeff 1 1 some.model Mg\n', 'one "pair_coeff'),
        ('pair_style mace\npair_coeff * * ${model} Mg\n', 'without variables'),
        (POTENTIAL + '# mghdiff evaluator=magic', 'evaluator is one of auto, symmetrix, torch'),
        (POTENTIAL + '# mghdiff colour=red', 'known are evaluator, dtype, head, device'),
    ],
)
def test_refused(text, reason):
    with pytest.raises(ProgramError, match=reason.replace('*', r'\*')) as error:
        plan_script(text)
    assert error.value.name == 'INPUT_REFUSED'


def test_potential_set_in_passing_is_refused():
    with pytest.raises(ProgramError, match='in passing'):
        plan_script('if "1 > 0" then "pair_style lj/cut 5" \n' + POTENTIAL)


def test_include_that_hides_the_potential_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'potential.in').write_text(POTENTIAL)
    (tmp_path / 'other.in').write_text('units metal\n')
    with pytest.raises(ProgramError, match='hides the potential'):
        plan_script(f'include potential.in\n{POTENTIAL}')
    assert plan_script(f'include other.in\n{POTENTIAL}').before == 'include other.in\n'


def test_options():
    assert read_options('# mghdiff evaluator=torch dtype=float32\n# mghdiff head=pbe\n# mghdiff is a program') == {
        'evaluator': 'torch',
        'dtype': 'float32',
        'device': 'cpu',
        'head': 'pbe',
    }


def test_name_of_a_head_may_have_blanks():
    text = md_script(md_parameters(), ['Mg', 'H'], draws_velocities=True, reads_restart=False, head='my own head')
    assert read_options(text)['head'] == 'my own head'


def test_timeout_is_shortened_by_what_loading_took():
    assert shorten_timeouts('timer timeout 1:00:10 every 5\nrun 1\n', 9.5) == 'timer timeout 3600 every 5\nrun 1\n'
    assert shorten_timeouts('timer loop timeout 5', 60) == 'timer loop timeout 1'
    assert shorten_timeouts('timer off\nfix timeout all nve', 60) == 'timer off\nfix timeout all nve'
