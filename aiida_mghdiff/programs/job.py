"""Helpers of all programs: input, results, progress lines, versions and named failures."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from aiida_mghdiff.formats.job_files import EXIT_STATUS, INPUT_FILE, RESULTS_FILE, failure_line, progress_line

# numpy is imported in functions: an interpreter without numpy must still print this failure
if TYPE_CHECKING:
    import numpy as np


#: Variables in which srun, MPICH and Intel MPI, Open MPI and MVAPICH give the number of ranks.
RANKS = ('SLURM_STEP_NUM_TASKS', 'PMI_SIZE', 'OMPI_COMM_WORLD_SIZE', 'MV2_COMM_WORLD_SIZE')
#: PMIx gives each rank only its own number.
_RANK_NUMBER = 'PMIX_RANK'


class ProgramError(Exception):
    """A known failure: ends the program with its status and ``ERROR: [NAME] message`` as the last line."""

    def __init__(self, name: str, message: str) -> None:
        """:param name: a key of ``EXIT_STATUS``; :param message: one sentence: fault, place, remedy."""
        super().__init__(message)
        self.name = name
        self.message = message

    @property
    def status(self) -> int:
        """Return the exit status of the process."""
        return EXIT_STATUS[self.name]

    def __str__(self) -> str:
        return failure_line(self.name, self.message)


def run(program: str) -> None:
    """Run a program; a known failure ends it with its own exit status and a last line ``ERROR: ...``.

    :param program: module below ``programs``, such as ``ase.md``.
    """
    try:
        refuse_ranks(count_ranks(os.environ))
        import_module(f'aiida_mghdiff.programs.{program}').main()
    except ProgramError as error:
        _end(error)
    except ImportError as error:
        _end(failed_import(error.name or 'a package', error))
    except MemoryError:
        _end(ProgramError('OUT_OF_MEMORY', 'The job ran out of memory: ask for more, or make the system smaller.'))


def count_ranks(environment: Mapping[str, str]) -> int:
    """Return the smallest possible number of MPI ranks, from the environment of this rank."""
    counts = [environment.get(name, '') for name in RANKS]
    number = environment.get(_RANK_NUMBER, '')
    return max(1, *(int(count) for count in counts if count.isdecimal()), int(number) + 1 if number.isdecimal() else 1)


def refuse_ranks(n_ranks: int) -> None:
    """Refuse to run as one of several copies of a program: each would do the same work and write the same files.

    :raises ProgramError: SEVERAL_RANKS.
    """
    if n_ranks > 1:
        raise ProgramError(
            'SEVERAL_RANKS',
            f'{Path(sys.argv[0]).name} is one process, but MPI started {n_ranks} of it: leave with_mpi out of the code '
            'and withmpi out of the options; OMP_NUM_THREADS sets threads.',
        )


def _end(error: ProgramError) -> NoReturn:
    print(error, flush=True)
    sys.exit(error.status)


def read_input() -> dict[str, Any]:
    """Return the content of ``input.json`` in the working directory."""
    return json.loads(Path(INPUT_FILE).read_text())


def write_results(results: Mapping[str, object]) -> None:
    """Write ``results.json``; numbers that are not finite become null, since JSON does not have them."""
    Path(RESULTS_FILE).write_text(json.dumps(_finite(results), indent=2, sort_keys=True))


def _finite(value: Any) -> Any:
    import numpy as np

    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def write_arrays(file: str, **arrays: np.ndarray) -> None:
    """Write the arrays to a ``.npz`` file."""
    import numpy as np

    np.savez(file, allow_pickle=False, **arrays)


def report_progress(done: int, total: int, **values: float | str) -> None:
    """Print one line of progress."""
    print(progress_line(done, total, **values), flush=True)


def engine_versions(*distributions: str) -> dict[str, str]:
    """Return the versions of Python and of the installed distributions, by name.

    :raises ProgramError: ENGINE_MISSING for a distribution that is not installed.
    """
    versions = {'python': '.'.join(map(str, sys.version_info[:3]))}
    for name in distributions:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise missing_engine(name) from None
    return versions


def missing_engine(name: str) -> ProgramError:
    """Return the failure of an interpreter that lacks a package."""
    return ProgramError(
        'ENGINE_MISSING',
        f'{sys.executable} has no package {name!r}: install aiida-mghdiff[engines] there or use another Code.',
    )


def failed_import(name: str, error: ImportError | OSError) -> ProgramError:
    """Return the failure of an interpreter that lacks a package, or has one that does not load."""
    if isinstance(error, ModuleNotFoundError):
        return missing_engine(name)
    return ProgramError(
        'ENGINE_MISSING',
        f'{name} of {sys.executable} does not load ({error}): install aiida-mghdiff[engines] there again, or load the '
        'module of this library in the prepend text.',
    )


class WallClock:
    """Tells a program when to stop, before the scheduler ends it."""

    def __init__(self, max_seconds: float | None, reserve: float = 0.05) -> None:
        """:param max_seconds: wall time of the job in s, or None; :param reserve: fraction kept for writing results."""
        self.start = time.monotonic()
        least = 0.0 if max_seconds is None else min(30.0, max_seconds / 4)  # interpreter and imports, before this clock
        self.limit = None if max_seconds is None else max_seconds - max(max_seconds * reserve, least)

    def is_over(self, next_seconds: float = 0.0) -> bool:
        """Return whether the limit is or will be passed within the given number of seconds."""
        return self.limit is not None and time.monotonic() - self.start + next_seconds > self.limit
