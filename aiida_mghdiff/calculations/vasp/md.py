"""Molecular dynamics in VASP with a learned force field (ML_MODE = run)."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import Any

import numpy as np
from aiida.engine import CalcJobProcessSpec
from ase import Atoms
from ase.data import atomic_masses

from aiida_mghdiff.calculations.md import (
    INCAR,
    MD_KEYS,
    define_md,
    has_own_restart,
    thermostat_seed,
    validate_md_inputs,
)
from aiida_mghdiff.calculations.validation import IS_COUNT, keys_help
from aiida_mghdiff.calculations.vasp.force_field import fast_message, force_field_message
from aiida_mghdiff.calculations.vasp.job import (
    ENGINE,
    LAST_LINES,
    RUN_FILES,
    VaspJob,
    integrator_of,
    own_tags_message,
    potcars_message,
    start_atoms,
    symbols_message,
)
from aiida_mghdiff.formats.iconst import iconst_text
from aiida_mghdiff.science.trajectory_reduction import ReductionPlan
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K, EV_FS2_PER_ANGSTROM2_IN_AMU, GPA_IN_KBAR, PS_IN_FS

MOST_SEEDS = 900_000_000

OUTBLOCK = 'ml_outblock'
#: INCAR tags that the job sets, in addition to ML_OUTBLOCK.
SET_TAGS = (
    *('ml_lmlff', 'ml_mode', 'ml_output_mode', 'nblock', 'ibrion', 'nsw', 'potim', 'tebeg', 'teend', 'random_seed'),
    *('isym', 'lwave', 'lcharg', 'mdalgo', 'isif', 'andersen_prob', 'langevin_gamma', 'langevin_gamma_l', 'pmass'),
    'pstress',
)

#: ``auto``: in fast mode, which a refit makes; ``as-learned``: in the mode of the force field, fast or not.
EVALUATORS = ('auto', 'as-learned')

THERMOSTATS = {'nve': None, 'nvt': 'VASP Langevin (MDALGO = 3)', 'npt': 'VASP Langevin (MDALGO = 3)'}
MDALGO = {'nve': 1, 'nvt': 3, 'npt': 3}
BAROSTATS = {'nve': None, 'nvt': None, 'npt': 'VASP Langevin Parrinello-Rahman, fixed shape (ICONST)'}


def validate_inputs(inputs: dict[str, Any], context: Any = None) -> str | None:
    """Return a message about a fault in the inputs, or None."""
    if message := validate_md_inputs(inputs, context, takes_incar=True):
        return message
    if not {'potential', 'parameters'} <= set(inputs):
        return None
    parameters = inputs['parameters']
    if parameters['evaluator'] not in EVALUATORS or parameters['dtype'] != 'float64':
        return f'parameters: VASP evaluates its force fields in float64: set evaluator to {" or ".join(EVALUATORS)}.'
    symbols = start_atoms(inputs).get_chemical_symbols()
    slower = ', or set evaluator to as-learned: slower'
    return (
        incar_message(parameters.get_dict())
        or force_field_message(inputs['potential'])
        or (fast_message(inputs['potential'], slower) if parameters['evaluator'] == 'auto' else None)
        or symbols_message(symbols)
        or potcars_message(symbols, inputs.get('potcars', {}))
    )


def incar_message(parameters: Mapping[str, Any]) -> str | None:
    """Return a message about a fault in the user's INCAR tags in the MD parameters, or None."""
    own = parameters.get(INCAR, {})
    if not isinstance(own, dict):
        return f'parameters: {INCAR} = {own!r} is not a dictionary of INCAR tags.'
    most, every = stride_block(parameters), own.get(OUTBLOCK, 1)
    if not IS_COUNT.holds(every) or most % every:
        return (
            f'parameters: {INCAR}: {OUTBLOCK} = {every!r} does not divide {most}, the interval of written steps '
            f'of this run: leave {OUTBLOCK} out, or change tracer_stride, thermo_stride and frame_stride.'
        )
    return own_tags_message(
        {tag: value for tag, value in own.items() if tag != OUTBLOCK}, SET_TAGS, f'parameters: {INCAR}'
    )


def barostat_mass_amu(cell: np.ndarray, n_atoms: int, temperature_k: float, time_ps: float) -> float:
    """Return PMASS in amu of a barostat with a period of about ``time_ps``.

    The kinetic energy of VASP's lattice is W/2 Σ(da_i/dt)² over the lattice vectors. For a fixed shape, a_i grows as
    exp(e), and the energy is W/2 Σ|a_i|² (de/dt)². So W Σ|a_i|² is the mass of the strain e, for which Martyna, Tobias
    and Klein (J. Chem. Phys. 101, 4177 (1994), doi:10.1063/1.467468) recommend 3 N k_B T τ².

    :param cell: [3,3] Å.
    """
    action = 3 * n_atoms * BOLTZMANN_EV_PER_K * temperature_k * (time_ps * PS_IN_FS) ** 2
    return action / float((cell**2).sum()) * EV_FS2_PER_ANGSTROM2_IN_AMU


def stride_block(parameters: Mapping[str, Any]) -> int:
    """Return the largest interval of written steps that includes all strides.

    NVT runs write every step: NVE runs start from their frames, whose velocities come from neighbouring frames
    (``science.trajectory_reduction``).
    """
    if parameters['ensemble'] == 'nvt':
        return 1
    return gcd(*(parameters[key] for key in ('tracer_stride', 'thermo_stride', 'frame_stride')))


