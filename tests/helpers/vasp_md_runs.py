"""Shared helpers of the tests of molecular dynamics and learning in VASP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from aiida import orm
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from md_parameters import md_parameters
from vasp_files import dft_step, ml_step, outcar_end, outcar_head
from vasp_runs import hydride, make_force_field

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.formats.frames import arrays_from_frames
from aiida_mghdiff.formats.ml_ff import MlFfHeader, write_ml_ff
from aiida_mghdiff.formats.mlab import write_mlab
from aiida_mghdiff.formats.poscar import Poscar, write_poscar
from aiida_mghdiff.formats.xdatcar import xdatcar_frame, xdatcar_header
from aiida_mghdiff.science.units import KBAR_IN_EV_PER_ANGSTROM3

#: Mg16H with hydrogen last.
START = hydride()[0]


def vasp_md_parameters(ensemble: str = 'nve', **changes: object) -> dict[str, object]:
    """Return complete MD parameters for VASP."""
    return md_parameters(ensemble, 0.1, **{'time_step_fs': 1.0, 'evaluator': 'auto'} | changes)


def md_inputs(code: orm.AbstractCode, folder) -> dict[str, object]:
    """Return the inputs of a run that starts from a structure."""
    return {
        'code': code,
        'potential': make_force_field(folder),
        'potcars': placeholder_potcars(['Mg', 'H']),
        'structure': orm.StructureData(ase=START),
        'parameters': orm.Dict(vasp_md_parameters()),
        'metadata': {'options': {'withmpi': False}},
    }


def state_of(atoms: Atoms, step: int, **options: object) -> MdStateData:
    """Return a state with velocities of about 300 K."""
    velocities = np.random.default_rng(3).normal(scale=4e-3, size=atoms.positions.shape)
    return MdStateData.from_arrays(atoms.numbers, atoms.cell.array, atoms.positions, velocities, step, **options)


def contcar_text(atoms: Atoms, predictor_corrector: bool = False, velocities: np.ndarray | None = None) -> str:
    """Return a CONTCAR of molecular dynamics."""
    return write_poscar(
        Poscar(
            comment='Mg16H',
            symbols=['Mg', 'H'],
            counts=[16, 1],
            cell=atoms.cell.array,
            positions=atoms.positions,
            velocities=np.zeros_like(atoms.positions) if velocities is None else velocities,
            predictor_corrector='   1\n  1.0\n' if predictor_corrector else None,
        )
    )


class EinsteinCrystal:
    """A run of velocity Verlet in moving harmonic wells, written in VASP's files.

    Energies, forces and paths are known in closed form or to rounding, so tests compare all digits of the files. The
    wells drift, so atoms leave the cell.
    """

    stiffness = 2.0  # eV/Å²
    drift = np.array([0.004, 0.0, 0.01])  # Å/fs

    def __init__(self, state: MdStateData | None = None, time_step_fs: float = 1.0) -> None:
        self.state = state or state_of(START, 0)
        self.numbers, self.cell = self.state.get_array('numbers'), self.state.get_array('cell')
        self.dt = time_step_fs
        self.wells = START.positions
        self.masses = np.where(self.numbers == 1, 1.008, 24.305)[:, None]
        x, v = self.state.get_array('positions'), self.state.get_array('velocities')
        self.steps = []  # positions, velocities and time before each step
        self._now = (x, v, self.state.step)

    def run(self, steps: int) -> EinsteinCrystal:
        """Make some steps; CONTCAR has the last state."""
        for _ in range(steps):
            self.steps.append(self._now)
            x, v, step = self._now
            half = v + 0.5 * self.dt * self._acceleration(x, step)
            x = x + self.dt * half
            self._now = (x, half + 0.5 * self.dt * self._acceleration(x, step + 1), step + 1)
        return self

    @property
    def final(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions and velocities after the last step."""
        return self._now[:2]

    def _acceleration(self, x: np.ndarray, step: int) -> np.ndarray:
        return self.forces(x, step) / self.masses * 9.648533e-3

    def forces(self, x: np.ndarray, step: int) -> np.ndarray:
        """Return the forces at a step; only the step number moves the wells."""
        return -self.stiffness * (x - self.wells - self.drift * self.dt * step)

    def potential(self, x: np.ndarray, step: int) -> float:
        return float((self.forces(x, step) ** 2).sum() / (2 * self.stiffness)) - 26.0

    def kinetic(self, v: np.ndarray) -> float:
        return float((0.5 * self.masses * v**2).sum() / 9.648533e-3)

    def labels(self, index: int) -> dict[str, object]:
        """Return OUTCAR's labels of a step, counted from 0; the pressure is 10 kbar."""
        x, _, step = self.steps[index]
        energy = round(self.potential(x, step), 8)
        stress = np.array([10.0, 10.0, 10.0, 0.0, 0.0, 0.0])
        labels = {'cell': self.cell, 'positions': x, 'forces': self.forces(x, step), 'stress': stress}
        return labels | {'energy': energy, 'sigma0': energy}

    def temperature(self, index: int) -> float:
        kinetic = self.kinetic(self.steps[index][1])
        return 2 * kinetic / (3 * (len(self.numbers) - 1) * 8.617333e-5)

    def write(self, folder: Path, *, block: int = 1, dft: tuple[int, ...] = (), finished: bool = True) -> None:
        """Write CONTCAR, OSZICAR, OUTCAR and XDATCAR.

        :param dft: DFT steps, counted from 1; all others are force-field steps.
        """
        written = range(block, len(self.steps) + 1, block)
        x, v = self.final
        atoms = Atoms(self.numbers, x, cell=self.cell, pbc=True)
        (folder / 'CONTCAR').write_text(contcar_text(atoms, velocities=v))
        (folder / 'XDATCAR').write_text(
            xdatcar_header('Mg16H', self.cell, ['Mg', 'H'], [16, 1])
            + ''.join(xdatcar_frame(i, self._fractional(self.steps[i - 1][0])) for i in written)
        )
        (folder / 'OSZICAR').write_text(''.join(map(self._oszicar_line, written)))
        steps = ''.join(dft_step(i, self.labels(i - 1)) if i in dft else ml_step(self.labels(i - 1)) for i in written)
        (folder / 'OUTCAR').write_text(outcar_head(['Mg', 'H'], [16, 1]) + steps + (outcar_end() if finished else ''))

    def _fractional(self, x: np.ndarray) -> np.ndarray:
        return np.linalg.solve(self.cell.T, x.T).T

    def _oszicar_line(self, i: int) -> str:
        x, v, step = self.steps[i - 1]
        potential, kinetic = self.potential(x, step), self.kinetic(v)
        return (
            f'{i:7d} T= {self.temperature(i - 1):5.0f}. E= {potential + kinetic:.8E} F= {potential:.8E} '
            f'E0= {potential:.8E}  EK= {kinetic:.5E} SP= 0.00E+00 SK= 0.00E+00\n'
        )


