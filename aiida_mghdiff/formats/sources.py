"""Find the modules of this package that a module needs: jobs pack them, and digests represent them.

Calculation jobs pack them into ``mghdiff.pyz``, and executables print their digest. This module is among the file
formats, the lowest layer that both may import and that reads files.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def sources(*modules: str, source: bytes = b'') -> list[Path]:
    """Return the files of modules of this package and of all their imports from it, sorted.

    Imports inside functions count, imports for type checkers do not. The package's own ``__init__.py`` is left out: it
    has the version and names for users, which do not change any result.

    :param modules: full names, such as ``aiida_mghdiff.programs.ase.md``.
    :param source: source of a module from elsewhere, whose imports from this package count, too.
    """
    todo, seen = [*(file for module in modules for file in _files(module)), *_imported_by(source)], set()
    while todo:
        if (path := todo.pop()) not in seen:
            seen.add(path)
            todo += _imported(path)
    return sorted(seen)


def archive_name(path: Path) -> str:
    """Return the name of a source file relative to the folder that contains the package."""
    return path.relative_to(PACKAGE.parent).as_posix()


@functools.cache
def sources_digest(*modules: str) -> str:
    """Return the first 16 digits of the SHA-256 over :func:`sources`."""
    digest = hashlib.sha256()
    for path in sources(*modules):
        digest.update(archive_name(path).encode() + b'\0' + path.read_bytes())
    return digest.hexdigest()[:16]


def _files(name: str) -> Iterator[Path]:
    """Yield the files of a module (or of the module with an object) and of its packages."""
    package, *parts = name.split('.')
    for count in range(1, len(parts) + 1 if package == PACKAGE.name else 0):
        target = PACKAGE.joinpath(*parts[:count])
        yield from filter(Path.is_file, (target.with_suffix('.py'), target / '__init__.py'))


@functools.cache
def _imported(path: Path) -> frozenset[Path]:
    return _imported_by(path.read_bytes())


def _imported_by(source: bytes) -> frozenset[Path]:
    """Return the modules of this package that a module imports; imports must have absolute names."""
    names = []
    for node in _nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f'{node.module}.{alias.name}' for alias in node.names]
    return frozenset(file for name in names for file in _files(name))


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module, without the blocks ``if TYPE_CHECKING``."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.If) and getattr(node.test, 'id', None) == 'TYPE_CHECKING':
            todo += node.orelse
        else:
            todo += ast.iter_child_nodes(node)
