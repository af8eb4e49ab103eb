"""The scripts of manual and README work: each runs unchanged, with the test's files and nodes in it.

A script's submission is only validated.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import aiida
import numpy as np
import pytest
from aiida import orm
from training_inputs import make_chgnet, make_dataset

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.workflows.protocol import protocol_inputs
from aiida_mghdiff.workflows.study import StudyWorkChain

HOWTO = Path(__file__).parents[1] / 'docs' / 'howto'
BLOCK = re.compile(r'^( *)```python\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)
FAMILY = {"'PBE', {'Mg': 'Mg_pv', 'H': 'H'}": "'mghdiff-standin', {'Mg': 'Mg_standin', 'H': 'H_standin'}"}


@pytest.fixture
def run(codes, generate_workchain, monkeypatch):
    """Return a function that runs the scripts of a page in order and returns their variables."""

    def submit_without_running(builder):
        return generate_workchain(builder.process_class, builder._inputs(prune=True))

    placeholder_potcars(['Mg', 'H'])
    monkeypatch.setattr(aiida, 'load_profile', lambda: None)
    monkeypatch.setattr(aiida.engine, 'submit', submit_without_running)
    by_name = {'python': 'python', 'mghdiff-lmp': 'lammps', 'vasp': 'vasp', 'vasp_vtst': 'vtst', 'gpaw': 'python'}
    by_name |= {'lmp': 'lmp', 'mace_create_lammps_model': 'convert'}
    own = {
        name: orm.InstalledCode(codes['python'].computer, f'/opt/{name}', label=name)
        for name in ('lmp', 'convert', 'vtst')
    }
    known = codes | own
    monkeypatch.setattr(orm, 'load_code', lambda label: known[by_name[label.partition('@')[0]]])

    def run_page(name, node=None, only=None, **places):
        monkeypatch.setattr(orm, 'load_node', lambda key: node[key] if isinstance(node, dict) else node)
        namespace = {}
        for _, script in BLOCK.findall((HOWTO / f'{name}.md').read_text())[:only]:
            script = textwrap.dedent(script)
            for place, value in (FAMILY | places).items():
                script = script.replace(place, str(value))
            exec(compile(script, f'{name}.md', 'exec'), namespace)
        return namespace

    return run_page


def test_cluster(run, tiny_mace):
    found = run('cluster', **{'my.model': tiny_mace})
    assert set(found['builder'].temperatures)
    assert found['builder'].codes['lammps'].label == 'lmp'
    assert found['builder'].options.default['max_wallclock_seconds'] == 86400


def test_readme(run, tiny_mace):
    found = run('../../README', **{'my.model': tiny_mace})
    assert len(found['host'].sites) == 128
    assert found['builder'].codes['lammps'].label == 'mghdiff-lmp'
    assert found['builder'].options.default['max_wallclock_seconds'] == 86400


def test_barrier(run, host):
    assert run('barrier', host, only=1)['builder'].path['path'] == 'O-T'


def test_learn(run, hydride):
    assert run('learn', hydride)['builder'].options.default['max_wallclock_seconds'] == 86400


def test_label(run):
    assert run('label', make_dataset(2))['builder'].parameters['encut'] == 600.0


@pytest.fixture
def files(example_data, tmp_path):
    """Return the files of the page on datasets, by the names in the page."""
    from aiida_mghdiff.formats.extxyz import read_extxyz
    from aiida_mghdiff.formats.mlab import write_mlab

    write_mlab(tmp_path / 'ML_ABN', read_extxyz(example_data / 'mgh_pbe.extxyz').frames[:3])
    return {'/path/to/ML_ABN': tmp_path / 'ML_ABN', '/path/to/labels.extxyz': example_data / 'mgh_pbe.extxyz'}


def test_data(run, files):
    assert set(run('data', **files)['sets']) == {'training', 'validation', 'test'}


@pytest.mark.parametrize('place', ['/path/to/ML_ABN', '/path/to/labels.extxyz'])
def test_a_refused_file_ends_the_recipe_with_the_reason(run, files, tmp_path, place):
    (tmp_path / 'damaged').write_text('no labels\n')
    with pytest.raises(SystemExit, match=r'damaged.*: '):
        run('data', **files | {place: tmp_path / 'damaged'})


def test_train(run, files, tiny_mace, tiny_potential):
    dataset = run('data', **files, only=2)['dataset']
    nodes = {1300: dataset, 1301: make_dataset(3), 1302: make_dataset(2), 1303: make_dataset(2), 1400: tiny_potential}
    found = run('train', nodes, **{'foundation.model': tiny_mace})
    assert found['training'] is nodes[1301]
    assert found['builder'].process_class is StudyWorkChain
    assert len(found['builder'].host.sites) == 128
    assert set(found['builder'].training) == {'mace_ft', 'mace_tr'}


def test_diffusion(run, tiny_potential, host):
    found = run('diffusion', {1234: tiny_potential, 1250: host})
    assert found['builder'].settings['max_time_ps'] == 24000.0


def test_validate(run, tiny_potential, hydride):
    replica = orm.TrajectoryData([hydride] * 400)
    replica.set_array('times', 0.5 * np.arange(400))
    nodes = {1234: tiny_potential, 1250: make_chgnet()} | {key: {'nve_0': replica} for key in (2100, 2300)}
    assert set(run('validate', nodes)['builder'].trajectories) == {'t300k', 't673k'}


#: Rows of the table of INCAR tags, and the builders that take the overrides of each row, in the page's order.
ROWS = {
    'learning': ['otf'],
    'labels': ['label'],
    'barriers': ['neb'],
    'molecular dynamics': ['md', 'diffusion', 'arrhenius'],
    'evaluations': ['validate'],
}


@pytest.mark.parametrize('job', ROWS)
def test_overrides_with_tags(job):
    """Each has the shape of the protocol file."""
    row = re.search(rf'^\| {job} \| (.*) \|$', (HOWTO / 'cluster.md').read_text(), re.MULTILINE)[1]
    overrides = [eval(text) for text in re.findall(r'`overrides=(\{.*?\})`', row)]
    assert len(overrides) == len(ROWS[job])
    for process, values in zip(ROWS[job], overrides, strict=True):
        protocol_inputs(process, None, values)
        with pytest.raises(ValueError, match='no such key'):
            protocol_inputs(process, None, {'wrong': values})
