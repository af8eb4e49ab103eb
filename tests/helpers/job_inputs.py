"""Inputs of each kind of job."""

from __future__ import annotations

import numpy as np
from aiida import orm
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from md_parameters import md_parameters
from training_inputs import chgnet_inputs, mace_inputs, make_dataset
from vasp_md_runs import md_inputs, mlff_inputs
from vasp_runs import end_results, hydride, make_force_field, straight_path, vasp_inputs

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.workflows.label import LabelWorkChain
from aiida_mghdiff.workflows.protocol import protocol_inputs


def mesh():
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([1, 1, 1])
    return kpoints


def searched(area, potential, **inputs):
    return {'potential': potential, 'parameters': orm.Dict(protocol_inputs(area, 'smoke')['parameters'])} | inputs


def ends():
    return [orm.StructureData(ase=atoms) for atoms in hydride()]


def atoms_md(potential, folder):
    return {'potential': potential, 'structure': ends()[0], 'parameters': orm.Dict(md_parameters())}


def vasp_evaluate(potential, folder):
    atoms = Atoms('Mg2H', cell=np.diag([3.2, 5.5, 5.2]), positions=[[0, 0, 0], [1.6, 2.7, 2.6], [1, 1, 1]], pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=np.zeros((3, 3)))
    dataset = DatasetData.from_frames([atoms], labelled_by='vasp')
    return {
        'potential': make_force_field(folder),
        'dataset': dataset,
        'potcars': placeholder_potcars(['Mg', 'H']),
        'metadata': {'options': {'withmpi': False}},
    }


def vasp_neb(potential, folder):
    return {
        'parameters': vasp_inputs()['parameters'],
        'kpoints': mesh(),
        'potcars': placeholder_potcars(['Mg', 'H']),
        'images': straight_path(hydride(), 1),
        'initial_results': end_results(),
        'final_results': end_results(-25.8),
        'metadata': {'options': {'withmpi': False}},
    }


def vasp_relax(potential, folder):
    return {
        'parameters': vasp_inputs()['relaxation'],
        'kpoints': mesh(),
        'potcars': placeholder_potcars(['Mg', 'H']),
        'structure': ends()[0],
        'metadata': {'options': {'withmpi': False}},
    }


def singlepoint(engine):
    def inputs(potential, folder):
        parameters = orm.Dict(LabelWorkChain.get_parameters(engine, 'smoke')[0])
        values = {'structure': ends()[0], 'parameters': parameters, 'kpoints': mesh()}
        if engine == 'vasp':
            values |= {'potcars': placeholder_potcars(['Mg', 'H']), 'metadata': {'options': {'withmpi': False}}}
        return values

    return inputs


#: Inputs of each kind of job without its code, from a potential and a folder for files.
JOBS = {
    'mghdiff.mace.train': lambda potential, folder: mace_inputs(None),
    'mghdiff.chgnet.train': lambda potential, folder: chgnet_inputs(None),
    'mghdiff.evaluate': lambda potential, folder: {
        'potential': potential,
        'dataset': make_dataset(3),
        'parameters': orm.Dict({'dtype': 'float64', 'device': 'cpu'}),
    },
    'mghdiff.ase.md': atoms_md,
    'mghdiff.ase.neb': lambda potential, folder: searched('neb', potential, initial=ends()[0], final=ends()[1]),
    'mghdiff.ase.vibrations': lambda potential, folder: searched('vibrations', potential, structure=ends()[0]),
    'mghdiff.lammps.md': atoms_md,
    'mghdiff.vasp.md': lambda potential, folder: md_inputs(None, folder),
    'mghdiff.vasp.mlff': lambda potential, folder: mlff_inputs(None),
    'mghdiff.vasp.evaluate': vasp_evaluate,
    'mghdiff.vasp.neb': vasp_neb,
    'mghdiff.vasp.relax': vasp_relax,
    'mghdiff.vasp.singlepoint': singlepoint('vasp'),
    'mghdiff.gpaw.singlepoint': singlepoint('gpaw'),
}
