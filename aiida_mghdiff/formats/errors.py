"""The error of every reader of this package for a refused file."""

from __future__ import annotations

from pathlib import Path


class FormatError(ValueError):
    """A file cannot be read in its format.

    The message names the file, the place in it (a line, a frame, ...) and the reason.
    """

    def __init__(self, path: str | Path, place: str, reason: str) -> None:
        self.path = str(path)
        self.place = place
        self.reason = reason
        super().__init__(f'{self.path}, {place}: {reason}' if place else f'{self.path}: {reason}')

    def __reduce__(self) -> tuple[type[FormatError], tuple[str, str, str]]:
        return type(self), (self.path, self.place, self.reason)
