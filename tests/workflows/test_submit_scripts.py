"""From one builder call to Slurm's script: every kind of job in the manual, at any depth.

The processes run for real, only their jobs do not. Slurm is not needed.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from slurm_jobs import FOUR_NODES, GPU, KIND, ONE_CORE, code_on, launched
from training_inputs import make_chgnet
from unrun_jobs import UnrunJobs

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.workflows.label import LabelWorkChain
from aiida_mghdiff.workflows.neb import BarrierWorkChain
from aiida_mghdiff.workflows.study import StudyWorkChain
from aiida_mghdiff.workflows.validate import ValidationWorkChain

ON_NODES = {'resources': FOUR_NODES, 'account': 'hydride'}
#: Nodes and an account for VASP, a GPU for trainings, another partition for MD, one core for the rest.
OPTIONS = {
    'default': {'resources': ONE_CORE, 'max_wallclock_seconds': 3600, 'withmpi': True},
    'learn': ON_NODES,
    'label': ON_NODES,
    'train': {'queue_name': 'gpu', **GPU},
    'md': {'queue_name': 'gpu_small', **GPU},
}
TIME = '--time=01:00:00'
NODES = {TIME, '--nodes=4', '--ntasks-per-node=48', '--account=hydride'}
CORE = {TIME, '--nodes=1', '--ntasks-per-node=1'}
#: The requests of each kind of job to Slurm.
ASKED = {
    'learn': NODES,
    'label': NODES,
    'train': CORE | {'--partition=gpu', '--gpus=1'},
    'md': CORE | {'--partition=gpu_small', '--gpus=1'},
    'evaluate': CORE,
    'barrier': CORE,
    'vibrations': CORE,
}
PROGRAM = ['/opt/python3 mghdiff.pyz']
#: The commands in the script of each job; all other jobs are programs of one process.
STARTED = {
    'mghdiff.lammps.md': [
        '/opt/mace_create_lammps_model potential.model --dtype float64',
        'srun -n 1 /opt/lmp -in input.in',
    ],
    'mghdiff.vasp.mlff': ['srun -n 192 /opt/vasp_std', *PROGRAM],
    'mghdiff.vasp.md': ['srun -n 1 /opt/vasp_std', *PROGRAM],
    'mghdiff.vasp.evaluate': ['srun -n 1 /opt/vasp_std'],
    'mghdiff.vasp.relax': ['srun -n 192 /opt/vasp_std'],
    'mghdiff.vasp.neb': ['srun -n 192 /opt/vasp_vtst'],
    'mghdiff.vasp.singlepoint': ['srun -n 192 /opt/vasp_std'],
    'mghdiff.gpaw.singlepoint': ['srun -n 192 /opt/gpaw aiida_script.py'],
}
#: Settings of a study: one temperature of each run, and parts of a small dataset.
RUNS = {'diffusion': {'best_mace_h1': {'temperatures_k': [800.0]}}}
THIRDS = {'training': 0.4, 'validation': 0.3, 'test': 0.3}
#: Lines in every script.
_ALWAYS = ('--no-requeue', '--get-user-env', '--job-name', '--output', '--error')


@pytest.fixture
def codes(slurm):
    """A code of each role on Slurm."""
    executables = {
        'python': 'python3',
        'lammps': 'lmp',
        'convert': 'mace_create_lammps_model',
        'vasp': 'vasp_std',
        'vasp_neb': 'vasp_vtst',
        'gpaw': 'gpaw',
    }
    found = {role: code_on(slurm, f'/opt/{name}') for role, name in executables.items()}
    return found | {'reduce': found['python']}


@pytest.fixture
def dataset(example_data):
    return DatasetData.from_frames(read_extxyz(example_data / 'mgh_pbe.extxyz').frames[:12])


@pytest.fixture
def potentials(tiny_potential):
    return {'mace_mp': tiny_potential, 'chgnet_mp': make_chgnet()}


@pytest.fixture
def scripts(monkeypatch, tiny_mace, tmp_path):
    """Return a function that runs a builder without its jobs, and returns their scripts by entry point."""

    def run(builder):
        jobs = UnrunJobs(monkeypatch, tiny_mace, tmp_path)
        _, node = run_get_node(builder)
        assert node.is_finished, node.process_state
        return jobs.scripts

    return run


def asked(lines):
    """Return the requests of a script to Slurm."""
    words = {line.removeprefix('#SBATCH ') for line in lines if line.startswith('#SBATCH ')}
    return {word for word in words if not word.startswith(_ALWAYS)}


def check(found, *expected, **kinds):
    """Check the scripts of each job: its requests to Slurm, and its commands.

    :param expected: entry points without ``mghdiff.``.
    :param kinds: requests of a kind of job that differ from ``ASKED``.
    """
    assert set(found) == {f'mghdiff.{name}' for name in expected}
    for entry_point, lines in chain.from_iterable(([name, each] for each in some) for name, some in found.items()):
        assert asked(lines) == (ASKED | kinds)[KIND[entry_point]], entry_point
        assert launched(lines) == STARTED.get(entry_point, PROGRAM), entry_point


@pytest.mark.slow
def test_a_study_of_a_dataset(scripts, codes, dataset, host, potentials):
    builder = StudyWorkChain.get_builder_from_protocol(
        codes,
        dataset,
        host,
        host,
        potentials=potentials,
        potcars=placeholder_potcars(['Mg', 'H']),
        protocol='smoke',
        overrides=RUNS | {'vibrations': ['mace'], 'training': {'mace_ft': None}, 'split': {'fractions': THIRDS}},
        options=OPTIONS,
    )
    programs = ('mace.train', 'chgnet.train', 'evaluate', 'ase.md', 'ase.neb', 'ase.vibrations')
    found = scripts(builder)
    check(found, 'lammps.md', *programs)
    assert len(found['mghdiff.evaluate']) == 4  # two given potentials and two trained ones


@pytest.mark.slow
def test_a_study_from_nothing(scripts, codes, hydride, host):
    """MACE without LAMMPS runs in ASE; a refit has no trajectory to reduce."""
    builder = StudyWorkChain.get_builder_from_protocol(
        {name: codes[name] for name in ('python', 'vasp', 'reduce')},
        hydride,
        host,
        host,
        potcars=placeholder_potcars(['Mg', 'H']),
        protocol='smoke',
        overrides=RUNS,
        options=OPTIONS,
    )
    found = scripts(builder)
    refit = found['mghdiff.vasp.mlff'].pop()
    assert asked(refit) == NODES
    assert launched(refit) == ['srun -n 192 /opt/vasp_std']
    check(found, 'vasp.mlff', 'vasp.evaluate', 'vasp.md', 'mace.train', 'evaluate', 'ase.md', 'ase.neb')


def test_a_barrier_from_first_principles(scripts, codes, host):
    builder = BarrierWorkChain.get_builder_from_protocol(
        codes,
        None,
        host,
        path='O-T',
        potcars=placeholder_potcars(['Mg', 'H']),
        protocol='smoke',
        options=OPTIONS | {'barrier': ON_NODES},
    )
    check(scripts(builder), 'vasp.relax', 'vasp.neb', barrier=NODES)


@pytest.mark.parametrize('engine', ['vasp', 'gpaw'])
def test_labels(scripts, codes, dataset, engine):
    builder = LabelWorkChain.get_builder_from_protocol(
        codes,
        dataset.select([0, 1]),
        engine=engine,
        potcars=placeholder_potcars(['Mg', 'H']),
        protocol='smoke',
        overrides={engine: {'kpoints': {'mesh': [1, 1, 1]}}},
        options=OPTIONS,
    )
    check(scripts(builder), f'{engine}.singlepoint')


def test_validation(scripts, codes, hydride, potentials):
    run = orm.TrajectoryData([hydride] * 400)
    run.set_array('times', 0.5 * np.arange(400))
    builder = ValidationWorkChain.get_builder_from_protocol(
        codes,
        potentials,
        {'t300k': {'nve_0': run}},
        engine='vasp',
        potcars=placeholder_potcars(['Mg', 'H']),
        protocol='smoke',
        options=OPTIONS,
    )
    check(scripts(builder), 'vasp.singlepoint', 'evaluate')
