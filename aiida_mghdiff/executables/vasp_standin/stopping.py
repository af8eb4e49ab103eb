"""How a run is asked to end after the step that it is in: by STOPCAR (LSTOP), as VASP is, or by SIGTERM."""

from __future__ import annotations

import re
import signal
from pathlib import Path

STOP_FILE = Path('STOPCAR')

_STOPS = re.compile(r'^\s*L(?:STOP|ABORT)\s*=\s*\.?T', re.IGNORECASE | re.MULTILINE)
_signalled: list[int] = []


def listen() -> None:
    """Take SIGTERM for a wish to end, and a STOPCAR that is there already for one of an earlier run."""
    _signalled.clear()
    STOP_FILE.unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, lambda number, _: _signalled.append(number))


def is_asked() -> bool:
    """Return whether the run is to end."""
    return bool(_signalled) or (STOP_FILE.exists() and bool(_STOPS.search(STOP_FILE.read_text(errors='replace'))))
