"""Output files of the stand-in. Every step is on disk before the next step begins."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TextIO

import numpy as np
from ase import Atoms, units

from aiida_mghdiff.executables.vasp_standin import outcar, vasprun_xml
from aiida_mghdiff.executables.vasp_standin.folder import Inputs
from aiida_mghdiff.executables.vasp_standin.incar_tags import Settings
from aiida_mghdiff.executables.vasp_standin.step import Dynamics, Step, scaled_positions
from aiida_mghdiff.formats.poscar import LatticeVelocities, Poscar, write_poscar
from aiida_mghdiff.formats.xdatcar import xdatcar_frame, xdatcar_header

VERSION = '6.4.2-standin'


class Outputs:
    """The files of one run, or of one image of a band."""

    def __init__(self, folder: Path, banner: str, labelled_by: str, inputs: Inputs, atoms: Atoms) -> None:
        """Open the files.

        :param banner: the version line.
        :param atoms: atoms at the start.
        """
        self.folder, self.inputs, self.settings = folder, inputs, inputs.settings
        self.labelled_by, self.started, self.banner = labelled_by, time.monotonic(), banner
        learning = self.settings.learning
        run = learning if learning is not None and learning.mode == 'run' else None
        self._block = 1 if run is None else run.out_block
        self._frame_block = max(self._block, self.settings.block)
        self._is_brief = run is not None and run.output_mode == 0
        self._files: dict[str, TextIO] = {}
        self._last: Atoms = atoms
        self._energy: float | None = None
        self._moving_cell = self.settings.isif == 3
        self._write_heads(atoms)

    def _write_heads(self, atoms: Atoms) -> None:
        poscar, settings = self.inputs.poscar, self.settings
        self.write('OUTCAR', outcar.head(self.banner, self.labelled_by, self.inputs, is_band=settings.images > 0))
        self.write('OUTCAR', outcar.parameters(self.inputs, atoms))
        self.write('OSZICAR', '')
        species = list(zip(poscar.symbols, poscar.counts, self.inputs.masses, self.inputs.titles, strict=True))
        head = vasprun_xml.head(VERSION, self.labelled_by, self.inputs.raw, settings, species, self.inputs.mesh)
        self.write('vasprun.xml', head + vasprun_xml.structure(atoms, 'initialpos', _velocities(atoms)))
        self.write('XDATCAR', '' if self._moving_cell else self._xdatcar_head(atoms))
        if settings.is_md:
            self.write('REPORT', _report_head(settings))

    def _xdatcar_head(self, atoms: Atoms) -> str:
        poscar = self.inputs.poscar
        return xdatcar_header(poscar.comment, atoms.cell.array, poscar.symbols, poscar.counts)

    def write(self, name: str, text: str) -> None:
        """Append to a file and flush it."""
        if name not in self._files:
            self._files[name] = (self.folder / name).open('w', encoding='utf-8')
        self._files[name].write(text)
        self._files[name].flush()

    def is_due(self, number: int) -> bool:
        """Return whether a step is written."""
        return number % self._block == 0

    def write_step(self, step: Step) -> None:
        """Write a step if it is due. Frames of XDATCAR have their own interval."""
        if not self.is_due(step.number):
            return
        if step.learned is None or not self._is_brief:
            self.write('OUTCAR', outcar.step(step, self.settings))
        self.write('vasprun.xml', vasprun_xml.step(step, self._is_brief))
        line = self._oszicar(step)
        self.write('OSZICAR', line)
        print(line, end='', flush=True)
        if step.number % self._frame_block == 0:
            head = self._xdatcar_head(step.atoms) if self._moving_cell else ''
            self.write('XDATCAR', head + xdatcar_frame(step.number, scaled_positions(step.atoms)))
        if step.dynamics is not None:
            self.write('REPORT', _report(step, step.dynamics))
        self._last = step.atoms

    def _oszicar(self, step: Step) -> str:
        labels = step.labels
        free, sigma0 = f'{labels.energy:17.9E}', f'{labels.energy_sigma0:17.9E}'
        if step.dynamics is None:
            change = 0.0 if self._energy is None else labels.energy - self._energy
            self._energy = labels.energy
            return f'{step.number:4d} F= {free} E0= {sigma0}  d E ={change:14.6E}\n'
        state = step.dynamics
        return (
            f'{step.number:7d} T= {state.temperature:7.1f} E= {step.total_energy:17.9E} F= {free} E0= {sigma0} '
            f'EK= {state.kinetic:12.5E} SP= {state.thermostat_potential:9.2E} SK= {state.thermostat_kinetic:9.2E}\n'
        )

    def write_contcar(self, atoms: Atoms, lattice_velocity: np.ndarray | None = None, block: str | None = None) -> None:
        """Write CONTCAR atomically.

        :param lattice_velocity: [3,3] of a moving cell in ASE's units.
        :param block: predictor-corrector text.
        """
        poscar = self.inputs.poscar
        lattice = None
        if lattice_velocity is not None:
            lattice = LatticeVelocities(1, lattice_velocity * units.fs, atoms.cell.array)
        content = Poscar(
            poscar.comment,
            poscar.symbols,
            poscar.counts,
            atoms.cell.array,
            atoms.positions,
            velocities=_velocities(atoms),
            lattice_velocities=lattice,
            predictor_corrector=block,
        )
        replace(self.folder / 'CONTCAR', write_poscar(content))
        self._last = atoms

    def finish(self, converged: bool = False) -> None:
        """Write the last lines of a completed run."""
        self.write('vasprun.xml', vasprun_xml.end(self._last, _velocities(self._last)))
        self.write('OUTCAR', outcar.end(self.started, converged))


def replace(path: Path, text: str) -> None:
    """Replace a file atomically: after a kill, either the old or the new file is complete."""
    beside = path.with_name(f'{path.name}.new')
    beside.write_text(text, encoding='utf-8')
    os.replace(beside, path)


def _velocities(atoms: Atoms) -> np.ndarray | None:
    return atoms.get_velocities() * units.fs if atoms.has('momenta') else None


def _report_head(settings: Settings) -> str:
    names = ['mdalgo', 'isif', 'potim', 'tebeg', 'teend', 'andersen_probability', 'friction', 'lattice_friction']
    names += ['piston_mass', 'pressure', 'smass']
    rows = [f'{name.upper():>24} = {getattr(settings, name)}' for name in names]
    return '\n'.join([' ' + '=' * 40, ' Parameters of molecular dynamics', ' ' + '=' * 40, *rows, '']) + '\n'


def _report(step: Step, state: Dynamics) -> str:
    energies = [step.total_energy, step.labels.energy, state.kinetic]
    energies += [state.thermostat_kinetic, state.thermostat_potential]
    lines = ['=' * 40, f'         MD step No. {step.number:7d}', '=' * 40, '', '     >Temperature']
    lines += ['                 T_sim       T_inst']
    lines += [f'     tmprt> {state.target_temperature:10.3f} {state.temperature:10.3f}', '', '     >Energies']
    lines += ['               E_tot         E_pot         E_kin         EPS         ES']
    lines += ['     e_b> ' + ''.join(f'{energy:14.6f}' for energy in energies), '']
    return '\n'.join(lines) + '\n' + report_seed(state.seed)


def report_seed(state: tuple[int, int, int]) -> str:
    """Return the lines of REPORT with the RANDOM_SEED that continues the same noise."""
    return '           RANDOM_SEED = ' + ''.join(f'{number:18d}' for number in state) + '\n\n'
