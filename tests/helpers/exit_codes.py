"""Which failures of a job the cache forgets."""

from __future__ import annotations

from aiida.plugins import CalculationFactory

from aiida_mghdiff.calculations.exit_codes import JOB_FAILURES, exit_codes


def flags(*names: str) -> dict[int, bool]:
    """Return for each of these rows of the table, by status, whether the cache forgets a job that ended so."""
    return {code.status: code.invalidates_cache for code in exit_codes(*names)}


#: Those that every engine can end with.
COMMON = flags(*JOB_FAILURES)
#: Those of molecular dynamics.
MD = COMMON | flags('TEMPERATURE_RUNAWAY')


def forgotten(entry_point: str) -> dict[int, bool]:
    """Return for each failure of this package's own whether the cache forgets a job that ended so."""
    codes = CalculationFactory(entry_point).exit_codes.values()
    return {code.status: code.invalidates_cache for code in codes if code.status >= 200}
