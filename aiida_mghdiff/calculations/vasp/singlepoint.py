"""Single points with VASP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from aiida_vasp.calcs.vasp import VaspCalculation

from aiida_mghdiff.calculations.program import set_options
from aiida_mghdiff.calculations.singlepoint import define_singlepoint
from aiida_mghdiff.calculations.validation import IS_NOT_NEGATIVE, IS_POSITIVE, Check, one_of
from aiida_mghdiff.calculations.vasp.base import STDOUT, poscar_text, potcar_bytes, potcars_message, symbols_message

#: Tags that a single point must give, since VASP's defaults depend on POTCAR and version or skip the stress.
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
    """Return what is wrong with the tags of INCAR."""
    values = {key.lower(): value for key, value in node.get_dict().items()}
    if missing := sorted(set(KEYS) - set(values)):
        return f'parameters lack {", ".join(missing)}: a protocol (get_builder_from_protocol) has them.'
    for key, check in KEYS.items():
        if not check.holds(values[key]):
            return f'parameters: {key} = {values[key]!r} is not {check.words}, as a single point needs.'
    if learned := sorted(key for key in values if key.startswith('ml_')):
        return f'parameters: {", ".join(learned)} would let a force field speak: a single point is first principles.'
    return None


def validate_inputs(inputs: Mapping[str, Any], _: Any = None) -> str | None:
    """Return what is wrong with the order of the atoms, or with the POTCARs."""
    symbols = inputs['structure'].get_ase().get_chemical_symbols()
    return symbols_message(symbols) or potcars_message(symbols, inputs['potential'], 'potential')


class VaspSinglePointCalculation(VaspCalculation):
    """VASP on one structure: energy, forces, stress. OUTCAR is parsed and not kept, standard output is."""

    CACHE_VERSION = 1

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        set_options(spec, with_mpi=True, parser_name='mghdiff.vasp.singlepoint', output_filename=STDOUT)
        spec.inputs['parameters'].validator = validate_parameters
        spec.inputs.validator = validate_inputs
        define_singlepoint(spec)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write VASP's files; keep OUTCAR until it is parsed."""
        calcinfo = super().prepare_for_submission(folder)
        calcinfo.retrieve_list = [STDOUT]
        calcinfo.retrieve_temporary_list = [STDOUT, 'OUTCAR']
        return calcinfo

    def write_poscar(self, dst: str) -> None:
        """Write the structure with all its digits."""
        Path(dst).write_text(poscar_text(self.inputs.structure.get_ase(), None))

    def write_potcar(self, dst: str) -> None:
        """Write the POTCARs; of a dry run titles and hashes."""
        symbols = self.inputs.structure.get_ase().get_chemical_symbols()
        Path(dst).write_bytes(potcar_bytes(symbols, self.inputs.potential, self.inputs.metadata.dry_run))
