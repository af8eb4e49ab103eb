"""Parser of molecular dynamics in VASP."""

from __future__ import annotations

from pathlib import Path

from aiida.engine import ExitCode

from aiida_mghdiff.calculations.vasp.force_field import evaluator_of
from aiida_mghdiff.calculations.vasp.job import integrator_of, start_atoms
from aiida_mghdiff.calculations.vasp.md import BAROSTATS, MDALGO, THERMOSTATS, md_plan
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.parsers.md import emit_md_outputs
from aiida_mghdiff.parsers.vasp.md_run import Motion, RecordedRun, VaspMdRunParser, read_run, runaway_message


class VaspMdParser(VaspMdRunParser):
    """Emits the outputs of every MD job, also for a run that stopped before its wall time or was killed."""

    CACHE_VERSION = 6

    def parse_job(self) -> ExitCode | None:
        """Emit the outputs; return the exit code of a failed run."""
        self.report_failed_reduction()
        try:
            recorded, labelled_by = self._read()
        except FileNotFoundError as error:
            return self.crash(Path(error.filename).name)
        except (FormatError, KeyError, ValueError) as error:
            return self.unreadable(error)
        completed = emit_md_outputs(self.out, recorded.run, {'labelled_by': labelled_by})
        if failure := self.failure():
            return failure
        if message := runaway_message(recorded.run, recorded.largest_move):
            return self.exit_codes.ERROR_TEMPERATURE_RUNAWAY.format(message=message)
        if cut := self.cut(recorded.truncated):
            return cut
        return None if completed else self.exit_codes.ERROR_OUT_OF_WALLTIME

    def _read(self) -> tuple[RecordedRun, str]:
        inputs, parameters = self.inputs, self.inputs['parameters'].get_dict()
        start = start_atoms(inputs)
        plan = md_plan(parameters, start)
        outcar = self.read_outcar(self.origin_of_labels(inputs['potential']))
        ensemble = parameters['ensemble']
        motion = Motion(
            evaluator=evaluator_of(inputs['potential']),
            thermostat=THERMOSTATS[ensemble],
            barostat=BAROSTATS[ensemble],
            integrator=integrator_of(MDALGO[ensemble]),
        )
        return read_run(self.files, start, parameters, plan, outcar, motion), outcar.labelled_by
