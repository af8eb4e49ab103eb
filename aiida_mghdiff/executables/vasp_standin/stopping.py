"""Requests to end a run after the present step: a STOPCAR with LSTOP, as in VASP, or SIGTERM."""

from __future__ import annotations

import re
import signal
from pathlib import Path

STOP_FILE = Path('STOPCAR')

_STOPS = re.compile(r'^\s*L(?:STOP|ABORT)\s*=\s*\.?T', re.IGNORECASE | re.MULTILINE)
_signalled: list[int] = []


def listen() -> None:
    """Take SIGTERM as a request to end, and delete a STOPCAR of an earlier run."""
    _signalled.clear()
    STOP_FILE.unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, lambda number, _: _signalled.append(number))


def is_asked() -> bool:
    """Return whether the run must end."""
    return bool(_signalled) or (STOP_FILE.exists() and bool(_STOPS.search(STOP_FILE.read_text(errors='replace'))))
