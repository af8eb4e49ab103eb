"""Decide whether each code of a job runs under MPI.

AiiDA refuses a job if the option ``withmpi``, a code and the job itself differ. Therefore the first of these decides:
the code (``with_mpi``), the user's option, the job. AiiDA compares the option with every code of a job. So in a job of
two codes the user sets the main code by the option ``main_withmpi``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from aiida import orm
from aiida.engine import CalcJob, CalcJobProcessSpec

from aiida_mghdiff.formats.job_files import LAUNCHER, STANDIN

MAIN = 'main_withmpi'


class MpiJob(CalcJob):
    """Part of a job that may run under MPI: if neither code nor user decides, its programs decide."""

    @classmethod
    def default_withmpi(cls, code: orm.AbstractCode, n_ranks: int) -> bool:
        """Return whether the main code runs under MPI by default: VASP does, its stand-in does with several ranks."""
        return n_ranks > 1 or PurePath(code.get_executable()).name != STANDIN


def runs_under_mpi(
    job: type[MpiJob], code: orm.AbstractCode, computer: orm.Computer | None, options: Mapping[str, Any]
) -> bool:
    """Return whether the main code of a job runs under MPI.

    :param options: ``metadata.options`` of the job.
    """
    said = (code.with_mpi, options.get('withmpi'), options.get(MAIN))
    default = job.default_withmpi(code, ranks_of(computer, options['resources']) if computer else 1)
    return next((value for value in said if value is not None), default)


def is_parallel(code: orm.AbstractCode) -> bool:
    """Return whether a code in the role of LAMMPS uses several ranks: ``mghdiff-lmp``, recognised by name, does not."""
    return PurePath(code.get_executable()).name != LAUNCHER


def ranks_of(computer: orm.Computer, resources: Mapping[str, Any]) -> int:
    """Return the number of MPI ranks of resources.

    :raises ValueError: for resources that the scheduler does not accept.
    """
    scheduler, values = computer.get_scheduler(), dict(resources)
    scheduler.preprocess_resources(values, computer.get_default_mpiprocs_per_machine())
    return scheduler.create_job_resource(**values).get_tot_num_mpiprocs()


def define_mpi(spec: CalcJobProcessSpec) -> None:
    """Remove the default of the option ``withmpi``, so that a value comes from the user; define ``main_withmpi``."""
    words = 'Whether the code runs under MPI; if left out, the code and the job decide.'
    spec.input('metadata.options.withmpi', valid_type=bool, required=False, help=words)
    words = 'The same for the main code of a job of two codes, which has no ``withmpi``.'
    spec.input(f'metadata.options.{MAIN}', valid_type=bool, required=False, help=words)


def refuse_mpi(value: bool | None, _: Any = None) -> str | None:
    """Return why a program of this package does not run under MPI, or None."""
    return 'withmpi is true, but the program is one process: leave withmpi out.' if value else None
