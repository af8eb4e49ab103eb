"""Vibrations of the tracers in ASE, the host held fixed."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mghdiff.calculations.calculator import CalculatorCalculation
from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.hosts import mass_message
from aiida_mghdiff.calculations.program import structure_content
from aiida_mghdiff.calculations.validation import (
    IS_NOT_NEGATIVE,
    IS_POSITIVE,
    IS_SYMBOL,
    one_of,
    self_diffusion_message,
)
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.job_files import VIBRATIONS_FILE

KEYS = {
    'tracer_element': IS_SYMBOL,
    'displacement_angstrom': IS_POSITIVE,
    'expected_imaginary_modes': one_of(0, 1),
    'imaginary_threshold_mev': IS_NOT_NEGATIVE,
    'dtype': one_of('float32', 'float64'),
}


def validate_inputs(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the inputs, or None."""
    if not {'potential', 'structure', 'parameters'} <= set(inputs):
        return None
    parameters = inputs['parameters'].get_dict()
    return (
        AseVibrationsCalculation.parameters_message(parameters, inputs['potential'].architecture)
        or inputs['potential'].unknown_message(inputs['structure'].get_symbols_set())
        or mass_message(inputs['structure'])
        or _tracer_message(inputs['structure'], parameters['tracer_element'])
    )


def _tracer_message(structure: orm.StructureData, tracer: str) -> str | None:
    if tracer not in structure.get_symbols_set():
        return f'the structure has no {tracer} atom: set tracer_element to the element that vibrates.'
    symbols = structure.get_symbols_set()
    return self_diffusion_message(tracer, symbols) if symbols == {tracer} else None


class AseVibrationsCalculation(CalculatorCalculation):
    """Frequencies of the tracers at a minimum or a saddle point, by finite differences."""

    CACHE_VERSION = 2
    _PROGRAM = 'ase.vibrations'
    _PARAMETERS = KEYS
    _TEMPORARY_FILES = (VIBRATIONS_FILE,)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define ports and exit codes."""
        super().define(spec)
        spec.input('potential', valid_type=PotentialData, help='The potential that gives the forces.')
        spec.input('structure', valid_type=orm.StructureData, help='A minimum or a saddle point.')
        spec.inputs.validator = validate_inputs
        spec.output('modes', valid_type=orm.ArrayData, required=False, help='Hessian, modes and indices of tracers.')
        define_exit_codes(spec, 'WRONG_NUMBER_OF_IMAGINARY_MODES')

    def program_inputs(self) -> dict[str, Any]:
        """Return potential and structure."""
        return super().program_inputs() | {'structure': structure_content(self.inputs.structure)}
