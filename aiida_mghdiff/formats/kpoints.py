"""KPOINTS, VASP's file of k-points: a regular mesh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.text import read_text, split_lines


def read_kpoints(path: str | Path) -> tuple[tuple[int, int, int], bool]:
    """Return the divisions of a regular mesh, and whether it is centred at Γ (otherwise it is Monkhorst and Pack's).

    :raises FormatError: for anything but a regular mesh.
    """
    lines = [line.split('!')[0].split() for line in split_lines(read_text(path))]
    try:
        automatic, mode, divisions = int(lines[1][0]) == 0, lines[2][0][0].upper(), tuple(map(int, lines[3][:3]))
    except (IndexError, ValueError):
        reason = 'a mesh should stand here: a comment, 0, Gamma and three numbers of divisions'
        raise FormatError(path, '', reason) from None
    if not automatic or mode not in 'GM' or len(divisions) != 3 or min(divisions) < 1:
        raise FormatError(path, '', 'only a mesh is read: 0, Gamma or Monkhorst, and three numbers of divisions')
    return divisions, mode == 'G'


def write_kpoints(mesh: Sequence[int]) -> str:
    """Return a KPOINTS with a Γ-centred mesh."""
    return f'mesh centred at Gamma\n0\nGamma\n{" ".join(map(str, mesh))}\n0 0 0\n'
