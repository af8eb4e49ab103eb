"""`aiida-mghdiff report`: any stored study, and its refusals."""

from __future__ import annotations

import pytest
from aiida import orm
from click.testing import CliRunner
from study_graph import Process

from aiida_mghdiff.cli import main


@pytest.fixture
def profile(aiida_profile):
    return aiida_profile.name


def test_report_of_a_study_that_just_started(profile, tmp_path):
    node = Process(orm.WorkChainNode, 'study', {}).node
    result = CliRunner().invoke(main, ['report', node.uuid, '-p', profile, '--directory', str(tmp_path / 'new')])
    assert result.exit_code == 0, result.output
    assert node.uuid in (tmp_path / 'new' / 'report.html').read_text(encoding='utf-8')
    assert str(tmp_path / 'new' / 'report.html') in result.output


def test_refusals(profile, tmp_path):
    number = orm.Int(3).store()
    for identifier, words in ((number.uuid, 'is a Int, not a study'), ('abcdef01', 'is no node of this profile')):
        result = CliRunner().invoke(main, ['report', identifier, '-p', profile, '--directory', str(tmp_path / 'none')])
        assert result.exit_code == 1
        assert words in result.output
    assert not (tmp_path / 'none').exists()
