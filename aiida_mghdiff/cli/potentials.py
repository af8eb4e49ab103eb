"""Find pre-trained potentials, and turn them into nodes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from aiida import orm

from aiida_mghdiff.calculations.program import zipapp_bytes
from aiida_mghdiff.cli.option_names import as_options
from aiida_mghdiff.data.architectures import MACE, architecture_of
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.job_files import ZIPAPP, read_failure
from aiida_mghdiff.formats.mace_heads import choose_head, damage, read_heads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: MACE's own cache, which may contain a foundation model.
MACE_CACHE = Path.home() / '.cache' / 'mace'


class PotentialError(Exception):
    """A model file is missing or cannot be read; the message names the remedy, in the options of the command."""

    def __init__(self, message: str) -> None:
        super().__init__(as_options(message))


def import_potential(path: Path, architecture: str, head: str | None = None) -> PotentialData:
    """Return the stored node of a pre-trained model file; the same file and head give the same node.

    :raises PotentialError: if the file or the engine is missing, or the file cannot be loaded.
    """
    return read_potential(path, architecture, head).store()


def read_potential(path: Path, architecture: str, head: str | None = None) -> PotentialData:
    """Return the node of a pre-trained model file: the stored node of an earlier import, or a new one.

    The engine reads the file in its own process, so that this process imports no torch.

    :param head: head of a MACE model, if the user names one.
    :raises PotentialError: if the file or the engine is missing, if the file cannot be loaded, or if it has several
        heads and the user named none.
    """
    if not path.is_file():
        raise PotentialError(f'there is no model file {path}: name another.')
    if reason := damage(path):
        raise PotentialError(f'{path}: {reason}')
    heads = read_heads(path) or []
    try:
        head = choose_head(heads, head)
    except ValueError as error:
        raise PotentialError(f'{path}: {error}') from None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    query = orm.QueryBuilder().append(
        PotentialData, filters={'attributes.sha256': digest, 'attributes.architecture': architecture}
    )
    heads_taken = (head, None) if _is_default(heads, head) else (head,)  # nodes of earlier versions have no head
    if known := [node for node in query.all(flat=True) if node.head in heads_taken]:
        return known[0]
    node = PotentialData.from_file(path, origin='pretrained', **_model_properties(path, architecture) | {'head': head})
    node.label = path.name
    return node


def _is_default(heads: Sequence[str], head: str | None) -> bool:
    """Return whether programs use this head of a model if its node names none."""
    try:
        return choose_head(heads, None) == head
    except ValueError:
        return False


def _model_properties(path: Path, architecture: str) -> dict:
    kind = architecture_of(architecture)
    if kind.calculator is None:
        raise PotentialError(f'nothing here loads {path} as a {architecture} potential: use PotentialData.from_file.')
    with tempfile.NamedTemporaryFile(suffix=ZIPAPP) as file:
        file.write(zipapp_bytes('model_properties', (architecture, kind.calculator_source)))
        file.flush()
        command = [sys.executable, file.name, str(path), architecture]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = process.stdout.strip().splitlines() or process.stderr.strip().splitlines() or ['no output']
    if process.returncode:
        failure = read_failure(process.stdout)
        raise PotentialError(failure[1] if failure else lines[-1])
    return {'architecture': architecture} | json.loads(lines[-1])


def find_chgnet() -> Path:
    """Return the weights file of CHGNet 0.3.0 from CHGNet's package.

    :raises PotentialError: if chgnet is not installed.
    """
    spec = importlib.util.find_spec('chgnet')
    if spec is None or not spec.submodule_search_locations:
        raise PotentialError(f'{sys.executable} has no package chgnet: install aiida-mghdiff[engines].')
    files = sorted((Path(spec.submodule_search_locations[0]) / 'pretrained' / '0.3.0').glob('*.pth.tar'))
    if not files:
        raise PotentialError('the installed chgnet lacks the weights 0.3.0: install chgnet 0.4.2.')
    return files[0]


def find_mace(folders: list[Path], elements: set[str], tell: Callable[[str], None]) -> PotentialData | None:
    """Return the first MACE foundation model, in the folders or in MACE's cache, that knows the elements.

    :param tell: takes a line for each skipped model, which cannot be read or lacks an element.
    """
    for path in (path for folder in [*folders, MACE_CACHE] for path in sorted(folder.glob('*model'))):
        try:
            node = read_potential(path, MACE.name)
        except PotentialError as error:
            tell(f'{path} was found and is not used: {error}')
            continue
        if missing := sorted(elements - set(node.elements)):
            tell(f'{path} was found and is not used: it does not know {", ".join(missing)}.')
        else:
            return node.store()
    return None
