"""Several MPI ranks of the stand-in: rank 0 works, the others wait for it and end with 0.

A launcher may kill a program soon after one of its ranks ends. Therefore the others wait until rank 0 has ended, also
if it failed or was killed. This needs no MPI library: rank 0 holds a lock on a file in the folder of the job.
"""

from __future__ import annotations

import fcntl
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

#: Variables in which Open MPI, MVAPICH, PMIx, MPICH and Intel MPI, and srun give the number of a rank. The variable of
#: srun is the last, since ranks of other launchers in a job of Slurm inherit it.
NUMBERS = ('OMPI_COMM_WORLD_RANK', 'MV2_COMM_WORLD_RANK', 'PMIX_RANK', 'PMI_RANK', 'SLURM_PROCID')
LOCK = Path('.mghdiff-vasp-standin.lock')

#: All ranks of a run begin within this time. A lock file that is older belongs to an earlier run.
_APART_SECONDS = 60.0
_LOOK_SECONDS = 0.1


def rank_number(environment: Mapping[str, str]) -> int:
    """Return the number of this rank, 0 without a launcher of MPI."""
    return next((int(environment[name]) for name in NUMBERS if environment.get(name, '').isdecimal()), 0)


@contextmanager
def first_rank() -> Iterator[None]:
    """Hold the lock that the other ranks wait for. If this process is killed, the system releases the lock."""
    new = LOCK.with_suffix('.new')
    with new.open('w') as handle:
        with suppress(OSError):  # without locks in the file system the others end at once
            fcntl.flock(handle, fcntl.LOCK_EX)
        new.replace(LOCK)  # the others see this file only when it is locked
        yield


def wait_for_first_rank() -> None:
    """Return when rank 0 has ended. Ignore SIGTERM, since rank 0 ends by it, after its step."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    began = time.time()
    while time.time() - began < _APART_SECONDS and not _is_new(began):
        time.sleep(_LOOK_SECONDS)
    with suppress(OSError), LOCK.open() as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)


def _is_new(began: float) -> bool:
    """Return whether rank 0 of this run has made its lock."""
    with suppress(FileNotFoundError):
        return LOCK.stat().st_mtime > began - _APART_SECONDS
    return False