def output_block(parameters: Mapping[str, Any]) -> int:
    """Return the interval of written steps (ML_OUTBLOCK), which divides all strides and both ends of the run.

    VASP writes CONTCAR only at these steps, too. The user may choose a smaller interval, but not a larger one.
    """
    block = gcd(stride_block(parameters), parameters['steps'], parameters['first_step'])
    return gcd(block, parameters.get(INCAR, {}).get(OUTBLOCK, 0))


def incar(parameters: dict[str, Any], atoms: Atoms) -> dict[str, Any]:
    """Return the INCAR of a run."""
    temperature, ensemble = parameters['temperature_k'], parameters['ensemble']
    block = output_block(parameters)
    tags = {
        'ml_lmlff': True,
        'ml_mode': 'run',
        'ml_outblock': block,
        # 0 if every step is written: no structures and forces in vasprun.xml, which nothing reads here
        'ml_output_mode': int(ensemble != 'nvt'),
        'nblock': block,
        'ibrion': 0,
        'nsw': parameters['steps'],
        'potim': parameters['time_step_fs'],
        'tebeg': temperature,
        'teend': temperature,
        # each segment has its own seed; the same seed would repeat the noise of the thermostat
        'random_seed': [thermostat_seed(parameters) % MOST_SEEDS, 0, 0],
        'isym': 0,
        'lwave': False,
        'lcharg': False,
    }
    return tags | _ensemble_tags(parameters, atoms)


def _ensemble_tags(parameters: dict[str, Any], atoms: Atoms) -> dict[str, Any]:
    if parameters['ensemble'] == 'nve':
        return {'mdalgo': MDALGO['nve'], 'andersen_prob': 0.0, 'isif': 2}
    friction = parameters['friction_per_ps']
    species = len(set(atoms.get_chemical_symbols()))
    tags = {'mdalgo': MDALGO[parameters['ensemble']], 'isif': 2, 'langevin_gamma': [friction] * species}
    if parameters['ensemble'] == 'npt':
        mass = barostat_mass_amu(
            atoms.cell.array, len(atoms), parameters['temperature_k'], parameters['barostat_time_ps']
        )
        tags |= {
            'isif': 3,
            'langevin_gamma_l': friction,
            'pmass': round(mass, 3),
            'pstress': parameters['pressure_gpa'] * GPA_IN_KBAR,
        }
    return tags


def md_plan(parameters: dict[str, Any], atoms: Atoms) -> ReductionPlan:
    """Return the plan for reducing the trajectory of a run; all jobs of a run keep the same steps."""
    return reduction_plan(parameters, atoms, output_block(parameters), as_written=parameters['ensemble'] != 'nvt')


def reduction_plan(parameters: dict[str, Any], atoms: Atoms, block: int, *, as_written: bool = False) -> ReductionPlan:
    """Return the plan for reducing the trajectory of a job that writes every ``block`` steps."""
    is_tracer = np.array([symbol == parameters['tracer_element'] for symbol in atoms.symbols])
    masses = np.where(is_tracer, 0.0, atomic_masses[atoms.numbers])
    return ReductionPlan(
        cell=atoms.cell.array.tolist(),
        positions=atoms.positions.tolist(),
        tracers=np.flatnonzero(is_tracer).tolist(),
        host_weights=(masses / masses.sum()).tolist(),
        first_step=parameters['first_step'],
        block=block,
        tracer_stride=parameters['tracer_stride'],
        frame_stride=parameters['frame_stride'],
        time_step_fs=parameters['time_step_fs'],
        moving_cell=parameters['ensemble'] == 'npt',
        as_written=as_written or block > 1,
    )


class VaspMdCalculation(VaspJob):
    """One run of molecular dynamics: velocity Verlet, with Langevin noise, or with a barostat of fixed shape."""

    CACHE_VERSION = 3
    CONTINUED_FROM = 'state'
    _PARSER = 'mghdiff.vasp.md'
    _KEPT_OUTPUT = LAST_LINES
    _TEMPORARY_FILES = RUN_FILES
    _UNUSED_INPUTS = ('kpoints', 'vdw_kernel')
    _REDUCES = True

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define ports and exit codes."""
        super().define(spec)
        spec.inputs['parameters'].help = keys_help(
            f'Complete settings; ``{INCAR}`` may contain your own INCAR tags.', MD_KEYS
        )
        define_md(spec)
        spec.outputs['results'].help = 'Means, drift, versions.'
        spec.inputs.validator = validate_inputs

    def own_tags(self) -> dict[str, Any]:
        """Return the user's own INCAR tags."""
        return self.inputs.parameters.get(INCAR, {})

    def set_tags(self) -> dict[str, Any]:
        """Return the INCAR tags of the settings."""
        return incar(self.inputs.parameters.get_dict(), self.start_atoms())

    def goes_on(self) -> bool:
        """Return whether VASP's own CONTCAR has the same integrator."""
        return has_own_restart(self.inputs, ENGINE, integrator_of(MDALGO[self.inputs.parameters['ensemble']]))

    def iconst(self) -> str | None:
        """Return the ICONST that keeps the shape of a moving cell."""
        is_moving = self.inputs.parameters['ensemble'] == 'npt'
        return iconst_text(self.start_atoms().cell.array, 'fixed') if is_moving else None

    def plan(self) -> ReductionPlan:
        """Return the plan for reducing the trajectory."""
        return md_plan(self.inputs.parameters.get_dict(), self.start_atoms())
