"""Heads of a MACE model: reading their names from the file, and the rule that chooses one.

A model with several heads gives several energies for one structure, one for each level of theory that it was trained
on. MACE's own programs differ in what they take where none is named: the calculator takes ``Default``, the E0s of a
fine-tuning come from the first head, the converter for LAMMPS takes the last. Here :func:`choose_head` decides for all.

A model file is a pickle. :func:`read_heads` unpickles it with inert objects in the place of every class and function,
so no code of the file runs, and no torch is needed.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

#: Head that MACE's fine-tuning trains, and the one beside it that keeps what the foundation knew.
TRAINED_HEAD, REPLAY_HEAD = 'Default', 'pt_head'
#: Before the model, a file of torch before 1.6 has a magic number, a version and the byte order of the machine.
_LEGACY_PREFIX = 3
_LEGACY_MAGIC = b'l\xfc\x9cF\xf9 j\xa8P\x19'


def choose_head(heads: Sequence[str], named: str | None) -> str | None:
    """Return the head to use: the named one, the only one, or ``Default`` where there is one beside ``pt_head``.

    :param heads: heads of the model; empty for a model of a MACE that knew none, which gives None.
    :param named: head that the user asked for.
    :raises ValueError: for a head that does not exist, or for several heads without a choice.
    """
    heads = [str(head) for head in heads]  # some models have texts of numpy
    if named is not None:
        if named not in heads:
            raise ValueError(_absent(heads, str(named)))
        return str(named)
    if len(heads) < 2:
        return heads[0] if heads else None
    if TRAINED_HEAD in heads and REPLAY_HEAD in heads:
        return TRAINED_HEAD
    raise ValueError(
        f'the model has the heads {_listed(heads)} and none is named: name one of them as head, '
        'or write one into a file of its own with mace_select_head.'
    )


def _absent(heads: Sequence[str], named: str) -> str:
    if not heads:
        return f'the model has no head {named!r}: it has no named heads, so leave head out.'
    known = f'its only head is {heads[0]}' if len(heads) == 1 else f'its heads are {_listed(heads)}'
    return f'the model has no head {named!r}: {known}.'


def _listed(heads: Sequence[str]) -> str:
    return f'{", ".join(heads[:-1])} and {heads[-1]}'


def read_heads(path: str | Path) -> list[str] | None:
    """Return the heads of a MACE model file: an empty list where the model knows none, None for any other file."""
    try:
        model = _unpickle(Path(path))
    except Exception:  # a damaged pickle raises whatever its bytes lead to
        return None
    if not isinstance(model, _Inert) or not isinstance(model.state, dict) or 'r_max' not in _names(model.state):
        return None
    heads = model.state.get('heads', [])
    if not isinstance(heads, list | tuple) or any(isinstance(head, _Inert) for head in heads):
        return None
    return [str(head) for head in heads]


def is_torch_file(path: str | Path) -> bool:
    """Return whether a file has the outer form of one that torch writes, whatever is within."""
    with Path(path).open('rb') as file:
        if _LEGACY_MAGIC in file.read(16):
            return True
        try:
            with zipfile.ZipFile(file) as archive:
                return any(name.endswith('/data.pkl') for name in archive.namelist())
        except zipfile.BadZipFile:
            return False


def is_dictionary(path: str | Path) -> bool:
    """Return whether a file of torch holds a dictionary, as CHGNet's weights are, and no model."""
    try:
        return type(_unpickle(Path(path))) is dict
    except Exception:  # a damaged pickle raises whatever its bytes lead to
        return False


def _names(state: dict[str, Any]) -> set[str]:
    """Return the names of a module's own attributes and buffers."""
    return set(state) | set(state.get('_buffers') or {})


def _unpickle(path: Path) -> Any:
    with path.open('rb') as file:
        is_zip = file.read(4) == b'PK\x03\x04'  # not zipfile.is_zipfile: a model has archives within
        file.seek(0)
        if not is_zip:
            return [_Unpickler(file).load() for _ in range(_LEGACY_PREFIX + 1)][-1]
        with zipfile.ZipFile(file) as archive:
            name = next(name for name in archive.namelist() if name.endswith('/data.pkl'))
            with archive.open(name) as content:
                return _Unpickler(content).load()


class _Inert(dict[Any, Any]):
    """Stands for every object of a pickle, and keeps its attributes."""

    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take any arguments."""

    def __call__(self, *_: Any, **__: Any) -> _Inert:
        return _Inert()

    def __hash__(self) -> int:  # type: ignore[override]  # pickles have such objects as keys
        return id(self)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """Take an item of a list."""

    def extend(self, items: Any) -> None:
        """Take items of a list."""

    def add(self, item: Any) -> None:
        """Take an item of a set."""


def _first(value: Any, *_: Any) -> Any:
    return value


def _bytes(text: Any, *_: Any) -> Any:
    """Return bytes, which old protocols of pickle keep as a text in Latin 1."""
    return text.encode('latin1')


def _text_of_numpy(_: Any, data: Any = b'') -> Any:
    """Return a text of numpy, which is in UTF-32; a number is none and stays inert."""
    try:
        return data.decode('utf-32-le').rstrip('\0')
    except (UnicodeDecodeError, AttributeError):
        return _Inert()


#: What is more than an inert object, by its name in the pickle.
_KNOWN = {
    'restore_type_tag': _first,  # TorchScript wraps each list in a function that says its type
    '_codecs.encode': _bytes,
    'numpy.core.multiarray.scalar': _text_of_numpy,
    'numpy._core.multiarray.scalar': _text_of_numpy,
}


class _Unpickler(pickle.Unpickler):
    """Loads a pickle without any class or function of it."""

    def __init__(self, file: BinaryIO | Any) -> None:
        super().__init__(file, encoding='utf-8')

    def find_class(self, module: str, name: str) -> Any:
        return _KNOWN.get(name) or _KNOWN.get(f'{module}.{name}', _Inert)

    def persistent_load(self, pid: Any) -> Any:
        # a legacy file keeps the class of a module beside the source code of the class
        is_module = isinstance(pid, tuple) and pid[0] == 'module'
        return pid[1] if is_module else _Inert()
