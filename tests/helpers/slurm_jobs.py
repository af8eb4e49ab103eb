"""Requests of jobs to Slurm, and lines of their scripts."""

from __future__ import annotations

from aiida import orm

FOUR_NODES = {'num_machines': 4, 'num_mpiprocs_per_machine': 48}
ONE_CORE = {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
GPU = {'custom_scheduler_commands': '#SBATCH --gpus=1'}
#: Kind of each job.
KIND = {
    'mghdiff.mace.train': 'train',
    'mghdiff.chgnet.train': 'train',
    'mghdiff.evaluate': 'evaluate',
    'mghdiff.vasp.evaluate': 'evaluate',
    'mghdiff.ase.md': 'md',
    'mghdiff.lammps.md': 'md',
    'mghdiff.vasp.md': 'md',
    'mghdiff.ase.neb': 'barrier',
    'mghdiff.vasp.neb': 'barrier',
    'mghdiff.vasp.relax': 'barrier',
    'mghdiff.ase.vibrations': 'vibrations',
    'mghdiff.vasp.mlff': 'learn',
    'mghdiff.vasp.singlepoint': 'label',
    'mghdiff.gpaw.singlepoint': 'label',
}


def code_on(computer, executable, **values):
    """Return a stored code on a computer, labelled by its executable."""
    return orm.InstalledCode(computer, executable, label=executable.rpartition('/')[2], **values).store()


def launched(lines):
    """Return the lines of a script that start an executable."""
    return [
        line.partition(' >')[0].replace("'", '').strip()
        for line in lines
        if '/opt/' in line and not line.startswith('type ')
    ]
