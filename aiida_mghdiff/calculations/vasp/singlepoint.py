"""Single points with VASP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mghdiff.calculations.singlepoint import define_singlepoint
from aiida_mghdiff.calculations.validation import IS_NOT_NEGATIVE, IS_POSITIVE, Check, one_of
from aiida_mghdiff.calculations.vasp.job import VaspJob, own_tags_message, potcars_message, symbols_message

#: Required tags of a single point: VASP's defaults depend on POTCAR and version, or skip the stress.
KEYS = {
    'encut': IS_POSITIVE,
    'ediff': IS_POSITIVE,
    'ismear': Check('a whole number', lambda value: isinstance(value, int)),
    'sigma': IS_NOT_NEGATIVE,
    'nelm': IS_POSITIVE,
    'nsw': one_of(0),
    'ibrion': one_of(-1),
    'isif': one_of(2, 3),
}


def validate_parameters(node: orm.Dict, _: Any = None) -> str | None:
    """Return a message about a fault in the tags of INCAR."""
    values = {key.lower(): value for key, value in node.get_dict().items()}
    if missing := sorted(set(KEYS) - set(values)):
        return f'parameters lack {", ".join(missing)}: a protocol (get_builder_from_protocol) has them.'
    for key, check in KEYS.items():
        if not check.holds(values[key]):
            return f'parameters: {key} = {values[key]!r} is not {check.words}, as a single point needs.'
    if learned := sorted(key for key in values if key.startswith('ml_')):
        return f'parameters: {", ".join(learned)}: ML_* tags are not allowed in a DFT single point; leave them out.'
    return own_tags_message(values)


def validate_inputs(inputs: Mapping[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the order of the atoms or in the POTCARs, or None."""
    symbols = inputs['structure'].get_ase().get_chemical_symbols()
    return symbols_message(symbols) or potcars_message(symbols, inputs.get('potcars', {}))


class VaspSinglePointCalculation(VaspJob):
    """VASP on one structure: energy, forces, stress. Standard output is kept; OUTCAR is parsed but not kept."""

    CACHE_VERSION = 1
    _PARSER = 'mghdiff.vasp.singlepoint'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        spec.input('structure', valid_type=orm.StructureData, help='Structure to label.')
        spec.inputs['parameters'].validator = validate_parameters
        spec.inputs.validator = validate_inputs
        define_singlepoint(spec)

    def reserve(self) -> None:
        """Return None: VASP checks STOPCAR only between ionic steps, and there is one."""
