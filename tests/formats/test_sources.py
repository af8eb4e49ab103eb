"""The modules of this package that a module needs."""

from __future__ import annotations

import pytest

from aiida_mghdiff.formats import sources

MODULES = {
    'pack/__init__.py': '__version__ = "1"',
    'pack/room/__init__.py': 'from pack import shared',
    'pack/shared.py': '',
    'pack/room/main.py': """
from typing import TYPE_CHECKING
import numpy
from pack.room import beside
if TYPE_CHECKING:
    from pack.other.heavy import Heavy
else:
    import pack.runtime
def main():
    from pack.lazy import later
""",
    'pack/room/beside.py': 'from pack.room.main import main',
    'pack/room/unused.py': '',
    'pack/other/heavy.py': '',
    'pack/runtime.py': '',
    'pack/lazy.py': 'later = None',
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in place of this one."""
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sources, 'PACKAGE', tmp_path / 'pack')
    sources.sources_digest.cache_clear()
    yield tmp_path / 'pack'
    sources.sources_digest.cache_clear()


def test_all_that_runs_is_found(package):
    """Imports in functions, in packages and in circles count; imports for type checkers and the version do not."""
    found = [path.relative_to(package).as_posix() for path in sources.sources('pack.room.main')]
    assert found == ['lazy.py', 'room/__init__.py', 'room/beside.py', 'room/main.py', 'runtime.py', 'shared.py']


@pytest.mark.parametrize(
    ('name', 'changes'), [('lazy.py', True), ('shared.py', True), ('room/unused.py', False), ('__init__.py', False)]
)
def test_digest_tells_sources_apart(package, name, changes):
    before = sources.sources_digest('pack.room.main')
    (package / name).write_text('another = 1')
    sources.sources_digest.cache_clear()
    assert (sources.sources_digest('pack.room.main') != before) == changes
