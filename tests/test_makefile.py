"""What `make venv` does again, asked with `make -n`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
CPU = 'https://download.pytorch.org/whl/cpu'
#: What a `make` that runs the tests would tell this one.
OF_MAKE = ('MAKEFLAGS', 'MFLAGS', 'TORCH_INDEX', 'VENV')


@pytest.fixture
def steps(tmp_path):
    """Return a function that says what `make venv` would do where torch came from an index before."""
    for name in ('Makefile', 'constraints.txt', 'pyproject.toml'):
        shutil.copy(REPOSITORY / name, tmp_path)
    stamps = tmp_path / '.venv'
    stamps.mkdir()

    def plan(before, *variables):
        (stamps / '.created').touch()
        if before is not None:
            (stamps / '.torch').write_text(before)
            (stamps / '.installed').touch()
        environment = {key: value for key, value in os.environ.items() if key not in OF_MAKE}
        command = ['make', '-n', 'venv', *variables]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    return plan


def test_the_first_time_torch_comes_from_the_index(steps):
    assert f'--index-url {CPU} torch==' in steps(None, f'TORCH_INDEX={CPU}')


@pytest.mark.parametrize('before', ['', '\n', f'{CPU}\n'])
def test_nothing_is_done_again_without_another_index(steps, before):
    """What was given once holds: a plain `make` after it fetches no gigabytes of CUDA."""
    assert 'Nothing to be done' in steps(before)
    assert 'Nothing to be done' in steps(before, f'TORCH_INDEX={before.strip()}')


@pytest.mark.parametrize(('before', 'now'), [('', CPU), ('\n', CPU), (f'{CPU}\n', '')])
def test_another_index_brings_another_torch(steps, before, now):
    done = steps(before, f'TORCH_INDEX={now}')
    assert done.index('uninstall --yes torch') < done.index(' torch==')
    assert (f'--index-url {CPU}' in done) is bool(now)
    assert f"echo '{now}' > .venv/.torch" in done
