"""Compiled loops need no folder to keep their code in."""

from __future__ import annotations

from numba.core import caching

from aiida_mghdiff.science.compiled import compiled


def twice(number):
    return 2 * number


def test_without_a_place_for_the_code(monkeypatch):
    """As where the package is installed for all users and the home folder cannot be written."""
    assert compiled(twice)(2) == 4
    monkeypatch.setattr(caching.CacheImpl, '_locator_classes', [])
    assert compiled(twice)(3) == 6
