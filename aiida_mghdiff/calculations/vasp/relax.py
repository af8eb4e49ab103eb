"""Relaxation of the ions in VASP, at a fixed cell."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.validation import one_of
from aiida_mghdiff.calculations.vasp.ionic import TAGS, IonicCalculation, system_message, tags_message

RELAXATION_TAGS = TAGS | {'ibrion': one_of(1, 2, 3)}


def validate_relaxation(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the inputs, or None."""
    if not {'parameters', 'structure'} <= set(inputs):
        return None
    symbols = inputs['structure'].get_ase().get_chemical_symbols()
    return tags_message(inputs, RELAXATION_TAGS) or system_message(symbols, inputs)


class VaspRelaxCalculation(IonicCalculation):
    """Relaxes the ions at a fixed cell, with DFT or with a learned force field."""

    CACHE_VERSION = 1
    CONTINUED_FROM = 'structure'
    _PARSER = 'mghdiff.vasp.relax'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define ports and exit codes."""
        super().define(spec)
        spec.input('structure', valid_type=orm.StructureData, help='Start of the relaxation.')
        spec.inputs.validator = validate_relaxation
        spec.output('structure', valid_type=orm.StructureData, required=False, help='The last structure of the run.')
        define_exit_codes(spec, 'RELAXATION_NOT_CONVERGED')
