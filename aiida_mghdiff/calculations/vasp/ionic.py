"""Base of relaxations and elastic bands in VASP: DFT or a learned force field moves ions at a fixed cell.

The INCAR is the Dict ``parameters``: lower-case tags and their values. A force field adds ``ML_LMLFF`` and ``ML_MODE``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida.engine import CalcJobProcessSpec

from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.validation import (
    IS_COUNT,
    IS_NEGATIVE,
    IS_POSITIVE,
    Check,
    complete_message,
    one_of,
)
from aiida_mghdiff.calculations.vasp.force_field import RUN_TAGS, fast_message, force_field_message
from aiida_mghdiff.calculations.vasp.job import VaspJob, own_tags_message, potcars_message, symbols_message
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.job_files import CONTCAR

#: Required tags: VASP's own defaults differ between versions.
TAGS = {
    'encut': IS_POSITIVE,
    'ediff': IS_POSITIVE,
    'ediffg': IS_NEGATIVE,
    'nsw': IS_COUNT,
    'isif': one_of(2),
    'isym': one_of(0),
}


def tags_message(inputs: Mapping[str, Any], checks: Mapping[str, Check]) -> str | None:
    """Return the fault of INCAR tags (unknown name, missing tag, or wrong value), or None."""
    tags, learned = inputs['parameters'].get_dict(), 'potential' in inputs
    if not learned and (foreign := sorted(tag for tag in tags if tag.startswith('ml_'))):
        return (
            f'parameters: {", ".join(foreign)} cannot be given: DFT has no force field; give a potential, or leave out.'
        )
    known = {tag: value for tag, value in tags.items() if tag in checks}
    return own_tags_message(tags, RUN_TAGS if learned else ()) or complete_message(known, checks)


def system_message(symbols: list[str], inputs: Mapping[str, Any]) -> str | None:
    """Return a message about atoms that are not grouped, lack a POTCAR or are unknown to the force field, or None.

    :param symbols: symbols of all atoms, in their order.
    """
    potential = inputs.get('potential')
    message = symbols_message(symbols) or potcars_message(symbols, inputs.get('potcars', {}))
    if message or potential is None:
        return message
    return force_field_message(potential) or fast_message(potential) or potential.unknown_message(symbols)


class IonicCalculation(VaspJob):
    """Base of the jobs that move ions at a fixed cell, relaxations and elastic bands."""

    _TEMPORARY_FILES = (CONTCAR,)
    _UNUSED_INPUTS = ('vdw_kernel',)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports and exit codes that both jobs share."""
        super().define(spec)
        spec.input(
            'potential',
            valid_type=PotentialData,
            required=False,
            help='Learned force field (ML_FF) that gives energies and forces; DFT without one.',
        )
        define_exit_codes(spec, 'SCF_NOT_CONVERGED')

    def set_tags(self) -> dict[str, Any]:
        """Return the INCAR tags of the learned force field, or none for DFT."""
        return RUN_TAGS if 'potential' in self.inputs else {}
