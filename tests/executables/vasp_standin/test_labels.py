"""Labels of GPAW, if it is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from standin_runs import standin_here, write_folder

from aiida_mghdiff.executables.vasp_standin.labels import GPAW_PYTHON, GpawLabeller
from aiida_mghdiff.formats.job_files import EXIT_STATUS
from aiida_mghdiff.formats.outcar import OutcarReader
from aiida_mghdiff.programs.job import ProgramError

TAGS = {'ENCUT': 250, 'GGA': 'PE', 'ISMEAR': 0, 'SIGMA': 0.2, 'EDIFF': 1e-4, 'PREC': 'Accurate', 'NSW': 0}


def has_gpaw():
    probe = [GPAW_PYTHON, '-c', 'import gpaw']
    return Path(GPAW_PYTHON).exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not has_gpaw(), reason='GPAW is not installed')
def test_labels_of_gpaw(tmp_path):
    """They follow INCAR and KPOINTS; forces vanish by symmetry, and energies agree with PBE."""
    atoms = bulk('Mg', 'hcp', a=3.19, c=5.17)
    folder = write_folder(tmp_path, TAGS, atoms)
    (folder / 'KPOINTS').write_text('mesh\n0\nGamma\n4 4 3\n0 0 0\n')
    assert standin_here(folder, 'gpaw') == 0
    reader = OutcarReader(folder / 'OUTCAR')
    (step,) = reader
    assert reader.standin == 'gpaw'
    idle = (folder / 'OUTCAR').read_text().split('without effect')[1].split('volume of cell')[0]
    assert 'PREC' in idle
    assert 'ENCUT' not in idle
    log = (folder / 'gpaw.txt').read_text()
    assert 'width: 0.2' in log or '0.2000' in log
    assert '4 x 4 x 3' in log
    np.testing.assert_allclose(step.forces, 0, atol=0.01)
    assert step.energy / 2 == pytest.approx(-1.5, abs=0.3)
    assert step.energy < step.energy_sigma0


STUB = """
from ase.calculators.calculator import Calculator

class KohnShamConvergenceError(RuntimeError):
    pass

def PW(cutoff):
    return cutoff

class GPAW(Calculator):
    implemented_properties = ['energy', 'forces', 'stress']

    def calculate(self, *arguments):
        raise KohnShamConvergenceError('Did not converge!  See https://gpaw.readthedocs.io')
"""


@pytest.fixture
def gpaw_of_a_stub(tmp_path, monkeypatch):
    """A module that never converges takes GPAW's place."""
    (tmp_path / 'gpaw.py').write_text(STUB)
    python = tmp_path / 'python3'
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr('aiida_mghdiff.executables.vasp_standin.labels.GPAW_PYTHON', str(python))


def check_unconverged(folder):
    """Check that the stand-in ends with VASP's words and an exit status that nothing retries."""
    assert standin_here(folder, 'gpaw') == EXIT_STATUS['SCF_NOT_CONVERGED']
    words = ' '.join((folder / 'OUTCAR').read_text().replace('|', ' ').split())
    assert 'The electronic self-consistency was not achieved in the given number of steps (NELM = 3)' in words
    assert list(OutcarReader(folder / 'OUTCAR')) == []


def test_electrons_that_do_not_converge(tmp_path, gpaw_of_a_stub):
    atoms = bulk('Mg', 'hcp', a=3.19, c=5.17)
    check_unconverged(write_folder(tmp_path / 'job', TAGS | {'NELM': 3}, atoms))


@pytest.mark.slow
@pytest.mark.skipif(not has_gpaw(), reason='GPAW is not installed')
def test_electrons_that_do_not_converge_in_gpaw(tmp_path):
    atoms = bulk('Mg', 'hcp', a=3.19, c=5.17)
    check_unconverged(write_folder(tmp_path, TAGS | {'NELM': 3}, atoms))


def test_no_gpaw(monkeypatch):
    monkeypatch.setattr('aiida_mghdiff.executables.vasp_standin.labels.GPAW_PYTHON', '/nowhere/python3')
    with pytest.raises(ProgramError, match='apt-get install gpaw') as caught:
        GpawLabeller({})
    assert caught.value.name == 'ENGINE_MISSING'
