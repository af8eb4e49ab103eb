"""`aiida-mghdiff setup` in the profile of the tests; the codes themselves are tested with the environment."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from aiida import orm
from aiida.transports.plugins.local import LocalTransport
from click.testing import CliRunner

from aiida_mghdiff.cli.setup import setup
from aiida_mghdiff.workflows.jobs import codes_message


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
        paths |= {'--vasp': '/opt/vasp_std', '--vasp-neb': '/opt/vasp_vtst'}
        result = invoke('--computer', 'cluster', *(word for item in paths.items() for word in item))
        assert result.exit_code == 0, result.output
        assert str(orm.load_code('lmp@cluster').filepath_executable) == '/opt/lmp'
        converter = orm.load_code('mace_create_lammps_model@cluster')
        assert str(converter.filepath_executable) == '/env/bin/mace_create_lammps_model'
        assert orm.load_code('gpaw@cluster').default_calc_job_plugin == 'mghdiff.gpaw.singlepoint'
        assert orm.load_code('vasp@cluster').default_calc_job_plugin == 'mghdiff.vasp.mlff'
        vtst = orm.load_code('vasp_vtst@cluster')
        assert (str(vtst.filepath_executable), vtst.default_calc_job_plugin) == ('/opt/vasp_vtst', 'mghdiff.vasp.neb')
        assert codes_message({'vasp_neb': vtst}) is None
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


def count_stored():
    return [orm.QueryBuilder().append(entity).count() for entity in (orm.Computer, orm.InstalledCode, orm.AuthInfo)]


@pytest.mark.usefixtures('aiida_profile_clean')
class TestNothingHalfStored:
    """If a machine cannot run jobs, `setup` says why in a sentence and stores nothing."""

    def refuse(self, *arguments):
        before = count_stored()
        result = invoke(*arguments)
        assert result.exit_code in (1, 2)  # 2: click refuses an option
        assert isinstance(result.exception, SystemExit), result.exception
        assert count_stored() == before
        return result.output

    def test_machine_without_flock(self, lmp, tmp_path, monkeypatch):
        (tmp_path / 'bin').mkdir()
        for name in ('bash', 'timeout', 'ps', 'id', 'whoami', 'true'):
            (tmp_path / 'bin' / name).symlink_to(shutil.which(name))
        monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
        words = self.refuse('--workdir', tmp_path / 'work', '--lmp', lmp)
        assert 'cannot run the shell of its jobs: it lacks flock (package util-linux); install them.' in words
        assert 'Nothing was stored.' in words
        (tmp_path / 'bin' / 'flock').symlink_to('/usr/bin/flock')
        assert invoke('--workdir', tmp_path / 'work', '--lmp', lmp).exit_code == 0

    def test_jobs_cannot_be_listed(self, lmp, tmp_path, monkeypatch):
        (tmp_path / 'ps').write_text('#!/bin/sh\necho "ps: unknown option -p" >&2\nexit 1\n')
        (tmp_path / 'ps').chmod(0o755)
        monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
        words = self.refuse('--workdir', tmp_path / 'work', '--lmp', lmp)
        assert 'computer `mghdiff-localhost` cannot list its jobs: ' in words
        assert 'ps: unknown option -p' in words

    @pytest.mark.parametrize('name', ['file', 'file/below'])
    def test_work_directory_that_is_a_file(self, lmp, tmp_path, name):
        (tmp_path / 'file').write_text('')
        words = self.refuse('--workdir', tmp_path / name, '--lmp', lmp)
        assert str(tmp_path / name) in words

    def test_files_cannot_be_kept(self, lmp, tmp_path, monkeypatch):
        def putfile(*_, **__):
            raise OSError(28, 'No space left on device')

        monkeypatch.setattr(LocalTransport, 'putfile', putfile)
        words = self.refuse('--workdir', tmp_path / 'work', '--lmp', lmp)
        assert 'cannot keep files in its work directory: [Errno 28] No space left on device' in words

    def test_executable_that_is_not_there(self, tmp_path):
        """The codes before it and the computer are deleted again."""
        words = self.refuse('--workdir', tmp_path / 'work', '--lmp', tmp_path / 'nope')
        assert f'no executable {tmp_path}/nope' in words

    def test_what_was_there_stays(self, lmp, tmp_path):
        assert invoke('--workdir', tmp_path / 'work', '--lmp', lmp).exit_code == 0
        self.refuse('--label', 'second', '--workdir', tmp_path / 'two', '--lmp', tmp_path / 'nope')
        assert orm.load_computer('mghdiff-localhost').is_configured
        assert orm.load_code('python@mghdiff-localhost').is_stored
