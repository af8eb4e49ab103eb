"""The failures of a job that the cache forgets."""

from __future__ import annotations

from aiida.plugins import CalculationFactory

from aiida_mghdiff.calculations.exit_codes import JOB_FAILURES, exit_codes


def flags(*names: str) -> dict[int, bool]:
    """Return for each status of these rows of the table whether the cache forgets the failure."""
    return {code.status: code.invalidates_cache for code in exit_codes(*names)}


#: Failures of every engine.
COMMON = flags(*JOB_FAILURES)
#: Failures of molecular dynamics.
MD = COMMON | flags('TEMPERATURE_RUNAWAY')


def forgotten(entry_point: str) -> dict[int, bool]:
    """Return for each failure status of this package whether the cache forgets the job."""
    codes = CalculationFactory(entry_point).exit_codes.values()
    return {code.status: code.invalidates_cache for code in codes if code.status >= 200}
