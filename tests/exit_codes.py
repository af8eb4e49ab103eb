"""Which failures of a job the cache forgets."""

from __future__ import annotations

from aiida.plugins import CalculationFactory

#: Those that every engine can end with: what the same inputs bring again is kept, what a machine did is not.
COMMON = {
    210: True,
    211: True,
    212: False,
    213: False,
    215: True,
    300: True,
    302: True,
    303: True,
    400: False,
    410: True,
}
COMMON |= {420: False}
#: Those of molecular dynamics.
MD = COMMON | {520: False}


def forgotten(entry_point: str) -> dict[int, bool]:
    """Return for each failure of this package's own whether the cache forgets a job that ended so."""
    codes = CalculationFactory(entry_point).exit_codes.values()
    return {code.status: code.invalidates_cache for code in codes if code.status >= 200}
