"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ['aiida.tools.pytest_fixtures']

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """Folder of real files that are not part of the repository; a test that reads them skips where it is missing."""
    folder = Path(os.environ.get('MGHDIFF_SHARED_DATA', REPOSITORY.parent / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'no real data in {folder}: set MGHDIFF_SHARED_DATA to a folder that has them')
    return folder


@pytest.fixture(scope='session')
def example_data() -> Path:
    """Folder of the data that come with the repository."""
    return REPOSITORY / 'examples' / 'data'


@pytest.fixture(scope='session')
def tiny_mace(tmp_path_factory) -> Path:
    """A tiny MACE model file for Mg and H, in float64."""
    from models import make_tiny_mace

    return make_tiny_mace(tmp_path_factory.mktemp('models') / 'tiny.model')
