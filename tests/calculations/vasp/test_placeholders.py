"""Placeholder POTCARs: aiida-vasp accepts them, and nothing mistakes them for VASP's."""

from __future__ import annotations

import pytest
from aiida_vasp.data.potcar import PotcarData, PotcarGroup

from aiida_mghdiff.calculations.vasp.placeholders import FAMILY, placeholder_potcars, placeholder_text


def test_family(aiida_profile_clean):
    first, again = placeholder_potcars(['Mg', 'H']), placeholder_potcars(['H', 'Mg', 'Al'])
    assert {element: node.symbol for element, node in first.items()} == {'Mg': 'Mg_standin', 'H': 'H_standin'}
    assert first['Mg'].uuid == again['Mg'].uuid
    assert PotcarGroup.collection.get(label=FAMILY).count() == 3
    assert first['H'].get_content().decode() == placeholder_text('H')
    assert PotcarData.get_potcars_dict(['Mg'], FAMILY, mapping={'Mg': 'Mg_standin'})['Mg'].uuid == first['Mg'].uuid


def test_header_is_readable(aiida_profile_clean):
    node = placeholder_potcars(['Mg'])['Mg']
    assert (node.element, node.title) == ('Mg', 'STANDIN Mg_standin placeholder')
    assert node.full_name == 'Mg_standin'


def test_same_content_in_every_profile():
    assert placeholder_text('Mg') == placeholder_text('Mg')
    assert 'no pseudopotential' in placeholder_text('Mg')


def test_unknown_element(aiida_profile_clean):
    with pytest.raises(KeyError, match='Xx'):
        placeholder_potcars(['Xx'])
