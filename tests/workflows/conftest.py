"""Builders that several test files use."""

from __future__ import annotations

import pytest

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.workflows.study import StudyWorkChain


@pytest.fixture
def study_builder(codes, tiny_potential, host, example_data):
    """A smoke study with a given MACE."""
    frames = read_extxyz(example_data / 'mgh_pbe.extxyz').frames[:12]
    return StudyWorkChain.get_builder_from_protocol(
        codes, DatasetData.from_frames(frames), host, host, potentials={'mace_mp': tiny_potential}, protocol='smoke'
    )


@pytest.fixture
def study_from_nothing(codes, tiny_potential, host, hydride):
    """A smoke study that starts from a structure."""
    return StudyWorkChain.get_builder_from_protocol(
        codes | {'reduce': codes['python']},
        hydride,
        host,
        host,
        potentials={'mace_mp': tiny_potential},
        potcars=placeholder_potcars(['Mg', 'H']),
        protocol='smoke',
    )
