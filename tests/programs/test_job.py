"""How a program ends."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from aiida_mghdiff.formats.job_files import EXIT_STATUS
from aiida_mghdiff.programs import job


def test_library_that_does_not_load(monkeypatch, capsys):
    def main():
        raise ImportError('libcudart.so.12: cannot open shared object file', name='torch._C')

    monkeypatch.setitem(sys.modules, 'aiida_mghdiff.programs.evaluate', SimpleNamespace(main=main))
    with pytest.raises(SystemExit) as caught:
        job.run('evaluate')
    assert caught.value.code == EXIT_STATUS['ENGINE_MISSING']
    assert 'torch._C of ' in capsys.readouterr().out
