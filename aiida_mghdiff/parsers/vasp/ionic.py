"""Base of the parsers of relaxations and elastic bands in VASP."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from aiida.engine import ExitCode
from ase.geometry import find_mic

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.job_files import CONTCAR, OUTCAR
from aiida_mghdiff.formats.outcar import OutcarReader, OutcarStep
from aiida_mghdiff.formats.poscar import read_poscar
from aiida_mghdiff.parsers.vasp.base import VaspJobParser, box_message

#: Largest difference in Å of a position in OUTCAR (five decimals) and in CONTCAR of the same step.
_SAME_POSITION = 1e-5
#: Largest number of steps with an unconverged SCF that a message names.
_NAMED_STEPS = 5
#: Number of last steps that are kept: images may be one step apart, and the last step may be incomplete.
_KEPT_STEPS = 3


@dataclass
class IonicRun:
    """The relaxation of one structure, from OUTCAR.

    ``steps`` are the last of ``n_steps`` complete steps; images of an interrupted band may be one step apart.
    ``is_without_vtst`` is true only if OUTCAR shows it; a file that ends in its head does not. ``unconverged_steps``
    counts complete steps from 1.
    """

    folder: Path
    steps: list[OutcarStep]
    n_steps: int
    version: str
    vtst: str | None
    is_without_vtst: bool
    labelled_by: str
    finished: bool
    truncated: str | None
    converged: bool
    band_forces: list[float]
    unconverged_steps: list[int]

    def is_unconverged(self, number: int) -> bool:
        """Return whether the SCF of a step, counted from 1, did not converge."""
        return number in self.unconverged_steps

    def step(self, number: int) -> OutcarStep:
        """Return the last or second to last step, by its number from 1."""
        return self.steps[number - self.n_steps - 1]

    def positions(self, number: int, reference: np.ndarray) -> np.ndarray:
        """Return the positions [n,3] in Å of a step, with the digits of CONTCAR if CONTCAR is of the same step.

        :param reference: positions [n,3] in Å of the same atoms; the nearest periodic images are returned.
        """
        step = self.step(number)
        positions = step.positions + self._missing_digits(step)
        return reference + find_mic(positions - reference, step.cell, pbc=True)[0]

    def _missing_digits(self, step: OutcarStep) -> np.ndarray:
        try:
            exact = read_poscar(self.folder / CONTCAR).positions
        except (OSError, FormatError):
            return np.zeros_like(step.positions)
        digits = find_mic(exact - step.positions, step.cell, pbc=True)[0]
        return digits if np.abs(digits).max() < _SAME_POSITION else np.zeros_like(digits)


def read_ionic_run(folder: Path, is_dft: bool, is_image: bool = False) -> IonicRun:
    """Read the complete part of the OUTCAR in a folder.

    :param is_dft: whether DFT gave energies and forces, or a force field.
    :param is_image: whether the run is an image of a band: a complete step then has VTST's force of the band.
    :raises FormatError: for a file that is not an OUTCAR.
    :raises FileNotFoundError: without an OUTCAR.
    """
    path = folder / OUTCAR
    reader, n_read, unconverged = OutcarReader(path), 0, []
    last: deque[OutcarStep] = deque(maxlen=_KEPT_STEPS)
    for step in reader:
        if step.is_dft == is_dft:
            last.append(step)
            n_read += 1
            if is_dft and not step.scf_converged:
                unconverged.append(n_read)
    n_steps = min(n_read, len(reader.band_forces)) if is_image else n_read
    return IonicRun(
        folder=folder,
        steps=list(last)[: len(last) - (n_read - n_steps)],
        n_steps=n_steps,
        version=reader.version,
        vtst=reader.vtst,
        is_without_vtst=reader.vtst is None and bool(reader.n_atoms),
        labelled_by=reader.labelled_by,
        finished=reader.finished,
        truncated=reader.truncated,
        converged=reader.reached_ediffg,
        band_forces=reader.band_forces,
        unconverged_steps=[number for number in unconverged if number <= n_steps],
    )


def versions(run: IonicRun) -> dict[str, str]:
    """Return the versions in a run's OUTCAR."""
    return {'vasp': run.version} | ({} if run.vtst is None else {'vtst': run.vtst})


def largest(vectors: np.ndarray) -> float:
    """Return the length of the longest of vectors [n,3]."""
    return float(np.linalg.norm(vectors, axis=1).max())


class IonicParser(VaspJobParser):
    """Base of the parsers of jobs that move ions."""

    CACHE_VERSION = 6

    @property
    def is_dft(self) -> bool:
        """Return whether DFT gave energies and forces."""
        return 'potential' not in self.node.inputs

    def tell_of_electrons(self, run: IonicRun, name: str = '') -> None:
        """Report the steps before the last step for which OUTCAR shows no converged SCF.

        These steps moved the ions by wrong forces, but only the last step gives the results.

        :param name: name of the image, for a band.
        """
        if steps := [number for number in run.unconverged_steps if number < run.n_steps]:
            named = ', '.join(map(str, steps[:_NAMED_STEPS])) + (', ...' if len(steps) > _NAMED_STEPS else '')
            self.logger.warning(
                f'{name}OUTCAR does not show that the SCF converged at {len(steps)} of {run.n_steps} steps '
                f'({named}), whose forces moved the ions; raise nelm or set algo'
            )

    def unfinished(self, where: str) -> ExitCode:
        """Return the exit code of an interrupted run. A run that STOPCAR ended in time is complete.

        :param where: the place where the output ends, without a full stop.
        """
        if failure := self.failure():
            return failure
        if self.is_out_of_walltime:
            return self.exit_codes.ERROR_OUT_OF_WALLTIME
        if message := box_message(self.stdout):
            return self.exit_codes.ERROR_PROGRAM_CRASHED.format(message=message)
        last = next((line.strip() for line in reversed(self.stdout.splitlines()) if line.strip()), 'none')
        return self.exit_codes.ERROR_OUTPUT_TRUNCATED.format(message=f"{self.short(where)}; VASP's last words: {last}.")
