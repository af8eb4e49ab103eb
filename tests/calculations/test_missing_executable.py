"""If the executable of a code is gone, every kind of job ends with one exit code; real runs show it."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from job_inputs import JOBS

from aiida_mghdiff.parsers.executable import _reason


@pytest.fixture
def run(codes, tiny_potential, tmp_path):
    """Return a function that runs a job with some of its codes, and returns its node."""

    def run(entry_point, **used):
        inputs = JOBS[entry_point](tiny_potential, tmp_path) | used
        return run_get_node(CalculationFactory(entry_point), **inputs)[1]

    return run


@pytest.fixture
def removed(codes, tmp_path):
    """A code whose executable was deleted later."""
    path = tmp_path / 'bin of old' / 'engine'
    path.parent.mkdir()
    path.write_text('#!/bin/sh\nexit 0\n')
    path.chmod(0o755)
    computer = codes['python'].computer
    code = orm.InstalledCode(label='removed', computer=computer, filepath_executable=str(path)).store()
    path.unlink()
    return code


def is_missing(node, code):
    """Return whether a job ended with this exit code and names the executable."""
    assert node.exit_status == 215, node.exit_message
    assert f'{code.filepath_executable} of code `{code.full_label}` cannot be started: ' in node.exit_message
    assert not node.base.caching.is_valid_cache
    return True


@pytest.mark.parametrize('entry_point', [name for name in JOBS if name != 'mghdiff.lammps.md'])
def test_one_exit_code(run, removed, entry_point):
    node = run(entry_point, code=removed)
    assert is_missing(node, removed)
    assert 'No such file or directory' in node.exit_message


@pytest.mark.parametrize('role', ['code', 'convert_code'])
def test_lammps_and_its_converter(run, removed, role):
    """One of the two codes is missing; the other one is there and does its work."""
    echo = orm.InstalledCode(label='echo', computer=removed.computer, filepath_executable='/bin/echo').store()
    node = run('mghdiff.lammps.md', **({'code': echo, 'convert_code': echo} | {role: removed}))
    assert is_missing(node, removed)


@pytest.mark.parametrize('entry_point', ['mghdiff.vasp.md', 'mghdiff.vasp.mlff'])
def test_vasp_does_not_begin_without_the_program_that_reduces(run, removed, entry_point):
    """The missing second code is noticed before VASP spends a day."""
    echo = orm.InstalledCode(label='echo', computer=removed.computer, filepath_executable='/bin/echo').store()
    node = run(entry_point, code=echo, reduce_code=removed)
    assert is_missing(node, removed)
    assert 'vasp_output' not in node.outputs.remote_folder.listdir()


def test_launcher_of_mpi(run, codes, aiida_computer):
    """The launcher belongs to the computer."""
    computer = aiida_computer(label='mpi', scheduler_type='core.direct')
    computer.configure()
    computer.set_mpirun_command(['/opt/gone/mpirun', '-np', '{tot_num_mpiprocs}'])
    code = orm.InstalledCode(label='true', computer=computer, filepath_executable='/bin/true').store()
    node = run('mghdiff.vasp.mlff', code=code, metadata={'options': {'withmpi': True}})
    assert node.exit_status == 215, node.exit_message
    assert '/opt/gone/mpirun of computer `mpi` cannot be started: No such file or directory' in node.exit_message


#: Messages of shells and launchers, and the reason; EXE is the executable.
SHELL, GONE = '_aiidasubmit.sh: line 9: EXE: ', 'No such file or directory'
WORDS = {
    f'/var/spool/slurmd/job7/slurm_script: line 12: EXE: {GONE}': GONE,
    '_aiidasubmit.sh: Zeile 12: EXE: Datei oder Verzeichnis nicht gefunden': 'Datei oder Verzeichnis nicht gefunden',
    '/bin/sh: 12: EXE: not found': 'not found',
    f'{SHELL}command not found': 'command not found',
    f'{SHELL}Permission denied': 'Permission denied',
    f'{SHELL}/old/bin/python: bad interpreter: {GONE}': 'bad interpreter',
    f'{SHELL}cannot execute: required file not found': 'required file not found',
    f'slurmstepd: error: execve(): EXE: {GONE}\nsrun: error: n1: task 0: Exited with exit code 2': GONE,
    f'[proxy:0:0@n1] HYDU_create_process (launch.c:74): execvp error on file EXE ({GONE})': GONE,
    f"env: 'EXE': {GONE}": GONE,
    'mpirun was unable to find the specified executable file, and therefore\ndid not launch the job.\n\n'
    '  Node:       n1\n  Executable: EXE\n': 'MPI launcher did not find it',
}
#: Failures that have another cause than a missing executable.
OTHER_WORDS = (
    f'EXE: error while loading shared libraries: libmkl.so: cannot open shared object file: {GONE}',
    "EXE: can't open file '/scratch/mghdiff.pyz': [Errno 2] No such file or directory",
    '_aiidasubmit.sh: line 5: /etc/profile.d/modules.sh: No such file or directory',
    '_aiidasubmit.sh: line 103: 4711 Segmentation fault      (core dumped) EXE mghdiff.pyz train > output.txt',
    '_aiidasubmit.sh: line 7: EXE_of_another: No such file or directory',
    "FileNotFoundError: [Errno 2] No such file or directory: 'POTCAR'",
)


@pytest.mark.parametrize('executable', ['/opt/v 6.4/vasp_std', 'vasp_std'])
def test_words_of_shells_and_launchers(executable):
    for words, reason in WORDS.items():
        assert reason in (_reason(executable, f'noise\n{words.replace("EXE", executable)}\n') or ''), words
    for words in OTHER_WORDS:
        assert _reason(executable, words.replace('EXE', executable)) is None, words
