"""Codes and options, the same in every WorkChain: early refusals, and the scripts for Slurm."""

from __future__ import annotations

import os
import pkgutil

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory, WorkflowFactory
from job_inputs import JOBS
from slurm_jobs import FOUR_NODES, KIND, ONE_CORE, code_on, launched

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.architectures import RESERVED, architectures
from aiida_mghdiff.data.potential import LEARNED
from aiida_mghdiff.programs import calculators
from aiida_mghdiff.workflows.jobs import CODES, KINDS, codes_message, job_message, job_options, options_inputs
from aiida_mghdiff.workflows.study import StudyWorkChain

EXECUTABLE = {'vasp': '/opt/vasp_std', 'lammps': '/opt/lmp', 'gpaw': '/opt/python3'}
SECOND = {
    'mghdiff.lammps.md': ('convert_code', '/opt/mace_create_lammps_model'),
    'mghdiff.vasp.mlff': ('reduce_code', '/opt/python3'),
    'mghdiff.vasp.md': ('reduce_code', '/opt/python3'),
}


@pytest.fixture
def script(slurm, tiny_potential, tmp_path, monkeypatch):
    """Return a function that gives the script of a job with the options that a WorkChain passes to it."""
    (tmp_path / 'run').mkdir()
    monkeypatch.chdir(tmp_path / 'run')

    def dry_run(entry_point, options):
        process, engine = CalculationFactory(entry_point), entry_point.split('.')[1]
        code = code_on(slurm, EXECUTABLE.get(engine, '/opt/python3'))
        inputs = {key: value for key, value in JOBS[entry_point](tiny_potential, tmp_path).items() if value is not None}
        if entry_point in SECOND:
            name, executable = SECOND[entry_point]
            inputs[name] = code_on(slurm, executable)
        asked = job_options({'options': options_inputs(options)}, KIND[entry_point], process, code)
        inputs |= {'code': code, 'metadata': {'options': asked, 'dry_run': True, 'store_provenance': False}}
        _, node = run_get_node(process, **inputs)
        with open(os.path.join(node.dry_run_info['folder'], node.dry_run_info['script_filename'])) as handle:
            return handle.read().splitlines()

    return dry_run


@pytest.mark.parametrize('entry_point', JOBS)
def test_every_kind_of_job_on_four_nodes(script, entry_point):
    """``withmpi`` for all jobs on 192 ranks: VASP, the user's ``lmp`` and GPAW use MPI, Python does not."""
    lines = script(entry_point, {'default': {'resources': FOUR_NODES, 'withmpi': True}})
    assert {'#SBATCH --nodes=4', '#SBATCH --ntasks-per-node=48'} <= set(lines)
    parallel = entry_point.split('.')[1] in EXECUTABLE
    started = launched(lines)
    main = next(line for line in started if EXECUTABLE.get(entry_point.split('.')[1], '/opt/python3') in line)
    assert main.startswith('srun -n 192 /opt/') is parallel, started
    others = [line for line in started if line != main]
    assert len(others) == (entry_point in SECOND)
    assert all(line.startswith('/opt/') for line in others)


@pytest.mark.parametrize('entry_point', JOBS)
def test_jobs_themselves_know_who_runs_under_mpi(script, entry_point):
    """Without ``withmpi`` VASP and LAMMPS use MPI, and GPAW stays serial."""
    started = launched(script(entry_point, {'default': {'resources': FOUR_NODES}}))
    parallel = [line for line in started if line.startswith('srun -n 192 ')]
    assert len(parallel) == (entry_point.split('.')[1] in ('vasp', 'lammps'))


@pytest.fixture
def study(generate_workchain, slurm, tiny_potential, host, hydride):
    """Return a function that makes a study from nothing on Slurm, with given options and some codes changed."""
    codes = {'python': code_on(slurm, '/opt/python3'), 'vasp': code_on(slurm, '/opt/vasp_std')}

    def make(options, **changes):
        builder = StudyWorkChain.get_builder_from_protocol(
            codes | changes,
            hydride,
            host,
            host,
            potentials={'mace_mp': tiny_potential},
            potcars=placeholder_potcars(['Mg', 'H']),
            protocol='smoke',
            options=options,
        )
        return generate_workchain(StudyWorkChain, builder._inputs(prune=True))

    return make


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'trian': {}}, r'options\.trian: no such key; did you mean train\?'),
        ({'resources': ONE_CORE}, r'options\.resources: no such key here; did you mean options\.default\.resources\?'),
        ({'md': {'max_walltime': 60}}, r'options\.md\.max_walltime: no such key; did you mean max_wallclock_seconds\?'),
        ({'md': {'nodes': 4}}, r'options\.md\.nodes: no such key; known are account, '),
        ({'md': {'queue': 'a'}}, r'options\.md\.queue: no such key; did you mean queue_name\?'),
        ({'default': {'max_wallclock_second': 1}}, 'did you mean max_wallclock_seconds'),
        ({'default': None}, r'options\.default = None: give a dictionary here'),
        ({'md': 'queue'}, r"options\.md = 'queue': give a dictionary here"),
        ([], r'options = \[\] is not a dictionary'),
        ({'md': {'max_wallclock_seconds': 0}}, r'seconds = 0 is not a positive whole number or null\.$'),
        ({'md': {'max_wallclock_seconds': -5}}, r'seconds = -5 is not a positive whole number'),
        ({'md': {'max_wallclock_seconds': True}}, r'seconds = True is not a positive whole number'),
        ({'learn': {'max_memory_kb': -1}}, r'options\.learn\.max_memory_kb = -1 is not a positive whole number'),
        ({'label': {'withmpi': 'yes'}}, r"options\.label\.withmpi = 'yes' is not true or false\.$"),
        ({'md': {'resources': 5}}, r'options\.md\.resources = 5: give a dictionary here'),
        ({'md': {'resources': {'num_machines': 0}}}, r'resources\.num_machines = 0 is not a positive whole number'),
        ({'md': {'resources': {'num_machines': [1]}}}, r'resources\.num_machines = \[1\] is not a positive whole'),
        (
            {'label': {'resources': {'num_machine': 1}}},
            r'label\.resources\.num_machine: no such key; did you mean num',
        ),
        (
            {'vibrations': {'resources': {'nodes': 1}}},
            r'vibrations\.resources\.nodes: no such key; known are .*_env',
        ),
        ({'md': {'account': 5}}, r'options\.md\.account = 5 is not a text'),
        ({'train': {'max_wallclock_seconds': 'long'}}, r"options\.train\.max_wallclock_seconds = 'long'"),
    ],
)
def test_misspelt_options_are_refused_by_the_builder(study, options, message):
    with pytest.raises(ValueError, match=message):
        study(options)


