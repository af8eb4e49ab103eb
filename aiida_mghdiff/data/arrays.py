"""Helpers of the array nodes of this package: fixed layout of the stored bytes, and validation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from aiida import orm


class NotFiniteError(ValueError):
    """Numbers that are not finite."""


def set_array(node: orm.ArrayData, name: str, values: npt.ArrayLike, dtype: str, shape: tuple[int | None, ...]) -> None:
    """Store an array in C order and little-endian, so that equal content has equal hashes.

    :param dtype: ``f4``, ``f8`` or ``i8``.
    :param shape: expected shape; None allows any length.
    :raises ValueError: if the shape differs or a number is not finite.
    """
    array = np.ascontiguousarray(values, dtype=f'<{dtype}')
    fits = all(want in (None, got) for got, want in zip(array.shape, shape, strict=False))
    if array.ndim != len(shape) or not fits:
        raise ValueError(f'{name} has shape {array.shape}: it must be {shape} (None: any length).')
    node.set_array(name, array)


def require_finite(**arrays: np.ndarray) -> None:
    """Refuse numbers that are not finite.

    :raises NotFiniteError: names the array and the first index.
    """
    for name, values in arrays.items():
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            raise NotFiniteError(
                f'{name} has {len(bad)} of {np.size(values)} numbers that are not finite, the first at index '
                f'{bad[0].tolist()}: look at the run that made it.'
            )
