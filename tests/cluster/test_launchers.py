"""Programs of this package under real launchers of MPI, in jobs of Slurm with two ranks."""

from __future__ import annotations

import pytest
from standin_runs import LANGEVIN, hydride, write_folder

from aiida_mghdiff.executables.vasp_standin.ranks import LOCK
from aiida_mghdiff.formats.job_files import EXIT_STATUS
from aiida_mghdiff.formats.outcar import OutcarReader

LAUNCHERS = {
    'srun': 'srun --mpi=none -n 2',
    'srun-pmi2': 'srun --mpi=pmi2 -n 2',
    'srun-pmix': 'srun --mpi=pmix -n 2',
    'openmpi': 'mpirun.openmpi -n 2',
    'mpich': 'mpirun.mpich -n 2',
}
PROGRAM = '-c "from aiida_mghdiff.programs.job import run; run(\'evaluate\')"'


@pytest.fixture(params=LAUNCHERS)
def launch(request, user, tmp_path):
    """Return the folder of a job with two tasks, and a function that runs a command there with a launcher."""
    folder = user.home / 'launchers' / request.param
    folder.mkdir(parents=True, exist_ok=True)

    def run(command):
        return user.batch(folder, f'{LAUNCHERS[request.param]} {command}', '--ntasks=2', '--mem-per-cpu=2000')

    return folder, run


def test_standin_for_vasp(user, launch):
    """Rank 0 works, and the job ends after it."""
    folder, run = launch
    write_folder(folder, LANGEVIN | {'NSW': 3}, hydride())
    status, output = run(user.home / 'vasp_std')
    assert status == 0, output
    assert output.count('mghdiff-vasp-standin') == 1
    reader = OutcarReader(folder / 'OUTCAR')
    assert (len(list(reader)), reader.finished) == (3, True)
    assert (folder / LOCK).exists()


def test_standin_that_refuses(user, launch):
    folder, run = launch
    write_folder(folder, {'TYPO': 1}, hydride())
    status, output = run(user.home / 'vasp_std')
    assert status == EXIT_STATUS['INPUT_REFUSED'], output
    assert output.count('ERROR: [INPUT_REFUSED]') == 1


@pytest.mark.parametrize('program', ['python', 'mghdiff-lmp'])
def test_programs_of_one_process_refuse(user, launch, program):
    folder, run = launch
    (folder / 'in.lmp').write_text('units metal\n')
    arguments = PROGRAM if program == 'python' else '-in in.lmp'
    status, output = run(f'{user.environment}/bin/{program} {arguments}')
    assert status == EXIT_STATUS['SEVERAL_RANKS'], output
    assert 'is one process, but MPI started 2 of it' in output


def test_two_tasks_without_a_launcher_are_one_rank(user):
    """The variables of a job with two tasks are no reason to refuse."""
    folder = user.home / 'launchers' / 'none'
    write_folder(folder, LANGEVIN | {'NSW': 1}, hydride())
    status, output = user.batch(folder, f'env | grep -c SLURM_NTASKS; {user.home}/vasp_std', '--ntasks=2')
    assert (status, (folder / 'OUTCAR').exists()) == (0, True), output
