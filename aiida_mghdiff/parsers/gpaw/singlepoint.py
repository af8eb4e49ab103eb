"""Parser of single points with GPAW."""

from __future__ import annotations

import json
import re
from pathlib import Path

from aiida import orm
from aiida.engine import ExitCode

from aiida_mghdiff.calculations.gpaw.singlepoint import RESULTS_FILE
from aiida_mghdiff.parsers.executable import last_line, missing_executable
from aiida_mghdiff.parsers.singlepoint import SinglePointParser

#: Errors that GPAW raises for wrong parameters, and Python for a wrong script.
_OF_INPUT = (
    'TypeError',
    'ValueError',
    'NameError',
    'KeyError',
    'AttributeError',
    'InputError',
    'NotImplementedError',
    'SyntaxError',
)
#: The line of an exception. One that follows another one is the failure.
_EXCEPTION = re.compile(r'^.*\b\w*(?:Error|Exception)\b.*$', re.MULTILINE)
#: Words behind a traceback, and the failure that they mean.
_FAILURES = (
    ('KohnShamConvergenceError', 'SCF_NOT_CONVERGED'),
    ('Could not find required', 'CODE_LACKS_ELEMENT'),
    ('ModuleNotFoundError', 'ENGINE_MISSING'),
    ('ImportError', 'ENGINE_MISSING'),
    ('MemoryError', 'OUT_OF_MEMORY'),
    *((f'{error}:', 'INPUT_REFUSED') for error in _OF_INPUT),
)


class GpawSinglePointParser(SinglePointParser):
    """Reads ``results.json``, which the script of aiida-ase writes in full precision after a converged calculation."""

    def parse_files(self, files: Path) -> ExitCode | None:
        """Emit the labels."""
        path = files / RESULTS_FILE
        if not path.is_file():
            return self.failure()
        values = json.loads(path.read_text())
        results = {
            'free_energy_ev': values['potential_energy'],
            'energy_sigma0_ev': values['total_energy'],
            'converged': True,
            'n_electronic_steps': values['number_of_iterations'],
            'labelled_by': 'gpaw',
            'versions': values['versions'],
        }
        self.out('results', orm.Dict(results))
        return self.emit_label('gpaw', values['potential_energy'], values['forces'], values['stress'])

    def failure(self) -> ExitCode:
        """Return the exit code of a failed script from its traceback."""
        if missing := missing_executable(self.node):
            return missing
        stderr = self.node.get_scheduler_stderr() or ''
        message = (_EXCEPTION.findall(stderr) or [''])[-1].strip()
        for mark, name in _FAILURES:
            if mark in message:
                return self.exit_codes[f'ERROR_{name}'].format(message=message)
        name = 'PROGRAM_CRASHED' if 'Traceback' in stderr else 'OUTPUT_MISSING'
        return self.exit_codes[f'ERROR_{name}'].format(message=last_line(stderr))
