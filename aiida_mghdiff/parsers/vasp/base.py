"""Base of the parsers of all VASP jobs: files, failures that VASP names, and the order of atoms in a step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from aiida.common.links import LinkType
from aiida.engine import CalcJob, ExitCode
from aiida.parsers.parser import Parser
from ase import Atoms

from aiida_mghdiff.calculations.vasp.job import STDOUT
from aiida_mghdiff.formats.job_files import read_failure
from aiida_mghdiff.formats.outcar import OutcarStep
from aiida_mghdiff.parsers.executable import last_line, missing_executable

#: OUTCAR has positions with 5 decimals.
_POSITION_TOLERANCE_ANGSTROM = 2e-5

_NO_MEMORY = re.compile(
    r'^.*(?:bad_alloc|out of memory|oom[-_ ]kill|insufficient virtual memory|MemoryError|[Cc]annot allocate memory).*$',
    re.MULTILINE | re.IGNORECASE,
)
#: VASP prints a failure at its end, after at least one line for each step: hundreds of megabytes for a nanosecond.
_TAIL_BYTES = 2**20

_BOX = re.compile(r'^\s*\|\s*(.*?)\s*\|?\s*$')
_WORDS = re.compile(r'[A-Za-z]{2,}[\s.,:]+[A-Za-z(]{2,}')


class VaspJobParser(Parser):
    """Base of the parsers of VASP's jobs; ``files`` is the folder of the retrieved files."""

    files: Path

    def parse(self, retrieved_temporary_folder: str | None = None, **_: Any) -> ExitCode | None:
        """Emit the outputs; return the exit code of a failure."""
        self.files = Path(retrieved_temporary_folder or '').absolute()
        return self.parse_job()

    def parse_job(self) -> ExitCode | None:
        """Emit the outputs of the job; return the exit code of a failure."""
        raise NotImplementedError

    def short(self, text: str) -> str:
        """Return a sentence with the names of files in place of their paths."""
        return text.replace(f'{self.files}/', '')

    @property
    def inputs(self) -> dict[str, Any]:
        """Return the inputs of the job, namespaces as dictionaries."""
        return self.node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested()

    @property
    def stdout(self) -> str:
        """Return the end of VASP's output, or an empty text."""
        path = self.files / STDOUT
        if not path.is_file():
            return ''
        with path.open('rb') as handle:
            handle.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return handle.read().decode(errors='replace')

    @property
    def said(self) -> str:
        """Return the output of VASP, with its standard error, and of the scheduler."""
        return f'{self.stdout}\n{self.node.get_scheduler_stderr() or ""}'

    @property
    def is_out_of_walltime(self) -> bool:
        """Return whether the scheduler ended the job at its wall time."""
        return self.node.exit_status == CalcJob.exit_codes.ERROR_SCHEDULER_OUT_OF_WALLTIME.status

    def failure(self) -> ExitCode | None:
        """Return the exit code of a failure that VASP, the stand-in or the scheduler names, or None."""
        codes, text = self.exit_codes, self.said
        if missing := missing_executable(self.node, self.stdout):
            return missing
        if named := read_failure(text):
            # The code, VASP or its stand-in, determines the known elements, not an input.
            name = f'ERROR_{named[0]}'.replace('ELEMENT_UNKNOWN', 'CODE_LACKS_ELEMENT')
            return codes[name if name in codes else 'ERROR_PROGRAM_CRASHED'].format(message=named[1])
        if match := _NO_MEMORY.search(text):
            return codes.ERROR_OUT_OF_MEMORY.format(message=match[0].strip())
        if self.node.exit_status == CalcJob.exit_codes.ERROR_SCHEDULER_OUT_OF_MEMORY.status:
            return codes.ERROR_OUT_OF_MEMORY.format(message='the scheduler ended it.')
        return None

    def crash(self, missing: str) -> ExitCode:
        """Return the exit code of a run without a final state."""
        if failure := self.failure():
            return failure
        if self.is_out_of_walltime:
            return self.exit_codes.ERROR_OUT_OF_WALLTIME
        if message := box_message(self.stdout) or (last_line(self.said) if 'Traceback' in self.said else None):
            return self.exit_codes.ERROR_PROGRAM_CRASHED.format(message=message)
        return self.exit_codes.ERROR_OUTPUT_MISSING.format(message=missing)

    def invalid(self, error: Exception, where: str = '') -> ExitCode:
        """Return the exit code of a file that cannot be read."""
        return self.exit_codes.ERROR_OUTPUT_INVALID.format(message=self.short(f'{where}{error}'))


def box_message(text: str) -> str | None:
    """Return the text of VASP's last error box."""
    words = [match[1] for line in text.splitlines() if (match := _BOX.match(line)) and _WORDS.search(match[1])]
    return ' '.join(words)[-400:] or None


def check_structure(step: OutcarStep, atoms: Atoms) -> None:
    """Check that a step has the atoms of a structure in the same order.

    :raises ValueError: for other atoms.
    """
    if step.positions.shape != atoms.positions.shape:
        raise ValueError(f'OUTCAR has {len(step.positions)} atoms, the structure {len(atoms)}')
    shifts = np.linalg.solve(step.cell.T, (step.positions - atoms.positions).T).T
    if np.abs((shifts - np.round(shifts)) @ step.cell).max() > _POSITION_TOLERANCE_ANGSTROM:
        raise ValueError('positions in OUTCAR do not match the structure')
