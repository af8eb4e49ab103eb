"""The hops of a tracer between the interstitial sites of an hcp crystal: one table for paths, jumps and rates.

A hop is named by the kinds of the sites that it leads from and to (O octahedral, T tetrahedral; a, c: lattice
parameters):

============ ================================================== ====================
``O-T``      through the face of an octahedron                  sqrt(a²/3 + c²/64)
``T-O``      the same in the opposite direction
``T-T``      within a pair of tetrahedra that share a face      c/4
``T-T edge`` between tetrahedra that share an edge              sqrt(a²/3 + c²/16)
``O-O c``    between octahedra that share a face, along c       c/2
``O-O ab``   between octahedra that share an edge, in the plane a
============ ================================================== ====================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class HopClass(NamedTuple):
    """The hops of one name: the number of targets around a site, and the length in Å from a and c."""

    targets: int
    length: Callable[[float, float], float]


def _o_t(a: float, c: float) -> float:
    return float(np.sqrt(a**2 / 3 + c**2 / 64))


#: All hops to neighbouring sites, by name.
HOPS = {
    'O-T': HopClass(6, _o_t),
    'T-O': HopClass(3, _o_t),
    'T-T': HopClass(1, lambda a, c: c / 4),
    'T-T edge': HopClass(3, lambda a, c: float(np.sqrt(a**2 / 3 + c**2 / 16))),
    'O-O c': HopClass(2, lambda a, c: c / 2),
    'O-O ab': HopClass(6, lambda a, c: a),
}
#: Hops for which barriers are searched, each in one direction.
PATHS = ('O-O c', 'O-O ab', 'O-T', 'T-T')
#: Longer jumps: several hops between two cores.
OTHER = 'other'


def cage_lengths(a: float, c: float) -> tuple[float, float]:
    """Return the threshold and the least length of a jump between two cages, in Å (:mod:`aiida_mghdiff.science.cages`).

    The threshold is between the hop within a pair of tetrahedral sites and the shortest hop out of it: 1.63 and 1.96 Å
    for Mg.
    """
    within, out = HOPS['T-T'].length(a, c), HOPS['O-T'].length(a, c)
    return round((within + out) / 2, 2), round(out, 2)
