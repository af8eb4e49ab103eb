"""Metals with tracers, for datasets and paths: hcp, fcc, bcc and alloys; the labels are made up."""

from __future__ import annotations

import numpy as np
from aiida import orm
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.science.lattice.geometry import hcp_paths

#: Host supercells of at least 16 atoms, and an octahedral site in fractional coordinates of the primitive cell.
TITANIUM = {'crystalstructure': 'hcp', 'a': 2.94, 'c': 4.65}
ZIRCONIUM = {'crystalstructure': 'hcp', 'a': 3.23, 'c': 5.15}
MAGNESIUM = {'crystalstructure': 'hcp', 'a': 3.20, 'c': 5.19}
PALLADIUM = {'crystalstructure': 'fcc', 'a': 3.95, 'cubic': True}
VANADIUM = {'crystalstructure': 'bcc', 'a': 3.03, 'cubic': True}
OCTAHEDRON = {'hcp': (2 / 3, 1 / 3, 0.5), 'fcc': (0.5, 0.5, 0.5), 'bcc': (0.5, 0.5, 0.0)}


def make_frame(symbol, lattice, tracers='H', repeat=2, shake=0.05, seed=0):
    """Return host atoms with tracers (symbols) in octahedra of different unit cells, all displaced at random (Å)."""
    rng = np.random.default_rng(seed)
    unit = bulk(symbol, **lattice)
    atoms = unit.repeat(repeat)
    corners = np.array(list(np.ndindex(repeat, repeat, repeat)))[rng.permutation(repeat**3)]
    for tracer, corner in zip(tracers, corners, strict=False):
        atoms += Atoms(tracer, [(corner + OCTAHEDRON[lattice['crystalstructure']]) @ unit.cell.array])
    atoms.positions += rng.normal(scale=shake, size=atoms.positions.shape)
    return atoms


def label(atoms, seed=0):
    """Return the atoms with made-up labels."""
    rng = np.random.default_rng(seed)
    forces = rng.normal(scale=0.1, size=(len(atoms), 3))
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0 * len(atoms), forces=forces, stress=np.full(6, 1e-3))
    return atoms


def make_dataset(symbol='Mg', lattice=MAGNESIUM, tracers=('', 'H', 'H', 'HH'), **options):
    """Return an unstored dataset, a frame for each set of tracers."""
    frames = [label(make_frame(symbol, lattice, one, seed=seed, **options)) for seed, one in enumerate(tracers)]
    return DatasetData.from_frames(frames, labelled_by='none')


def make_host(symbol='Mg', lattice=MAGNESIUM, repeat=2):
    """Return the ideal host as an unstored node."""
    return orm.StructureData(ase=bulk(symbol, **lattice).repeat(repeat))


def path_ends(host, path='T-T'):
    """Return the hcp host with an H at the beginning and at the end of a path, as unstored nodes."""
    nodes = []
    for site in hcp_paths(np.array(host.cell), host.get_ase().positions)[path]:
        atoms = host.get_ase()
        atoms.append('H')
        atoms.positions[-1] = site
        nodes.append(orm.StructureData(ase=atoms))
    return nodes


def write_labels(path, frames, calculator=None, name='none'):
    """Write an extxyz file of labelled frames, each marked with its labeller; by default labels are made up."""
    for frame in map(label, frames) if calculator is None else frames:
        frame.calc = calculator or frame.calc
        labels = {'REF_energy': frame.get_potential_energy(), 'REF_stress': frame.get_stress()}
        frame.info = labels | {'labels': name}
        frame.arrays['REF_forces'] = frame.get_forces()
        frame.calc = None
    write(path, frames, format='extxyz')
    return path


def write_chgnet_labels(path, frames):
    """Write frames with labels of CHGNet 0.3.0: realistic forces, but not from first principles."""
    from chgnet.model.dynamics import CHGNetCalculator

    return write_labels(path, frames, CHGNetCalculator(use_device='cpu'), 'CHGNet-0.3.0')
