"""Heads of a MACE model: read their names from the file, and choose one.

A model with several heads gives several energies for one structure, one for each level of theory in its training set.
MACE's own programs differ in their default head: the calculator uses ``Default``, E0s of a fine-tuning come from the
first head, the converter for LAMMPS uses the last head. Here :func:`choose_head` decides for all programs.

A model file is a pickle. :func:`read_heads` unpickles it with inert objects in place of all classes and functions, so
no code of the file runs, and no torch is needed.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

#: Head that MACE's fine-tuning trains, and the additional head that keeps the foundation's knowledge.
TRAINED_HEAD, REPLAY_HEAD = 'Default', 'pt_head'
#: A file of torch before 1.6 has a magic number, a version and the byte order of the machine before the model.
_LEGACY_PREFIX = 3
_LEGACY_MAGIC = b'l\xfc\x9cF\xf9 j\xa8P\x19'
_ZIP_MAGIC = b'PK\x03\x04'


def choose_head(heads: Sequence[str], named: str | None) -> str | None:
    """Return the head to use: the named head, the only head, or ``Default`` beside ``pt_head``.

    :param heads: heads of the model; an empty list, for models of old MACE versions without heads, gives None.
    :param named: head that the user names.
    :raises ValueError: for a head that does not exist, or for several heads without a choice.
    """
    heads = [str(head) for head in heads]  # some models contain numpy strings
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
        'or write one into its own file with mace_select_head.'
    )


def _absent(heads: Sequence[str], named: str) -> str:
    if not heads:
        return f'the model has no head {named!r}: it has no named heads, so leave head out.'
    known = f'its only head is {heads[0]}' if len(heads) == 1 else f'its heads are {_listed(heads)}'
    return f'the model has no head {named!r}: {known}.'


def _listed(heads: Sequence[str]) -> str:
    return f'{", ".join(heads[:-1])} and {heads[-1]}'


def read_heads(path: str | Path) -> list[str] | None:
    """Return the heads of a MACE model file: an empty list if the model has no heads, None for any other file."""
    try:
        model = _unpickle(Path(path))
    except Exception:  # a damaged pickle may raise any exception
        return None
    if not isinstance(model, _Inert) or not isinstance(model.state, dict) or 'r_max' not in _names(model.state):
        return None
    heads = model.state.get('heads', [])
    if not isinstance(heads, list | tuple) or any(isinstance(head, _Inert) for head in heads):
        return None
    return [str(head) for head in heads]


def is_torch_file(path: str | Path) -> bool:
    """Return whether a file has the outer form of a torch file, whatever it contains."""
    with Path(path).open('rb') as file:
        if _LEGACY_MAGIC in file.read(16):
            return True
        try:
            with zipfile.ZipFile(file) as archive:
                return any(name.endswith('/data.pkl') for name in archive.namelist())
        except zipfile.BadZipFile:
            return False


def damage(path: str | Path) -> str | None:
    """Return a message about a file of torch that was cut or changed, with the remedy, or None.

    In a file of torch before 1.6 the arrays are not checked.
    """
    with Path(path).open('rb') as file:
        start = file.read(16)
        file.seek(0)
        if start.startswith(_ZIP_MAGIC):
            return _damage_of_archive(file)
        try:
            if _LEGACY_MAGIC in start:
                _load(file, _LEGACY_PREFIX + 2)  # the names of the arrays come last
        except (EOFError, pickle.UnpicklingError):
            return _damaged('it is cut off')
        except Exception:  # an unusual object, as :func:`read_heads` may meet
            return None
    return None


def _damaged(reason: str) -> str:
    return f'the model file is damaged ({reason}): copy or save it again.'


def _damage_of_archive(file: BinaryIO) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            # the table of an archive within the model may be found instead
            if min((part.header_offset for part in archive.infolist()), default=0):
                return _damaged('it is cut off')
            part = archive.testzip()
    except zipfile.BadZipFile:
        return _damaged('it is cut off')
    except Exception as error:  # damaged bytes lead to whatever they say
        return _damaged(f'its archive cannot be read, {error}')
    return (
        None
        if part is None
        else _damaged(f'its part {part} does not fit its checksum, or torch saved it without checksums')
    )


def is_dictionary(path: str | Path) -> bool:
    """Return whether a torch file contains a dictionary, such as CHGNet's weights, and no model."""
    try:
        return type(_unpickle(Path(path))) is dict
    except Exception:  # a damaged pickle may raise any exception
        return False


def _names(state: dict[str, Any]) -> set[str]:
    """Return the names of a module's own attributes and buffers."""
    return set(state) | set(state.get('_buffers') or {})


def _unpickle(path: Path) -> Any:
    with path.open('rb') as file:
        is_zip = file.read(4) == _ZIP_MAGIC  # zipfile.is_zipfile fails: a model contains archives
        file.seek(0)
        if not is_zip:
            return _load(file, _LEGACY_PREFIX + 1)
        with zipfile.ZipFile(file) as archive:
            name = next(name for name in archive.namelist() if name.endswith('/data.pkl'))
            with archive.open(name) as content:
                return _Unpickler(content).load()


def _load(file: BinaryIO, count: int) -> Any:
    """Return the last of so many pickles, one behind the other."""
    return [_Unpickler(file).load() for _ in range(count)][-1]


class _Inert(dict[Any, Any]):
    """Replaces every object of a pickle, and keeps its attributes."""

    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Accept any arguments."""

    def __call__(self, *_: Any, **__: Any) -> _Inert:
        return _Inert()

    def __hash__(self) -> int:  # type: ignore[override]  # pickles have such objects as keys
        return id(self)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """Ignore an item of a list."""

    def extend(self, items: Any) -> None:
        """Ignore items of a list."""

    def add(self, item: Any) -> None:
        """Ignore an item of a set."""


def _first(value: Any, *_: Any) -> Any:
    return value


def _bytes(text: Any, *_: Any) -> Any:
    """Return bytes, which old pickle protocols store as a Latin-1 text."""
    return text.encode('latin1')


def _text_of_numpy(_: Any, data: Any = b'') -> Any:
    """Return a numpy string, which is stored in UTF-32; a number stays inert."""
    try:
        return data.decode('utf-32-le').rstrip('\0')
    except (UnicodeDecodeError, AttributeError):
        return _Inert()


#: Objects that are not inert, by their name in the pickle.
_KNOWN = {
    'restore_type_tag': _first,  # TorchScript wraps each list in a function with its type
    '_codecs.encode': _bytes,
    'numpy.core.multiarray.scalar': _text_of_numpy,
    'numpy._core.multiarray.scalar': _text_of_numpy,
}


class _Unpickler(pickle.Unpickler):
    """Loads a pickle without its classes and functions."""

    def __init__(self, file: BinaryIO | Any) -> None:
        super().__init__(file, encoding='utf-8')

    def find_class(self, module: str, name: str) -> Any:
        return _KNOWN.get(name) or _KNOWN.get(f'{module}.{name}', _Inert)

    def persistent_load(self, pid: Any) -> Any:
        # a legacy file stores the class of a module together with its source code
        is_module = isinstance(pid, tuple) and pid[0] == 'module'
        return pid[1] if is_module else _Inert()
