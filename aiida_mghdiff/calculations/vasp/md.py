"""Molecular dynamics in VASP with a force field that it learned (ML_MODE = run)."""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob, CalcJobProcessSpec
from ase import Atoms
from ase.data import atomic_masses

from aiida_mghdiff.calculations.lammps.script import thermostat_seed
from aiida_mghdiff.calculations.md import define_md, has_own_restart, validate_md_inputs
from aiida_mghdiff.calculations.program import set_options
from aiida_mghdiff.calculations.vasp import base
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.iconst import iconst_text
from aiida_mghdiff.science.trajectory_reduction import DistilPlan
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K, EV_FS2_PER_ANGSTROM2_IN_AMU, PS_IN_FS

ENGINE = base.ENGINE
ARCHITECTURE = 'vasp-mlff'
FORCE_FIELD = 'ML_FF'
KBAR_PER_GPA = 10.0
MOST_SEEDS = 900_000_000

#: Oldest format of ML_FF that a VASP with the fast mode writes (6.4). A newer one VASP itself accepts or refuses.
OLDEST_FORMAT = (0, 2)

#: ``auto``: in fast mode, which a refit gives; ``as-learned``: in the mode of the force field, fast or not.
EVALUATORS = ('auto', 'as-learned')

THERMOSTATS = {'nve': None, 'nvt': 'VASP Langevin (MDALGO = 3)', 'npt': 'VASP Langevin (MDALGO = 3)'}
MDALGO = {'nve': 1, 'nvt': 3, 'npt': 3}
BAROSTATS = {'nve': None, 'nvt': None, 'npt': 'VASP Langevin Parrinello-Rahman, fixed shape (ICONST)'}


def force_field_message(potential: PotentialData) -> str | None:
    """Return why VASP cannot run a potential."""
    if potential.architecture != ARCHITECTURE:
        return f'VASP runs {ARCHITECTURE} potentials, not {potential.architecture}.'
    version = potential.base.attributes.get('version')
    if tuple(int(word) for word in version.split('.')[:2]) < OLDEST_FORMAT:
        return f'the force field has the format {version} of an older VASP: refit its ML_AB with VASP 6.4.2 or later.'
    return None


def fast_message(potential: PotentialData, otherwise: str = '') -> str | None:
    """Return that a force field has no fast mode: VASP takes the mode from the file, and is many times slower then.

    :param otherwise: what can be done besides a refit.
    """
    if potential.base.attributes.get('fast'):
        return None
    return f'the force field has no fast mode (ML_LFAST): refit it first (ML_MODE = refit){otherwise}.'


def validate_inputs(inputs: dict[str, Any], context: Any = None) -> str | None:
    """Return what is wrong with the inputs, in one sentence."""
    if message := validate_md_inputs(inputs, context):
        return message
    if not {'potential', 'parameters'} <= set(inputs):
        return None
    parameters = inputs['parameters']
    if parameters['evaluator'] not in EVALUATORS or parameters['dtype'] != 'float64':
        return f'parameters: VASP evaluates its force fields in float64: set evaluator to {" or ".join(EVALUATORS)}.'
    symbols = _atoms(inputs).get_chemical_symbols()
    slower = ', or set evaluator to as-learned: slower'
    return (
        force_field_message(inputs['potential'])
        or (fast_message(inputs['potential'], slower) if parameters['evaluator'] == 'auto' else None)
        or base.symbols_message(symbols)
        or base.potcars_message(symbols, inputs.get('potcars', {}), 'potcars')
    )


def _atoms(inputs: Any) -> Atoms:
    return base.start_atoms(inputs.get('structure'), inputs.get('state'))


def barostat_mass_amu(cell: np.ndarray, n_atoms: int, temperature_k: float, time_ps: float) -> float:
    """Return PMASS in amu of a barostat with a period of about ``time_ps``.

    The kinetic energy of VASP's lattice is W/2 Σ(da_i/dt)² over the lattice vectors. Where the shape is fixed, a_i
    grows as exp(e) and this is W/2 Σ|a_i|² (de/dt)², so that W Σ|a_i|² is the mass of the strain e, for which Martyna,
    Tobias and Klein (J. Chem. Phys. 101, 4177 (1994), doi:10.1063/1.467468) recommend 3 N k_B T τ².

    :param cell: [3,3] Å.
    """
    action = 3 * n_atoms * BOLTZMANN_EV_PER_K * temperature_k * (time_ps * PS_IN_FS) ** 2
    return action / float((cell**2).sum()) * EV_FS2_PER_ANGSTROM2_IN_AMU


