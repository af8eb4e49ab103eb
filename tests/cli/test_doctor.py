"""`aiida-mghdiff doctor` with the interpreter of the tests, stand-ins for broken ones, and fabricated jobs."""

from __future__ import annotations

import sys
from importlib import metadata

import pytest
from aiida import orm
from aiida.common import LinkType
from click.testing import CliRunner

from aiida_mghdiff.cli import doctor, environment


def script(path, text):
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def computer(aiida_profile_clean, tmp_path):
    return environment.local_computer('machine', tmp_path / 'work')


@pytest.fixture
def light(monkeypatch):
    """Look at two light packages in place of the engines: the real ones take seconds to import."""
    monkeypatch.setattr(doctor, 'ENGINES', {'numpy': 'numpy', 'ase': 'ase'})


def python_code(computer, executable=sys.executable):
    return environment.add_codes(computer, executable, None)['python']


def add_job(code, versions):
    job = orm.CalcJobNode(computer=code.computer, process_type='aiida.calculations:mghdiff.evaluate')
    job.set_option('resources', {'num_machines': 1})
    job.base.links.add_incoming(code, LinkType.INPUT_CALC, 'code')
    job.store()
    results = orm.Dict({'versions': versions})
    results.base.links.add_incoming(job, LinkType.CREATE, 'results')
    results.store()


def test_versions(computer, light):
    diagnosis = doctor.diagnose(python_code(computer))
    assert diagnosis.versions['numpy'] == metadata.version('numpy')
    assert diagnosis.versions['python'] == '.'.join(map(str, sys.version_info[:3]))
    assert (diagnosis.errors, diagnosis.warnings) == ([], [])


@pytest.mark.slow
def test_engines(computer):
    """The environment of the tests has all of them."""
    diagnosis = doctor.diagnose(python_code(computer))
    assert diagnosis.errors == []
    assert diagnosis.versions['torch'].startswith('2.')


def test_missing_engine(computer, monkeypatch):
    monkeypatch.setattr(doctor, 'ENGINES', {'no_such_engine': 'no-such-engine', 'numpy': 'numpy'})
    diagnosis = doctor.diagnose(python_code(computer))
    assert len(diagnosis.errors) == 1
    assert 'no_such_engine does not import (ModuleNotFoundError' in diagnosis.errors[0]
    assert 'aiida-mghdiff[engines]' in diagnosis.errors[0]


def test_changed_environment(computer, light):
    code = python_code(computer)
    add_job(code, {'numpy': '0.1', 'ase': metadata.version('ase')})
    assert [text.split(',')[0] for text in doctor.diagnose(code).warnings] == [f'numpy is {metadata.version("numpy")}']
    add_job(code, {'numpy': metadata.version('numpy'), 'removed-engine': '3.0'})
    warnings = doctor.diagnose(code).warnings
    assert len(warnings) == 1
    assert warnings[0].startswith('removed-engine is missing, earlier jobs of this code recorded 3.0')
    assert '--suffix' in warnings[0]


def test_jobs_of_other_codes_do_not_count(computer, light, tmp_path):
    other = environment.add_codes(computer, script(tmp_path / 'python', 'exit 0'), None, suffix='-2')['python']
    add_job(other, {'numpy': '0.1'})
    assert doctor.recorded_versions(python_code(computer)) == {}


def test_no_python(computer, light, tmp_path):
    diagnosis = doctor.diagnose(python_code(computer, script(tmp_path / 'python', 'echo broken >&2; exit 1')))
    assert diagnosis.errors == [f'{tmp_path}/python does not run: broken']


def test_environment_of_the_code_is_used(computer, monkeypatch, tmp_path):
    """Modules and activation lines are part of a code."""
    (tmp_path / 'loaded_by_module.py').write_text('')
    monkeypatch.setattr(doctor, 'ENGINES', {'loaded_by_module': 'numpy'})
    prepend = f'export PYTHONPATH={tmp_path}'
    code = environment.add_codes(computer, sys.executable, None, prepend_text=prepend)['python']
    assert doctor.diagnose(code).errors == []


HELP = 'Large-scale Atomic/Molecular Massively Parallel Simulator - 1 Jan 2030 - Update 2'


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        (f'echo; echo "{HELP}"; echo "lj/cut mace morse"', None),
        (f'echo; echo "{HELP}"; echo "lj/cut morse"', 'neither pair_style mace nor mliap'),
        ('echo broken >&2; exit 1', 'it does not run as LAMMPS: broken'),
    ],
)
def test_lammps(computer, tmp_path, text, error):
    code = environment.add_codes(computer, sys.executable, script(tmp_path / 'lmp', text))['lammps']
    add_job(code, {'LAMMPS': '1 Jan 2029'})
    diagnosis = doctor.diagnose(code)
    assert [error in text for text in diagnosis.errors] == ([True] if error else [])
    if not error:
        assert diagnosis.versions == {'LAMMPS': '1 Jan 2030 - Update 2'}
        assert diagnosis.warnings[0].startswith('LAMMPS is 1 Jan 2030 - Update 2, earlier jobs')


def test_launcher(computer, light, tmp_path):
    """It is a script of an environment: that one is looked at. Its own sources are the caches' business, not ours."""
    script(tmp_path / 'python', f'exec {sys.executable} "$@"')
    code = environment.add_codes(computer, sys.executable, script(tmp_path / 'mghdiff-lmp', 'exit 1'))['lammps']
    add_job(code, {'LAMMPS': '1 Jan 2029', 'mghdiff-lmp': '0.0.1 sources abc', 'numpy': '0.1'})
    diagnosis = doctor.diagnose(code)
    assert [text.split()[0] for text in diagnosis.warnings + diagnosis.errors] == ['numpy']


def test_command(computer, light, tmp_path):
    result = CliRunner().invoke(doctor.doctor, [])
    assert 'aiida-mghdiff setup' in result.output
    add_job(python_code(computer), {'numpy': '0.1'})
    result = CliRunner().invoke(doctor.doctor, [])
    assert result.exit_code == 0, result.output
    assert 'warning: numpy is' in result.output
    environment.add_codes(computer, script(tmp_path / 'python', 'exit 1'), None, suffix='-broken')
    result = CliRunner().invoke(doctor.doctor, [])
    assert result.exit_code == 1
    assert 'not usable as they are: python-broken@machine' in result.output
