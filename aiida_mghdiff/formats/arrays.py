"""A folder of ``.npy`` files, one for each array: the form of a dataset in a repository and in a job's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aiida_mghdiff.formats.errors import FormatError


def write_folder(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write each array as ``<name>.npy`` into the folder ``path``, made if it does not exist."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f'{name}.npy', np.ascontiguousarray(array), allow_pickle=False)


def read_folder(path: str | Path) -> dict[str, np.ndarray]:
    """Return every array of the folder ``path`` by its name, in alphabetical order.

    :raises FormatError: if the folder contains no ``.npy`` file, or a damaged file.
    """
    files = sorted(Path(path).glob('*.npy'))
    if not files:
        raise FormatError(path, '', 'no .npy file in this folder')
    return {file.stem: _read_array(file) for file in files}


def _read_array(file: Path) -> np.ndarray:
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FormatError(file, '', f'not a readable .npy file ({error})') from error
