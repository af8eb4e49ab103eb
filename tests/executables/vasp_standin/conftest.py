"""A force field that the stand-in learned, for all tests that need one."""

from __future__ import annotations

import pytest
from standin_runs import LANGEVIN, TRAIN, hydride, standin_here, write_folder


@pytest.fixture(scope='session')
def learned(tmp_path_factory):
    """Folder of 100 steps on the fly: Mg16H at 600 K."""
    folder = write_folder(tmp_path_factory.mktemp('learned'), LANGEVIN | TRAIN | {'NSW': 100}, hydride())
    assert standin_here(folder) == 0
    return folder
