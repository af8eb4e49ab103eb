"""Texts of users: in UTF-8, with or without a byte order mark, with the line ends of Unix, Windows or old Macs.

``str.splitlines`` splits at more than line ends (form feed, U+2028), which a comment may hold.
"""

from __future__ import annotations

from pathlib import Path

from aiida_mghdiff.formats.errors import FormatError

_GZIP_MAGIC = b'\x1f\x8b'
_HEAD_BYTES = 1000


def read_text(path: str | Path) -> str:
    r"""Return the text of a file, whose lines end with ``\n``; what is no UTF-8 becomes the replacement character.

    :raises FormatError: as :func:`require_text` does.
    """
    require_text(path)
    return Path(path).read_text(encoding='utf-8-sig', errors='replace')


def require_text(path: str | Path) -> None:
    """Refuse a file in UTF-16 or UTF-32, as Windows saves them, and a binary one.

    :raises FormatError: with what to do.
    """
    with Path(path).open('rb') as file:
        head = file.read(_HEAD_BYTES)
        if head.startswith(_GZIP_MAGIC):
            raise FormatError(path, '', 'no text: it is compressed by gzip; unpack it')
        if b'\0' in head:
            raise FormatError(path, '', 'no text in UTF-8: it has zero bytes, as UTF-16 has; save it as UTF-8')


def split_lines(text: str) -> list[str]:
    """Return the lines of a text, without their ends."""
    lines = text.replace('\r\n', '\n').replace('\r', '\n').split('\n')
    return lines[:-1] if lines[-1] == '' else lines