@pytest.mark.parametrize('kind', ['learn', 'train', 'evaluate', 'md', 'barrier'])
def test_resources_are_checked_for_each_kind_before_anything_is_submitted(study, kind):
    """The scheduler's resource class checks them, also for jobs of trained potentials."""
    with pytest.raises(ValueError, match=rf'options\.{kind}\.resources\.num_machine: no such key; did you mean'):
        study({kind: {'resources': {'num_machine': 1}}})
    with pytest.raises(ValueError, match=rf'options\.{kind}\.resources = .*tot_num_mpiprocs.*core\.slurm'):
        study({kind: {'resources': FOUR_NODES | {'tot_num_mpiprocs': 7}}})


def test_resources_of_all_jobs_are_refused_where_they_stand(study):
    with pytest.raises(ValueError, match=r'options\.default\.resources\.num_machine: no such key; did you mean'):
        study({'default': {'resources': {'num_machine': 1}}})


def test_what_aiida_would_refuse_of_mpi_is_refused_before(study, slurm):
    with pytest.raises(ValueError, match=r'learn\.withmpi = True, but code vasp_std@slurm has with_mpi = False'):
        study({'learn': {'withmpi': True}}, vasp=code_on(slurm, '/opt/vasp_std', with_mpi=False))
    with pytest.raises(ValueError, match='code python3@slurm has with_mpi = True, but its program is one process'):
        study({}, python=code_on(slurm, '/opt/python3', with_mpi=True))


@pytest.mark.parametrize('kind', ['train', 'evaluate', 'md', 'barrier'])
def test_programs_of_one_process_refuse_mpi_for_their_kind_alone(study, slurm, kind):
    """They refuse whatever the code says about MPI; but ``default`` is for all jobs, so they ignore it."""
    message = rf'options\.{kind}\.withmpi = True, but \w+Calculation runs a program of one process: leave withmpi out'
    for said in (None, False):
        python = code_on(slurm, '/opt/python3', with_mpi=said)
        with pytest.raises(ValueError, match=message):
            study({kind: {'withmpi': True}}, python=python)
        study({'default': {'withmpi': True}, kind: {'withmpi': False}}, python=python)
        study({'default': {'withmpi': True}}, python=python)


@pytest.mark.parametrize(
    ('role', 'executable', 'plugin', 'message'),
    [
        ('vaps', '/opt/vasp_std', None, r'codes\.vaps: no such key; did you mean vasp\?'),
        ('lammps', '/opt/vasp_std', 'mghdiff.vasp.mlff', r'a code of vasp: did you mean codes\.vasp\?'),
        ('python', '/opt/lmp', 'lammps.raw', r'a code of lammps: did you mean codes\.lammps\?'),
        ('vasp', '/opt/python3.11', None, r'a Python interpreter: did you mean codes\.python\?'),
        ('vasp_neb', '/opt/vasp_vtst', 'vasp.vasp', None),
        ('mace', '/opt/python3', None, None),
    ],
)
def test_codes_of_another_role_are_refused(slurm, role, executable, plugin, message):
    found = codes_message({role: code_on(slurm, executable, default_calc_job_plugin=plugin)})
    if message is None:
        assert found is None
    else:
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(found)


@pytest.mark.parametrize('name', ['md', 'diffusion', 'arrhenius', 'otf', 'train', 'label', 'neb', 'validate', 'study'])
def test_both_namespaces_are_the_same_everywhere(name):
    inputs = WorkflowFactory(f'mghdiff.{name}').spec().inputs
    assert set(inputs['options']) == {'default', *KINDS}
    assert all(f'``{role}``' in inputs['codes'].help for role in CODES)


def test_portable_codes_have_no_scheduler_yet(aiida_profile, tmp_path):
    (tmp_path / 'run').write_text('#!/bin/sh\n')
    code = orm.PortableCode(filepath_executable='run', filepath_files=tmp_path, label='own')
    inputs = {'options': options_inputs({'md': {'resources': {'parallel_env': 'mpi'}}})}
    assert job_message(inputs, 'md', CalculationFactory('mghdiff.ase.md'), code) is None


def test_no_architecture_of_another_package_takes_a_name_that_is_used_here():
    """``data`` may not import the roles of codes, so its list is compared here."""
    beside = {module.name for module in pkgutil.iter_modules(calculators.__path__)} - set(architectures())
    assert set(RESERVED) == {*CODES, LEARNED, *beside}
