"""Published values: the package's values against the paper's text, and a user's file."""

from __future__ import annotations

import re

import pytest

from aiida_mghdiff.report.references import ReferencesError, load_references
from aiida_mghdiff.report.study import Study

FILE = """
sources:
  me: A. Nobody, J. None 1, 2 (2003)
values:
  - {quantity: diffusion_coefficient_m2_s, value: 1.5e-9, label: experiment, source: me, temperatures_k: [480, 480]}
"""


def test_every_value_has_a_source_that_can_be_looked_up():
    references = load_references()
    assert len(references) >= 8
    for reference in references:
        assert re.search(r'doi:10\.\d{4}|arXiv:\d{4}\.\d{5}', reference.source)


#: Quantity, label and value of each number in the paper, and the paper's words for it.
PAPER = [
    ('activation_energy_ev', 'experiment', 0.25, 'experiment value corresponds to 0.25 eV'),
    ('activation_energy_ev', 'MACE_FT', 0.28, '0.28 eV for MACE'),
    ('activation_energy_ev', 'CHGNet_FT', 0.19, '0.19 eV for CHGNet'),
    ('activation_energy_ev', 'VASP-MLFF', 0.40, '0.4 eV for VASP-MLFF'),
    ('energy_rmse_mev_per_atom', 'VASP-MLFF', 0.3, 'below 0.3 meV/atom'),
    ('force_rmse_mev_per_angstrom', 'VASP-MLFF', 10.0, 'below 10 meV/Å'),
]


def test_values_of_the_paper():
    found = {(each.quantity, each.label): each for each in load_references()}
    for quantity, label, value, _ in PAPER:
        assert found[quantity, label].value == value
        assert found[quantity, label].relation == ('<' if 'rmse' in quantity else '=')


def test_words_of_the_paper(shared_data):
    texts = list((shared_data.parent / 'reference').glob('*.txt'))
    if not texts:
        pytest.skip('the text of the paper is missing')
    text = re.sub(r'\s+', ' ', texts[0].read_text())
    for *_, words in PAPER:
        assert words in text


def test_file_of_a_user_is_added(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text(FILE)
    *own, mine = load_references(path)
    assert own == load_references()
    assert (mine.value, mine.temperatures_k, mine.source) == (1.5e-9, (480, 480), 'A. Nobody, J. None 1, 2 (2003)')


def test_values_of_another_system_are_left_out(study, tmp_path, monkeypatch):
    """A value for H in Mg is not shown beside H in Ti; a user's value without a system is always shown."""
    path = tmp_path / 'mine.yaml'
    path.write_text(FILE)
    here = Study(study.node, [path])
    assert here.systems == ['H in Mg']
    assert len(here.references) == len(load_references()) + 1
    other = Study(study.node, [path])
    monkeypatch.setattr(other, 'systems', ['H in Ti'])
    assert [value.label for value in other.references] == ['experiment']
    assert other.published('activation_energy_ev') == []


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('source: me', 'source: you', "value 1: 'you' is not among the sources"),
        ('value: 1.5e-9, ', '', 'value 1 lacks value'),
        ('1.5e-9', '"1.5"', "value 1: '1.5' is not a number"),
        ('label:', 'lable: x, label:', 'lable: no such key; did you mean label?'),
        ('[480, 480]', '[480]', 'lowest and the highest'),
        ('source: me', 'source: me, relation: ">"', "relation '>' is not one of"),
        ('sources:', 'source:', 'must have `sources`'),
        ('  - {', '  - [{', 'is not a YAML file'),
    ],
)
def test_files_that_are_refused(tmp_path, old, new, message):
    path = tmp_path / 'mine.yaml'
    path.write_text(FILE.replace(old, new, 1))
    with pytest.raises(ReferencesError, match=re.escape(message)) as caught:
        load_references(path)
    assert 'mine.yaml' in str(caught.value)


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(ReferencesError, match='cannot be read'):
        load_references(tmp_path / 'none.yaml')
