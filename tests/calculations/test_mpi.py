"""Which codes of a job run under MPI, as Slurm's script shows."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.plugins import CalculationFactory
from job_inputs import JOBS

from aiida_mghdiff.calculations.lammps.md import LammpsMdCalculation
from aiida_mghdiff.calculations.mpi import ranks_of, runs_under_mpi
from aiida_mghdiff.calculations.vasp.mlff import VaspMlffCalculation

FOUR_NODES = {'num_machines': 4, 'num_mpiprocs_per_machine': 48}
ONE = {'num_machines': 1, 'num_mpiprocs_per_machine': 1}


def code_of(computer, name, with_mpi=None):
    """Return a code whose executable does not exist."""
    return orm.InstalledCode(computer, f'/opt/{name}', label=f'{name}-{with_mpi}', with_mpi=with_mpi)


@pytest.mark.parametrize(
    ('job', 'name', 'with_mpi', 'options', 'expected'),
    [
        (VaspMlffCalculation, 'vasp_std', None, {'resources': FOUR_NODES}, True),
        (VaspMlffCalculation, 'vasp_std', None, {'resources': ONE}, True),
        (VaspMlffCalculation, 'vasp_std', None, {'resources': FOUR_NODES, 'withmpi': False}, False),
        (VaspMlffCalculation, 'vasp_std', None, {'resources': FOUR_NODES, 'main_withmpi': False}, False),
        (VaspMlffCalculation, 'vasp_std', False, {'resources': FOUR_NODES}, False),
        (VaspMlffCalculation, 'mghdiff-vasp-standin', None, {'resources': FOUR_NODES}, True),
        (VaspMlffCalculation, 'mghdiff-vasp-standin', None, {'resources': ONE}, False),
        (LammpsMdCalculation, 'lmp', None, {'resources': FOUR_NODES}, True),
        (LammpsMdCalculation, 'lmp', None, {'resources': ONE}, False),
        (LammpsMdCalculation, 'lmp', None, {'resources': ONE, 'withmpi': True}, True),
        (LammpsMdCalculation, 'mghdiff-lmp', None, {'resources': FOUR_NODES}, False),
    ],
)
def test_code_then_user_then_job_say_it(slurm, job, name, with_mpi, options, expected):
    assert runs_under_mpi(job, code_of(slurm, name, with_mpi), slurm, options) is expected


def test_ranks(slurm, aiida_computer):
    assert ranks_of(slurm, FOUR_NODES) == 192
    slurm = aiida_computer(label='slurm16', scheduler_type='core.slurm')
    slurm.set_default_mpiprocs_per_machine(16)
    assert ranks_of(slurm, {'num_machines': 2}) == 32
    with pytest.raises(ValueError, match='tot_num_mpiprocs'):
        ranks_of(slurm, FOUR_NODES | {'tot_num_mpiprocs': 7})


@pytest.mark.parametrize('name', JOBS)
def test_a_builder_takes_options_without_resources(name):
    """The job has default resources, so ``get_builder_restart`` works if nobody gave any."""
    builder = CalculationFactory(name).get_builder()
    builder.metadata.options = {'max_wallclock_seconds': 60}
    assert builder.metadata.options['max_wallclock_seconds'] == 60
