"""The zipapp that carries a program."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import PurePath

import pytest

from aiida_mghdiff.calculations.program import zipapp_bytes
from aiida_mghdiff.data.architectures import MACE
from aiida_mghdiff.formats.job_files import EXIT_STATUS
from aiida_mghdiff.programs.job import RANKS

PROGRAMS = [
    'ase.md',
    'ase.neb',
    'ase.vibrations',
    'chgnet.train',
    'evaluate',
    'mace.train',
    'vasp.reduce',
    'model_properties',
]
WITH_CALCULATOR = {'ase.md', 'ase.neb', 'ase.vibrations', 'evaluate', 'model_properties'}
IMPORT_ALL = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
print(json.dumps([importlib.import_module(name).__file__ for name in sys.argv[2:]]))
"""


@pytest.fixture(params=PROGRAMS)
def program(request, tmp_path):
    """The name of each program; its zipapp lies in ``tmp_path``."""
    (tmp_path / 'mghdiff.pyz').write_bytes(zipapp_bytes(request.param, calculator(request.param)))
    return request.param


def calculator(program):
    """Return the calculator that joins a program; only programs for every architecture need one."""
    return (MACE.name, MACE.calculator_source) if program in WITH_CALCULATOR else None


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_an_interpreter_without_any_package_is_told(program, tmp_path):
    """The isolated interpreter has only the standard library; the message says so."""
    command = [sys.executable, '-I', '-S', 'mghdiff.pyz']
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == EXIT_STATUS['ENGINE_MISSING'], process.stderr
    assert process.stdout.startswith(f"ERROR: [ENGINE_MISSING] {sys.executable} has no package 'numpy': install")


@pytest.mark.parametrize(('variable', 'value', 'n_ranks'), [*((name, '4', 4) for name in RANKS), ('PMIX_RANK', '1', 2)])
def test_several_ranks_are_refused(program, tmp_path, variable, value, n_ranks):
    """Each rank refuses before it imports anything, with any MPI launcher."""
    command = [sys.executable, '-I', '-S', 'mghdiff.pyz']
    process = subprocess.run(command, cwd=tmp_path, env={variable: value}, capture_output=True, text=True, check=False)
    assert process.returncode == EXIT_STATUS['SEVERAL_RANKS'], process.stderr
    message = f'ERROR: [SEVERAL_RANKS] mghdiff.pyz is one process, but MPI started {n_ranks} of it: leave with_mpi out'
    assert process.stdout.startswith(message)


def test_zipapp_is_complete(program, tmp_path):
    """Each of its modules imports this package from the zipapp, not from the installation."""
    path = tmp_path / 'mghdiff.pyz'
    names = [name.removesuffix('.py').removesuffix('/__init__').replace('/', '.') for name in contents(path)]
    names.remove('__main__')
    command = [sys.executable, '-c', IMPORT_ALL, str(path), *names]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert f'aiida_mghdiff.programs.{program}' in names
    assert all(file.startswith(f'{path}/') for file in json.loads(process.stdout))


def test_zipapp_has_no_other_program(program, tmp_path):
    names = {name.removeprefix('aiida_mghdiff/programs/') for name in contents(tmp_path / 'mghdiff.pyz')}
    files = {name: f'{name.replace(".", "/")}.py' for name in PROGRAMS}
    assert names & set(files.values()) == {files[program]}


def test_same_source_gives_the_same_bytes(program, tmp_path):
    zipapp_bytes.cache_clear()
    assert zipapp_bytes(program, calculator(program)) == (tmp_path / 'mghdiff.pyz').read_bytes()


def test_zipapp_has_the_calculator_that_joins_it_alone(program, tmp_path):
    names = {PurePath(name).stem for name in contents(tmp_path / 'mghdiff.pyz') if '/calculators/' in name}
    others = {'chgnet.train': {'chgnet'}, 'mace.train': {'mace'}} | {key: {MACE.name} for key in WITH_CALCULATOR}
    assert names & {'mace', 'chgnet'} == others.get(program, set())
