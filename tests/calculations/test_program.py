"""The zipapp that carries the programs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aiida_mghdiff.calculations.program import zipapp_bytes
from aiida_mghdiff.programs.__main__ import PROGRAMS
from aiida_mghdiff.programs.job import STATUS


@pytest.mark.parametrize('program', PROGRAMS)
def test_an_interpreter_without_any_package_is_told(tmp_path, program):
    """Isolated from the packages of this environment, it has nothing but the standard library."""
    (tmp_path / 'mghdiff.pyz').write_bytes(zipapp_bytes())
    command = [sys.executable, '-I', '-S', 'mghdiff.pyz', program]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == STATUS['ENGINE_MISSING'], process.stderr
    assert process.stdout.startswith(f"ERROR: [ENGINE_MISSING] {sys.executable} has no package 'numpy': install")
