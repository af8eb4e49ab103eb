"""The common part of all VASP jobs: port names, the user's INCAR tags, retrieved files, the stop in time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.plugins import CalculationFactory, ParserFactory
from aiida_vasp.data.potcar import PotcarData
from job_inputs import JOBS as INPUTS
from vasp_md_runs import START, vasp_md_parameters
from vasp_runs import make_force_field

from aiida_mghdiff.calculations.vasp import md
from aiida_mghdiff.calculations.vasp.job import VaspJob
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.sources import sources

JOBS = ['mlff', 'md', 'neb', 'relax', 'singlepoint', 'evaluate']
#: Jobs with more than one ionic step, between which VASP looks for STOPCAR.
STOPPED = {'mlff', 'md', 'neb', 'relax'}
#: Ports that bypass provenance.
SCRATCH = {'restart_folder', 'charge_density', 'wavefunctions', 'dynamics'}
NAMES = {PotcarData: 'potcars', PotentialData: 'potential', MdStateData: 'state'}


def job_class(job):
    return CalculationFactory(f'mghdiff.vasp.{job}')


@pytest.fixture
def make_inputs(aiida_profile, aiida_code_installed, tmp_path):
    """Return a function that returns the inputs of a job, with INCAR tags of the user's own."""

    def make(job, **tags):
        name = f'mghdiff.vasp.{job}'
        code = aiida_code_installed(default_calc_job_plugin=name, filepath_executable='/bin/true')
        inputs = INPUTS[name](None, tmp_path) | {'code': code}
        values = inputs['parameters'].get_dict() if 'parameters' in inputs else {}
        if tags or 'parameters' in inputs:
            inputs['parameters'] = orm.Dict(values | ({'incar': tags} if job == 'md' and tags else tags))
        inputs['metadata'] = {'options': {'max_wallclock_seconds': 1000, 'withmpi': False}}
        return inputs

    return make


def build(job, inputs):
    return instantiate_process(get_manager().get_runner(), job_class(job), **inputs)


@pytest.fixture
def prepare():
    """Return a function that prepares a job, and returns its calculation info, its files and its INCAR."""

    def run(job, inputs):
        with SandboxFolder() as folder:
            calcinfo = build(job, inputs).prepare_for_submission(folder)
            root = Path(folder.abspath)
            files = {str(path.relative_to(root)) for path in root.rglob('*') if path.is_file()}
            return calcinfo, files, (root / 'INCAR').read_text()

    return run


@pytest.mark.parametrize('job', JOBS)
def test_a_port_has_one_name_in_all_jobs(job):
    assert issubclass(job_class(job), VaspJob)
    ports = job_class(job).spec().inputs
    assert {'code', 'parameters', 'potcars'} <= set(ports)
    assert not SCRATCH & set(ports)
    for name, port in ports.items():
        valid = port.valid_type if isinstance(port.valid_type, tuple) else (port.valid_type,)
        for node_class in set(valid) & set(NAMES):
            assert name == NAMES[node_class]


@pytest.mark.parametrize('job', JOBS)
def test_what_is_retrieved_and_what_is_not(make_inputs, prepare, job):
    calcinfo, files, _ = prepare(job, make_inputs(job))
    kept = job_class(job).spec().inputs['metadata']['options']['output_filename'].default
    assert calcinfo.retrieve_list[0] == kept
    assert kept in ('vasp_output', 'vasp_last_lines')
    assert (f'tail -n 500 vasp_output >{">" * (job == "evaluate")} vasp_last_lines' in calcinfo.append_text) == (
        kept == 'vasp_last_lines'
    )
    temporary = [entry if isinstance(entry, str) else entry[0] for entry in calcinfo.retrieve_temporary_list]
    assert temporary[0] == 'vasp_output'
    assert any(Path(name).name.startswith('OUTCAR') for name in temporary)
    everything = [*temporary, *(entry if isinstance(entry, str) else entry[0] for entry in calcinfo.retrieve_list)]
    assert not [name for name in everything if re.search('POTCAR|WAVECAR|CHGCAR|vaspout', name)]
    potcars = {name for name in files if Path(name).name == 'POTCAR'}
    assert potcars
    assert potcars <= set(calcinfo.provenance_exclude_list)
    (code,) = calcinfo.codes_info
    assert (code.stdout_name, code.join_files, code.cmdline_params) == ('vasp_output', True, None)


@pytest.mark.parametrize('job', JOBS)
def test_vasp_is_stopped_where_it_can_be(make_inputs, prepare, job):
    calcinfo, _, _ = prepare(job, make_inputs(job))
    seconds = {'mlff': 850}.get(job, 950)
    stop = f"sleep {seconds} & wait $!; echo 'LSTOP = .TRUE.' > STOPCAR"
    assert (stop in calcinfo.prepend_text) == (job in STOPPED)
    assert ('kill $mghdiff_stopper' in calcinfo.append_text) == (job in STOPPED)
    endless = make_inputs(job) | {'metadata': {'options': {'withmpi': False}}}
    assert 'STOPCAR' not in prepare(job, endless)[0].prepend_text


