"""Loops that numba compiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled to machine code, which is kept for the next process where there is a place for it.

    There is none where neither the package nor the user's cache can be written, as in some containers.
    """
    try:
        return njit(cache=True)(function)
    except RuntimeError:  # no place
        return njit(function)
