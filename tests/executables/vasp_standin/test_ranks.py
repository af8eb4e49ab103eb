"""Several ranks of the stand-in, numbered as by each launcher of MPI; tests/cluster runs the launchers themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from standin_runs import LANGEVIN, PROGRAM, hydride, write_folder

from aiida_mghdiff.executables.vasp_standin import ranks
from aiida_mghdiff.formats.job_files import EXIT_STATUS


def start(folder, **environment):
    return subprocess.Popen([PROGRAM], cwd=folder, stdout=subprocess.PIPE, text=True, env=os.environ | environment)


@pytest.mark.parametrize('variable', ranks.NUMBERS)
def test_rank_number(variable):
    assert ranks.rank_number({'SLURM_PROCID': '0', variable: '3'}) == 3
    assert ranks.rank_number({variable: 'none'}) == 0


def test_the_first_rank_works_and_the_other_waits_for_it(tmp_path):
    """The other ignores SIGTERM, and ends with 0 after the first was killed."""
    folder = write_folder(tmp_path / 'job', LANGEVIN | {'NSW': 100_000}, hydride())
    other = start(folder, PMI_RANK='1')
    first = start(folder, PMI_RANK='0')
    while not (folder / 'OSZICAR').exists() or other.poll() is not None:
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.1)
    other.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert other.poll() is None
    first.kill()
    assert other.communicate(timeout=20)[0] == ''
    assert other.returncode == 0


def test_the_first_rank_says_what_is_wrong(tmp_path):
    folder = write_folder(tmp_path / 'job', {'TYPO': 1}, hydride())
    first, other = start(folder, PMI_RANK='0'), start(folder, PMI_RANK='1')
    assert first.wait(60) == EXIT_STATUS['INPUT_REFUSED']
    assert 'does not know TYPO' in first.stdout.read()
    assert (other.wait(60), other.stdout.read()) == (0, '')
