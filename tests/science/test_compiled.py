"""Compiled loops also work without a folder for their code."""

from __future__ import annotations

from numba.core import caching

from aiida_mghdiff.science.compiled import compiled


def twice(number):
    return 2 * number


def test_without_a_place_for_the_code(monkeypatch):
    """For example, the package is installed for all users and the home folder is read-only."""
    assert compiled(twice)(2) == 4
    monkeypatch.setattr(caching.CacheImpl, '_locator_classes', [])
    assert compiled(twice)(3) == 6
