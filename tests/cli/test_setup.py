"""`aiida-mghdiff setup` in the profile of the tests; the codes themselves are tested with the environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_mghdiff.cli.setup import setup


@pytest.fixture
def lmp(tmp_path):
    path = tmp_path / 'mghdiff-lmp'
    path.write_text('#!/bin/sh\n')
    path.chmod(0o755)
    return str(path)


def invoke(*arguments):
    return CliRunner().invoke(setup, [str(argument) for argument in arguments])


@pytest.mark.usefixtures('aiida_profile_clean')
class TestSetup:
    def test_this_machine(self, lmp, tmp_path, aiida_profile):
        for _ in range(2):
            result = invoke('--workdir', tmp_path / 'work', '--slots', 2, '--lmp', lmp)
            assert result.exit_code == 0, result.output
        assert 'python@mghdiff-localhost' in result.output
        assert f'verdi -p {aiida_profile.name} config set caching.enabled_for' in result.output
        filters = {'label': {'in': ['python', 'mghdiff-lmp', 'mghdiff-vasp-standin']}}
        assert orm.QueryBuilder().append(orm.InstalledCode, filters=filters).count() == 3
        assert 'mghdiff-vasp-standin@mghdiff-localhost' in result.output
        assert 'family mghdiff-standin' in result.output
        assert orm.QueryBuilder().append(orm.Computer, filters={'label': 'mghdiff-localhost'}).count() == 1

    def test_caching_is_asked_for(self, lmp, tmp_path, aiida_profile, aiida_config):
        result = invoke('--workdir', tmp_path / 'work', '--lmp', lmp, '--enable-caching')
        assert 'Caching is on for aiida.calculations:mghdiff.*' in result.output
        assert aiida_config.get_option('caching.enabled_for', scope=aiida_profile.name) == [
            'aiida.calculations:mghdiff.*'
        ]
        aiida_config.unset_option('caching.enabled_for', scope=aiida_profile.name)

    def test_cluster(self, aiida_computer):
        aiida_computer(label='cluster', hostname='cluster', transport_type='core.ssh')
        paths = {'--python': '/env/bin/python', '--lmp': '/opt/lmp', '--gpaw': '/usr/bin/python3'}
        result = invoke('--computer', 'cluster', *(word for item in paths.items() for word in item))
        assert result.exit_code == 0, result.output
        assert str(orm.load_code('lmp@cluster').filepath_executable) == '/opt/lmp'
        converter = orm.load_code('mace_create_lammps_model@cluster')
        assert str(converter.filepath_executable) == '/env/bin/mace_create_lammps_model'
        assert orm.load_code('gpaw@cluster').default_calc_job_plugin == 'mghdiff.gpaw.singlepoint'
        assert orm.load_computer('cluster').scheduler_type == 'core.direct'

    def test_cluster_without_lammps(self, aiida_computer):
        aiida_computer(label='cluster', hostname='cluster', transport_type='core.ssh')
        assert invoke('--computer', 'cluster', '--python', '/env/bin/python').exit_code == 0
        assert orm.QueryBuilder().append(orm.InstalledCode).count() == 1

    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            (['--computer', 'cluster'], '--python is missing'),
            (['--computer', 'cluster', '--python', '/env/bin/python'], '`verdi computer setup`'),
            (['--python', '/nowhere/python'], 'no executable /nowhere/python'),
            (['--slots', '0'], '--slots'),
        ],
    )
    def test_refused(self, arguments, message, tmp_path):
        result = invoke(*arguments, '--workdir', tmp_path / 'work')
        assert result.exit_code != 0
        assert message in result.output
        assert orm.QueryBuilder().append(orm.InstalledCode).count() == 0

    def test_executable_of_another_name(self, lmp, tmp_path):
        invoke('--workdir', tmp_path / 'work', '--lmp', lmp)
        result = invoke('--python', '/bin/sh', '--lmp', lmp)
        assert result.exit_code == 1
        assert '--suffix' in result.output
        assert str(Path(sys.prefix) / 'bin') in result.output


def test_missing_profile():
    result = invoke('--profile', 'nonexistent')
    assert result.exit_code == 1
    assert 'verdi presto' in result.output