def output_block(parameters: dict[str, Any]) -> int:
    """Return after how many steps VASP writes (ML_OUTBLOCK): a divisor of all strides and of both ends of the run.

    CONTCAR too is written at these steps alone. NVT runs, from which the starts of NVE runs are chosen, write every
    step: the velocities of their frames come from the neighbours (``science.trajectory_reduction``).
    """
    if parameters['ensemble'] == 'nvt':
        return 1
    keys = ('tracer_stride', 'thermo_stride', 'frame_stride', 'steps', 'first_step')
    return gcd(*(parameters[key] for key in keys))


def incar(parameters: dict[str, Any], atoms: Atoms) -> dict[str, Any]:
    """Return the INCAR of a run."""
    temperature, ensemble = parameters['temperature_k'], parameters['ensemble']
    block = output_block(parameters)
    tags = {
        'ml_lmlff': True,
        'ml_mode': 'run',
        'ml_outblock': block,
        # 0, where every step is written: no structures and forces in vasprun.xml, which nobody reads here
        'ml_output_mode': int(ensemble != 'nvt'),
        'nblock': block,
        'ibrion': 0,
        'nsw': parameters['steps'],
        'potim': parameters['time_step_fs'],
        'tebeg': temperature,
        'teend': temperature,
        # a seed for each segment: the same one would repeat the noise of the thermostat
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
            'pstress': parameters['pressure_gpa'] * KBAR_PER_GPA,
        }
    return tags


def md_plan(parameters: dict[str, Any], atoms: Atoms) -> DistilPlan:
    """Return what is kept of the trajectory of a run: of all jobs of a long one every so many steps the same."""
    return distil_plan(parameters, atoms, output_block(parameters), as_written=parameters['ensemble'] != 'nvt')


def distil_plan(parameters: dict[str, Any], atoms: Atoms, block: int, *, as_written: bool = False) -> DistilPlan:
    """Return what is kept of the trajectory of a job that writes every ``block`` steps; see ``DistilPlan``."""
    is_tracer = np.array([symbol == parameters['tracer_element'] for symbol in atoms.symbols])
    masses = np.where(is_tracer, 0.0, atomic_masses[atoms.numbers])
    return DistilPlan(
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


class VaspMdCalculation(CalcJob):
    """One run of molecular dynamics: velocity Verlet, with Langevin noise, or this with a barostat of fixed shape.

    The Code is ``vasp_std``, or ``mghdiff-vasp-standin``.
    """

    CACHE_VERSION = 3

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define ports and exit codes."""
        super().define(spec)
        files = {'input_filename': 'INCAR', 'output_filename': base.LAST_LINES}
        set_options(spec, with_mpi=True, parser_name='mghdiff.vasp.md', **files)
        spec.input('code', valid_type=orm.AbstractCode, help='`vasp_std`, or `mghdiff-vasp-standin`.')
        spec.input('parameters', valid_type=orm.Dict, serializer=orm.to_aiida_type, help='Complete settings.')
        base.define_distil_code(spec)
        define_md(spec)
        spec.output('results', valid_type=orm.Dict, help='Means, drift, versions.')
        spec.default_output_node = 'results'
        base.define_vasp_exit_codes(spec)
        spec.inputs.validator = validate_inputs

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the input files and list those of the inputs."""
        inputs, parameters = self.inputs, self.inputs.parameters.get_dict()
        atoms = _atoms(inputs)
        files = {'INCAR': base.incar_text(incar(parameters, atoms)), 'KPOINTS': base.kpoints_text((1, 1, 1))}
        if parameters['ensemble'] == 'npt':
            files['ICONST'] = iconst_text(atoms.cell.array, 'fixed')
        for name, text in files.items():
            with folder.open(name, 'w') as handle:
                handle.write(text)
        with folder.open('POTCAR', 'wb') as handle:
            dry_run = bool(inputs.metadata.get('dry_run'))
            handle.write(base.potcar_bytes(atoms.get_chemical_symbols(), inputs.potcars, dry_run))
        calcinfo = CalcInfo()
        calcinfo.local_copy_list = [inputs.potential.copy_entry(FORCE_FIELD)]
        if has_own_restart(inputs, ENGINE, base.integrator_of(MDALGO[parameters['ensemble']])):
            calcinfo.local_copy_list.append(base.restart_entry(inputs.state))
        else:
            base.write_start(folder, inputs.get('structure'), inputs.get('state'))
        base.finish_calcinfo(self, folder, calcinfo, md_plan(parameters, atoms))
        return calcinfo