@pytest.mark.parametrize('job', JOBS)
def test_tags_of_the_user_reach_incar(make_inputs, prepare, job):
    _, _, before = prepare(job, make_inputs(job))
    _, _, incar = prepare(job, make_inputs(job, ncore=8, kpar=2))
    assert set(incar.splitlines()) - set(before.splitlines()) == {'KPAR = 2', 'NCORE = 8'}
    assert set(before.splitlines()) <= set(incar.splitlines())


@pytest.mark.parametrize('job', JOBS)
@pytest.mark.parametrize(
    ('tags', 'words'),
    [
        ({'icharg': 1}, 'icharg = 1 reads a file of an earlier job'),
        ({'istart': 2}, 'istart = 2 reads a file of an earlier job'),
        ({'nwrite': 1}, 'nwrite = 1: below 2 VASP leaves forces'),
    ],
)
def test_tags_that_no_job_can_honour(make_inputs, job, tags, words):
    with pytest.raises(ValueError, match=words):
        build(job, make_inputs(job, **tags))


@pytest.mark.parametrize('job', [job for job in JOBS if job != 'singlepoint'])
def test_tags_are_lower_case(make_inputs, job):
    with pytest.raises(ValueError, match='write NCORE in lower case'):
        build(job, make_inputs(job, NCORE=8))


@pytest.mark.parametrize(
    ('job', 'tags', 'words'),
    [
        ('md', {'nsw': 5}, 'parameters: incar: nsw cannot be given, because the job sets it'),
        ('md', {'ml_mode': 'train', 'mdalgo': 2}, 'parameters: incar: mdalgo, ml_mode cannot be given'),
        ('md', {'ml_outblock': 4}, 'ml_outblock = 4 does not divide 2'),
        ('md', {'ml_outblock': 0.5}, 'ml_outblock = 0.5 does not divide 2'),
        ('evaluate', {'nsw': 5}, 'parameters: nsw cannot be given, because the job sets it'),
        ('evaluate', {'ml_outblock': 5}, 'parameters: ml_outblock cannot be given'),
        ('relax', {'ml_mode': 'run'}, 'ml_mode cannot be given: DFT has no force field'),
        ('neb', {'ml_mode': 'run'}, 'ml_mode cannot be given: DFT has no force field'),
        ('singlepoint', {'ml_mode': 'run'}, 'ml_mode: ML_.* tags are not allowed'),
    ],
)
def test_tags_that_the_job_sets(make_inputs, job, tags, words):
    with pytest.raises(ValueError, match=words):
        build(job, make_inputs(job, **tags))


@pytest.mark.parametrize('job', ['relax', 'neb'])
def test_tags_of_a_force_field_that_the_job_sets(make_inputs, tmp_path, job):
    inputs = make_inputs(job, ml_outblock=10) | {'potential': make_force_field(tmp_path)}
    with pytest.raises(ValueError, match='ml_outblock cannot be given, because the job sets it'):
        build(job, inputs)


@pytest.mark.parametrize('ensemble', ['nve', 'nvt', 'npt'])
def test_every_tag_that_a_run_sets_is_refused(ensemble):
    tags = md.incar(vasp_md_parameters(ensemble), START)
    for tag in set(tags) - {md.OUTBLOCK}:
        parameters = vasp_md_parameters(ensemble, incar={tag: 1})
        assert f'{tag} cannot be given' in md.incar_message(parameters)


def test_a_run_can_write_more_often_than_it_must(make_inputs, prepare):
    _, _, incar = prepare('md', make_inputs('md', ml_outblock=1))
    assert {'ML_OUTBLOCK = 1', 'NBLOCK = 1'} <= set(incar.splitlines())
    _, _, incar = prepare('md', make_inputs('md'))
    assert {'ML_OUTBLOCK = 2', 'NBLOCK = 2'} <= set(incar.splitlines())
    assert md.output_block(vasp_md_parameters('nve', steps=39, incar={'ml_outblock': 2})) == 1


def test_incar_is_a_dictionary_and_for_vasp_alone():
    assert 'is not a dictionary' in md.incar_message(vasp_md_parameters(incar='NCORE = 8'))


@pytest.mark.parametrize('job', JOBS)
def test_jobs_of_vasp_know_nothing_of_lammps(job):
    parser = ParserFactory(f'mghdiff.vasp.{job}')
    paths = sources(job_class(job).__module__, parser.__module__)
    assert not [path for path in paths if 'lammps' in path.parts or path.name == 'lammps.py']
