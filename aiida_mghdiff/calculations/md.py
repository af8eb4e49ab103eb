"""Ports, parameters and exit codes of molecular dynamics, the same for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import CalcJobProcessSpec, ProcessSpec
from aiida_vasp.data.potcar import PotcarData

from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.hosts import mass_message
from aiida_mghdiff.calculations.program import structure_content
from aiida_mghdiff.calculations.validation import (
    IS_COUNT,
    IS_NUMBER,
    IS_POSITIVE,
    IS_SEED,
    IS_STEP,
    IS_SYMBOL,
    IS_TEMPERATURE,
    complete_message,
    one_of,
    self_diffusion_message,
)
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.data.tracers import TracerTrajectoryData

ENSEMBLES = ('nve', 'nvt', 'npt')
#: Optional key of the parameters of a run in VASP: the user's own INCAR tags.
INCAR = 'incar'

IS_ENSEMBLE = one_of(*ENSEMBLES)

#: Keys of the parameters of every ensemble, with the check of each value.
COMMON_KEYS = {
    'ensemble': IS_ENSEMBLE,
    'temperature_k': IS_TEMPERATURE,
    'time_step_fs': IS_POSITIVE,
    'steps': IS_COUNT,
    'first_step': IS_STEP,
    'seed': IS_SEED,
    'tracer_element': IS_SYMBOL,
    'tracer_stride': IS_COUNT,
    'thermo_stride': IS_COUNT,
    'frame_stride': IS_COUNT,
    'dtype': one_of('float32', 'float64'),
    'evaluator': one_of('auto', 'symmetrix', 'torch', 'as-learned'),
}
THERMOSTAT_KEYS = {'friction_per_ps': IS_POSITIVE}
BAROSTAT_KEYS = {'pressure_gpa': IS_NUMBER, 'barostat_time_ps': IS_POSITIVE}
#: Keys of all ensembles.
MD_KEYS = COMMON_KEYS | THERMOSTAT_KEYS | BAROSTAT_KEYS
ENSEMBLE_KEYS = {
    'nve': COMMON_KEYS,
    'nvt': COMMON_KEYS | THERMOSTAT_KEYS,
    'npt': MD_KEYS,
}


def define_md(spec: CalcJobProcessSpec) -> None:
    """Define the ports and exit codes of every MD job."""
    define_md_inputs(spec)
    define_md_outputs(spec)


def define_md_outputs(spec: CalcJobProcessSpec) -> None:
    """Define the outputs of every MD job except ``results``."""
    spec.output('tracers', valid_type=TracerTrajectoryData, required=False, help='Unwrapped tracers, host centre.')
    spec.output('trajectory', valid_type=orm.TrajectoryData, required=False, help='Sparse full frames, unwrapped.')
    spec.output('thermo', valid_type=orm.ArrayData, required=False, help='Temperature, energies, pressure, volume.')
    spec.output('state', valid_type=MdStateData, required=False, help='Final state, which continues the run.')
    define_exit_codes(spec, 'TEMPERATURE_RUNAWAY')


def define_md_inputs(spec: ProcessSpec) -> None:
    """Define the inputs of one MD job except its code and parameters."""
    spec.input('potential', valid_type=PotentialData, help='The potential that gives the forces.')
    spec.input('structure', valid_type=orm.StructureData, required=False, help='Start; velocities are drawn.')
    spec.input('state', valid_type=MdStateData, required=False, help='Start, with its velocities.')
    spec.input_namespace(
        'potcars', valid_type=PotcarData, dynamic=True, help='POTCAR of each element; only VASP needs them.'
    )


def validate_md_inputs(inputs: dict[str, Any], _: Any = None, *, takes_incar: bool = False) -> str | None:
    """Return a message about a fault in the inputs of an MD job, or None.

    :param takes_incar: whether the parameters may have INCAR tags.
    """
    if 'parameters' in inputs and (message := parameters_message(inputs['parameters'].get_dict(), takes_incar)):
        return message
    if ('structure' in inputs) == ('state' in inputs):
        return 'give either a structure (velocities are drawn) or a state (velocities are carried over).'
    if message := step_message(inputs):
        return message
    if 'structure' in inputs and (message := mass_message(inputs['structure'])):
        return message
    if 'potential' in inputs:
        return elements_message(inputs['potential'], start_symbols(inputs), inputs['parameters']['tracer_element'])
    return None


def parameters_message(parameters: dict[str, Any], takes_incar: bool = False) -> str | None:
    """Return a message about a fault in MD parameters."""
    parameters = {key: value for key, value in parameters.items() if key != INCAR or not takes_incar}
    ensemble = parameters.get('ensemble')
    if ensemble not in ENSEMBLES:
        return f'parameters: ensemble = {ensemble!r} is not one of {", ".join(ENSEMBLES)}.'
    return complete_message(parameters, ENSEMBLE_KEYS[ensemble])


def step_message(inputs: Mapping[str, Any]) -> str | None:
    """Return a message about a fault in the first step of a run that continues from a state, or None."""
    first_step = inputs['parameters']['first_step']
    if first_step and 'state' in inputs and inputs['state'].step != first_step:
        return f'parameters: first_step = {first_step}, but the state is of step {inputs["state"].step}.'
    return None


def has_own_restart(inputs: Mapping[str, Any], engine: str, integrator: str | None = None) -> bool:
    """Return whether the state contains a restart file of this engine for a continued run.

    A run that starts at step 0 is a new run with its own seed, even if it starts from a state.

    :param integrator: equations of motion of the run, as named in its state.
    """
    state, parameters = inputs.get('state'), inputs['parameters']
    if state is None or not parameters['first_step']:
        return False
    return state.has_restart_of(engine, parameters['ensemble'], integrator)


def thermostat_seed(parameters: Mapping[str, Any]) -> int:
    """Return the seed of the thermostat. It differs in each segment; otherwise segments would repeat the same noise."""
    sequence = np.random.SeedSequence([parameters['seed'], parameters['first_step']])
    return int(sequence.generate_state(1)[0]) % 900_000_000 + 1


def start_symbols(inputs: dict[str, Any]) -> list[str]:
    """Return the symbols of the atoms at the start of the run."""
    node = inputs['structure'].get_ase() if 'structure' in inputs else inputs['state'].get_atoms()
    return node.get_chemical_symbols()


def elements_message(potential: PotentialData, symbols: list[str], tracer: str) -> str | None:
    """Return a message about a fault in the elements: unknown to the potential, no tracer, no host."""
    if message := potential.unknown_message(symbols):
        return message
    if tracer not in symbols:
        return f'the structure has no {tracer} atom: set tracer_element to the diffusing element, or add tracers.'
    return self_diffusion_message(tracer, symbols) if set(symbols) == {tracer} else None


def start_content(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the start of a run as JSON: key ``structure`` or ``state``."""
    if 'structure' in inputs:
        return {'structure': structure_content(inputs['structure'])}
    return {'state': inputs['state'].get_content()}
