"""LAMMPS runs inside the test's own process, so torch is imported only once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from aiida_mghdiff.calculations.lammps import script
from aiida_mghdiff.executables.lmp import launcher
from aiida_mghdiff.formats import job_files
from aiida_mghdiff.formats.lammps import write_data
from aiida_mghdiff.parsers.lammps.md import read_run

TYPES = ['Mg', 'H']
HEADER = """\
units metal
atom_style atomic
atom_modify map yes
box tilt large
read_data start.data
pair_style mace no_domain_decomposition
pair_coeff * * {model}-lammps.pt Mg H
"""


def hydride(repeats=(2, 2, 2), strain=0.02, noise=0.03, shift=(30.0, -20.0, 7.0)) -> Atoms:
    """Return hcp Mg with one H in a triclinic cell; atoms lie outside the cell."""
    atoms = bulk('Mg', 'hcp', a=3.2, c=5.19).repeat(repeats)
    atoms += Atoms('H', [atoms.positions[0] + [1.6, 0.92, 1.3]])
    rng = np.random.default_rng(2)
    atoms.set_cell(atoms.cell @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(scale=noise, size=atoms.positions.shape) + shift
    return atoms


def write_start(folder: Path, atoms: Atoms, velocities=None) -> None:
    """Write ``start.data``."""
    with open(folder / job_files.DATA_FILE, 'w') as handle:
        write_data(handle, TYPES, atoms.get_chemical_symbols(), atoms.cell.array, atoms.positions, velocities)


class Bench:
    """Runs scripts with one model, each in a new folder."""

    def __init__(self, root: Path, model: Path, capture, monkeypatch) -> None:
        self.root, self.model, self.capture, self.monkeypatch, self.count = root, model, capture, monkeypatch, 0

    def folder(self) -> Path:
        """Return a new folder with the model in it."""
        self.count += 1
        folder = self.root / f'run_{self.count}'
        folder.mkdir()
        (folder / 'potential.model').symlink_to(self.model)
        return folder

    def launch(self, folder: Path, text: str) -> tuple[int, str]:
        """Run a script in a folder; return exit status and output."""
        (folder / 'input.in').write_text(text)
        with self.monkeypatch.context() as patch:
            patch.chdir(folder)
            self.capture.readouterr()
            status = launcher.run(['-in', 'input.in', '-log', 'none'])
        self.output = self.capture.readouterr().out
        return status, self.output

    def md(self, values, atoms=None, start=None, restart=None, wall_seconds=None):
        """Run molecular dynamics from atoms, or from the end of the run ``start``."""
        folder = self.folder()
        if start is not None:
            atoms = Atoms(start.numbers, start.final_positions, cell=start.final_cell, pbc=True)
        if restart:
            (folder / job_files.RESTART_IN).write_bytes(restart)
        write_start(folder, atoms, None if start is None else start.final_velocities * 1e3)
        text = script.md_script(
            values,
            TYPES,
            draws_velocities=start is None,
            reads_restart=restart is not None,
            wall_seconds=wall_seconds,
        )
        status, output = self.launch(folder, text)
        assert status == 0, output
        return read_run((atoms.numbers, atoms.cell.array), values, output, folder)
