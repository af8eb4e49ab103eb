"""Outputs and exit codes of a single point from first principles, the same for every program."""

from __future__ import annotations

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.program import drop_foreign
from aiida_mghdiff.data.dataset import DatasetData

_EXIT_CODES = (
    'ENGINE_MISSING',
    'CODE_LACKS_ELEMENT',
    'INPUT_REFUSED',
    'EXECUTABLE_MISSING',
    'SEVERAL_RANKS',
    'OUTPUT_MISSING',
    'PROGRAM_CRASHED',
    'OUTPUT_INVALID',
    'OUT_OF_MEMORY',
    'SCF_NOT_CONVERGED',
    'LABEL_IMPLAUSIBLE',
)


def define_singlepoint(spec: CalcJobProcessSpec) -> None:
    """Replace the outputs and exit codes of the parent plugin class by outputs and exit codes of a single point."""
    drop_foreign(spec)
    spec.output('results', valid_type=orm.Dict, required=False, help='Energies in eV, convergence, versions.')
    spec.output(
        'dataset',
        valid_type=DatasetData,
        required=False,
        help='The structure, labelled with free energy, forces and stress; only if the SCF converged '
        'and the labels are plausible.',
    )
    spec.default_output_node = 'results'
    define_exit_codes(spec, *_EXIT_CODES)
