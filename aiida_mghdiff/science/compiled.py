"""Compile loops with numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled to machine code, cached for the next process if possible.

    No cache exists if neither the package nor the user's cache is writable, as in some containers.
    """
    try:
        return njit(cache=True)(function)
    except RuntimeError:  # no writable cache
        return njit(function)