def mlff_tags(**changes: object) -> dict[str, object]:
    """Return the INCAR of a short learning run."""
    tags = {
        'encut': 600,
        'ismear': 0,
        'sigma': 0.05,
        'ibrion': 0,
        'mdalgo': 3,
        'isif': 3,
        'nsw': 40,
        'potim': 1.0,
        'tebeg': 300.0,
        'teend': 350.0,
        'langevin_gamma': [10.0, 10.0],
        'langevin_gamma_l': 10.0,
        'random_seed': [5, 0, 0],
        'ml_lmlff': True,
        'ml_mode': 'train',
        'ml_ctifor': 0.005,
        'ml_mconf': 100,
    }
    return tags | changes


def mlff_settings(**changes: object) -> dict[str, object]:
    """Return complete settings of a learning job."""
    settings = {
        'stage': 'heating',
        'first_step': 0,
        'group_steps': 10,
        'tracer_element': 'H',
        'tracer_stride': 4,
        'thermo_stride': 2,
        'frame_stride': 10,
        'spilling_limit': None,
    }
    return settings | changes


def mlff_inputs(code: orm.AbstractCode) -> dict[str, object]:
    """Return the inputs of a job that learns from nothing."""
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([4, 4, 4])
    return {
        'code': code,
        'structure': orm.StructureData(ase=START),
        'parameters': orm.Dict(mlff_tags()),
        'settings': orm.Dict(mlff_settings()),
        'kpoints': kpoints,
        'potcars': placeholder_potcars(['Mg', 'H']),
        'metadata': {'options': {'withmpi': False}},
    }


