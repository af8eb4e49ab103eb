"""Base of the parsers of jobs that run a program of this package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers.parser import Parser

from aiida_mghdiff.formats.job_files import RESULTS_FILE, read_failure
from aiida_mghdiff.parsers.executable import last_line, missing_executable, stdout_of


class ProgramParser(Parser):
    """Maps failures of a program to exit codes, and stores the results, also of a failed run."""

    CACHE_VERSION = 2

    def parse(self, retrieved_temporary_folder: str | None = None, **_: Any) -> ExitCode | None:
        """Emit ``results`` and the outputs of :meth:`parse_program`."""
        failure = self.failure()
        files = Path(retrieved_temporary_folder or '')
        path = files / RESULTS_FILE
        if not path.is_file():
            return failure or self.crash()
        try:
            results = json.loads(path.read_text())
            outcome = self.parse_program(results, files)
        except (ValueError, KeyError, OSError) as error:
            return self.exit_codes.ERROR_OUTPUT_INVALID.format(message=f'{type(error).__name__}: {error}')
        if 'results' not in self.outputs:
            self.out('results', orm.Dict(results))
        return failure or outcome

    def parse_program(self, results: dict[str, Any], files: Path) -> ExitCode | None:
        """Emit the outputs of the subclass; return an exit code for an unsatisfactory run."""
        raise NotImplementedError

    def failure(self) -> ExitCode | None:
        """Return the exit code of the failure that the program named, or None."""
        if (named := read_failure(stdout_of(self.node))) is None:
            return None
        name, message = named
        return self.exit_codes[f'ERROR_{name}'].format(message=message)

    def crash(self) -> ExitCode:
        """Return the exit code of a program that ended without results and without a message."""
        if missing := missing_executable(self.node):
            return missing
        stderr, stdout = self.node.get_scheduler_stderr() or '', stdout_of(self.node)
        if 'Traceback' in stderr or stdout:
            return self.exit_codes.ERROR_PROGRAM_CRASHED.format(message=last_line(stderr or stdout))
        return self.exit_codes.ERROR_OUTPUT_MISSING.format(message=last_line(stderr, RESULTS_FILE))
