"""Folders for the stand-in, and its runs as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_text
from aiida_mghdiff.formats.poscar import Poscar, write_poscar

PROGRAM = Path(sys.executable).with_name('mghdiff-vasp-standin')

TRAIN = {'ML_LMLFF': '.TRUE.', 'ML_MODE': 'train', 'ML_CTIFOR': 0.005}
RUN = {'ML_LMLFF': '.TRUE.', 'ML_MODE': 'run'}
MD = {'IBRION': 0, 'POTIM': 1.0, 'TEBEG': 600, 'RANDOM_SEED': '7 0 0'}
NVE = MD | {'MDALGO': 1, 'ANDERSEN_PROB': 0.0, 'ISIF': 2}
LANGEVIN = MD | {'MDALGO': 3, 'ISIF': 2, 'LANGEVIN_GAMMA': '10 10'}
NPT = LANGEVIN | {'ISIF': 3, 'LANGEVIN_GAMMA_L': 10, 'PMASS': 100}


def hydride(repeats=2) -> Atoms:
    """Return Mg16H with hydrogen on an octahedral site."""
    cell = bulk('Mg', 'hcp', a=3.19, c=5.17)
    atoms = cell * (repeats, repeats, repeats)
    return atoms + Atoms('H', [np.dot([2 / 3, 1 / 3, 1 / 4], cell.cell)])


def cell_of_the_paper() -> Atoms:
    """Return 128 Mg and 8 H, each on the octahedral site of a block of 2x2x2 cells."""
    cell = bulk('Mg', 'hcp', a=3.19, c=5.17)
    blocks = np.array(list(np.ndindex(2, 2, 2)))
    return cell * (4, 4, 4) + Atoms('H8', (2 * blocks + [2 / 3, 1 / 3, 1 / 4]) @ cell.cell.array)


def write_folder(folder, tags, atoms=None, iconst=None, **files):
    """Write the input of a job.

    :param files: text or bytes by name, with ``_`` for a dot.
    """
    folder.mkdir(exist_ok=True, parents=True)
    (folder / 'INCAR').write_text(''.join(f'{tag} = {value}\n' for tag, value in tags.items()))
    if atoms is not None:
        write_structure(folder / 'POSCAR', atoms)
    (folder / 'KPOINTS').write_text('mesh\n0\nGamma\n1 1 1\n0 0 0\n')
    symbols = dict.fromkeys((atoms or hydride()).get_chemical_symbols())
    (folder / 'POTCAR').write_text(''.join(map(placeholder_text, symbols)))
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    if iconst:
        (folder / 'ICONST').write_text(iconst)
    return folder


def write_structure(path, atoms):
    """Write atoms as a POSCAR, with velocities if they have momenta."""
    symbols = list(dict.fromkeys(atoms.get_chemical_symbols()))
    counts = [atoms.get_chemical_symbols().count(symbol) for symbol in symbols]
    velocities = atoms.get_velocities() * units.fs if atoms.has('momenta') else None
    path.write_text(write_poscar(Poscar('test', symbols, counts, atoms.cell.array, atoms.positions, velocities)))


def go_on(folder, before, tags, *, learned=('ML_ABN', 'ML_AB')):
    """Write the input of a job that continues another one."""
    write_folder(folder, tags)
    (folder / 'POSCAR').write_bytes((before / 'CONTCAR').read_bytes())
    if learned and (before / learned[0]).exists():
        (folder / learned[1]).write_bytes((before / learned[0]).read_bytes())
    return folder


def standin(folder, *arguments, check=True):
    """Run the stand-in in a folder as a process; return status and stdout."""
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert not check or done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.returncode, done.stdout


def standin_here(folder, labels='chgnet-r2scan'):
    """Run the stand-in in a folder in this process; return the exit status."""
    from aiida_mghdiff.executables.vasp_standin.standin import run

    before, handler = Path.cwd(), signal.getsignal(signal.SIGTERM)
    os.chdir(folder)
    try:
        return run(labels)
    finally:
        os.chdir(before)
        signal.signal(signal.SIGTERM, handler)
