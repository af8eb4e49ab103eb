"""Molecular dynamics in ASE, with any potential that has an ASE calculator."""

from __future__ import annotations

import json
from typing import Any

from aiida.engine import CalcJobProcessSpec

from aiida_mghdiff.calculations.calculator import CalculatorCalculation, architecture_message
from aiida_mghdiff.calculations.md import MD_KEYS, define_md, has_own_restart, start_content, validate_md_inputs
from aiida_mghdiff.data.md_state import RESTART_FILE
from aiida_mghdiff.formats import job_files

ENGINE = 'ase'


def validate_inputs(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the inputs, or None."""
    if message := validate_md_inputs(inputs):
        return message
    if {'potential', 'parameters'} <= set(inputs):
        return _engine_message(inputs)
    return None


def _engine_message(inputs: dict[str, Any]) -> str | None:
    parameters = inputs['parameters']
    if parameters['evaluator'] not in ('auto', 'torch'):
        return f'parameters: evaluator = {parameters["evaluator"]!r}, but ASE has only torch (or auto).'
    return architecture_message(inputs['potential'].architecture, parameters['dtype'])


class AseMdCalculation(CalculatorCalculation):
    """One run of molecular dynamics in ASE: velocity Verlet, BAOAB Langevin, or Langevin with a Langevin piston."""

    CACHE_VERSION = 2
    CONTINUED_FROM = 'state'
    _PROGRAM = 'ase.md'
    _PARAMETERS = MD_KEYS
    _TEMPORARY_FILES = (*job_files.MD_FILES.values(), job_files.MD_RESTART_FILE)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define ports and exit codes."""
        super().define(spec)
        define_md(spec)
        spec.inputs.validator = validate_inputs

    def program_inputs(self) -> dict[str, Any]:
        """Return potential, start and, if the state continues the same kind of run, the restart."""
        return super().program_inputs() | start_content(self.inputs) | {'restart': self._restart()}

    def _restart(self) -> dict[str, Any] | None:
        """Return the random state and cell momentum of the continued run."""
        if not has_own_restart(self.inputs, ENGINE):
            return None
        return json.loads(self.inputs.state.base.repository.get_object_content(RESTART_FILE))
