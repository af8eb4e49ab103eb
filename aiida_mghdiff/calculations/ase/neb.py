"""Climbing-image nudged elastic band in ASE."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mghdiff.calculations.calculator import CalculatorCalculation
from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.functions.paths import ends_message
from aiida_mghdiff.calculations.program import structure_content
from aiida_mghdiff.calculations.validation import (
    IS_BOOL,
    IS_COUNT,
    IS_NOT_NEGATIVE,
    IS_POSITIVE,
    one_of,
)
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.job_files import PATH_FILE

KEYS = {
    'n_images': IS_COUNT,
    'interpolation': one_of('idpp', 'linear'),
    'neb_method': one_of('improvedtangent', 'aseneb', 'eb'),
    'spring_constant_ev_per_angstrom2': IS_POSITIVE,
    'climb': IS_BOOL,
    'climb_below_ev_per_angstrom': IS_POSITIVE,
    'optimizer': one_of('bfgs', 'fire', 'lbfgs', 'mdmin'),
    'force_tolerance_ev_per_angstrom': IS_POSITIVE,
    'max_steps': IS_COUNT,
    'relax_endpoints': IS_BOOL,
    'endpoint_tolerance_ev_per_angstrom': IS_POSITIVE,
    'endpoint_max_steps': IS_COUNT,
    'endpoint_displacement_angstrom': IS_NOT_NEGATIVE,
    'minimum_endpoint_distance_angstrom': IS_POSITIVE,
    'dtype': one_of('float32', 'float64'),
}


def validate_inputs(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the inputs, or None."""
    if not {'potential', 'initial', 'final', 'parameters'} <= set(inputs):
        return None
    parameters = inputs['parameters'].get_dict()
    return (
        AseNebCalculation.parameters_message(parameters, inputs['potential'].architecture)
        or ends_message(inputs['initial'].get_ase(), inputs['final'].get_ase())
        or inputs['potential'].unknown_message(inputs['initial'].get_symbols_set())
        or _restart_message(inputs.get('restart'), parameters['n_images'])
    )


def _restart_message(restart: orm.TrajectoryData | None, n_images: int) -> str | None:
    if restart is not None and restart.numsteps != n_images + 2:
        return f'restart has {restart.numsteps} images with end points: n_images = {n_images} needs {n_images + 2}.'
    return None


class AseNebCalculation(CalculatorCalculation):
    """Relaxes two end points at a fixed cell and finds the minimum-energy path between them."""

    CACHE_VERSION = 3
    CONTINUED_FROM = 'path'
    _PROGRAM = 'ase.neb'
    _PARAMETERS = KEYS
    _TEMPORARY_FILES = (PATH_FILE,)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define ports and exit codes."""
        super().define(spec)
        spec.input('potential', valid_type=PotentialData, help='The potential that gives the forces.')
        spec.input('initial', valid_type=orm.StructureData, help='First end point.')
        spec.input('final', valid_type=orm.StructureData, help='Last end point: the same atoms in the same cell.')
        spec.input('restart', valid_type=orm.TrajectoryData, required=False, help='Path of a search to continue.')
        spec.inputs.validator = validate_inputs
        spec.output('path', valid_type=orm.TrajectoryData, required=False, help='Images, end points included.')
        spec.output('saddle', valid_type=orm.StructureData, required=False, help='The saddle point, if there is one.')
        spec.output('initial_relaxed', valid_type=orm.StructureData, required=False, help='First end point, relaxed.')
        spec.output('final_relaxed', valid_type=orm.StructureData, required=False, help='Last end point, relaxed.')
        define_exit_codes(spec, 'NEB_NOT_CONVERGED', 'ENDPOINT_NOT_CONVERGED', 'ENDPOINT_COLLAPSED')

    def program_inputs(self) -> dict[str, Any]:
        """Return potential, end points and the images to continue from."""
        restart = self.inputs.get('restart')
        return super().program_inputs() | {
            'initial': structure_content(self.inputs.initial),
            'final': structure_content(self.inputs.final),
            'restart': None if restart is None else restart.get_array('positions').tolist(),
        }