def labelled_frames(count: int, seed: int = 1) -> list[Atoms]:
    """Return rattled Mg16H, wrapped into the cell; the made-up labels fit VASP's decimals."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = START.copy()
        atoms.positions = np.round(atoms.positions + rng.normal(scale=0.05, size=(17, 3)), 5)
        atoms.wrap()
        labels = {'energy': round(rng.normal(-26, 0.2), 8), 'forces': np.round(rng.normal(size=(17, 3)), 6)}
        atoms.calc = SinglePointCalculator(atoms, **labels, stress=-KBAR_IN_EV_PER_ANGSTROM3 * rng.normal(size=6))
        frames.append(atoms)
    return frames


def learned_dataset(stage='heating', count=1, labels='vasp', symbol='H', converged=1):
    """Return a dataset of one stretch of one stage, with the origin of its configurations."""
    frames = labelled_frames(count)
    for frame in frames:
        frame.symbols[-1] = symbol
    origin = {'steps': np.arange(count), 'temperatures_k': np.full(count, 300.0), 'learned': np.ones(count, dtype=int)}
    origin |= {'converged': np.broadcast_to(converged, count)}
    origin |= {name: np.zeros(count, dtype=int) for name in ('groups', 'stages')}
    names = {'group_names': [f'{stage}, stretch 0'], 'stage_names': [stage]}
    return DatasetData.from_arrays(arrays_from_frames(frames) | origin, energy_kind='free', labelled_by=labels, **names)


def learning_state(order: list[int]) -> orm.ArrayData:
    """Return a learning state of three configurations."""
    state = orm.ArrayData(
        {
            'order': np.array(order),
            'ctifor': np.array([0.01, 0.02, 0.03]),
            'basis_Mg': np.array([[1, 2], [3, 1]]),
            'basis_H': np.array([[2, 17]]),
        }
    )
    state.base.attributes.set_many(
        {
            'types': ['Mg', 'H'],
            'reference_energies': {'Mg': 0.0, 'H': 0.0},
            'masses': {'Mg': 24.305, 'H': 1.0},
            'version': '1.0',
        }
    )
    return state


def frame_of(run: EinsteinCrystal, step: int) -> Atoms:
    """Return a DFT step as in ML_ABN: wrapped, with VASP's digits."""
    labels = run.labels(step - 1)
    atoms = START.copy()
    atoms.positions = labels['positions']
    atoms.wrap()
    stress = np.array([-1.0, -1.0, -1.0, 0.0, 0.0, 0.0]) / 160.2176634
    atoms.calc = SinglePointCalculator(atoms, energy=labels['energy'], forces=labels['forces'], stress=stress)
    return atoms


def write_learned(path: Path, frames: list[Atoms]) -> None:
    """Write ML_ABN and ML_FFN; the local references are atoms of the first configuration."""
    basis = {'Mg': np.array([[1, 1]]), 'H': np.array([[1, 17]])}
    write_mlab(path / 'ML_ABN', frames, ctifor=[0.02] * len(frames), basis=basis, masses={'Mg': 24.305, 'H': 1.0})
    header = MlFfHeader('0.2.1', ['Mg', 'H'], False, len(frames), standin='chgnet-r2scan')
    write_ml_ff(path / 'ML_FFN', header, b'content')


def logfile(steps: int, dft: tuple[int, ...], spilling: float = 0.01, finished: bool = True) -> str:
    """Return an ML_LOGFILE with a line of each kind for each step."""
    fence = '-' * 80
    lines = ['* MACHINE LEARNING SETTINGS ' + '*' * 100, '* MAIN LOOP ' + '*' * 100]
    count = 0
    for step in range(1, steps + 1):
        count += step in dft
        state, name, flag = (3, 'learning', 'T') if step in dft else (1, 'accurate', 'F')
        lines += [
            fence,
            f'STATUS {step:12d} {name} {state} {flag} T 0 0',
            f'BEEF {step:12d} 1.0E-03 {0.001 * step:.4E} 5.0E-03 2.0E-02 1.0 0.5',
            f'SFF {step:12d} {spilling:.4E} 1.0E-05 1.0E-03 1.0E-06 2.0E-02',
        ]
        if step in dft:
            lines += [
                f'SPRSC {step:12d} {count - 1} {count} Mg {16 * (count - 1)} {16 * count} H {count - 1} {count}',
                f'ERR {step:12d} 1.0E-03 4.5E-02 2.0',
                f'THRUPD {step:12d} 2.0E-02 2.5E-02',
            ]
    lines.append(fence)
    return '\n'.join([*lines, *(['* TIMING INFORMATION ' + '*' * 100] if finished else [])]) + '\n'
