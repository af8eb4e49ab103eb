"""The head of ML_FF (read by VASP) and ML_FFN (written by it): one format, a force field learned by VASP.

Since VASP 6.4 the first 4096 bytes are text, ``ML_FF <version> binary { "types" : [ "Mg" ], "ML_LFAST" : true ... }``
and blanks; VASP's own binary format follows. Only the head is read here. Files of the stand-in have ``standin`` in
place of ``binary`` and are read completely. Source: VASP wiki, page ML_FFN.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiida_mghdiff.formats.errors import FormatError

HEADER_BYTES = 4096

_HEADER = re.compile(r'ML_FF\s+(\S+)\s+(binary|standin)\s+(\{.*\})\s*', re.DOTALL)
_FORTRAN_LOGICALS = re.compile(r'(:\s*)(\.?true\.?|\.?false\.?|[TF])(?=\s*[,}])', re.IGNORECASE)


@dataclass(frozen=True)
class MlFfHeader:
    """Content of the head of a force field."""

    version: str  # version of the file format
    elements: list[str]
    fast: bool  # ML_LFAST: the fast prediction mode
    n_configurations: int | None = None  # number of fitted configurations
    basis: dict[str, int] = field(default_factory=dict)  # local reference configurations of each element
    standin: str | None = None  # labeller of a force field of the stand-in; None for VASP's own


def read_ml_ff_header(path: str | Path) -> MlFfHeader:
    """Read the head of an ML_FF or ML_FFN file.

    :raises FormatError: for a file that is no force field, is truncated within its head, or was written before VASP
        6.4.
    """
    with Path(path).open('rb') as handle:
        data = handle.read(HEADER_BYTES)
    if not data.startswith(b'ML_FF'):
        raise FormatError(
            path, 'byte 1', 'no header that begins with ML_FF: no force field, or of VASP before 6.4; refit'
        )
    if len(data) < HEADER_BYTES:
        raise FormatError(path, f'byte {len(data)}', f'the file ends within its header of {HEADER_BYTES} bytes')
    version, writer, settings = _parse(path, data)
    try:
        elements = [name.strip() for name in settings['types']]
        fast = settings['ML_LFAST']
        basis = dict(zip(elements, settings.get('local_reference_cfgs', []), strict=False))
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(path, 'header', f'the header lacks types or ML_LFAST ({error})') from error
    if not isinstance(fast, bool) or not elements:
        raise FormatError(path, 'header', f'types {elements} and ML_LFAST {fast!r} are not the content of a header')
    standin = str(settings.get('labels', '')).removeprefix('standin ') if writer == 'standin' else None
    return MlFfHeader(version, elements, fast, settings.get('training_structures'), basis, standin)


def write_ml_ff(path: str | Path, header: MlFfHeader, payload: bytes) -> None:
    """Write a force field of the stand-in: the head, then the stand-in's payload.

    :raises ValueError: if the header does not name the labeller, or is too long.
    """
    if not header.standin:
        raise ValueError('a force field that is not of the stand-in is not written here')
    settings = {
        'ML_LFAST': header.fast,
        'types': header.elements,
        'training_structures': header.n_configurations,
        'local_reference_cfgs': [header.basis.get(element, 0) for element in header.elements],
        'labels': f'standin {header.standin}',
        'payload_bytes': len(payload),
    }
    text = f'ML_FF {header.version} standin {json.dumps(settings, separators=(", ", " : "))}'.encode()
    if len(text) >= HEADER_BYTES:
        raise ValueError(f'the header has {len(text)} bytes, there is room for {HEADER_BYTES - 1}')
    Path(path).write_bytes(text.ljust(HEADER_BYTES - 1) + b'\n' + payload)


def read_ml_ff_payload(path: str | Path) -> bytes:
    """Return the payload after the head of a force field of the stand-in.

    :raises FormatError: for a file of VASP, which only VASP can read, and for a truncated file.
    """
    header = read_ml_ff_header(path)
    if header.standin is None:
        raise FormatError(path, 'header', 'a force field of VASP itself: only VASP can read it')
    data = Path(path).read_bytes()
    announced = _parse(path, data[:HEADER_BYTES])[2].get('payload_bytes')
    payload = data[HEADER_BYTES:]
    if len(payload) != announced:
        reason = f'{len(payload)} bytes after the header, which announces {announced}: the file is truncated'
        raise FormatError(path, f'byte {len(data)}', reason)
    return payload


def _parse(path: str | Path, data: bytes) -> tuple[str, str, dict[str, Any]]:
    """Return the version, the writer of the file (``binary`` for VASP, ``standin``) and the settings of a head."""
    match = _HEADER.fullmatch(data.decode('ascii', errors='replace'))
    if match is None:
        raise FormatError(path, 'header', "'ML_FF <version> binary { ... }' and blanks should stand here")
    logical = _FORTRAN_LOGICALS.sub(
        lambda word: word[1] + ('true' if 't' in word[2].lower()[:2] else 'false'), match[3]
    )
    try:
        return match[1], match[2], json.loads(logical)
    except json.JSONDecodeError as error:
        raise FormatError(
            path, f'byte {match.start(3) + error.pos + 1}', f'the settings are damaged ({error.msg})'
        ) from error
