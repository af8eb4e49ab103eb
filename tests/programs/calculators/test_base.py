"""Engines that are installed but do not load."""

from __future__ import annotations

import pytest

from aiida_mghdiff.programs.calculators.base import import_engine
from aiida_mghdiff.programs.job import ProgramError


@pytest.mark.parametrize('kind', ['OSError', 'ImportError'])
def test_engine_that_does_not_load(tmp_path, monkeypatch, kind):
    (tmp_path / 'broken_engine.py').write_text(f"raise {kind}('libcudart.so.12: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ProgramError) as caught:
        import_engine('broken_engine', 'broken')
    assert caught.value.name == 'ENGINE_MISSING'
    assert caught.value.message.startswith('broken of ')
    assert 'does not load (libcudart.so.12: cannot open shared object file): install' in caught.value.message
