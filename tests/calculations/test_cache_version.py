"""AiiDA's cache does not look at uploaded files: a program that changes needs a thought about ``CACHE_VERSION``.

``digests.yaml`` holds, for each program, a digest of its sources (what it imports from this package included) and the
``CACHE_VERSION`` of its job. Where a change alters a result, bump the version; then, or where it alters none, renew the
file on purpose: ``python tests/calculations/test_cache_version.py``.
"""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import pytest
import yaml
from aiida.plugins import CalculationFactory, ParserFactory

import aiida_mghdiff

PACKAGE = Path(aiida_mghdiff.__file__).parent
DIGESTS = Path(__file__).with_name('digests.yaml')

#: Module that a job runs, by the entry point of the job.
PROGRAMS = {
    'mghdiff.mace.train': 'programs/mace/train.py',
    'mghdiff.chgnet.train': 'programs/chgnet/train.py',
    'mghdiff.evaluate': 'programs/evaluate.py',
    'mghdiff.ase.md': 'programs/ase/md.py',
    'mghdiff.ase.neb': 'programs/ase/neb.py',
    'mghdiff.ase.vibrations': 'programs/ase/vibrations.py',
    'mghdiff.lammps.md': 'executables/lmp/launcher.py',
    'mghdiff.vasp.md': 'programs/vasp/reduce.py',
    'mghdiff.vasp.mlff': 'executables/vasp_standin/standin.py',
}


def imported(path: Path) -> set[Path]:
    """Return the modules of this package that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f'{node.module}.{alias.name}' for alias in node.names)]
        for name in names:
            if name.startswith('aiida_mghdiff.'):
                target = PACKAGE.joinpath(*name.split('.')[1:])
                found |= {file for file in (target.with_suffix('.py'), target / '__init__.py') if file.is_file()}
    return found


def sources(path: Path) -> list[Path]:
    """Return a module and all that it imports from this package, directly or not."""
    todo, seen = [path], set()
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            todo += imported(current)
    return sorted(seen)


def describe(entry_point: str) -> dict[str, int | str]:
    """Return the digest of the sources of a job's program, and the cache versions of job and parser."""
    digest = hashlib.sha256()
    for path in sources(PACKAGE / PROGRAMS[entry_point]):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b'\0' + path.read_bytes())
    return {
        'calculation': CalculationFactory(entry_point).CACHE_VERSION,
        'parser': ParserFactory(entry_point).CACHE_VERSION,
        'sources': digest.hexdigest(),
    }


@pytest.mark.parametrize('entry_point', PROGRAMS)
def test_program_is_as_its_cache_version_says(entry_point):
    known = yaml.safe_load(DIGESTS.read_text())[entry_point]
    assert describe(entry_point) == known, (
        f'the program of {entry_point} changed: bump CACHE_VERSION of its CalcJob if a result changes, '
        f'then renew the digests: python {Path(__file__).relative_to(PACKAGE.parent)}'
    )


def test_digest_sees_what_a_program_imports():
    names = {path.name for path in sources(PACKAGE / PROGRAMS['mghdiff.evaluate'])}
    assert {'evaluate.py', 'loading.py', 'job.py'} <= names


if __name__ == '__main__':
    DIGESTS.write_text(yaml.safe_dump({entry_point: describe(entry_point) for entry_point in PROGRAMS}))
